"""A whole checkpoint of a 4 KiB state costs at most 60 microseconds more than a bare loop's pwrite and fdatasync of 4 KiB.

Whole: checked, serialised, compressed, committed to, signed, appended, synced, indexed.
"""

from __future__ import annotations

from itertools import cycle
from typing import Any, Final

import aegis_store
from bench.measure import Figure, Sample, Samples, Side, Wanted, figure, interleave, run_for
from bench.results import Outcome
from bench.rivals import programs
from bench.states import conversations, incompressible
from bench.workload import DURABLE, Run, Workload, engine_work, open_engine, program_side

WANTED: Final = Wanted(most=60)
STATES: Final = 512
C_LOOP, ENGINE = "C loop", "engine, from Python"
TEXT, NOISE = "checkpoint, text", "checkpoint, incompressible"


def run(how: Run) -> Outcome:
    c_loop = programs.build_c_loop(how.place)
    with (
        aegis_store.open(how.place / "text") as text,
        aegis_store.open(how.place / "noise") as noise,
        open_engine(how.place / "engine") as engine,
    ):
        bare = engine_work(engine, 0)
        sides = [
            program_side(C_LOOP, c_loop, how.place / "zeroed", 1, how.seconds),
            _side(TEXT, text, conversations(STATES), how.seconds),
            _side(NOISE, noise, incompressible(STATES), how.seconds),
            Side(name=ENGINE, run=lambda: run_for(bare, how.seconds)),
        ]
        samples = interleave(sides, how.rounds, how.progress)
    figures = [
        _over("wall", samples, TEXT, "median_us", WANTED),
        _over("wall", samples, NOISE, "median_us", WANTED),
        _over("wall", samples, ENGINE, "median_us"),
        _over("CPU of the thread", samples, TEXT, "thread_cpu_us"),
        _over("CPU of the thread", samples, NOISE, "thread_cpu_us"),
        _over("CPU of the process", samples, TEXT, "cpu_us"),
        _over("CPU of the process", samples, NOISE, "cpu_us"),
    ]
    return Outcome(figures=figures, samples={"1 thread": samples})


def _side(name: str, store: aegis_store.Store, states: list[dict[str, Any]], seconds: float) -> Side:
    following = cycle(states)
    checkpoint = store.session("bench").checkpoint

    def round_() -> Sample:
        return run_for(lambda: checkpoint(next(following)), seconds)

    return Side(name=name, run=round_)


def _over(title: str, samples: Samples, ours: str, what: str, wanted: Wanted | None = None) -> Figure:
    return figure(
        title,
        ours=ours,
        peer=C_LOOP,
        ours_values=[getattr(sample, what) for sample in samples[ours]],
        peer_values=[getattr(sample, what) for sample in samples[C_LOOP]],
        unit="µs",
        comparison="over",
        durability=DURABLE,
        wanted=wanted or Wanted(),
        note="median of a round" if what == "median_us" else "mean of a round, user and system",
    )


WORKLOAD: Final = Workload(name="checkpoint", promise="a whole checkpoint of a 4 KiB state, over a bare loop's append", run=run)
