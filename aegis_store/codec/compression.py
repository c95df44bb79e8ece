"""zstd of a whole envelope, one frame: level 1 where it is small, level 3 above (docs/decisions/0004).

Compressing gives up where nothing is gained: the caller stores the envelope raw then. Decompressing believes nothing that the
frame says: the declared size must be the one that the signed entry gives before a byte is allocated, and the output ends there.
"""

from __future__ import annotations

import threading
from typing import Final

import zstandard

from aegis_store.errors import Corrupt

#: Envelopes up to so many bytes take the fast level: two thirds of the time or less, and 5 % more bytes at worst.
SMALL_MAX: Final = 256 << 10
LEVEL_SMALL: Final = 1
LEVEL: Final = 3

#: Envelopes shorter than this are not tried: a frame's own bytes eat what so few could give.
TRIED_MIN: Final = 64


def _compressor(level: int) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=level, write_content_size=True, write_checksum=False)


class _Contexts(threading.local):
    """zstd contexts are costly to make and may be used by one thread at a time: each thread keeps its own."""

    def __init__(self) -> None:
        self.compress_small = _compressor(LEVEL_SMALL).compress
        self.compress = _compressor(LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_contexts = _Contexts()


def compress(envelope: bytes) -> bytes | None:
    """One zstd frame that declares its content size, or None where it would not be shorter than the envelope."""
    if len(envelope) < TRIED_MIN:
        return None
    frame = _contexts.compress_small(envelope) if len(envelope) <= SMALL_MAX else _contexts.compress(envelope)
    return frame if len(frame) < len(envelope) else None


def decompress(frame: bytes, *, length: int, at_most: bool = False) -> bytes:
    """The `length` bytes in a frame; with `at_most` fewer will do. Corrupt for all but one frame that declares and holds them.

    The caller has compared `length` with its limit: that many bytes are allocated.
    """
    try:
        # -1 where the frame declares none. A skippable frame declares its own length and fails in the decoder.
        declared = zstandard.frame_content_size(frame)
        if declared <= 0 or declared > length or (declared < length and not at_most):
            raise Corrupt(f"a zstd frame declares {declared} bytes, the entry says {length}", op="decompress")
        envelope: bytes = _contexts.decompress(frame, allow_extra_data=False)  # as many bytes as declared, or ZstdError
    except zstandard.ZstdError as error:
        raise Corrupt(f"a zstd frame cannot be decoded: {error}", op="decompress") from None
    return envelope
