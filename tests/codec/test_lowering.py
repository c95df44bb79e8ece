"""The walk turns every value into what msgpack has, changes nothing that it was given, and names the first offence."""

import copy
import datetime

import ormsgpack
import pytest
from hypothesis import given, settings

from aegis_store.codec.extensions import TUPLE, pack, write
from aegis_store.codec.lowering import demand_storable, lower
from aegis_store.codec.registry import NO_TYPES
from aegis_store.codec.restoring import unpack
from aegis_store.errors import StateTypeError
from tests.values import NAMED, Ticket, exactly, values


@settings(deadline=None, max_examples=60)
@given(values)
def test_what_is_lowered_comes_back_and_what_was_given_is_as_it_was(value):
    before = copy.deepcopy(value)
    written = pack(lower(value, "state", None, NAMED), write)
    assert exactly(unpack(written, NAMED, "state"), value)
    assert exactly(before, value)
    demand_storable(value, "state", None, NAMED)


def test_what_needs_no_change_is_the_same_object():
    for value in ({"a": [1, {"b": "c"}]}, [1, b"x", datetime.date(2026, 1, 1)], "text", {1: {2: 3}}):
        assert lower(value, "state", None, NO_TYPES) == value
    leaf = {"b": "c"}
    assert lower([(), leaf], "state", None, NO_TYPES)[1] is leaf


def test_what_is_lowered_is_an_extension_type():
    lowered = lower([(1, 2)], "state", None, NO_TYPES)
    assert type(lowered[0]) is ormsgpack.Ext
    assert ormsgpack.packb(lowered).hex() == f"91c703{TUPLE:02x}920102"


def test_items_of_an_envelope_are_called_by_their_names():
    with pytest.raises(StateTypeError, match=r"^metadata\[0\]\.title is of type object"):
        lower(["x", (), [Ticket(object())]], "envelope", ["schema", "state", "metadata"], NAMED)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"a": ["\ud800"], "b": object()}, r'state\["a"\]\[0\] is a str'),
        ({"a": {"\ud800": 1}, "b": object()}, r'a key of state\["a"\], .* is a str'),
        ({"a": {(): 1, "\ud800": 1}, "b": object()}, r'a key of state\["a"\], .* is a str'),
        ({"a": (1, ["x", "\ud800"]), "b": object()}, r'state\["a"\]\[1\]\[1\] is a str'),
        ({"a": [{"k\ud800"}], "b": object()}, r'state\["a"\]\[0\]\{…\} is a str'),
        ([{"a": 1}, {"b": [()]}, object()], r"state\[2\] is of type object"),
    ],
)
def test_the_first_offence_is_named_also_where_the_walk_went_past_it(value, path):
    with pytest.raises(StateTypeError, match=f"^{path}"):
        lower(value, "state", None, NO_TYPES)
        demand_storable(value, "state", None, NO_TYPES)
