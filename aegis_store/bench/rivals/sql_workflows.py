"""Workflows as a program without a checkpoint store keeps them: one SQL row a checkpoint, with a chain of hashes.

SQLAlchemy's async engine, on SQLite (WAL, synchronous=FULL) or PostgreSQL (its defaults, which sync). A transition is one
transaction: the newest row of the workflow is read, a row with the state as JSON and the next hash is put behind it, and the
workflow's own row says so. Resuming reads the newest row of each workflow that is not completed, and hashes it again; nothing
is signed, and nothing shows that rows are missing.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

from aegis_store.bench.rivals.absent import demand

SQLITE: Final = "SQLAlchemy on SQLite"
POSTGRES: Final = "SQLAlchemy on PostgreSQL"
#: Rows that are put in at once where a database is filled.
FILL_ROWS: Final = 1000
#: Connections of PostgreSQL; SQLite has one writer, and tasks wait for it.
POOL: Final = 16

_Result = TypeVar("_Result")
_Row = tuple[str, str, dict[str, Any]]


def row_hash(workflow: str, number: int, state: str, content: str, actor: str, previous: str) -> str:
    """The hash of a row, in hex."""
    return hashlib.sha256(json.dumps([workflow, number, state, content, actor, previous]).encode()).hexdigest()


class SqlWorkflows:
    """Workflows in a database, with an event loop of their own."""

    def __init__(self, url: str, *, is_sqlite: bool, name: str) -> None:
        self._sql = demand("sqlalchemy", name, "sqlalchemy[asyncio]")
        asynchronous = demand("sqlalchemy.ext.asyncio", name, "sqlalchemy[asyncio]")
        demand("aiosqlite" if is_sqlite else "asyncpg", name, "aiosqlite" if is_sqlite else "asyncpg")
        sql = self._sql
        tables = sql.MetaData()
        self._workflows = sql.Table(
            "workflow",
            tables,
            sql.Column("id", sql.Text, primary_key=True),
            sql.Column("newest", sql.Integer, nullable=False),
            sql.Column("is_completed", sql.Boolean, nullable=False),
        )
        self._checkpoints = sql.Table(
            "checkpoint",
            tables,
            sql.Column("workflow", sql.Text, primary_key=True),
            sql.Column("number", sql.Integer, primary_key=True),
            sql.Column("state", sql.Text, nullable=False),
            sql.Column("content", sql.Text, nullable=False),
            sql.Column("actor", sql.Text, nullable=False),
            sql.Column("previous", sql.Text, nullable=False),
            sql.Column("hash", sql.Text, nullable=False),
        )
        pool = {"pool_size": 1, "max_overflow": 0} if is_sqlite else {"pool_size": POOL, "max_overflow": 0}
        self._engine = asynchronous.create_async_engine(url, pool_timeout=600, **pool)
        if is_sqlite:
            sql.event.listen(self._engine.sync_engine, "connect", _as_sqlite_syncs)
        self._runner = asyncio.Runner()
        self.run(self._make(tables))

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """Do something in the loop."""
        return self._runner.run(work)

    def close(self) -> None:
        try:
            self.run(self._engine.dispose())
        finally:
            self._runner.close()

    async def _make(self, tables: Any) -> None:
        async with self._engine.begin() as connection:
            await connection.run_sync(tables.create_all)

    async def empty(self) -> None:
        """Forget all workflows: a server has one database for all measurements."""
        async with self._engine.begin() as connection:
            for table in (self._workflows, self._checkpoints):
                await connection.execute(self._sql.delete(table))

    async def fill(self, workflows: Iterable[_Row]) -> None:
        """Workflows (id, state, content), each with its first row."""
        rows, heads = [], []
        for workflow, state, content in workflows:
            text = json.dumps(content)
            made = row_hash(workflow, 0, state, text, "bench", "")
            rows.append(
                {
                    "workflow": workflow, "number": 0, "state": state, "content": text, "actor": "bench",
                    "previous": "", "hash": made,
                }
            )  # fmt: skip
            heads.append({"id": workflow, "newest": 0, "is_completed": False})
        async with self._engine.begin() as connection:
            for table, values in ((self._workflows, heads), (self._checkpoints, rows)):
                for at in range(0, len(values), FILL_ROWS):
                    await connection.execute(self._sql.insert(table), values[at : at + FILL_ROWS])

    async def transition(self, workflow: str, state: str, content: dict[str, Any], actor: str) -> None:
        """One transaction, durable when it returns."""
        sql, heads, rows = self._sql, self._workflows, self._checkpoints
        text = json.dumps(content)
        async with self._engine.begin() as connection:
            newest = (
                await connection.execute(
                    sql.select(rows.c.number, rows.c.hash)
                    .join(heads, sql.and_(heads.c.id == rows.c.workflow, heads.c.newest == rows.c.number))
                    .where(heads.c.id == workflow)
                )
            ).one()
            number = newest.number + 1
            made = row_hash(workflow, number, state, text, actor, newest.hash)
            await connection.execute(
                sql.insert(rows).values(
                    workflow=workflow, number=number, state=state, content=text, actor=actor, previous=newest.hash, hash=made
                )
            )
            await connection.execute(sql.update(heads).where(heads.c.id == workflow).values(newest=number))

    async def resume(self, limit: int) -> list[dict[str, Any]]:
        """What was last saved of the workflows that are not completed."""
        sql, heads, rows = self._sql, self._workflows, self._checkpoints
        query = (
            sql.select(rows)
            .join(heads, sql.and_(heads.c.id == rows.c.workflow, heads.c.newest == rows.c.number))
            .where(heads.c.is_completed.is_(False))
            .limit(limit)
        )
        found = []
        async with self._engine.connect() as connection:
            for row in await connection.execute(query):
                wanted = row_hash(row.workflow, row.number, row.state, row.content, row.actor, row.previous)
                if row.hash != wanted:
                    raise ValueError(f"row {row.number} of {row.workflow} was changed")
                found.append(json.loads(row.content))
        return found


def _as_sqlite_syncs(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


@contextmanager
def opened(url: str, *, is_sqlite: bool, name: str) -> Iterator[SqlWorkflows]:
    """Workflows in the database at `url`. NotHere: SQLAlchemy or the driver is missing."""
    made = SqlWorkflows(url, is_sqlite=is_sqlite, name=name)
    try:
        yield made
    finally:
        made.close()


def on_sqlite(path: Path) -> AbstractContextManager[SqlWorkflows]:
    """The same in a file."""
    return opened(f"sqlite+aiosqlite:///{path}", is_sqlite=True, name=SQLITE)


def on_postgres(where: str) -> AbstractContextManager[SqlWorkflows]:
    """The same on a server."""
    return opened(where.replace("postgresql://", "postgresql+asyncpg://", 1), is_sqlite=False, name=POSTGRES)
