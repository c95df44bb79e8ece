"""`aegis hold`, `aegis holds`, `aegis release`: what must not go, why, and who says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aegis_store.cli import figures
from aegis_store.cli.completion import complete_hold
from aegis_store.cli.opening import AsJson, Keys, SessionId, StorePath, reading, session_of, writing
from aegis_store.cli.outcome import guarded
from aegis_store.cli.output import answers, command, emit, line, shown, table

if TYPE_CHECKING:
    from aegis_store import HoldInfo


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
        found = store.holds()
    if as_json:
        emit({"path": str(path), "holds": [_fields(each) for each in found]})
        return
    console = answers()
    if not found:
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
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Let a hold go. What it kept goes when the rules say so."""
    with writing(path, keys=keys) as store:
        store.release(hold, reason=reason, by=by)
    if as_json:
        emit({"path": str(path), "released": hold})
        return
    line(answers(), f"hold {hold} is released", "bold")


def _fields(each: HoldInfo) -> dict[str, Any]:
    return {
        "hold": each.number,
        "session": each.session,
        "ordinal": each.ordinal,
        "holder": each.holder,
        "reason": each.reason,
        "since": figures.iso(each.since),
    }
