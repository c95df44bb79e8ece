"""The memory tier for tasks: `aegis_store.Memory` as coroutines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from aegis_store.aio.landing import Landings
from aegis_store.aio.turns import in_thread_to_its_end, turn_by_turn
from aegis_store.erasure import WAIT_SECONDS
from aegis_store.memory import DEFAULT, Delete, MemoryErasure, MemoryHold, MemoryItem, Put, Swept
from aegis_store.memory import Memory as SyncMemory
from aegis_store.memory.memory import Ttl, demand_item
from aegis_store.memory.sweeping import Watcher
from aegis_store.memory.writing import Queued
from aegis_store.schema.names import Namespace
from aegis_store.types import MemoryPointer


class Memory:
    """The memory tier of an open store, as `Store.memory`, for any number of tasks, loops and threads.

    Everything is as in `aegis_store.Memory`, but for what is said here. A task that is cancelled while it waits for a put or a
    delete has made it once or not at all; a `request_id` tells, when it is given again.
    """

    def __init__(self, landings: Landings, memory: SyncMemory) -> None:
        self._landings: Final = landings
        self._memory: Final = memory

    async def landed(self) -> None:
        """Return when what the running loop has on its way has landed, or failed."""
        await self._landings.landed()

    # ---- writing ----------------------------------------------------------------------------------------------------------

    async def put(
        self,
        namespace: Sequence[str],
        key: str,
        value: object,
        *,
        ttl: Ttl = DEFAULT,
        expect: int | None = None,
        request_id: str | None = None,
        agent: str | None = None,
    ) -> MemoryItem:
        """Store a value as the key's next version; it is durable when this returns."""
        one = Put(namespace=namespace, key=key, value=value, ttl=ttl, expect=expect, request_id=request_id)
        (item,) = await self.batch([one], agent=agent)
        return demand_item(item, request_id)

    async def delete(
        self,
        namespace: Sequence[str],
        key: str,
        *,
        expect: int | None = None,
        request_id: str | None = None,
        agent: str | None = None,
    ) -> bool:
        """Let a key have no value; durable when this returns. Whether it had one, or the request is a repeated one."""
        one = Delete(namespace=namespace, key=key, expect=expect, request_id=request_id)
        (queued,) = await self._land([one], agent)
        return queued is not None

    async def batch(self, operations: Iterable[Put | Delete], *, agent: str | None = None) -> Sequence[MemoryItem | None]:
        """Puts and deletes in order, in one commit; durable when this returns. For each put what `put` returns, else None."""
        return [self._memory.result(each) for each in await self._land(operations, agent)]

    async def _land(self, operations: Iterable[Put | Delete], agent: str | None) -> Sequence[Queued | None]:
        await self._landings.enrolled(self._memory.agent if agent is None else agent)
        queued, landings, refusal = self._submit(operations, agent)
        results = await asyncio.gather(*landings, return_exceptions=True)
        for result in (refusal, *results):
            if result is not None:
                raise result
        return queued

    def _submit(
        self, operations: Iterable[Put | Delete], agent: str | None
    ) -> tuple[Sequence[Queued | None], Sequence[asyncio.Future[None]], Exception | None]:
        """Queue them, without an await: what is queued is waited for whatever becomes of the task. Those before one that is
        refused as well."""
        landing = self._landings.here()
        queued: list[Queued | None] = []
        landings: list[asyncio.Future[None]] = []
        try:
            for operation in operations:
                each = self._memory.submit(operation, agent=agent)
                queued.append(each)
                if each is not None:
                    landings.append(landing.wait_for(each.ref.index, partial(self._memory.settle, each)))
        except Exception as error:
            return queued, landings, error
        return queued, landings, None

    async def sweep(
        self, namespace_prefix: Sequence[str] = (), *, limit: int | None = None, watch: Watcher | None = None
    ) -> Swept:
        """Delete what has expired; in a thread, which calls `watch`."""
        return await in_thread_to_its_end(partial(self._memory.sweep, namespace_prefix, limit=limit, watch=watch))

    # ---- reading ----------------------------------------------------------------------------------------------------------

    async def get(
        self, namespace: Sequence[str], key: str, *, at: MemoryPointer | None = None, refresh: bool | None = None
    ) -> MemoryItem | None:
        """What is stored under a key, every check made; None: nothing is, or it has expired."""
        return self._memory.get(namespace, key, at=at, refresh=refresh)

    def versions(self, namespace: Sequence[str], key: str) -> AsyncIterator[MemoryItem]:
        """The versions of a key, newest first; other tasks have a turn between two."""
        return turn_by_turn(self._memory.versions(namespace, key))

    def list(
        self,
        namespace: Sequence[str],
        *,
        prefix: str = "",
        limit: int | None = None,
        after: str | None = None,
        at: MemoryPointer | None = None,
        refresh: bool | None = None,
    ) -> AsyncIterator[MemoryItem]:
        """Items of that very namespace whose keys begin with `prefix`, by key; other tasks have a turn between two."""
        return turn_by_turn(self._memory.list(namespace, prefix=prefix, limit=limit, after=after, at=at, refresh=refresh))

    def search(
        self,
        namespace_prefix: Sequence[str] = (),
        *,
        where: Mapping[str, object] | None = None,
        limit: int | None = None,
        offset: int = 0,
        at: MemoryPointer | None = None,
        refresh: bool | None = None,
    ) -> AsyncIterator[MemoryItem]:
        """Items of all namespaces that begin so and whose fields fit; other tasks have a turn between two."""
        return turn_by_turn(
            self._memory.search(namespace_prefix, where=where, limit=limit, offset=offset, at=at, refresh=refresh)
        )

    def namespaces(
        self,
        *,
        prefix: Sequence[str] = (),
        suffix: Sequence[str] = (),
        max_depth: int | None = None,
        at: MemoryPointer | None = None,
    ) -> AsyncIterator[Namespace]:
        """The namespaces that have items, in order, each once; other tasks have a turn between two."""
        return turn_by_turn(self._memory.namespaces(prefix=prefix, suffix=suffix, max_depth=max_depth, at=at))

    async def pointer(self) -> MemoryPointer:
        """All that can be read now."""
        return self._memory.pointer()

    # ---- what stays and what goes: in a thread ----------------------------------------------------------------------------

    async def hold(self, namespace: Sequence[str], key: str, *, reason: str, holder: str) -> MemoryHold:
        """Let no version of a key go until `release`; durable when this returns."""
        return await in_thread_to_its_end(partial(self._memory.hold, namespace, key, reason=reason, holder=holder))

    async def holds(self) -> Sequence[MemoryHold]:
        """The holds on keys that stand, oldest first."""
        return self._memory.holds()

    async def release(self, hold: int, *, reason: str, by: str | None = None) -> None:
        """Let a hold go, by its number; durable when this returns."""
        await in_thread_to_its_end(partial(self._memory.release, hold, reason=reason, by=by))

    async def erase(
        self,
        namespace: Sequence[str],
        key: str | None = None,
        *,
        reason: str,
        by: str | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> MemoryErasure:
        """Erase a key, or a namespace and all below it. A task that is cancelled in here waits for the end all the same."""
        await self._landings.landed()
        return await in_thread_to_its_end(
            partial(self._memory.erase, namespace, key, reason=reason, by=by, wait_seconds=wait_seconds)
        )
