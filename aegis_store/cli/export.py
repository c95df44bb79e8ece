"""`aegis export`: what a store holds, as JSON lines (see `jsonl`)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from aegis_store.cli import figures
from aegis_store.cli.completion import complete_session
from aegis_store.cli.opening import Keys, StorePath, Types, moment_of, named_types, reading, session_of
from aegis_store.cli.outcome import FINDING, guarded, hint_of
from aegis_store.cli.output import bar, emit, line, problems, shown

if TYPE_CHECKING:
    from aegis_store import Store
    from aegis_store._engine import Record
    from aegis_store.cli.jsonl import Begin, Line, Lost
    from aegis_store.codec.registry import StateTypes
    from aegis_store.errors import AegisError
    from aegis_store.records import Records


@guarded
def export(
    path: StorePath,
    sessions: Annotated[
        list[str] | None,
        typer.Option("--session", help="Only this session. May be repeated.", autocompletion=complete_session),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="ISO", help="Only what was written then or later; local time without a zone."),
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE", help="Where to; stdout otherwise.")] = None,
    types: Types = None,
    keys: Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="Errors, and with -o the summary, as JSON.")] = False,
) -> None:
    """Write sessions and checkpoints as JSON lines.

    One a record, in the order of the log; the first line says which store it was.

    What JSON has no type for becomes a tagged object, such as {"$datetime": "2026-01-31T12:00:00"}, {"$bytes": "…"} (base64),
    {"$tuple": […]} or {"$map": [[key, value], …]}; import reads it back exactly. In the place of what was pruned or erased
    stands a line of kind "gone". Exit code 1: something could not be read, and a line of kind "lost" stands in its place.
    """
    when = None if since is None else int(moment_of(since, "--since").timestamp() * 1000)
    written = gone = lost = 0
    with reading(path, keys=keys, types=named_types(types)) as store:
        for session_id in sessions or ():
            session_of(store, session_id)
        with target(output) as file, bar(f"export {shown(path)}", store.records.size(), "records") as advance:
            for each in lines(store, sessions=sessions, since_ms=when, watch=advance):
                data, gap = encoded(each, store.types)
                file.write(data)
                written += 1
                gone += is_gone(each)
                if gap is not None:
                    lost += 1
                    say_lost(path, gap)
    if gone and not as_json:
        records = figures.counted(gone, "record")
        line(problems(), f'{shown(path)}: {records} had been pruned or erased: kind "gone" in the export')
    if output is not None and as_json:
        emit({"path": str(path), "output": str(output), "lines": written, "gone": gone, "lost": lost})
    elif output is not None:
        line(problems(), f"{shown(path)}: {figures.counted(written, 'line')} in {shown(output)}")
    if lost:
        raise typer.Exit(FINDING)


def is_gone(each: Line) -> bool:
    """Whether a line says that something was pruned or erased."""
    from aegis_store.cli.jsonl import Gone

    return isinstance(each, Gone)


def encoded(each: Line, types: StateTypes) -> tuple[bytes, Lost | None]:
    """A line as bytes; and, where it says that something is lost, that: a value without a form in JSON is lost too."""
    from aegis_store.cli.jsonl import Lost, Saved, write
    from aegis_store.errors import InvalidArgument

    gap = each if isinstance(each, Lost) else None
    try:
        return write(each, types=types), gap
    except InvalidArgument as error:
        if not isinstance(each, Saved):
            raise
        gap = Lost(index=each.index, session=each.session, ordinal=each.ordinal, problem=error.message)
        return write(gap), gap


def say_lost(path: Path, lost: Lost) -> None:
    """On stderr, what is missing in the export."""
    which = "" if lost.session is None or lost.ordinal is None else f"checkpoint {lost.ordinal} of session {lost.session}: "
    line(problems(), f"aegis: {shown(path)}: {which}{lost.problem}", "bold red")


@contextmanager
def target(output: Path | None) -> Iterator[BinaryIO]:
    """Where lines go: stdout, or a file that only its owner can read, and that is there when it is whole."""
    if output is None:
        sys.stdout.flush()
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    staged = output.with_name(output.name + ".part")
    with open(os.open(staged, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.replace(staged, output)
        except BaseException:
            with suppress(OSError):
                os.unlink(staged)
            raise


# ---- the lines ------------------------------------------------------------------------------------------------------------


def lines(
    store: Store,
    *,
    sessions: Collection[str] | None = None,
    since_ms: int | None = None,
    watch: Callable[[int], object] = lambda done: None,
) -> Iterator[Line]:
    """The lines of a store, its head first. The begin of a session comes before its first line, however old it is."""
    from aegis_store.cli.jsonl import FORMAT, Export
    from aegis_store.types import Tier

    size = store.records.size()
    head = store.records.engine.head(Tier.SESSION, size)
    about = store.stats()
    yield Export(format=FORMAT, store_id=about.store_id, name=about.name, records=size, root=head.root.hex())
    writer = _Lines(store, sessions, since_ms)
    for found in scan(store.records, size):
        yield from writer.of(found)
        watch((found if isinstance(found, tuple) else (found.index,))[0] + 1)


def scan(records: Records, size: int) -> Iterator[Record | tuple[int, AegisError]]:
    """All records in order; for one that cannot be read, its index and why."""
    from aegis_store.errors import Corrupt

    first, stop = 0, size
    why: Corrupt | None = None
    while first < size:
        try:
            for record in records.scan(first, stop):
                first = record.index + 1
                yield record
        except Corrupt as error:
            if error.index is None or not first <= error.index < stop:
                raise
            stop, why = error.index, error  # up to there first
            continue
        if why is not None:
            yield first, why
            first += 1
        stop, why = size, None


class _Lines:
    """Makes lines of records that come in order."""

    def __init__(self, store: Store, sessions: Collection[str] | None, since_ms: int | None) -> None:
        self._store = store
        self._sessions = sessions
        self._since_ms = since_ms
        # Tag -> the begin of its session; and the tags whose begin has not been written yet.
        self._begun: dict[bytes, Begin] = {}
        self._held: set[bytes] = set()

    def of(self, found: Record | tuple[int, AegisError]) -> Iterator[Line]:
        """The lines for a record: none, one, or two if a begin was held back until now."""
        from aegis_store.cli.jsonl import Gone, Lost
        from aegis_store.errors import AegisError, NewerFormat, UnknownType
        from aegis_store.errors import Gone as IsGone
        from aegis_store.types import Kind

        if isinstance(found, tuple):
            if self._sessions is None:
                yield Lost(index=found[0], problem=found[1].message)
            return
        session: str | None = None
        ordinal: int | None = None
        try:
            entry = self._store.records.entry_of(found)
            if entry.kind not in (Kind.SESSION_BEGIN, Kind.CHECKPOINT, Kind.SESSION_END):
                return
            tag = entry.session_tag
            ordinal = entry.ordinal if entry.kind is Kind.CHECKPOINT else None
            if entry.kind is Kind.SESSION_BEGIN:
                self._store.records.gaps.demand(found, entry.kind)
                self._begun[tag] = self._begin(found)
                self._held.add(tag)
            begin = self._begun.get(tag)
            session = None if begin is None else begin.session
            if self._sessions is not None and session not in self._sessions:
                return
            if self._since_ms is not None and entry.time_ms < self._since_ms:
                return
            if begin is not None and tag in self._held:
                self._held.discard(tag)
                yield begin
            self._store.records.gaps.demand(found, entry.kind)
            if entry.kind is Kind.CHECKPOINT and session is not None:
                yield self._saved(session, entry.ordinal)
            elif entry.kind is Kind.SESSION_END and session is not None:
                yield self._end(found, session)
            elif begin is None:
                yield Lost(index=found.index, problem="its session's begin cannot be read", ordinal=ordinal)
        except IsGone as error:
            if self._sessions is None or session in self._sessions:
                yield Gone(index=found.index, why=error.message, session=session, ordinal=ordinal)
        except AegisError as error:
            if error.exit_code not in (1, 2) and not isinstance(error, NewerFormat):
                raise
            problem = f"{error.message}; {hint_of(error)}" if isinstance(error, UnknownType) else error.message
            yield Lost(index=found.index, problem=problem, session=session, ordinal=ordinal)

    def _begin(self, record: Record) -> Begin:
        from aegis_store.cli.jsonl import Begin, Point
        from aegis_store.schema.session import decode_begin

        trusted = self._store.records.check(record)
        names = decode_begin(trusted.envelope)
        forked_from = None
        if names.forked_from is not None:
            forked_from = Point(session=names.forked_from, ordinal=trusted.entry.ordinal - 1)
        return Begin(
            index=trusted.index,
            time=_time(trusted.entry.time_ms),
            leaf=trusted.leaf.hex(),
            session=names.session,
            agent=names.agent,
            role=names.role,
            forked_from=forked_from,
        )

    def _saved(self, session: str, ordinal: int) -> Line:
        from aegis_store.cli.jsonl import Saved

        point = self._store.session(session).get(ordinal)
        pointer = point.memory_pointer
        return Saved(
            index=point.ref.index,
            time=figures.iso(point.created_at),
            leaf=point.ref.leaf.hex(),
            session=session,
            agent=point.agent,
            ordinal=ordinal,
            state=point.state,
            position=point.position,
            claims=point.claims,
            memory_pointer=None if pointer is None else {"index": pointer.index, "root": pointer.root.hex()},
            approvals=point.approvals,
            last_tool_call=point.last_tool_call,
            metadata=point.metadata,
            request_id=point.request_id,
        )

    def _end(self, record: Record, session: str) -> Line:
        from aegis_store.cli.jsonl import End
        from aegis_store.schema.session import decode_end

        trusted = self._store.records.check(record)
        return End(
            index=trusted.index,
            time=_time(trusted.entry.time_ms),
            leaf=trusted.leaf.hex(),
            session=session,
            agent=trusted.agent,
            reason=decode_end(trusted.envelope).reason,
        )


def _time(time_ms: int) -> str:
    from aegis_store.checkpoint import moment
    from aegis_store.types import TimeMs

    return figures.iso(moment(TimeMs(time_ms)))
