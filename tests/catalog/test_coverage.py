"""Coverage never claims a record that was not noted."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from aegis_store.catalog import coverage
from aegis_store.catalog.coverage import Coverage


@given(st.lists(st.integers(0, 12)), st.integers(0, 5))
def test_covers_up_to_the_first_record_that_was_not_noted(noted: list[int], start: int) -> None:
    covers = Coverage({3: start})
    for index in noted:
        covers.note(3, index)
        covers.note(1, 0)
    known = set(range(start)) | set(noted)
    assert covers.sizes[3] == next(size for size in range(14) if size not in known)
    assert covers.sizes.get(1, 0) == bool(noted)
    assert all(index > covers.sizes[3] for index in covers._ahead.get(3, ()))


@given(st.lists(st.integers(0, 12)), st.integers(0, 12), st.lists(st.integers(0, 12)))
def test_what_is_covered_at_a_stroke_joins_what_was_noted(before: list[int], size: int, after: list[int]) -> None:
    covers = Coverage()
    for index in before:
        covers.note(3, index)
    covers.cover(3, size)
    for index in after:
        covers.note(3, index)
    known = set(before) | set(after) | set(range(size))
    assert covers.sizes.get(3, 0) == next(size for size in range(14) if size not in known)


def test_of_a_gap_that_stays_open_a_bounded_part_is_remembered(monkeypatch) -> None:
    monkeypatch.setattr(coverage, "AHEAD_MAX", 10)
    covers = Coverage()
    for index in range(1, 1_000):
        covers.note(3, index)
    assert len(covers._ahead[3]) == 10
    covers.note(3, 0)
    assert covers.sizes[3] == 11
    assert not covers._ahead
