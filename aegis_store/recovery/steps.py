"""The steps of a recovery, each an event of the audit tier before the next one begins, and what they do.

    recovery.decided ── recovery.held ── recovery.notice ── recovery.act         discard
    recovery.decided ─────────────────────────────────────── recovery.act         resume, restart

An event that ends a step carries a request id, so that a step that is done twice is recorded once; a try that failed is an
event without one, and the step stays due. Where the process was killed between two, the events say which step is next.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

import msgspec

from aegis_store.audit import Event
from aegis_store.errors import AegisError, Corrupt, Gone, NotFound, RecoveryIncomplete
from aegis_store.holding import HoldInfo
from aegis_store.incidents import restart_id
from aegis_store.recovery.decide import decide
from aegis_store.recovery.hooks import HookFailed, Hooks, ask
from aegis_store.recovery.kinds import (
    Decision,
    Discard,
    Failure,
    Looked,
    Notice,
    Recovery,
    Restart,
    Resume,
    Status,
    Step,
)
from aegis_store.session import Session
from aegis_store.store import Store
from aegis_store.types import LogIndex, Ordinal, Ref, Tier, TimeMs

#: Who says so in the audit tier, and who holds what is evidence.
ACTOR: Final = "aegis recover"
RESTART_FIRST: Final = 2
Answer = TypeVar("Answer")


def subject_of(session_id: str) -> str:
    """What the audit tier calls a session."""
    return f"session/{session_id}"


# ---- what there is ------------------------------------------------------------------------------------------------------


def newest(store: Store, session_id: str) -> Recovery | None:
    """The newest recovery of a session, as far as it has come; None if there was none."""
    found: Recovery | None = None
    for event in store.audit.events(subject_of(session_id)):
        if event.action == Step.DECIDED.value:
            found = _decided(session_id, event)
        elif found is not None and event.action in (each.value for each in Step):
            found = _went_on(found, event)
    return found


def evidence(store: Store, session_id: str) -> list[Ref]:
    """The checkpoints of a session that recoveries have discarded."""
    decided = (_decided(session_id, each) for each in store.audit.events(subject_of(session_id), action=Step.DECIDED.value))
    return [each.checkpoint for each in decided if each.decision is Decision.DISCARD and each.checkpoint is not None]


def _decided(session_id: str, event: Event) -> Recovery:
    try:
        said = msgspec.convert(event.details, _Decided)
        return Recovery(
            session=session_id,
            number=said.recovery,
            failure=Failure(said.failure),
            status=Status(said.status),
            decision=Decision(said.decision),
            reason=said.reason,
            checkpoint=None if said.checkpoint is None else said.checkpoint.ref(session_id),
            error=said.error,
            agent=said.agent,
            incident=said.incident,
            restart=said.restart,
            done=(Step.DECIDED,),
        )
    except (msgspec.ValidationError, ValueError) as error:
        raise Corrupt(
            f"event {event.ref.ordinal} of {event.subject!r} is no decision: {error}",
            op="recover",
            tier=Tier.AUDIT.label,
            index=event.ref.index,
        ) from None


def _went_on(found: Recovery, event: Event) -> Recovery:
    details = event.details if isinstance(event.details, dict) else {}
    if details.get("recovery") != found.number:
        return found
    if details.get("outcome") != "done":
        problem = details.get("error")
        return msgspec.structs.replace(found, problem=problem if isinstance(problem, str) else "it failed")
    hold = details.get("hold")
    return msgspec.structs.replace(
        found,
        done=(*found.done, Step(event.action)),
        problem=None,
        hold=hold if isinstance(hold, int) else found.hold,
    )


class _Point(msgspec.Struct, frozen=True):
    index: int
    leaf: bytes
    ordinal: int
    time_ms: int | None

    def ref(self, session_id: str) -> Ref:
        return Ref(
            tier=Tier.SESSION,
            index=LogIndex(self.index),
            leaf=self.leaf,
            ordinal=Ordinal(self.ordinal),
            session=session_id,
            time_ms=None if self.time_ms is None else TimeMs(self.time_ms),
        )


class _Decided(msgspec.Struct, frozen=True, kw_only=True):
    """The details of the event `recovery.decided`. `head` is the session tier's: how many records, under which root."""

    recovery: int
    failure: str
    status: str
    decision: str
    reason: str
    checkpoint: _Point | None
    error: str | None
    agent: str | None
    incident: int | None
    restart: str | None
    head: dict[str, Any]


# ---- deciding -----------------------------------------------------------------------------------------------------------


def begin(store: Store, session_id: str, failure: Failure, looked: Looked, before: Recovery | None) -> Recovery:
    """Decide, and write it down. What is discarded is refused from before the decision on: an incident is opened first, and
    where the process is killed in between, it is what decides next time."""
    incident = store.incidents.of(session_id)
    decision, reason = decide(looked.status, failure, has_incident=incident is not None)
    number = 1 if before is None else before.number + 1
    if decision is Decision.DISCARD and incident is None:
        incident = store.incidents.open(
            session_id, reason=reason, by=ACTOR, details={"failure": failure.value, "recovery": number}
        )
    ref = looked.ref
    head = store.records.engine.head(Tier.SESSION)
    said = _Decided(
        recovery=number,
        failure=failure.value,
        status=looked.status.value,
        decision=decision.value,
        reason=reason,
        checkpoint=None if ref is None else _Point(ref.index, ref.leaf, ref.ordinal, ref.time_ms),
        error=looked.error,
        agent=looked.agent,
        incident=None if incident is None else incident.number,
        restart=_fresh(store, session_id, looked) if decision is Decision.RESTART else None,
        head={"size": head.size, "root": head.root},
    )
    details = msgspec.to_builtins(said, builtin_types=(bytes,))
    store.audit.record(ACTOR, Step.DECIDED.value, subject_of(session_id), details, request_id=f"recovery/{number}/decided")
    found = newest(store, session_id)
    if found is None:
        raise Corrupt(f"the decision on session {session_id!r} is not there any more", op="recover", tier=Tier.AUDIT.label)
    return found


def _fresh(store: Store, session_id: str, looked: Looked) -> str:
    """The id of a session that has not begun: the session's own, if that is one."""
    if not looked.has_begun and looked.status is Status.NONE:
        return session_id
    number = RESTART_FIRST
    while store.catalog.session(restart_id(session_id, number)) is not None:
        number += 1
    return restart_id(session_id, number)


# ---- doing --------------------------------------------------------------------------------------------------------------


class Doing:
    """A recovery on its way. `recovery` says how far it is."""

    def __init__(self, store: Store, recovery: Recovery, hooks: Hooks) -> None:
        self._store = store
        self._hooks = hooks
        self.recovery = recovery
        self.session: Final = store.session(recovery.session, agent=recovery.agent)

    def discard(self) -> Discard:
        """Hold, notify, end the session. Where the notice cannot be delivered it stays due, and the session refused."""
        incident = self.recovery.incident or 0
        if self.recovery.due is Step.HELD:
            self._done(Step.HELD, hold=self._hold(incident))
        if self.recovery.due is Step.NOTICE:
            try:
                how = self._ask(Step.NOTICE, lambda: self._hooks.notifier.notify(self._notice(incident)))
            except RecoveryIncomplete:
                return Discard(recovery=self.recovery, incident=incident, hold=self.recovery.hold)
            self._done(Step.NOTICE, how=None if how is None else str(how))
        if self.recovery.due is Step.ACT:
            self._done(Step.ACT, ended=self._end(f"discarded: {self.recovery.reason} (incident {incident})"))
        return Discard(recovery=self.recovery, incident=incident, hold=self.recovery.hold)

    def restart(self) -> Restart:
        """End the session that failed, and read what the fresh one begins with."""
        recovery = self.recovery
        fresh = self._store.session(recovery.restart or recovery.session, agent=recovery.agent)
        done, unknown = self._calls()
        memory = self._ask(Step.ACT, lambda: self._hooks.memory.read(fresh.id, recovery.agent, None))
        ended = None
        if fresh.id != recovery.session:
            ended = self._end(f"restarted as {fresh.id!r}: {recovery.reason}")
        self._done(Step.ACT, session=fresh.id, ended=ended)
        return Restart(recovery=self.recovery, session=fresh, memory=memory, calls_done=done, calls_unknown=unknown)

    def resume(self) -> Resume:
        """Load the checkpoint, and have a token issued for what it allowed."""
        checkpoint = self.session.latest()
        if checkpoint is None:
            raise NotFound(f"session {self.session.id!r} has no checkpoint any more", op="recover")
        done, unknown = self._calls()
        token = self._ask(Step.ACT, lambda: self._hooks.token.issue(self.session.id, checkpoint.agent, checkpoint.claims))
        self._done(Step.ACT, session=self.session.id, token="none" if token is None else "issued")
        return Resume(
            recovery=self.recovery,
            session=self.session,
            checkpoint=checkpoint,
            token=token,
            approvals=tuple(checkpoint.approvals or ()),
            memory_pointer=checkpoint.memory_pointer,
            calls_done=done,
            calls_unknown=unknown,
        )

    # ---- within -----------------------------------------------------------------------------------------------------------

    def _ask(self, step: Step, hook: Callable[[], Answer]) -> Answer:
        try:
            return ask(hook, self._hooks.timeout_seconds)
        except HookFailed as error:
            self._failed(step, str(error))

    def _failed(self, step: Step, error: str) -> NoReturn:
        """Write down that a step was tried, and stop there."""
        details = {"recovery": self.recovery.number, "outcome": "failed", "error": error}
        self._store.audit.record(ACTOR, step.value, subject_of(self.recovery.session), details)
        self.recovery = msgspec.structs.replace(self.recovery, problem=error)
        raise RecoveryIncomplete(
            f"session {self.recovery.session!r} is to {self.recovery.decision.value}, and {_WHAT[step]} failed: {error}",
            op="recover",
            path=str(self._store.path),
            hint="recover again: it goes on from there",
        )

    def _done(self, step: Step, **details: object) -> None:
        number = self.recovery.number
        said = {"recovery": number, "outcome": "done", **details}
        request = f"recovery/{number}/{step.value}"
        self._store.audit.record(ACTOR, step.value, subject_of(self.recovery.session), said, request_id=request)
        hold = details.get("hold")
        self.recovery = msgspec.structs.replace(
            self.recovery,
            done=(*self.recovery.done, step),
            problem=None,
            hold=hold if isinstance(hold, int) else self.recovery.hold,
        )

    def _hold(self, incident: int) -> int | None:
        """Hold the checkpoint, or where that is damaged or gone the whole session; one that a killed process placed counts.
        None: there is nothing to hold."""
        point = self.recovery.checkpoint
        found = self._store.catalog.session(self.recovery.session)
        if found is None:
            return None
        reason = f"incident {incident}, recovery {self.recovery.number}: {self.recovery.reason}"
        for each in self.session.holds():
            if (each.holder, each.reason) == (ACTOR, reason):
                return each.number
        place = self._store.keeping.holds.place
        placed: HoldInfo | None = None
        if point is not None:
            try:
                placed = place(found, reason=reason, holder=ACTOR, ordinal=point.ordinal)
            except (Corrupt, Gone, NotFound):
                placed = None
        if placed is None:
            placed = place(found, reason=reason, holder=ACTOR, ordinal=None)
        return placed.number

    def _notice(self, incident: int) -> Notice:
        recovery, claims = self.recovery, None
        if recovery.status is Status.VERIFIED and recovery.checkpoint is not None:
            try:
                claims = self.session.get(recovery.checkpoint.ordinal).claims
            except AegisError:
                claims = None
        return Notice(
            key=f"{recovery.session}/{recovery.number}",
            session=recovery.session,
            agent=recovery.agent,
            incident=incident,
            reason=recovery.reason,
            checkpoint=recovery.checkpoint,
            claims=claims,
        )

    def _end(self, reason: str) -> str | None:
        """End the session. What keeps it from that, and is said: it is damaged, or never began."""
        try:
            self.session.end(reason=reason)
        except (Corrupt, Gone, NotFound) as error:
            return error.message
        finally:
            self._store.chain_of(self.session.id).look_again()
        return None

    def _calls(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        return calls_of(self.session, damaged_is_none=self.recovery.decision is Decision.RESTART)


def calls_of(session: Session, *, damaged_is_none: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The ids of a session's calls that are done, and of those of which nobody knows."""
    try:
        calls = session.calls.all()
    except (Corrupt, Gone):
        if not damaged_is_none:
            raise
        return (), ()
    return tuple(each.id for each in calls if each.is_done), tuple(each.id for each in calls if not each.is_done)


_WHAT: Final = {Step.NOTICE: "the notice to its owner", Step.ACT: "a hook that it needs", Step.HELD: "the hold"}
