"""Databases as LangGraph's own savers write them: a file for each test, and a database of a server that is started once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.sqlite import SqliteSaver

from aegis_store.bench.rivals.absent import NotHere
from aegis_store.bench.rivals.postgres import server
from aegis_store.importers.langgraph_postgres import PostgresSource
from aegis_store.importers.langgraph_sqlite import SqliteSource
from aegis_store.importers.source import Source

from .graphs import fill


class Origin(NamedTuple):
    """Somewhere that threads come from: how it is written to by its saver, and read by an import."""

    kind: str
    address: str
    saver: Callable[[], AbstractContextManager[Any]]
    source: Callable[[], Source]


def sqlite_origin(path: Path) -> Origin:
    address = str(path)
    return Origin("sqlite", address, lambda: SqliteSaver.from_conn_string(address), lambda: SqliteSource(address))


def postgres_origin(url: str) -> Origin:
    return Origin("postgres", url, lambda: PostgresSaver.from_conn_string(url), lambda: PostgresSource(url))


@pytest.fixture(scope="session")
def filled(tmp_path_factory) -> Path:
    """A file with all the threads of `graphs.fill`, not to be changed."""
    path = tmp_path_factory.mktemp("filled") / "checkpoints.db"
    with sqlite_origin(path).saver() as saver:
        fill(saver)
    return path


@pytest.fixture
def file(filled, tmp_path) -> Path:
    """A copy of that file, to be changed."""
    path = tmp_path / "checkpoints.db"
    shutil.copy(filled, path)
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server's own database."""
    with NotHereSkips(), server(synced=False) as url:
        yield url


class NotHereSkips:
    """Skips where the server is not installed."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, NotHere):
            pytest.skip(str(error))


@pytest.fixture(scope="session")
def filled_url(postgres) -> str:
    """A database with all the threads of `graphs.fill`, not to be changed and with nobody in it."""
    url = database(postgres, "filled")
    with postgres_origin(url).saver() as saver:
        saver.setup()
        fill(saver)
    return url


def database(server_url: str, name: str, template: str = "template0") -> str:
    """A new database of that server."""
    with closing(psycopg.connect(server_url, autocommit=True)) as base:
        base.execute(f'DROP DATABASE IF EXISTS "{name}"')
        base.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return server_url.rpartition("/")[0] + f"/{name}"


@pytest.fixture
def url(postgres, filled_url, request) -> str:
    """A copy of that database, to be changed."""
    return database(postgres, f"copy {abs(hash(request.node.nodeid))}", "filled").replace(" ", "%20")


@pytest.fixture(params=["sqlite", "postgres"])
def origin(request) -> Origin:
    """A copy of all the threads, of each kind."""
    if request.param == "sqlite":
        return sqlite_origin(request.getfixturevalue("file"))
    return postgres_origin(request.getfixturevalue("url"))


@contextmanager
def opened(origin: Origin) -> Iterator[Source]:
    """An origin's source, closed at the end."""
    with closing(origin.source()) as source:
        yield source
