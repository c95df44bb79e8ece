"""The envelope of a memory item: one version of a key, a refresh of it, or the end of it.

    ["memory-item", 0, op, version, ttl_ms or nil, expires_ms or nil, changed_ms, request_id, value]

`op` is "put", "refresh" or "delete". A refresh has the version and the value of the put before it and a later expiry; a
delete has the version of the put that it ends, and nil for a value. Times are ms since 1970-01-01 UTC; `changed_ms` is that
of the put. Which namespace and key it is says the name of its chain. Source: FORMAT.md, Envelopes.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from aegis_store.codec.canonical import decode_envelope, encode_envelope
from aegis_store.codec.registry import NO_TYPES, StateTypes
from aegis_store.errors import Corrupt, InvalidArgument

SCHEMA: Final = "memory-item"
VERSION: Final = 0
NAMES: Final = ("schema", "version", "op", "number", "ttl_ms", "expires_ms", "changed_ms", "request_id", "value")

Op = Literal["put", "refresh", "delete"]
_OPS: Final = ("put", "refresh", "delete")
_NUMBER_MAX: Final = (1 << 63) - 1


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A version of a key. `number` counts its puts from 1; `value` holds any value that `codec.canonical` stores."""

    op: Op
    number: int
    changed_ms: int
    ttl_ms: int | None = None
    expires_ms: int | None = None
    request_id: str | None = None
    value: object = None


def encode(item: Item, *, types: StateTypes = NO_TYPES) -> bytes:
    """The envelope. StateTypeError names what cannot be stored, as in `value["address"]`."""
    if item.request_id is not None and type(item.request_id) is not str:
        raise InvalidArgument(f"request_id is of type {type(item.request_id).__name__}, not str", op="encode")
    fields = [SCHEMA, VERSION, item.op, item.number, item.ttl_ms, item.expires_ms, item.changed_ms, item.request_id, item.value]
    return encode_envelope(fields, NAMES, types=types)


def decode(data: bytes, *, types: StateTypes = NO_TYPES) -> Item:
    """The item in an envelope. Corrupt if it is anything else; NewerFormat if a later version wrote it; UnknownType if it
    holds a named type that is not among `types`."""
    fields: list[Any] = decode_envelope(data, schema=SCHEMA, version=VERSION, names=NAMES, types=types)
    _, _, op, number, ttl_ms, expires_ms, changed_ms, request_id, value = fields
    if op not in _OPS or not _is_number(number, 1) or not _is_number(changed_ms, 0):
        raise Corrupt("a memory item does not say what it is", op="decode")
    if not all(each is None or _is_number(each, 0) for each in (ttl_ms, expires_ms)):
        raise Corrupt("the times of a memory item are no numbers that one can have", op="decode")
    if request_id is not None and type(request_id) is not str:
        raise Corrupt("the request id of a memory item is not a str", op="decode")
    return Item(
        op=op,
        number=number,
        changed_ms=changed_ms,
        ttl_ms=ttl_ms,
        expires_ms=expires_ms,
        request_id=request_id,
        value=value,
    )


def _is_number(wire: Any, least: int) -> bool:
    return type(wire) is int and least <= wire <= _NUMBER_MAX
