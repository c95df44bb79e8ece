"""`aegis sessions`: which sessions a store holds, oldest first."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from aegis_store.cli import figures
from aegis_store.cli.completion import complete_session
from aegis_store.cli.opening import AsJson, Keys, StorePath, reading
from aegis_store.cli.outcome import guarded
from aegis_store.cli.output import answers, command, emit, line, table

if TYPE_CHECKING:
    from rich.console import Console

    from aegis_store import SessionInfo


@guarded
def sessions(
    path: StorePath,
    agent: Annotated[str | None, typer.Option("--agent", help="Only those that this agent began.")] = None,
    is_open: Annotated[bool | None, typer.Option("--open/--ended", help="Only those that are open, or were ended.")] = None,
    prefix: Annotated[str | None, typer.Option("--prefix", help="Only those whose id starts with this.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many.")] = None,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="SESSION", help="Only those after this one.", autocompletion=complete_session),
    ] = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """List the sessions, oldest first."""
    from aegis_store.types import SystemClock

    with reading(path, keys=keys) as store:
        found = list(store.sessions(agent=agent, open=is_open, prefix=prefix, limit=limit, after=after))
    if as_json:
        emit({"path": str(path), "sessions": [as_fields(each) for each in found]})
        return
    show(answers(), found, now_seconds=SystemClock().now_ms() / 1000)
    if limit is not None and len(found) == limit:
        after_last = f"--limit {limit} --after {shlex.quote(found[-1].id)}"
        line(answers(), f"there may be more: {command('sessions', path)} {after_last}", "dim")


def show(console: Console, found: Sequence[SessionInfo], *, now_seconds: float) -> None:
    """A line for each session, or a word that there is none."""
    if not found:
        line(console, "no sessions")
        return
    headings = ["session", "agent", "role", "checkpoints", "state", "began", "changed", "forked from"]
    rows = [
        [
            each.id,
            each.agent,
            each.role or "",
            figures.count(each.checkpoints),
            "open" if each.is_open else "ended",
            figures.ago(now_seconds - each.created_at.timestamp()),
            figures.ago(now_seconds - each.changed_at.timestamp()),
            each.forked_from or "",
        ]
        for each in found
    ]
    # A column that says nothing anywhere is left out.
    used = [
        number for number, name in enumerate(headings) if name not in ("role", "forked from") or any(r[number] for r in rows)
    ]
    shown_rows = [[row[number] for number in used] for row in rows]
    table(console, [headings[number] for number in used], shown_rows, right=["checkpoints"])


def as_fields(info: SessionInfo) -> dict[str, object]:
    """A session for machines."""
    return {
        "id": info.id,
        "agent": info.agent,
        "role": info.role,
        "checkpoints": info.checkpoints,
        "is_open": info.is_open,
        "created_at": figures.iso(info.created_at),
        "changed_at": figures.iso(info.changed_at),
        "forked_from": info.forked_from,
    }
