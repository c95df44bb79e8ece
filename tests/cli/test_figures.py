from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aegis_store.cli import figures


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (999, "999"), (1000, "1 000"), (1_204_331, "1 204 331")])
def test_thousands_are_apart(number, text):
    assert figures.count(number) == text


def test_one_thing_and_many():
    assert [figures.counted(number, "record") for number in (0, 1, 2000)] == ["0 records", "1 record", "2 000 records"]
    assert figures.counted(2, "entry", "entries") == "2 entries"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.00 kB"),
        (43_850, "43.9 kB"),
        (999_400, "999 kB"),
        (999_600, "1.00 MB"),
        (2.1e9, "2.10 GB"),
        (1e18, "1000 PB"),
    ],
)
def test_sizes_have_three_digits_and_a_unit(number, text):
    assert figures.size(number) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0.00021, "0.21 ms"), (0.0021, "2.10 ms"), (0.0412, "41.2 ms"), (0.4, "400 ms"), (0.9996, "1.00 s"), (73.4, "73.4 s")],
)
def test_times_have_three_digits_and_a_unit(number, text):
    assert figures.seconds(number) == text


def test_a_share_is_in_per_cent():
    assert figures.share(1, 50) == "2.00 %"
    assert figures.share(31, 100) == "31.0 %"


def test_quantiles_are_numbers_that_were_given():
    numbers = [float(number) for number in range(100, 0, -1)]
    assert [figures.quantile(numbers, part) for part in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert figures.quantile([7.0], 0.99) == 7
    assert figures.quantile([], 0.5) == 0


def test_a_root_in_short():
    assert figures.root(bytes.fromhex("5dc9") + bytes(28) + bytes.fromhex("4328")) == "5dc9…4328"


def test_neighbours_become_ranges():
    assert figures.ranges([9, 3, 5, 4, 4, 1200]) == "3-5, 9, 1 200"
    assert figures.ranges([]) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "just now"),
        (0.4, "just now"),
        (1, "1 s ago"),
        (59.9, "59 s ago"),
        (250, "4 min ago"),
        (7200, "2 h ago"),
        (47 * 3600, "47 h ago"),
        (48 * 3600, "2 days ago"),
        (1000 * 86_400, "1 000 days ago"),
    ],
)
def test_an_age_is_in_one_unit(seconds, text):
    assert figures.ago(seconds) == text


def test_times_for_machines_and_for_people():
    moment = datetime(2026, 1, 31, 12, 0, 0, 5000, tzinfo=UTC)
    assert figures.iso(moment) == "2026-01-31T12:00:00.005Z"
    assert figures.clock(moment) == "2026-01-31 12:00:00"
