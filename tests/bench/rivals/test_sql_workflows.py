from __future__ import annotations

import sqlite3

import pytest

from aegis_store.bench.rivals import sql_workflows

pytest.importorskip("sqlalchemy", reason="a peer of the benchmark, which tests do not install: pip install '.[bench]'")
pytest.importorskip("aiosqlite", reason="a peer of the benchmark, which tests do not install: pip install '.[bench]'")


def test_rows_form_a_chain_and_the_newest_is_resumed(tmp_path):
    path = tmp_path / "rows.sqlite"
    with sql_workflows.on_sqlite(path) as peer:
        peer.run(peer.fill([("a", "new", {"n": 0}), ("b", "new", {"n": 0})]))
        peer.run(peer.transition("a", "paid", {"n": 1}, "bank"))
        peer.run(peer.transition("a", "sent", {"n": 2}, "bank"))
        assert sorted(each["n"] for each in peer.run(peer.resume(10))) == [0, 2]
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        rows = connection.execute("SELECT previous, hash FROM checkpoint WHERE workflow = 'a' ORDER BY number").fetchall()
        assert [row[0] for row in rows] == ["", rows[0][1], rows[1][1]]
        connection.execute("UPDATE checkpoint SET content = '{}' WHERE workflow = 'a' AND number = 2")
    connection.close()
    with sql_workflows.on_sqlite(path) as peer:
        with pytest.raises(ValueError, match="row 2 of a was changed"):
            peer.run(peer.resume(10))
        peer.run(peer.empty())
        assert peer.run(peer.resume(10)) == []


def test_it_syncs_what_it_acknowledges(tmp_path):
    with sql_workflows.on_sqlite(tmp_path / "rows.sqlite") as peer:

        async def asked() -> int:
            async with peer._engine.connect() as connection:
                return (await connection.exec_driver_sql("PRAGMA synchronous")).scalar()

        assert peer.run(asked()) == 2
