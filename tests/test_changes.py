from __future__ import annotations

import copy
import dataclasses
import datetime
import decimal
import enum
import math
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store.changes import Change, Changes, Field, Index, Kind, brief, compare, path_of, same, summary

SCALARS = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, -0.0, 1.0, math.nan, "", "a", "b", b"a"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.sampled_from(["a", "b", "odd key", 7]), inner, max_size=4),
    max_leaves=20,
)


def lines(old, new, **options):
    """Each change as `path kind old new`, as short as it goes."""
    shown = []
    for each in compare(old, new, **options).items:
        match each.kind:
            case Kind.ADDED:
                shown.append(f"+{each.path} {each.new!r}")
            case Kind.REMOVED:
                shown.append(f"-{each.path} {each.old!r}")
            case Kind.CHANGED:
                shown.append(f"{each.path} {each.old!r} > {each.new!r}")
    return shown


@dataclasses.dataclass
class Step:
    tool: str
    tries: int = 0


class Plan(msgspec.Struct):
    goal: str


class Colour(enum.Enum):
    RED = 1


# ---- what differs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (1, 1, []),
        (1, 2, [" 1 > 2"]),
        ([], {}, [" [] > {}"]),
        ({"a": 1}, {"a": 2, "b": 3}, ["a 1 > 2", "+b 3"]),
        ({"a": 1, "b": {"c": [1]}}, {"b": {"c": [2]}}, ["-a 1", "b.c[0] 1 > 2"]),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({1: "x"}, {True: "x"}, ["-{1} 'x'", "+{true} 'x'"]),
        (Step("search"), Step("fetch"), ["tool 'search' > 'fetch'"]),
        ([Plan(goal="a")], [Plan(goal="b")], ["[0].goal 'a' > 'b'"]),
        ((1, 2), (1, 3), ["[1] 2 > 3"]),
        ((1,), [1], [" (1,) > [1]"]),
    ],
)
def test_each_place_that_differs_is_named_once(old, new, expected):
    assert lines(old, new) == expected


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ([1, 2], [1, 2, 3], ["+[2] 3"]),
        ([1, 2], [0, 1, 2], ["+[0] 0"]),
        ([1, 2, 3], [1, 3], ["-[1] 2"]),
        ([1, 2, 3, 4], [1, 9, 3, 4], ["[1] 2 > 9"]),
        ([1, 2, 3, 4, 5], [2, 3, 9, 4], ["-[0] 1", "+[2] 9", "-[4] 5"]),
        ([{"a": 1}, {"b": 1}], [{"a": 2}, {"b": 1}], ["[0].a 1 > 2"]),
        ([], [1], ["+[0] 1"]),
        ([1], [], ["-[0] 1"]),
    ],
)
def test_inserts_and_removals_in_lists_are_seen_as_such(old, new, expected):
    assert lines(old, new) == expected


def test_an_insert_in_front_of_a_long_list_costs_one_change():
    old = [{"number": number} for number in range(5000)]
    found = compare(old, [{"number": -1}, *old])
    assert [each.path for each in found.items] == ["[0]"]
    assert not found.is_rough


def test_a_list_too_long_to_match_is_paired_by_place_and_that_is_said():
    old, new = [1, 2, 3, 4], [9, 1, 8, 3, 7]
    assert not compare(old, new, cells_max=20).is_rough
    found = compare(old, new, cells_max=19)
    assert found.is_rough
    assert lines(old, new, cells_max=19) == ["[0] 1 > 9", "[1] 2 > 1", "[2] 3 > 8", "[3] 4 > 3", "+[4] 7"]


def test_nesting_as_deep_as_a_state_may_be_is_no_matter():
    deep, other = 1, 2
    for _ in range(255):
        deep, other = [deep], [other]
    (change,) = compare(deep, other).items
    assert len(change.steps) == 255
    assert not same(deep, other)


# ---- the same or not -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ("a", b"a"),
        (b"a", bytearray(b"a")),
        ([1], (1,)),
        ({1}, frozenset({1})),
        ({1}, {True}),
        (decimal.Decimal("1.0"), decimal.Decimal("1.00")),
        (Colour.RED, 1),
        ({"a": None}, {}),
        ({"a": 1}, {"b": 1}),
        (
            datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC),
            datetime.datetime(2026, 1, 1, 13, tzinfo=datetime.timezone(datetime.timedelta(hours=1))),
        ),
    ],
)
def test_what_can_be_told_apart_is_not_the_same(one, other):
    assert not same(one, other)
    assert compare(one, other).items


@given(VALUES)
def test_a_value_is_the_same_as_its_copy(value):
    assert same(value, copy.deepcopy(value))
    assert compare(value, copy.deepcopy(value)).items == ()


@given(VALUES, VALUES)
def test_nothing_differs_exactly_where_two_are_the_same(old, new):
    assert (compare(old, new).items == ()) == same(old, new)


@given(VALUES, VALUES, st.sampled_from([0, 40_000]))
def test_applied_to_the_old_value_the_changes_give_the_new_one(old, new, cells_max):
    assert same(applied(old, compare(old, new, cells_max=cells_max)), new)


def applied(value, changes: Changes):
    """What `value` becomes, change by change: what stands before a change is as it will be, so new indices hold."""
    box = [copy.deepcopy(value)]
    moved = Counter()

    def place_of(steps):
        place = box[0]
        for step in steps:
            place = place[step.at if isinstance(step, Index) else step]
        return place

    for change in changes.items:
        if not change.steps:
            box[0] = change.new
            continue
        *way, last = change.steps
        place = place_of(way)
        match last, change.kind:
            case Index(at), Kind.ADDED:
                place.insert(at, change.new)
                moved[path_of(way)] += 1
            case Index(at), Kind.REMOVED:
                assert same(place.pop(at + moved[path_of(way)]), change.old)
                moved[path_of(way)] -= 1
            case Index(at), Kind.CHANGED:
                place[at] = change.new
            case _, Kind.REMOVED:
                assert same(place.pop(last), change.old)
            case _:
                place[last] = change.new
    return box[0]


# ---- in words --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "path"),
    [
        ((), ""),
        (("messages", Index(3), "tool"), "messages[3].tool"),
        (("odd key",), '["odd key"]'),
        (("a", "odd\nkey"), r'a["odd\nkey"]'),
        ((7, "a"), "{7}.a"),
        ((Index(0), Field("name")), "[0].name"),
    ],
)
def test_paths_read_like_code(steps, path):
    assert path_of(steps) == path


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ({"messages": [1], "status": "open"}, {"messages": [1, 2], "status": "done"}, 'messages +1, status "open" → "done"'),
        ({"a": [1, 2, 3]}, {"a": []}, "a -3"),
        ([1], [1, 2], "list +1"),
        ({"a": 1}, {"b": [1]}, "-a, +b"),
        (1, "x", 'all of it 1 → "x"'),
        ({"a": 1}, {"a": 1}, ""),
        ({}, dict.fromkeys("abcdef"), "+a, +b, +c, +d, … 2 more"),
    ],
)
def test_a_summary_is_a_line(old, new, line):
    assert summary(compare(old, new)) == line


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (-0.5, "-0.5"),
        ("a" * 30, '"' + "a" * 24 + '…"'),
        ("a\x1b[31m", r'"a\u001b[31m"'),
        (b"abc", "3 bytes"),
        ([1, 2], "[2]"),
        ({"a": 1}, "{1}"),
        (Colour.RED, "Colour.RED"),
        (10**100, f"an int of {(10**100).bit_length()} bits"),
    ],
)
def test_a_value_in_brief(value, text):
    assert brief(value) == text


def test_a_change_is_a_record():
    assert compare({"a": 1}, {"a": 2}).items == (Change(steps=("a",), kind=Kind.CHANGED, old=1, new=2),)
