"""The newest checkpoint of many sessions at once, checked as `Session.latest` checks one.

The records that are needed are read in the order of the log and not of the sessions, and their signatures are checked
together, on threads, in calls that do not hold the interpreter's lock. What does not hold in every point here is asked for
again by `Lineage`, the way that a single session is read, and gets its error there: so both ways agree by construction.
Memory is bounded by a page of sessions, however many there are.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from math import inf
from typing import Final, Protocol

import msgspec

from aegis_store._engine import GAP, Record
from aegis_store.catalog import SessionRecord
from aegis_store.chain import Chain
from aegis_store.checkpoint import Checkpoint, as_checkpoint
from aegis_store.errors import AegisError
from aegis_store.lineage import Owner, last_ordinal
from aegis_store.records import TrustedRecord
from aegis_store.schema import session as session_schema
from aegis_store.schema.entry import SIGNATURE_SIZE, Entry, signing_prefix
from aegis_store.states import States
from aegis_store.trust.signer import verify_signatures
from aegis_store.types import Kind, LogIndex

#: Sessions that are read together.
PAGE: Final = 1024
#: Signatures that a thread checks at a time.
BATCH: Final = 256
#: Envelopes on the way to the newest one, kept for sessions of one page.
STATES_BYTES: Final = 16 << 20
#: Records that are not needed are read over where there are no more than that between two that are.
SKIPPED_MAX: Final = 8
#: And in one go no more than that.
RUN_MAX: Final = 256


class Store(Owner, Protocol):
    """What is needed of a store."""

    def chain_of(self, session_id: str) -> Chain:
        """What all objects of a session share."""
        ...


class Newest(msgspec.Struct, frozen=True, kw_only=True):
    """A session and its newest checkpoint, every check made: None if there is none, or why it is not to be believed."""

    session: SessionRecord
    checkpoint: Checkpoint | AegisError | None


def latest_of(store: Store, sessions: Iterable[SessionRecord], *, jobs: int | None = None) -> Iterator[Newest]:
    """The newest checkpoint of each of these sessions, in their order. What would have raised from `Session.latest` is given.

    `jobs` threads check signatures, as many as there are processors. The catalogue should have caught up before it was
    asked for the sessions. `Closed` raises.
    """
    pool = ThreadPoolExecutor(jobs or os.cpu_count() or 1, thread_name_prefix="aegis-read")
    try:
        reading = _Reading(store, pool)
        remaining = iter(sessions)
        while page := list(islice(remaining, PAGE)):
            yield from reading.page(page)
    finally:
        pool.shutdown(cancel_futures=True)


class _Reading:
    """Reads pages of sessions."""

    def __init__(self, store: Store, pool: ThreadPoolExecutor) -> None:
        self._store = store
        self._records = store.records
        self._pool = pool
        self._prefix = signing_prefix(self._records.engine.describe().store_id, self._records.tier)
        # Key id -> public key, whose it is, and between which indexes it was allowed.
        self._keys: dict[bytes, tuple[bytes, str, int, float] | None] = {}

    def page(self, sessions: Sequence[SessionRecord]) -> Iterator[Newest]:
        self._store.check_open()
        states = States(STATES_BYTES)
        believed = self._believed(sessions, states)
        for session in sessions:
            begun, newest = believed.get(session.begun), believed.get(session.last_index)
            yield Newest(session=session, checkpoint=self._newest(session, begun, newest))

    def _newest(
        self, session: SessionRecord, begun: TrustedRecord | None, newest: TrustedRecord | None
    ) -> Checkpoint | AegisError | None:
        """The checkpoint in two records that were believed, if they are those of the session; else as one reads a session."""
        if begun is not None and newest is not None and not self._records.suspects and self._fits(session, begun, newest):
            with suppress(AegisError):
                return as_checkpoint(newest, session.id, self._store.types)
        try:
            return self._alone(session)
        except AegisError as error:
            self._store.check_open()
            return error

    def _fits(self, session: SessionRecord, begun: TrustedRecord, newest: TrustedRecord) -> bool:
        first, last = begun.entry, newest.entry
        if (first.kind, first.session_tag, first.parent, first.ordinal) != (
            Kind.SESSION_BEGIN,
            session.tag,
            session.parent,
            session.first_ordinal,
        ) or session.parent is not None:
            return False  # a fork: what it goes on from is to be believed too
        if (last.kind, last.session_tag, last.ordinal) != (self._records.link_kind, session.tag, session.last_ordinal):
            return False
        try:
            return session_schema.decode_begin(begun.envelope).session == session.id
        except AegisError:
            return False

    def _alone(self, session: SessionRecord) -> Checkpoint | None:
        lineage = self._store.chain_of(session.id).lineage
        found = lineage.newest()
        last = -1 if found is None else last_ordinal(found)
        return None if found is None or last < 0 else lineage.checkpoint(found, last)

    # ---- records ----------------------------------------------------------------------------------------------------------

    def _believed(self, sessions: Sequence[SessionRecord], states: States) -> dict[int, TrustedRecord]:
        """The first and the newest record of each session, but for those that do not hold in every point."""
        wanted = sorted({index for each in sessions for index in (each.begun, each.last_index)})
        waiting: list[tuple[list[tuple[Record, Entry, str]], Future[list[bool]]]] = []
        batch: list[tuple[Record, Entry, str]] = []
        keys: list[bytes] = []

        def send() -> None:
            signed = [entry.signature + self._prefix + record.entry[:-SIGNATURE_SIZE] for record, entry, _ in batch]
            waiting.append((batch[:], self._pool.submit(verify_signatures, signed, keys[:])))
            batch.clear()
            keys.clear()

        for record in self._read(wanted):
            asked = self._asked(record)
            if asked is not None:
                entry, public_key, agent = asked
                batch.append((record, entry, agent))
                keys.append(public_key)
                if len(batch) == BATCH:
                    send()
        if batch:
            send()
        found: dict[int, TrustedRecord] = {}
        for records, held in waiting:
            # What they hold is opened while their signatures are checked, and given out only where those hold.
            opened = [self._opened(record, entry, agent, states) for record, entry, agent in records]
            for made, holds in zip(opened, held.result(), strict=True):
                if made is not None and holds:
                    found[made.index] = made
        return found

    def _read(self, wanted: Sequence[int]) -> Iterator[Record]:
        """Records by their indexes, which increase; those that cannot be read are left out."""
        engine, tier = self._records.engine, self._records.tier
        for run in _runs(wanted):
            with suppress(AegisError):
                if len(run) == 1:
                    yield engine.read(tier, run[0])
                    continue
                needed = set(run)
                got = engine.read_range(tier, run[0], run[-1] - run[0] + 1)
                yield from (record for record in got if record.index in needed)

    def _asked(self, record: Record) -> tuple[Entry, bytes, str] | None:
        """The entry of a record, the key that should have signed it, and whose that is."""
        try:
            entry = self._records.entry_of(record)
            if record.flags & GAP:
                return None
            self._records.gaps.demand(record, entry.kind)
            if entry.key_id not in self._keys:
                self._keys[entry.key_id] = self._key(record)
        except AegisError:
            return None
        key = self._keys[entry.key_id]
        if key is None:
            return None
        public_key, agent, added, revoked = key
        return (entry, public_key, agent) if added < record.index < revoked else None

    def _key(self, record: Record) -> tuple[bytes, str, int, float] | None:
        """The key of an id, by a record that is believed under it; None where more than one ever had that id."""
        believed = self._records.check_entry(record)
        keys = self._records.catalog.key(self._records.tier, believed.entry.key_id)
        if len(keys) != 1 or not believed.agent:
            return None
        return keys[0].public_key, believed.agent, keys[0].added, inf if keys[0].revoked is None else keys[0].revoked

    def _opened(self, record: Record, entry: Entry, agent: str, states: States) -> TrustedRecord | None:
        """What a record holds, if it is what its entry commits to."""
        try:
            envelope = self._records.envelope_of(record, entry, states)
        except AegisError:
            return None
        return TrustedRecord(index=LogIndex(record.index), leaf=record.leaf, entry=entry, agent=agent, envelope=envelope)


def _runs(wanted: Sequence[int]) -> Iterator[list[int]]:
    """Indexes that are read in one go."""
    run: list[int] = []
    for index in wanted:
        if run and (index - run[-1] > SKIPPED_MAX or index - run[0] >= RUN_MAX):
            yield run
            run = []
        run.append(index)
    if run:
        yield run
