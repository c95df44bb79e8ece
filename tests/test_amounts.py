from __future__ import annotations

import pytest

from aegis_store.amounts import BYTES, amount, seconds
from aegis_store.errors import InvalidArgument


@pytest.mark.parametrize(("text", "expected"), [("45s", 45), ("90m", 5400), ("12 h", 43_200), ("30d", 2_592_000), (7, 7)])
def test_a_duration_is_whole_seconds(text, expected):
    assert seconds("age", text) == expected


@pytest.mark.parametrize(
    "wrong", [0, -1, True, 1.5, None, "", "5", "5 weeks", "1h30m", "5M", "٣s", "9" * 19 + "s", "-5m", "0s"]
)
def test_what_is_no_duration_is_refused_by_name(wrong):
    with pytest.raises(InvalidArgument, match=r"^age is .*, not whole seconds from 1, or text such as '30d'"):
        seconds("age", wrong)


def test_nothing_is_a_duration_where_that_is_allowed():
    assert seconds("rpo", 0, least=0) == seconds("rpo", "0s", least=0) == 0
    with pytest.raises(InvalidArgument, match="whole seconds from 0"):
        seconds("rpo", -1, least=0)


@pytest.mark.parametrize(("text", "expected"), [("1kB", 1000), ("1KiB", 1024), ("2 GiB", 2 << 30), ("5TB", 5 * 10**12)])
def test_bytes_have_decimal_and_binary_units(text, expected):
    assert amount("budget", text, BYTES, "bytes") == expected
