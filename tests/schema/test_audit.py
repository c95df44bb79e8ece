"""The envelope of an audit event."""

from __future__ import annotations

import msgspec
import pytest

from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTypeError
from aegis_store.schema.audit import Event, decode, encode

EVENT = Event(subject="ticket \ud800", actor="anna", action="approved", details={"amount": 7}, request_id="r")
FIELDS = ["audit-event", 0, "s", "a", "did", None, None]


@pytest.mark.parametrize("event", [EVENT, Event(subject="", actor="", action="")])
def test_an_event_comes_back(event):
    assert decode(encode(event)) == event


def test_it_is_laid_out_as_the_module_says():
    plain = Event(subject="s", actor="a", action="did", details=[1], request_id="r")
    assert msgspec.msgpack.decode(encode(plain)) == ["audit-event", 0, "s", "a", "did", [1], "r"]


def test_what_cannot_be_stored_is_named():
    with pytest.raises(StateTypeError, match=r'^details\["at"\] is of type complex'):
        encode(msgspec.structs.replace(EVENT, details={"at": 1j}))
    with pytest.raises(InvalidArgument, match="request_id is of type int"):
        encode(msgspec.structs.replace(EVENT, request_id=7))
    with pytest.raises(InvalidArgument, match="actor"):
        encode(msgspec.structs.replace(EVENT, actor=7))


@pytest.mark.parametrize(("place", "value"), [(0, "checkpoint"), (2, 7), (3, None), (4, ["did"]), (6, 7)])
def test_what_is_no_event_is_corrupt(place, value):
    wrong = [*FIELDS[:place], value, *FIELDS[place + 1 :]]
    with pytest.raises(Corrupt):
        decode(msgspec.msgpack.encode(wrong))


def test_a_later_version_is_newer():
    with pytest.raises(NewerFormat):
        decode(msgspec.msgpack.encode(["audit-event", 1, *FIELDS[2:]]))
