"""Durable workflows for tasks: `aegis_store.workflow.DurableWorkflowEngine` as coroutines.

A transition costs no thread: its record is queued in the loop, and its audit event when that has landed; tasks that move at
the same time share both syncs. What was queued goes on to its end whatever becomes of the task, its audit event included.
Loading and history run in the loop; what looks at many workflows, or at all of one, runs in a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Final, TypeVar

from aegis_store import workflow as sync
from aegis_store.aio.landing import Landings
from aegis_store.aio.store import Store
from aegis_store.aio.turns import in_thread_to_its_end
from aegis_store.types import Ref, Tier
from aegis_store.workflow.classes import AnyWorkflow, Workflow
from aegis_store.workflow.engine import Failed
from aegis_store.workflow.links import Transition
from aegis_store.workflow.moves import Moves
from aegis_store.workflow.steps import Steps, Wait

_Result = TypeVar("_Result")


class DurableWorkflowEngine:
    """State machines that go on after a crash where they were, for any number of tasks of one loop.

    Everything is as in `aegis_store.workflow.DurableWorkflowEngine`, but for what is said here. What a crash has left out
    is made good by the first call. Wait for what moves before the store is closed."""

    def __init__(self, store: Store, *, agent: str | None = None, checkpoint_on_transition: bool = True) -> None:
        self.store: Final = store
        self.agent: Final = store.agent if agent is None else agent
        self.checkpoint_on_transition: Final = checkpoint_on_transition
        self._moves: Final = Moves(store.sync, self.agent)
        self._landings: Final = {tier: Landings(store.sync, tier) for tier in (Tier.SESSION, Tier.AUDIT)}
        self._engine: sync.DurableWorkflowEngine | None = None
        # A loop holds its tasks weakly.
        self._going_on: Final[set[asyncio.Task[object]]] = set()

    # ---- writing ----------------------------------------------------------------------------------------------------------

    async def create(self, workflow: Workflow, *, actor: str | None = None, request_id: str | None = None) -> Transition:
        """Begin a workflow in the state that it is in, and save it; durable when this returns."""
        return await self._run(partial(self._moves.create, workflow, actor=actor, request_id=request_id))

    async def transition(
        self, workflow: Workflow, to_state: object, *, actor: str | None = None, request_id: str | None = None
    ) -> Transition:
        """Bring a workflow to another state; durable when this returns. A task that is cancelled in here has done so once
        or not at all, which a `request_id` tells; the object's `state` says it, too, for it is set when the record is
        queued."""
        is_saved = self.checkpoint_on_transition
        move = partial(self._moves.transition, workflow, to_state, actor=actor, request_id=request_id, is_saved=is_saved)
        return await self._run(move)

    async def checkpoint(self, workflow: Workflow, *, request_id: str | None = None) -> Ref:
        """Save a workflow as it is, between transitions; durable when this returns."""
        return await self._run(partial(self._moves.checkpoint, workflow, request_id=request_id))

    async def complete(self, workflow: Workflow, *, actor: str | None = None, request_id: str | None = None) -> Transition:
        """Save a workflow for the last time: it is not pending any more, and stays readable."""
        return await self._run(partial(self._moves.complete, workflow, actor=actor, request_id=request_id))

    async def replay(self) -> int:
        """Make the audit events that a crash, or a call that failed, has left out; in a thread."""
        return await in_thread_to_its_end((await self._ready()).replay)

    # ---- reading ----------------------------------------------------------------------------------------------------------

    async def load(self, cls: type[AnyWorkflow], workflow_id: str) -> AnyWorkflow:
        """A workflow as it was last saved, every check made."""
        return (await self._ready()).load(cls, workflow_id)

    async def load_at(self, cls: type[AnyWorkflow], workflow_id: str, at: datetime | int) -> AnyWorkflow:
        """A workflow as it was at that time, or at the checkpoint of that number, from 0."""
        return (await self._ready()).load_at(cls, workflow_id, at)

    async def history(self, workflow_id: str) -> list[Transition]:
        """The transitions of a workflow, oldest first, each checked."""
        return (await self._ready()).history(workflow_id)

    async def is_completed(self, workflow_id: str) -> bool:
        """Whether nothing comes any more."""
        return (await self._ready()).is_completed(workflow_id)

    async def pending(self, cls: type[Workflow]) -> list[str]:
        """The ids of the workflows of a class that were not completed, oldest first; in a thread."""
        engine = await self._ready()
        return await asyncio.to_thread(lambda: list(engine.pending(cls)))

    async def resume_all_pending(self, cls: type[AnyWorkflow], *, failed: Failed | None = None) -> list[AnyWorkflow]:
        """All workflows of a class that were not completed, oldest first, as they were last saved; in a thread, where
        `failed` is called, too, and `from_dict`."""
        engine = await self._ready()
        return await asyncio.to_thread(partial(engine.resume_all_pending, cls, failed=failed))

    # ---- checking, and from store to store: in a thread -------------------------------------------------------------------

    async def verify_audit_chain(self, workflow_id: str) -> tuple[bool, str | None]:
        """Whether every transition is in the audit tier and follows the one before it; and if not, which does not, and
        why."""
        return await in_thread_to_its_end(partial((await self._ready()).verify_audit_chain, workflow_id))

    async def verify_integrity(self, workflow_id: str) -> tuple[bool, str | None]:
        """The same, and whether every checkpoint is what was saved and agrees with the audit tier."""
        return await in_thread_to_its_end(partial((await self._ready()).verify_integrity, workflow_id))

    async def export(self, workflow_id: str) -> bytes:
        """A workflow as JSON, signed by the engine's agent."""
        return await in_thread_to_its_end(partial((await self._ready()).export, workflow_id))

    async def import_(self, data: bytes, *, public_key: bytes | None = None) -> str:
        """Take in a workflow that was exported from another store; its id."""
        return await in_thread_to_its_end(partial((await self._ready()).import_, data, public_key=public_key))

    # ---- within -----------------------------------------------------------------------------------------------------------

    async def _ready(self) -> sync.DurableWorkflowEngine:
        """The engine for threads, made when the first call comes: that is when what a crash has left out is made good."""
        if self._engine is None:
            self.store.sync.check_open()  # in a forked child no loop runs, and that would be the error
            make = partial(
                sync.DurableWorkflowEngine,
                self.store.sync,
                agent=self.agent,
                checkpoint_on_transition=self.checkpoint_on_transition,
            )
            self._engine = await in_thread_to_its_end(make)
        return self._engine

    async def _run(self, call: Callable[[], Steps[_Result]]) -> _Result:
        await self._ready()
        for landings in self._landings.values():
            await landings.enrolled(self.agent)
            landings.here()  # ReadOnly, and the like: before anything is queued
        steps = call()
        try:
            first = next(steps)
        except StopIteration as done:
            result: _Result = done.value
            return result
        # No await since it was queued: it is waited for whatever becomes of this task.
        task = asyncio.get_running_loop().create_task(self._go_on(steps, self._landed(first)))
        self._going_on.add(task)
        task.add_done_callback(self._gone)
        return await asyncio.shield(task)

    async def _go_on(self, steps: Steps[_Result], landed: asyncio.Future[None]) -> _Result:
        while True:
            try:
                await landed
            except BaseException as error:
                following = partial(steps.throw, error)
            else:
                following = partial(steps.send, None)
            try:
                landed = self._landed(following())
            except StopIteration as done:
                result: _Result = done.value
                return result

    def _landed(self, wait: Wait) -> asyncio.Future[None]:
        return self._landings[wait.tier].here().wait_for(wait.record, wait.settle)

    def _gone(self, task: asyncio.Task[object]) -> None:
        self._going_on.discard(task)
        if not task.cancelled():
            task.exception()  # heard, if by nobody else
