"""Sessions that are saved by a timer: what has changed, each interval, and a last time at the end.

    session.every(get_state) ──▶ Autosave ──┐
    session.every(get_state) ──▶ Autosave ──┼── Autosaver: one heap, one thread a store
    ...                                   ──┘

When a session is due its function is asked for the state. What encodes to the same bytes as the checkpoint before is not
written again: that it was looked at makes it as safe. The age of what would be lost is the time since the last look that
ended well.

What a function or the store raises is kept with its session, told by `aegis health`, tried again at the next turn, and raised
at the end if the last save fails as well. The clock is passed in and a turn is a plain call (`run_due`), so that no test
waits.
"""

from __future__ import annotations

import atexit
import heapq
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, Protocol, Self

import msgspec
from blake3 import blake3

from aegis_store import amounts
from aegis_store.codec.registry import StateTypes
from aegis_store.config import Config
from aegis_store.errors import AegisError, InvalidArgument
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.types import Clock, MemoryPointer, Ref


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A state with what belongs to it, for functions that tell more than the state: as `Session.checkpoint` takes it."""

    state: object
    position: object = None
    claims: Mapping[str, object] | None = None
    memory_pointer: MemoryPointer | None = None
    approvals: Sequence[object] | None = None
    last_tool_call: Mapping[str, object] | None = None
    metadata: Mapping[str, object] | None = None


class Info(Protocol):
    """What of a session says whether it went on."""

    @property
    def checkpoints(self) -> int: ...


class Session(Protocol):
    """A session, as it is saved."""

    @property
    def id(self) -> str: ...
    @property
    def agent(self) -> str: ...
    def info(self) -> Info | None: ...
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
    ) -> Ref: ...


class Owner(Protocol):
    """The store."""

    @property
    def types(self) -> StateTypes: ...
    @property
    def config(self) -> Config: ...
    @property
    def clock(self) -> Clock: ...
    def role_of(self, agent: str) -> str | None: ...
    def check_open(self) -> None: ...


class WatchInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How a session that a timer keeps stands. `unsaved_seconds` is the age of what would be lost; `error` why the last save
    failed."""

    session: str
    interval_seconds: int
    unsaved_seconds: float
    error: str | None = None


class Kept:
    """What is known of one session's saves: what the last one held, and since when all is safe. Not locked."""

    def __init__(self, session: str, interval_seconds: int, *, now: float) -> None:
        self.session: Final = session
        self.interval_seconds: Final = interval_seconds
        self.safe_at = now
        self.error: BaseException | None = None
        self._digest: bytes | None = None
        self._ordinal = -1

    def is_new(self, digest: bytes, checkpoints: int) -> bool:
        """Whether what encodes so is anything else than the newest of so many checkpoints."""
        return digest != self._digest or checkpoints != self._ordinal + 1

    def saved(self, at: float, digest: bytes, ref: Ref | None) -> None:
        """What was looked at `at` that time is safe; with `ref` because it was written."""
        self.safe_at, self.error = at, None
        if ref is not None:
            self._digest, self._ordinal = digest, ref.ordinal


def digest_of(snapshot: Snapshot, types: StateTypes) -> bytes:
    """What a checkpoint of that would hold, in 32 bytes. StateTypeError names what cannot be stored."""
    envelope = checkpoint_schema.encode(
        checkpoint_schema.Checkpoint(
            state=snapshot.state,
            position=snapshot.position,
            claims=snapshot.claims,
            memory_pointer=snapshot.memory_pointer,
            approvals=snapshot.approvals,
            last_tool_call=snapshot.last_tool_call,
            metadata=snapshot.metadata,
        ),
        types=types,
    )
    return blake3(envelope).digest()


def snapshot_of(given: object) -> Snapshot:
    """What a function gave: a state, or that already."""
    return given if isinstance(given, Snapshot) else Snapshot(state=given)


class Autosave:
    """A session that is saved by the timer until `stop`, made by `Session.every`. As a context manager it stops at the end."""

    def __init__(self, saver: Autosaver, session: Session, get_state: Callable[[], object], kept: Kept) -> None:
        self._saver = saver
        self._session = session
        self._get_state = get_state
        self._kept: Final = kept
        # Of the function and of the save: one at a time.
        self._lock: Final = threading.RLock()
        self._is_over = False

    def save(self) -> Ref | None:
        """Save now, in this thread, and return when it is durable; None if nothing has changed. Raises what is in the way."""
        with self._lock:
            at = self._saver.now()
            try:
                snapshot = snapshot_of(self._get_state())
                digest = digest_of(snapshot, self._saver.owner.types)
                info = self._session.info()
                ref = None
                if self._kept.is_new(digest, 0 if info is None else info.checkpoints):
                    ref = self._session.checkpoint(
                        snapshot.state,
                        position=snapshot.position,
                        claims=snapshot.claims,
                        memory_pointer=snapshot.memory_pointer,
                        approvals=snapshot.approvals,
                        last_tool_call=snapshot.last_tool_call,
                        metadata=snapshot.metadata,
                    )
            except BaseException as error:
                self._kept.error = error
                raise
            self._kept.saved(at, digest, ref)
            return ref

    def changed(self) -> None:
        """There is something that should not wait for the interval: saved as soon as the timer's thread comes to it."""
        self._saver.hurry(self)

    def info(self) -> WatchInfo:
        """How it stands."""
        return self._saver.info_of(self._kept)

    def stop(self) -> None:
        """Save a last time, and no more after that. Raises what is in the way of that save. In a forked child it does
        nothing."""
        if not self._saver.is_here():
            return
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            try:
                self.save()
            finally:
                self._saver.forget(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class Autosaver:
    """The timer of one store, as `Store.autosaver`. Any number of threads may use it.

    `now` gives seconds that never go back. `told` is called when what is known of sessions has changed. With
    `runs_itself=False` no thread runs, and whoever made it calls `run_due`.
    """

    def __init__(
        self,
        owner: Owner,
        *,
        told: Callable[[], None],
        now: Callable[[], float] = time.monotonic,
        runs_itself: bool = True,
    ) -> None:
        self.owner: Final = owner
        self.told: Final = told
        self.now: Final = now
        self._runs_itself = runs_itself
        self._pid = os.getpid()
        self._changed: Final = threading.Condition()
        self._thread: threading.Thread | None = None
        # (when it is due, a number that none shares, which): an Autosave that is in it twice is looked at the first time.
        self._heap: list[tuple[float, int, Autosave]] = []
        self._due: dict[Autosave, float] = {}
        self._kept: dict[int, Kept] = {}
        self._count = 0
        self._is_over = self._is_known_at_exit = False

    # ---- which ------------------------------------------------------------------------------------------------------------

    def watch(self, session: Session, get_state: Callable[[], object], *, interval: int | str | None = None) -> Autosave:
        """See `Session.every`."""
        self.owner.check_open()
        kept = self.begin(session.id, session.agent, interval)
        made = Autosave(self, session, get_state, kept)
        with self._changed:
            self._put(made, self.now() + kept.interval_seconds)
            self._run()
        return made

    def begin(self, session: str, agent: str, interval: int | str | None) -> Kept:
        """Count a session among those that a timer keeps; whoever does that keeps `Kept` up, and says `end`."""
        seconds = (
            self.owner.config.interval_seconds(self.owner.role_of(agent))
            if interval is None
            else amounts.seconds("interval", interval)
        )
        with self._changed:
            if self._is_over:
                raise InvalidArgument("the store is being closed, and saves nothing by a timer any more", op="every")
            if not self._is_known_at_exit:
                self._is_known_at_exit = True
                atexit.register(_finish_at_exit, weakref.ref(self))
            kept = Kept(session, seconds, now=self.now())
            self._kept[id(kept)] = kept
            return kept

    def end(self, kept: Kept) -> None:
        """It is kept no more."""
        with self._changed:
            self._kept.pop(id(kept), None)

    def forget(self, autosave: Autosave) -> None:
        """It was saved for the last time."""
        with self._changed:
            self._due.pop(autosave, None)
            self._changed.notify()
        self.end(autosave._kept)

    def hurry(self, autosave: Autosave) -> None:
        """It is due now."""
        self.owner.check_open()
        with self._changed:
            if autosave in self._due:
                self._put(autosave, self.now())
                self._changed.notify()

    def watches(self) -> list[WatchInfo]:
        """Every session that is kept, the oldest unsaved first."""
        with self._changed:
            found = [self.info_of(each) for each in self._kept.values()]
        return sorted(found, key=lambda each: -each.unsaved_seconds)

    def info_of(self, kept: Kept) -> WatchInfo:
        error = kept.error
        return WatchInfo(
            session=kept.session,
            interval_seconds=kept.interval_seconds,
            unsaved_seconds=max(0.0, self.now() - kept.safe_at),
            error=None if error is None else f"{type(error).__name__}: {error}",
        )

    def unsaved(self) -> tuple[int, int, int] | None:
        """Sessions, those whose last save failed, and when (ms) the oldest was last known to be safe; None: there are none."""
        found = self.watches()
        if not found:
            return None
        safe_ms = self.owner.clock.now_ms() - round(1000 * found[0].unsaved_seconds)
        return len(found), sum(each.error is not None for each in found), safe_ms

    # ---- turns ------------------------------------------------------------------------------------------------------------

    def run_due(self) -> float | None:
        """Save what is due; seconds until the next is, or None if nothing is kept."""
        did = False
        while True:
            with self._changed:
                while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
                    heapq.heappop(self._heap)  # it was stopped, or hurried
                if not self._heap or self._is_over:
                    wait = None
                    break
                wait = self._heap[0][0] - self.now()
                if wait > 0:
                    break
                due = heapq.heappop(self._heap)[2]
                self._put(due, self.now() + due._kept.interval_seconds)
            # What it raises is kept with the session: nobody waits here who could be told.
            with suppress(BaseException), due._lock:
                if not due._is_over:
                    due.save()
            did = True
        if did:
            self.told()
        return wait

    def _put(self, autosave: Autosave, when: float) -> None:
        self._count += 1
        self._due[autosave] = when
        heapq.heappush(self._heap, (when, self._count, autosave))

    def _run(self) -> None:
        """See to it that the thread runs. The lock is held."""
        if not self._runs_itself:
            return
        if self._thread is None:
            thread = threading.Thread(target=self._loop, name="aegis-store autosave", daemon=True)
            # RuntimeError: the interpreter is ending, and saves what is kept as it does.
            with suppress(RuntimeError):
                thread.start()
                self._thread = thread
        self._changed.notify()

    def _loop(self) -> None:
        while True:
            wait = self.run_due()
            with self._changed:
                if self._is_over or not self._due:
                    self._thread = None
                    return
                next_due = min(self._due.values()) - self.now()
                if next_due > 0:
                    self._changed.wait(next_due if wait is None else min(wait, next_due))

    # ---- the end ----------------------------------------------------------------------------------------------------------

    def is_here(self) -> bool:
        """Whether this is the process that it was made in, and not a forked child."""
        return os.getpid() == self._pid

    def finish(self) -> BaseException | None:
        """Save everything a last time, and keep nothing any more; the first error, if there was one."""
        if not self.is_here():
            return None
        first: BaseException | None = None
        with self._changed:
            self._is_over = True
            left = list(self._due)
        for each in left:
            try:
                each.stop()
            except BaseException as error:
                first = error if first is None else first
        with self._changed:
            self._heap.clear()
            thread = self._thread
            self._changed.notify()
        if thread is not None and thread is not threading.current_thread():
            thread.join()
        return first


def _finish_at_exit(saver: weakref.ref[Autosaver]) -> None:
    """The interpreter ends with sessions that nobody stopped: their last state is saved, unless the store was closed."""
    found = saver()
    if found is not None:
        with suppress(AegisError):
            found.owner.check_open()
            found.finish()
