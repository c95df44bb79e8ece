"""Where the tasks of one event loop wait for their records to land.

    submit ──▶ wait_for(index) ──▶ one request for all that a turn of the loop has queued ──▶ the background thread leads
                                                                                                   │
    task goes on ◀── settle, resolve ◀── the loop finds the descriptor readable ◀──────────────────┘

No thread is spent on a call, and no call is lost: what was queued lands whatever becomes of the task that queued it, and it
is the loop that settles it, not the task. A `Landing` belongs to its loop, which holds it by the descriptor that it watches,
and is gone when that is closed; what was on its way then is looked for in the log (`lost_track`).
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable
from contextlib import suppress
from heapq import heappop, heappush
from itertools import count
from typing import Final, NamedTuple

from aegis_store._engine import Watcher
from aegis_store.chain import Pending
from aegis_store.errors import AegisError, Closed
from aegis_store.store import Store
from aegis_store.types import LogIndex, Tier

#: A turn of the loop that queues more than that asks in between: the first of many should not wait for the last.
REQUEST_RECORDS: Final = 64


class _Waiting(NamedTuple):
    """A record on its way; the number keeps two of one index, which a repeated request makes, from being compared further."""

    record: LogIndex
    number: int
    settle: Callable[[], None]
    landed: asyncio.Future[None]


class _OnWay:
    """How many calls have queued a record, or may, that has not landed."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Landing:
    """One event loop's wait for the records of one tier of a store, for the loop's thread alone."""

    def __init__(self, store: Store, loop: asyncio.AbstractEventLoop, tier: Tier) -> None:
        self._store: Final = store
        self._tier: Final = tier
        self._watcher: Final = Watcher(store.records.engine)
        self._waiting: Final[list[_Waiting]] = []
        self._numbers: Final = count()
        self._last = LogIndex(-1)
        self._unasked = 0
        # Not the waits themselves: they lead to tasks, and those may lead back to here.
        self._on_way: Final = _OnWay()
        weakref.finalize(self, _let_go, store, self._on_way).atexit = False
        loop.add_reader(self._watcher.fd, self._look)

    @property
    def ended(self) -> bool:
        """Whether the store is gone, and every wait was answered."""
        return self._watcher.closed

    # ---- waiting ----------------------------------------------------------------------------------------------------------

    def wait_for(self, index: LogIndex, settle: Callable[[], None]) -> asyncio.Future[None]:
        """A future that is done when the record has landed; `settle` is called before, also where the future was cancelled.

        It raises what `Engine.commit` would: OutcomeUnknown.
        """
        landed = asyncio.get_running_loop().create_future()
        self._on_way.count += 1
        self._expect(index, settle, landed)
        return landed

    def submit_in_thread(self, submit: Callable[[], Pending], settle: Callable[[LogIndex], None]) -> asyncio.Future[Pending]:
        """Runs `submit` in a thread and waits for what it has queued; whatever becomes of the task, as above."""
        loop = asyncio.get_running_loop()
        landed: asyncio.Future[Pending] = loop.create_future()
        self._on_way.count += 1

        def work() -> None:
            try:
                pending = submit()
            except BaseException as error:
                self._hand_over(loop, self._refused, landed, error)
            else:
                self._hand_over(loop, self._queued, pending, settle, landed)

        loop.run_in_executor(None, work)
        return landed

    async def all_landed(self) -> None:
        """Return when what is on its way now has landed, or failed."""
        if self._waiting:
            with suppress(AegisError):
                await self.wait_for(max(each.record for each in self._waiting), lambda: None)

    def _expect(self, index: LogIndex, settle: Callable[[], None], landed: asyncio.Future[None]) -> None:
        heappush(self._waiting, _Waiting(index, next(self._numbers), settle, landed))
        self._last = max(self._last, index)
        self._unasked += 1
        if self._unasked >= REQUEST_RECORDS:
            self._ask()
        elif self._unasked == 1:
            asyncio.get_running_loop().call_soon(self._ask)

    # ---- from a thread ----------------------------------------------------------------------------------------------------

    def _hand_over(self, loop: asyncio.AbstractEventLoop, take: Callable[..., None], *what: object) -> None:
        try:
            loop.call_soon_threadsafe(take, *what)
        except RuntimeError:  # the loop is closed
            self._store.lost_track()

    def _queued(self, pending: Pending, settle: Callable[[LogIndex], None], landed: asyncio.Future[Pending]) -> None:
        index = pending.ref.index
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def hand_on(done: asyncio.Future[None]) -> None:
            error = done.exception()
            if landed.done():
                return
            if error is None:
                landed.set_result(pending)
            else:
                landed.set_exception(error)

        done.add_done_callback(hand_on)
        self._expect(index, lambda: settle(index), done)

    def _refused(self, landed: asyncio.Future[Pending], error: BaseException) -> None:
        self._on_way.count -= 1
        if not landed.done():
            landed.set_exception(error)
        self._look()  # the store may be gone, and only this was waited for

    # ---- being told -------------------------------------------------------------------------------------------------------

    def _ask(self) -> None:
        if self._unasked == 0:
            return  # it was asked for in between
        self._unasked = 0
        try:
            self._watcher.request(self._tier, self._last)
        except Closed:
            self._look()  # closing commits what is queued: it has told, or will
        except AegisError as error:
            self._fail(error)

    def _look(self) -> None:
        """The descriptor is readable."""
        if self._watcher.closed:
            return
        try:
            landed = self._watcher.look()
        except AegisError as error:
            self._fail(error)
            return
        while self._waiting and landed.answers(self._tier, self._waiting[0].record):
            each = self._pop()
            failure = self._watcher.result(self._tier, each.record)
            if failure is None:
                self._settle(each)
            else:
                self._store.lost_track()
            _resolve(each.landed, failure)
        if landed.closed and self._on_way.count == 0:
            self._end()

    def _pop(self) -> _Waiting:
        self._on_way.count -= 1
        return heappop(self._waiting)

    def _settle(self, each: _Waiting) -> None:
        """The record is durable, so nothing here fails the call that made it."""
        try:
            each.settle()
        except AegisError:
            self._store.lost_track()

    def _fail(self, error: AegisError) -> None:
        """No answer will come: in a forked child there is nobody to give one."""
        while self._waiting:
            _resolve(self._pop().landed, error)
        self._store.lost_track()
        self._end()

    def _end(self) -> None:
        # Before it is closed: the number may be another file's at once.
        asyncio.get_running_loop().remove_reader(self._watcher.fd)
        self._watcher.close()


def _resolve(landed: asyncio.Future[None], error: AegisError | None) -> None:
    if landed.done():
        return  # the task was cancelled
    if error is None:
        landed.set_result(None)
    else:
        landed.set_exception(error)


def _let_go(store: Store, on_way: _OnWay) -> None:
    """The loop is gone, and nobody settles what was on its way."""
    if on_way.count:
        store.lost_track()


class Landings:
    """The landings of one tier of a store, one a loop. Any number of threads may ask, each for the loop that it runs."""

    def __init__(self, store: Store, tier: Tier = Tier.SESSION) -> None:
        self._store: Final = store
        self._tier: Final = tier
        # Held by the loop alone: a reference from here would keep it alive, and with it what it holds.
        self._by_loop: Final[weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, weakref.ref[Landing]]] = (
            weakref.WeakKeyDictionary()
        )
        self._enrolled: Final[set[str]] = set()
        # One for all tasks of a loop; as long as it takes.
        self._enrolling: Final[dict[tuple[asyncio.AbstractEventLoop, str], asyncio.Task[None]]] = {}

    def here(self) -> Landing:
        """That of the running loop. ReadOnly, Closed, UsedAfterFork, OutOfResources."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # none: this may be a forked child, and that is what is wrong then
            self._store.check_open()
            raise
        known = self._by_loop.get(loop)
        landing = None if known is None else known()
        if landing is None or landing.ended:
            landing = Landing(self._store, loop, self._tier)
            self._by_loop[loop] = weakref.ref(landing)
        return landing

    async def landed(self) -> None:
        """Return when what the running loop has on its way has landed, or failed."""
        known = self._by_loop.get(asyncio.get_running_loop())
        landing = None if known is None else known()
        if landing is not None and not landing.ended:
            await landing.all_landed()

    async def enrolled(self, agent: str) -> None:
        """Return once the log allows the agent's key. The first time that takes a key file and a commit, in a thread."""
        if agent in self._enrolled:
            return
        self._store.check_open()  # in a forked child no loop runs, and that would be the error
        loop = asyncio.get_running_loop()
        work = self._enrolling.get((loop, agent))
        if work is None:
            work = self._enrolling[loop, agent] = loop.create_task(self._enrol(loop, agent))
            work.add_done_callback(lambda done: done.cancelled() or done.exception())  # heard, if by nobody else
        await asyncio.shield(work)

    async def _enrol(self, loop: asyncio.AbstractEventLoop, agent: str) -> None:
        try:
            await asyncio.to_thread(self._store.signer_for, agent, self._tier)
            self._enrolled.add(agent)
        finally:
            del self._enrolling[loop, agent]
