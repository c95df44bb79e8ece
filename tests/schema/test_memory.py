"""The envelope of a memory item."""

from __future__ import annotations

import msgspec
import pytest

from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTypeError
from aegis_store.schema.memory import NAMES, Item, decode, encode

ITEM = Item(op="put", number=3, changed_ms=5, ttl_ms=60, expires_ms=65, request_id="r", value={"a": 1})


@pytest.mark.parametrize("item", [ITEM, Item(op="delete", number=1, changed_ms=0)])
def test_an_item_comes_back(item):
    assert decode(encode(item)) == item


def test_what_cannot_be_stored_is_named():
    with pytest.raises(StateTypeError, match=r'^value\["at"\] is of type complex'):
        encode(msgspec.structs.replace(ITEM, value={"at": 1j}))
    with pytest.raises(InvalidArgument, match="request_id is of type int"):
        encode(msgspec.structs.replace(ITEM, request_id=7))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("op", "drop"),
        ("number", 0),
        ("number", "1"),
        ("changed_ms", -1),
        ("ttl_ms", 1.5),
        ("expires_ms", -2),
        ("request_id", 7),
    ],
)
def test_what_is_no_item_is_corrupt(name, value):
    fields = msgspec.msgpack.decode(encode(ITEM))
    fields[NAMES.index(name)] = value
    with pytest.raises(Corrupt):
        decode(msgspec.msgpack.encode(fields))


def test_a_later_version_is_newer():
    fields = msgspec.msgpack.decode(encode(ITEM))
    with pytest.raises(NewerFormat):
        decode(msgspec.msgpack.encode([fields[0], 1, *fields[2:]]))
