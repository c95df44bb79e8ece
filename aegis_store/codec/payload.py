"""The payload: an envelope as it is stored, with the salt of its commitment.

       0     1  codec: 0 raw, 1 zstd
       1     1  flags; 2: in chunks
       2    16  salt
      18        the envelope, encoded; or, in chunks, the index u64 of each chunk record whose envelopes make it up, in order

    commitment = BLAKE3-256("aegis-store/v0/commitment" 0x0A ‖ salt [16] ‖ length of the envelope u64 ‖ envelope)

The entry carries the commitment and the length, not the encoding: compaction may change codec and flags under a signature that
stays valid. Dropping the payload drops the salt, so nothing can be guessed from what remains. Source: FORMAT.md, Payload.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final

from blake3 import blake3

from aegis_store.codec.compression import compress, decompress
from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTooLarge

SALT_SIZE: Final = 16
#: What one chunk record holds of a payload that no single record can.
CHUNK_BYTES: Final = 4 << 20
#: Bytes before the encoded envelope.
HEADER_SIZE: Final = 2 + SALT_SIZE

_DOMAIN: Final = b"aegis-store/v0/commitment\n"
_RAW: Final = b"\x00\x00"
_ZSTD: Final = b"\x01\x00"
_IN_CHUNKS: Final = 2
_INDEX: Final = Struct("<Q")

#: Up to here the envelope is copied behind its prefix and hashed in one call, which is faster; above, it is not copied.
_COPIED_MAX: Final = 128 << 10


def commit(envelope: bytes, salt: bytes) -> bytes:
    """The commitment [32] to an envelope under a salt [16]."""
    prefix = _DOMAIN + salt + len(envelope).to_bytes(8, "little")
    if len(envelope) <= _COPIED_MAX:
        return blake3(prefix + envelope).digest()
    return blake3(prefix).update(envelope).digest()


def seal(envelope: bytes, salt: bytes) -> tuple[bytes, bytes, int]:
    """(payload, commitment [32], length of the envelope in bytes). The salt [16] must be random and is used once."""
    if len(salt) != SALT_SIZE:
        raise InvalidArgument(f"a salt has {SALT_SIZE} bytes, not {len(salt)}", op="seal")
    frame = compress(envelope)
    payload = _RAW + salt + envelope if frame is None else _ZSTD + salt + frame
    return payload, commit(envelope, salt), len(envelope)


def split(payload: bytes) -> list[bytes]:
    """What of a payload goes into chunk records."""
    return [payload[at : at + CHUNK_BYTES] for at in range(HEADER_SIZE, len(payload), CHUNK_BYTES)]


def in_chunks(payload: bytes, indices: Sequence[int]) -> bytes:
    """The payload that stands for one whose encoded envelope went into the chunk records at `indices`."""
    return payload[:1] + bytes([_IN_CHUNKS]) + payload[2:HEADER_SIZE] + b"".join(map(_INDEX.pack, indices))


def open_payload(
    payload: bytes, *, length: int, commitment: bytes, limit: int, chunk: Callable[[int], bytes] | None = None
) -> bytes:
    """The envelope in a payload, if it is the one that the entry commits to by `length` (bytes) and `commitment` [32].

    `chunk` gives the envelope of the chunk record at an index; without it a payload in chunks is Corrupt.

    StateTooLarge: the entry gives more than `limit` bytes; nothing was allocated. NewerFormat: a codec or flag of a later
    version. Corrupt: anything else that is not exactly what was sealed.
    """
    if length > limit:
        raise StateTooLarge(
            f"an envelope has {length} bytes, and the limit is {limit}",
            op="open",
            hint="open the store with a larger limit for states",
        )
    if len(payload) < HEADER_SIZE:
        raise Corrupt(f"a payload has {len(payload)} bytes, fewer than its header of {HEADER_SIZE}", op="open")
    form, encoded = payload[:2], payload[HEADER_SIZE:]
    if payload[1] == _IN_CHUNKS:
        form = payload[:1] + b"\x00"
        encoded = _collect(encoded, chunk, length)
    if form == _ZSTD:
        envelope = decompress(encoded, length=length)
    elif form == _RAW:
        if len(encoded) != length:
            raise Corrupt(f"a raw payload holds {len(encoded)} bytes, the entry says {length}", op="open")
        envelope = encoded
    else:
        raise NewerFormat(
            f"a payload has codec {form[0]} and flags {form[1]}, which this version does not know",
            op="open",
            hint="read it with a later aegis-store: pip install --upgrade aegis-store",
        )
    if commit(envelope, payload[2:HEADER_SIZE]) != commitment:
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
