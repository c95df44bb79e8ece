"""A session for tasks: `aegis_store.Session` as coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, MutableMapping, Sequence
from datetime import datetime
from functools import partial
from typing import Final

from aegis_store import session as sync
from aegis_store.aio.autosave import Autosave
from aegis_store.aio.calls import Calls
from aegis_store.aio.landing import Landings
from aegis_store.aio.turns import in_thread_to_its_end, turn_by_turn
from aegis_store.chain import Pending
from aegis_store.checkpoint import Checkpoint
from aegis_store.erasure import WAIT_SECONDS, Erasure
from aegis_store.holding import HoldInfo
from aegis_store.lineage import GapInfo, Place
from aegis_store.schema.writes import Part, Writes
from aegis_store.session import SessionInfo
from aegis_store.types import MemoryPointer, Ref

#: After a state that took more than this, the session's next one is encoded in a thread.
SUBMIT_IN_LOOP_BYTES: Final = 1 << 20


class Session:
    """One session of an open store, made by `Store.session`, for any number of tasks, loops and threads.

    Everything is as in `aegis_store.Session`, but for what is said here.
    """

    def __init__(self, landings: Landings, session: sync.Session) -> None:
        self._landings = landings
        self._session = session
        self._is_large = False
        #: Tool calls that happen once.
        self.calls: Final = Calls(session.calls)

    @property
    def id(self) -> str:
        """Unique in the store."""
        return self._session.id

    @property
    def agent(self) -> str:
        """Who signs what is written."""
        return self._session.agent

    def __repr__(self) -> str:
        return f"aio.Session({self.id!r})"

    # ---- writing ----------------------------------------------------------------------------------------------------------

    async def checkpoint(
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

        A task that is cancelled in here has saved it once or not at all; a `request_id` tells, when it is given again.
        Checkpoints of one session follow each other in the order of the calls, but for states above a megabyte.
        """
        submit = partial(
            self._session.submit,
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
        return (await self.landed(submit)).ref

    async def landed(self, submit: Callable[[], Pending]) -> Pending:
        """What `submit` has queued, by `aegis_store.Session.submit`, once it is durable."""
        await self._landings.enrolled(self.agent)
        if self._is_large:
            pending = await self._landings.here().submit_in_thread(submit, self._session.settle)
        else:
            pending, landed = self._submit(submit)
            await landed
        self._is_large = pending.length > SUBMIT_IN_LOOP_BYTES
        return pending

    def every(self, get_state: Callable[[], object], *, interval: int | str | None = None) -> Autosave:
        """Save by a timer what `get_state()` gives, a coroutine function or a plain one, where it has changed; and a last
        time at the end: `async with session.every(get_state): …`. A task does it, not a thread.
        """
        return Autosave(self._session.autosaver, self, get_state, interval=interval)

    # In those of these that begin with `_submit` there is no await: what is queued is waited for whatever becomes of the task.

    def _submit(self, submit: Callable[[], Pending]) -> tuple[Pending, asyncio.Future[None]]:
        landing = self._landings.here()
        pending = submit()
        return pending, landing.wait_for(pending.ref.index, partial(self._session.settle, pending.ref.index))

    def _submit_fork(self, new_id: str, at: Ref | None) -> tuple[Session, asyncio.Future[None]]:
        landing = self._landings.here()
        fork, begun = self._session.submit_fork(new_id, at=at)
        return Session(self._landings, fork), landing.wait_for(begun, partial(fork.settle, begun))

    def _submit_end(self, reason: str | None) -> asyncio.Future[None] | None:
        landing = self._landings.here()
        ended = self._session.submit_end(reason=reason)
        return None if ended is None else landing.wait_for(ended, partial(self._session.settle, ended))

    def _submit_write(self, writes: Writes, recall: MutableMapping[int, Part] | None) -> asyncio.Future[None]:
        landing = self._landings.here()
        index = self._session.submit_write(writes, recall=recall)
        return landing.wait_for(index, partial(self._session.settle, index))

    async def write(self, writes: Writes, *, recall: MutableMapping[int, Part] | None = None) -> None:
        """Keep what a task has done towards the checkpoint after that of a request; durable when this returns."""
        await self._landings.enrolled(self.agent)
        await self._submit_write(writes, recall)

    async def fork(self, new_id: str, *, at: Ref | None = None) -> Session:
        """A new session that goes on from a checkpoint of this one, its newest or `at`; durable when this returns."""
        await self._landings.enrolled(self.agent)
        fork, landed = self._submit_fork(new_id, at)
        await landed
        return fork

    async def end(self, *, reason: str | None = None) -> None:
        """Take no more checkpoints; durable when this returns."""
        await self._landings.enrolled(self.agent)
        landed = self._submit_end(reason)
        if landed is not None:
            await landed

    # ---- what stays and what goes: in a thread ----------------------------------------------------------------------------

    async def hold(self, *, reason: str, holder: str, ordinal: int | None = None) -> HoldInfo:
        """Let nothing of the session go, or of one checkpoint of it, until `Store.release`; durable when this returns."""
        return await in_thread_to_its_end(partial(self._session.hold, reason=reason, holder=holder, ordinal=ordinal))

    async def holds(self) -> list[HoldInfo]:
        """The holds of the session that stand, oldest first."""
        return self._session.holds()

    async def erase(
        self, *, reason: str, by: str | None = None, forks: bool = False, wait_seconds: float = WAIT_SECONDS
    ) -> Erasure:
        """Erase the session. A task that is cancelled in here waits for the end all the same: nothing is left half done."""
        await self._landings.landed()
        return await in_thread_to_its_end(
            partial(self._session.erase, reason=reason, by=by, forks=forks, wait_seconds=wait_seconds)
        )

    # ---- reading ----------------------------------------------------------------------------------------------------------

    async def info(self) -> SessionInfo | None:
        """One line about the session; None if it has not begun."""
        return self._session.info()

    async def latest(self) -> Checkpoint | None:
        """The newest checkpoint, every check made; None if there is none."""
        return self._session.latest()

    async def get(self, ordinal: int) -> Checkpoint:
        """The checkpoint of that ordinal, from 0, every check made."""
        return self._session.get(ordinal)

    async def requested(self, request_id: str) -> Checkpoint | None:
        """The newest checkpoint that a request made in this session, every check made; None if there is none."""
        return self._session.requested(request_id)

    async def writes(self, request_id: str, *, recall: MutableMapping[int, Part] | None = None) -> list[Writes]:
        """What tasks wrote towards the checkpoint after that of a request, in the order in which it came."""
        return self._session.writes(request_id, recall=recall)

    async def find(self, request_id: str) -> Place | None:
        """Where the newest checkpoint is that a request made in this session; None: there is none."""
        return self._session.find(request_id)

    async def places(self, *, before: int | None = None, limit: int = 64) -> list[Place]:
        """Where the session's own checkpoints are, newest first, those that were pruned or erased too."""
        return self._session.places(before=before, limit=limit)

    async def read(self, place: Place) -> Checkpoint:
        """The checkpoint at a place, every check made."""
        return self._session.read(place)

    async def gaps(self) -> list[GapInfo]:
        """Which checkpoints were pruned or erased, inherited ones too, oldest first: runs of them, with why and since when."""
        return self._session.gaps()

    async def at(self, when: datetime) -> Checkpoint | None:
        """The newest checkpoint of that time or before, every check made; None if all are later."""
        return self._session.at(when)

    def history(self, *, limit: int | None = None, before: int | None = None) -> AsyncIterator[Checkpoint]:
        """Checkpoints, newest first, each checked when it comes; other tasks have a turn between two."""
        return turn_by_turn(self._session.history(limit=limit, before=before))
