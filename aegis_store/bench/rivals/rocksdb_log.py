"""RocksDB as a log of durable appends, through rocksdict: WriteOptions.sync, which is a sync of its write-ahead log.

Threads that write at once are grouped by RocksDB itself. Keys are numbers in order, big-endian as its own order wants them;
values are bytes as they stand (raw mode).
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any, Final, Self

from aegis_store.bench.measure import Work
from aegis_store.bench.rivals.absent import demand

NAME: Final = "RocksDB"


class RocksLog:
    """A database. NotHere without the package."""

    def __init__(self, path: Path) -> None:
        rocksdict = demand("rocksdict", NAME, "rocksdict")
        options = rocksdict.Options(raw_mode=True)
        options.create_if_missing(True)
        self._database: Any = rocksdict.Rdict(str(path), options)
        self._synced: Any = rocksdict.WriteOptions()
        self._synced.sync = True
        self._numbers = itertools.count()

    def work(self, entry: bytes, payload: bytes) -> Work:
        """An append."""
        value, put, synced, numbers = entry + payload, self._database.put, self._synced, self._numbers
        return lambda: put(next(numbers).to_bytes(8, "big"), value, synced)

    def settle(self) -> None:
        """Out of its write-ahead log and memory, into sorted files, and those compacted: its form at rest."""
        self._database.flush()
        self._database.compact_range(None, None)

    def count(self) -> int:
        """How many appends there are."""
        return sum(1 for _ in self._database.items())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._database.close()
