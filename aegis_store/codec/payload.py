"""The payload: an envelope as it is stored, with the salt of its commitment.

       0     1  codec of the body: 0 raw, 1 zstd
       1     1  flags; 2: in chunks; 4: a delta to the checkpoint that the entry follows; 8, with 4: to the one named here;
                16, with codec 1: compressed with a dictionary
       2    16  salt
      18     6  with flag 8 the index u48 of the checkpoint that the delta is to
               6  with flag 16 the index u48 of the dictionary's record
               the body: the envelope, or the delta that makes it, encoded; in chunks, the index u64 of each chunk record whose
               envelopes make it up, in order

    commitment = BLAKE3-256("aegis-store/v0/commitment" 0x0A ‖ salt [16] ‖ length of the envelope u64 ‖ envelope)

The entry carries the commitment and the length, not the encoding: compaction may change codec, flags and what a delta is to
under a signature that stays valid. Dropping the payload drops the salt, so nothing can be guessed from what remains.
Source: FORMAT.md, Payload.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, NamedTuple

import msgspec
from blake3 import blake3

from aegis_store.codec.compression import PRIMED_MIN, SMALL_MAX, Dictionary, compress, decompress
from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTooLarge

SALT_SIZE: Final = 16
#: What one chunk record holds of a payload that no single record can.
CHUNK_BYTES: Final = 4 << 20
#: Bytes before the encoded envelope.
HEADER_SIZE: Final = 2 + SALT_SIZE

_DOMAIN: Final = b"aegis-store/v0/commitment\n"
_RAW: Final = 0
_ZSTD: Final = 1
_IN_CHUNKS: Final = 2
_DELTA: Final = 4
_NAMED: Final = 8
_PRIMED: Final = 16
#: Flags that this version knows, together as they may stand; and by codec.
_FLAGS: Final = frozenset({0, _IN_CHUNKS, _DELTA, _DELTA | _IN_CHUNKS, _DELTA | _NAMED, _DELTA | _NAMED | _IN_CHUNKS})
_FLAGS_OF: Final = (_FLAGS, _FLAGS | {flags | _PRIMED for flags in _FLAGS})
_INDEX: Final = Struct("<Q")
#: Of the index of a base or a dictionary.
_NAME_SIZE: Final = 6

#: Up to here the envelope is copied behind its prefix and hashed in one call, which is faster; above, it is not copied.
_COPIED_MAX: Final = 128 << 10


def commit(envelope: bytes, salt: bytes) -> bytes:
    """The commitment [32] to an envelope under a salt [16]."""
    prefix = _DOMAIN + salt + len(envelope).to_bytes(8, "little")
    if len(envelope) <= _COPIED_MAX:
        return blake3(prefix + envelope).digest()
    return blake3(prefix).update(envelope).digest()


class Sealed(NamedTuple):
    """A payload that no record holds yet, and what its entry says of it: commitment [32], length of the envelope in bytes."""

    payload: bytes
    commitment: bytes
    length: int


class Body(msgspec.Struct, frozen=True, gc=False):
    """What a payload holds, decoded and not yet believed: an envelope, or a delta and what it is to (None: the entry says)."""

    data: bytes
    is_delta: bool
    base: int | None


def seal(envelope: bytes, salt: bytes, dictionary: Dictionary | None = None) -> Sealed:
    """An envelope, whole. The salt [16] must be random and is used once. With a dictionary, where that makes it shorter."""
    return Sealed(_encoded(envelope, salt, 0, b"", dictionary), commit(envelope, salt), len(envelope))


def seal_delta(delta: bytes, envelope: bytes, salt: bytes, *, base: int | None, dictionary: Dictionary | None = None) -> Sealed:
    """An envelope by the delta that makes it from that of another checkpoint: of record `base`, or where that is None of the
    one that the entry names as its parent."""
    flags, name = (_DELTA, b"") if base is None else (_DELTA | _NAMED, base.to_bytes(_NAME_SIZE, "little"))
    return Sealed(_encoded(delta, salt, flags, name, dictionary), commit(envelope, salt), len(envelope))


def recode(envelope: bytes, salt: bytes, dictionary: Dictionary | None = None) -> bytes:
    """The payload that `seal` makes, for an entry that has its commitment already."""
    return _encoded(envelope, salt, 0, b"", dictionary)


def recode_delta(delta: bytes, salt: bytes, *, base: int | None, dictionary: Dictionary | None = None) -> bytes:
    """The payload that `seal_delta` makes, for an entry that has its commitment already."""
    flags, name = (_DELTA, b"") if base is None else (_DELTA | _NAMED, base.to_bytes(_NAME_SIZE, "little"))
    return _encoded(delta, salt, flags, name, dictionary)


def is_delta(payload: bytes) -> bool:
    """Whether a payload, of any form, is to be made from another."""
    return len(payload) > 1 and bool(payload[1] & _DELTA)


def base_of(payload: bytes) -> int | None:
    """The index of the checkpoint that a payload names as what it is a delta to; None: it names none."""
    if len(payload) < HEADER_SIZE + _NAME_SIZE or not payload[1] & _NAMED:
        return None
    return int.from_bytes(payload[HEADER_SIZE : HEADER_SIZE + _NAME_SIZE], "little")


def dictionary_of(payload: bytes) -> int | None:
    """The index of the dictionary that a payload was compressed with; None: with none."""
    if len(payload) < HEADER_SIZE or not payload[1] & _PRIMED:
        return None
    at = _body_at(payload[1])
    return int.from_bytes(payload[at - _NAME_SIZE : at], "little")


def _encoded(data: bytes, salt: bytes, flags: int, names: bytes, dictionary: Dictionary | None) -> bytes:
    if len(salt) != SALT_SIZE:
        raise InvalidArgument(f"a salt has {SALT_SIZE} bytes, not {len(salt)}", op="seal")
    if len(data) < PRIMED_MIN:
        return bytes((_RAW, flags)) + salt + names + data
    codec, body = _ZSTD, None
    if dictionary is not None and len(data) <= SMALL_MAX:
        # Not tried without as well: on recorded sessions that came to less than half a byte a checkpoint.
        body = compress(data, dictionary)
        if body is not None and len(body) + _NAME_SIZE < len(data):
            flags, names = flags | _PRIMED, names + dictionary.index.to_bytes(_NAME_SIZE, "little")
        else:
            body = None
    if body is None:
        body = compress(data)
    if body is None:
        codec, body = _RAW, data
    return bytes((codec, flags)) + salt + names + body


def _body_at(flags: int) -> int:
    return HEADER_SIZE + _NAME_SIZE * (bool(flags & _NAMED) + bool(flags & _PRIMED))


def split(payload: bytes) -> list[bytes]:
    """What of a payload goes into chunk records."""
    return [payload[at : at + CHUNK_BYTES] for at in range(_body_at(payload[1]), len(payload), CHUNK_BYTES)]


def in_chunks(payload: bytes, indices: Sequence[int]) -> bytes:
    """The payload that stands for one whose body went into the chunk records at `indices`."""
    flags = payload[1]
    return payload[:1] + bytes([flags | _IN_CHUNKS]) + payload[2 : _body_at(flags)] + b"".join(map(_INDEX.pack, indices))


def body_of(
    payload: bytes,
    *,
    length: int,
    limit: int,
    chunk: Callable[[int], bytes] | None = None,
    dictionary: Callable[[int], Dictionary] | None = None,
) -> Body:
    """What a payload holds whose envelope has `length` bytes: that many, or a delta of at most as many.

    `chunk` gives the envelope of the chunk record at an index, `dictionary` the dictionary at one; without them a payload that
    needs them is Corrupt.

    StateTooLarge: the entry gives more than `limit` bytes; nothing was allocated. NewerFormat: a codec or flag of a later
    version. Corrupt: what no version writes.
    """
    if length > limit:
        raise StateTooLarge(
            f"an envelope has {length} bytes, and the limit is {limit}",
            op="open",
            hint="open the store with a larger limit for states",
        )
    if len(payload) < HEADER_SIZE:
        raise Corrupt(f"a payload has {len(payload)} bytes, fewer than its header of {HEADER_SIZE}", op="open")
    codec, flags = payload[0], payload[1]
    if codec not in (_RAW, _ZSTD) or flags not in _FLAGS_OF[codec]:
        raise NewerFormat(
            f"a payload has codec {codec} and flags {flags}, which this version does not know",
            op="open",
            hint="read it with a later aegis-store: pip install --upgrade aegis-store",
        )
    at = _body_at(flags)
    if len(payload) < at:
        raise Corrupt(f"a payload has {len(payload)} bytes, fewer than its header of {at}", op="open")
    encoded = payload[at:]
    if flags & _IN_CHUNKS:
        encoded = _collect(encoded, chunk, length)
    is_delta = bool(flags & _DELTA)
    base = int.from_bytes(payload[HEADER_SIZE : HEADER_SIZE + _NAME_SIZE], "little") if flags & _NAMED else None
    if codec == _RAW:
        if len(encoded) != length if not is_delta else len(encoded) > length:
            raise Corrupt(f"a raw payload holds {len(encoded)} bytes, the entry says {length}", op="open")
        return Body(encoded, is_delta, base)
    primed = None
    if flags & _PRIMED:
        if dictionary is None:
            raise Corrupt("a payload is compressed with a dictionary where it cannot be", op="open")
        primed = dictionary(int.from_bytes(payload[at - _NAME_SIZE : at], "little"))
    return Body(decompress(encoded, length=length, at_most=is_delta, dictionary=primed), is_delta, base)


def open_payload(
    payload: bytes,
    *,
    length: int,
    commitment: bytes,
    limit: int,
    chunk: Callable[[int], bytes] | None = None,
    dictionary: Callable[[int], Dictionary] | None = None,
    restore: Callable[[Body], bytes] | None = None,
) -> bytes:
    """The envelope in a payload, if it is the one that the entry commits to by `length` (bytes) and `commitment` [32].

    `restore` gives the envelope that a delta makes; without it a delta is Corrupt. Errors as of `body_of`; Corrupt also for
    anything that is not exactly what was sealed.
    """
    body = body_of(payload, length=length, limit=limit, chunk=chunk, dictionary=dictionary)
    envelope = body.data
    if body.is_delta:
        if restore is None:
            raise Corrupt("a payload is a delta where it cannot be", op="open")
        envelope = restore(body)
    if len(envelope) != length or commit(envelope, payload[2:HEADER_SIZE]) != commitment:
        raise Corrupt("an envelope is not the one that its entry commits to", op="open")
    return envelope


def _collect(indices: bytes, chunk: Callable[[int], bytes] | None, length: int) -> bytes:
    """What chunk records hold of an envelope of `length` bytes, which is never longer than the envelope."""
    if chunk is None or len(indices) % _INDEX.size:
        raise Corrupt("a payload is in chunks where it cannot be", op="open")
    pieces: list[bytes] = []
    room = length
    for (index,) in _INDEX.iter_unpack(indices):
        piece = chunk(index)
        room -= len(piece)
        if room < 0 or not piece:
            raise Corrupt(f"the chunks of a payload hold more than its {length} bytes, or nothing", op="open")
        pieces.append(piece)
    return b"".join(pieces)
