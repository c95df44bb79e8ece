"""Checkpoints as people hold them: the store's time as a datetime and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from aegis_store.checkpoint import milliseconds, moment


@given(st.integers(0, 253_402_300_799_999))
def test_a_time_of_the_store_comes_back_from_its_datetime(time_ms):
    assert milliseconds(moment(time_ms)) == time_ms
    assert moment(time_ms).tzinfo is UTC


def test_what_no_datetime_can_say_is_the_last_one_that_there_is():
    assert moment(2**48 - 1) == datetime(9999, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC)


def test_a_datetime_of_any_zone_is_rounded_down_to_a_millisecond():
    when = datetime(2026, 1, 2, 3, 4, 5, 6_999, tzinfo=timezone(timedelta(hours=-5)))
    assert moment(milliseconds(when)) == when - timedelta(microseconds=999)
    assert milliseconds(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1
