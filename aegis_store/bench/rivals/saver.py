"""LangGraph's savers: a checkpoint is `put` and `put_writes` after every step, as its runtime calls them.

SqliteSaver as its users have it: the connection that its documentation makes and its own `setup`, which is WAL with
synchronous=FULL, a transaction for each of the two calls. InMemorySaver keeps nothing: it is the floor of what a saver costs.
Thread ids are sessions; a thread's steps form one chain, as LangGraph's do.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, Self

from aegis_store.bench.measure import Work
from aegis_store.bench.rivals.absent import demand

SQLITE: Final = "SqliteSaver"
IN_MEMORY: Final = "InMemorySaver"
PACKAGE: Final = "langgraph-checkpoint-sqlite"


class Saver:
    """One of the two savers, open, with what a runtime does around it. NotHere without the package."""

    def __init__(self, saver: Any, connection: sqlite3.Connection | None, path: Path | None) -> None:
        self._saver = saver
        self._connection = connection
        self._path = path
        self._empty: Any = demand("langgraph.checkpoint.base", SQLITE, PACKAGE).empty_checkpoint
        self._source = random.Random(1)
        self._writes = 0

    @classmethod
    def sqlite(cls, path: Path) -> Self:
        """SqliteSaver on a file."""
        made = demand("langgraph.checkpoint.sqlite", SQLITE, PACKAGE).SqliteSaver
        connection = sqlite3.connect(path, check_same_thread=False)
        saver = made(connection)
        saver.setup()
        return cls(saver, connection, path)

    @classmethod
    def in_memory(cls) -> Self:
        """InMemorySaver."""
        return cls(demand("langgraph.checkpoint.memory", IN_MEMORY, PACKAGE).InMemorySaver(), None, None)

    def works(self, thread: str, states: Iterable[dict[str, Any]]) -> Iterator[Work]:
        """One work a state, to be done in order: `put`, then `put_writes` of what the step wrote."""
        config = _config(thread)
        put, put_writes = self._saver.put, self._saver.put_writes
        for step, state in enumerate(states):
            checkpoint, version = self._empty(), f"{step + 1:032}.{self._source.random():.16f}"
            checkpoint["channel_values"] = state
            versions = dict.fromkeys(state, version)
            checkpoint["channel_versions"] = versions
            metadata = {"source": "loop", "step": step, "parents": {}}
            writes = [("messages", state["messages"][-1:]), ("position", step)]
            following: list[Any] = []

            def work(
                config: Any = config,
                checkpoint: Any = checkpoint,
                metadata: Any = metadata,
                versions: Any = versions,
                writes: Any = writes,
                task: str = f"t{step}",
                following: list[Any] = following,
            ) -> None:
                saved = put(config, checkpoint, metadata, versions)
                put_writes(saved, writes, task_id=task)
                following.append(saved)

            yield work
            config = following[0]

    def latest(self, thread: str) -> Any:
        """The newest checkpoint of a thread."""
        return self._saver.get_tuple(_config(thread))

    def at(self, thread: str, checkpoint_id: str) -> Any:
        """The checkpoint of that id."""
        return self._saver.get_tuple(_config(thread, checkpoint_id))

    def fill(self, rows: Iterable[tuple[str, str, str | None, dict[str, Any]]]) -> None:
        """Rows (thread, checkpoint id, parent's id, state) in one transaction, each as `put` would have written it."""
        if self._connection is None:
            raise TypeError("only a saver with a file is filled")
        serialise, empty = self._saver.serde.dumps_typed, self._empty()
        metadata = b'{"source": "loop", "step": 1, "parents": {}}'

        def all_values() -> Iterator[tuple[object, ...]]:
            for thread, checkpoint_id, parent, state in rows:
                kind, blob = serialise({**empty, "id": checkpoint_id, "channel_values": state})
                yield thread, "", checkpoint_id, parent, kind, blob, metadata

        with self._connection:
            self._connection.executemany(
                "INSERT INTO checkpoints (thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint,"
                " metadata) VALUES (?, ?, ?, ?, ?, ?, ?)",
                all_values(),
            )

    def file_bytes(self) -> int:
        """Bytes of the database, its write-ahead log folded in."""
        if self._connection is None or self._path is None:
            return 0
        self._connection.commit()
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        return self._path.stat().st_size

    def vacuumed_bytes(self) -> int:
        """The same after VACUUM."""
        if self._connection is not None:
            self._connection.commit()
            self._connection.execute("VACUUM")
        return self.file_bytes()

    def synchronous(self) -> str:
        """What the connection says about its syncs."""
        if self._connection is None:
            return "none"
        mode = self._connection.execute("PRAGMA journal_mode").fetchone()[0]
        level = self._connection.execute("PRAGMA synchronous").fetchone()[0]
        return f"{mode}, synchronous={('OFF', 'NORMAL', 'FULL', 'EXTRA')[level]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._connection is not None:
            self._connection.close()


def _config(thread: str, checkpoint_id: str | None = None) -> dict[str, dict[str, str]]:
    where = {"thread_id": thread, "checkpoint_ns": ""}
    return {"configurable": where if checkpoint_id is None else {**where, "checkpoint_id": checkpoint_id}}
