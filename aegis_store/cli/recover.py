"""`aegis recover`: what becomes of one session, or of all, after a failure; and a table of what was decided and done."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aegis_store.cli.completion import complete_session
from aegis_store.cli.opening import AsJson, Keys, StorePath, session_of, writing
from aegis_store.cli.outcome import FINDING, as_fields, guarded, lines_of
from aegis_store.cli.output import answers, command, emit, line, shown, table

if TYPE_CHECKING:
    from aegis_store import Store
    from aegis_store.recovery import Outcome, Recovery


class Kind(StrEnum):
    """`recovery.Failure`, without what importing that takes."""

    infrastructure = "infrastructure"
    security = "security"
    unknown = "unknown"


@guarded
def recover(
    path: StorePath,
    failure: Annotated[Kind, typer.Option("--failure", help="What kind of failure it was.")],
    session: Annotated[
        str | None, typer.Argument(metavar="[SESSION]", help="The session's id.", autocompletion=complete_session)
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every session that was not ended.")] = False,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Resume, restart or discard after a failure.

    What is decided is done, and each step is recorded before the next. No token is issued here, and a notice goes to the log:
    for your own, call aegis_store.recover. Exit code 1: a session was discarded, or its recovery is not finished.
    """
    if (session is None) != every:
        raise typer.BadParameter("give a session, or --all", param_hint="SESSION")
    with writing(path, keys=keys) as store:
        found = _recover(store, session, failure)
        recoveries = [_recovery(store, each) for each in found]
    if as_json:
        emit({"path": str(path), "sessions": [_fields(*each) for each in zip(found, recoveries, strict=True)]})
    elif not found:
        line(answers(), f"{shown(path)}   no session is to be recovered")
    else:
        _show(found, recoveries)
        for incident in sorted({each.incident for each in recoveries if each is not None and each.incident is not None}):
            line(answers(), f"  once it is dealt with: {command('incident close', path, str(incident))} --reason …", "dim")
    if not all(_is_well(*each) for each in zip(found, recoveries, strict=True)):
        raise typer.Exit(FINDING)


def _recover(store: Store, session: str | None, failure: Kind) -> list[Outcome]:
    from aegis_store.errors import RecoveryIncomplete
    from aegis_store.recovery import Failure, Outcome, recover, recover_all

    kind = Failure(failure.value)
    if session is None:
        return recover_all(store, failure=kind)
    session_of(store, session)
    try:
        return [Outcome(session=session, result=recover(store, session, failure=kind))]
    except RecoveryIncomplete as error:
        return [Outcome(session=session, error=error)]


def _recovery(store: Store, outcome: Outcome) -> Recovery | None:
    from aegis_store.errors import AegisError
    from aegis_store.recovery import recovery_of

    if outcome.result is not None:
        return outcome.result.recovery
    try:
        return recovery_of(store, outcome.session)
    except AegisError:
        return None


def _is_well(outcome: Outcome, recovery: Recovery | None) -> bool:
    from aegis_store.recovery import Decision

    return outcome.error is None and recovery is not None and recovery.is_finished and recovery.decision is not Decision.DISCARD


def _show(found: list[Outcome], recoveries: list[Recovery | None]) -> None:
    rows = []
    for outcome, recovery in zip(found, recoveries, strict=True):
        if recovery is None:
            rows.append([outcome.session, "none", "" if outcome.error is None else outcome.error.message, ""])
            continue
        decision = recovery.decision.value
        if recovery.restart is not None:
            decision = f"{decision} as {recovery.restart}"
        if recovery.incident is not None:
            decision = f"{decision}, incident {recovery.incident}"
        rows.append([recovery.session, decision, recovery.reason, _state(recovery)])
    table(answers(), ["session", "decision", "reason", "steps"], rows)
    for outcome in found:
        if outcome.error is not None:
            for each in lines_of(outcome.error):
                line(answers(), f"  {each}", "dim")


def _state(recovery: Recovery) -> str:
    steps = [f"{each.value.rpartition('.')[2]} {'done' if each in recovery.done else 'due'}" for each in recovery.steps]
    problem = "" if recovery.problem is None else f" ({recovery.problem})"
    return ", ".join(steps) + problem


def _fields(outcome: Outcome, recovery: Recovery | None) -> dict[str, Any]:
    fields: dict[str, Any] = {"session": outcome.session, "error": None if outcome.error is None else as_fields(outcome.error)}
    if recovery is not None:
        point = recovery.checkpoint
        fields |= {
            "recovered": recovery.session,
            "recovery": recovery.number,
            "decision": recovery.decision.value,
            "reason": recovery.reason,
            "failure": recovery.failure.value,
            "status": recovery.status.value,
            "what_is_wrong": recovery.error,
            "checkpoint": None if point is None else {"index": point.index, "ordinal": point.ordinal, "leaf": point.leaf.hex()},
            "incident": recovery.incident,
            "hold": recovery.hold,
            "restart": recovery.restart,
            "steps": {each.value.rpartition(".")[2]: each in recovery.done for each in recovery.steps},
            "problem": recovery.problem,
            "is_finished": recovery.is_finished,
        }
    return fields
