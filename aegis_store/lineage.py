"""The reading side of a session: where its checkpoints are, its own and those that it inherited, and that they are what they
seem.

The catalogue says where; nothing that it says is believed. A session-begin record must name the session, and each checkpoint
must carry its tag and ordinal under a signature. A fork goes on from a checkpoint of another session: ordinals below its first
are that one's, and are looked for there.

    ticket      0 ── 1 ── 2 ── 3 ── 4
                          └── fork: 3 ── 4 ── 5        its first ordinal is 3, its parent the record of 2
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, MutableMapping
from contextlib import suppress
from datetime import datetime
from typing import Final, Protocol

import msgspec

from aegis_store.catalog import Catalog, Row, SessionRecord
from aegis_store.checkpoint import Checkpoint, as_checkpoint, moment
from aegis_store.codec.registry import StateTypes
from aegis_store.errors import AegisError, Corrupt, Foreign, Gone, NotFound
from aegis_store.gaps import Cause
from aegis_store.records import Records, TrustedEntry, TrustedRecord
from aegis_store.schema import session as session_schema
from aegis_store.schema.requests import request_id_of
from aegis_store.schema.writes import Part, Writes, decode_part, joined
from aegis_store.trust.signer import Signer
from aegis_store.types import Kind, LogIndex, Nouns, Ordinal, Ref, TimeMs

#: Checkpoints that history asks the catalogue for at a time; and those who only want to know where they are.
HISTORY_PAGE: Final = 64
GAPS_PAGE: Final = 1024


class GapInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Checkpoints `first` to `last` of a session whose content is gone, by the word of record `record`: a policy's, as it was
    called, or with `is_erased` the word of `by`."""

    first: Ordinal
    last: Ordinal
    is_erased: bool
    reason: str
    by: str | None
    record: LogIndex
    since: datetime

    @property
    def count(self) -> int:
        """How many they are."""
        return self.last - self.first + 1


class Place(msgspec.Struct, frozen=True, gc=False):
    """Where a checkpoint of a session is, as the catalogue says: nothing of it is believed before it is read."""

    ordinal: Ordinal
    index: LogIndex


def _gap_info(cause: Cause, ordinal: Ordinal) -> GapInfo:
    return GapInfo(
        first=ordinal,
        last=ordinal,
        is_erased=cause.is_erasure,
        reason=cause.reason,
        by=cause.by if cause.is_erasure else None,
        record=cause.index,
        since=moment(cause.time_ms),
    )


class Owner(Protocol):
    """What a session needs of the store that it belongs to."""

    @property
    def records(self) -> Records:
        """The records of the tier that sessions are in."""
        ...

    @property
    def catalog(self) -> Catalog:
        """Where in it they are."""
        ...

    @property
    def types(self) -> StateTypes:
        """The types that states may hold because they were named."""
        ...

    def check_open(self) -> None:
        """Closed, UsedAfterFork: asked before any lock, for in a forked child a lock may never be let go."""
        ...

    def signer_for(self, agent: str) -> Signer:
        """The agent's key, allowed by the log."""
        ...

    def role_of(self, agent: str) -> str | None:
        """What the agent is there for, if the store was told."""
        ...

    def catch_up(self) -> None:
        """Take in what the catalogue does not know: a writer's records in a reader, those of interrupted calls in a writer."""
        ...

    def lost_track(self) -> None:
        """A call did not come to its end: there may be records that nobody noted."""
        ...

    def demand_no_incident(self, session_id: str) -> None:
        """IncidentOpen: a security incident of the session, or of one that it is a restart of, is open."""
        ...

    def draw_tag(self) -> bytes:
        """A session tag."""
        ...

    def note(self, row: Row) -> None:
        """Tell the catalogue of a committed record, and see to what is due."""
        ...


def ref_of(made: TrustedEntry, session_id: str) -> Ref:
    """What a checkpoint is called, by its entry."""
    entry = made.entry
    return Ref(
        tier=entry.tier, index=made.index, leaf=made.leaf, ordinal=entry.ordinal, session=session_id, time_ms=entry.time_ms
    )


def last_ordinal(found: SessionRecord) -> int:
    """The newest checkpoint of a session, its own or inherited; -1 where there is none."""
    return found.first_ordinal - 1 if found.last_ordinal is None else found.last_ordinal


class Lineage:
    """One session as a line of checkpoints. Any number of threads may use it."""

    def __init__(self, owner: Owner, session_id: str) -> None:
        self.id: Final = session_id
        self._owner = owner
        # Tags whose session-begin record was read and found to be this session's, or one's that it goes on from.
        self._believed: set[bytes] = set()
        # Tag of a fork -> the session that it goes on from.
        self._origins: dict[bytes, SessionRecord] = {}

    def look(self) -> SessionRecord | None:
        """What the catalogue knows, once it has caught up. Not believed yet, and perhaps not the newest."""
        self._owner.catch_up()
        return self._owner.catalog.session(self.id, self._owner.records.tier)

    def newest(self) -> SessionRecord | None:
        """The session as of its newest record. Raises where a later one may be hidden by damage."""
        found = self.look()
        self.demand_newest(found)
        if found is not None:
            self.believe(found)
        return found

    def demand_newest(self, found: SessionRecord | None) -> None:
        """Raise if what the catalogue has found may not be the newest: a later record could not be taken in."""
        suspects = self._owner.records.suspects
        if not suspects:
            return
        tag, last = (None, -1) if found is None else (found.tag, found.last_index)
        for index in sorted(suspects):
            suspect = suspects[index]
            if index > last and suspect.tag in (None, tag):
                raise suspect.error

    def begun(self, tag: bytes) -> None:
        """A session-begin with that tag was just written: it need not be read to be believed."""
        self._believed.add(tag)

    def believe(self, found: SessionRecord) -> None:
        """The catalogue says which tag a session has; its session-begin record must say so too. Once a session."""
        if found.tag in self._believed:
            return
        record = self._owner.records.entry_at(found.begun)
        name = found.id
        if record.entry.kind is Kind.SESSION_BEGIN and not found.is_erased:
            name = session_schema.decode_begin(self._owner.records.read(found.begun).envelope).session
        if (name, record.entry.kind, record.entry.session_tag, record.entry.parent, record.entry.ordinal) != (
            found.id,
            Kind.SESSION_BEGIN,
            found.tag,
            found.parent,
            found.first_ordinal,
        ):
            raise Foreign(
                f"the {self._nouns.chain} {found.id!r} does not begin at record {found.begun}",
                op="read",
                tier=record.entry.tier.label,
                index=found.begun,
            )
        if found.parent is not None:
            self._origins[found.tag] = self._origin(found, found.parent, record.entry.parent_leaf)
        self._believed.add(found.tag)

    def _origin(self, fork: SessionRecord, parent: LogIndex, leaf: bytes) -> SessionRecord:
        """The session that a fork goes on from. It is believed when it is asked for something."""
        record = self._owner.records.entry_at(parent)  # what it held may be gone
        entry = record.entry
        origin = self._owner.catalog.session_by_tag(entry.session_tag)
        if origin is None or (entry.kind, entry.ordinal + 1, record.leaf) != (
            self._owner.records.link_kind,
            fork.first_ordinal,
            leaf,
        ):
            raise Foreign(
                f"the fork {fork.id!r} does not go on from {self._nouns.link} {fork.first_ordinal - 1} at record {parent}",
                op="read",
                tier=entry.tier.label,
                index=parent,
            )
        return origin

    def _holder(self, found: SessionRecord, ordinal: int) -> SessionRecord:
        """The session that a checkpoint was made in: `found`, or one that it goes on from."""
        while ordinal < found.first_ordinal:
            self.believe(found)
            origin = self._origins.get(found.tag)
            if origin is None:  # written by this process, and not read yet
                self._believed.discard(found.tag)
                continue
            found = origin
        self.believe(found)
        return found

    def last_until(self, found: SessionRecord, due: TimeMs) -> int:
        """The newest ordinal whose checkpoint is not later than `due`; -1 where all are. By the catalogue's times."""
        low, high = 0, last_ordinal(found) + 1
        while low < high:
            middle = (low + high) // 2
            # One that could not be taken in has no time here: it counts as just after the one before, and is damage when read.
            known = (self._time_of(found, ordinal) for ordinal in range(middle, low - 1, -1))
            time_ms = next((each for each in known if each is not None), None)
            low, high = (middle + 1, high) if time_ms is None or time_ms <= due else (low, middle)
        return low - 1

    def _time_of(self, found: SessionRecord, ordinal: int) -> TimeMs | None:
        point = self._owner.catalog.checkpoint(self._holder(found, ordinal).number, ordinal)
        return None if point is None else point.time_ms

    def checkpoint(self, found: SessionRecord, ordinal: int) -> Checkpoint:
        """The checkpoint of an ordinal from 0 to the newest, every check made. Corrupt, BadSignature, Foreign: damaged."""
        holder = self._holder(found, ordinal)
        return as_checkpoint(self.record(holder, ordinal), holder.id, self._owner.types)

    def record(self, found: SessionRecord, ordinal: int) -> TrustedRecord:
        """The same as a record: in the audit tier an event, in the memory tier a version of a key."""
        holder = self._holder(found, ordinal)
        if ordinal == holder.last_ordinal:
            return self._read(holder, ordinal, holder.last_index)
        point = self._owner.catalog.checkpoint(holder.number, ordinal)
        if point is None:
            raise self._gap(holder, ordinal)
        return self._read(holder, ordinal, point.index)

    def ref(self, found: SessionRecord, ordinal: int) -> Ref:
        """What a checkpoint is called that may have been pruned or erased. Errors as of `checkpoint`, but for its payload's."""
        holder = self._holder(found, ordinal)
        point = self._owner.catalog.checkpoint(holder.number, ordinal)
        if point is None:
            raise self._gap(holder, ordinal)
        made = self._owner.records.entry_at(point.index)
        self._demand_place(made, holder, ordinal)
        return ref_of(made, holder.id)

    def find(self, request_id: str) -> Place | None:
        """Where the newest checkpoint of its own is that was made for a request; None: there is none."""
        records, found = self._owner.records, self.look()
        tag = b"" if found is None else records.request_tag(found.tag, request_id)
        points = [] if found is None else self._owner.catalog.all_requested(found.number, tag)
        while len(points) > 1:
            # Put again; or another request has the same tag, once in 2**64. What is gone says which no more.
            with suppress(Gone):
                if request_id_of(records.link_kind, records.read(points[-1].index).envelope) == request_id:
                    break
            points.pop()
        if not points:
            self.demand_newest(found)
            return None
        return Place(points[-1].ordinal, points[-1].index)

    def places(self, *, before: int | None, limit: int) -> list[Place]:
        """Where its own checkpoints are, newest first: at most `limit`, of ordinals below `before`."""
        found = self.newest() if before is None else self.look()
        if found is None:
            return []
        if before is None and limit == 1:
            return [] if found.last_ordinal is None else [Place(found.last_ordinal, found.last_index)]
        page = self._owner.catalog.checkpoints(found.number, before=before, limit=limit)
        due = last_ordinal(found) if before is None else min(last_ordinal(found), before - 1)
        for each in page:
            if each.ordinal != due:
                raise self._gap(found, due)
            due -= 1
        return [Place(each.ordinal, each.index) for each in page]

    def at_place(self, place: Place) -> Checkpoint:
        """The checkpoint at a place that this gave before, every check made."""
        found = self.look()
        if found is None:
            raise self.missing(found, place.ordinal)
        self.believe(found)
        return as_checkpoint(self._read(found, place.ordinal, place.index, keep_way=True), found.id, self._owner.types)

    def writes(self, request_id: str, recall: MutableMapping[int, Part] | None) -> list[Writes]:
        """What tasks wrote towards the checkpoint after that of a request, in the order in which it came."""
        found = self.look()
        if found is None:
            self.demand_newest(found)
            return []
        self._demand_writes(found)
        tag = self._owner.records.request_tag(found.tag, request_id)
        return list(joined(self._parts(found, request_id, tag, {} if recall is None else recall)))

    def written(self) -> Iterator[list[Writes]]:
        """All writes of the session, those of each request together, in the order in which each request's first came."""
        found = self.look()
        if found is None:
            self.demand_newest(found)
            return
        self._demand_writes(found)
        of_tags = self._owner.catalog.written(found.number)
        for tag, records in sorted(of_tags, key=lambda of_tag: of_tag[1]):
            of_requests: dict[str, list[Part]] = {}
            for ordinal, index in records:
                part = self._part(found, ordinal, index, tag)
                if part is not None:
                    of_requests.setdefault(part.request_id, []).append(part)
            for parts in of_requests.values():
                yield list(joined(parts))

    def _demand_writes(self, found: SessionRecord) -> None:
        """Raise where damage may hide some."""
        for suspect_at, suspect in self._owner.records.suspects.items():
            if suspect_at > found.begun and suspect.tag in (None, found.tag):
                raise suspect.error
        self.believe(found)

    def _parts(self, found: SessionRecord, request_id: str, tag: bytes, recall: MutableMapping[int, Part]) -> Iterator[Part]:
        for ordinal, index in self._owner.catalog.writes(found.number, tag):
            known = recall.get(index)
            if known is not None:
                yield known
                continue
            part = self._part(found, ordinal, index, tag)
            if part is not None and part.request_id == request_id:
                recall[index] = part
                yield part

    def _part(self, found: SessionRecord, ordinal: Ordinal, index: LogIndex, tag: bytes) -> Part | None:
        """What one record holds, every check made; None: it is gone."""
        try:
            record = self._owner.records.read(index)
        except Gone:
            return None
        entry = record.entry
        if (entry.kind, entry.session_tag, entry.request_tag, entry.ordinal) != (Kind.WRITES, found.tag, tag, ordinal):
            raise Foreign(
                f"record {index} is not writes {ordinal} of session {found.id!r}",
                op="read",
                tier=entry.tier.label,
                index=index,
            )
        return decode_part(record.envelope)

    def missing(self, found: SessionRecord | None, ordinal: int) -> NotFound:
        """The error for an ordinal that no checkpoint has."""
        count = 0 if found is None else last_ordinal(found) + 1
        have = "it has none" if count == 0 else f"it has 0 to {count - 1}" if count > 1 else "it has 0"
        return NotFound(
            f"{self._nouns.chain} {self.id!r} has no {self._nouns.link} {ordinal}: {have}",
            op="read",
            path=self._owner.records.engine.path,
            hint=None if count == 0 else self._listing("see them"),
        )

    def descend(self, found: SessionRecord, due: int) -> Iterator[Checkpoint]:
        """The checkpoints from ordinal `due` down to 0 that were neither pruned nor erased. Damage raises where it lies."""
        for holder, record in self.records_down(found, due):
            yield as_checkpoint(record, holder.id, self._owner.types)

    def records_down(self, found: SessionRecord, due: int) -> Iterator[tuple[SessionRecord, TrustedRecord]]:
        """The same as records, each with the session that it was made in."""
        while due >= 0:
            holder = self._holder(found, due)
            limit = min(HISTORY_PAGE, due - holder.first_ordinal + 1)
            page = self._owner.catalog.checkpoints(holder.number, before=due + 1, limit=limit)
            if not page or page[0].ordinal != due:
                raise self._gap(holder, due)
            for each in page:
                if each.ordinal != due:
                    break  # the next page does not start where it should, and that is said then
                with suppress(Gone):
                    yield holder, self._read(holder, each.ordinal, each.index, keep_way=True)
                due -= 1

    def gaps(self, found: SessionRecord) -> list[GapInfo]:
        """The checkpoints from 0 to the newest that were pruned or erased, as runs, oldest first."""
        causes = self._owner.records.gaps.newest_first()
        runs: list[GapInfo] = []
        due = last_ordinal(found) if causes else -1
        while due >= 0:
            holder = self._holder(found, due)
            limit = min(GAPS_PAGE, due - holder.first_ordinal + 1)
            page = self._owner.catalog.checkpoints(holder.number, before=due + 1, limit=limit)
            for each in page:
                cause = next((cause for cause in causes if each.index in cause.runs), None)
                if cause is None:
                    continue
                above = runs[-1] if runs else None
                if above is not None and (above.first, above.record) == (each.ordinal + 1, cause.index):
                    runs[-1] = msgspec.structs.replace(above, first=each.ordinal)
                else:
                    runs.append(_gap_info(cause, each.ordinal))
            due = page[-1].ordinal - 1 if page else holder.first_ordinal - 1
        return runs[::-1]

    def _gap(self, found: SessionRecord, ordinal: int) -> AegisError:
        """Why a checkpoint that must be there is not."""
        for suspect in self._owner.records.suspects.values():
            if suspect.tag in (None, found.tag):
                return suspect.error
        return Corrupt(
            f"{self._nouns.link} {ordinal} of {self._nouns.chain} {found.id!r} is not where the log should have it",
            op="read",
            tier=self._owner.records.tier.label,
        )

    def _read(self, found: SessionRecord, ordinal: int, index: LogIndex, *, keep_way: bool = False) -> TrustedRecord:
        try:
            record = self._owner.records.read(index, keep_way=keep_way)
        except Gone as error:
            raise self._gone(error, found, ordinal) from None
        self._demand_place(record, found, ordinal)
        return record

    def _demand_place(self, record: TrustedEntry, found: SessionRecord, ordinal: int) -> None:
        entry = record.entry
        if (entry.kind, entry.session_tag, entry.ordinal) != (self._owner.records.link_kind, found.tag, ordinal):
            raise Foreign(
                f"record {record.index} is not {self._nouns.link} {ordinal} of {self._nouns.chain} {found.id!r}",
                op="read",
                tier=entry.tier.label,
                index=record.index,
            )

    def _gone(self, error: Gone, found: SessionRecord, ordinal: int) -> Gone:
        """The same error, in words that whoever asked for a checkpoint understands."""
        return type(error)(
            f"{self._nouns.link} {ordinal} of {self._nouns.chain} {self.id!r} is gone: {error.message}",
            op="read",
            path=error.path,
            tier=error.tier,
            index=error.index,
            hint=self._listing("see what is there"),
        )

    @property
    def _nouns(self) -> Nouns:
        return self._owner.records.nouns

    def _listing(self, why: str) -> str | None:
        """The command that shows the chain, with what it is good for."""
        listing, path = self._nouns.listing, self._owner.records.engine.path
        return None if listing is None else f"{why}: {listing.format(path=shlex.quote(path), name=shlex.quote(self.id))}"
