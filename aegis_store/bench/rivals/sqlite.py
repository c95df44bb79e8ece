"""SQLite as a log of durable appends: WAL, synchronous=FULL (a sync for each transaction), 4 KiB pages.

Two ways that somebody who knows it would take with threads: a connection for each, with a busy timeout (what its
documentation advises); or one connection behind a lock, which spares SQLite's sleeping and trying again. An insert is its own
transaction, and the statement stays prepared in the connection's cache.
"""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Final, Self

from aegis_store.bench.measure import Work

BUSY_SECONDS: Final = 60
TABLE: Final = "CREATE TABLE IF NOT EXISTS log (id INTEGER PRIMARY KEY, entry BLOB NOT NULL, payload BLOB NOT NULL)"
INSERT: Final = "INSERT INTO log (entry, payload) VALUES (?, ?)"


class SqliteLog:
    """A database with one table. Connections are made by the thread that owns this, each used by one thread at a time."""

    def __init__(self, path: Path, connections: int) -> None:
        self._connections = [self._connect(path) for _ in range(connections)]
        self._lock = threading.Lock()

    @staticmethod
    def _connect(path: Path) -> sqlite3.Connection:
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        for setting in ("page_size=4096", "journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {setting}")
        connection.execute(TABLE)
        return connection

    def work(self, entry: bytes, payload: bytes, *, thread: int = 0) -> Work:
        """An append through the thread's own connection."""
        execute = self._connections[thread].execute
        return lambda: execute(INSERT, (entry, payload))

    def locked_work(self, entry: bytes, payload: bytes) -> Work:
        """An append through the first connection, one thread at a time."""
        execute, lock = self._connections[0].execute, self._lock

        def append() -> None:
            with lock:
                execute(INSERT, (entry, payload))

        return append

    def close(self) -> None:
        for connection in self._connections:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
