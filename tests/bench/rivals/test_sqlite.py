from __future__ import annotations

import sqlite3
from contextlib import closing

from aegis_store.bench.measure import run_threads_for
from aegis_store.bench.rivals.sqlite import SqliteLog


def test_every_append_is_there_and_the_settings_are_the_experts(tmp_path):
    path = tmp_path / "log.sqlite"
    with SqliteLog(path, 3) as log:
        works = [log.work(b"e", b"p", thread=number) for number in range(3)]
        counted = run_threads_for(works, 0.05).operations
        log.locked_work(b"e", b"p")()
        for connection in log._connections:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
            assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    with closing(sqlite3.connect(path)) as reader:
        assert reader.execute("SELECT count(*) FROM log").fetchone()[0] > counted
