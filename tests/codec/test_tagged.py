from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid
import zoneinfo
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store.changes import same
from aegis_store.codec.registry import StateTypes
from aegis_store.codec.tagged import INT_BITS_MAX, dumps, loads, to_json
from aegis_store.errors import InvalidArgument


@dataclasses.dataclass
class Step:
    tool: str
    tries: object = 0


class Plan(msgspec.Struct):
    goal: object


class Colour(enum.Enum):
    RED = 1
    BLUE = b"blue"


class Pair(NamedTuple):
    left: object
    right: int = 0


class Right(enum.Flag):
    READ = 1
    WRITE = 2


NAMED = StateTypes({"app.Step": Step, "app.Plan": Plan, "app.Colour": Colour, "app.Pair": Pair, "app.Right": Right})

ZONES = st.none() | st.timedeltas(datetime.timedelta(hours=-23), datetime.timedelta(hours=23)).map(
    lambda offset: datetime.timezone(datetime.timedelta(minutes=offset // datetime.timedelta(minutes=1)))
)
HASHABLE = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats()
    | st.text()
    | st.text(st.characters(categories=["Cs", "L"]))
    | st.sampled_from(["$", "$int", "$type", "$map", ""])
    | st.binary()
    | st.datetimes(timezones=ZONES)
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.decimals()
    | st.datetimes(timezones=st.timezones(), allow_imaginary=True)
    | st.sampled_from([*Colour, *Right, Right.READ | Right.WRITE])
)
# Sets and keys: values that are equal to nothing but themselves.
KEYS = st.text() | st.sampled_from(["$", "$int", "$type"]) | st.integers(2) | st.binary() | st.dates() | st.none()
VALUES = st.recursive(
    HASHABLE | st.binary().map(bytearray) | st.sets(KEYS) | st.frozensets(KEYS),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(st.text(), inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.builds(Step, st.text(), inner)
        | st.builds(Plan, inner)
        | st.builds(Pair, inner, st.integers())
    ),
    max_leaves=10,
)


@given(VALUES)
def test_every_value_comes_back_as_it_was(value):
    line = dumps(value, types=NAMED)
    assert b"\n" not in line
    assert same(loads(line, types=NAMED), value)


@given(VALUES)
def test_any_json_parser_reads_it(value):
    json.loads(dumps(value, types=NAMED), parse_constant=pytest.fail)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ({"a": [1, 1.5, "x", None, True]}, {"a": [1, 1.5, "x", None, True]}),
        ((1, 2), {"$tuple": [1, 2]}),
        (b"\x00", {"$bytes": "AA=="}),
        (2**64 - 1, 2**64 - 1),
        (2**64, {"$int": "18446744073709551616"}),
        (math.inf, {"$float": "inf"}),
        ({"$bytes": "AA=="}, {"$map": [["$bytes", "AA=="]]}),
        ({1: "one"}, {"$map": [[1, "one"]]}),
        ({"b", "a"}, {"$set": ["a", "b"]}),
        (decimal.Decimal("1.50"), {"$decimal": "1.50"}),
        (datetime.datetime(2026, 1, 31, tzinfo=datetime.UTC), {"$datetime": "2026-01-31T00:00:00+00:00"}),
        (datetime.timedelta(hours=-1), {"$timedelta": [-1, 82800, 0]}),
        (uuid.UUID(int=1), {"$uuid": "00000000-0000-0000-0000-000000000001"}),
        ("\ud800", {"$str": "7aCA"}),
        (Step("search"), {"$type": "app.Step", "fields": {"tool": "search", "tries": 0}}),
        (Pair(left=1), {"$type": "app.Pair", "fields": {"left": 1, "right": 0}}),
        (Colour.BLUE, {"$type": "app.Colour", "members": ["BLUE"]}),
        (Right.READ | Right.WRITE, {"$type": "app.Right", "members": ["READ", "WRITE"]}),
        (datetime.time(1, 2, 3, fold=1), {"$time": ["01:02:03", 1, None]}),
        (
            datetime.datetime(2026, 1, 31, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
            {"$datetime": ["2026-01-31T12:00:00", 0, "Europe/Berlin"]},
        ),
        (
            datetime.datetime(2026, 1, 31, tzinfo=datetime.timezone(datetime.timedelta(hours=1), "CET")),
            {"$datetime": ["2026-01-31T00:00:00+01:00", 0, {"name": "CET"}]},
        ),
    ],
)
def test_the_form_is_the_one_that_is_documented(value, plain):
    assert to_json(value, types=NAMED) == plain


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b'{"$nope": 1}',
        b'{"$int": 5}',
        b'{"$int": "05"}',
        b'{"$int": "1_0"}',
        b'{"$int": "x"}',
        b'{"$float": "1.5"}',
        b'{"$bytes": "A"}',
        b'{"$bytes": "A-=="}',
        b'{"$bytes": 1}',
        b'{"$bytes": "", "a": 1}',
        b'{"$bytes": "", "$int": "1"}',
        b'{"$map": [1]}',
        b'{"$map": [[[], 1]]}',
        b'{"$set": [[]]}',
        b'{"$set": 1}',
        b'{"$tuple": {}}',
        b'{"$timedelta": [1]}',
        b'{"$timedelta": [999999999999, 0, 0]}',
        b'{"$decimal": "x"}',
        b'{"$uuid": "x"}',
        b'{"$datetime": "yesterday"}',
        b'{"$time": ["12:00:00", 2, null]}',
        b'{"$time": ["12:00:00"]}',
        b'{"$time": ["12:00:00", 0, "No/Where"]}',
        b'{"$time": ["12:00:00", 0, "../../etc/passwd"]}',
        b'{"$time": ["12:00:00", 0, "Europe"]}',
        b'{"$time": ["12:00:00", 0, {"name": "CET"}]}',
        b'{"$time": ["12:00:00", 0, {"nick": "CET"}]}',
        b'{"$str": "/w=="}',
        b'{"$type": "app.Other", "fields": {}}',
        b'{"$type": "app.Step"}',
        b'{"$type": "app.Step", "members": ["a"]}',
        b'{"$type": "app.Step", "fields": {"tool": "a", "other": 1}}',
        b'{"$type": "app.Step", "fields": {}}',
        b'{"$type": "app.Colour", "members": ["GREEN"]}',
        b'{"$type": "app.Colour", "members": [1]}',
        b'{"$type": "app.Colour", "members": ["RED", "BLUE"]}',
        b'{"$type": "app.Colour", "fields": {}}',
        b"[" * 100_000,
        b"[" * 990 + b"]" * 990,
        b'{"$tuple":[' * 400 + b"]}" * 400,
    ],
)
def test_what_nobody_wrote_is_refused(line):
    with pytest.raises(InvalidArgument):
        loads(line, types=NAMED)


@pytest.mark.parametrize("value", [object(), 1 + 2j, Step("x"), Colour.RED, 1 << INT_BITS_MAX, type("Own", (int,), {})(3)])
def test_what_has_no_form_is_refused_by_name(value):
    with pytest.raises(InvalidArgument, match="no form in JSON"):
        dumps(value)
