"""Runs workloads one after the other, each in a folder of its own that is gone when it ends, however it ends."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from aegis_store.bench import bytes as weight
from aegis_store.bench import (
    checkpoint,
    commit_1,
    commit_n,
    compact,
    footprint,
    langgraph,
    large,
    overhead,
    results,
    resume,
    verify,
    workflows,
)
from aegis_store.bench.workload import Run, Workload, open_engine

#: The first one counts CPU time, which is the whole process's: it comes before peers that leave threads behind.
WORKLOADS: Final[dict[str, Workload]] = {
    module.WORKLOAD.name: module.WORKLOAD
    for module in (
        checkpoint,
        langgraph,
        large,
        commit_1,
        commit_n,
        weight,
        compact,
        resume,
        workflows,
        verify,
        overhead,
        footprint,
    )
}
ROUNDS, SECONDS = 9, 0.4
ROUNDS_QUICK, SECONDS_QUICK = 3, 0.1
FOLDER_PREFIX: Final = ".aegis-bench-"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the user wants. Rounds and seconds (of each side in each round) have defaults that `quick` makes smaller."""

    place: Path
    quick: bool = False
    rounds: int | None = None
    seconds: float | None = None
    sessions: Path | None = None
    records: int | None = None


def run(workload: Workload, asked: Asked, say: Callable[[str], None]) -> results.Result:
    """One workload, in a folder below `asked.place`: the disk that holds it is the one that is measured."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX, dir=asked.place) as folder:
        place = Path(folder)
        with open_engine(place / "describe") as engine:
            described = engine.describe()
        how = Run(
            place=place,
            quick=asked.quick,
            rounds=asked.rounds or (ROUNDS_QUICK if asked.quick else ROUNDS),
            seconds=asked.seconds or (SECONDS_QUICK if asked.quick else SECONDS),
            sessions=asked.sessions,
            records=asked.records,
            say=say,
        )
        outcome = workload.run(how)
        return results.Result(
            name=workload.name,
            promise=workload.promise,
            quick=asked.quick,
            facts=results.facts(place, described, load),
            outcome=outcome,
        )


def chosen(names: Sequence[str]) -> list[Workload]:
    """The workloads of those names, in the usual order; all if none is named. KeyError for a name that there is not."""
    for name in names:
        WORKLOADS[name]
    return [workload for name, workload in WORKLOADS.items() if not names or name in names]
