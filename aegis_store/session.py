"""A session: one agent conversation or run, as a chain of checkpoints.

Each checkpoint names the one before it by index and leaf hash, under the session's random tag and its agent's signature. So none
can be moved to another session or place, left out, or put twice. What is not here but in `records`: how one record is believed.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Protocol

import msgspec

from aegis_store.catalog import Catalog, CheckpointMade, Row, SessionBegan, SessionRecord
from aegis_store.errors import Corrupt, Foreign
from aegis_store.records import Position, Records, TrustedRecord
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.schema import session as session_schema
from aegis_store.trust.signer import Signer
from aegis_store.types import Kind, LogIndex, MemoryPointer, Ordinal, Ref, TimeMs

#: Checkpoints that history asks the catalogue for at a time.
HISTORY_PAGE: Final = 64


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

    records: Records
    catalog: Catalog

    def signer_for(self, agent: str) -> Signer:
        """The agent's key, allowed by the log."""
        ...

    def catch_up(self) -> None:
        """In a reader: take in what the writer has made durable."""
        ...

    def draw_tag(self) -> bytes:
        """A session tag."""
        ...

    def note(self, row: Row) -> None:
        """Tell the catalogue of a committed record, and see to what is due."""
        ...


class _Chain(msgspec.Struct):
    """Where a session stands: its tag, and the record that the next one follows."""

    tag: bytes
    last: Position
    next_ordinal: int


class Session:
    """One session of an open store, made by `Store.session`. Any number of threads may use it; their checkpoints form one chain."""

    def __init__(self, owner: Owner, session_id: str, agent: str) -> None:
        self.id: Final = session_id
        self.agent: Final = agent
        self._owner = owner
        self._lock = threading.Lock()
        self._chain: _Chain | None = None
        self._believed: set[bytes] = set()
        # Records that were queued and that the catalogue has not been told of, in order.
        self._owed: list[Row] = []

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
        nothing was stored. OutcomeUnknown, Poisoned: close the store and open it again; `latest()` then tells.
        """
        owner = self._owner
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
        sealed = owner.records.seal(envelope)
        signer = owner.signer_for(self.agent)
        with self._lock:
            chain = self._continue(signer)
            ordinal = Ordinal(chain.next_ordinal)
            here = owner.records.append(Kind.CHECKPOINT, sealed, signer, tag=chain.tag, ordinal=ordinal, parent=chain.last)
            # The next checkpoint follows this one even while this one is on its way to the disk: they become durable in order.
            self._chain = _Chain(chain.tag, here, ordinal + 1)
            self._owed.append(
                CheckpointMade(
                    tier=owner.records.tier,
                    index=here.index,
                    time_ms=here.time_ms,
                    leaf=here.leaf,
                    tag=chain.tag,
                    ordinal=ordinal,
                )
            )
        owner.records.commit(here.index)
        self._note_until(here.index)
        return Ref(
            tier=owner.records.tier,
            index=here.index,
            leaf=here.leaf,
            ordinal=ordinal,
            session=self.id,
            time_ms=here.time_ms,
        )

    def _continue(self, signer: Signer) -> _Chain:
        """Where the session stands, begun if it has not. The lock is held."""
        if self._chain is not None:
            return self._chain
        found = self._owner.catalog.session(self.id)
        if found is not None:
            self._believe(found)
            last = Position(index=found.last_index, leaf=found.last_leaf, time_ms=found.last_ms)
            self._chain = _Chain(found.tag, last, 0 if found.last_ordinal is None else found.last_ordinal + 1)
            return self._chain
        records, tag = self._owner.records, self._owner.draw_tag()
        names = session_schema.SessionBegin(session=self.id, agent=self.agent)
        begun = records.append(Kind.SESSION_BEGIN, records.seal(session_schema.encode_begin(names)), signer, tag=tag)
        self._owed.append(
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
        self._chain = _Chain(tag, begun, 0)
        self._believed.add(tag)
        return self._chain

    def _note_until(self, last: int) -> None:
        """Tell the catalogue of every record up to `last`, which is durable, in order: whoever comes first notes for the others."""
        with self._lock:
            durable = 0
            while durable < len(self._owed) and self._owed[durable].index <= last:
                self._owner.note(self._owed[durable])
                durable += 1
            del self._owed[:durable]

    def _settle(self) -> None:
        """Before a lookup: note what is durable and was not noted, because an interrupt came between the sync and the note."""
        self._owner.catch_up()
        if self._owed:
            self._note_until(self._owner.records.size() - 1)

    # ---- reading ----------------------------------------------------------------------------------------------------------

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, every check made; None if there is none.

        Raises Corrupt, BadSignature, Foreign: it is damaged. An older one is never given in its place; ask `history` for it.
        """
        self._settle()
        found = self._owner.catalog.session(self.id)
        if found is None or found.last_ordinal is None:
            return None
        self._believe(found)
        return self._read(found, found.last_ordinal, found.last_index)

    def history(self) -> Iterator[Checkpoint]:
        """All checkpoints, newest first, each checked when it comes. Damage raises where it lies; a new call may go on before it."""
        self._settle()
        found = self._owner.catalog.session(self.id)
        if found is None:
            return
        self._believe(found)
        before: int | None = None
        while page := self._owner.catalog.checkpoints(found.number, before=before, limit=HISTORY_PAGE):
            for each in page:
                yield self._read(found, each.ordinal, each.index)
            before = page[-1].ordinal
            if before == 0:
                return

    def _believe(self, found: SessionRecord) -> None:
        """The catalogue says which tag the session has; its session-begin record must say so too. Once a session."""
        if found.tag in self._believed:
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
        self._believed.add(found.tag)

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
    """The store's time as a datetime in UTC."""
    return datetime.fromtimestamp(time_ms / 1000, UTC)
