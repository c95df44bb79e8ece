"""Many threads' durable appends of 4 KiB share their syncs; and so do the checkpoints of many tasks (`tasks`).

The peers' threads are Python's, and so are ours where the two are compared. The C loop, whose threads use one file, shows what
the disk gives without grouping.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from aegis_store.bench import tasks
from aegis_store.bench.commit_1 import C_LOOP, FROM_C, FROM_PYTHON, LMDB, ROCKSDB
from aegis_store.bench.measure import Figure, Sample, Samples, Wanted, Work, interleave, run_threads_for
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals import programs
from aegis_store.bench.rivals.absent import Missing
from aegis_store.bench.rivals.lmdb_log import LmdbLog
from aegis_store.bench.rivals.rocksdb_log import RocksLog
from aegis_store.bench.rivals.sqlite import SqliteLog
from aegis_store.bench.workload import DURABLE, Field, Run, Workload, engine_work, open_engine, rates_against, record

THREADS: Final = (8, 16, 32)
THREADS_QUICK: Final = (16,)
WANTED: Final = {16: Wanted(least=8)}
SQLITE, SQLITE_LOCKED = "SQLite, a connection a thread", "SQLite, one connection, a lock"


def run(how: Run) -> Outcome:
    figures: list[Figure] = []
    all_samples: dict[str, Samples] = {}
    all_missing: list[Missing] = []
    for threads in THREADS_QUICK if how.quick else THREADS:
        samples, missing = _measure(how, threads)
        title = f"{threads} threads"
        all_samples[title] = samples
        all_missing += [each for each in missing if each not in all_missing]
        wanted = WANTED.get(threads, Wanted())
        peers = [SQLITE, SQLITE_LOCKED, LMDB, ROCKSDB]
        figures += [
            *rates_against(title, samples, FROM_PYTHON, peers, wanted=dict.fromkeys((SQLITE, SQLITE_LOCKED), wanted)),
            *rates_against(f"{title}, from C", samples, FROM_C, [C_LOOP], note="C threads; the loop does not group"),
        ]
    task_figures, all_samples[f"{tasks.TASKS} tasks"], missing = tasks.measure(how)
    all_missing += [each for each in missing if each not in all_missing]
    figures += task_figures
    return Outcome(
        figures=figures,
        samples=all_samples,
        missing=all_missing,
        plain={"durability": f"{DURABLE}: a thread's append is on the disk before its next one begins, for every side"},
    )


def _measure(how: Run, threads: int) -> tuple[Samples, list[Missing]]:
    place = how.place / str(threads)
    place.mkdir()
    with ExitStack() as stack:
        field = Field(stack)

        def program(build: Callable[[Path], Path], where: str) -> Callable[[], Sample]:
            built = build(how.place)
            return lambda: programs.run(built, place / where, threads, how.seconds)

        def together(works: Sequence[Work]) -> Callable[[], Sample]:
            return lambda: run_threads_for(works, how.seconds)

        def python() -> Callable[[], Sample]:
            engine = stack.enter_context(open_engine(place / "python-store"))
            return together([engine_work(engine, number) for number in range(threads)])

        def sqlite(locked: bool) -> Callable[[], Sample]:
            log = stack.enter_context(SqliteLog(place / f"log-{locked}.sqlite", 1 if locked else threads))
            if locked:
                return together([log.locked_work(*record(number)) for number in range(threads)])
            return together([log.work(*record(number), thread=number) for number in range(threads)])

        def log(made: LmdbLog | RocksLog) -> Callable[[], Sample]:
            stack.enter_context(made)
            return together([made.work(*record(number)) for number in range(threads)])

        field.add(C_LOOP, lambda: program(programs.build_c_loop, "zeroed"))
        field.add(FROM_C, lambda: program(programs.build_aegis_loop, "c-store"))
        field.add(FROM_PYTHON, python)
        field.add(SQLITE, lambda: sqlite(False))
        field.add(SQLITE_LOCKED, lambda: sqlite(True))
        field.add(LMDB, lambda: log(LmdbLog(place / "lmdb")))
        field.add(ROCKSDB, lambda: log(RocksLog(place / "rocksdb")))
        return interleave(field.sides, how.rounds, how.progress), field.missing


WORKLOAD: Final = Workload(name="commit-n", promise="4 KiB durable appends, many threads or tasks", run=run)
