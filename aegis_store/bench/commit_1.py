"""One thread's durable appends of 4 KiB, as fast as the disk lets a bare loop be."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from aegis_store.bench.measure import Sample, Wanted, interleave, run_for
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals import lmdb_log, programs, rocksdb_log
from aegis_store.bench.rivals.lmdb_log import LmdbLog
from aegis_store.bench.rivals.rocksdb_log import RocksLog
from aegis_store.bench.rivals.sqlite import SqliteLog
from aegis_store.bench.workload import DURABLE, Field, Run, Workload, engine_work, open_engine, rates_against, record

WANTED: Final = Wanted(least=0.95)
C_LOOP, FROM_C, FROM_PYTHON = programs.C_LOOP, programs.FROM_C, "aegis, from Python"
SQLITE, LMDB, ROCKSDB = "SQLite, WAL, synchronous=FULL", f"{lmdb_log.NAME}, sync", f"{rocksdb_log.NAME}, sync"


def run(how: Run) -> Outcome:
    entry, payload = record(0)
    with ExitStack() as stack:
        field = Field(stack)

        def program(build: Callable[[Path], Path], place: str) -> Callable[[], Sample]:
            built = build(how.place)
            return lambda: programs.run(built, how.place / place, 1, how.seconds)

        def python() -> Callable[[], Sample]:
            work = engine_work(stack.enter_context(open_engine(how.place / "python-store")), 0)
            return lambda: run_for(work, how.seconds)

        def log(made: SqliteLog | LmdbLog | RocksLog) -> Callable[[], Sample]:
            stack.enter_context(made)
            work = made.work(entry, payload)
            return lambda: run_for(work, how.seconds)

        field.add(C_LOOP, lambda: program(programs.build_c_loop, "zeroed"))
        field.add(FROM_C, lambda: program(programs.build_aegis_loop, "c-store"))
        field.add(FROM_PYTHON, python)
        field.add(SQLITE, lambda: log(SqliteLog(how.place / "log.sqlite", 1)))
        field.add(LMDB, lambda: log(LmdbLog(how.place / "lmdb")))
        field.add(ROCKSDB, lambda: log(RocksLog(how.place / "rocksdb")))
        samples = interleave(field.sides, how.rounds, how.progress)
    return Outcome(
        figures=[
            *rates_against("one thread, from C", samples, FROM_C, [C_LOOP], wanted={C_LOOP: WANTED}, note="the limit"),
            *rates_against("one thread", samples, FROM_PYTHON, [C_LOOP], wanted={C_LOOP: WANTED}, note="the limit"),
            *rates_against("one thread", samples, FROM_PYTHON, [SQLITE, LMDB, ROCKSDB]),
        ],
        samples={"1 thread": samples},
        missing=field.missing,
        plain={"durability": f"{DURABLE}: every append is on the disk before the next one begins, for every side"},
    )


WORKLOAD: Final = Workload(name="commit-1", promise="4 KiB durable appends, one thread", run=run)
