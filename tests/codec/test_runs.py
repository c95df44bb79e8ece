"""Sets of record indexes as runs, and their bytes."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store.codec.runs import RUNS_MAX, Runs, union
from aegis_store.errors import Corrupt, InvalidArgument

SETS = st.sets(st.integers(0, 300) | st.integers(2**48 - 9, 2**48 - 1))


@given(SETS)
def test_a_set_holds_what_it_was_made_of_and_comes_back_from_its_bytes(indexes):
    runs = Runs.of(sorted(indexes))
    assert list(runs) == sorted(indexes)
    assert len(runs) == len(indexes)
    assert runs.last == max(indexes, default=-1)
    assert Runs.decode(runs.encode()) == runs
    assert all((index in runs) == (index in indexes) for index in range(301))
    assert all(b[0] > a[1] for a, b in pairwise(runs.runs()))


@given(SETS, st.integers(0, 300), st.integers(0, 20))
def test_a_stretch_is_held_if_every_index_of_it_is(indexes, first, length):
    assert Runs.of(sorted(indexes)).holds(first, first + length) == (set(range(first, first + length)) <= indexes)


def test_the_bytes_are_the_steps_between_the_ends():
    words = Runs.of([0, 1, 2, 7, 300]).encode()
    assert [int.from_bytes(words[at : at + 8], "little") for at in range(0, len(words), 8)] == [0, 3, 4, 1, 292, 1]
    assert Runs.of([]).encode() == b""


def test_an_index_may_be_given_twice_and_never_backwards():
    assert list(Runs.of([3, 3, 4])) == [3, 4]
    with pytest.raises(InvalidArgument, match="2 comes after 3"):
        Runs.of([3, 2])
    with pytest.raises(InvalidArgument, match="no index"):
        Runs.of([2**48])


@pytest.mark.parametrize(
    "steps",
    [
        pytest.param([1, 0], id="an empty run"),
        pytest.param([1, 1, 0, 1], id="two that touch"),
        pytest.param([2**48, 1], id="past the last index"),
        pytest.param([2**63, 2**63 + 4], id="past all numbers"),
        pytest.param([1], id="half a run"),
    ],
)
def test_bytes_that_no_set_has_are_refused(steps):
    with pytest.raises(Corrupt):
        Runs.decode(b"".join(step.to_bytes(8, "little") for step in steps))


def test_more_runs_than_a_record_may_have_are_refused_and_a_set_is_split_into_such_as_fit():
    runs = Runs.of(range(0, 4 * RUNS_MAX, 2))
    with pytest.raises(Corrupt, match="no set of records"):
        Runs.decode(runs.encode())
    parts = list(runs.split())
    assert len(parts) == 2
    assert [index for part in parts for index in part] == list(runs)
    assert all(Runs.decode(part.encode()) == part for part in parts)


@given(st.lists(st.sets(st.integers(0, 40)), max_size=4))
def test_a_union_has_what_any_of_them_has_in_runs_that_do_not_touch(sets):
    whole = union(Runs.of(sorted(each)) for each in sets)
    assert list(whole) == sorted(set().union(*sets))
    assert Runs.decode(whole.encode()) == whole
