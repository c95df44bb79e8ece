"""A store that is opened when its `with` begins, and closed at the end."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Generic, TypeVar

from aegis_store import aio
from aegis_store.aio.turns import in_thread_to_its_end
from aegis_store.store import Store

Held = TypeVar("Held")


class Opening(Generic[Held]):
    """Something on a store of its own, for `with` and `async with`; the latter opens and closes the store in a thread.

    `end` is called before the store is closed."""

    def __init__(
        self, open_store: Callable[[], Store], on: Callable[[Store], Held], *, end: Callable[[Held], object] | None = None
    ) -> None:
        self._open_store = open_store
        self._on = on
        self._end = end
        self._held: Held | None = None
        self._store: Store | None = None
        self._tasks: aio.Opening | None = None

    def __enter__(self) -> Held:
        self._store = self._open_store()
        self._held = self._on(self._store)
        return self._held

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            if self._end is not None and self._held is not None:
                self._end(self._held)
        finally:
            if self._store is not None:
                self._store.close()

    async def __aenter__(self) -> Held:
        self._tasks = aio.Opening(self._open_store)
        self._held = self._on((await self._tasks.__aenter__()).sync)
        return self._held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._end is not None and self._held is not None:
                await in_thread_to_its_end(partial(self._end, self._held))
        finally:
            if self._tasks is not None:
                await self._tasks.__aexit__(kind, error, trace)
