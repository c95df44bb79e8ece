"""Decide what becomes of a session after a failure, do it, and write down every step before the next.

A recovery that did not come to its end is gone on with and not decided anew, except that a security event or an unknown one
overrides a decision to go on, and that what was to be resumed is looked at again: a checkpoint that came later, or that doesn't
verify any more, is another case. A session that was restarted is recovered as the one that took its place.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from typing import Final

import msgspec

from aegis_store.errors import AegisError, Ended
from aegis_store.incidents import family
from aegis_store.opening import demand_name
from aegis_store.recovery.hooks import Hooks
from aegis_store.recovery.kinds import Decision, Failure, Looked, Recovered, Recovery, Status
from aegis_store.recovery.status import look
from aegis_store.recovery.steps import Doing, begin, evidence, newest
from aegis_store.store import Store

#: Of each store, by family: held by who recovers one.
_turns: Final[weakref.WeakKeyDictionary[Store, dict[str, threading.Lock]]] = weakref.WeakKeyDictionary()
_turns_lock: Final = threading.Lock()


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What `recover_all` has done about one session: a result, or the error that it ended with."""

    session: str
    result: Recovered | None = None
    error: AegisError | None = None


def recover(store: Store, session_id: str, *, failure: Failure, hooks: Hooks | None = None) -> Recovered:
    """What becomes of a session after a failure: Resume, Restart or Discard, done, with its reason and evidence recorded.

    RecoveryIncomplete: a hook failed; the decision stands, and the next call goes on from there. Ended: the session was ended,
    and there is nothing to go on with. IncidentOpen: one is open whose session cannot be read. Errors of the store as of
    `Session.checkpoint`; a state of a type that is not registered is UnknownType.
    """
    store.check_open()
    store.store_signer("recover")  # ReadOnly
    demand_name(session_id, "session id", op="recover")
    with _turn(store, session_id):
        current = _follow(store, session_id)
        recovery = _due(store, current, failure)
        doing = Doing(store, recovery, Hooks() if hooks is None else hooks)
        match recovery.decision:
            case Decision.DISCARD:
                return doing.discard()
            case Decision.RESTART:
                return doing.restart()
            case Decision.RESUME:
                return doing.resume()


def recover_all(store: Store, *, failure: Failure, hooks: Hooks | None = None) -> list[Outcome]:
    """The same for every session that was not ended, and for those whose recovery has not come to its end. An error of one
    keeps nobody from the others."""
    found = []
    for session_id in list(_unfinished(store)):
        try:
            found.append(Outcome(session=session_id, result=recover(store, session_id, failure=failure, hooks=hooks)))
        except AegisError as error:
            found.append(Outcome(session=session_id, error=error))
    return found


def recovery_of(store: Store, session_id: str) -> Recovery | None:
    """The newest recovery of a session, as far as it has come; None if there was none. Changes nothing."""
    store.check_open()
    return newest(store, session_id)


def _unfinished(store: Store) -> Iterator[str]:
    for info in store.sessions():
        recovery = newest(store, info.id)
        if (recovery is not None and not recovery.is_finished) or (info.is_open and not _was_replaced(store, recovery)):
            yield info.id


def _was_replaced(store: Store, recovery: Recovery | None) -> bool:
    """Whether another session has begun in a session's place."""
    return (
        recovery is not None
        and recovery.decision is Decision.RESTART
        and recovery.restart not in (None, recovery.session)
        and store.catalog.session(recovery.restart or "") is not None
    )


def _follow(store: Store, session_id: str) -> str:
    """The session that has taken its place, if it was restarted."""
    current, seen = session_id, {session_id}
    while True:
        recovery = newest(store, current)
        if recovery is None or not recovery.is_finished or recovery.restart is None or recovery.restart in seen:
            return current
        if not _was_replaced(store, recovery) and newest(store, recovery.restart) is None:
            return current
        current = recovery.restart
        seen.add(current)


def _due(store: Store, session_id: str, failure: Failure) -> Recovery:
    """The recovery to go on with, or a new one."""
    before = newest(store, session_id)
    has_incident = store.incidents.of(session_id) is not None
    if before is not None and before.decision is Decision.DISCARD and _stands(store, before):
        return before
    if failure is Failure.INFRASTRUCTURE and not has_incident:
        store.demand_no_incident(session_id)  # one whose session cannot be read may be this one's
    looked = _judged(store, session_id)
    may_go_on = failure is Failure.INFRASTRUCTURE and not has_incident
    if before is not None and not before.is_finished and may_go_on and _still_fits(before, looked):
        return before
    if looked.is_ended and may_go_on and not _may_restart(before):
        raise Ended(
            f"session {session_id!r} was ended: there is nothing to recover",
            op="recover",
            path=str(store.path),
            hint="go on in a fork of it: session.fork(new_id)",
        )
    return begin(store, session_id, failure, looked, before)


def _stands(store: Store, before: Recovery) -> bool:
    """Whether what was discarded still is: its steps are not done, or its incident is open."""
    return not before.is_finished or (before.incident is not None and store.incidents.get(before.incident).is_open)


def _still_fits(before: Recovery, looked: Looked) -> bool:
    """Whether a decision to go on is about what is there now."""
    return before.decision is Decision.RESTART or (looked.status, looked.ref) == (before.status, before.checkpoint)


def _may_restart(before: Recovery | None) -> bool:
    """Whether it was a recovery that ended the session."""
    return before is not None and before.decision is not Decision.RESUME


def _judged(store: Store, session_id: str) -> Looked:
    """How the newest checkpoint stands, and whether it is evidence."""
    looked = look(store, session_id)
    if looked.status is Status.VERIFIED and looked.ref is not None:
        point = (looked.ref.index, looked.ref.leaf)
        if any((each.index, each.leaf) == point for each in evidence(store, session_id)):
            return msgspec.structs.replace(looked, status=Status.EVIDENCE)
    return looked


def _turn(store: Store, session_id: str) -> threading.Lock:
    """Held by who recovers a session of its family: two at once would ask the hooks twice."""
    with _turns_lock:
        return _turns.setdefault(store, {}).setdefault(family(session_id), threading.Lock())
