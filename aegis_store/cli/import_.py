"""`aegis import`: sessions and checkpoints from what `aegis export` wrote.

The new store's times, indices and signatures are its own: a checkpoint that was imported says so in its metadata, under the key
IMPORTED. Each is saved as the request `import:<leaf>`, so that an import which was interrupted can be run again, and one that
is run twice doubles nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final

import msgspec
import typer

from aegis_store.cli import figures
from aegis_store.cli.completion import complete_form
from aegis_store.cli.opening import Keys, Types, named_types
from aegis_store.cli.outcome import FINDING, guarded
from aegis_store.cli.output import answers, bar, emit, line, problems, shown

if TYPE_CHECKING:
    from aegis_store import Ref, Store
    from aegis_store.cli.jsonl import Begin, End, Line, Point, Saved
    from aegis_store.codec.registry import StateTypes

#: Where an imported checkpoint keeps what was the exported store's: time, agent, leaf, index, ordinal, request_id, store_id.
IMPORTED: Final = "aegis.imported"


class Outcome(msgspec.Struct, kw_only=True):
    """What an import did. `present` were there already; `gone` had been pruned or erased before the export."""

    checkpoints: int = 0
    present: int = 0
    sessions: int = 0
    ended: int = 0
    gone: int = 0
    lost: int = 0
    orphans: int = 0


class Plan(msgspec.Struct, kw_only=True):
    """What must be known before the first line is imported."""

    bytes: int = 0
    roles: dict[str, str] = msgspec.field(default_factory=dict)
    #: Checkpoints, by session and ordinal, from which forks go on.
    points: set[tuple[str, int]] = msgspec.field(default_factory=set)
    #: Fork -> session and ordinal of the line of the checkpoint that it goes on from.
    origins: dict[str, tuple[str, int]] = msgspec.field(default_factory=dict)


@guarded
def import_(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="What aegis export wrote.", readable=False, autocompletion=complete_form),
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The store's directory; a new one is made.", readable=False)],
    types: Types = None,
    keys: Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="What was done as JSON.")] = False,
) -> None:
    """Bring an export into a store, a new one or one that is there.

    The store's times and signatures are its own; those of the exported one are kept in the metadata of each checkpoint, under
    the key "aegis.imported": time, agent, leaf, index, ordinal, request_id, store_id. May be interrupted and run again: what is
    there already is not doubled. Exit code 1: the export has gaps, or a fork whose origin is not in it.

    What LangGraph's own savers wrote: aegis import langgraph-sqlite, aegis import langgraph-postgres.
    """
    import aegis_store

    given = named_types(types)
    with open(file, "rb") as source:
        plan = planned(source, file)
        source.seek(0)
        # Durable at the end, not with each checkpoint: whatever is lost before that, a second run brings.
        config = aegis_store.Config(
            durability=aegis_store.TierDurability(session=aegis_store.Durability.WRITE), roles=plan.roles
        )
        with aegis_store.open(path, keys=keys, config=config, types=given) as store:
            created, key_path = store.report.created, store.keys.path
            with bar(f"import {shown(file)}", plan.bytes, "bytes") as advance:
                work = _Import(store, plan)
                for each, done in numbered(source, file, store.types):
                    work.take(each)
                    advance(done)
    done_ = work.outcome
    if as_json:
        emit({"path": str(path), "file": str(file), "created": created, **msgspec.structs.asdict(done_)})
    else:
        console = answers()
        present = f", {figures.count(done_.present)} were there already" if done_.present else ""
        line(console, f"{shown(path)}: {figures.counted(done_.checkpoints, 'checkpoint')} imported{present}", "bold")
        line(console, f"  {figures.counted(done_.sessions, 'session')} begun, {figures.count(done_.ended)} ended")
        if done_.gone:
            line(console, f"  {figures.counted(done_.gone, 'record')} had been pruned or erased before it was exported")
        if created:
            line(console, f"  the store is new; its keys are in {shown(key_path)}: copy them to where the store is not")
    if done_.lost or done_.orphans:
        if done_.lost:
            line(
                problems(),
                f"aegis: {shown(file)}: {figures.counted(done_.lost, 'record')} could not be read when it was exported",
            )
        if done_.orphans:
            forks = figures.counted(done_.orphans, "fork")
            line(
                problems(),
                f"aegis: {shown(file)}: {forks} without their origin, which is not in it: begun as sessions of their own",
            )
        raise typer.Exit(FINDING)


# ---- reading --------------------------------------------------------------------------------------------------------------


def planned(source: BinaryIO, file: Path) -> Plan:
    """A first look at the file: its begins only. InvalidArgument: it is no export."""
    from aegis_store.cli.jsonl import Begin, kind_is
    from aegis_store.codec.registry import NO_TYPES
    from aegis_store.errors import InvalidArgument

    plan = Plan()
    begins: dict[str, Begin] = {}
    for number, text in enumerate(source, 1):
        if number == 1 and not kind_is(text, "export"):
            raise InvalidArgument(
                "this does not begin as an export does", op="import", path=str(file), hint="make one: aegis export"
            )
        plan.bytes += len(text)
        if kind_is(text, "begin"):
            begin = _read(text, file, number, NO_TYPES)
            if isinstance(begin, Begin):
                begins[begin.session] = begin
                if begin.role is not None:
                    plan.roles[begin.agent] = begin.role
                if begin.forked_from is not None:
                    plan.origins[begin.session] = origin = _origin(begin.forked_from, begins)
                    plan.points.add(origin)
    return plan


def _origin(point: Point, begins: dict[str, Begin]) -> tuple[str, int]:
    """In whose lines a checkpoint stands: a session that is a fork itself may have inherited it."""
    session, seen = point.session, set[str]()
    while session not in seen:
        seen.add(session)
        begin = begins.get(session)
        if begin is None or begin.forked_from is None or point.ordinal > begin.forked_from.ordinal:
            break
        session = begin.forked_from.session
    return session, point.ordinal


def numbered(source: BinaryIO, file: Path, types: StateTypes) -> Iterator[tuple[Line, int]]:
    """Each line, and how many bytes lie behind it."""
    done = 0
    for number, text in enumerate(source, 1):
        done += len(text)
        yield _read(text, file, number, types), done


def _read(text: bytes, file: Path, number: int, types: StateTypes) -> Line:
    from aegis_store.cli import jsonl
    from aegis_store.errors import AegisError

    try:
        return jsonl.read(text, types=types)
    except AegisError as error:
        raise type(error)(f"line {number}: {error.message}", op="import", path=str(file), hint=error.hint) from None


# ---- writing --------------------------------------------------------------------------------------------------------------


class _Import:
    """Takes lines in order and makes them so."""

    def __init__(self, store: Store, plan: Plan) -> None:
        self.outcome = Outcome()
        self._store = store
        self._plan = plan
        self._store_id = ""
        # Checkpoints that forks go on from, where they are here.
        self._refs: dict[tuple[str, int], Ref] = {}
        self._known: set[str] = set()

    def take(self, each: Line) -> None:
        """One line."""
        from aegis_store.cli import jsonl

        match each:
            case jsonl.Export():
                self._store_id = each.store_id
            case jsonl.Begin():
                self._begin(each)
            case jsonl.Saved():
                self._save(each)
            case jsonl.End():
                self._end(each)
            case jsonl.Gone():
                self.outcome.gone += 1
            case jsonl.Lost():
                self.outcome.lost += 1

    def _begin(self, begin: Begin) -> None:
        """A fork begins where it goes on; any other session begins with its first checkpoint."""
        self._demand_own(begin.session)
        if begin.forked_from is None or self._store.session(begin.session).info() is not None:
            return
        ref = self._refs.get(self._plan.origins[begin.session])
        if ref is None:
            self.outcome.orphans += 1
            return
        self._store.session(begin.forked_from.session, agent=begin.agent).fork(begin.session, at=ref)
        self.outcome.sessions += 1

    def _save(self, saved: Saved) -> None:
        session = self._store.session(saved.session, agent=saved.agent)
        before = self._demand_own(saved.session)
        ref = session.checkpoint(
            saved.state,
            position=saved.position,
            claims=saved.claims,
            memory_pointer=_pointer(saved.memory_pointer),
            approvals=saved.approvals,
            last_tool_call=saved.last_tool_call,
            metadata=self._metadata(saved),
            request_id=f"import:{saved.leaf}",
        )
        if ref.index < before:
            self.outcome.present += 1
        else:
            self.outcome.checkpoints += 1
            self.outcome.sessions += ref.ordinal == 0
        if (saved.session, saved.ordinal) in self._plan.points:
            self._refs[saved.session, saved.ordinal] = ref

    def _end(self, end: End) -> None:
        session = self._store.session(end.session, agent=end.agent)
        info = session.info()
        if info is not None and info.is_open:
            session.end(reason=end.reason)
            self.outcome.ended += 1

    def _demand_own(self, session_id: str) -> int:
        """Records that there are. Conflict: a session of that id is here and came from somewhere else, or has gone on since."""
        from aegis_store.errors import Conflict

        size = self._store.records.size()
        if session_id in self._known:
            return size
        latest = self._store.session(session_id).latest()
        origin = None if latest is None or not isinstance(latest.metadata, dict) else latest.metadata.get(IMPORTED)
        if latest is not None and (not isinstance(origin, dict) or origin.get("store_id") != self._store_id):
            raise Conflict(
                f"there is a session {session_id!r} already, and its newest checkpoint did not come from this export",
                op="import",
                path=str(self._store.path),
                hint="import it into another store",
            )
        self._known.add(session_id)
        return size

    def _metadata(self, saved: Saved) -> dict[str, Any]:
        """What was saved with it, and under IMPORTED where it comes from."""
        given = saved.metadata
        origin: dict[str, Any] = {
            "store_id": self._store_id,
            "time": saved.time,
            "agent": saved.agent,
            "index": saved.index,
            "ordinal": saved.ordinal,
            "leaf": saved.leaf,
            "request_id": saved.request_id,
        }
        if isinstance(given, dict):
            if IMPORTED in given:
                origin["before"] = given[IMPORTED]
            return {**given, IMPORTED: origin}
        return {IMPORTED: origin if given is None else {**origin, "metadata": given}}


def _pointer(given: Any) -> Any:
    """A memory pointer from its fields. InvalidArgument where that is none."""
    from aegis_store.errors import InvalidArgument
    from aegis_store.types import LogIndex, MemoryPointer

    if given is None:
        return None
    try:
        return MemoryPointer(index=LogIndex(int(given["index"])), root=bytes.fromhex(given["root"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InvalidArgument("a line has a memory_pointer that is none", op="import") from None
