"""A session: one agent conversation or run, as a chain of checkpoints.

Each checkpoint names the one before it by index and leaf hash, under the session's random tag and its agent's signature. So
none can be moved to another session or place, left out, or put twice. What is not here but in `records`: how one record is
believed.

An interrupt (Ctrl-C) may fall between any two steps of a checkpoint. So where the session stands is forgotten before a record
is queued, and known again after; and the store is told of every call that did not come to its end (`lost_track`), so that the
log is looked at before anything is built on it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol

import msgspec

from aegis_store.catalog import Catalog, CheckpointMade, Row, SessionBegan, SessionRecord
from aegis_store.codec import canonical
from aegis_store.errors import AegisError, Corrupt, Foreign
from aegis_store.records import Position, Records, TrustedRecord
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.schema import session as session_schema
from aegis_store.trust.signer import Signer
from aegis_store.types import Kind, LogIndex, MemoryPointer, Ordinal, Ref, TimeMs

#: Checkpoints that history asks the catalogue for at a time.
HISTORY_PAGE: Final = 64
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The end of the year 9999.
_MOMENT_MAX_MS: Final = 253_402_300_799_999


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A saved state and what was saved with it, every check made. `created_at` is the store's time, in UTC."""

    ref: Ref
    agent: str
    created_at: datetime
    state: Any
    position: Any = None
    claims: Any = None
    memory_pointer: MemoryPointer | None = None
    approvals: Any = None
    last_tool_call: Any = None
    metadata: Any = None


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

    def check_open(self) -> None:
        """Closed, UsedAfterFork: asked before any lock, for in a forked child a lock may never be let go."""
        ...

    def signer_for(self, agent: str) -> Signer:
        """The agent's key, allowed by the log."""
        ...

    def catch_up(self) -> None:
        """Take in what the catalogue does not know: a writer's records in a reader, those of interrupted calls in a writer."""
        ...

    def lost_track(self) -> None:
        """A call did not come to its end: there may be records that nobody noted."""
        ...

    def draw_tag(self) -> bytes:
        """A session tag."""
        ...

    def note(self, row: Row) -> None:
        """Tell the catalogue of a committed record, and see to what is due."""
        ...


class _Standing(msgspec.Struct, frozen=True):
    """Where a session stands: its tag, and the record that the next one follows."""

    tag: bytes
    last: Position
    next_ordinal: int


class Chain:
    """What all `Session` objects of one id share, whoever signs through them: their checkpoints form one chain."""

    __slots__ = ("__weakref__", "believed", "lock", "owed", "standing")

    def __init__(self) -> None:
        self.lock: Final = threading.Lock()
        #: None: to be looked up.
        self.standing: _Standing | None = None
        #: Tags whose session-begin record was read and found to be this session's.
        self.believed: Final[set[bytes]] = set()
        #: Rows of records that were queued and that the catalogue has not been told of, in order.
        self.owed: Final[list[Row]] = []


class Session:
    """One session of an open store, made by `Store.session`, for any number of threads: their checkpoints form one chain."""

    def __init__(self, owner: Owner, session_id: str, agent: str, chain: Chain) -> None:
        self.id: Final = session_id
        self.agent: Final = agent
        self._owner = owner
        self._chain = chain

    def __repr__(self) -> str:
        return f"Session({self.id!r})"

    # ---- writing ----------------------------------------------------------------------------------------------------------

    def checkpoint(
        self,
        state: object,
        *,
        position: object = None,
        claims: Mapping[str, object] | None = None,
        memory_pointer: MemoryPointer | None = None,
        approvals: Sequence[object] | None = None,
        last_tool_call: Mapping[str, object] | None = None,
        metadata: Mapping[str, object] | None = None,
    ) -> Ref:
        """Save a state; it is durable when this returns.

        Raises StateTypeError (a value that cannot be stored exactly, named by its path), StateTooLarge, NoSpace, ReadOnly:
        nothing was stored. OutcomeUnknown, Poisoned: close the store and open it again; `latest()` then tells. Corrupt: damage
        hides where the session stands.
        """
        owner, chain = self._owner, self._chain
        owner.check_open()
        envelope = checkpoint_schema.encode(
            checkpoint_schema.Checkpoint(
                position=position,
                claims=claims,
                memory_pointer=memory_pointer,
                approvals=approvals,
                last_tool_call=last_tool_call,
                metadata=metadata,
                state=state,
            )
        )
        if len(envelope) > owner.records.state_limit_bytes:
            owner.records.demand_limit(len(canonical.encode(state)))
        sealed = owner.records.seal(envelope)
        try:
            signer = owner.signer_for(self.agent)
            with chain.lock:
                standing = self._continue(signer)
                ordinal = Ordinal(standing.next_ordinal)
                chain.standing = None
                here = owner.records.append(
                    Kind.CHECKPOINT, sealed, signer, tag=standing.tag, ordinal=ordinal, parent=standing.last
                )
                chain.owed.append(
                    CheckpointMade(
                        tier=owner.records.tier,
                        index=here.index,
                        time_ms=here.time_ms,
                        leaf=here.leaf,
                        tag=standing.tag,
                        ordinal=ordinal,
                    )
                )
                # The next checkpoint follows this one even while it is on its way to the disk: they become durable in order.
                chain.standing = _Standing(standing.tag, here, ordinal + 1)
            owner.records.commit(here.index)
            self._note_until(here.index)
        except BaseException:
            owner.lost_track()
            raise
        return Ref(
            tier=owner.records.tier,
            index=here.index,
            leaf=here.leaf,
            ordinal=ordinal,
            session=self.id,
            time_ms=here.time_ms,
        )

    def _continue(self, signer: Signer) -> _Standing:
        """Where the session stands, begun if it has not. The lock is held."""
        chain = self._chain
        if chain.standing is not None:
            return chain.standing
        self._owner.catch_up()
        found = self._owner.catalog.session(self.id)
        self._demand_newest(found)
        if found is not None:
            self._believe(found)
            last = Position(index=found.last_index, leaf=found.last_leaf, time_ms=found.last_ms)
            return _Standing(found.tag, last, 0 if found.last_ordinal is None else found.last_ordinal + 1)
        records, tag = self._owner.records, self._owner.draw_tag()
        names = session_schema.SessionBegin(session=self.id, agent=self.agent)
        begun = records.append(Kind.SESSION_BEGIN, records.seal(session_schema.encode_begin(names)), signer, tag=tag)
        chain.owed.append(
            SessionBegan(
                tier=records.tier,
                index=begun.index,
                time_ms=begun.time_ms,
                leaf=begun.leaf,
                tag=tag,
                id=self.id,
                agent=self.agent,
            )
        )
        chain.believed.add(tag)
        return _Standing(tag, begun, 0)

    def _note_until(self, last: int) -> None:
        """Tell the catalogue of every record up to `last`, which is durable, in order: who comes first notes for the others."""
        with self._chain.lock:
            owed, durable = self._chain.owed, 0
            while durable < len(owed) and owed[durable].index <= last:
                self._owner.note(owed[durable])
                durable += 1
            del owed[:durable]

    # ---- reading ----------------------------------------------------------------------------------------------------------

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, every check made; None if there is none.

        Raises Corrupt, BadSignature, Foreign: it is damaged. An older one is never given in its place; ask `history` for it.
        """
        self._owner.catch_up()
        found = self._owner.catalog.session(self.id)
        self._demand_newest(found)
        if found is None or found.last_ordinal is None:
            return None
        self._believe(found)
        return self._read(found, found.last_ordinal, found.last_index)

    def history(self, *, before: int | None = None) -> Iterator[Checkpoint]:
        """All checkpoints, newest first, each checked when it comes; with `before`, those with a lower ordinal.

        Damage raises where it lies; a new call may go on before it.
        """
        self._owner.catch_up()
        found = self._owner.catalog.session(self.id)
        if before is None:
            self._demand_newest(found)
        if found is None or found.last_ordinal is None:
            return
        self._believe(found)
        due = found.last_ordinal if before is None else min(before - 1, found.last_ordinal)
        while due >= 0:
            page = self._owner.catalog.checkpoints(found.number, before=due + 1, limit=HISTORY_PAGE)
            if not page or page[0].ordinal != due:
                raise self._gap(found, due)
            for each in page:
                if each.ordinal != due:
                    break  # the next page does not start where it should, and that is said then
                yield self._read(found, each.ordinal, each.index)
                due -= 1

    def _demand_newest(self, found: SessionRecord | None) -> None:
        """Raise if what the catalogue has found may not be the newest: a later record could not be taken in."""
        suspects = self._owner.records.suspects
        if not suspects:
            return
        tag, last = (None, -1) if found is None else (found.tag, found.last_index)
        for index in sorted(suspects):
            suspect = suspects[index]
            if index > last and suspect.tag in (None, tag):
                raise suspect.error

    def _gap(self, found: SessionRecord, ordinal: int) -> AegisError:
        """Why a checkpoint that must be there is not."""
        for suspect in self._owner.records.suspects.values():
            if suspect.tag in (None, found.tag):
                return suspect.error
        return Corrupt(
            f"checkpoint {ordinal} of session {self.id!r} is not where the log should have it",
            op="read",
            tier=self._owner.records.tier.label,
        )

    def _believe(self, found: SessionRecord) -> None:
        """The catalogue says which tag the session has; its session-begin record must say so too. Once a session."""
        if found.tag in self._chain.believed:
            return
        record = self._owner.records.read(found.number)
        names = session_schema.decode_begin(record.envelope) if record.entry.kind is Kind.SESSION_BEGIN else None
        if names is None or names.session != self.id or record.entry.session_tag != found.tag:
            raise Foreign(
                f"the session {self.id!r} does not begin at record {found.number}",
                op="read",
                tier=record.entry.tier.label,
                index=found.number,
            )
        self._chain.believed.add(found.tag)

    def _read(self, found: SessionRecord, ordinal: int, index: LogIndex) -> Checkpoint:
        record = self._owner.records.read(index)
        entry = record.entry
        if (entry.kind, entry.session_tag, entry.ordinal) != (Kind.CHECKPOINT, found.tag, ordinal):
            raise Foreign(
                f"record {index} is not checkpoint {ordinal} of session {self.id!r}",
                op="read",
                tier=entry.tier.label,
                index=index,
            )
        return as_checkpoint(record, self.id)


def as_checkpoint(record: TrustedRecord, session_id: str) -> Checkpoint:
    """A believed record of kind checkpoint, as people hold it."""
    entry = record.entry
    try:
        saved = checkpoint_schema.decode(record.envelope)
    except Corrupt as error:
        raise Corrupt(error.message, op="read", tier=entry.tier.label, index=record.index) from None
    ref = Ref(
        tier=entry.tier,
        index=record.index,
        leaf=record.leaf,
        ordinal=entry.ordinal,
        session=session_id,
        time_ms=entry.time_ms,
    )
    return Checkpoint(
        ref=ref,
        agent=record.agent,
        created_at=moment(entry.time_ms),
        state=saved.state,
        position=saved.position,
        claims=saved.claims,
        memory_pointer=saved.memory_pointer,
        approvals=saved.approvals,
        last_tool_call=saved.last_tool_call,
        metadata=saved.metadata,
    )


def moment(time_ms: TimeMs) -> datetime:
    """The store's time as a datetime in UTC; what lies behind the last one that there is, as that one."""
    return _EPOCH + timedelta(milliseconds=min(time_ms, _MOMENT_MAX_MS))
