from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store.importers.order import parents_first
from aegis_store.importers.source import Step


def steps(**parents):
    return [Step(each, parent) for each, parent in parents.items()]


@pytest.mark.parametrize(
    ("given", "ordered", "circular"),
    [
        ({}, "", ""),
        ({"b": "a", "a": None, "c": "b"}, "abc", ""),
        ({"a": "z", "z": None, "b": "a"}, "zab", ""),  # a clock was set back
        ({"b": "gone", "a": None}, "ab", ""),
        ({"a": None, "c": "a", "b": "a", "d": "b"}, "abcd", ""),  # two branches, by id
        ({"a": "a", "b": None}, "b", "a"),
        ({"a": "b", "b": "a", "c": "b", "d": None}, "d", "abc"),
    ],
)
def test_parents_come_first_and_then_it_goes_by_id(given, ordered, circular):
    found = parents_first(steps(**given))
    assert tuple("".join(step.id for step in each) for each in found) == (ordered, circular)


@given(st.dictionaries(st.integers(0, 30), st.one_of(st.none(), st.integers(0, 30))))
def test_each_is_in_one_of_the_two_and_none_before_its_parent(given):
    made = [Step(f"{each:02}", None if parent is None else f"{parent:02}") for each, parent in given.items()]
    ordered, circular = parents_first(made)
    assert sorted([*ordered, *circular]) == sorted(made)
    places = {step.id: place for place, step in enumerate(ordered)}
    assert all(places.get(step.parent, -1) < place for place, step in enumerate(ordered))
    assert all(step.parent in {each.id for each in circular} for step in circular)
