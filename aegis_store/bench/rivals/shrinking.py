"""Two stores that give space back: states by session and ordinal, of which the older ones go.

SQLite as somebody who knows it would have it (WAL, synchronous=FULL), shrunk by DELETE and VACUUM, which writes the whole file
anew; RocksDB by a deletion of each key and `compact_range`. Both are filled without syncs, and both
leave what they did on the disk: the one by its checkpoint of the write-ahead log, the other by a flush that syncs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from aegis_store.bench.rivals.absent import demand

SQLITE: Final = "SQLite, DELETE + VACUUM"
ROCKSDB: Final = "RocksDB, delete + compact_range"
_TABLE: Final = "CREATE TABLE states (session TEXT, ordinal INTEGER, state BLOB NOT NULL, PRIMARY KEY (session, ordinal))"
_DELETE: Final = (
    "DELETE FROM states WHERE ordinal <= (SELECT max(ordinal) FROM states AS newest WHERE newest.session = states.session) - ?"
)

#: (session, ordinal, state)
Rows = Iterable[tuple[str, int, bytes]]


def fill_sqlite(folder: Path, rows: Rows) -> None:
    """A new database of these rows."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / "states.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(_TABLE)
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO states VALUES (?, ?, ?)", rows)
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def shrink_sqlite(folder: Path, keep_last: int) -> None:
    """Lets go all but the newest of each session, and gives the space back."""
    with closing(sqlite3.connect(folder / "states.sqlite", isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute(_DELETE, (keep_last,))
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def count_sqlite(folder: Path) -> int:
    """How many states there are."""
    with closing(sqlite3.connect(folder / "states.sqlite")) as connection:
        return int(connection.execute("SELECT count(*) FROM states").fetchone()[0])


def fill_rocksdb(folder: Path, rows: Rows) -> None:
    """A new database of these rows. NotHere without the package."""
    database = _open(folder)
    for session, ordinal, state in rows:
        database[_key(session, ordinal)] = state
    database.flush()
    database.close()


def shrink_rocksdb(folder: Path, going: Iterable[tuple[str, int]]) -> None:
    """Lets these go, and gives the space back."""
    database = _open(folder)
    for session, ordinal in going:
        del database[_key(session, ordinal)]
    database.flush()
    database.compact_range(None, None)
    database.close()


def count_rocksdb(folder: Path) -> int:
    """How many states there are."""
    database = _open(folder)
    try:
        return sum(1 for _ in database.items())
    finally:
        database.close()


def _open(folder: Path) -> Any:
    rocksdict = demand("rocksdict", ROCKSDB, "rocksdict")
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(True)
    return rocksdict.Rdict(str(folder), options)


def _key(session: str, ordinal: int) -> bytes:
    return session.encode() + b"/" + ordinal.to_bytes(8, "big")
