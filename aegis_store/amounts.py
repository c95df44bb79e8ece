"""Amounts with a unit, as people write them in options: "30d", "5m", "2GiB".

Whole numbers only, of the smallest unit: seconds and bytes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from aegis_store.errors import InvalidArgument

SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
BYTES: Final = {
    "B": 1,
    **{prefix + "B": 1000**power for power, prefixes in enumerate(("kK", "M", "G", "T"), 1) for prefix in prefixes},
    **{prefix + "iB": 1024**power for power, prefixes in enumerate(("kK", "M", "G", "T"), 1) for prefix in prefixes},
}
#: Eighteen digits are enough for anybody; without a limit a number may take as long as it likes to read.
_AMOUNT: Final = re.compile(r"([0-9]{1,18}) ?([A-Za-z]+)", re.ASCII)


def parsed(text: str, units: Mapping[str, int]) -> int | None:
    """The number that a text stands for; None: it is none."""
    found = _AMOUNT.fullmatch(text)
    return int(found[1]) * units[found[2]] if found and found[2] in units else None


def amount(key: str, value: object, units: Mapping[str, int], allowed: str, *, least: int = 1) -> int:
    """A number with or without a unit, as a number of the smallest one. InvalidArgument says what is `allowed` for `key`."""
    number: object = parsed(value, units) if isinstance(value, str) else value
    if not isinstance(number, int) or isinstance(number, bool) or number < least:
        raise InvalidArgument(f"{key} is {value!r}, not {allowed}")
    return number


def seconds(key: str, value: object, *, least: int = 1) -> int:
    """A duration in seconds, of which at least so many."""
    return amount(key, value, SECONDS, f"whole seconds from {least}, or text such as '30d', '12h', '90m', '45s'", least=least)
