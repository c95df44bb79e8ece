"""The payload: an envelope as it is stored, with the salt of its commitment.

       0     1  codec: 0 raw, 1 zstd
       1     1  flags, 0
       2    16  salt
      18        the envelope, encoded

    commitment = BLAKE3-256("aegis-store/v0/commitment" 0x0A ‖ salt [16] ‖ length of the envelope u64 ‖ envelope)

The entry carries the commitment and the length, not the encoding: compaction may change codec and flags under a signature that
stays valid. Dropping the payload drops the salt, so nothing can be guessed from what remains. Source: FORMAT.md, Payload.
"""

from __future__ import annotations

from typing import Final

from blake3 import blake3

from aegis_store.codec.compression import compress, decompress
from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTooLarge

SALT_SIZE: Final = 16
#: Bytes before the encoded envelope.
HEADER_SIZE: Final = 2 + SALT_SIZE

_DOMAIN: Final = b"aegis-store/v0/commitment\n"
_RAW: Final = b"\x00\x00"
_ZSTD: Final = b"\x01\x00"

#: Up to here the envelope is copied behind its prefix and hashed in one call, which is faster; above, it is not copied.
_COPIED_MAX: Final = 65536


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


def open_payload(payload: bytes, *, length: int, commitment: bytes, limit: int) -> bytes:
    """The envelope in a payload, if it is the one that the entry commits to by `length` (bytes) and `commitment` [32].

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
    form = payload[:2]
    if form == _ZSTD:
        envelope = decompress(payload[HEADER_SIZE:], length=length)
    elif form == _RAW:
        if len(payload) - HEADER_SIZE != length:
            raise Corrupt(f"a raw payload holds {len(payload) - HEADER_SIZE} bytes, the entry says {length}", op="open")
        envelope = payload[HEADER_SIZE:]
    else:
        raise NewerFormat(
            f"a payload has codec {form[0]} and flags {form[1]}, which this version does not know",
            op="open",
            hint="read it with a later aegis-store: pip install --upgrade aegis-store",
        )
    if commit(envelope, payload[2:HEADER_SIZE]) != commitment:
        raise Corrupt("an envelope is not the one that its entry commits to", op="open")
    return envelope
