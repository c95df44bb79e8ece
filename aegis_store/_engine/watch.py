"""Being told instead of waiting: what an event loop uses where a thread would wait in `Engine.commit`.

    watcher.request(tier, index) ──▶ somebody leads ──▶ the group lands ──▶ watcher.fd is readable ──▶ watcher.look()

A request costs no thread and no wait: the engine's background thread leads, unless a thread that waits comes first. The watcher
outlives its engine: after a close it says what became of its requests.
"""

from __future__ import annotations

import weakref
from typing import Final

import msgspec

from aegis_store._engine.engine import Engine
from aegis_store._engine.failures import failure
from aegis_store._native import ffi, lib
from aegis_store.errors import AegisError, Closed
from aegis_store.types import Tier


class Landed(msgspec.Struct, frozen=True, gc=False):
    """How far those tiers have come that anybody asked for.

    Records below `sizes[tier]` are as durable as the tier asks. Where `failed[tier]` is not 0, its log is poisoned. Once
    `closed`, nothing changes any more.
    """

    sizes: tuple[int, ...]
    failed: tuple[int, ...]
    closed: bool

    def answers(self, tier: Tier, index: int) -> bool:
        """Whether `Watcher.result` has an answer for the record."""
        return index < self.sizes[tier] or bool(self.failed[tier]) or self.closed


class Watcher:
    """One event loop's ear at an engine that is open for writing, for the loop's thread alone.

    `fd` is to be polled for reading, and for nothing else. Raises ReadOnly, OutOfResources, Closed.
    """

    def __init__(self, engine: Engine) -> None:
        handle, ear = ffi.new("aegis_watcher **"), ffi.new("int *")
        engine._call("watch", None, lib.aegis_watch_start, handle, ear)
        self.fd: Final[int] = ear[0]
        self._engine: Final = engine
        self._handle = handle[0]
        self._end: Final = weakref.finalize(self, lib.aegis_watch_end, handle[0])
        self._landed: Final = ffi.new("aegis_landed *")

    def request(self, tier: Tier, index: int) -> None:
        """Asks for the record, and all before it, to become as durable as the tier asks. Returns at once."""
        self._demand_open("request")
        self._engine._call("request", tier, lib.aegis_request, tier, index, self._handle)

    def look(self) -> Landed:
        """Makes `fd` wait for what comes next, and says what has come. UsedAfterFork."""
        self._demand_open("look")
        code = lib.aegis_watch_look(self._handle, self._landed)
        if code:
            raise failure(code, "look", self._engine.path)
        return Landed(tuple(self._landed.sizes), tuple(self._landed.failed), bool(self._landed.closed))

    def result(self, tier: Tier, index: int) -> AegisError | None:
        """What `Engine.commit` would raise for a record that was requested; None: it is durable.

        InvalidArgument is given where there is no answer yet.
        """
        self._demand_open("commit")
        code = lib.aegis_watch_result(self._handle, tier, index)
        return failure(code, "commit", self._engine.path, tier=tier, index=index) if code else None

    def close(self) -> None:
        """Hears nothing more; `fd` must not be polled any longer. What was requested is done all the same."""
        self._end()

    @property
    def closed(self) -> bool:
        return not self._end.alive

    def _demand_open(self, op: str) -> None:
        if not self._end.alive:
            raise Closed("the watcher is closed", op=op, path=self._engine.path)
