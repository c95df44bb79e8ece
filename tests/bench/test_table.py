from __future__ import annotations

import io

import pytest
from rich.console import Console

from aegis_store.bench import table
from aegis_store.bench.measure import Spread, Wanted
from aegis_store.bench.results import Result
from aegis_store.bench.rivals.absent import Missing
from tests.bench.facts import made_figure, made_result


def shown(result: Result) -> str:
    out = io.StringIO()
    table.show(result, Console(file=out, width=table.WIDTH))
    return out.getvalue()


def test_a_table_has_ours_the_peer_the_ratio_what_was_wanted_and_the_durability():
    text = shown(made_result(made_figure([9.0, 11.0], [10.0, 10.0], wanted=Wanted(least=0.95), note="a note")))
    for part in (
        "made-up",
        "so & so",
        "appends",
        "a note",
        "aegis",
        "SQLite",
        "1.00x (0.90 … 1.10)",
        ">= 0.95",
        "met",
        "commit",
    ):
        assert part in text
    for part in ("commit", "records: 12,345", "a <processor>", "ext4", "CPython 3.11", "cc 12", "load 0.1 -> 0.2"):
        assert part in text
    assert "--quick" not in text


def test_what_was_missed_and_what_is_quick_is_said():
    text = shown(made_result(made_figure([1.0], [10.0], wanted=Wanted(least=0.95)), quick=True))
    assert "missed" in text and "figures mean little" in text


def test_a_difference_has_its_unit_and_what_stands_alone_no_peer():
    over = shown(made_result(made_figure([9.0], [4.0], comparison="over")))
    assert "5.00 1/s (5.00 … 5.00) over" in over
    alone = shown(made_result(made_figure([9.0], [], comparison="alone", wanted=Wanted(most=50))))
    assert "<= 50" in alone and "SQLite" not in alone


def test_who_is_missing_has_a_row_with_what_to_do():
    text = shown(made_result(missing=(Missing("RocksDB", "not installed: pip install [x]"),)))
    assert "RocksDB" in text and "not installed: pip install [x]" in text and "left out" in text


@pytest.mark.parametrize(("value", "short"), [(12345.6, "12,346"), (99.44, "99.4"), (1.234, "1.23"), (-0.5, "-0.50")])
def test_numbers_are_short(value, short):
    assert table.number(value) == short


def test_a_spread_is_the_median_and_its_ends():
    assert table.spread(Spread(median=2, min=1, max=30), "x") == "2.00x (1.00 … 30.0)"
