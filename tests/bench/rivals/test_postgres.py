from __future__ import annotations

import os
from pathlib import Path

import pytest

from aegis_store.bench.rivals import postgres, sql_workflows
from aegis_store.bench.rivals.absent import NotHere


def test_a_server_is_there_for_as_long_as_it_is_measured_and_no_longer():
    pytest.importorskip("sqlalchemy", reason="a peer of the benchmark, which tests do not install: pip install '.[bench]'")
    pytest.importorskip("asyncpg", reason="a peer of the benchmark, which tests do not install: pip install '.[bench]'")
    try:
        context = postgres.server()
        where = context.__enter__()
    except NotHere as error:
        pytest.skip(str(error))
    try:
        with sql_workflows.on_postgres(where) as peer:
            peer.run(peer.fill([("a", "new", {"n": 0})]))
            peer.run(peer.transition("a", "paid", {"n": 1}, "bank"))
            assert peer.run(peer.resume(10)) == [{"n": 1}]

            async def asked(what: str) -> str:
                async with peer._engine.connect() as connection:
                    return (await connection.exec_driver_sql(f"SHOW {what}")).scalar()

            assert peer.run(asked("fsync")) == "on"
            data = Path(peer.run(asked("data_directory")))
            pid = int((data / "postmaster.pid").read_text().splitlines()[0])
    finally:
        context.__exit__(None, None, None)
    assert not data.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_where_there_is_none_it_is_said_how_to_get_one(monkeypatch):
    monkeypatch.setattr(postgres, "DEBIAN", Path("/nowhere"))
    monkeypatch.setattr(postgres.shutil, "which", lambda name: None)
    with pytest.raises(NotHere, match="apt-get install postgresql"), postgres.server():
        pass


def test_the_newest_version_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    for version in ("9", "15", "11"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    assert postgres.programs().parent.name == "15"
