"""A store that is opened when its `with` begins, and closed at the end."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

from aegis_store import aio
from aegis_store.store import Store

Held = TypeVar("Held")


class Opening(Generic[Held]):
    """Something on a store of its own, for `with` and `async with`; the latter opens and closes the store in a thread."""

    def __init__(self, open_store: Callable[[], Store], on: Callable[[Store], Held]) -> None:
        self._open_store = open_store
        self._on = on
        self._store: Store | None = None
        self._tasks: aio.Opening | None = None

    def __enter__(self) -> Held:
        self._store = self._open_store()
        return self._on(self._store)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._store is not None:
            self._store.close()

    async def __aenter__(self) -> Held:
        self._tasks = aio.Opening(self._open_store)
        return self._on((await self._tasks.__aenter__()).sync)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._tasks is not None:
            await self._tasks.__aexit__(kind, error, trace)
