"""Hours, days, ISO weeks, months and years of UTC, as numbers and by name.

Plain arithmetic, so that no time is out of range: a clock may have said anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A way to cut time into pieces. Each is one or more whole units of `unit_ms`: hours or days since 1970."""

    name: str
    unit_ms: int
    #: Number of a unit -> number of the period that it lies in; equal numbers, same period.
    of: Callable[[int], int] | None
    #: Number of a unit -> name of the period that it lies in.
    label: Callable[[int], str]

    def newest(self, times_ms: Sequence[int], count: int) -> list[int]:
        """The place of the last time of each period that has one, for the `count` periods that come last, ascending.

        Last is what stands last, whatever the clock said: places are the order, times only say what belongs together.
        """
        unit_ms = self.unit_ms
        places = dict(zip([time // unit_ms for time in times_ms], range(len(times_ms)), strict=True))
        if self.of is not None:
            of = self.of
            places = {of(unit): place for unit, place in sorted(places.items(), key=lambda each: each[1])}
        return sorted(places.values())[-count:]

    def named(self, time_ms: int) -> str:
        """The period of a time, such as "daily 2026-11-27"."""
        return f"{self.name} {self.label(time_ms // self.unit_ms)}"


def civil(day: int) -> tuple[int, int, int]:
    """Year, month and day of the month of a day since 1970-01-01, in the Gregorian calendar.

    Years are counted from March, so that the day that leap years have more is the last one; 400 of them are 146 097 days.
    (Howard Hinnant, chrono-Compatible Low-Level Date Algorithms, `civil_from_days`.)
    """
    era, day_of_era = divmod(day + 719_468, 146_097)
    year_of_era = (day_of_era - day_of_era // 1_460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    from_march = (5 * day_of_year + 2) // 153
    month = from_march + 3 if from_march < 10 else from_march - 9
    return era * 400 + year_of_era + (month <= 2), month, day_of_year - (153 * from_march + 2) // 5 + 1


def _week(day: int) -> int:
    return (day + 3) // 7  # 1970-01-01 was a Thursday, weeks begin on Mondays


def _month(day: int) -> int:
    year, month, _ = civil(day)
    return year * 12 + month - 1


def _year(day: int) -> int:
    return civil(day)[0]


def _day_label(day: int) -> str:
    year, month, day_of_month = civil(day)
    return f"{year:04}-{month:02}-{day_of_month:02}"


def _hour_label(hour: int) -> str:
    return f"{_day_label(hour // 24)} {hour % 24:02}:00"


def _week_label(day: int) -> str:
    # A week belongs to the year of its Thursday.
    thursday = _week(day) * 7
    year = _year(thursday)
    ordinal = next(back for back in range(366) if _year(thursday - back - 1) != year)
    return f"{year:04}-W{ordinal // 7 + 1:02}"


def _month_label(day: int) -> str:
    return _day_label(day)[:-3]


def _year_label(day: int) -> str:
    return f"{_year(day):04}"


#: Shortest first; the names are those of a rule's keys.
PERIODS: Final = (
    Period(name="hourly", unit_ms=HOUR_MS, of=None, label=_hour_label),
    Period(name="daily", unit_ms=DAY_MS, of=None, label=_day_label),
    Period(name="weekly", unit_ms=DAY_MS, of=_week, label=_week_label),
    Period(name="monthly", unit_ms=DAY_MS, of=_month, label=_month_label),
    Period(name="yearly", unit_ms=DAY_MS, of=_year, label=_year_label),
)
