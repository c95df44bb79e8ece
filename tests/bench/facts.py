"""Results made up for tests: numbers that one can reckon with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aegis_store.bench.measure import Comparison, Figure, Sample, Wanted, figure
from aegis_store.bench.results import Facts, Outcome, Result
from aegis_store.bench.rivals.absent import Missing
from aegis_store.bench.workload import Run

FACTS = Facts(
    at="2026-11-22T10:00:00+00:00",
    commit="c0ffee",
    aegis_store="0.1.0",
    peers={"lmdb": "3.0.0"},
    compiler="cc 12",
    python="CPython 3.11",
    system="Linux 6 x86_64",
    cpu="a <processor>",
    cores=2,
    crc_path="sse4.2",
    sha_path="sha-ni",
    file_system="ext4 (rw,rw)",
    load_before=0.1,
    load_after=0.2,
)


def sample(rate: float) -> Sample:
    return Sample(operations=int(rate), seconds=1.0, median_us=1e6 / rate, p99_us=1e6 / rate, cpu_us=1.0)


def made_figure(
    ours: list[float],
    peer: list[float],
    *,
    title: str = "appends",
    comparison: Comparison = "ratio",
    better: str = "more",
    wanted: Wanted | None = None,
    note: str = "",
) -> Figure:
    return figure(
        title,
        ours="aegis",
        peer="" if comparison == "alone" else "SQLite",
        ours_values=ours,
        peer_values=peer,
        unit="1/s",
        comparison=comparison,
        durability="commit",
        wanted=wanted or Wanted(),
        note=note,
        better="more" if better == "more" else "less",
    )


def made_result(*figures: Figure, missing: tuple[Missing, ...] = (), quick: bool = False) -> Result:
    outcome = Outcome(
        figures=list(figures),
        samples={"1 thread": {"aegis": [sample(9)]}},
        plain={"records": 12345, "durability": "commit"},
        missing=list(missing),
    )
    return Result(name="made-up", promise="so & so", quick=quick, facts=FACTS, outcome=outcome)


def tiny(place: Path, *, say: Callable[[str], None] | None = None, records: int | None = None) -> Run:
    """As short as a run can be."""
    return Run(place=place, quick=True, rounds=1, seconds=0.01, say=say or (lambda what: None), records=records)
