"""The store for tasks of an event loop: the same surface as `aegis_store`, as coroutines.

    import aegis_store.aio

    async with aegis_store.aio.open("state", agent="planner") as store:
        session = store.session("ticket-4711")
        ref = await session.checkpoint({"messages": []}, position="plan/1")     # durable when it returns
        async for checkpoint in session.history(): ...

A checkpoint costs no thread: it is queued in the loop, the engine's background thread writes and syncs, and a descriptor tells
the loop. Tasks that checkpoint at the same time share syncs. What is queued lands whatever becomes of the task: a cancelled
`checkpoint` may be stored, never twice, and the same `request_id` tells (it returns the first reference).

Reads run in the loop, as does encoding: 0.1 to 0.2 ms for a state of a few kilobytes, more for a larger one. What takes longer
runs in a thread: opening, closing, `verify`, `stats`, `head`, an agent's first record, and the encoding of a session's states
once they are above a megabyte (such a state must not be changed until `checkpoint` returns).

An open `aegis_store.Store` can be used from loops and threads at once: `wrap(store)`.
"""

from __future__ import annotations

from aegis_store.aio.audit import Audit
from aegis_store.aio.memory import Memory
from aegis_store.aio.recovery import recover, recover_all
from aegis_store.aio.session import Session
from aegis_store.aio.store import Opening, Store, open, wrap

__all__ = ["Audit", "Memory", "Opening", "Session", "Store", "open", "recover", "recover_all", "wrap"]
