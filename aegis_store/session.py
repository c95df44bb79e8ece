"""A session: one agent conversation or run, as a line of checkpoints.

Each checkpoint names the one before it by index and leaf hash, under the session's random tag and its agent's signature. So
none can be moved to another session or place, left out, or put twice. How it is written: `chain`; how it is found and believed:
`lineage`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Final, Protocol

import msgspec

from aegis_store.autosave import Autosave, Autosaver
from aegis_store.calls import Calls
from aegis_store.catalog import SessionRecord
from aegis_store.chain import Chain, Pending, Stamp
from aegis_store.checkpoint import Checkpoint, milliseconds, moment
from aegis_store.codec import canonical
from aegis_store.erasure import WAIT_SECONDS, Erasure
from aegis_store.errors import InvalidArgument
from aegis_store.holding import HoldInfo
from aegis_store.keeping import Keeping
from aegis_store.lineage import GapInfo, Place, last_ordinal
from aegis_store.lineage import Owner as LineageOwner
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.schema import writes as writes_schema
from aegis_store.schema.writes import Part, Writes
from aegis_store.types import LogIndex, MemoryPointer, Ref, TimeMs
from aegis_store.write_once import demand_no_subject


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One line about a session. `checkpoints` counts what it inherited too; `agent` and `role` are those that began it."""

    id: str
    agent: str
    role: str | None
    checkpoints: int
    created_at: datetime
    changed_at: datetime
    is_open: bool
    forked_from: str | None


def session_info(found: SessionRecord) -> SessionInfo:
    """What the catalogue knows of a session, as people read it."""
    return SessionInfo(
        id=found.id,
        agent=found.agent,
        role=found.role,
        checkpoints=last_ordinal(found) + 1,
        created_at=moment(found.created_ms),
        changed_at=moment(found.last_ms),
        is_open=found.ended is None,
        forked_from=found.forked_from,
    )


class Owner(LineageOwner, Protocol):
    """What a session needs of the store that it belongs to."""

    @property
    def autosaver(self) -> Autosaver:
        """What saves sessions by a timer."""
        ...

    @property
    def keeping(self) -> Keeping:
        """What stays in it and what goes."""
        ...

    def session(self, session_id: str, *, agent: str | None = None) -> Session:
        """Another session."""
        ...


class Session:
    """One session of an open store, made by `Store.session`, for any number of threads: their checkpoints form one chain."""

    def __init__(self, owner: Owner, chain: Chain, agent: str) -> None:
        self.id: Final = chain.id
        self.agent: Final = agent
        self._owner = owner
        self._chain = chain
        #: Tool calls that happen once.
        self.calls: Final = Calls(self, chain, owner.types)

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
        expect: Ref | None = None,
        request_id: str | None = None,
    ) -> Ref:
        """Save a state; it is durable when this returns.

        `expect` is the checkpoint that must be the newest (`NO_CHECKPOINT`: there must be none), else Conflict. `request_id`
        makes a retry safe: where the session has a checkpoint of that request already, its reference is returned and nothing is
        stored.

        Raises StateTypeError (a value that cannot be stored exactly, named by its path), StateTooLarge, Conflict, Ended,
        NoSpace, ReadOnly: nothing was stored. OutcomeUnknown, Poisoned: close the store, open it again and repeat the request.
        Corrupt: damage hides where the session stands.
        """
        pending = self.submit(
            state,
            position=position,
            claims=claims,
            memory_pointer=memory_pointer,
            approvals=approvals,
            last_tool_call=last_tool_call,
            metadata=metadata,
            expect=expect,
            request_id=request_id,
        )
        self.land(pending.ref.index)
        return pending.ref

    def submit(
        self,
        state: object,
        *,
        position: object = None,
        claims: Mapping[str, object] | None = None,
        memory_pointer: MemoryPointer | None = None,
        approvals: Sequence[object] | None = None,
        last_tool_call: Mapping[str, object] | None = None,
        metadata: Mapping[str, object] | None = None,
        expect: Ref | None = None,
        request_id: str | None = None,
        replace: bool = False,
        role: str | None = None,
    ) -> Pending:
        """The first half of `checkpoint`: queue it. It is not durable yet; once it is, `settle` it.

        With `replace` a checkpoint of a request that there is already takes its place: `requested` finds the newest. `role` is
        what the session is for, where this begins it; else what the options say of its agent."""
        self._owner.check_open()
        envelope = checkpoint_schema.encode(
            checkpoint_schema.Checkpoint(
                position=position,
                claims=claims,
                memory_pointer=memory_pointer,
                approvals=approvals,
                last_tool_call=last_tool_call,
                metadata=metadata,
                request_id=request_id,
                state=state,
            ),
            types=self._owner.types,
        )
        records = self._owner.records
        if len(envelope) > records.state_limit_bytes:
            records.demand_limit(len(canonical.encode(state, types=self._owner.types)))
        return self._chain.submit(self.agent, envelope, expect=expect, request_id=request_id, replace=replace, role=role)

    def submit_plain(
        self,
        pieces: Sequence[bytes],
        *,
        position: str,
        metadata: dict[str, object],
        request_id: str,
        replace: bool = False,
    ) -> Pending:
        """`submit` for adapters whose state is bytes, in pieces, and who have made the rest of plain values themselves: see
        `schema.checkpoint.encode_plain`. Errors as of `checkpoint`."""
        self._owner.check_open()
        records = self._owner.records
        records.demand_limit(sum(map(len, pieces)))
        try:
            envelope = checkpoint_schema.encode_plain(position, metadata, request_id, pieces)
        except TypeError:  # a name that is no UTF-8, say: then it is looked at
            state = b"".join(pieces)
            return self.submit(state, position=position, metadata=metadata, request_id=request_id, replace=replace)
        return self._chain.submit(self.agent, envelope, expect=None, request_id=request_id, replace=replace)

    def write(self, writes: Writes, *, recall: MutableMapping[int, Part] | None = None) -> None:
        """Keep what a task has done towards the checkpoint after that of a request, before there is one; durable when this
        returns. It goes when the checkpoint of that request goes. Errors as of `checkpoint`."""
        self.land(self.submit_write(writes, recall=recall))

    def submit_write(self, writes: Writes, *, recall: MutableMapping[int, Part] | None = None) -> LogIndex:
        """The first half of `write`: the record that is to be durable before it is settled. `recall` gets what `writes` then
        need not read."""
        self._owner.check_open()
        parts = writes_schema.parts_of(writes)
        self._owner.records.demand_limit(sum(len(part.body) for part in parts), "writes of a task")
        envelopes = [writes_schema.encode_part(part) for part in parts]
        indexes = self._chain.submit_writes(self.agent, writes.request_id, envelopes)
        if recall is not None:
            for index, part in zip(indexes, parts, strict=True):
                recall[index] = part
        return indexes[-1]

    def settle(self, index: LogIndex) -> None:
        """The second half of `checkpoint`, `write`, `fork`, `end`: record `index` is durable, and lookups know from here on."""
        self._chain.settle(index)

    def every(self, get_state: Callable[[], object], *, interval: int | str | None = None) -> Autosave:
        """Save by a timer what `get_state()` gives, a state or a `Snapshot`, where it has changed; and a last time at the end:
        `with session.every(get_state): …`.

        `interval` is whole seconds or text such as "1m"; that of the options for the agent's role, if it is left out.
        `get_state` is called in the timer's thread, one thread for all sessions of a store: it should be quick, and give what
        nobody changes meanwhile. `Autosave.changed` hurries, `Autosave.save` saves at once.
        """
        return self.autosaver.watch(self, get_state, interval=interval)

    @property
    def autosaver(self) -> Autosaver:
        """What saves sessions by a timer in this store."""
        return self._owner.autosaver

    def land(self, index: LogIndex) -> None:
        """Wait until what was submitted is durable, up to record `index`, and settle it."""
        try:
            self._owner.records.commit(index)
            self._chain.settle(index)
        except BaseException:
            self._owner.lost_track()
            raise

    def fork(self, new_id: str, *, at: Ref | None = None) -> Session:
        """A new session that goes on from a checkpoint of this one, its newest or `at`; durable when this returns.

        What came before is shared, not copied: ordinals go on, and the fork's `history` leads into this session's.
        Conflict: there is a session of that id. NotFound: this one has no such checkpoint.
        """
        fork, begun = self.submit_fork(new_id, at=at)
        fork.land(begun)
        return fork

    def submit_fork(self, new_id: str, *, at: Ref | None = None) -> tuple[Session, LogIndex]:
        """The first half of `fork`: the new session, and the record that is to be durable before it is settled there."""
        self._owner.check_open()
        fork = self._owner.session(new_id, agent=self.agent)
        self._owner.demand_no_incident(self.id)  # a fork would go on from what is evidence
        with self._owner.keeping.going:  # from the look at it on, what it goes on from is not to go
            found = self._chain.lineage.newest()
            last = -1 if found is None else last_ordinal(found)
            ordinal = last if at is None else at.ordinal
            if found is None or not 0 <= ordinal <= last:
                raise self._chain.lineage.missing(found, max(ordinal, 0))
            parent = self._chain.lineage.checkpoint(found, ordinal).ref
            if at is not None and (at.index, at.leaf) != (parent.index, parent.leaf):
                raise InvalidArgument(
                    f"`at` is record {at.index}, and checkpoint {at.ordinal} of session {self.id!r} is record {parent.index}",
                    op="fork",
                )
            return fork, fork._chain.fork(self.agent, forked_from=self.id, parent=parent)

    def end(self, *, reason: str | None = None) -> None:
        """Take no more checkpoints; durable when this returns. What is there can be read, and forked. Ending twice is once."""
        ended = self.submit_end(reason=reason)
        if ended is not None:
            self.land(ended)

    def submit_end(self, *, reason: str | None = None) -> LogIndex | None:
        """The first half of `end`: the record that is to be durable before it is settled; None: it was ended before."""
        self._owner.check_open()
        return self._chain.end(self.agent, reason)

    # ---- what stays and what goes -----------------------------------------------------------------------------------------

    def hold(self, *, reason: str, holder: str, ordinal: int | None = None) -> HoldInfo:
        """Let nothing of the session go, or of one checkpoint of it, until `Store.release`; durable when this returns.

        A hold on a fork keeps what it inherited, too. Nothing overrides a hold: retention leaves out what is held, erasure
        refuses."""
        self._owner.check_open()
        found = self._chain.lineage.newest()
        if found is None:
            demand_no_subject(self._owner.catalog, self.id, op="hold", path=self._owner.records.engine.path)
            raise self._chain.lineage.missing(found, 0)
        return self._owner.keeping.holds.place(found, reason=reason, holder=holder, ordinal=ordinal)

    def holds(self) -> list[HoldInfo]:
        """The holds of the session that stand, oldest first."""
        self._owner.check_open()
        return self._owner.keeping.holds.infos(self.id)

    def erase(self, *, reason: str, by: str | None = None, forks: bool = False, wait_seconds: float = WAIT_SECONDS) -> Erasure:
        """Erase the session: when this returns no file of the store holds its text or its names.

        What stays is that there was one: entries without content, which keep every root and proof, and an erase record of who
        (`by`, or the session's agent), why, and which records. `forks` that went on from it still hold the text: they are
        named, or with `forks=True` erased as well. Processes that still have an old file open after `wait_seconds` are named
        too.

        NotFound: there is no such session. Held: it is held, and nothing was erased. Once the erase record is written the
        erasure goes on after a crash, at the next open.
        """
        self._owner.check_open()
        signer = self.agent if by is None else by
        return self._owner.keeping.eraser.session(self.id, reason=reason, by=signer, forks=forks, wait_seconds=wait_seconds)

    # ---- reading ----------------------------------------------------------------------------------------------------------

    def info(self) -> SessionInfo | None:
        """One line about the session; None if it has not begun."""
        found = self._chain.lineage.newest()
        return None if found is None else session_info(found)

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint, every check made; None if there is none. In a fork without its own, the one that it goes on
        from.

        Raises Corrupt, BadSignature, Foreign: it is damaged. Erased: somebody had it erased. An older one is never given in its
        place; ask `history` for it.
        """
        found = self._chain.lineage.newest()
        last = -1 if found is None else last_ordinal(found)
        return None if found is None or last < 0 else self._chain.lineage.checkpoint(found, last)

    def get(self, ordinal: int) -> Checkpoint:
        """The checkpoint of that ordinal, from 0, every check made. NotFound: there is none. Pruned, Erased: there was."""
        lineage = self._chain.lineage
        found = lineage.look()
        if found is None or not 0 <= ordinal <= last_ordinal(found):
            lineage.demand_newest(found)
            raise lineage.missing(found, ordinal)
        return lineage.checkpoint(found, ordinal)

    def requested(self, request_id: str) -> Checkpoint | None:
        """The newest checkpoint that a request made in this session, every check made; None if there is none. Pruned, Erased:
        there was."""
        place = self.find(request_id)
        found = None if place is None else self.read(place)
        # Another request has the same tag once in 2**64.
        return found if found is not None and found.request_id == request_id else None

    def writes(self, request_id: str, *, recall: MutableMapping[int, Part] | None = None) -> list[Writes]:
        """What tasks wrote towards the checkpoint after that of a request, in the order in which it came, every check made; not
        what went with that checkpoint. What `recall` holds, by record, is not read again; what is read, it gets."""
        return self._chain.lineage.writes(request_id, recall)

    def has_no_writes(self, request_id: str) -> bool:
        """Whether `writes` certainly finds nothing; False: look."""
        return not self._owner.records.suspects and self._chain.has_no_writes(request_id)

    def find(self, request_id: str) -> Place | None:
        """Where the newest checkpoint is that a request made in this session: for `read`, or to see that it was read before.
        None: there is none."""
        return self._chain.lineage.find(request_id)

    def stamp(self) -> Stamp | None:
        """Changes with everything that this process puts into the session, and with what takes it away as a whole; for whoever
        remembers what was read. None: nothing is known, or something is on its way. A reader knows nothing."""
        return None if self._owner.records.suspects else self._chain.stamp()

    def places(self, *, before: int | None = None, limit: int = 64) -> list[Place]:
        """Where the session's own checkpoints are, newest first, those that were pruned or erased too: at most `limit`; with
        `before`, those with a lower ordinal."""
        return self._chain.lineage.places(before=before, limit=limit)

    def read(self, place: Place) -> Checkpoint:
        """The checkpoint at a place, every check made. Pruned, Erased: there was one."""
        return self._chain.lineage.at_place(place)

    def gaps(self) -> list[GapInfo]:
        """Which checkpoints were pruned or erased, inherited ones too, oldest first: runs of them, with why and since when."""
        found = self._chain.lineage.newest()
        return [] if found is None else self._chain.lineage.gaps(found)

    def at(self, when: datetime) -> Checkpoint | None:
        """The newest checkpoint of that time or before, every check made; None if all are later. Where that one was pruned, the
        newest before it that was not: its `created_at` says which.

        The time of a checkpoint is the store's, when it was committed, and never goes back in a session. `when` must be aware:
        a naive datetime is an InvalidArgument.
        """
        if when.utcoffset() is None:
            raise InvalidArgument(
                f"{when!r} says no time zone",
                op="read",
                hint="say which: when.replace(tzinfo=datetime.UTC), or when.astimezone()",
            )
        lineage = self._chain.lineage
        found = lineage.look()
        ordinal = -1 if found is None else lineage.last_until(found, TimeMs(milliseconds(when)))
        if found is None or ordinal == last_ordinal(found):
            lineage.demand_newest(found)  # a later one may be hidden
        return None if found is None else next(lineage.descend(found, ordinal), None)

    def history(self, *, limit: int | None = None, before: int | None = None) -> Iterator[Checkpoint]:
        """Checkpoints, newest first, each checked when it comes: at most `limit`; with `before`, those with a lower ordinal.
        Those that were pruned or erased are left out.

        Damage raises where it lies; a new call may go on before it.
        """
        if limit is not None and limit < 0:
            raise InvalidArgument(f"limit is {limit}", op="history")
        return self._history(limit, before)

    def _history(self, limit: int | None, before: int | None) -> Iterator[Checkpoint]:
        lineage = self._chain.lineage
        found = lineage.newest() if before is None else lineage.look()
        if found is None:
            return
        last = last_ordinal(found)
        due = last if before is None else min(before - 1, last)
        yield from islice(lineage.descend(found, due), limit)
