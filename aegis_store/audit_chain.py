"""Whether the events of a subject are those that were recorded, and which is the first that is not.

    session-begin ── event 0 ── event 1 ── event 2        each names the one before it by index and leaf hash

The catalogue says where the events are, and is not believed: what it says is held against the log, whose entries are gone
through once for any number of subjects. So an event is missed where the catalogue leaves it out, and one is noticed that stands
in the log a second time.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec

from aegis_store._engine import entries
from aegis_store.checkpoint import moment
from aegis_store.codec.registry import StateTypes
from aegis_store.errors import AegisError, Corrupt, Foreign
from aegis_store.lineage import last_ordinal, ref_of
from aegis_store.open_tier import OpenTier
from aegis_store.records import TrustedEntry, TrustedRecord
from aegis_store.schema import audit as schema
from aegis_store.schema import session as session_schema
from aegis_store.types import Kind, LogIndex, Ref

_TAG: Final = slice(8, 24)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened, every check made. `ref` says where it stands: its ordinal counts the events of its subject."""

    ref: Ref
    subject: str
    actor: str
    action: str
    details: object
    created_at: datetime
    #: Whose key signed it.
    agent: str
    request_id: str | None = None


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """The first place where a chain is not what was recorded: the number of the event, and where known the record."""

    event: int
    record: int | None
    why: str

    def text(self, subject: str) -> str:
        """In a sentence."""
        where = "" if self.record is None else f" at record {self.record}"
        return f"the chain of {subject!r} breaks at event {self.event}{where}: {self.why}"


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of a subject: how many events it has, and what is wrong with them; None: nothing is."""

    subject: str
    events: int
    broken: Break | None


def as_event(record: TrustedRecord, types: StateTypes) -> Event:
    """A believed record as an event. Corrupt: it holds none; UnknownType: it holds a type that was not named."""
    event = schema.decode(record.envelope, types=types)
    return Event(
        ref=ref_of(record, event.subject),
        subject=event.subject,
        actor=event.actor,
        action=event.action,
        details=event.details,
        created_at=moment(record.entry.time_ms),
        agent=record.agent,
        request_id=event.request_id,
    )


def event_of(record: TrustedRecord, subject: str, types: StateTypes) -> Event:
    """The same of a record in a subject's chain. Foreign: the event is about another one."""
    event = as_event(record, types)
    if event.subject != subject:
        raise Foreign(
            f"record {record.index} is about {event.subject!r} and stands in the chain of {subject!r}",
            op="audit",
            tier=record.entry.tier.label,
            index=record.index,
        )
    return event


class Chains:
    """The chains of an audit tier as its log has them at the moment when this is made: one pass over the entries."""

    def __init__(self, tier: OpenTier) -> None:
        self._tier: Final = tier
        tier.catch_up()
        #: Where chains begin, and where their events are, by tag.
        self._begins: Final[dict[bytes, LogIndex]] = {}
        self._events: Final[dict[bytes, list[LogIndex]]] = {}
        self._look(0, tier.records.size())

    def _look(self, first: int, end: int) -> None:
        engine, tier = self._tier.records.engine, self._tier.tier
        while first < end:
            try:
                for index, kind, _, _, entry in entries(engine, tier, first, end):
                    tag = bytes(entry[_TAG])
                    if kind == Kind.SESSION_BEGIN:
                        self._begins.setdefault(tag, LogIndex(index))
                    elif kind == Kind.AUDIT_EVENT:
                        self._events.setdefault(tag, []).append(LogIndex(index))
                    first = index + 1
            except Corrupt as error:
                # Whose it is cannot be told from here: whoever's chain leads over it finds it damaged.
                bad = first if error.index is None else max(first, error.index)
                if bad > first:
                    self._look(first, bad)
                first = bad + 1

    def check(self, subject: str) -> Checked:
        """One subject, from its first event to its newest."""
        lineage = self._tier.chain_of(subject).lineage
        count = event = 0
        try:
            found = lineage.look()
            if found is None:
                lineage.demand_newest(None)
                return Checked(subject=subject, events=0, broken=self._hidden(subject))
            count = last_ordinal(found) + 1
            lineage.believe(found)
            before: TrustedEntry = self._tier.records.entry_at(found.begun)
            seen = set()
            for event in range(count):
                record = lineage.record(found, event)
                event_of(record, subject, self._tier.types)
                why = _misfit(record, before)
                if why is not None:
                    return _broken(subject, count, event, record.index, why)
                seen.add(record.index)
                before = record
            event = count
            for index in self._events.get(found.tag, []):
                if index not in seen:
                    ordinal = self._tier.records.entry_at(index).entry.ordinal
                    return _broken(subject, count, ordinal, index, "the log has an event there that the chain does not lead to")
            lineage.demand_newest(found)
        except AegisError as error:
            return _broken(subject, count, event, error.index, error.message)
        return Checked(subject=subject, events=count, broken=None)

    def _hidden(self, subject: str) -> Break | None:
        """The chain of a subject that the log has and the catalogue does not."""
        for tag, begun in self._begins.items():
            if self._tier.catalog.session_by_tag(tag) is None:
                begin = session_schema.decode_begin(self._tier.records.read(begun).envelope)
                if begin.session == subject:
                    return Break(event=0, record=begun, why="its chain begins there, and the catalogue does not know of it")
        return None


def _misfit(record: TrustedRecord, before: TrustedEntry) -> str | None:
    entry = record.entry
    if entry.parent != before.index:
        return f"it follows record {entry.parent}, and not record {before.index}"
    if entry.parent_leaf != before.leaf:
        return f"it follows another record {before.index} than the one that is there"
    if entry.time_ms < before.entry.time_ms:
        return "it is older than the one before it"
    return None


def _broken(subject: str, count: int, event: int, index: int | None, why: str) -> Checked:
    return Checked(subject=subject, events=count, broken=Break(event=event, record=index, why=why))
