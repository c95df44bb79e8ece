"""Which values a filter stands for, as a table."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from aegis_store.errors import InvalidArgument
from aegis_store.memory.fields import matcher

VALUE = {
    "kind": "note",
    "score": 5,
    "done": True,
    "tags": ["a", "b"],
    "at": datetime(2026, 1, 2, tzinfo=UTC),
    "who": {"name": "ann", "age": 30},
    "raw": b"x",
    "price": Decimal("1.5"),
    "nothing": None,
}


@pytest.mark.parametrize(
    ("where", "matches"),
    [
        (None, True),
        ({}, True),
        ({"kind": "note"}, True),
        ({"kind": "task"}, False),
        ({"kind": "note", "score": 5}, True),
        ({"kind": "note", "score": 6}, False),
        ({"score": 5.0}, True),
        ({"done": True}, True),
        ({"done": 1}, False),
        ({"score": True}, False),
        ({"who": {"name": "ann"}}, True),
        ({"who": {"name": "bob"}}, False),
        ({"who": {"age": {"$gte": 30}}}, True),
        ({"kind": {"name": "ann"}}, False),
        ({"tags": ["a", "b"]}, True),
        ({"tags": ("a", "b")}, True),
        ({"tags": ["a"]}, False),
        ({"tags": ["b", "a"]}, False),
        ({"tags": ["a", {"$ne": "c"}]}, True),
        ({"tags": "a"}, False),
        ({"missing": None}, True),
        ({"missing": 1}, False),
        ({"missing": {"$ne": 1}}, True),
        ({"nothing": None}, True),
        ({"score": {"$eq": 5}}, True),
        ({"score": {"$ne": 5}}, False),
        ({"score": {"$gt": 4}}, True),
        ({"score": {"$gt": 5}}, False),
        ({"score": {"$gte": 5}}, True),
        ({"score": {"$lt": 5}}, False),
        ({"score": {"$lte": 5}}, True),
        ({"score": {"$gt": 4, "$lt": 6}}, True),
        ({"score": {"$gt": 4, "$lt": 5}}, False),
        ({"score": {"$gt": "4"}}, False),
        ({"score": {"$lt": "6"}}, False),
        ({"score": {"$gt": Decimal("4.5")}}, True),
        ({"score": {"$gt": Decimal("NaN")}}, False),
        ({"score": {"$eq": Decimal("sNaN")}}, False),
        ({"done": {"$gt": False}}, False),
        ({"done": {"$gt": 0}}, False),
        ({"missing": {"$gt": 0}}, False),
        ({"kind": {"$gt": "mote"}}, True),
        ({"raw": {"$gte": b"x"}}, True),
        ({"raw": {"$gte": "x"}}, False),
        ({"at": {"$gt": datetime(2026, 1, 1, tzinfo=UTC)}}, True),
        ({"at": {"$gt": datetime(2026, 1, 1)}}, False),
        ({"at": {"$gt": date(2026, 1, 1)}}, False),
        ({"price": {"$lt": 2}}, True),
        ({"tags": {"$gt": ["a"]}}, False),
    ],
)
def test_a_filter(where, matches):
    assert matcher(where)(VALUE) is matches


@pytest.mark.parametrize("value", [None, "note", 5, ["kind"], b"x"])
def test_a_value_without_fields_has_none_of_them(value):
    assert matcher({})(value)
    assert not matcher({"kind": None})(value)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"score": {"$in": [5]}}, r"no operator '\$in'"),
        ({"score": {"$gt": 4, "name": "x"}}, "mixes fields and operators"),
        (["kind"], "not a dict of fields"),
    ],
)
def test_what_is_no_filter_is_refused_before_anything_is_read(where, message):
    with pytest.raises(InvalidArgument, match=message):
        matcher(where)
