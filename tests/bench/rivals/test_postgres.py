from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from aegis_store.bench.rivals import postgres, sql_workflows
from aegis_store.bench.rivals.absent import NotHere


@pytest.fixture
def place():
    """Where another user may go, which the tests' own folders forbid."""
    folder = Path(tempfile.mkdtemp(prefix="aegis-postgres-"))
    yield folder / "server"
    shutil.rmtree(folder)


def test_a_server_is_there_for_as_long_as_it_is_measured_and_no_longer(place):
    pytest.importorskip("sqlalchemy", reason="a peer of the benchmark, which tests do not install: pip install '.[bench]'")
    pytest.importorskip("asyncpg", reason="a peer of the benchmark, which tests do not install: pip install '.[bench]'")
    try:
        context = postgres.server(place)
        where = context.__enter__()
    except NotHere as error:
        pytest.skip(str(error))
    try:
        pid = int((place / "data" / "postmaster.pid").read_text().splitlines()[0])
        with sql_workflows.on_postgres(where) as peer:
            peer.run(peer.fill([("a", "new", {"n": 0})]))
            peer.run(peer.transition("a", "paid", {"n": 1}, "bank"))
            assert peer.run(peer.resume(10)) == [{"n": 1}]

            async def asked() -> str:
                async with peer._engine.connect() as connection:
                    return (await connection.exec_driver_sql("SHOW fsync")).scalar()

            assert peer.run(asked()) == "on"
    finally:
        context.__exit__(None, None, None)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_where_there_is_none_it_is_said_how_to_get_one(place, monkeypatch):
    monkeypatch.setattr(postgres, "_DEBIAN", Path("/nowhere"))
    monkeypatch.setattr(postgres.shutil, "which", lambda name: None)
    with pytest.raises(NotHere, match="apt-get install postgresql"), postgres.server(place):
        pass


def test_a_folder_that_its_user_may_not_enter_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres.os, "geteuid", lambda: 0)
    monkeypatch.setattr(postgres.os, "chown", lambda path, uid, gid: None)
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    with pytest.raises(NotHere, match="may not enter"):
        postgres._as_somebody(closed / "inner" / "server")
