"""`aegis incident list`, `show`, `close`: security incidents, whose sessions are refused while they are open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aegis_store.cli import figures
from aegis_store.cli.opening import AsJson, Keys, StorePath, reading, writing
from aegis_store.cli.outcome import FINDING, guarded
from aegis_store.cli.output import answers, command, emit, line, shown, table

if TYPE_CHECKING:
    from aegis_store import Incident

Number = Annotated[int, typer.Argument(metavar="NUMBER", min=1, help="Its number, as `aegis incident list` shows it.")]

incident = typer.Typer(help="Security incidents: list, show, close.", no_args_is_help=True)


@incident.command("list")
@guarded
def list_(
    path: StorePath,
    every: Annotated[bool, typer.Option("--all", help="Closed ones as well.")] = False,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """List the incidents that are open. Exit code 1: there are some."""
    with reading(path, keys=keys) as store:
        found = store.incidents.list(open=None if every else True)
    if as_json:
        emit({"path": str(path), "incidents": [_fields(each) for each in found]})
    elif not found:
        line(answers(), f"{shown(path)}   no incident{'' if every else ' is open'}")
    else:
        rows = [
            [
                str(each.number),
                each.session or "?",
                "open" if each.is_open else "closed",
                "?" if each.opened_at is None else figures.clock(each.opened_at),
                each.reason or "?",
            ]
            for each in found
        ]
        table(answers(), ["incident", "session", "state", "since (UTC)", "reason"], rows, right=["incident"])
    if any(each.is_open for each in found):
        raise typer.Exit(FINDING)


@incident.command("show")
@guarded
def show(path: StorePath, number: Number, keys: Keys = None, as_json: AsJson = False) -> None:
    """Show one: its session, why it was opened, what is held for it, and who closed it."""
    with reading(path, keys=keys) as store:
        found = store.incidents.get(number)
        holds = [each for each in store.holds() if found.session is not None and each.session == found.session]
    if as_json:
        emit({"path": str(path), **_fields(found), "holds": [each.number for each in holds]})
        return
    console = answers()
    state = "open" if found.is_open else "closed"
    line(console, f"incident {number}   session {found.session or '?'}   {state}", "bold")
    opened = "?" if found.opened_at is None else figures.clock(found.opened_at)
    line(console, f"  opened {opened} UTC: {found.reason or 'its first event cannot be read'}")
    for each in holds:
        what = "the session" if each.ordinal is None else f"checkpoint {figures.count(each.ordinal)}"
        line(console, f"  hold {each.number} keeps {what}: {each.reason}")
    if found.closed_at is not None:
        line(console, f"  closed {figures.clock(found.closed_at)} UTC by {found.closed_by}: {found.closed_why}")
    else:
        line(console, f"  to close it: {command('incident close', path, str(number))} --reason …", "dim")


@incident.command("close")
@guarded
def close(
    path: StorePath,
    number: Number,
    reason: Annotated[str, typer.Option("--reason", help="Why it is over.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who says so.")] = "aegis incident",
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Close one: a clean session may start. What is held stays held until it is released."""
    with writing(path, keys=keys) as store:
        closed = store.incidents.close(number, reason=reason, by=by)
    if as_json:
        emit({"path": str(path), **_fields(closed)})
        return
    line(answers(), f"incident {number} is closed", "bold")
    line(answers(), f"  what is held stays: {command('holds', path)}", "dim")


def _fields(each: Incident) -> dict[str, Any]:
    return {
        "incident": each.number,
        "session": each.session,
        "is_open": each.is_open,
        "reason": each.reason,
        "opened": None if each.opened_at is None else figures.iso(each.opened_at),
        "closed": None if each.closed_at is None else figures.iso(each.closed_at),
        "closed_by": each.closed_by,
        "closed_why": each.closed_why,
    }
