"""LangGraph's long-term memory on the memory tier of a store.

    with AegisStore.from_path("state") as memory:
        graph = builder.compile(store=memory)

LangGraph's namespaces and keys are the tier's own: what a graph has put is found by `Store.memory` under the same names, and so
is the history of it, which LangGraph does not ask for. Every value is signed by the store's agent, durable when `put` returns,
and checked when it is read.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from itertools import islice
from typing import Any, Final, Literal

from langgraph.store.base import (
    NOT_PROVIDED,
    BaseStore,
    GetOp,
    IndexConfig,
    Item,
    ListNamespacesOp,
    NotProvided,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
    TTLConfig,
    validate_op_namespace,
)

from aegis_store import aio
from aegis_store.adapters.langgraph.lifetimes import (
    NEVER,
    SWEEP_MINUTES,
    demand_config,
    memory_refresh,
    memory_ttl,
    sweep_seconds,
)
from aegis_store.adapters.langgraph.namespaces import common_beginning, matches
from aegis_store.adapters.langgraph.opening import Opening
from aegis_store.adapters.langgraph.sweeping import Sweeper
from aegis_store.aio.turns import in_thread_to_its_end
from aegis_store.errors import InvalidArgument
from aegis_store.memory import Delete, Put
from aegis_store.schema.names import Namespace
from aegis_store.store import Store

#: As many gets, puts and deletes are done in the event loop; more, and searches and lists, in a thread.
IN_LOOP_OPERATIONS: Final = 16


class AegisStore(BaseStore):
    """LangGraph's items in an open store, for any number of threads, tasks and event loops.

    Whoever opened the store closes it: of `AegisStore(store)` that is the caller, of `from_path` its `with`.

    Values are dicts of anything that a state may hold; StateTypeError names what is not. A search gives the newest put first,
    as LangGraph's database stores do. Filters are those of `Store.memory`: what cannot be compared does not match.

    `ttl` is LangGraph's TTLConfig, in minutes. Without `default_ttl` what a put says nothing of is there as long as the options
    of the store say for its namespace, else for ever. What has expired is given to nobody, swept or not.

    There is no search by meaning: as with LangGraph's own stores without an index, `query` and `index` of the methods do
    nothing, and an `index` here is an InvalidArgument.
    """

    supports_ttl = True

    def __init__(self, store: Store, *, ttl: TTLConfig | None = None, index: IndexConfig | None = None) -> None:
        super().__init__()
        demand_config(ttl)
        _demand_no_index(index)
        self.store: Final = store
        self.ttl_config = ttl
        self._memory: Final = store.memory
        self._tasks: Final = aio.wrap(store)
        self._sweeper: Final = Sweeper(self)

    @classmethod
    def from_path(
        cls,
        path: str | os.PathLike[str],
        *,
        ttl: TTLConfig | None = None,
        index: IndexConfig | None = None,
        **options: Any,
    ) -> Opening[AegisStore]:
        """A memory on the store at `path`, made where it is missing: `with` or `async with` opens it, and at the end stops its
        sweeper and closes it. `options` are those of `aegis_store.open`."""
        demand_config(ttl)
        _demand_no_index(index)
        return Opening(
            partial(Store.open, path, **options),
            lambda store: cls(store, ttl=ttl),
            end=lambda memory: memory.stop_ttl_sweeper(),
        )

    # ---- operations -------------------------------------------------------------------------------------------------------

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Reads, then puts and deletes in one commit; durable when this returns. A result for each operation, in order.

        Reads see what there was before. Of puts under one key the last counts. Puts are not one transaction: where one is
        refused (StateTypeError, StateTooLarge, NoSpace, ReadOnly, …) those before it may be stored.

        InvalidNamespaceError, InvalidArgument: nothing was done.
        """
        results, writes = self._read_and_plan(list(ops))
        if writes:
            self._memory.batch(writes)
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """The same for tasks: while puts become durable the loop goes on, and tasks that put at once share the sync. Searches,
        lists and large batches run in a thread. What a task that is cancelled has put by then lands."""
        operations = list(ops)
        if len(operations) > IN_LOOP_OPERATIONS or any(isinstance(op, SearchOp | ListNamespacesOp) for op in operations):
            return await in_thread_to_its_end(partial(self.batch, operations))
        results, writes = self._read_and_plan(operations)
        if writes:
            await self._tasks.memory.batch(writes)
        return results

    def _read_and_plan(self, operations: Sequence[Op]) -> tuple[list[Result], Collection[Put | Delete]]:
        """All results, and what is to be written."""
        for op in operations:
            validate_op_namespace(op)
        results: list[Result] = []
        writes: dict[tuple[Namespace, str], Put | Delete] = {}
        for op in operations:
            if isinstance(op, PutOp):
                write = _write(op)
                place = (tuple(op.namespace), op.key)
                writes.pop(place, None)
                writes[place] = write
                results.append(None)
            else:
                results.append(self._read(op))
        return results, writes.values()

    def _read(self, op: Op) -> Result:
        if isinstance(op, GetOp):
            return self._get(op)
        if isinstance(op, SearchOp):
            return self._search(op)
        if isinstance(op, ListNamespacesOp):
            return self._list(op)
        raise InvalidArgument(f"{type(op).__name__} is no operation of a store", op="batch")

    def _get(self, op: GetOp) -> Item | None:
        found = self._memory.get(op.namespace, op.key, refresh=memory_refresh(self.ttl_config, op.refresh_ttl))
        if found is None:
            return None
        return Item(
            value=found.value,
            key=found.key,
            namespace=found.namespace,
            created_at=found.created_at,
            updated_at=found.changed_at,
        )

    def _search(self, op: SearchOp) -> list[SearchItem]:
        found = self._memory.search(
            op.namespace_prefix,
            where=op.filter,
            limit=op.limit,
            offset=op.offset,
            refresh=memory_refresh(self.ttl_config, op.refresh_ttl),
            newest_first=True,
        )
        return [
            SearchItem(
                namespace=each.namespace,
                key=each.key,
                value=each.value,
                created_at=each.created_at,
                updated_at=each.changed_at,
            )
            for each in found
        ]

    def _list(self, op: ListNamespacesOp) -> list[tuple[str, ...]]:
        if op.limit < 0 or op.offset < 0:
            raise InvalidArgument(f"limit is {op.limit} and offset {op.offset}", op="list_namespaces")
        conditions = op.match_conditions or ()
        found = self._memory.namespaces(
            prefix=common_beginning(conditions),
            matching=lambda namespace: matches(namespace, conditions),
            max_depth=op.max_depth,
        )
        return list(islice(found, op.offset, op.offset + op.limit))

    # ---- puts that say how long -------------------------------------------------------------------------------------------

    def put(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:
        """Store a value; it is durable when this returns. `ttl` is in minutes from now (None: it never expires)."""
        super().put(namespace, key, value, index, ttl=NEVER if ttl is None else ttl)

    async def aput(
        self,
        namespace: tuple[str, ...],
        key: str,
        value: Mapping[str, Any],
        index: Literal[False] | list[str] | None = None,
        *,
        ttl: float | NotProvided | None = NOT_PROVIDED,
    ) -> None:
        """The same for tasks."""
        await super().aput(namespace, key, value, index, ttl=NEVER if ttl is None else ttl)

    # ---- expiry -----------------------------------------------------------------------------------------------------------

    def sweep_ttl(self) -> int:
        """Delete what has expired; how many items that were. Retention may then let their values go. ReadOnly."""
        return self._memory.sweep().deleted

    async def asweep_ttl(self) -> int:
        """The same, in a thread."""
        return await in_thread_to_its_end(self.sweep_ttl)

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> Future[None]:
        """Sweep in a thread every so many minutes: as said here, else in the configuration, else 5. One that runs goes on.

        The future is done when the sweeper has ended; cancelling it stops the sweeper, as `stop_ttl_sweeper` does, and as the
        end of the store does by the next sweep."""
        configured = None if self.ttl_config is None else self.ttl_config.get("sweep_interval_minutes")
        minutes = next((each for each in (sweep_interval_minutes, configured) if each is not None), SWEEP_MINUTES)
        return self._sweeper.start(sweep_seconds(minutes))

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop the sweeper, once a sweep that is going on has ended. Whether none runs after `timeout` seconds (None: however
        long it takes)."""
        return self._sweeper.stop(timeout)


def _write(op: PutOp) -> Put | Delete:
    if op.value is None:
        return Delete(namespace=op.namespace, key=op.key)
    return Put(namespace=op.namespace, key=op.key, value=dict(op.value), ttl=memory_ttl(op.ttl))


def _demand_no_index(index: object) -> None:
    if index is not None:
        raise InvalidArgument(
            "an index was asked for, and this store does not search by meaning",
            op="open",
            hint="leave index out; search() finds by namespace and filter. Keep vectors in a vector database, under the same "
            "namespaces and keys",
        )
