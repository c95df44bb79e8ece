"""What is remembered of records: by index, within bounds, and not beyond what takes records away."""

from __future__ import annotations

import pytest

from aegis_store.adapters.langgraph.recall import Recall


def recall(capacity: int, age=lambda: 0) -> Recall[int, bytes]:
    return Recall(capacity, size_of=len, age=age)


def test_what_was_put_is_known():
    known = recall(10)
    known[1] = b"one"
    assert known[1] == b"one"
    assert known.get(2) is None
    assert list(known) == [1] and len(known) == 1
    del known[1]
    assert len(known) == 0
    with pytest.raises(KeyError):
        known[1]


def test_the_least_recently_used_go_where_there_is_too_much():
    known = recall(10)
    for index in (1, 2, 3):
        known[index] = b"four"
        known.get(1)
    assert sorted(known) == [1, 3]
    known[1] = b"larger than all"
    assert sorted(known) == [1]  # one is always kept, for it is the one that was just asked for
    known[2] = b"x"
    assert sorted(known) == [2]


def test_one_that_is_put_again_counts_once():
    known = recall(10)
    for _ in range(5):
        known[1] = b"123456"
    known[2] = b"1234"
    assert sorted(known) == [1, 2]


def test_all_is_forgotten_when_something_took_records_away():
    age = [0]
    known = recall(100, lambda: age[0])
    known[1] = b"one"
    age[0] += 1
    assert known.get(1) is None
    assert list(known) == [] and len(known) == 0
    known[2] = b"two"
    assert known[2] == b"two"
