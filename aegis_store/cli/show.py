"""`aegis show`: one checkpoint with everything that was saved with it, or what is different between two."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aegis_store.cli import figures
from aegis_store.cli.opening import AsJson, Keys, SessionId, StorePath, Types, moment_of, named_types, reading, session_of
from aegis_store.cli.outcome import guarded
from aegis_store.cli.output import answers, command, emit, line, printable

if TYPE_CHECKING:
    from rich.console import Console

    from aegis_store import Checkpoint, Session, Store
    from aegis_store.changes import Changes
    from aegis_store.codec.registry import StateTypes

#: Lines of a state, and changes of a diff, that a terminal gets unless it asks for all.
LINES_SHOWN: Final = 60
#: Characters of a value in a diff, unless all is asked for.
VALUE_CHARACTERS: Final = 200
PREVIOUS: Final = "prev"
#: What of a checkpoint is shown as values, in this order; the state comes last, for it is the longest.
_FIELDS: Final = ("position", "claims", "memory_pointer", "approvals", "last_tool_call", "metadata", "request_id")


@guarded
def show(
    path: StorePath,
    session: SessionId,
    at: Annotated[int | None, typer.Option("--at", min=0, metavar="N", help="The checkpoint of this number.")] = None,
    time: Annotated[
        str | None,
        typer.Option("--time", metavar="ISO", help="The newest one of that time or before; local time without a zone."),
    ] = None,
    diff: Annotated[
        str | None, typer.Option("--diff", metavar="M|prev", help="What changed since that checkpoint, or the one before.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="The state alone, as one line of JSON.")] = False,
    full: Annotated[bool, typer.Option("--full", help="All of it, however long.")] = False,
    types: Types = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Show a checkpoint, the newest if not said otherwise.

    States that hold more than JSON can are shown in the form that `aegis export` documents: {"$datetime": "…"}.
    """
    if at is not None and time is not None:
        raise typer.BadParameter("give one of --at and --time", param_hint="--at")
    since = base_of(diff)
    when = None if time is None else moment_of(time, "--time")
    with reading(path, keys=keys, types=named_types(types)) as store:
        chosen, info = session_of(store, session)
        point = pick(chosen, at=at, when=when, hint=f"see which there are: {command('log', path, session)}")
        if diff is not None:
            base = before(chosen, point) if since is None else chosen.get(since)
            show_diff(point, base, store.types, full=full, as_json=as_json)
            return
        if raw:
            sys.stdout.write(plain_json(point.state, store.types) + "\n")
            return
        proof = proof_of(store, point)
    if as_json:
        emit({"path": str(path), **as_fields(point, store.types), "proof": proof})
    else:
        show_checkpoint(answers(), point, store.types, newest=info.checkpoints - 1, proof=proof, full=full)


# ---- which one ------------------------------------------------------------------------------------------------------------


def base_of(diff: str | None) -> int | None:
    """The ordinal that `--diff` names; None for the one before."""
    if diff is None or diff == PREVIOUS:
        return None
    if not diff.isascii() or not diff.isdigit():
        raise typer.BadParameter(f"{diff!r} is neither a checkpoint's number nor {PREVIOUS!r}", param_hint="--diff")
    return int(diff)


def pick(session: Session, *, at: int | None, when: datetime | None, hint: str) -> Checkpoint:
    """The checkpoint that is meant. NotFound if there is none."""
    from aegis_store.errors import NotFound

    if at is not None:
        return session.get(at)
    point = session.latest() if when is None else session.at(when)
    if point is None:
        past = "" if when is None else f" of {when.isoformat()} or before"
        raise NotFound(f"session {session.id!r} has no checkpoint{past}", op="show", hint=hint)
    return point


def before(session: Session, point: Checkpoint) -> Checkpoint | None:
    """The newest before a checkpoint that was neither pruned nor erased."""
    return next(session.history(limit=1, before=point.ref.ordinal), None)


# ---- a checkpoint ---------------------------------------------------------------------------------------------------------


def show_checkpoint(
    console: Console, point: Checkpoint, types: StateTypes, *, newest: int, proof: dict[str, Any], full: bool
) -> None:
    """Where it stands, what proves it, then the values."""
    ref = point.ref
    line(
        console, f"checkpoint {figures.count(ref.ordinal)} of session {ref.session}   (newest: {figures.count(newest)})", "bold"
    )
    line(console, f"  made     {figures.iso(point.created_at)}")
    line(console, f"  agent    {point.agent}   its signature holds")
    line(console, f"  record   {ref.tier.label} {figures.count(ref.index)}   leaf {ref.leaf.hex()}")
    root, hashes = bytes.fromhex(proof["root"]), figures.counted(len(proof["hashes"]), "hash", "hashes")
    line(
        console, f"  proven   in the tree of {figures.counted(proof['size'], 'record')}, root {figures.root(root)}, by {hashes}"
    )
    for name in _FIELDS:
        value = getattr(point, name)
        if value is not None:
            show_value(console, name, value, types, full=full)
    show_value(console, "state", point.state, types, full=full)


def show_value(console: Console, name: str, value: object, types: StateTypes, *, full: bool) -> None:
    """A value as JSON: behind its name if it is short, else below it; in colour, and not too long, on a terminal."""
    text = pretty_json(value, types)
    lines = text.splitlines()
    if len(lines) == 1:
        line(console, f"  {name.replace('_', ' ')}   {text}")
        return
    line(console, f"  {name.replace('_', ' ')}")
    is_cut = console.is_terminal and not full and len(lines) > LINES_SHOWN
    kept = "\n".join(f"    {each}" for each in (lines[:LINES_SHOWN] if is_cut else lines))
    if console.is_terminal and not console.no_color:
        from rich.syntax import Syntax

        console.print(Syntax("", "json", background_color="default").highlight(printable(kept)), end="", soft_wrap=True)
    else:
        line(console, kept)
    if is_cut:
        line(console, f"    … {figures.counted(len(lines) - LINES_SHOWN, 'more line')}: --full", "dim")


def plain_json(value: object, types: StateTypes) -> str:
    """A value on one line of JSON."""
    import msgspec

    from aegis_store.codec.tagged import to_json

    return msgspec.json.encode(to_json(wire(value), types=types)).decode()


def pretty_json(value: object, types: StateTypes) -> str:
    """A value as indented JSON."""
    import msgspec

    return msgspec.json.format(plain_json(value, types), indent=2)


def wire(value: object) -> object:
    """A value in types that have a form in JSON: a memory pointer is a record of the store's own."""
    from aegis_store.types import MemoryPointer

    return {"index": value.index, "root": value.root.hex()} if isinstance(value, MemoryPointer) else value


def proof_of(store: Store, point: Checkpoint) -> dict[str, Any]:
    """That the checkpoint is in the log as it is now: the hashes were checked. BadProof if they do not show it."""
    from aegis_store.trust.proofs import verify_inclusion

    ref = point.ref
    head = store.records.engine.head(ref.tier)
    hashes = store.inclusion(ref, head.size)
    verify_inclusion(leaf=ref.leaf, index=ref.index, size=head.size, proof=hashes, root=head.root)
    return {"size": head.size, "root": head.root.hex(), "hashes": [each.hex() for each in hashes]}


def as_fields(point: Checkpoint, types: StateTypes) -> dict[str, object]:
    """A checkpoint for machines."""
    from aegis_store.codec.tagged import to_json

    ref = point.ref
    return {
        "session": ref.session,
        "ordinal": ref.ordinal,
        "time": figures.iso(point.created_at),
        "agent": point.agent,
        "tier": ref.tier.label,
        "index": ref.index,
        "leaf": ref.leaf.hex(),
        **{name: to_json(wire(getattr(point, name)), types=types) for name in (*_FIELDS, "state")},
    }


# ---- a diff ---------------------------------------------------------------------------------------------------------------


def show_diff(point: Checkpoint, base: Checkpoint | None, types: StateTypes, *, full: bool, as_json: bool) -> None:
    """What leads from `base` (None: nothing at all) to the checkpoint."""
    from aegis_store.changes import compare
    from aegis_store.codec.tagged import to_json

    found = compare({} if base is None else values_of(base), values_of(point))
    origin = None if base is None else base.ref.ordinal
    if as_json:
        changes = [
            {
                "path": each.path,
                "kind": each.kind.value,
                "old": to_json(each.old, types=types),
                "new": to_json(each.new, types=types),
            }
            for each in found.items
        ]
        emit(
            {
                "session": point.ref.session,
                "from": origin,
                "to": point.ref.ordinal,
                "changes": changes,
                "is_rough": found.is_rough,
            }
        )
        return
    console = answers()
    since = "nothing" if origin is None else f"checkpoint {figures.count(origin)}"
    line(console, f"session {point.ref.session}: from {since} to checkpoint {figures.count(point.ref.ordinal)}", "bold")
    show_changes(console, found, types, full=full or not console.is_terminal)


def values_of(point: Checkpoint) -> dict[str, object]:
    """What of a checkpoint is compared: what it holds, not where it stands."""
    found = {name: wire(getattr(point, name)) for name in (*_FIELDS, "state")}
    return {name: value for name, value in found.items() if value is not None or name == "state"}


def show_changes(console: Console, found: Changes, types: StateTypes, *, full: bool) -> None:
    """`- path  old` and `+ path  new`, as diff writes it."""
    from aegis_store.changes import Kind

    if not found.items:
        line(console, "  no difference")
    shown_items = found.items if full else found.items[:LINES_SHOWN]
    for each in shown_items:
        if each.kind is not Kind.ADDED:
            line(console, f"- {each.path}  {cut(plain_json(each.old, types), full)}", "red")
        if each.kind is not Kind.REMOVED:
            line(console, f"+ {each.path}  {cut(plain_json(each.new, types), full)}", "green")
    if len(found.items) > len(shown_items):
        line(console, f"… {figures.counted(len(found.items) - len(shown_items), 'more change')}: --full", "dim")
    if found.is_rough:
        line(console, "a list was too long to look for inserts in: its items were compared place by place", "dim")


def cut(text: str, full: bool) -> str:
    """A value's JSON, not longer than a few lines unless all is asked for."""
    return (
        text if full or len(text) <= VALUE_CHARACTERS else f"{text[:VALUE_CHARACTERS]}… ({figures.count(len(text))} characters)"
    )
