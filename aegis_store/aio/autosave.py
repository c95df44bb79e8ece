"""Sessions of tasks that are saved by a timer: `aegis_store.autosave` with a task where that has a thread.

Counted with the others in the store's `Autosaver`, so that `health` tells of all of them.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Protocol, Self

from aegis_store.autosave import Autosaver, Info, Kept, WatchInfo, digest_of, snapshot_of
from aegis_store.types import MemoryPointer, Ref

#: Waits until the event is set, or for so many seconds.
Wait = Callable[[asyncio.Event, float], Awaitable[object]]


async def set_or_late(event: asyncio.Event, seconds: float) -> None:
    """Returns when the event is set, or after so many seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


class Session(Protocol):
    """A session, as it is saved."""

    @property
    def id(self) -> str: ...
    @property
    def agent(self) -> str: ...
    async def info(self) -> Info | None: ...
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
    ) -> Ref: ...


class Autosave:
    """A session that is saved by a task from `async with` on, made by `Session.every`. At the end it is saved a last time."""

    def __init__(
        self,
        saver: Autosaver,
        session: Session,
        get_state: Callable[[], object],
        *,
        interval: int | str | None,
        wait: Wait = set_or_late,
    ) -> None:
        self._saver: Final = saver
        self._session: Final = session
        self._get_state: Final = get_state
        self._interval = interval
        self._wait = wait
        self._lock: Final = asyncio.Lock()
        self._is_due: Final = asyncio.Event()
        self._kept: Kept | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._kept = self._saver.begin(self._session.id, self._session.agent, self._interval)
        self._task = asyncio.create_task(self._run(self._kept), name=f"autosave {self._session.id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def changed(self) -> None:
        """There is something that should not wait for the interval."""
        self._is_due.set()

    def info(self) -> WatchInfo | None:
        """How it stands; None before `async with`."""
        return None if self._kept is None else self._saver.info_of(self._kept)

    async def save(self) -> Ref | None:
        """Save now, and return when it is durable; None if nothing has changed. Raises what is in the way.

        `get_state` may be a coroutine function here. It is called in the loop, and the state encoded there."""
        async with self._lock:
            at = self._saver.now()
            try:
                given = self._get_state()
                snapshot = snapshot_of(await given if inspect.isawaitable(given) else given)
                digest = digest_of(snapshot, self._saver.owner.types)
                info = await self._session.info()
                ref = None
                if self._kept is None or self._kept.is_new(digest, 0 if info is None else info.checkpoints):
                    ref = await self._session.checkpoint(
                        snapshot.state,
                        position=snapshot.position,
                        claims=snapshot.claims,
                        memory_pointer=snapshot.memory_pointer,
                        approvals=snapshot.approvals,
                        last_tool_call=snapshot.last_tool_call,
                        metadata=snapshot.metadata,
                    )
            except Exception as error:
                if self._kept is not None:
                    self._kept.error = error
                raise
            if self._kept is not None:
                self._kept.saved(at, digest, ref)
            return ref

    async def stop(self) -> None:
        """Save a last time, and no more after that. Raises what is in the way of that save."""
        task, self._task = self._task, None
        if task is None or self._kept is None:
            return
        try:
            task.cancel()
            await asyncio.wait({task})
            await self.save()
        finally:
            self._saver.end(self._kept)

    async def _run(self, kept: Kept) -> None:
        while True:
            await self._wait(self._is_due, kept.interval_seconds)
            self._is_due.clear()
            # What it raises is kept, and told by `health`.
            with suppress(Exception):
                await self.save()
            self._saver.told()
