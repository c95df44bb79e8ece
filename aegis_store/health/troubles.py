"""What the audit tier says was begun and not that it is over: incidents that are open, recoveries that are not done.

A fold over audit events in their order: `is_over` says what an event does to its subject. Only the names of subjects and
actions are known here; who writes them, and what else they say, is `aegis_store.recovery`'s.

The engine proves that an event is in the tree, and its entry commits to what it says. Whose signature it bears is not asked:
that takes the catalogue, and a monitor that asks it reads the whole log. `store.audit.events` and `aegis verify --deep` ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

import msgspec

from aegis_store._engine import Engine, Record
from aegis_store.catalog import Catalog
from aegis_store.codec.canonical import name_from_wire
from aegis_store.codec.payload import open_payload
from aegis_store.errors import AegisError
from aegis_store.health.facts import INCIDENTS, SESSIONS
from aegis_store.schema.audit import SCHEMA
from aegis_store.schema.entry import parse
from aegis_store.types import Kind, LogIndex, Tier, TimeMs

_RECOVERY: Final = "recovery."
#: Of an incident any event but this says that it is open; of a session's recovery any but its last step, done, that it is not.
_CLOSED: Final = "incident.closed"
_LAST: Final = "recovery.act"
_DONE: Final = "done"
#: Events of a subject that are looked at, newest first, for one that says how it stands.
_LOOK_BACK: Final = 64
#: Events are small; whatever claims more tells of no trouble.
_ENVELOPE_BYTES_MAX: Final = 16 << 20


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """What counts here of an audit event."""

    index: LogIndex
    time_ms: TimeMs
    subject: str
    action: str
    #: What the details say of the outcome of a step.
    outcome: str | None = None


def is_over(event: Told) -> bool | None:
    """Whether what the event is about is over; None if it says nothing of that."""
    if event.subject.startswith(INCIDENTS):
        return event.action == _CLOSED
    if event.subject.startswith(SESSIONS) and event.action.startswith(_RECOVERY):
        return (event.action, event.outcome) == (_LAST, _DONE)
    return None


def follow(troubles: dict[str, Told], event: Told) -> None:
    """Take in an event that comes after all that were taken in before."""
    over = is_over(event)
    if over:
        troubles.pop(event.subject, None)
    elif over is not None:
        troubles[event.subject] = event


def since(engine: Engine, first: int, end: int) -> Iterator[Told]:
    """The events among records [first, end) of the audit tier. Those that can't be read are left out: integrity is not asked
    here. Corrupt where the log can't be read on."""
    for record in engine.scan(Tier.AUDIT, first, end):
        event = told(record)
        if event is not None:
            yield event


def at(engine: Engine, index: int) -> Told | None:
    """The event at that index; None if there is none that can be read."""
    try:
        return told(engine.read(Tier.AUDIT, index))
    except AegisError:
        return None


def told(record: Record) -> Told | None:
    """What a record of the audit tier says; None if it is no event that can be read."""
    if record.kind != Kind.AUDIT_EVENT:
        return None
    with suppress(AegisError, ValueError, msgspec.MsgspecError):
        entry = parse(record.entry)
        envelope = open_payload(record.payload, length=entry.length, commitment=entry.commitment, limit=_ENVELOPE_BYTES_MAX)
        # Not the schema's: the details may hold types that only the program knows which recorded them.
        schema, _, subject, _, action, details, _ = msgspec.msgpack.decode(envelope)
        if schema == SCHEMA:
            return Told(
                index=LogIndex(record.index),
                time_ms=entry.time_ms,
                subject=name_from_wire(subject, what="subject"),
                action=name_from_wire(action, what="action"),
                outcome=details.get("outcome") if isinstance(details, dict) else None,
            )
    return None


def all_of(engine: Engine, catalog: Catalog) -> dict[str, Told]:
    """The troubles of the whole tier, by the newest events of each subject that may have some."""
    troubles: dict[str, Told] = {}
    after: int | None = None
    while page := catalog.sessions(tier=Tier.AUDIT, after=after):
        for found in page:
            if not found.id.startswith((INCIDENTS, SESSIONS)):
                continue
            for each in catalog.checkpoints(found.number, limit=_LOOK_BACK):
                event = at(engine, each.index)
                over = None if event is None else is_over(event)
                if over is not None:
                    if event is not None and not over:
                        troubles[event.subject] = event
                    break
        after = page[-1].number
    return troubles
