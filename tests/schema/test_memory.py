"""The envelope of a memory item."""

from __future__ import annotations

import msgspec
import pytest

from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTypeError
from aegis_store.schema.memory import NAMES, Item, decode, decode_head, encode, op_of

ITEM = Item(
    namespace=("n", "\ud800"), key="k\udfff", op="put", number=3, ttl_ms=60, expires_ms=65, request_id="r", value={"a": 1}
)
REFRESH = msgspec.structs.replace(ITEM, op="refresh", put=7, created_ms=1, changed_ms=5)
DELETE = msgspec.structs.replace(REFRESH, op="delete", ttl_ms=None, expires_ms=None, value=None)


@pytest.mark.parametrize(
    "item", [ITEM, Item(namespace=(), key="", op="put", number=1), REFRESH, DELETE], ids=["put", "least", "refresh", "delete"]
)
def test_an_item_comes_back(item):
    assert decode(encode(item)) == item


def test_what_cannot_be_stored_is_named():
    with pytest.raises(StateTypeError, match=r'^value\["at"\] is of type complex'):
        encode(msgspec.structs.replace(ITEM, value={"at": 1j}))
    with pytest.raises(InvalidArgument, match="request_id is of type int"):
        encode(msgspec.structs.replace(ITEM, request_id=7))


@pytest.mark.parametrize(
    ("item", "name", "value"),
    [
        (ITEM, "op", "drop"),
        (ITEM, "op", ["put"]),
        (ITEM, "number", 0),
        (ITEM, "number", "1"),
        (ITEM, "created_ms", -1),
        (ITEM, "ttl_ms", 1.5),
        (ITEM, "expires_ms", -2),
        (ITEM, "request_id", 7),
        (ITEM, "namespace", "n"),
        (ITEM, "namespace", ["n", 5]),
        (ITEM, "key", None),
        (ITEM, "put", 7),
        (ITEM, "changed_ms", 5),
        (ITEM, "ttl_ms", None),
        (ITEM, "expires_ms", None),
        (REFRESH, "put", None),
        (REFRESH, "created_ms", None),
        (REFRESH, "changed_ms", None),
        (REFRESH, "ttl_ms", None),
        (REFRESH, "expires_ms", None),
        (DELETE, "put", None),
        (DELETE, "value", 0),
        (DELETE, "expires_ms", 5),
    ],
)
def test_what_is_no_item_is_corrupt(item, name, value):
    fields = msgspec.msgpack.decode(encode(item))
    fields[NAMES.index(name)] = value
    with pytest.raises(Corrupt):
        decode(msgspec.msgpack.encode(fields))
    if name != "value":
        with pytest.raises(Corrupt):
            decode_head(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize("item", [ITEM, REFRESH, DELETE])
def test_what_it_is_is_read_without_the_value(item):
    assert decode_head(encode(item)) == msgspec.structs.replace(item, value=None)
    assert op_of(encode(item)) == (item.op, item.put)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc0",
        b"\x91\xc0",
        b"\x9d" + b"\xc0" * 13,
        b"\x9d" + b"\x91" * 100_000,
        encode(ITEM)[:-1],
        b"\x9c" + encode(ITEM)[1:],
    ],
    ids=["nothing", "nil", "short", "nils", "deep", "cut", "a field less"],
)
def test_what_says_nothing_is_corrupt(data):
    with pytest.raises(Corrupt):
        decode_head(data)
    with pytest.raises(Corrupt):
        op_of(data)


def test_a_later_version_is_newer():
    fields = msgspec.msgpack.decode(encode(ITEM))
    with pytest.raises(NewerFormat):
        decode(msgspec.msgpack.encode([fields[0], 1, *fields[2:]]))
