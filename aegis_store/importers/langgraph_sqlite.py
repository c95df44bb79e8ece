"""A file that LangGraph's SqliteSaver or AsyncSqliteSaver wrote, read without leaving a trace in it.

Tables (langgraph-checkpoint-sqlite 2 and 3):

    checkpoints  thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, type, checkpoint, metadata
    writes       thread_id, checkpoint_ns, checkpoint_id, task_id, task_path (since 3), idx, channel, type, value

`checkpoint` is a whole one, with the values of its channels, in one piece; `metadata` is JSON.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from typing import Any, Final
from urllib.parse import quote

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from aegis_store.adapters.langgraph.names import Line
from aegis_store.adapters.langgraph.rows import Row
from aegis_store.errors import SourceBusy, SourceUnreadable
from aegis_store.importers.source import (
    OwnReader,
    Size,
    Step,
    Unfit,
    demand_id,
    grouped,
    plain_json,
    position_of,
    split,
)
from aegis_store.schema.writes import Writes

#: Seconds that a lock of another process is waited for.
BUSY_SECONDS: Final = 5.0
#: Of the header: where the file says that it is in write-ahead-log mode (SQLite's file format, 1.3).
_WAL_AT: Final = slice(18, 20)
_WAL: Final = b"\x02\x02"
_COLUMNS: Final = {
    "checkpoints": {"thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "type", "checkpoint", "metadata"},
    "writes": {"thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "channel", "type", "value"},
}


class SqliteSource:
    """A `Source`. SourceUnreadable: there is no file, or it is no database of LangGraph's, or damaged; SourceBusy: locked."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.name: Final = os.fspath(path)
        # A database that nobody has open has no log beside it. Read as a file that nobody changes, it gets none.
        self._is_still = _is_wal(self.name) and not os.path.exists(f"{self.name}-wal")
        self._was = _identity(self.name)
        self._serde: Final = JsonPlusSerializer(allowed_msgpack_modules=None)
        query = "mode=ro&immutable=1" if self._is_still else "mode=ro"
        try:
            self._base = sqlite3.connect(
                f"file:{quote(os.path.abspath(self.name))}?{query}",
                uri=True,
                timeout=BUSY_SECONDS,
                isolation_level=None,
                check_same_thread=False,
            )
        except sqlite3.Error as error:
            raise self._unreadable(error) from None
        try:
            # One transaction, so all that is read is of one moment; nobody waits for it in write-ahead-log mode.
            self._all("BEGIN")
            self._has_path = self._demand_tables()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._base.close()

    # ---- what there is ----------------------------------------------------------------------------------------------------

    def size(self, threads: Sequence[str]) -> Size | None:
        """How much there is."""
        where, given = _among(threads)
        try:
            ((checkpoints, held),) = self._query(
                f"SELECT COUNT(*), TOTAL(LENGTH(checkpoint)) + TOTAL(LENGTH(metadata)) FROM checkpoints{where}", given
            )
            ((writes, waiting),) = self._query(f"SELECT COUNT(*), TOTAL(LENGTH(value)) FROM writes{where}", given)
        except Unfit:
            return None
        return Size(checkpoints=checkpoints, writes=writes, bytes=int(held + waiting))

    def lines(self, threads: Sequence[str]) -> Iterator[Line | Unfit]:
        """Lines, by thread and namespace."""
        where, given = _among(threads)
        tables = [f"SELECT thread_id, checkpoint_ns FROM {table}{where}" for table in _COLUMNS]
        for thread, namespace in self._all(f"{' UNION '.join(tables)} ORDER BY 1, 2", [*given, *given]):
            try:
                yield Line(_text(thread, "thread's id"), _text(namespace, "namespace"))
            except Unfit as error:
                yield error

    def steps(self, line: Line) -> list[Step | Unfit]:
        """Checkpoints of a line."""
        where = "FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"
        try:
            rows = self._query(f"SELECT checkpoint_id, parent_checkpoint_id {where}", line)
        except Unfit:
            # The index is beside the rows: what it leads to is asked for one by one.
            one = f"SELECT checkpoint_id, parent_checkpoint_id {where} AND checkpoint_id = ?"
            rows = []
            for (checkpoint_id,) in self._all(f"SELECT checkpoint_id {where}", line):
                with suppress(Unfit):
                    rows += self._query(one, (*line, _text(checkpoint_id, "id")))
                    continue
                rows.append((checkpoint_id, None))  # it is named when it is read
        found: list[Step | Unfit] = []
        for checkpoint_id, parent in rows:
            try:
                # As SqliteSaver has it, an empty one is none.
                found.append(Step(_text(checkpoint_id, "id"), _text(parent, "parent's id") if parent else None))
            except Unfit as error:
                found.append(error)
        return found

    def awaited(self, line: Line) -> list[str]:
        """Checkpoints that writes are for."""
        query = "SELECT DISTINCT checkpoint_id FROM writes WHERE thread_id = ? AND checkpoint_ns = ? ORDER BY 1"
        return [_text(each, "id") for (each,) in self._all(query, line)]

    # ---- rows -------------------------------------------------------------------------------------------------------------

    def row(self, line: Line, step: Step) -> Row:
        """A checkpoint."""
        query = (
            "SELECT type, checkpoint, metadata FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
        )
        ((kind, data, about),) = self._query(query, (*line, step.id))
        checkpoint, channels, plain = split((_text(kind, "type"), _bytes(data, "checkpoint")))
        demand_id(plain.get("id"), step.id)
        metadata = (
            {} if about is None else plain_json(about if isinstance(about, str) else _bytes(about, "metadata"), "metadata")
        )
        return Row(
            id=step.id,
            parent=step.parent,
            checkpoint=checkpoint,
            metadata=self._serde.dumps_typed(metadata),
            channels=channels,
            position=position_of(metadata),
        )

    def writes(self, line: Line, checkpoint_id: str) -> tuple[list[Writes], list[Unfit]]:
        """Writes that wait beside a checkpoint."""
        path = "task_path" if self._has_path else "''"
        query = (
            f"SELECT {path}, task_id, idx, channel, type, value FROM writes"
            " WHERE thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
        )
        rows: list[tuple[str, str, int, str, str, bytes]] = []
        unfit: list[Unfit] = []
        try:
            found = self._query(query, (*line, checkpoint_id))
        except Unfit as error:
            return [], [error]
        for task_path, task, place, channel, kind, value in found:
            try:
                if type(place) is not int:
                    raise Unfit("its place is no number")
                rows.append(
                    (
                        _text(task_path, "path"),
                        _text(task, "task"),
                        place,
                        _text(channel, "channel"),
                        _text(kind, "type"),
                        b"" if value is None else _bytes(value, "value"),
                    )
                )
            except Unfit as error:
                unfit.append(Unfit(error.why, task=_shown(task), channel=_shown(channel)))
        taken, damaged = grouped(rows, checkpoint_id)
        spoilt = {error.task for error in unfit}
        return [each for each in taken if each.task not in spoilt], [*unfit, *damaged]

    # ---- the file ---------------------------------------------------------------------------------------------------------

    def own_reader(self, serde: SerializerProtocol) -> OwnReader | None:
        """SqliteSaver on the same connection; told that its tables are there, for it would make them."""
        try:
            from langgraph.checkpoint.sqlite import SqliteSaver
        except ImportError:
            return None
        saver = SqliteSaver(self._base, serde=serde)
        saver.is_setup = True
        saver._has_task_path = self._has_path

        def read(config: RunnableConfig) -> CheckpointTuple | None:
            self._base.text_factory = str
            return saver.get_tuple(config)

        return read

    def demand_unchanged(self) -> None:
        """In a file that was read as if nobody changed it, nobody has."""
        if self._is_still and (_identity(self.name) != self._was or _bytes_of(f"{self.name}-wal")):
            raise SourceBusy(
                "another process wrote to it while it was read",
                op="import",
                path=self.name,
                hint="import it again: what is there by now is not doubled",
            )

    def _demand_tables(self) -> bool:
        """Whether writes have a path, as they have since version 3."""
        has_path = False
        for table, wanted in _COLUMNS.items():
            columns = {_shown(row[1]) for row in self._all(f"PRAGMA table_info({table})")}
            if not wanted <= columns:
                raise SourceUnreadable(
                    f"this is no database of LangGraph's SqliteSaver: it has no table {table!r}"
                    if not columns
                    else f"table {table!r} is not as LangGraph's SqliteSaver makes it",
                    op="import",
                    path=self.name,
                    hint="give the file that SqliteSaver.from_conn_string was given",
                )
            has_path = has_path or "task_path" in columns
        return has_path

    def _all(self, query: str, given: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._query(query, given)
        except Unfit as error:
            raise self._unreadable(error) from None

    def _query(self, query: str, given: Sequence[Any]) -> list[Any]:
        """Rows. Unfit where the file is damaged there: the rest of it may be well."""
        # Names are looked at one by one: one that is no UTF-8 spoils its row and no other.
        self._base.text_factory = bytes
        try:
            with closing(self._base.execute(query, given)) as cursor:
                return cursor.fetchall()
        except sqlite3.OperationalError as error:
            raise self._unreadable(error) from None
        except (sqlite3.DatabaseError, MemoryError) as error:
            raise Unfit(f"the file is damaged there: {error}") from None

    def _unreadable(self, error: Exception) -> SourceUnreadable:
        code = getattr(error, "sqlite_errorname", "") or ""
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return SourceBusy(
                "another process has it locked", op="import", path=self.name, hint="wait for it or stop it, and import again"
            )
        if code.startswith("SQLITE_CANTOPEN") and os.path.exists(f"{self.name}-wal"):
            hint = "copy it together with its -wal file to where you may write, and import that"
        elif code.startswith("SQLITE_READONLY"):
            hint = "a process died while it wrote: let SQLite roll that back, sqlite3 FILE 'SELECT 1', and import again"
        else:
            hint = "what SQLite says of it: sqlite3 FILE 'PRAGMA integrity_check'"
        return SourceUnreadable(f"SQLite cannot read it: {error}", op="import", path=self.name, hint=hint)


def _among(threads: Sequence[str]) -> tuple[str, list[str]]:
    return (f" WHERE thread_id IN ({', '.join('?' * len(threads))})", list(threads)) if threads else ("", [])


def _text(value: object, what: str) -> str:
    if type(value) is bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            raise Unfit(f"its {what} is no text") from None
    raise Unfit(f"its {what} is missing" if value is None else f"its {what} is no text")


def _bytes(value: object, what: str) -> bytes:
    if type(value) is bytes:
        return value
    raise Unfit(f"its {what} is missing" if value is None else f"its {what} is a {type(value).__name__}")


def _shown(value: object) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else repr(value)


def _is_wal(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(20)[_WAL_AT] == _WAL
    except FileNotFoundError:
        raise SourceUnreadable("there is no such file", op="import", path=path, hint=None) from None
    except OSError as error:
        raise SourceUnreadable(error.strerror or str(error), op="import", path=path) from None


def _identity(path: str) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _bytes_of(path: str) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0
