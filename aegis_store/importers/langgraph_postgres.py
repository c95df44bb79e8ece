"""A database that LangGraph's PostgresSaver or AsyncPostgresSaver wrote, read in one read-only transaction.

Tables (langgraph-checkpoint-postgres 2 and 3):

    checkpoints        thread_id, checkpoint_ns, checkpoint_id, parent_checkpoint_id, checkpoint (jsonb), metadata (jsonb)
    checkpoint_blobs   thread_id, checkpoint_ns, channel, version, type, blob
    checkpoint_writes  thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel, type, blob

Of the values of channels, numbers, texts, booleans and null stand in `checkpoint`; all others in `checkpoint_blobs`, by the
version that `checkpoint` gives for the channel, once for all checkpoints that share it. Here they are put together again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, LiteralString

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from aegis_store.adapters.langgraph.names import Line
from aegis_store.adapters.langgraph.rows import Row, Typed
from aegis_store.errors import InvalidArgument, NotInstalled, SourceUnreadable
from aegis_store.importers.source import (
    OwnReader,
    Size,
    Step,
    Unfit,
    demand_id,
    demand_whole,
    grouped,
    plain_json,
    position_of,
)
from aegis_store.schema.writes import Writes

try:
    import psycopg
    from psycopg import conninfo
except ImportError:
    raise NotInstalled(
        "psycopg, which talks to PostgreSQL, is not installed",
        op="import",
        hint="pip install 'aegis-store[langgraph-postgres]'",
    ) from None

#: Seconds that a server is waited for.
CONNECT_SECONDS: Final = 10
#: Where checkpoints before version 4 have what their parents sent; LangGraph's saver puts it there when it reads them.
_SENDS: Final = "__pregel_tasks"
_SENDS_MOVED: Final = 4
_COLUMNS: Final = {
    "checkpoints": {"thread_id", "checkpoint_ns", "checkpoint_id", "parent_checkpoint_id", "checkpoint", "metadata"},
    "checkpoint_blobs": {"thread_id", "checkpoint_ns", "channel", "version", "type", "blob"},
    "checkpoint_writes": {"thread_id", "checkpoint_ns", "checkpoint_id", "task_id", "idx", "channel", "type", "blob"},
}
_LINE: Final[LiteralString] = " WHERE thread_id = %s AND checkpoint_ns = %s"
_ONE: Final[LiteralString] = f"{_LINE} AND checkpoint_id = %s"
_AMONG: Final[LiteralString] = " WHERE thread_id = ANY(%s)"


class PostgresSource:
    """A `Source`. InvalidArgument: the URL is none. SourceUnreadable: no server, or no database of LangGraph's."""

    def __init__(self, url: str) -> None:
        given = _parsed(url)
        self.name: Final = _named(given)
        self._serde: Final = JsonPlusSerializer(allowed_msgpack_modules=None)
        #: Of the lines of one thread, the blobs of the last checkpoint by channel and version: the next one mostly shares them.
        self._blobs: dict[Line, dict[tuple[str, str], Typed]] = {}
        try:
            self._base = psycopg.connect(url, **{"connect_timeout": CONNECT_SECONDS, **_waiting(given)})
            self._base.read_only = True
            # What is read is of one moment, and nobody waits for it.
            self._base.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        except psycopg.Error as error:
            raise self._unreadable(error) from None
        try:
            self._has_path = self._demand_tables()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Hang up."""
        self._base.close()

    # ---- what there is ----------------------------------------------------------------------------------------------------

    def size(self, threads: Sequence[str]) -> Size | None:
        """How much there is."""
        where, given = (_AMONG, (list(threads),)) if threads else ("", ())
        ((checkpoints, held),) = self._all(
            "SELECT count(*), coalesce(sum(octet_length(checkpoint::text) + octet_length(metadata::text)), 0) FROM checkpoints"
            + where,
            given,
        )
        ((blobs,),) = self._all("SELECT coalesce(sum(octet_length(blob)), 0) FROM checkpoint_blobs" + where, given)
        ((writes, waiting),) = self._all(
            "SELECT count(*), coalesce(sum(octet_length(blob)), 0) FROM checkpoint_writes" + where, given
        )
        return Size(checkpoints=checkpoints, writes=writes, bytes=int(held + blobs + waiting))

    def lines(self, threads: Sequence[str]) -> Iterator[Line | Unfit]:
        """Lines, by thread and namespace."""
        where = _AMONG if threads else ""
        query = (
            "SELECT thread_id, checkpoint_ns FROM checkpoints"
            + where
            + " UNION SELECT thread_id, checkpoint_ns FROM checkpoint_writes"
            + where
            + " ORDER BY 1, 2"
        )
        for thread, namespace in self._all(query, (list(threads), list(threads)) if threads else ()):
            yield Line(thread, namespace)

    def steps(self, line: Line) -> list[Step | Unfit]:
        """Checkpoints of a line."""
        found = self._all("SELECT checkpoint_id, parent_checkpoint_id FROM checkpoints" + _LINE, line)
        return [Step(checkpoint_id, parent or None) for checkpoint_id, parent in found]

    def awaited(self, line: Line) -> list[str]:
        """Checkpoints that writes are for."""
        query = "SELECT DISTINCT checkpoint_id FROM checkpoint_writes" + _LINE + " ORDER BY 1"
        return [each for (each,) in self._all(query, line)]

    # ---- rows -------------------------------------------------------------------------------------------------------------

    def row(self, line: Line, step: Step) -> Row:
        """A checkpoint, put together from its parts."""
        ((text, about, versions),) = self._all(
            "SELECT checkpoint::text, metadata::text, CASE WHEN jsonb_typeof(checkpoint -> 'channel_versions') = 'object' THEN"
            " ARRAY(SELECT ARRAY[key, value] FROM jsonb_each_text(checkpoint -> 'channel_versions') WHERE value IS NOT NULL)"
            " END FROM checkpoints" + _ONE,
            (*line, step.id),
        )
        checkpoint, metadata = plain_json(text, "checkpoint"), plain_json(about, "metadata")
        if not isinstance(checkpoint, dict) or versions is None:
            raise Unfit("it is no checkpoint")
        demand_id(checkpoint.get("id"), step.id)
        inline = checkpoint.pop("channel_values", None) or {}
        if not isinstance(inline, dict):
            raise Unfit("it is damaged: the values of its channels are none")
        channels = {name: self._plain(value, name) for name, value in inline.items()}
        channels.update(self._held(line, [(channel, version) for channel, version in versions]))
        if step.parent is not None and _is_before(checkpoint.get("v"), _SENDS_MOVED):
            self._take_sends(line, step.parent, checkpoint, channels)
        return Row(
            id=step.id,
            parent=step.parent,
            checkpoint=self._plain(checkpoint, None),
            metadata=self._plain(metadata, None),
            channels=channels,
            position=position_of(metadata),
        )

    def _plain(self, value: Any, channel: str | None) -> Typed:
        """What came as JSON, as our saver would encode it; a number that is too large for that stays JSON."""
        import json

        try:
            return self._serde.dumps_typed(value)
        except (ValueError, TypeError):
            typed = "json", json.dumps(value).encode()
            demand_whole(typed, channel=channel)
            return typed

    def _held(self, line: Line, versions: Sequence[tuple[str, str]]) -> dict[str, Typed]:
        """The values of channels that stand by themselves, by their versions."""
        if any(each.thread != line.thread for each in self._blobs):
            self._blobs.clear()
        known = self._blobs.get(line, {})
        held = self._blobs[line] = {each: known[each] for each in versions if each in known}
        wanted = [each for each in versions if each not in known]
        if wanted:
            query = (
                "SELECT channel, version, type, blob FROM checkpoint_blobs"
                + _LINE
                + " AND (channel, version) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"
            )
            names, numbers = (list(each) for each in zip(*wanted, strict=True))
            for channel, version, kind, blob in self._all(query, (*line, names, numbers)):
                # What is empty has a version and no value.
                if kind != "empty":
                    held[channel, version] = kind, b"" if blob is None else blob
        found = {channel: typed for (channel, _), typed in held.items()}
        for channel, typed in found.items():
            demand_whole(typed, channel=channel)
        return found

    def _take_sends(self, line: Line, parent: str, checkpoint: dict[str, Any], channels: dict[str, Typed]) -> None:
        """What the parent's tasks sent, as a channel of its own, where LangGraph looks for it since version 4.

        Its saver takes them from all namespaces of the thread; so are they taken here.
        """
        order: LiteralString = "task_path, task_id, idx" if self._has_path else "task_id, idx"
        sends = self._all(
            "SELECT type, blob FROM checkpoint_writes WHERE thread_id = %s AND checkpoint_id = %s AND channel = %s ORDER BY "
            + order,
            (line.thread, parent, _SENDS),
        )
        if not sends:
            return
        for kind, blob in sends:
            demand_whole((kind, blob), channel=_SENDS)
        if any(kind != "msgpack" for kind, _ in sends):
            raise Unfit("what its parent sent is not all msgpack", channel=_SENDS)
        import msgspec

        channels[_SENDS] = "msgpack", msgspec.msgpack.encode([msgspec.Raw(blob) for _, blob in sends])
        versions = checkpoint["channel_versions"]
        try:
            versions[_SENDS] = max(versions.values())
        except (TypeError, ValueError):
            raise Unfit("its channels have no versions that can be compared", channel=_SENDS) from None

    def writes(self, line: Line, checkpoint_id: str) -> tuple[list[Writes], list[Unfit]]:
        """Writes that wait beside a checkpoint."""
        path: LiteralString = "task_path" if self._has_path else "''"
        rows = self._all(
            "SELECT " + path + ", task_id, idx, channel, coalesce(type, ''), blob FROM checkpoint_writes" + _ONE,
            (*line, checkpoint_id),
        )
        return grouped(rows, checkpoint_id)

    # ---- the server -------------------------------------------------------------------------------------------------------

    def own_reader(self, serde: SerializerProtocol) -> OwnReader | None:
        """PostgresSaver in the same transaction."""
        try:
            from langgraph.checkpoint.postgres import PostgresSaver
        except ImportError:
            return None
        # Which kind of rows it wants, it says at each cursor.
        saver = PostgresSaver(self._base, serde=serde)

        def read(config: RunnableConfig) -> CheckpointTuple | None:
            try:
                return saver.get_tuple(config)
            except psycopg.Error as error:
                raise self._unreadable(error) from None

        return read

    def demand_unchanged(self) -> None:
        """Nothing to ask: the transaction shows one moment."""

    def _demand_tables(self) -> bool:
        """Whether writes have a path, as they have since langgraph-checkpoint-postgres 2.0.9."""
        columns: dict[str, set[str]] = {}
        query = (
            "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = ANY(current_schemas(false))"
        )
        for table, column in self._all(query, ()):
            columns.setdefault(table, set()).add(column)
        for table, wanted in _COLUMNS.items():
            if not wanted <= columns.get(table, set()):
                raise SourceUnreadable(
                    f"this is no database of LangGraph's PostgresSaver: it has no table {table!r}"
                    if table not in columns
                    else f"table {table!r} is not as LangGraph's PostgresSaver makes it"
                    " (ShallowPostgresSaver, which keeps no history, is not read)",
                    op="import",
                    path=self.name,
                    hint="give the address that PostgresSaver.from_conn_string was given",
                )
        return "task_path" in columns["checkpoint_writes"]

    def _all(self, query: LiteralString, given: Sequence[Any]) -> list[Any]:
        try:
            with self._base.cursor(binary=True) as cursor:
                return cursor.execute(query, given).fetchall()
        except psycopg.Error as error:
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> SourceUnreadable:
        said = " ".join(str(error).split())
        return SourceUnreadable(
            f"PostgreSQL: {said}", op="import", path=self.name, hint="try the same address with psql, then import again"
        )


def _parsed(url: str) -> dict[str, Any]:
    """What an address says. InvalidArgument, not in libpq's words: those repeat what was typed, with the password."""
    try:
        given = conninfo.conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        given = {"host": "@"}
    # A sign in a password that should have been escaped makes the rest of it a part of the host, or of the port.
    if "@" in str(given.get("host")) or not str(given.get("port") or 0).replace(",", "").isdigit():
        raise InvalidArgument(
            "this is no address of a PostgreSQL database",
            op="import",
            hint="as in postgresql://USER@HOST:5432/DATABASE; the password may stand in PGPASSWORD or ~/.pgpass",
        )
    return given


def _named(given: dict[str, Any]) -> str:
    """The address without what is secret in it."""
    host, port = given.get("host") or "", given.get("port")
    return f"postgresql://{host}{f':{port}' if port else ''}/{given.get('dbname') or ''}"


def _waiting(given: dict[str, Any]) -> dict[str, Any]:
    return {"connect_timeout": given["connect_timeout"]} if given.get("connect_timeout") else {}


def _is_before(version: Any, limit: int) -> bool:
    return type(version) is int and version < limit
