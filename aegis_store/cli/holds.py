"""`aegis hold`, `aegis holds`, `aegis release`: what must not go, why, and who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aegis_store.cli import figures
from aegis_store.cli.completion import complete_hold
from aegis_store.cli.memory import place_of
from aegis_store.cli.opening import AsJson, Keys, SessionId, StorePath, reading, session_of, writing
from aegis_store.cli.outcome import guarded
from aegis_store.cli.output import answers, command, emit, line, shown, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from aegis_store import HoldInfo, MemoryHold


@guarded
def hold(
    path: StorePath,
    session: SessionId,
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    holder: Annotated[str, typer.Option("--holder", metavar="NAME", help="Who says so.")],
    ordinal: Annotated[int | None, typer.Option("--ordinal", min=0, metavar="N", help="Only this checkpoint.")] = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Let nothing of a session go until the hold is released. Nothing overrides it."""
    with writing(path, keys=keys) as store:
        held, _ = session_of(store, session)
        placed = held.hold(reason=reason, holder=holder, ordinal=ordinal)
    if as_json:
        emit({"path": str(path), **_fields(placed)})
        return
    what = "" if ordinal is None else f", checkpoint {figures.count(ordinal)}"
    line(answers(), f"hold {placed.number}   session {session}{what}   {holder}: {reason}", "bold")
    line(answers(), f"  to let it go: {command('release', path, str(placed.number))} --reason …", "dim")


@guarded
def holds(path: StorePath, keys: Keys = None, as_json: AsJson = False) -> None:
    """List the holds that stand."""
    with reading(path, keys=keys) as store:
        found, of_memory = store.holds(), store.memory.holds()
    if as_json:
        also = {"memory": [_memory_fields(each) for each in of_memory]} if of_memory else {}
        emit({"path": str(path), "holds": [_fields(each) for each in found], **also})
        return
    console = answers()
    if of_memory:
        _show_memory(console, of_memory)
    if not found:
        if of_memory:
            return
        line(console, f"{shown(path)}   no hold stands")
        return
    rows = [
        [
            str(each.number),
            each.session,
            "all" if each.ordinal is None else figures.count(each.ordinal),
            each.holder,
            figures.clock(each.since),
            each.reason,
        ]
        for each in found
    ]
    table(console, ["hold", "session", "checkpoint", "holder", "since (UTC)", "reason"], rows, right=["hold", "checkpoint"])


@guarded
def release(
    path: StorePath,
    hold: Annotated[
        int, typer.Argument(metavar="HOLD", help="Its number, as `aegis holds` shows it.", autocompletion=complete_hold)
    ],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so.")] = "aegis release",
    tier: Annotated[str, typer.Option("--tier", help="Whose hold it is: session or memory.")] = "session",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Let a hold go. What it kept goes when the rules say so."""
    if tier not in ("session", "memory"):
        raise typer.BadParameter(f"{tier!r} is neither session nor memory", param_hint="--tier")
    with writing(path, keys=keys) as store:
        (store if tier == "session" else store.memory).release(hold, reason=reason, by=by)
    if as_json:
        emit({"path": str(path), "released": hold})
        return
    line(answers(), f"hold {hold} is released", "bold")


def _show_memory(console: Console, found: Sequence[MemoryHold]) -> None:
    """The holds on keys of the memory; a number counts records of that tier."""
    rows = [
        [str(each.number), place_of(each.namespace), each.key, each.holder, figures.clock(each.since), each.reason]
        for each in found
    ]
    headings = ["memory hold", "namespace", "key", "holder", "since (UTC)", "reason"]
    table(console, headings, rows, right=headings[:1])


def _memory_fields(each: MemoryHold) -> dict[str, Any]:
    return {
        "hold": each.number,
        "namespace": each.namespace,
        "key": each.key,
        "holder": each.holder,
        "reason": each.reason,
        "since": figures.iso(each.since),
    }


def _fields(each: HoldInfo) -> dict[str, Any]:
    return {
        "hold": each.number,
        "session": each.session,
        "ordinal": each.ordinal,
        "holder": each.holder,
        "reason": each.reason,
        "since": figures.iso(each.since),
    }
