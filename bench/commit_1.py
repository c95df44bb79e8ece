"""One thread's durable appends of 4 KiB, as fast as the disk lets a bare loop be."""

from __future__ import annotations

from typing import Final

from bench.measure import Side, Wanted, interleave, rate_figure, run_for
from bench.results import Outcome
from bench.rivals import programs
from bench.rivals.sqlite import SqliteLog
from bench.workload import DURABLE, Run, Workload, engine_work, open_engine, program_side, record

WANTED: Final = Wanted(least=0.95)
C_LOOP, SQLITE, FROM_C, FROM_PYTHON = "C loop", "SQLite", "engine, from C", "engine, from Python"


def run(how: Run) -> Outcome:
    c_loop = programs.build_c_loop(how.place)
    aegis_loop = programs.build_aegis_loop(how.place)
    entry, payload = record(0)
    with open_engine(how.place / "python-store") as engine, SqliteLog(how.place / "log.sqlite", 1) as sqlite:
        ours, theirs = engine_work(engine, 0), sqlite.work(0, entry, payload)
        sides = [
            program_side(C_LOOP, c_loop, how.place / "zeroed", 1, how.seconds),
            program_side(FROM_C, aegis_loop, how.place / "c-store", 1, how.seconds),
            Side(name=FROM_PYTHON, run=lambda: run_for(ours, how.seconds)),
            Side(name=SQLITE, run=lambda: run_for(theirs, how.seconds)),
        ]
        samples = interleave(sides, how.rounds, how.progress)
    return Outcome(
        figures=[
            rate_figure("bare appends", samples, FROM_C, C_LOOP, DURABLE, WANTED),
            rate_figure("through cffi", samples, FROM_PYTHON, C_LOOP, DURABLE, WANTED),
            rate_figure("through cffi", samples, FROM_PYTHON, SQLITE, DURABLE),
            rate_figure("the peer's own distance", samples, SQLITE, C_LOOP, DURABLE),
        ],
        samples={"1 thread": samples},
    )


WORKLOAD: Final = Workload(name="commit_1", promise="4 KiB durable appends, one thread", run=run)
