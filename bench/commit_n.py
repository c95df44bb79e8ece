"""Many threads' durable appends of 4 KiB share their syncs.

SQLite's threads are Python's, and so are ours where the two are compared. The C loop, whose threads use one file, shows what
the disk gives without grouping.
"""

from __future__ import annotations

from typing import Final

from bench.measure import Figure, Samples, Side, Wanted, Work, interleave, rate_figure, run_threads_for
from bench.results import Outcome
from bench.rivals import programs
from bench.rivals.sqlite import SqliteLog
from bench.workload import DURABLE, Run, Workload, engine_work, open_engine, program_side, record

THREADS: Final = (8, 16, 32)
WANTED: Final = {16: Wanted(least=8)}
C_LOOP, FROM_C, FROM_PYTHON = "C loop", "engine, from C", "engine, from Python"
SQLITE, SQLITE_LOCKED = "SQLite, a connection a thread", "SQLite, one connection, a lock"


def run(how: Run) -> Outcome:
    figures: list[Figure] = []
    all_samples: dict[str, Samples] = {}
    for threads in THREADS:
        samples = _measure(how, threads)
        all_samples[f"{threads} threads"] = samples
        title = f"{threads} threads"
        wanted = WANTED.get(threads, Wanted())
        figures += [
            rate_figure(title, samples, FROM_PYTHON, SQLITE, DURABLE, wanted),
            rate_figure(title, samples, FROM_PYTHON, SQLITE_LOCKED, DURABLE, wanted),
            rate_figure(title, samples, FROM_C, C_LOOP, DURABLE, note="C threads"),
            rate_figure(title, samples, FROM_PYTHON, FROM_C, DURABLE, note="what Python's threads cost"),
        ]
    return Outcome(figures=figures, samples=all_samples)


def _measure(how: Run, threads: int) -> Samples:
    place = how.place / str(threads)
    place.mkdir()
    c_loop = programs.build_c_loop(place)
    aegis_loop = programs.build_aegis_loop(place)
    with open_engine(place / "python-store") as engine, SqliteLog(place / "log.sqlite", threads) as sqlite:
        ours: list[Work] = [engine_work(engine, number) for number in range(threads)]
        theirs = [sqlite.work(number, *record(number)) for number in range(threads)]
        locked = [sqlite.locked_work(*record(number)) for number in range(threads)]
        sides = [
            program_side(C_LOOP, c_loop, place / "zeroed", threads, how.seconds),
            program_side(FROM_C, aegis_loop, place / "c-store", threads, how.seconds),
            Side(name=FROM_PYTHON, run=lambda: run_threads_for(ours, how.seconds)),
            Side(name=SQLITE, run=lambda: run_threads_for(theirs, how.seconds)),
            Side(name=SQLITE_LOCKED, run=lambda: run_threads_for(locked, how.seconds)),
        ]
        return interleave(sides, how.rounds, how.progress)


WORKLOAD: Final = Workload(name="commit_n", promise="4 KiB durable appends, many threads", run=run)
