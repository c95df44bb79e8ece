"""A whole checkpoint of a 4 KiB state costs at most 60 microseconds more than a bare loop's pwrite and fdatasync of 4 KiB.

Whole: checked, serialised, compressed, committed to, signed, appended, synced, indexed.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from itertools import cycle
from typing import Any, Final

import aegis_store
from aegis_store.bench.measure import Figure, Sample, Samples, Wanted, field_figure, interleave, run_for
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals import programs
from aegis_store.bench.states import conversations, incompressible
from aegis_store.bench.workload import DURABLE, Field, Run, Workload, engine_work, open_engine

WANTED: Final = Wanted(most=60)
STATES: Final = 512
C_LOOP, ENGINE = programs.C_LOOP, "bare append, from Python"
TEXT, NOISE = "checkpoint, text", "checkpoint, incompressible"


def run(how: Run) -> Outcome:
    with ExitStack() as stack:
        field = Field(stack)

        def loop() -> Callable[[], Sample]:
            built = programs.build_c_loop(how.place)
            return lambda: programs.run(built, how.place / "zeroed", 1, how.seconds)

        def checkpoints(name: str, states: list[dict[str, Any]]) -> Callable[[], Sample]:
            checkpoint = stack.enter_context(aegis_store.open(how.place / name)).session("bench").checkpoint
            following = cycle(states)
            return lambda: run_for(lambda: checkpoint(next(following)), how.seconds)

        def engine() -> Callable[[], Sample]:
            work = engine_work(stack.enter_context(open_engine(how.place / "engine")), 0)
            return lambda: run_for(work, how.seconds)

        field.add(C_LOOP, loop)
        field.add(TEXT, lambda: checkpoints("text", conversations(STATES)))
        field.add(NOISE, lambda: checkpoints("noise", incompressible(STATES)))
        field.add(ENGINE, engine)
        samples = interleave(field.sides, how.rounds, how.progress)
    figures = [
        each
        for title, ours, what, wanted in (
            ("wall", TEXT, "median_us", WANTED),
            ("wall", NOISE, "median_us", WANTED),
            ("wall", ENGINE, "median_us", Wanted()),
            ("CPU of the process", TEXT, "cpu_us", Wanted()),
            ("CPU of the process", NOISE, "cpu_us", Wanted()),
        )
        for each in _over(title, samples, ours, what, wanted)
    ]
    return Outcome(figures=figures, samples={"1 thread": samples}, missing=field.missing)


def _over(title: str, samples: Samples, ours: str, what: str, wanted: Wanted) -> list[Figure]:
    if C_LOOP not in samples:
        return []
    note = "median of a round" if what == "median_us" else "mean of a round, user and system"
    return [field_figure(title, samples, ours, C_LOOP, what, DURABLE, comparison="over", wanted=wanted, note=note)]


WORKLOAD: Final = Workload(name="overhead", promise="a whole checkpoint of a 4 KiB state, over a bare loop's append", run=run)
