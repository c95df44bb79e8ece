from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from aegis_store.bench import results
from aegis_store.bench.measure import Sample, Wanted, figure
from aegis_store.bench.workload import open_engine


def result(place: Path) -> results.Result:
    with open_engine(place / "store") as engine:
        described = engine.describe()
    outcome = results.Outcome(
        figures=[
            figure(
                "appends", ours="engine", peer="C loop", ours_values=[9.0, 11.0], peer_values=[10.0, 10.0], unit="1/s",
                comparison="ratio", durability="commit", wanted=Wanted(least=0.95),
            )
        ],
        samples={"1 thread": {"engine": [Sample(operations=9, seconds=1.0, median_us=1.0, p99_us=2.0, cpu_us=3.0)]}},
        plain={"bytes": 1},
    )  # fmt: skip
    return results.Result(name="made_up", promise="p", quick=False, facts=results.facts(place, described, 0.5), outcome=outcome)


def test_a_result_comes_back_from_its_file_with_its_samples(tmp_path):
    written = result(tmp_path)
    path = results.write(written, tmp_path / "results")
    assert path.name == "made_up.json"
    assert results.read(path) == written


def test_a_file_says_where_it_comes_from_but_names_no_path(tmp_path):
    found = result(tmp_path)
    text = results.write(found, tmp_path / "results").read_text(encoding="utf-8")
    assert found.facts.crc_path and found.facts.sha_path and found.facts.file_system and found.facts.compiler
    assert str(tmp_path) not in text
    assert str(results.TOP) not in text


def test_a_table_has_ours_the_peer_the_ratio_and_the_durability(tmp_path):
    out = io.StringIO()
    results.show(result(tmp_path), Console(file=out, width=128))
    text = out.getvalue()
    for part in ("engine", "C loop", "1.00x (0.90 … 1.10)", ">= 0.95", "met", "commit", "bytes: 1"):
        assert part in text


def test_numbers_are_short():
    assert [results.number(value) for value in (12345.6, 99.44, 1.234, -0.5)] == ["12,346", "99.4", "1.23", "-0.50"]
