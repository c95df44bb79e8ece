"""Durable workflows for threads: `DurableWorkflowEngine`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from aegis_store.bulk_reading import latest_of
from aegis_store.catalog import SessionRecord
from aegis_store.checkpoint import Checkpoint
from aegis_store.errors import AegisError, InvalidArgument, NotFound
from aegis_store.store import SESSIONS_PAGE, Store
from aegis_store.types import Ref
from aegis_store.workflow import checking, moving
from aegis_store.workflow.classes import AnyWorkflow, Workflow, restored, type_name
from aegis_store.workflow.links import Transition
from aegis_store.workflow.moves import Moves
from aegis_store.workflow.replaying import replay, replay_all
from aegis_store.workflow.saved import PREFIX, Saved, id_of, name_of, saved_in
from aegis_store.workflow.standing import board_of
from aegis_store.workflow.steps import run
from aegis_store.workflow.trail import Trail

#: Told of a workflow that cannot be resumed, and why; None: the damage hides which one, or whether it is one.
Failed = Callable[[str | None, AegisError], object]


class DurableWorkflowEngine:
    """State machines that go on after a crash where they were. Any number of threads, and engines, may use one store.

        engine = DurableWorkflowEngine(store)
        engine.create(order, actor="shop")
        engine.transition(order, "paid", actor="bank")      # durable when it returns: the state, and who did it
        ...
        for order in engine.resume_all_pending(Order): ...  # after a crash

    A transition and the checkpoint that it makes are one record of the session tier, so there is both or neither. The audit
    tier gets an event of it, which is made from that record; where a crash came between, it is made when the next engine
    is. With `checkpoint_on_transition=False` a transition is an event alone, and what has changed is saved by `checkpoint`.
    `agent` signs, the store's if nobody is named; `actor` is a text that says who did something.
    """

    def __init__(self, store: Store, *, agent: str | None = None, checkpoint_on_transition: bool = True) -> None:
        self.store: Final = store
        self.agent: Final = store.agent if agent is None else agent
        self.checkpoint_on_transition: Final = checkpoint_on_transition
        self._moves: Final = Moves(store, self.agent)
        self._trail: Final = Trail(store)
        self.replay()

    # ---- writing ----------------------------------------------------------------------------------------------------------

    def create(self, workflow: Workflow, *, actor: str | None = None, request_id: str | None = None) -> Transition:
        """Begin a workflow in the state that it is in, and save it; durable when this returns. Its class is from now on
        known by its name, or by `workflow_type` if it has that.

        Conflict: there is one of that id. InvalidArgument: this is no workflow. StateTypeError: `to_dict` gives what cannot
        be stored. A repeated `request_id` returns what the first call has made, here and below."""
        return run(self.store, self._moves.create(workflow, actor=actor, request_id=request_id))

    def transition(
        self, workflow: Workflow, to_state: object, *, actor: str | None = None, request_id: str | None = None
    ) -> Transition:
        """Bring a workflow to another state, or to the one that it is in; durable when this returns. Sets its `state`.

        Conflict: the workflow is in another state than this object of it; load it again. Ended: it was completed. NotFound:
        it was never created. Nothing was written then, and the object is as it was. OutcomeUnknown, Poisoned: close the
        store, open it again and load the workflow, or repeat the request."""
        steps = self._moves.transition(
            workflow, to_state, actor=actor, request_id=request_id, is_saved=self.checkpoint_on_transition
        )
        return run(self.store, steps)

    def checkpoint(self, workflow: Workflow, *, request_id: str | None = None) -> Ref:
        """Save a workflow as it is, between transitions; durable when this returns. Errors as of `transition`."""
        return run(self.store, self._moves.checkpoint(workflow, request_id=request_id))

    def complete(self, workflow: Workflow, *, actor: str | None = None, request_id: str | None = None) -> Transition:
        """Save a workflow for the last time: it is not pending any more, and stays readable. Errors as of `transition`."""
        return run(self.store, self._moves.complete(workflow, actor=actor, request_id=request_id))

    def replay(self) -> int:
        """Make the audit events that a crash, or a call that failed, has left out; the engine did so when it was made. How
        many workflows were looked at. In a store that is open for reading, nothing."""
        if not self.store.is_writable:
            return 0
        return run(self.store, replay_all(self.store, self._moves))

    # ---- reading ----------------------------------------------------------------------------------------------------------

    def load(self, cls: type[AnyWorkflow], workflow_id: str) -> AnyWorkflow:
        """A workflow as it was last saved, every check made. Transitions that were not saved are not in it: where it goes
        on, the chain first goes back to here (`workflow.rewound`).

        NotFound: there is none. InvalidArgument: it is of another class. Corrupt, BadSignature, Foreign: it is damaged; an
        older one is never given in its place. Erased: somebody had it erased."""
        found = self._session(workflow_id)
        loaded, saved = self._restored(cls, workflow_id, found, self.store.session(found.id).latest())
        self._go_on_from(workflow_id, saved)
        return loaded

    def load_at(self, cls: type[AnyWorkflow], workflow_id: str, at: datetime | int) -> AnyWorkflow:
        """A workflow as it was: at that time, or at the checkpoint of that number, from 0. To look at: what moves it on is
        the newest.

        NotFound: there was none yet, or there is no such number. Pruned, Erased: that checkpoint is gone. Errors as of
        `load`."""
        found = self._session(workflow_id)
        session = self.store.session(found.id)
        checkpoint = session.at(at) if isinstance(at, datetime) else session.get(at)
        return self._restored(cls, workflow_id, found, checkpoint)[0]

    def history(self, workflow_id: str) -> list[Transition]:
        """The transitions of a workflow, oldest first, each checked; also of checkpoints that were pruned. Damage raises."""
        return list(self._trail.transitions(workflow_id))

    def is_completed(self, workflow_id: str) -> bool:
        """Whether nothing comes any more. NotFound: there is no such workflow."""
        return self._session(workflow_id).ended is not None

    def pending(self, cls: type[Workflow]) -> Iterator[str]:
        """The ids of the workflows of a class that were not completed, oldest first."""
        return (id_of(each.id) for each in self._pending(type_name(cls)))

    def resume_all_pending(self, cls: type[AnyWorkflow], *, failed: Failed | None = None) -> list[AnyWorkflow]:
        """All workflows of a class that were not completed, oldest first, as they were last saved, every check made.

        `failed(workflow_id, error)` is told of one that cannot be resumed, and the others are; without it the first error
        raises. The id is None where damage hides which one it is, or that there is one. What is read is read in the order of
        the log, and signatures are checked on threads."""
        return list(self.resume_pending(cls, failed=failed))

    def resume_pending(self, cls: type[AnyWorkflow], *, failed: Failed | None = None) -> Iterator[AnyWorkflow]:
        """The same one by one, for more workflows than there is memory for."""
        for newest in latest_of(self.store, self._pending(type_name(cls))):
            workflow_id = id_of(newest.session.id)
            try:
                if isinstance(newest.checkpoint, AegisError):
                    raise newest.checkpoint
                workflow, saved = self._restored(cls, workflow_id, newest.session, newest.checkpoint)
            except AegisError as error:
                if failed is None:
                    raise
                failed(workflow_id, error)
                continue
            if not saved.is_completed:  # its end may have been cut short
                self._go_on_from(workflow_id, saved)
                yield workflow
        self._tell_hidden(failed)

    # ---- checking ---------------------------------------------------------------------------------------------------------

    def verify_audit_chain(self, workflow_id: str) -> tuple[bool, str | None]:
        """Whether every transition of a workflow is in the audit tier, says what its hash says, and starts where the one
        before it ended; and if not, which is the first that does not, and why."""
        self._replay(workflow_id)
        return checking.audit_chain(self.store, workflow_id)

    def verify_integrity(self, workflow_id: str) -> tuple[bool, str | None]:
        """The same, and whether every checkpoint is what was saved and agrees with the audit tier."""
        self._replay(workflow_id)
        return checking.integrity(self.store, workflow_id)

    # ---- from store to store ----------------------------------------------------------------------------------------------

    def export(self, workflow_id: str) -> bytes:
        """A workflow as JSON, signed by the engine's agent: its transitions, and the checkpoints that were neither pruned
        nor erased. It can be checked and taken in elsewhere. Errors as of `load` and `history`. ReadOnly: there is no key
        to sign with."""
        return moving.export(self.store, self.agent, workflow_id, self._session(workflow_id).role or "")

    def import_(self, data: bytes, *, public_key: bytes | None = None) -> str:
        """Take in a workflow that was exported from another store; its id. It is checked whole before anything is written,
        and its transitions keep their hashes, actors and times. `public_key` [32] is whose signature it must bear.

        Corrupt: it is not what was exported. BadSignature: somebody else signed it. Conflict: there is a workflow of that
        id. What was cut short goes on when it is repeated."""
        return run(self.store, moving.import_(self.store, self._moves, data, public_key=public_key))

    # ---- within -----------------------------------------------------------------------------------------------------------

    def _tell_hidden(self, failed: Failed | None) -> None:
        """A record that cannot be read may have begun a workflow that nobody knows of now."""
        for _, suspect in sorted(self.store.records.suspects.items()):
            if suspect.tag is None or self.store.catalog.session_by_tag(suspect.tag) is None:
                if failed is None:
                    raise suspect.error
                failed(None, suspect.error)

    def _session(self, workflow_id: str) -> SessionRecord:
        found = self.store.chain_of(name_of(workflow_id)).lineage.newest()
        if found is None:
            raise NotFound(f"there is no workflow {workflow_id!r}", op="workflow", path=str(self.store.path))
        return found

    def _restored(
        self, cls: type[AnyWorkflow], workflow_id: str, found: SessionRecord, checkpoint: Checkpoint | None
    ) -> tuple[AnyWorkflow, Saved]:
        """A workflow from a checkpoint, and what that says of it."""
        if found.role != type_name(cls):
            raise InvalidArgument(f"workflow {workflow_id!r} is of type {found.role!r}, not {type_name(cls)!r}", op="workflow")
        if checkpoint is None:
            raise NotFound(f"workflow {workflow_id!r} had no checkpoint then", op="workflow", path=str(self.store.path))
        saved = saved_in(checkpoint)
        # Of a completed one, that from which it was completed.
        state = saved.entry.link.from_state if saved.is_completed else saved.state
        return restored(cls, workflow_id, state, checkpoint.state), saved

    def _go_on_from(self, workflow_id: str, saved: Saved) -> None:
        """Whoever has loaded a workflow goes on from what was saved, whatever came after it."""
        standing = board_of(self.store).get(workflow_id)
        if standing is not None and saved.entry.link.number != standing.link.number:
            board_of(self.store).forget(workflow_id)

    def _pending(self, type_: str) -> Iterator[SessionRecord]:
        self.store.check_open()
        self.store.catch_up()
        after: int | None = None
        while page := self.store.catalog.sessions(after=after, limit=SESSIONS_PAGE):
            for each in page:
                if each.ended is None and each.role == type_ and each.id.startswith(PREFIX):
                    yield each
            after = page[-1].number

    def _replay(self, workflow_id: str) -> None:
        if self.store.is_writable:
            run(self.store, replay(self.store, self._moves, workflow_id))
