"""The envelopes that let an agent's key sign, and stop it.

    ["key-add", 0, agent, public key (bin 32)]
    ["key-revoke", 0, agent, public key (bin 32), reason or nil]

The enrolment key signs them. A key counts from the index of its key-add record to that of its key-revoke record in the same
log. Agents and reasons may be any str (schema.session). Source: FORMAT.md, Envelopes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from aegis_store.codec.canonical import decode_envelope, encode_envelope, name_from_wire, name_to_wire
from aegis_store.errors import Corrupt, InvalidArgument
from aegis_store.types import HASH_SIZE

ADD: Final = "key-add"
REVOKE: Final = "key-revoke"
VERSION: Final = 0

_ADD_NAMES: Final = ("schema", "version", "agent", "public_key")
_REVOKE_NAMES: Final = ("schema", "version", "agent", "public_key", "reason")


class KeyAdd(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's Ed25519 public key [32] may sign from here on."""

    agent: str
    public_key: bytes


class KeyRevoke(msgspec.Struct, frozen=True, kw_only=True):
    """An agent's Ed25519 public key [32] may not sign any more."""

    agent: str
    public_key: bytes
    reason: str | None = None


def encode_add(add: KeyAdd) -> bytes:
    """The envelope of a key-add record. InvalidArgument if agent or key are not a str and 32 bytes."""
    return encode_envelope([ADD, VERSION, name_to_wire(add.agent, what="agent"), _key_to_wire(add.public_key)], _ADD_NAMES)


def decode_add(data: bytes) -> KeyAdd:
    """The key in a key-add record. Corrupt if it is anything else; NewerFormat if a later version wrote it."""
    _, _, agent, public_key = decode_envelope(data, schema=ADD, version=VERSION, names=_ADD_NAMES)
    return KeyAdd(agent=name_from_wire(agent, what="agent"), public_key=_key_from_wire(public_key))


def encode_revoke(revoke: KeyRevoke) -> bytes:
    """The envelope of a key-revoke record. InvalidArgument if agent, key or reason are not a str, 32 bytes and a str."""
    return encode_envelope(
        [
            REVOKE,
            VERSION,
            name_to_wire(revoke.agent, what="agent"),
            _key_to_wire(revoke.public_key),
            None if revoke.reason is None else name_to_wire(revoke.reason, what="reason"),
        ],
        _REVOKE_NAMES,
    )


def decode_revoke(data: bytes) -> KeyRevoke:
    """The key in a key-revoke record. Corrupt if it is anything else; NewerFormat if a later version wrote it."""
    _, _, agent, public_key, reason = decode_envelope(data, schema=REVOKE, version=VERSION, names=_REVOKE_NAMES)
    return KeyRevoke(
        agent=name_from_wire(agent, what="agent"),
        public_key=_key_from_wire(public_key),
        reason=None if reason is None else name_from_wire(reason, what="reason"),
    )


def _key_to_wire(public_key: bytes) -> bytes:
    if type(public_key) is not bytes or len(public_key) != HASH_SIZE:
        raise InvalidArgument(f"a public key is {HASH_SIZE} bytes", op="encode")
    return public_key


def _key_from_wire(wire: object) -> bytes:
    if type(wire) is not bytes or len(wire) != HASH_SIZE:
        raise Corrupt(f"a public key is not {HASH_SIZE} bytes", op="decode")
    return wire
