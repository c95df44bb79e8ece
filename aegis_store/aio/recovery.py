"""The decision after a failure, for tasks: `aegis_store.recover` and `recover_all`, in a thread. Hooks are plain functions."""

from __future__ import annotations

from functools import partial

from aegis_store import recovery as sync
from aegis_store.aio.store import Store
from aegis_store.aio.turns import in_thread_to_its_end
from aegis_store.recovery import Failure, Hooks, Outcome, Recovered


async def recover(store: Store, session_id: str, *, failure: Failure, hooks: Hooks | None = None) -> Recovered:
    """What becomes of a session after a failure. A task that is cancelled in here waits for the end all the same. The session
    that is given back is for threads: `store.session(result.session.id)` is the one for tasks."""
    return await in_thread_to_its_end(partial(sync.recover, store.sync, session_id, failure=failure, hooks=hooks))


async def recover_all(store: Store, *, failure: Failure, hooks: Hooks | None = None) -> list[Outcome]:
    """The same for every session that was not ended."""
    return await in_thread_to_its_end(partial(sync.recover_all, store.sync, failure=failure, hooks=hooks))
