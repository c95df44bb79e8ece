"""Numbers and times as people read them: spaces between thousands, the unit last."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

_UNITS: Final = ("B", "kB", "MB", "GB", "TB", "PB")
#: Unit of an age, its seconds, and from how many of it on it is used.
_AGES: Final = (("days", 86_400, 2), ("h", 3_600, 1), ("min", 60, 1), ("s", 1, 1))


def count(number: int) -> str:
    """1204331 -> "1 204 331"."""
    return f"{number:,}".replace(",", " ")


def counted(number: int, one: str, many: str | None = None) -> str:
    """1, "record" -> "1 record"; 3, "record" -> "3 records"."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def size(number: float) -> str:
    """Bytes in decimal units, three digits: 812 B, 43.9 kB, 2.10 GB."""
    if number < 999.5:
        return f"{number:.0f} B"
    for unit in _UNITS[1:]:
        number /= 1000
        if number < 999.5 or unit == _UNITS[-1]:
            return f"{number:.{digits(number)}f} {unit}"
    raise AssertionError("the last unit takes all")


def digits(number: float) -> int:
    """Decimals that leave a number about three digits."""
    return 2 if number < 9.995 else 1 if number < 99.95 else 0


def seconds(number: float) -> str:
    """0.0021 -> "2.10 ms"; 4.2 -> "4.20 s"."""
    if number < 0.9995:
        return f"{number * 1000:.{digits(number * 1000)}f} ms"
    return f"{number:.{digits(number)}f} s"


def share(part: float, whole: float) -> str:
    """A part in per cent of the whole."""
    ratio = 100 * part / whole
    return f"{ratio:.{digits(ratio)}f} %"


def quantile(numbers: Iterable[float], part: float) -> float:
    """The smallest of the numbers that at least `part` (0 to 1) of them do not exceed; 0 where there is none."""
    ordered = sorted(numbers)
    if not ordered:
        return 0.0
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]


def root(value: bytes) -> str:
    """A hash in short: "5dc9…4328"."""
    text = value.hex()
    return f"{text[:4]}…{text[-4:]}"


def ranges(numbers: Sequence[int]) -> str:
    """3, 4, 5, 9 -> "3-5, 9"."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and spans[-1][1] == number - 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(count(a) if a == b else f"{count(a)}-{count(b)}" for a, b in spans)


def ago(seconds_past: float) -> str:
    """An age in one unit: 250 -> "4 min ago". What lies in the future by another clock is "just now" too."""
    for unit, length, least in _AGES:
        if seconds_past >= least * length:
            return f"{count(int(seconds_past // length))} {unit} ago"
    return "just now"


def iso(moment: datetime) -> str:
    """A time of the store as ISO 8601 in UTC, with milliseconds: what `--time` takes, and what sorts as text."""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(moment: datetime) -> str:
    """A time of the store for people, in UTC: "2026-01-31 12:00:00"."""
    return moment.strftime("%Y-%m-%d %H:%M:%S")
