"""`aegis log`: what a session did, newest first, and what each checkpoint changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from aegis_store.cli import figures
from aegis_store.cli.opening import AsJson, Keys, SessionId, StorePath, Types, named_types, reading, session_of
from aegis_store.cli.outcome import FINDING, guarded, hint_of
from aegis_store.cli.output import answers, command, emit, line, problems, table

if TYPE_CHECKING:
    from rich.console import Console

    from aegis_store import Checkpoint, GapInfo, Session
    from aegis_store.codec.registry import StateTypes
    from aegis_store.errors import AegisError


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint in a line. Of one that cannot be read, only the ordinal and `problem` are there."""

    ordinal: int
    checkpoint: Checkpoint | None = None
    #: What it changed; None where that cannot be told, for it or the one before it cannot be read.
    changed: str | None = None
    size_bytes: int | None = None
    problem: AegisError | None = None


@guarded
def log(
    path: StorePath,
    session: SessionId,
    limit: Annotated[int, typer.Option("--limit", min=1, help="At most so many checkpoints.")] = 20,
    before: Annotated[int | None, typer.Option("--before", min=0, help="Only those below this number.")] = None,
    types: Types = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Show a session's history, newest first.

    A line says when a checkpoint was made, by whom, how large its state is, and what it changed. Those that were pruned or
    erased are counted below. Exit code 1: one of them can't be read.
    """
    with reading(path, keys=keys, types=named_types(types)) as store:
        history, info = session_of(store, session)
        end = info.checkpoints if before is None else min(before, info.checkpoints)
        gaps = history.gaps()
        there: Sequence[int] = list(outside(gaps, end)) if gaps else range(end)
        found = list(rows(history, store.types, there=there, limit=limit))
    if as_json:
        points = [as_fields(each, store.types) for each in found]
        emit({"path": str(path), "session": info.id, "checkpoints": points, "gone": [gap_fields(each) for each in gaps]})
    else:
        show(answers(), found)
        if gaps:
            line(answers(), gone_in_words(gaps), "dim")
        if found and there[0] < found[-1].ordinal:
            line(answers(), f"earlier: {command('log', path, session)} --before {found[-1].ordinal}", "dim")
        show_problems(problems(), found)
    if any(each.problem is not None for each in found):
        raise typer.Exit(FINDING)


def outside(gaps: Sequence[GapInfo], end: int) -> Iterator[int]:
    """The ordinals below `end` that are in no gap, ascending."""
    first = 0
    for gap in gaps:
        yield from range(first, min(gap.first, end))
        first = gap.last + 1
    yield from range(first, end)


def rows(session: Session, types: StateTypes, *, there: Sequence[int], limit: int) -> Iterator[Row]:
    """The newest of the checkpoints `there`, newest first, each compared with the one there before it. One that can't be read
    is a row too."""
    from aegis_store import changes

    shown = list(reversed(there[-limit:]))
    before = there[-limit - 1] if len(there) > limit else None
    if not shown:
        return
    newer: Row | None = read(session, shown[0], types)
    for ordinal, below in zip(shown, [*shown[1:], before], strict=True):
        older = None if below is None else read(session, below, types)
        if newer is None or newer.checkpoint is None:
            yield newer or Row(ordinal=ordinal)
        else:
            changed = None if below is not None else "begins" if ordinal == 0 else "the oldest that is there"
            if older is not None and older.checkpoint is not None:
                compared = changes.compare(older.checkpoint.state, newer.checkpoint.state)
                changed = changes.summary(compared) + (" (roughly)" if compared.is_rough else "") or "nothing"
                changed += "" if older.ordinal == ordinal - 1 else f" since {figures.count(older.ordinal)}"
            yield msgspec.structs.replace(newer, changed=changed)
        newer = older


def gone_in_words(gaps: Sequence[GapInfo]) -> str:
    """`gone: 190 pruned (keep_last 3), 7 erased by legal (case 7)`: one line, whatever the number of gaps."""
    counts: dict[str, int] = {}
    for gap in gaps:
        why = f"erased by {gap.by} ({gap.reason})" if gap.is_erased else f"pruned ({gap.reason})"
        counts[why] = counts.get(why, 0) + gap.count
    return f"gone: {', '.join(f'{figures.count(count)} {why}' for why, count in counts.items())}".replace("\n", " ")


def gap_fields(gap: GapInfo) -> dict[str, object]:
    """A run of checkpoints that are gone, for machines."""
    return {
        "first": gap.first,
        "last": gap.last,
        "checkpoints": gap.count,
        "kind": "erased" if gap.is_erased else "pruned",
        "reason": gap.reason,
        "by": gap.by,
        "record": gap.record,
        "since": figures.iso(gap.since),
    }


def read(session: Session, ordinal: int, types: StateTypes) -> Row:
    """One checkpoint, or why it cannot be read."""
    from aegis_store.errors import AegisError

    try:
        found = session.get(ordinal)
        return Row(ordinal=ordinal, checkpoint=found, size_bytes=size_of(found.state, types))
    except AegisError as error:
        if error.exit_code not in (1, 2):
            raise
        return Row(ordinal=ordinal, problem=error)


def size_of(state: object, types: StateTypes) -> int:
    """Bytes of a state in the form in which it is stored, before compression."""
    from aegis_store.codec.canonical import encode

    return len(encode(state, types=types))


def show(console: Console, found: list[Row]) -> None:
    """The table."""
    if not found:
        line(console, "no checkpoints")
        return
    cells = []
    for each in found:
        point = each.checkpoint
        if point is None:
            cells.append([figures.count(each.ordinal), "", "", "", "", "", "can't be read"])
            continue
        cells.append(
            [
                figures.count(each.ordinal),
                figures.clock(point.created_at),
                point.agent,
                place_of(point.position),
                "" if each.size_bytes is None else figures.size(each.size_bytes),
                figures.root(point.ref.leaf),
                "?" if each.changed is None else each.changed,
            ]
        )
    table(console, ["#", "time (UTC)", "agent", "position", "state", "leaf", "changed"], cells, right=["#", "state"])


def show_problems(console: Console, found: list[Row]) -> None:
    """What can't be read, and once each what to do about it."""
    hints: list[str] = []
    for each in found:
        if each.problem is not None:
            line(console, f"aegis: checkpoint {figures.count(each.ordinal)}: {each.problem.message}", "bold red")
            hints += [hint for hint in [hint_of(each.problem)] if hint is not None and hint not in hints]
    for hint in hints:
        line(console, f"  {hint}")


def place_of(position: object) -> str:
    """A position in short: mostly it is a str."""
    from aegis_store.changes import brief

    if position is None:
        return ""
    return position if isinstance(position, str) else brief(position)


def as_fields(row: Row, types: StateTypes) -> dict[str, object]:
    """A line for machines."""
    from aegis_store.cli.outcome import as_fields as error_fields
    from aegis_store.codec.tagged import to_json

    if row.checkpoint is None:
        return {"ordinal": row.ordinal, "problem": None if row.problem is None else error_fields(row.problem)}
    point = row.checkpoint
    return {
        "ordinal": row.ordinal,
        "time": figures.iso(point.created_at),
        "agent": point.agent,
        "position": to_json(point.position, types=types),
        "state_bytes": row.size_bytes,
        "leaf": point.ref.leaf.hex(),
        "index": point.ref.index,
        "changed": row.changed,
    }
