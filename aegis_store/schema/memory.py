"""The envelope of a memory item: one version of a key, a refresh of it, or the end of it.

    ["memory-item", 0, namespace, key, op, number, put, created_ms, changed_ms, ttl_ms, expires_ms, request_id, value]

    op         number, value   put                  created_ms          changed_ms   ttl_ms, expires_ms
    "put"      its own         nil                  nil where it is     nil          nil where it never expires
                                                    the first of a key
    "refresh"  of that put     ordinal of that put  of that put         of that put  a later expiry
    "delete"   of that put,    ordinal of that put  of that put         of that put  nil
               value nil

Times are ms since 1970-01-01 UTC; where one is nil it is the time of the record's entry. The namespace is an array of names,
and a name may be any str (schema.session). Numbers count the puts of a key from 1, and go on after a delete.
Source: FORMAT.md, Envelopes.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from aegis_store.codec.canonical import decode_envelope, encode_envelope, name_from_wire, name_to_wire
from aegis_store.codec.registry import NO_TYPES, StateTypes
from aegis_store.errors import Corrupt, InvalidArgument
from aegis_store.schema.names import Namespace

SCHEMA: Final = "memory-item"
VERSION: Final = 0
NAMES: Final = (
    "schema",
    "version",
    "namespace",
    "key",
    "op",
    "number",
    "put",
    "created_ms",
    "changed_ms",
    "ttl_ms",
    "expires_ms",
    "request_id",
    "value",
)

Op = Literal["put", "refresh", "delete"]
_NUMBER_MAX: Final = (1 << 63) - 1
_fields: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_any: Final = msgspec.msgpack.Decoder()
_op: Final = msgspec.msgpack.Decoder(Op)
_put: Final = msgspec.msgpack.Decoder(int | None)


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a key. `value` holds any value that `codec.canonical` stores; the rest: see the module's text."""

    namespace: Namespace
    key: str
    op: Op
    number: int
    put: int | None = None
    created_ms: int | None = None
    changed_ms: int | None = None
    ttl_ms: int | None = None
    expires_ms: int | None = None
    request_id: str | None = None
    value: object = None


def encode(item: Item, *, types: StateTypes = NO_TYPES) -> bytes:
    """The envelope. StateTypeError names what cannot be stored, as in `value["address"]`."""
    if item.request_id is not None and type(item.request_id) is not str:
        raise InvalidArgument(f"request_id is of type {type(item.request_id).__name__}, not str", op="encode")
    return encode_envelope(
        [
            SCHEMA,
            VERSION,
            [name_to_wire(part, what="namespace") for part in item.namespace],
            name_to_wire(item.key, what="key"),
            item.op,
            item.number,
            item.put,
            item.created_ms,
            item.changed_ms,
            item.ttl_ms,
            item.expires_ms,
            item.request_id,
            item.value,
        ],
        NAMES,
        types=types,
    )


def decode(data: bytes, *, types: StateTypes = NO_TYPES) -> Item:
    """The item in an envelope. Corrupt if it is anything else; NewerFormat if a later version wrote it; UnknownType if it
    holds a named type that is not among `types`."""
    return _item(decode_envelope(data, schema=SCHEMA, version=VERSION, names=NAMES, types=types))


def decode_head(data: bytes) -> Item:
    """The same of an envelope that an entry commits to, without its value, which may be of a type that nobody has named."""
    try:
        fields: list[Any] = [_any.decode(each) for each in _fields.decode(data)[:-1]]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Corrupt(f"a memory item does not say what it is: {error}", op="decode") from None
    if len(fields) != len(NAMES) - 1 or fields[:2] != [SCHEMA, VERSION]:
        raise Corrupt("an envelope is no memory item that this version knows", op="decode")
    return _item([*fields, None])


def _item(fields: list[Any]) -> Item:
    _, _, namespace, key, op, number, put, created_ms, changed_ms, ttl_ms, expires_ms, request_id, value = fields
    if type(namespace) is not list:
        raise Corrupt("the namespace of a memory item is no list", op="decode")
    if not _is_number(number, 1) or not all(
        each is None or _is_number(each, 0) for each in (put, created_ms, changed_ms, ttl_ms, expires_ms)
    ):
        raise Corrupt("a number of a memory item is none that it can have", op="decode")
    if not _fits(op, put, created_ms, changed_ms, ttl_ms, expires_ms, value):
        raise Corrupt("a memory item does not have the fields of what it says that it is", op="decode")
    if request_id is not None and type(request_id) is not str:
        raise Corrupt("the request id of a memory item is not a str", op="decode")
    return Item(
        namespace=tuple([name_from_wire(part, what="namespace") for part in namespace]),
        key=name_from_wire(key, what="key"),
        op=op,
        number=number,
        put=put,
        created_ms=created_ms,
        changed_ms=changed_ms,
        ttl_ms=ttl_ms,
        expires_ms=expires_ms,
        request_id=request_id,
        value=value,
    )


def op_of(data: bytes) -> tuple[Op, int | None]:
    """What the record of an envelope that its entry commits to is, and the ordinal of its put, without a look at the rest."""
    try:
        fields = _fields.decode(data)
        op: Op = _op.decode(fields[NAMES.index("op")])
        put: int | None = _put.decode(fields[NAMES.index("put")])
        return op, put
    except (msgspec.DecodeError, UnicodeDecodeError, IndexError, RecursionError) as error:
        raise Corrupt(f"a memory item does not say what it is: {error}", op="decode") from None


def _fits(
    op: Any,
    put: int | None,
    created_ms: int | None,
    changed_ms: int | None,
    ttl_ms: int | None,
    expires_ms: int | None,
    value: object,
) -> bool:
    """Whether an item has what its kind has, and nothing else."""
    expires = ttl_ms is not None and expires_ms is not None
    never = ttl_ms is None and expires_ms is None
    if op == "put":
        return put is None and changed_ms is None and (expires or never)
    if op not in ("refresh", "delete") or put is None or created_ms is None or changed_ms is None:
        return False
    return expires if op == "refresh" else never and value is None


def _is_number(wire: Any, least: int) -> bool:
    return type(wire) is int and least <= wire <= _NUMBER_MAX
