"""A server of one's own: it comes up empty, holds what it is given, and leaves nothing behind."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from aegis_store.bench.rivals import postgres, sql_workflows
from aegis_store.bench.rivals.absent import NotHere


@pytest.fixture
def run():
    """Skips where there is none."""
    try:
        postgres.programs()
    except NotHere as error:
        pytest.skip(str(error))


def test_it_is_there_for_a_while_and_then_nothing_of_it_is(run):
    with postgres.server(synced=False) as url, psycopg.connect(url) as base:
        assert base.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
        assert base.execute("SHOW unix_socket_directories").fetchone() == ("",)
        (data,) = base.execute("SHOW data_directory").fetchone()
        (pid,) = base.execute("SELECT pg_backend_pid()").fetchone()
        if os.geteuid() == 0:
            assert Path(f"/proc/{pid}").stat().st_uid != 0
        base.execute("CREATE TABLE t (a int)")
    assert not Path(data).parent.exists()
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2)


def test_synced_is_what_it_does_unless_told_otherwise(run):
    with postgres.server() as url, psycopg.connect(url) as base:
        assert base.execute("SHOW fsync").fetchone() == base.execute("SHOW synchronous_commit").fetchone() == ("on",)


def test_it_ends_when_what_it_is_for_fails(run):
    with pytest.raises(ZeroDivisionError), postgres.server(synced=False) as url:
        raise ZeroDivisionError
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(url, connect_timeout=2)


def test_without_its_programs_it_is_said_what_would_bring_them(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path / "nothing")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotHere, match="apt-get install postgresql"), postgres.server():
        pass


def test_a_server_that_does_not_start_is_said_with_its_last_words(run, monkeypatch):
    monkeypatch.setattr(postgres, "_free_port", lambda: 1 << 20)
    with pytest.raises(NotHere, match=r"it did not start: .*1048576"), postgres.server(synced=False):
        pass


def test_the_newest_version_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(postgres, "DEBIAN", tmp_path)
    for version in ("9.6", "15", "17"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    assert postgres.programs() == tmp_path / "17" / "bin"


def test_the_peer_of_workflows_works_on_it():
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
