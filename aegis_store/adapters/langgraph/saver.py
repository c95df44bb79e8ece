"""A checkpointer for LangGraph whose checkpoints are kept in a store.

    with AegisSaver.from_path("state") as saver:
        graph = builder.compile(checkpointer=saver)

`put` and `put_writes` are durable when they return. What they keep is signed by the store's agent, stored as what changed since
the checkpoint before, and every byte is checked before the serializer sees it.
"""

from __future__ import annotations

import heapq
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    WRITES_IDX_MAP,
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    DeltaChannelHistory,
    PendingWrite,
    get_checkpoint_id,
    get_serializable_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from aegis_store import aio
from aegis_store.adapters.langgraph import threads
from aegis_store.adapters.langgraph.lines import PAGE, Found, Lines
from aegis_store.adapters.langgraph.names import Line, session_id
from aegis_store.adapters.langgraph.opening import Opening
from aegis_store.adapters.langgraph.rows import Opener, Row, demand_harmless, pack
from aegis_store.aio.turns import in_thread_to_its_end, turn_by_turn
from aegis_store.chain import Pending
from aegis_store.errors import InvalidArgument
from aegis_store.schema.writes import Write, Writes
from aegis_store.store import Store
from aegis_store.trust.keys import SystemRandomness

#: Above this the next checkpoint of a line is serialized in a thread, not in the event loop.
IN_LOOP_BYTES: Final = 1 << 20
_VERSION_BITS: Final = 56


class AegisSaver(BaseCheckpointSaver[str]):
    """LangGraph's checkpoints in an open store, for any number of threads, tasks and event loops.

    A thread is a session for each of its namespaces (`names`). Whoever opened the store closes it: of `AegisSaver(store)` that
    is the caller, of `from_path` its `with`. Copies, as `with_allowlist` makes them, share it.

    `serde` is LangGraph's JsonPlusSerializer in its strict form, if not given: what is of a type that is not known to be
    harmless comes back as the plain data that it was made of, unless `with_allowlist` names the type. Nothing is ever
    unpickled: a serializer that would is an InvalidArgument.
    """

    def __init__(self, store: Store, *, serde: SerializerProtocol | None = None) -> None:
        super().__init__(serde=JsonPlusSerializer(allowed_msgpack_modules=None) if serde is None else serde)
        demand_harmless(self.serde)
        self._opened = Opener(self.serde)
        self.store: Final = store
        self._lines: Final = Lines(store)
        self._tasks: Final = aio.wrap(store)

    @classmethod
    def from_path(cls, path: str, *, serde: SerializerProtocol | None = None, **options: Any) -> Opening[AegisSaver]:
        """A saver on the store at `path`, made where it is missing: `with` or `async with` opens it, and closes it at the end.
        `options` are those of `aegis_store.open`."""
        return Opening(partial(Store.open, path, **options), lambda store: cls(store, serde=serde))

    # ---- writing ----------------------------------------------------------------------------------------------------------

    def put(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """Save a checkpoint; it is durable when this returns. One that is put again takes the place of the first of its id.

        Errors as of `Session.checkpoint`: NoSpace, StateTooLarge, ReadOnly, …: nothing was stored.
        """
        line, row = self._packed(config, checkpoint, metadata, new_versions)
        session = self._lines.session(line)
        pending = session.submit_plain(**row.arguments())
        if pending.is_repeat:
            again = self._in_place(line, row)
            if again is None:
                return _config(config, line, row.id)
            row, pending = again, session.submit_plain(**again.arguments(), replace=True)
        session.land(pending.ref.index)
        self._lines.note(line, pending.ref.index, row)
        return _config(config, line, row.id)

    async def aput(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> RunnableConfig:
        """The same for tasks: while it becomes durable the loop goes on, and tasks that put at once share the sync."""
        before = get_checkpoint_id(config)
        known = None if before is None else self._lines.recalled(_line(config), before)
        if known is not None and known.size > IN_LOOP_BYTES:
            return await in_thread_to_its_end(partial(self.put, config, checkpoint, metadata, new_versions))
        line, row = self._packed(config, checkpoint, metadata, new_versions)
        session, tasks = self._lines.session(line), self._tasks.session(session_id(line))
        pending: Pending = await tasks.landed(partial(session.submit_plain, **row.arguments()))
        if pending.is_repeat:
            again = self._in_place(line, row)
            if again is None:
                return _config(config, line, row.id)
            row, pending = again, await tasks.landed(partial(session.submit_plain, **again.arguments(), replace=True))
        self._lines.note(line, pending.ref.index, row)
        return _config(config, line, row.id)

    def _packed(
        self, config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, new_versions: ChannelVersions
    ) -> tuple[Line, Row]:
        line, parent = _line(config), get_checkpoint_id(config)
        if parent == checkpoint["id"]:
            # The configuration that `put` returned, used again: a checkpoint is not its own parent.
            found = self._lines.find(line, parent)
            parent = None if found is None else found.row.parent
        before = None if parent is None else self._lines.recalled(line, parent)
        about = get_serializable_checkpoint_metadata(config, metadata)
        return line, pack(self.serde, checkpoint, about, parent=parent, new_versions=new_versions, before=before)

    def _in_place(self, line: Line, row: Row) -> Row | None:
        """What is to take the place of the checkpoint of that id; None: it says the same."""
        found = self._lines.find(line, row.id)
        if found is None:
            return row  # it was pruned
        return None if row.says_the_same_as(found.row) else msgspec.structs.replace(row, is_again=True)

    def put_writes(self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = "") -> None:
        """Save what a task wrote; it is durable when this returns. Its checkpoint may come later, or never."""
        if writes:
            line, written = self._written(config, writes, task_id, task_path)
            self._lines.session(line).write(written, recall=self._lines.parts)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """The same for tasks."""
        if writes:
            line, written = self._written(config, writes, task_id, task_path)
            await self._tasks.session(session_id(line)).write(written, recall=self._lines.parts)

    def _written(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str
    ) -> tuple[Line, Writes]:
        checkpoint_id = get_checkpoint_id(config)
        if checkpoint_id is None:
            raise InvalidArgument("writes belong to a checkpoint, and the configuration names none", op="put_writes")
        rows = tuple(
            Write(WRITES_IDX_MAP.get(channel, place), channel, *self.serde.dumps_typed(value))
            for place, (channel, value) in enumerate(writes)
        )
        return _line(config), Writes(request_id=checkpoint_id, task=task_id, path=task_path, writes=rows)

    # ---- reading ----------------------------------------------------------------------------------------------------------

    def get_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The checkpoint that a configuration names, or the newest of its thread and namespace; None: there is none.

        Corrupt, BadSignature, Foreign: it is damaged, or not what was put; an older one is never given in its place.
        """
        line = _line(config)
        found = self._target(line, config)
        return None if found is None else self._tuple(config, line, found)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """The same, in the loop."""
        return self.get_tuple(config)

    def list(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> Iterator[CheckpointTuple]:
        """Checkpoints, the last put first, each read and checked when it comes: of a thread and namespace, of a thread, or all.

        Only those whose metadata has what `filter` has; that were put before that of `before`; at most `limit`. Nobody waits
        for a list that is not read on.
        """
        if limit is not None and limit <= 0:
            return
        page = PAGE if limit is None or filter else min(limit, PAGE)
        for line, found in self._listed(config, before, page):
            metadata = self._opener.metadata(found.row)
            if filter and any(key not in metadata or metadata[key] != value for key, value in filter.items()):  # type: ignore[literal-required]
                continue
            yield self._tuple(config, line, found, metadata)
            if limit is not None:
                limit -= 1
                if limit == 0:
                    return

    def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """The same, in the loop, with a turn for other tasks after each."""
        return turn_by_turn(self.list(config, filter=filter, before=before, limit=limit))

    def _listed(self, config: RunnableConfig | None, before: RunnableConfig | None, page: int) -> Iterator[tuple[Line, Found]]:
        """What a list is made of, before it is filtered; looked up by the page."""
        lines = self._lines_of(config)
        wanted = None if config is None else get_checkpoint_id(config)
        limit = None if before is None else get_checkpoint_id(before)
        bound = None if limit is None else self._index_of(limit, [*lines, *(() if before is None else _named(before))])

        def is_before(found: Found) -> bool:
            if limit is None:
                return True
            # One that is not there any more, or never was: then its id is all that is known.
            return found.row.id < limit if bound is None else found.place.index < bound

        def of(line: Line) -> Iterator[tuple[Line, Found]]:
            one = None if wanted is None else self._lines.find(line, wanted)
            if wanted is not None:
                return iter([(line, one)] if one is not None else [])
            return ((line, found) for found in self._lines.down(line, first_page=page))

        streams = [of(line) for line in lines]
        merged = streams[0] if len(streams) == 1 else heapq.merge(*streams, key=lambda each: -each[1].place.index)
        return (each for each in merged if is_before(each[1]))

    def _lines_of(self, config: RunnableConfig | None) -> Sequence[Line]:
        """Those that a configuration asks for: one where it names a namespace, else all of its thread, or of the store."""
        if config is None:
            return self._lines.all()
        return _named(config) or self._lines.of_thread(_thread(config))

    def _index_of(self, checkpoint_id: str, lines: Sequence[Line]) -> int | None:
        for line in lines:
            place = self._lines.session(line).find(checkpoint_id)
            if place is not None:
                return place.index
        return None

    def get_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """What the ancestors of a checkpoint wrote to channels, oldest first, back to the one that has the value (`seed`)."""
        line, opener = _line(config), self._opener
        writes: dict[str, list[PendingWrite]] = {channel: [] for channel in channels}
        seeds: dict[str, Any] = {}
        found, seen = self._target(line, config) if channels else None, set[str]()
        while found is not None and len(seeds) < len(writes):
            seen.add(found.row.id)
            parent = found.row.parent
            found = None if parent is None or parent in seen else self._lines.find(line, parent)
            if found is None:
                break
            for each in reversed(self._lines.pending(line, found.row.id)):
                if each.channel in writes and each.channel not in seeds:
                    writes[each.channel].append((each.task, each.channel, opener.value(each.value)))
            for channel in writes.keys() - seeds.keys():
                if channel in found.row.channels:
                    seeds[channel] = opener.value(found.row.channels[channel])
        history: dict[str, DeltaChannelHistory] = {}
        for channel, newest_first in writes.items():
            history[channel] = {"writes": newest_first[::-1]}
            if channel in seeds:
                history[channel]["seed"] = seeds[channel]
        return history

    async def aget_delta_channel_history(
        self, *, config: RunnableConfig, channels: Sequence[str]
    ) -> Mapping[str, DeltaChannelHistory]:
        """The same, in the loop."""
        return self.get_delta_channel_history(config=config, channels=channels)

    @property
    def _opener(self) -> Opener:
        # Copies get another serializer after they were made.
        if self._opened.serde is not self.serde:
            self._opened = Opener(self.serde)
        return self._opened

    def _target(self, line: Line, config: RunnableConfig) -> Found | None:
        checkpoint_id = get_checkpoint_id(config)
        return self._lines.find(line, checkpoint_id) if checkpoint_id else self._lines.latest(line)

    def _tuple(
        self, config: RunnableConfig | None, line: Line, found: Found, metadata: CheckpointMetadata | None = None
    ) -> CheckpointTuple:
        opener, row = self._opener, found.row
        pending = self._lines.pending(line, row.id)  # before anything is decoded: what is damaged or hostile is refused first
        checkpoint = opener.checkpoint(row)
        if not row.versions:
            self._lines.note(
                line, found.place.index, msgspec.structs.replace(row, versions=dict(checkpoint["channel_versions"]))
            )
        return CheckpointTuple(
            config=_config(config, line, row.id),
            checkpoint=checkpoint,
            metadata=opener.metadata(row) if metadata is None else metadata,
            parent_config=None if row.parent is None else _config(config, line, row.parent),
            pending_writes=[(each.task, each.channel, opener.value(each.value)) for each in pending],
        )

    # ---- what stays and what goes -----------------------------------------------------------------------------------------

    def delete_thread(self, thread_id: str) -> None:
        """Erase a thread: when this returns no file of the store holds its text or its names. Held: a hold keeps it."""
        threads.delete(self._lines, [str(thread_id)])

    def delete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Let go of the checkpoints that these runs made, and of their writes, but for what DeltaChannels of other checkpoints
        are made of; the space comes back with `store.compact()`. Held: a hold keeps one of them, and nothing went."""
        threads.delete_runs(self._lines, frozenset(run_ids), self._opener)

    def copy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Copy the checkpoints and writes of a thread to another. What the other one has already stays as it is, so that a copy
        that was cut short can be done again."""
        threads.copy(self._lines, str(source_thread_id), str(target_thread_id))

    def prune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """With "keep_latest", let go of all but the newest checkpoint of each namespace, what its DeltaChannels are made of,
        and what is held; the space comes back with `store.compact()`. With "delete", erase the threads."""
        names = [str(thread_id) for thread_id in thread_ids]
        if strategy == "delete":
            threads.delete(self._lines, names)
        elif strategy == "keep_latest":
            threads.keep_latest(self._lines, names, self._opener)
        else:
            raise InvalidArgument(f'there is no strategy {strategy!r}: "keep_latest" and "delete" are', op="prune")

    async def adelete_thread(self, thread_id: str) -> None:
        """The same, in a thread."""
        await in_thread_to_its_end(partial(self.delete_thread, thread_id))

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """The same, in a thread."""
        await in_thread_to_its_end(partial(self.delete_for_runs, run_ids))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """The same, in a thread."""
        await in_thread_to_its_end(partial(self.copy_thread, source_thread_id, target_thread_id))

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """The same, in a thread."""
        await in_thread_to_its_end(partial(self.prune, thread_ids, strategy=strategy))

    # ---- versions ---------------------------------------------------------------------------------------------------------

    def get_next_version(self, current: str | int | None, channel: None) -> str:
        """The version that follows: a number that counts up, and one that is drawn, so that branches never share one."""
        count = 0 if current is None else current if isinstance(current, int) else int(current.split(".")[0])
        drawn = int.from_bytes(SystemRandomness().draw(_VERSION_BITS // 8), "big") / (1 << _VERSION_BITS)
        return f"{count + 1:032}.{drawn:016.14f}"


def _thread(config: RunnableConfig) -> str:
    try:
        return str(config["configurable"]["thread_id"])
    except KeyError:
        raise InvalidArgument(
            "the configuration names no thread",
            op="langgraph",
            hint='give one: graph.invoke(input, {"configurable": {"thread_id": "ticket-7"}})',
        ) from None


def _line(config: RunnableConfig) -> Line:
    named = config.get("configurable", {})
    thread = named.get("thread_id")
    return Line(str(thread) if thread is not None else _thread(config), named.get("checkpoint_ns") or "")


def _named(config: RunnableConfig) -> list[Line]:
    """The line that a configuration names; none where it names no namespace."""
    named = config["configurable"].get("checkpoint_ns")
    return [] if named is None else [Line(_thread(config), named)]


def _config(config: RunnableConfig | None, line: Line, checkpoint_id: str) -> RunnableConfig:
    """What names a checkpoint, with the thread as the caller calls it."""
    thread = line.thread if config is None else config["configurable"]["thread_id"]
    return {"configurable": {"thread_id": thread, "checkpoint_ns": line.namespace, "checkpoint_id": checkpoint_id}}
