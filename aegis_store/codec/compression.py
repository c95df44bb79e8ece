"""zstd of a whole envelope or delta, one frame: level 1 where it is small, level 3 above (docs/decisions/0004), and with a
dictionary of raw content where there is one (docs/decisions/0014).

Compressing gives up where nothing is gained: the caller stores the bytes raw then. Decompressing believes nothing that the
frame says: the declared size must be the one that the signed entry gives before a byte is allocated, and the output ends there.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Any, Final

import zstandard

from aegis_store.errors import Corrupt

#: Up to so many bytes take the fast level: two thirds of the time or less, and 5 % more bytes at worst.
SMALL_MAX: Final = 256 << 10
LEVEL_SMALL: Final = 1
LEVEL: Final = 3

#: What is shorter than this is not tried: a frame's own bytes and tables eat what so few could give. A dictionary gives more.
TRIED_MIN: Final = 192
PRIMED_MIN: Final = 64
#: Dictionaries that a set of contexts is ready for. A decoder asks for older ones too.
CONTEXTS_MAX: Final = 4
#: Sets of contexts that are kept for the next who needs one.
SPARE_MAX: Final = 16


class Dictionary:
    """Bytes to compress with, made ready for it once: a prepared one makes a small frame as fast as none does.

    `index` is that of the record that holds them. May be used by any number of threads.
    """

    __slots__ = ("_lock", "_prepared", "content", "index", "raw")

    def __init__(self, index: int, content: bytes) -> None:
        self.index: Final = index
        self.content: Final = content
        #: As a decoder takes it.
        self.raw: Final = zstandard.ZstdCompressionDict(content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        self._prepared: zstandard.ZstdCompressionDict | None = None
        self._lock = threading.Lock()

    def prepared(self) -> zstandard.ZstdCompressionDict:
        """As an encoder takes it: with its tables, which readers need not wait for."""
        with self._lock:
            if self._prepared is None:
                prepared = zstandard.ZstdCompressionDict(self.content, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
                prepared.precompute_compress(level=LEVEL_SMALL)
                self._prepared = prepared
            return self._prepared


def _compressor(level: int, prepared: zstandard.ZstdCompressionDict | None = None) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(
        level=level, dict_data=prepared, write_content_size=True, write_checksum=False, write_dict_id=False
    )


class _Contexts:
    """zstd contexts, for one thread at a time. They cost more to make than a small frame, and runtimes make threads by the
    thousand: so they are no thread's own, but taken and given back."""

    def __init__(self) -> None:
        self.compress_small = _compressor(LEVEL_SMALL).compress
        self.compress = _compressor(LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress
        self._compress_with: tuple[Dictionary | None, Any] = None, None
        self._decompress_with: OrderedDict[Dictionary, Any] = OrderedDict()

    def compress_with(self, dictionary: Dictionary) -> Any:
        """One, for there is one that all new payloads use."""
        known, compress = self._compress_with
        if known is not dictionary:
            compress = _compressor(LEVEL_SMALL, dictionary.prepared()).compress
            self._compress_with = dictionary, compress
        return compress

    def decompress_with(self, dictionary: Dictionary) -> Any:
        decompress = self._decompress_with.get(dictionary)
        if decompress is None:
            decompress = zstandard.ZstdDecompressor(dict_data=dictionary.raw).decompress
            self._decompress_with[dictionary] = decompress
            while len(self._decompress_with) > CONTEXTS_MAX:
                self._decompress_with.popitem(last=False)
        return decompress


_spare: Final[list[_Contexts]] = []


def _taken() -> _Contexts:
    try:
        return _spare.pop()
    except IndexError:
        return _Contexts()


def _give_back(contexts: _Contexts) -> None:
    if len(_spare) < SPARE_MAX:
        _spare.append(contexts)


def compress(data: bytes, dictionary: Dictionary | None = None) -> bytes | None:
    """One zstd frame that declares its content size, or None where it would not be shorter than the data.

    With a dictionary, `data` has SMALL_MAX bytes at most: in more, what it spares is not worth a context of another level.
    """
    if len(data) < (TRIED_MIN if dictionary is None else PRIMED_MIN):
        return None
    frame: bytes
    contexts = _taken()
    if dictionary is not None:
        frame = contexts.compress_with(dictionary)(data)
    else:
        frame = contexts.compress_small(data) if len(data) <= SMALL_MAX else contexts.compress(data)
    _give_back(contexts)
    return frame if len(frame) < len(data) else None


def decompress(frame: bytes, *, length: int, at_most: bool = False, dictionary: Dictionary | None = None) -> bytes:
    """The `length` bytes in a frame; with `at_most` fewer will do. Corrupt for all but one frame that declares and holds them.

    The caller has compared `length` with its limit: that many bytes are allocated.
    """
    try:
        # -1 where the frame declares none. A skippable frame declares its own length and fails in the decoder.
        declared = zstandard.frame_content_size(frame)
        if declared <= 0 or declared > length or (declared < length and not at_most):
            raise Corrupt(f"a zstd frame declares {declared} bytes, the entry says {length}", op="decompress")
        contexts = _taken()
        decode = contexts.decompress if dictionary is None else contexts.decompress_with(dictionary)
        data: bytes = decode(frame, allow_extra_data=False)  # as many bytes as declared, or ZstdError
        _give_back(contexts)
    except zstandard.ZstdError as error:
        raise Corrupt(f"a zstd frame cannot be decoded: {error}", op="decompress") from None
    return data
