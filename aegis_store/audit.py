"""The audit tier: who did what to what, written once and kept for ever.

What is said of a subject is a chain of its own: each event names the one before it by index and leaf hash, under the subject's
random tag and the signature of the agent that recorded it. So none can be changed, left out, moved or put twice without
`verify_chain` naming where. Nothing takes an event away: no policy, compaction or erasure touches this tier.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Final

import msgspec

from aegis_store._engine import Watcher
from aegis_store.chain import Pending
from aegis_store.checkpoint import moment
from aegis_store.errors import AegisError, Corrupt, InvalidArgument
from aegis_store.lineage import last_ordinal
from aegis_store.open_tier import OpenTier
from aegis_store.opening import demand_name
from aegis_store.records import TrustedRecord
from aegis_store.schema import audit as schema
from aegis_store.types import Kind, LogIndex, Ordinal, Ref


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


class Audit:
    """The audit tier of an open store, as `Store.audit`. Any number of threads may use it."""

    def __init__(self, tier: OpenTier) -> None:
        self._tier: Final = tier
        # Events that nobody waits for, oldest first; and who asks that they become durable all the same.
        self._following: list[Ref] = []
        self._watcher: Watcher | None = None
        self._lock: Final = threading.Lock()

    # ---- writing ----------------------------------------------------------------------------------------------------------

    def record(
        self,
        actor: str,
        action: str,
        subject: str,
        details: object = None,
        *,
        expect: Ref | None = None,
        request_id: str | None = None,
        agent: str | None = None,
    ) -> Ref:
        """Write an event down; it is durable when this returns.

        `details` is any value that a state may hold. `agent` signs it, the store's if nobody is named. A repeated `request_id`
        returns the subject's event of that request and writes nothing; with `expect` the subject's newest event must be that
        one (`NO_CHECKPOINT`: there must be none), else Conflict.
        """
        pending = self.submit(actor, action, subject, details, expect=expect, request_id=request_id, agent=agent)
        try:
            self._tier.records.commit(pending.ref.index)
            self.settle(pending.ref)
        except BaseException:
            self._tier.lost_track()
            raise
        return pending.ref

    def submit(
        self,
        actor: str,
        action: str,
        subject: str,
        details: object = None,
        *,
        expect: Ref | None = None,
        request_id: str | None = None,
        agent: str | None = None,
    ) -> Pending:
        """The first half of `record`: queue it. It is not durable yet; once it is, `settle` it."""
        self._tier.check_open()
        for text, what in ((subject, "subject"), (actor, "actor"), (action, "action")):
            demand_name(text, what, op="audit")
        envelope = schema.encode(
            schema.Event(subject=subject, actor=actor, action=action, details=details, request_id=request_id),
            types=self._tier.types,
        )
        chain = self._tier.chain_of(subject)
        return chain.submit(self._tier.agent if agent is None else agent, envelope, expect=expect, request_id=request_id)

    def settle(self, ref: Ref) -> None:
        """The second half of `record`, once the event is durable: lookups know of it from here on."""
        self._tier.chain_of(ref.session).settle(ref.index)

    def follow(self, ref: Ref) -> None:
        """Instead of a wait for an event that was made from a durable record, and can be made again: it becomes durable in a
        moment, and whoever asks here for events waits for it. So the one that has made it need not."""
        records = self._tier.records
        with self._lock:
            if self._watcher is None:
                self._watcher = Watcher(records.engine)
            self._following.append(ref)
            self._watcher.request(records.tier, ref.index)
        self._settle_below(records.size())

    def land(self) -> None:
        """Wait for the events that follow."""
        records = self._tier.records
        with self._lock:
            last = max((ref.index for ref in self._following), default=None)
        if last is None:
            return
        try:
            records.commit(last)
        except BaseException:
            self._tier.lost_track()
            raise
        self._settle_below(records.size())

    def _settle_below(self, size: int) -> None:
        """Tell the catalogue of events that have become durable meanwhile."""
        with self._lock:
            durable = [ref for ref in self._following if ref.index < size]
        try:
            for ref in durable:
                self.settle(ref)
        except BaseException:
            self._tier.lost_track()
            raise
        if durable:
            with self._lock:
                # Only now: whoever looks meanwhile settles them as well, which changes nothing.
                self._following = [ref for ref in self._following if ref not in durable]

    def requested(self, subject: str, request_id: str) -> Ref | None:
        """The subject's event of that request, on its way perhaps; None if there is none."""
        self._tier.check_open()
        return self._tier.chain_of(subject).requested(request_id)

    # ---- reading ----------------------------------------------------------------------------------------------------------

    def events(
        self,
        subject: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        action: str | None = None,
    ) -> Iterator[Event]:
        """Events in the order in which they were written, each checked when it comes: those of a subject, or all.

        `since` and `until` are aware datetimes, both included. Damage raises where it lies.
        """
        self._tier.check_open()
        self.land()
        for when in (since, until):
            if when is not None and when.utcoffset() is None:
                raise InvalidArgument(
                    f"{when!r} says no time zone", op="audit", hint="say which: when.replace(tzinfo=datetime.UTC)"
                )
        return self._events(subject, since, until, action)

    def _events(
        self, subject: str | None, since: datetime | None, until: datetime | None, action: str | None
    ) -> Iterator[Event]:
        for event in self._all() if subject is None else self._of(subject):
            if (
                (since is None or event.created_at >= since)
                and (until is None or event.created_at <= until)
                and action in (None, event.action)
            ):
                yield event

    def latest(self, subject: str) -> Event | None:
        """The newest event of a subject; None if there is none."""
        self._tier.check_open()
        self.land()
        lineage = self._tier.chain_of(subject).lineage
        found = lineage.newest()
        last = -1 if found is None else last_ordinal(found)
        return None if found is None or last < 0 else self._event(lineage.record(found, last), subject)

    def _of(self, subject: str) -> Iterator[Event]:
        lineage = self._tier.chain_of(subject).lineage
        found = lineage.newest()
        for ordinal in range(0 if found is None else last_ordinal(found) + 1):
            if found is not None:
                yield self._event(lineage.record(found, ordinal), subject)

    def _all(self) -> Iterator[Event]:
        self._tier.catch_up()
        records = self._tier.records
        for record in records.scan(0, records.size()):
            if record.kind == Kind.AUDIT_EVENT:
                yield self._event(records.check(record), None)

    def _event(self, record: TrustedRecord, subject: str | None) -> Event:
        entry = record.entry
        event = schema.decode(record.envelope, types=self._tier.types)
        if subject not in (None, event.subject):
            raise Corrupt(
                f"record {record.index} is about {event.subject!r} and stands in the chain of {subject!r}",
                op="audit",
                tier=entry.tier.label,
                index=record.index,
            )
        ref = Ref(
            tier=entry.tier,
            index=record.index,
            leaf=record.leaf,
            ordinal=entry.ordinal,
            session=event.subject,
            time_ms=entry.time_ms,
        )
        return Event(
            ref=ref,
            subject=event.subject,
            actor=event.actor,
            action=event.action,
            details=event.details,
            created_at=moment(entry.time_ms),
            agent=record.agent,
            request_id=event.request_id,
        )

    def verify_chain(self, subject: str) -> tuple[bool, str | None]:
        """Whether every event of a subject is what was recorded and follows the one before it; and if not, which is the first
        that does not, and why."""
        self._tier.check_open()
        self.land()
        lineage = self._tier.chain_of(subject).lineage
        ordinal = 0
        try:
            found = lineage.newest()
            if found is None:
                return True, None
            before = self._tier.records.entry_at(found.begun)
            for ordinal in range(last_ordinal(found) + 1):
                record = lineage.record(found, ordinal)
                self._event(record, subject)
                if (record.entry.parent, record.entry.parent_leaf) != (before.index, before.leaf):
                    return False, _broken(subject, Ordinal(ordinal), record.index, f"it does not follow record {before.index}")
                if record.entry.time_ms < before.entry.time_ms:
                    return False, _broken(subject, Ordinal(ordinal), record.index, "it is older than the one before it")
                before = record
        except AegisError as error:
            return False, _broken(subject, Ordinal(ordinal), error.index, error.message)
        return True, None


def _broken(subject: str, ordinal: Ordinal, index: int | LogIndex | None, why: str) -> str:
    where = "" if index is None else f" at record {index}"
    return f"the chain of {subject!r} breaks at event {ordinal}{where}: {why}"
