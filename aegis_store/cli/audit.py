"""`aegis audit`: what the audit trail holds, as it grows, and whether it is what was recorded."""

from __future__ import annotations

import json
import shlex
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer

from aegis_store.cli import figures
from aegis_store.cli.opening import AsJson, Keys, StorePath, Types, moment_of, named_types, reading
from aegis_store.cli.outcome import FINDING, guarded
from aegis_store.cli.output import answers, bar, command, emit, line, problems, shown, table

if TYPE_CHECKING:
    from aegis_store import Checked, Event, Store
    from aegis_store.codec.registry import StateTypes
    from aegis_store.errors import AegisError

#: Events that are there already, of which `follow` shows about so many first.
SHOWN_FIRST: Final = 10
#: Of an event's details on a line; all of them with --json.
DETAILS_CHARACTERS: Final = 200
_HEADINGS: Final = ["record", "time (UTC)", "subject", "#", "actor", "action", "details"]

app = typer.Typer(no_args_is_help=True, help="List, follow and verify the audit trail.")

Subject = Annotated[str | None, typer.Option("--subject", help="Only events of this subject.")]
Action = Annotated[str | None, typer.Option("--action", help="Only this action.")]


@app.command("list")
@guarded
def list_(
    path: StorePath,
    subject: Subject = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="TIME", help="Only from this time on: ISO 8601, or an age like 2h.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="TIME", help="Only up to this time, the same way.")] = None,
    action: Action = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, the newest.")] = None,
    types: Types = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """List events, oldest first.

    A line says who did what to which subject, and when. Every event is checked; where one is damaged the list ends, with exit
    code 1, and `aegis audit verify` says more.
    """
    from aegis_store.types import SystemClock

    now_ms = SystemClock().now_ms()
    first, last = _time(since, "--since", now_ms), _time(until, "--until", now_ms)
    with reading(path, keys=keys, types=named_types(types)) as store:
        found, error = _found(store, subject, first, last, action, limit)
        if as_json and error is None:
            emit({"path": str(path), "events": [as_fields(each, store.types) for each in found]})
    if not as_json:
        if found:
            table(answers(), _HEADINGS, [_row(each, store.types) for each in found], right=["record", "#"])
        elif error is None:
            line(answers(), "no events")
        if limit is not None and len(found) == limit:
            line(answers(), "there may be earlier ones: give a higher --limit", "dim")
    if error is not None:
        raise error


@app.command("follow")
@guarded
def follow(
    path: StorePath,
    subject: Subject = None,
    action: Action = None,
    every: Annotated[float, typer.Option("--every", min=0.05, metavar="SECONDS", help="How often to look.")] = 1.0,
    types: Types = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Show events as they are recorded, until Ctrl-C.

    The newest that are there come first. Looks at the store as a reader, beside whoever writes. With --json: an event a line.
    """
    with reading(path, keys=keys, types=named_types(types)) as store:
        try:
            for each in _coming(store, every):
                if subject in (None, each.subject) and action in (None, each.action):
                    _say(each, store.types, as_json=as_json)
        except KeyboardInterrupt:
            return


@app.command("verify")
@guarded
def verify(
    path: StorePath,
    subjects: Annotated[list[str] | None, typer.Argument(metavar="[SUBJECT]...", help="All of them if none is named.")] = None,
    types: Types = None,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Check each subject's chain of events: signatures, content, order, and that none is missing or there twice.

    Nothing is changed, and a writer may go on meanwhile. Exit code 1: a chain is broken; where and why is said.
    """
    from aegis_store.errors import NotFound

    with reading(path, keys=keys, types=named_types(types)) as store:
        named = list(dict.fromkeys(subjects)) if subjects else list(store.audit.subjects())
        checked: list[Checked] = []
        with bar("verify audit", len(named), "subjects") as advance:
            for each in store.audit.verify_chains(named):
                checked.append(each)
                advance(len(checked))
        missing = [each.subject for each in checked if each.events == 0 and each.broken is None]
        if subjects and missing:
            raise NotFound(
                f"there is no subject {missing[0]!r}",
                op="audit",
                path=str(store.path),
                hint=f"see which there are: aegis audit verify {shlex.quote(shown(path))}",
            )
    broken = [each for each in checked if each.broken is not None]
    if as_json:
        emit({"path": str(path), "ok": not broken, "subjects": [_verdict(each) for each in checked]})
    else:
        events = sum(each.events for each in checked)
        heading = f"audit {shown(path)}   {figures.counted(len(checked), 'subject')} · {figures.counted(events, 'event')}"
        line(answers(), heading, "bold")
        if checked:
            rows = [[each.subject, figures.count(each.events), "ok" if each.broken is None else "broken"] for each in checked]
            table(answers(), ["subject", "events", "chain"], rows, right=["events"])
        for each in broken:
            if each.broken is not None:
                line(problems(), f"aegis: {each.broken.text(each.subject)}", "bold red")
        if broken:
            line(problems(), f"  what else is damaged: {command('verify', path)} --deep")
    if broken:
        raise typer.Exit(FINDING)


# ---- what is shown ----------------------------------------------------------------------------------------------------------


def as_fields(event: Event, types: StateTypes) -> dict[str, object]:
    """An event for machines."""
    from aegis_store.codec.tagged import to_json

    return {
        "record": event.ref.index,
        "time": figures.iso(event.created_at),
        "subject": event.subject,
        "event": event.ref.ordinal,
        "actor": event.actor,
        "action": event.action,
        "details": to_json(event.details, types=types),
        "agent": event.agent,
        "request_id": event.request_id,
        "leaf": event.ref.leaf.hex(),
    }


def _row(event: Event, types: StateTypes) -> list[str]:
    return [
        figures.count(event.ref.index),
        figures.clock(event.created_at),
        event.subject,
        figures.count(event.ref.ordinal),
        event.actor,
        event.action,
        _in_short(event.details, types),
    ]


def _in_short(details: object, types: StateTypes) -> str:
    """Details as JSON on a line, cut where they are long."""
    from aegis_store.codec.tagged import to_json

    if details is None:
        return ""
    text = json.dumps(to_json(details, types=types), ensure_ascii=False)
    return text if len(text) <= DETAILS_CHARACTERS else text[: DETAILS_CHARACTERS - 1] + "…"


def _say(event: Event, types: StateTypes, *, as_json: bool) -> None:
    if as_json:
        emit(as_fields(event, types), indent=0)
    else:
        record, time, subject, number, actor, action, details = (each.replace("\n", "\\n") for each in _row(event, types))
        line(answers(), f"{record}  {time}  {subject} #{number}  {actor}  {action}  {details}".rstrip())


def _verdict(each: Checked) -> dict[str, object]:
    found = each.broken
    broken = None if found is None else {"event": found.event, "record": found.record, "why": found.why}
    return {"subject": each.subject, "events": each.events, "ok": found is None, "break": broken}


# ---- what is looked for -----------------------------------------------------------------------------------------------------


def _found(
    store: Store, subject: str | None, since: datetime | None, until: datetime | None, action: str | None, limit: int | None
) -> tuple[Sequence[Event], AegisError | None]:
    """Events, oldest first, and what ended the list before its time."""
    from aegis_store.errors import AegisError

    found: deque[Event] = deque(maxlen=limit)
    try:
        for each in store.audit.events(subject, since=since, until=until, action=action):
            found.append(each)
    except AegisError as error:
        if error.exit_code not in (FINDING, 2):
            raise
        return found, error
    return found, None


def _coming(store: Store, every_seconds: float) -> Iterator[Event]:
    """The newest events, and then each that comes."""
    there, at = store.audit.since(max(0, store.audit.size() - SHOWN_FIRST))
    yield from there
    while True:
        _pause(every_seconds)
        new, at = store.audit.since(at)
        yield from new


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def _time(text: str | None, option: str, now_ms: int) -> datetime | None:
    """A time in ISO 8601, or as an age."""
    from aegis_store import amounts
    from aegis_store.errors import InvalidArgument

    if text is None:
        return None
    try:
        seconds = amounts.amount(option, text, amounts.SECONDS, "an age") if not text.isdigit() else None
    except InvalidArgument:
        seconds = None
    try:
        return moment_of(text, option) if seconds is None else datetime.fromtimestamp(now_ms / 1000 - seconds, UTC)
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(f"{text!r} is longer ago than there are years", param_hint=option) from None
