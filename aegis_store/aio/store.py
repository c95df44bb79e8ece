"""A store for tasks: `aegis_store.Store` as coroutines."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Collection, Generator, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from aegis_store import store as sync
from aegis_store import verification
from aegis_store._engine import Report
from aegis_store.aio.audit import Audit
from aegis_store.aio.landing import Landings
from aegis_store.aio.memory import Memory
from aegis_store.aio.session import Session
from aegis_store.aio.turns import in_thread_to_its_end, turn_by_turn
from aegis_store.codec.registry import StateTypes
from aegis_store.compaction import Compacted, Stage
from aegis_store.config import Config
from aegis_store.enrolment import KeyInfo, Revoked
from aegis_store.erasure import WAIT_SECONDS, Erasure
from aegis_store.errors import AegisError
from aegis_store.health import Health
from aegis_store.holding import HoldInfo
from aegis_store.keeping import Compaction
from aegis_store.opening import Anchor, Mode
from aegis_store.retention.sweeper import Retained, Watcher
from aegis_store.rules import Rule
from aegis_store.session import SessionInfo
from aegis_store.stats import StoreStats
from aegis_store.trust.heads import SignedHead
from aegis_store.trust.keys import KeyDirectory
from aegis_store.types import Clock, Head, Randomness, Ref, Tier

_Result = TypeVar("_Result")


class Store:
    """An open store for any number of tasks and loops, made by `aio.open` or `aio.wrap`. `async with` closes it at the end.

    Everything is as in `aegis_store.Store`, but for what is said here. `sync` is that store, the same one, for threads.
    """

    def __init__(self, store: sync.Store) -> None:
        self.sync = store
        self._landings = Landings(store)
        #: What agents remember beyond a session.
        self.memory = Memory(Landings(store, Tier.MEMORY), store.memory)
        #: Who did what to what.
        self.audit = Audit(Landings(store, Tier.AUDIT), store.audit)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Make everything durable, sign what is sealed, remember the heads; in a thread.

        Checkpoints on their way land first. A task that is cancelled in here waits for the end all the same.
        """
        try:
            self.sync.check_open()
        except AegisError:
            self.sync.close()  # it is closed, or this is a forked child, which has no threads
            return
        try:
            await self._landings.landed()
            await self.memory.landed()
            await self.audit.landed()
        finally:
            await in_thread_to_its_end(self.sync.close)

    @property
    def path(self) -> Path:
        """Its directory."""
        return self.sync.path

    @property
    def agent(self) -> str:
        """Who signs what is written, unless a session says otherwise."""
        return self.sync.agent

    @property
    def config(self) -> Config:
        """The options that it was opened with."""
        return self.sync.config

    @property
    def types(self) -> StateTypes:
        """The classes that states may hold."""
        return self.sync.types

    @property
    def keys(self) -> KeyDirectory:
        """Its key directory."""
        return self.sync.keys

    @property
    def report(self) -> Report:
        """What opening found, tier by tier."""
        return self.sync.report

    # ---- sessions ---------------------------------------------------------------------------------------------------------

    def session(self, session_id: str, *, agent: str | None = None) -> Session:
        """The session of that id, which begins with its first checkpoint."""
        return Session(self._landings, self.sync.session(session_id, agent=agent))

    def sessions(
        self,
        *,
        agent: str | None = None,
        open: bool | None = None,
        prefix: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> AsyncIterator[SessionInfo]:
        """Sessions, oldest first; other tasks have a turn between two."""
        return turn_by_turn(self.sync.sessions(agent=agent, open=open, prefix=prefix, limit=limit, after=after))

    # ---- what stays and what goes: in a thread ----------------------------------------------------------------------------

    async def retain(
        self, rules: Sequence[Rule] | None = None, *, dry_run: bool = False, watch: Watcher | None = None
    ) -> Retained:
        """Let go what the rules do not keep. `watch` is called in the thread."""
        return await self._in_thread(partial(self.sync.retain, rules, dry_run=dry_run, watch=watch))

    async def compact(self, *, bytes_a_second: int | None = None, watch: Callable[[Stage], object] | None = None) -> Compacted:
        """Take out of the files what was pruned or erased. `watch` is called in the thread."""
        return await self._in_thread(partial(self.sync.compact, bytes_a_second=bytes_a_second, watch=watch))

    async def start_compaction(self, *, bytes_a_second: int | None = None) -> Compaction:
        """The same without waiting for it."""
        return await self._in_thread(partial(self.sync.start_compaction, bytes_a_second=bytes_a_second))

    async def erase(
        self,
        *,
        session: str,
        ordinal: int | None = None,
        reason: str,
        by: str | None = None,
        forks: bool = False,
        wait_seconds: float = WAIT_SECONDS,
    ) -> Erasure:
        """Erase a session, or what one checkpoint holds. A task that is cancelled in here waits for the end all the same."""
        self.sync.check_open()
        await self._landings.landed()
        return await in_thread_to_its_end(
            partial(
                self.sync.erase,
                session=session,
                ordinal=ordinal,
                reason=reason,
                by=by,
                forks=forks,
                wait_seconds=wait_seconds,
            )
        )

    async def holds(self) -> list[HoldInfo]:
        """The holds that stand, oldest first."""
        return self.sync.holds()

    async def release(self, hold: int, *, reason: str, by: str | None = None) -> None:
        """Let a hold go, by its number; durable when this returns."""
        await self._in_thread(partial(self.sync.release, hold, reason=reason, by=by))

    # ---- who may sign -----------------------------------------------------------------------------------------------------

    async def agent_keys(self) -> list[KeyInfo]:
        """The agents' keys that the store allows or allowed."""
        return await self._in_thread(self.sync.agent_keys)

    async def revoke_key(self, agent: str, *, reason: str, by: str | None = None) -> Revoked:
        """Let an agent's key sign nothing more. A task that is cancelled in here waits for the end all the same."""
        self.sync.check_open()
        await self._landings.landed()
        return await in_thread_to_its_end(partial(self.sync.revoke_key, agent, reason=reason, by=by))

    # ---- the whole --------------------------------------------------------------------------------------------------------

    async def head(self, tier: str | Tier = Tier.SESSION) -> SignedHead:
        """The tree head of a tier, signed by the log key, to be kept outside; in a thread."""
        return await self._in_thread(partial(self.sync.head, tier))

    async def inclusion(self, ref: Ref, size: int | None = None) -> list[bytes]:
        """Hashes [32] that lead from a checkpoint's leaf to the root at `size` (RFC 6962, 2.1.1)."""
        return self.sync.inclusion(ref, size)

    async def consistency(self, old: Head, size: int | None = None) -> list[bytes]:
        """Hashes [32] that show that an older head is a prefix of the log at `size` (RFC 6962, 2.1.2)."""
        return self.sync.consistency(old, size)

    async def verify(
        self,
        *,
        deep: bool = False,
        watch: verification.Watcher | None = None,
        tiers: Collection[str | Tier] | None = None,
        jobs: int | None = None,
    ) -> verification.Result:
        """Read every byte again and recompute the trees; in a thread, which ends early where the task is cancelled.

        `watch(tier, what, done, total)` is called in the loop.
        """
        self.sync.check_open()
        loop, is_over = asyncio.get_running_loop(), threading.Event()

        def relay(tier: Tier, what: str, done: int, total: int) -> None:
            if is_over.is_set():
                raise asyncio.CancelledError
            if watch is not None:
                loop.call_soon_threadsafe(watch, tier, what, done, total)

        try:
            return await self._in_thread(partial(self.sync.verify, deep=deep, watch=relay, tiers=tiers, jobs=jobs))
        finally:
            is_over.set()

    async def health(self) -> Health:
        """Whether the store is well, and what to do where it is not; in a thread."""
        return await self._in_thread(self.sync.health)

    async def stats(self) -> StoreStats:
        """The store in numbers; in a thread, for its directory is walked."""
        return await self._in_thread(self.sync.stats)

    async def _in_thread(self, work: Callable[[], _Result]) -> _Result:
        self.sync.check_open()  # in a forked child no loop runs, and that would be the error
        return await asyncio.to_thread(work)


def wrap(store: sync.Store) -> Store:
    """The same open store for tasks. Threads may go on using it, and either may close it."""
    return Store(store)


def open(  # as `aegis_store.open`
    path: str | os.PathLike[str],
    *,
    agent: str = "agent",
    mode: Mode = "a",
    keys: str | os.PathLike[str] | None = None,
    name: str | None = None,
    anchor: Anchor | Iterable[Anchor] | None = None,
    config: Config | str | os.PathLike[str] | None = None,
    types: Iterable[type] | Mapping[str, type] = (),
    clock: Clock | None = None,
    randomness: Randomness | None = None,
) -> Opening:
    """Open the store at `path`, in a thread: `async with aio.open(path) as store`, or `store = await aio.open(path)`.

    Everything is as in `aegis_store.open`.
    """
    return Opening(
        partial(
            sync.Store.open,
            path,
            agent=agent,
            mode=mode,
            keys=keys,
            name=name,
            anchor=anchor,
            config=config,
            types=types,
            clock=clock,
            randomness=randomness,
        )
    )


class Opening:
    """A store that is opened when it is awaited or entered, once."""

    def __init__(self, opener: Callable[[], sync.Store]) -> None:
        self._opener = opener
        self._store: Store | None = None

    def __await__(self) -> Generator[object, None, Store]:
        return self._open().__await__()

    async def __aenter__(self) -> Store:
        self._store = await self._open()
        return self._store

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._store is not None:
            await self._store.close()

    async def _open(self) -> Store:
        handover = _Handover(self._opener)
        try:
            return Store(await asyncio.to_thread(handover.make))
        except asyncio.CancelledError:
            handover.refuse()
            raise


class _Handover:
    """A store from the thread that opens it to the task that waits, or back where the task was cancelled: it must not stay open
    with nobody who could close it."""

    def __init__(self, opener: Callable[[], sync.Store]) -> None:
        self._opener = opener
        self._lock = threading.Lock()
        self._refused = False
        self._made: sync.Store | None = None

    def make(self) -> sync.Store:
        store = self._opener()
        with self._lock:
            self._made = store
            refused = self._refused
        if refused:
            store.close()
        return store

    def refuse(self) -> None:
        with self._lock:
            self._refused = True
            made = self._made
        if made is not None:
            made.close()
