"""Periods against the calendar of the standard library, where that has one."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import example, given
from hypothesis import strategies as st

from aegis_store.retention.periods import DAY_MS, PERIODS, civil

NAMES = {
    "hourly": lambda when: when.strftime("%Y-%m-%d %H:00"),
    "daily": lambda when: when.strftime("%Y-%m-%d"),
    "weekly": lambda when: "{:04}-W{:02}".format(*when.isocalendar()[:2]),
    "monthly": lambda when: when.strftime("%Y-%m"),
    "yearly": lambda when: when.strftime("%Y"),
}
MOMENTS = st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31)).map(lambda when: when.replace(tzinfo=UTC, microsecond=0))


def ms(when):
    return int(when.timestamp()) * 1000


@given(MOMENTS)
@example(datetime(1970, 1, 1, tzinfo=UTC))
@example(datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC))
@example(datetime(2000, 2, 29, tzinfo=UTC))
@example(datetime(2100, 2, 28, 23, tzinfo=UTC))
@example(datetime(2100, 3, 1, tzinfo=UTC))
@example(datetime(2027, 1, 3, tzinfo=UTC))
@example(datetime(2024, 12, 30, tzinfo=UTC))
@example(datetime(2020, 12, 31, tzinfo=UTC))
def test_names_are_those_of_the_calendar(when):
    assert [period.named(ms(when)) for period in PERIODS] == [f"{period.name} {NAMES[period.name](when)}" for period in PERIODS]
    assert civil(ms(when) // DAY_MS) == (when.year, when.month, when.day)


@given(
    st.lists(MOMENTS | st.datetimes(datetime(2026, 11, 1), datetime(2027, 2, 1)).map(lambda w: w.replace(tzinfo=UTC))),
    st.integers(1, 5),
)
def test_of_each_period_the_one_that_stands_last_is_found(moments, count):
    for period in PERIODS:
        expected: list[int] = []
        seen = set()
        for place in reversed(range(len(moments))):
            if (name := NAMES[period.name](moments[place])) not in seen and len(seen) < count:
                seen.add(name)
                expected.insert(0, place)
        assert period.newest([ms(when) for when in moments], count) == expected


@given(st.integers(-(10**18), 10**18))
def test_no_time_is_out_of_range(time):
    for period in PERIODS:
        assert period.named(time).startswith(period.name)
        assert period.newest([time, time], 3) == [1]


def test_the_calendar_comes_again_after_four_hundred_years():
    for day in range(-800_000, 800_000, 997):
        year, month, day_of_month = civil(day)
        assert civil(day + 146_097) == (year + 400, month, day_of_month)
