"""Conditions on namespaces."""

from __future__ import annotations

import pytest

pytest.importorskip("langgraph.store.base", exc_type=ImportError)

from langgraph.store.base import MatchCondition

from aegis_store.adapters.langgraph.namespaces import common_beginning, matches
from aegis_store.errors import InvalidArgument


def prefix(*path):
    return MatchCondition("prefix", path)


def suffix(*path):
    return MatchCondition("suffix", path)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], [("a",), ("a", "b"), ("a", "b", "c"), ("*", "c"), ("ab",)]),
        ([prefix("a")], [("a",), ("a", "b"), ("a", "b", "c")]),
        ([prefix("a", "b")], [("a", "b"), ("a", "b", "c")]),
        ([prefix("a", "*")], [("a", "b"), ("a", "b", "c")]),
        ([prefix("*")], [("a",), ("a", "b"), ("a", "b", "c"), ("*", "c"), ("ab",)]),
        ([prefix("*", "*", "*")], [("a", "b", "c")]),
        ([suffix("c")], [("a", "b", "c"), ("*", "c")]),
        ([suffix("b", "*")], [("a", "b", "c")]),
        ([suffix("a", "b", "c", "d")], []),
        ([prefix("a"), suffix("b")], [("a", "b")]),
        # What they say of the same parts must hold at once.
        ([prefix("a", "b"), suffix("b", "c")], [("a", "b", "c")]),
        ([prefix("a"), prefix("a", "b")], [("a", "b"), ("a", "b", "c")]),
        ([prefix()], [("a",), ("a", "b"), ("a", "b", "c"), ("*", "c"), ("ab",)]),
    ],
)
def test_a_namespace_begins_and_ends_as_all_conditions_say(conditions, expected):
    namespaces = [("a",), ("a", "b"), ("a", "b", "c"), ("*", "c"), ("ab",)]
    found = [each for each in namespaces if matches(each, conditions)]
    assert found == expected
    beginning = common_beginning(conditions)
    assert all(each[: len(beginning)] == beginning for each in found)


def test_only_what_is_named_is_a_common_beginning():
    assert common_beginning([]) == ()
    assert common_beginning([suffix("a")]) == ()
    assert common_beginning([prefix("a", "b", "*", "c")]) == ("a", "b")
    assert common_beginning([prefix("a"), prefix("a", "b"), prefix("*", "b")]) == ("a", "b")
    assert common_beginning([prefix(*["a"])]) == ("a",)


def test_another_kind_of_condition_is_refused():
    with pytest.raises(InvalidArgument, match="infix"):
        matches(("a",), [MatchCondition("infix", ("a",))])
