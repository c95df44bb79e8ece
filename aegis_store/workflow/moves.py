"""The calls that write, as steps: what is queued, what is waited for, and in which order.

    checkpoint and transition, one record   ──▶ durable ──▶ audit event, made from it, ──▶ the call returns
    of the session tier                                     queued                     ──▶ durable a moment later

The event comes second, so that there is none of a transition that did not happen. Nobody waits for its sync but who reads the
audit tier (`Audit.follow`): the record says all that is needed to make the event again, should a crash come first
(`replaying`). Why so: decisions/0021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from aegis_store.chain import NO_CHECKPOINT
from aegis_store.errors import AegisError, Conflict, Ended, InvalidArgument, NotFound, OutcomeUnknown
from aegis_store.store import Store
from aegis_store.types import LogIndex, Ref, Tier
from aegis_store.workflow import links
from aegis_store.workflow.classes import Workflow, demand_text, demand_workflow, state_name, type_name
from aegis_store.workflow.links import NO_STATE, Entry, Transition
from aegis_store.workflow.saved import Saved, name_of, placed, saved_in, to_metadata
from aegis_store.workflow.standing import Standing, board_of
from aegis_store.workflow.steps import Steps, Wait
from aegis_store.workflow.trail import Trail

ENDED_REASON: Final = "completed"


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """What a call has queued: the last record in the session tier, the transitions whose events are to follow, and the one
    that the caller asked for. `event` is the newest one where that was queued instead of a record. `token` is the open
    move's."""

    workflow_id: str
    checkpoint: Ref | None
    last: LogIndex | None
    entries: tuple[Entry, ...]
    entry: Entry | None
    event: Ref | None
    token: object


class Moves:
    """What an engine writes, signed by `agent`."""

    def __init__(self, store: Store, agent: str) -> None:
        self._store: Final = store
        self._agent: Final = agent
        self._board: Final = board_of(store)
        self._trail: Final = Trail(store)

    # ---- the calls --------------------------------------------------------------------------------------------------------

    def create(self, workflow: Workflow, *, actor: str | None, request_id: str | None) -> Steps[Transition]:
        """Begin a workflow in the state that it is in, and save it."""
        workflow_id, state = demand_workflow(workflow), state_name(workflow.state)
        with self._board.locked(workflow_id):
            queued = self._requested(workflow_id, request_id)
            if queued is None:
                if self._standing_of(workflow_id) is not None:
                    raise self._conflict(workflow_id, "is there already", "load it, or give the new one another id")
                link = links.follow(
                    workflow_id,
                    None,
                    action=links.CREATED,
                    to_state=state,
                    actor=self._actor(actor),
                    now_ms=self._store.clock.now_ms(),
                )
                queued = self._save(workflow_id, workflow, None, [Entry(link=link)], state, request_id)
        return (yield from self._landed(queued))

    def transition(
        self, workflow: Workflow, to_state: object, *, actor: str | None, request_id: str | None, is_saved: bool
    ) -> Steps[Transition]:
        """Bring a workflow from the state that it is in to another; with `is_saved` its checkpoint is made with it."""
        workflow_id, to_name = demand_workflow(workflow), state_name(to_state)
        before = workflow.state
        with self._board.locked(workflow_id):
            queued = self._requested(workflow_id, request_id)
            if queued is None:
                standing = self._demand(workflow_id, workflow)
                entries = self._onward(workflow_id, standing, links.TRANSITION, to_name, actor)
                workflow.state = to_state
                try:
                    if is_saved:
                        queued = self._save(workflow_id, workflow, standing, entries, to_name, request_id)
                    else:
                        queued = self.record(workflow_id, standing, entries, to_name, request_id)
                except BaseException:
                    workflow.state = before
                    raise
        made = yield from self._landed(queued)
        if made.to_state != to_name:
            raise InvalidArgument(
                f"request {request_id!r} of workflow {workflow_id!r} was a transition to {made.to_state!r}, not {to_name!r}",
                op="workflow",
                hint="give each request a name of its own",
            )
        workflow.state = to_state  # also where the request was repeated, and the object is one from before
        return made

    def checkpoint(self, workflow: Workflow, *, request_id: str | None) -> Steps[Ref]:
        """Save a workflow as it is, in the state that it is in."""
        workflow_id = demand_workflow(workflow)
        with self._board.locked(workflow_id):
            queued = self._requested(workflow_id, request_id)
            if queued is None:
                standing = self._demand(workflow_id, workflow)
                entries = self._rewound(workflow_id, standing)
                queued = self._save(workflow_id, workflow, standing, entries, standing.state, request_id, is_transition=False)
        yield from self.landing(queued)
        if queued.checkpoint is None:
            raise InvalidArgument(f"request {request_id!r} was a transition that was not saved", op="workflow")
        return queued.checkpoint

    def complete(self, workflow: Workflow, *, actor: str | None, request_id: str | None) -> Steps[Transition]:
        """Save a workflow for the last time. Its session ends, so that it is not pending any more."""
        workflow_id = demand_workflow(workflow)
        with self._board.locked(workflow_id):
            queued = self._requested(workflow_id, request_id)
            if queued is None:
                standing = self._demand(workflow_id, workflow)
                entries = self._onward(workflow_id, standing, links.COMPLETED, NO_STATE, actor)
                queued = self._save(workflow_id, workflow, standing, entries, NO_STATE, request_id)
                ended = self._store.session(name_of(workflow_id), agent=self._agent).submit_end(reason=ENDED_REASON)
                queued = msgspec.structs.replace(queued, last=queued.last if ended is None else ended)
        return (yield from self._landed(queued))

    def replay(self, workflow_id: str, saved: Saved) -> Steps[None]:
        """Make what the newest checkpoint of a workflow says should be there: audit events, and its end."""
        session = self._store.session(name_of(workflow_id), agent=self._agent)
        if saved.is_completed:
            ended = session.submit_end(reason=ENDED_REASON)
            if ended is not None:
                yield Wait(Tier.SESSION, ended, lambda: session.settle(ended))
        self._events(workflow_id, saved.due)

    # ---- what is queued: the workflow's lock is held ----------------------------------------------------------------------

    def _save(
        self,
        workflow_id: str,
        workflow: Workflow,
        standing: Standing | None,
        entries: Sequence[Entry],
        state: str,
        request_id: str | None,
        *,
        is_transition: bool = True,
    ) -> Queued:
        """Queue a checkpoint that is one with the last of `entries`, if it `is_transition`."""
        return self.save(
            workflow_id,
            type_name(type(workflow)),
            workflow.to_dict(),
            standing,
            entries,
            state,
            request_id,
            is_transition=is_transition,
        )

    def save(
        self,
        workflow_id: str,
        role: str,
        content: object,
        standing: Standing | None,
        entries: Sequence[Entry],
        state: str,
        request_id: str | None,
        *,
        is_transition: bool,
    ) -> Queued:
        """The same of what `to_dict` gave."""
        known = () if standing is None else standing.unaudited
        if entries:
            entry = entries[-1]
        elif standing is not None:
            entry = Entry(link=standing.link)
        else:
            raise InvalidArgument(f"workflow {workflow_id!r} has no transition", op="workflow")
        before = (*known, *(entries[:-1] if is_transition else entries))
        session = self._store.session(name_of(workflow_id), agent=self._agent)
        token, open_from = self._board.begin(self._store.records.size())
        saved = Saved(entry=entry, state=state, is_transition=is_transition, unaudited=before, audited_below=open_from)
        try:
            pending = session.submit(
                content,
                position=state or None,
                metadata=to_metadata(saved),
                expect=NO_CHECKPOINT if standing is None else standing.newest,
                request_id=request_id,
                role=role,
            )
        except BaseException as error:
            self._board.forget(workflow_id)
            if isinstance(error, AegisError) and not isinstance(error, OutcomeUnknown):
                self._board.end(token)  # nothing was queued
            else:
                self._store.lost_track()
                self._board.fail(token)
            raise
        ref = pending.ref
        if is_transition:
            entry = placed(entry, ref)
        made = (*before, entry) if is_transition else before
        self._board.put(
            workflow_id,
            Standing(
                type=role,
                newest=ref,
                link=entry.link,
                state=state,
                is_completed=state == NO_STATE,
                unaudited=made,
                event=None if standing is None else standing.event,
            ),
        )
        return Queued(
            workflow_id=workflow_id, checkpoint=ref, last=ref.index, entries=made, entry=entry, event=None, token=token
        )

    def record(
        self, workflow_id: str, standing: Standing, entries: Sequence[Entry], state: str, request_id: str | None = None
    ) -> Queued:
        """Queue the events of transitions that are not saved, behind all that come before them."""
        event, made = standing.event, list(standing.unaudited)
        try:
            for each in standing.unaudited:
                event = self._trail.submit(workflow_id, each, self._agent).ref
            for each in entries:
                named = Entry(link=each.link, request=request_id if each is entries[-1] else None)
                expect = NO_CHECKPOINT if event is None else event
                event = self._trail.submit(workflow_id, named, self._agent, expect=expect).ref
                made.append(named)
        except BaseException:
            self._board.forget(workflow_id)
            raise
        self._board.put(
            workflow_id,
            msgspec.structs.replace(standing, link=made[-1].link, state=state, event=event, unaudited=tuple(made)),
        )
        return Queued(
            workflow_id=workflow_id,
            checkpoint=None,
            last=None,
            entries=tuple(made),
            entry=made[-1],
            event=event,
            token=None,
        )

    def _onward(self, workflow_id: str, standing: Standing, action: str, to_state: str, actor: str | None) -> list[Entry]:
        """The transition that comes next, behind that which goes back to where the object is."""
        rewound = self._rewound(workflow_id, standing)
        before = rewound[-1].link if rewound else standing.link
        now = self._store.clock.now_ms()
        link = links.follow(workflow_id, before, action=action, to_state=to_state, actor=self._actor(actor), now_ms=now)
        return [*rewound, Entry(link=link)]

    def _rewound(self, workflow_id: str, standing: Standing) -> list[Entry]:
        if standing.link.to_state == standing.state:
            return []
        link = links.follow(
            workflow_id,
            standing.link,
            action=links.REWOUND,
            to_state=standing.state,
            actor=self._agent,
            now_ms=self._store.clock.now_ms(),
        )
        return [Entry(link=link)]

    def _requested(self, workflow_id: str, request_id: str | None) -> Queued | None:
        """What a call with that request id has queued before; None if there was none."""
        if request_id is None:
            return None
        self._store.check_open()
        found = self._store.chain_of(name_of(workflow_id)).requested(request_id)
        event = self._trail.requested(workflow_id, request_id) if found is None else None
        if found is None and event is None:
            return None
        return Queued(
            workflow_id=workflow_id,
            checkpoint=found,
            last=None if found is None else found.index,
            entries=(),
            entry=None,
            event=event,
            token=None,
        )

    # ---- what is waited for -----------------------------------------------------------------------------------------------

    def _landed(self, queued: Queued) -> Steps[Transition]:
        """Wait until a transition and its event are durable."""
        event = yield from self.landing(queued)
        if queued.entry is not None and event is not None:
            return links.public(queued.workflow_id, queued.entry, event)
        # The request was repeated: what it was stands in the audit tier, whatever went of the session since.
        for made in self._trail.transitions(queued.workflow_id):
            if queued.event is not None and made.event.index == queued.event.index:
                return made
            if queued.checkpoint is not None and made.record == queued.checkpoint.index:
                return made
        raise InvalidArgument("that request was a checkpoint, and no transition", op="workflow")

    def landing(self, queued: Queued) -> Steps[Ref | None]:
        """Wait for all that a call has queued, and queue the events that follow from it; the last of these."""
        workflow_id, event = queued.workflow_id, queued.event
        try:
            if queued.last is not None:
                session, last = self._store.session(name_of(workflow_id), agent=self._agent), queued.last
                yield Wait(Tier.SESSION, last, lambda: session.settle(last))
            if queued.entry is None and queued.checkpoint is not None:
                yield from self._replay_newest(workflow_id)
            if event is not None:
                yield self._trail.wait(event)
                if queued.entries:
                    self._board.audited(workflow_id, queued.entries[-1].link.number, event)
            else:
                event = self._events(workflow_id, queued.entries)
        except BaseException:
            self._store.lost_track()
            self._board.forget(workflow_id)
            self._board.fail(queued.token)
            raise
        if event is not None and queued.checkpoint is not None and queued.entries:
            self._board.follow(workflow_id, queued.entries[-1].link.number, event, queued.token)
        else:
            self._board.end(queued.token)
        return event

    def _replay_newest(self, workflow_id: str) -> Steps[None]:
        """Whoever made this request before may not have come to its event."""
        checkpoint = self._store.session(name_of(workflow_id)).latest()
        if checkpoint is not None:
            yield from self.replay(workflow_id, saved_in(checkpoint))

    def _events(self, workflow_id: str, entries: Sequence[Entry]) -> Ref | None:
        """Queue the events of transitions that are durable; the last of these. They become durable without being waited for."""
        event = None
        for each in entries:
            event = self._trail.submit(workflow_id, each, self._agent).ref
        if event is not None:
            self._store.audit.follow(event)
        return event

    # ---- where a workflow stands ------------------------------------------------------------------------------------------

    def _demand(self, workflow_id: str, workflow: Workflow) -> Standing:
        """Where the workflow of an object stands. NotFound: nowhere. Ended: it is completed. Conflict: it stands elsewhere
        than the object. InvalidArgument: it is of another class."""
        standing = self._standing_of(workflow_id)
        if standing is None:
            raise NotFound(
                f"there is no workflow {workflow_id!r}", op="workflow", path=str(self._store.path), hint="create it first"
            )
        mine = type_name(type(workflow))
        if mine != standing.type:
            raise InvalidArgument(f"workflow {workflow_id!r} is of type {standing.type!r}, not {mine!r}", op="workflow")
        if standing.is_completed:
            raise Ended(
                f"workflow {workflow_id!r} was completed, and goes nowhere from there",
                op="workflow",
                path=str(self._store.path),
                hint="create another one",
            )
        state = state_name(workflow.state)
        if state != standing.state:
            where = f"is in state {standing.state!r}, and this object of it in {state!r}"
            raise self._conflict(workflow_id, where, "load it again, and decide on what it says")
        return standing

    def _standing_of(self, workflow_id: str) -> Standing | None:
        self._store.check_open()
        self._board.take(self._store.records.engine.size(Tier.AUDIT))
        standing = self._board.get(workflow_id)
        if standing is None:
            standing = self._read_standing(workflow_id)
            if standing is not None:
                self._board.put(workflow_id, standing)
        return standing

    def _read_standing(self, workflow_id: str) -> Standing | None:
        """As the store has it: the newest checkpoint, and what the audit tier has of what came after it."""
        session = self._store.session(name_of(workflow_id))
        checkpoint, info = session.latest(), session.info()
        if checkpoint is None or info is None:
            return None
        saved = saved_in(checkpoint)
        audited = self._trail.newest(workflow_id)
        number = -1 if audited is None else audited[0].link.number
        is_ahead = audited is not None and number > saved.entry.link.number
        return Standing(
            type=info.role or "",
            newest=checkpoint.ref,
            link=audited[0].link if audited is not None and is_ahead else saved.entry.link,
            state=saved.state,
            is_completed=saved.is_completed,
            unaudited=tuple(each for each in saved.due if each.link.number > number),
            event=None if audited is None else audited[1],
        )

    def _actor(self, actor: str | None) -> str:
        chosen = self._agent if actor is None else actor
        return demand_text(chosen, "actor")

    def _conflict(self, workflow_id: str, what: str, hint: str) -> Conflict:
        error = Conflict(f"workflow {workflow_id!r} {what}", op="workflow", path=str(self._store.path), hint=hint)
        standing = self._board.get(workflow_id)
        error.newest = None if standing is None else standing.newest
        return error
