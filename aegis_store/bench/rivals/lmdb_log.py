"""LMDB as a log of durable appends: a write transaction for each, synced when it commits (its default).

There is one writer at a time by design; threads wait for its lock in turn. Keys are integers in order, so that a page is filled
before the next one is begun.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Final, Self

from aegis_store.bench.measure import Work
from aegis_store.bench.rivals.absent import demand

NAME: Final = "LMDB"
#: Address space, not disk.
MAP_BYTES: Final = 16 << 30


class LmdbLog:
    """An environment with one table. NotHere without the package."""

    def __init__(self, path: Path) -> None:
        lmdb = demand("lmdb", NAME, "lmdb")
        self._environment: Any = lmdb.open(str(path), map_size=MAP_BYTES, max_dbs=1, sync=True, max_spare_txns=64)
        self._table: Any = self._environment.open_db(b"log", integerkey=True)
        self._numbers = itertools.count()

    def work(self, entry: bytes, payload: bytes) -> Work:
        """An append."""
        value, environment, table, numbers = entry + payload, self._environment, self._table, self._numbers

        def append() -> None:
            with environment.begin(db=table, write=True) as transaction:
                transaction.put(next(numbers).to_bytes(8, "little"), value, append=True)

        return append

    def count(self) -> int:
        """How many appends there are."""
        with self._environment.begin(db=self._table) as transaction:
            entries: int = transaction.stat(db=self._table)["entries"]
            return entries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._environment.close()
