"""The audit tier: who did what to what, written once and kept for ever.

What is said of a subject is a chain of its own: each event names the one before it by index and leaf hash, under the subject's
random tag and the signature of the agent that recorded it. So none can be changed, left out, moved or put twice without
`verify_chain` naming where. Nothing takes an event away: no policy, compaction or erasure touches this tier.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Final

from aegis_store._engine import Record, Watcher
from aegis_store.audit_chain import Chains, Checked, Event, as_event, event_of
from aegis_store.chain import Pending
from aegis_store.errors import Corrupt, InvalidArgument
from aegis_store.lineage import last_ordinal
from aegis_store.open_tier import OpenTier
from aegis_store.opening import demand_name
from aegis_store.schema import audit as schema
from aegis_store.types import Kind, Ref

__all__ = ["Audit", "Event"]


class Audit:
    """The audit tier of an open store, as `Store.audit`. Any number of threads may use it."""

    def __init__(self, tier: OpenTier) -> None:
        self._tier: Final = tier
        # Events that nobody waits for, oldest first; and who asks that they become durable all the same.
        self._following: list[Ref] = []
        self._watcher: Watcher | None = None
        self._lock: Final = threading.Lock()

    @property
    def agent(self) -> str:
        """Whose key signs, where nobody else is named."""
        return self._tier.agent

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
        return next(self.newest_first(subject), None)

    def newest_first(self, subject: str) -> Iterator[Event]:
        """The events of a subject, from its newest back to its first, each checked when it comes."""
        self._tier.check_open()
        self.land()
        lineage = self._tier.chain_of(subject).lineage
        found = lineage.newest()
        if found is not None:
            for _, record in lineage.records_down(found, last_ordinal(found)):
                yield event_of(record, subject, self._tier.types)

    def subjects(self) -> Iterator[str]:
        """The subjects of which something was recorded, in the order in which they came up."""
        self._tier.check_open()
        self._tier.catch_up()
        tier, after = self._tier, None
        while page := tier.catalog.sessions(tier=tier.tier, after=after):
            yield from (each.id for each in page)
            after = page[-1].number

    def _of(self, subject: str) -> Iterator[Event]:
        lineage = self._tier.chain_of(subject).lineage
        found = lineage.newest()
        if found is not None:
            for ordinal in range(last_ordinal(found) + 1):
                yield event_of(lineage.record(found, ordinal), subject, self._tier.types)

    def _all(self, first: int = 0) -> Iterator[Event]:
        self._tier.catch_up()
        for record in self._scan(first, self._tier.records.size()):
            if record.kind == Kind.AUDIT_EVENT:
                yield as_event(self._tier.records.check(record), self._tier.types)

    def _scan(self, at: int, end: int) -> Iterator[Record]:
        records = self._tier.records
        try:
            for record in records.scan(at, end):
                yield record
                at = record.index + 1
        except Corrupt:
            # They are read many at a time: those before the damage come one by one, up to it.
            for index in range(at, end):
                yield from records.scan(index, index + 1)

    def size(self) -> int:
        """How many records the tier has, those that begin subjects and enrol keys counted."""
        self._tier.check_open()
        self._tier.catch_up()
        return self._tier.records.size()

    def since(self, record: int) -> tuple[list[Event], int]:
        """The events from that record on, and the record to go on from: for whoever follows the trail."""
        self._tier.check_open()
        self._tier.catch_up()
        end = self._tier.records.size()
        return [each for each in self._all(record) if each.ref.index < end], end

    # ---- checking ---------------------------------------------------------------------------------------------------------

    def verify_chain(self, subject: str) -> tuple[bool, str | None]:
        """Whether every event of a subject is what was recorded and follows the one before it; and if not, which is the first
        that does not, and why. The entries of the whole tier are gone through, about a microsecond each, so that no event can
        be hidden."""
        found = next(self.verify_chains([subject]))
        return found.broken is None, None if found.broken is None else found.broken.text(subject)

    def verify_chains(self, subjects: Iterable[str] | None = None) -> Iterator[Checked]:
        """The same of several subjects, or of all, one after the other."""
        self._tier.check_open()
        self.land()
        chains = Chains(self._tier)
        return (chains.check(each) for each in (self.subjects() if subjects is None else subjects))
