"""The writing side of a session: each record follows the one before it, whoever signs, and none is queued twice for one
request.

A checkpoint has two halves with a wait in between, which is the caller's: `submit` queues the record and says what it will be
called; when it is durable, `settle` tells the catalogue. So threads wait in the engine, and tasks of an event loop elsewhere.

An interrupt (Ctrl-C) may fall between any two steps. So where the session stands is forgotten before a record is queued, and
known again after; and the store is told of every call that did not come to its end (`lost_track`), so that the log is looked at
before anything is built on it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, NamedTuple, NoReturn

import msgspec

from aegis_store._engine import PAYLOAD_MAX
from aegis_store.catalog import CheckpointMade, Other, Row, SessionBegan, SessionEnded, WritesMade, number_of
from aegis_store.codec import payload as payload_codec
from aegis_store.codec.payload import Sealed
from aegis_store.errors import Conflict, Ended, Erased, Gone, IncidentOpen, NotFound
from aegis_store.lineage import Lineage, Owner, ref_of
from aegis_store.records import Position
from aegis_store.schema import session as session_schema
from aegis_store.schema.requests import request_id_of
from aegis_store.trust.signer import Signer
from aegis_store.types import HASH_SIZE, Kind, LogIndex, Ordinal, Ref, Tier, TimeMs

#: `expect=NO_CHECKPOINT`: the session has none yet.
NO_CHECKPOINT: Final = Ref(
    tier=Tier.SESSION, index=LogIndex(-1), leaf=bytes(HASH_SIZE), ordinal=Ordinal(-1), session="", time_ms=TimeMs(0)
)


#: Requests that a session remembers: what it has not, need not be looked for.
REQUESTS_MAX: Final = 4096

#: Raised before anything is queued. After anything else there may be records that nobody knows of: `lost_track`.
_REFUSED: Final = (Conflict, Ended, Erased, IncidentOpen, NotFound)


class Pending(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint that is queued, or where a request was repeated the one that there is. `length`: of the envelope."""

    ref: Ref
    length: int
    is_repeat: bool = False


class Stamp(NamedTuple):
    """Changes with everything that is put into a session: the record that begins it, the last of its chain and the ordinal of
    its newest checkpoint, how many writes."""

    number: LogIndex
    last: LogIndex
    ordinal: Ordinal
    writes: int


class _Standing(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a session stands: the record that begins it, its tag, the record that the next one follows, its newest."""

    number: LogIndex
    tag: bytes
    last: Position
    next_ordinal: Ordinal
    newest: Ref | None
    is_fork: bool
    writes: int = 0
    is_ended: bool = False


class _Owed(msgspec.Struct, frozen=True, gc=False):
    """The row of a record that was queued and that the catalogue has not been told of; the request that it was for."""

    row: Row
    request_id: str | None = None


class Chain:
    """What all `Session` objects of one id share, whoever signs through them: their checkpoints form one chain."""

    __slots__ = (
        "__weakref__",
        "_closed",
        "_owed",
        "_owner",
        "_requested",
        "_standing",
        "_written",
        "calling",
        "id",
        "lineage",
        "lock",
    )

    def __init__(self, owner: Owner, session_id: str) -> None:
        self.id: Final = session_id
        self.lineage: Final = Lineage(owner, session_id)
        self.lock: Final = threading.Lock()
        #: Held while a tool call is entered; taken before `lock`.
        self.calling: Final = threading.Lock()
        self._owner = owner
        # None: to be looked up.
        self._standing: _Standing | None = None
        # Why it takes nothing any more.
        self._closed: Erased | None = None
        self._owed: list[_Owed] = []
        # The request tags of all its checkpoints, where it began here; None: the catalogue knows them.
        self._requested: set[bytes] | None = None
        # And those that it has writes of.
        self._written: set[bytes] | None = None

    # ---- checkpoints ------------------------------------------------------------------------------------------------------

    def submit(
        self,
        agent: str,
        envelope: bytes,
        *,
        expect: Ref | None,
        request_id: str | None,
        replace: bool = False,
        role: str | None = None,
    ) -> Pending:
        """Queue a checkpoint; with `replace` even where there is one of that request. `role` is what the session is for, where
        this begins it; else what its agent is for.

        Conflict, Ended, NoSpace, ReadOnly, Poisoned: nothing was queued."""
        self._owner.records.demand_envelope(envelope)
        try:
            with self.lock:
                # In here: who revokes a key waits for the lock, and knows then that nobody has the key who will still use it.
                signer = self._owner.signer_for(agent)
                standing = self._standing or self._stand()
                if request_id is not None and standing is not None and not replace:
                    first = self._first(standing, request_id)
                    if first is not None:
                        return Pending(first, len(envelope), is_repeat=True)
                if standing is not None and standing.is_ended:
                    raise self._ended()
                if expect is not None:
                    self._demand_expected(expect, standing)
                if standing is None:
                    standing = self._begin(signer, role=role)
                return Pending(self._append(standing, envelope, signer, request_id), len(envelope))
        except _REFUSED:
            raise
        except BaseException:
            self._owner.lost_track()
            raise

    def _append(self, standing: _Standing, envelope: bytes, signer: Signer, request_id: str | None) -> Ref:
        """Queue the next checkpoint. The lock is held."""
        records, ordinal = self._owner.records, standing.next_ordinal
        newest = None if standing.newest is None else standing.newest.index
        # The dictionary that this may queue is lost track of by whoever is interrupted here: see `lost_track`.
        sealed, state, made = records.seal_next(
            envelope, newest, standing.last.index, root=None if standing.is_fork else standing.number, ordinal=ordinal
        )
        if made is not None:
            self._owed.append(_Owed(made))
        request_tag = None if request_id is None else records.request_tag(standing.tag, request_id)
        if len(sealed.payload) > PAYLOAD_MAX:
            sealed = self._in_chunks(standing, sealed, signer)
        if request_tag is not None:
            self._requested = _with(self._requested, request_tag)
        self._standing = None
        here = records.append(
            records.link_kind,
            sealed,
            signer,
            tag=standing.tag,
            ordinal=ordinal,
            parent=standing.last,
            request_tag=request_tag,
        )
        # The one before is nobody's to follow but a fork's; one that was inherited may be followed by other forks.
        records.states.put(here.index, state, instead_of=newest if newest == standing.last.index else None)
        row = CheckpointMade(
            tier=records.tier,
            index=here.index,
            time_ms=here.time_ms,
            leaf=here.leaf,
            tag=standing.tag,
            ordinal=ordinal,
            request_tag=request_tag,
        )
        self._owed.append(_Owed(row, request_id))
        ref = self._ref(row)
        # The next checkpoint follows this one even while it is on its way to the disk: they become durable in order.
        self._standing = _Standing(
            number=standing.number,
            tag=standing.tag,
            last=here,
            next_ordinal=Ordinal(ordinal + 1),
            newest=ref,
            is_fork=standing.is_fork,
            writes=standing.writes,
        )
        return ref

    def _in_chunks(self, standing: _Standing, sealed: Sealed, signer: Signer) -> Sealed:
        """Queue the pieces of a payload that no record holds; gives what stands for it. The lock is held."""
        records = self._owner.records
        indices = []
        for piece in payload_codec.split(sealed.payload):
            chunk = records.append(Kind.CHUNK, records.seal(piece), signer, tag=standing.tag, ordinal=standing.next_ordinal)
            self._owed.append(_Owed(Other(tier=records.tier, index=chunk.index)))
            indices.append(chunk.index)
        return Sealed(payload_codec.in_chunks(sealed.payload, indices), sealed.commitment, sealed.length)

    def requested(self, request_id: str) -> Ref | None:
        """The checkpoint that was made for a request before; None: none was."""
        with self.lock:
            standing = self._stand()
            return None if standing is None else self._first(standing, request_id)

    def _first(self, standing: _Standing, request_id: str) -> Ref | None:
        """The checkpoint that was made for a request before. The lock is held."""
        for each in self._owed:
            if each.request_id == request_id and isinstance(each.row, CheckpointMade):
                return self._ref(each.row)
        records = self._owner.records
        request_tag = records.request_tag(standing.tag, request_id)
        if self._requested is not None and request_tag not in self._requested:
            return None
        found = self._owner.catalog.requested(number_of(records.tier, standing.number), request_tag)
        if found is None:
            return None
        made = records.entry_at(found.index)
        # Another request has the same tag once in 2**64. Where the checkpoint is gone, what it was asked for is not known
        # better.
        with suppress(Gone):
            if request_id_of(records.link_kind, records.read(found.index).envelope) != request_id:
                return None
        return ref_of(made, self.id) if made.entry.session_tag == standing.tag else None

    # ---- writes -----------------------------------------------------------------------------------------------------------

    def submit_writes(self, agent: str, request_id: str, envelopes: Sequence[bytes]) -> list[LogIndex]:
        """Queue the parts of what a task wrote towards the checkpoint after that of a request, one behind the other. Their
        indexes. Ended, NoSpace, ReadOnly, Poisoned: nothing was queued that counts."""
        records = self._owner.records
        try:
            sealed = [records.seal(each) for each in envelopes]
            with self.lock:
                signer = self._owner.signer_for(agent)
                standing = self._standing or self._stand()
                if standing is not None and standing.is_ended:
                    raise self._ended()
                if standing is None:
                    standing = self._begin(signer)
                request_tag = records.request_tag(standing.tag, request_id)
                self._written = _with(self._written, request_tag)
                queued: list[LogIndex] = []
                for each in sealed:
                    self._standing = None
                    ordinal = Ordinal(standing.writes)
                    index = records.append(
                        Kind.WRITES, each, signer, tag=standing.tag, ordinal=ordinal, request_tag=request_tag
                    ).index
                    row = WritesMade(tier=records.tier, index=index, tag=standing.tag, request_tag=request_tag, ordinal=ordinal)
                    self._owed.append(_Owed(row))
                    standing = self._standing = msgspec.structs.replace(standing, writes=ordinal + 1)
                    queued.append(index)
                return queued
        except _REFUSED:
            raise
        except BaseException:
            self._owner.lost_track()
            raise

    def has_no_writes(self, request_id: str) -> bool:
        """Whether there are certainly none of a request, which is known of a session that began here; False: look."""
        with self.lock:
            standing, written = self._standing, self._written
            if standing is None or written is None:
                return False
            return self._owner.records.request_tag(standing.tag, request_id) not in written

    def settle(self, index: LogIndex) -> None:
        """Tell the catalogue of every record up to `index`, which is durable: the first one to come notes for the others."""
        with self.lock:
            owed, durable = self._owed, 0
            while durable < len(owed) and owed[durable].row.index <= index:
                if self._closed is None:  # else it was erased meanwhile, and a row would bring its name back
                    self._owner.note(owed[durable].row)
                durable += 1
            del owed[:durable]

    # ---- beginning and ending ---------------------------------------------------------------------------------------------

    def fork(self, agent: str, *, forked_from: str, parent: Ref) -> LogIndex:
        """Queue the beginning of a session that goes on from a checkpoint of another. Conflict: it has begun already."""
        try:
            with self.lock:
                signer = self._owner.signer_for(agent)
                if self._stand() is not None:
                    raise Conflict(
                        f"there is a {self._owner.records.nouns.chain} {self.id!r} already",
                        op="fork",
                        path=self._owner.records.engine.path,
                        hint="give the fork an id that no session has",
                    )
                return self._begin(signer, forked_from=forked_from, parent=parent).number
        except _REFUSED:
            raise
        except BaseException:
            self._owner.lost_track()
            raise

    def _begin(
        self, signer: Signer, *, role: str | None = None, forked_from: str | None = None, parent: Ref | None = None
    ) -> _Standing:
        """Queue a session-begin record. The lock is held."""
        records, tag = self._owner.records, self._owner.draw_tag()
        role = self._owner.role_of(signer.name) if role is None else role
        names = session_schema.SessionBegin(session=self.id, agent=signer.name, role=role, forked_from=forked_from)
        first = Ordinal(0 if parent is None else parent.ordinal + 1)
        before = None if parent is None else Position(index=parent.index, leaf=parent.leaf, time_ms=parent.time_ms or TimeMs(0))
        sealed = records.seal(session_schema.encode_begin(names))
        begun = records.append(Kind.SESSION_BEGIN, sealed, signer, tag=tag, ordinal=first, parent=before)
        row = SessionBegan(
            tier=records.tier,
            index=begun.index,
            time_ms=begun.time_ms,
            leaf=begun.leaf,
            tag=tag,
            id=self.id,
            agent=signer.name,
            role=role,
            forked_from=forked_from,
            parent=None if parent is None else parent.index,
            first_ordinal=first,
        )
        self._owed.append(_Owed(row))
        self.lineage.begun(tag)
        self._requested, self._written = set(), set()
        return _Standing(number=begun.index, tag=tag, last=begun, next_ordinal=first, newest=parent, is_fork=parent is not None)

    def end(self, agent: str, reason: str | None) -> LogIndex | None:
        """Queue the end of the session; None if it was ended, durably, before. NotFound: it never began."""
        envelope = session_schema.encode_end(session_schema.SessionEnd(reason=reason))
        records = self._owner.records
        try:
            with self.lock:
                signer = self._owner.signer_for(agent)
                standing = self._stand(ends=True)
                if standing is None:
                    raise NotFound(
                        f"there is no {records.nouns.chain} {self.id!r} to end",
                        op="end",
                        path=records.engine.path,
                        hint="it has no checkpoint yet",
                    )
                if standing.is_ended:
                    # Somebody else's, on its way perhaps: then it is waited for here as well.
                    return next((each.row.index for each in self._owed if isinstance(each.row, SessionEnded)), None)
                self._standing = None
                here = records.append(
                    Kind.SESSION_END,
                    records.seal(envelope),
                    signer,
                    tag=standing.tag,
                    ordinal=standing.next_ordinal,
                    parent=standing.last,
                )
                self._owed.append(_Owed(SessionEnded(tier=records.tier, index=here.index, tag=standing.tag)))
                self._standing = msgspec.structs.replace(standing, last=here, is_ended=True)
                return here.index
        except _REFUSED:
            raise
        except BaseException:
            self._owner.lost_track()
            raise

    def look_again(self) -> None:
        """Ask anew, at the next record, whether the session may go on: an incident was opened or closed. What was queued before
        is in the engine when this returns."""
        with self.lock:
            self._standing = None
            self._owner.lost_track()  # what is queued and not noted yet would be missing from where it stands

    def stamp(self) -> Stamp | None:
        """Where the session stands, if that is known and nothing is on its way; None: look."""
        with self.lock:
            standing = self._standing
            if standing is None or self._owed or self._closed is not None:
                return None
            return Stamp(standing.number, standing.last.index, Ordinal(standing.next_ordinal - 1), standing.writes)

    def close(self, why: Erased | None) -> None:
        """Take nothing more, and say why; None: do so again. What was queued before is in the engine when this returns."""
        with self.lock:
            self._closed = why
            self._standing = None

    # ---- within -----------------------------------------------------------------------------------------------------------

    def _stand(self, *, ends: bool = False) -> _Standing | None:
        """Where the session stands; None if it has not begun. The lock is held. Erased: it takes nothing more. IncidentOpen:
        not now, unless it `ends`. Only asked when the chain does not stand, so that a checkpoint does not pay for it."""
        if self._closed is not None:
            raise self._closed
        if self._standing is not None:
            return self._standing
        if not ends:
            self._owner.demand_no_incident(self.id)
        found = self.lineage.newest()
        if found is None:
            return None
        last = Position(index=found.last_index, leaf=found.last_leaf, time_ms=found.last_ms)
        newest: Ref | None = None
        if found.last_ordinal is not None:
            newest = Ref(
                tier=self._owner.records.tier,
                index=found.last_index,
                leaf=found.last_leaf,
                ordinal=found.last_ordinal,
                session=self.id,
                time_ms=found.last_ms,
            )
        elif found.first_ordinal > 0:
            newest = self.lineage.ref(found, found.first_ordinal - 1)
        self._standing = _Standing(
            number=found.begun,
            tag=found.tag,
            last=last,
            next_ordinal=Ordinal(found.first_ordinal if found.last_ordinal is None else found.last_ordinal + 1),
            newest=newest,
            is_fork=found.parent is not None,
            writes=found.writes,
            is_ended=found.ended is not None,
        )
        return self._standing

    def _ref(self, row: CheckpointMade) -> Ref:
        return Ref(tier=row.tier, index=row.index, leaf=row.leaf, ordinal=row.ordinal, session=self.id, time_ms=row.time_ms)

    def _ended(self) -> Ended:
        nouns = self._owner.records.nouns
        return Ended(
            f"{nouns.chain} {self.id!r} was ended, and takes no more {nouns.link}s",
            op="checkpoint",
            path=self._owner.records.engine.path,
            hint="go on in a fork of it: session.fork(new_id)",
        )

    def _demand_expected(self, expect: Ref, standing: _Standing | None) -> None:
        newest, link = None if standing is None else standing.newest, self._owner.records.nouns.link
        if expect is NO_CHECKPOINT:
            if newest is None:
                return
            wanted = f"no {link}"
        else:
            if newest is not None and (newest.index, newest.leaf) == (expect.index, expect.leaf):
                return
            wanted = f"{link} {expect.ordinal} at record {expect.index}"
        self._refuse(wanted, newest)

    def _refuse(self, wanted: str, newest: Ref | None) -> NoReturn:
        nouns = self._owner.records.nouns
        found = "none" if newest is None else f"{nouns.link} {newest.ordinal} at record {newest.index}"
        error = Conflict(
            f"{nouns.chain} {self.id!r} has moved on: {wanted} was expected to be its newest, and {found} is",
            op="checkpoint",
            path=self._owner.records.engine.path,
            hint="read latest() again and decide on what it says",
        )
        error.newest = newest
        raise error


def _with(tags: set[bytes] | None, tag: bytes) -> set[bytes] | None:
    """A set of request tags that knows one more; None where it does not know all."""
    if tags is None or len(tags) >= REQUESTS_MAX:
        return None
    tags.add(tag)
    return tags
