"""A recovery as data: which steps it has, and which is due."""

from __future__ import annotations

import pytest

from aegis_store.recovery import Decision, Failure, Recovery, Status, Step


def made(decision: Decision, *done: Step) -> Recovery:
    return Recovery(
        session="s",
        number=1,
        failure=Failure.UNKNOWN,
        status=Status.NONE,
        decision=decision,
        reason="why",
        checkpoint=None,
        error=None,
        agent=None,
        incident=None,
        restart=None,
        done=done,
    )


@pytest.mark.parametrize("decision", Decision)
def test_the_first_step_that_is_not_done_is_due(decision):
    steps = made(decision).steps
    assert steps == (tuple(Step) if decision is Decision.DISCARD else (Step.DECIDED, Step.ACT))
    for count in range(len(steps) + 1):
        recovery = made(decision, *steps[:count])
        assert recovery.due == (steps[count] if count < len(steps) else None)
        assert recovery.is_finished == (count == len(steps))


def test_the_values_are_what_the_log_has():
    assert [each.value for each in Failure] == ["infrastructure", "security", "unknown"]
    assert [each.value for each in Decision] == ["resume", "restart", "discard"]
    assert [each.value for each in Step] == ["recovery.decided", "recovery.held", "recovery.notice", "recovery.act"]
    assert [each.value for each in Status] == [
        "none", "verified", "not included", "bad signature", "bad key", "bad commitment", "broken chain", "gone", "evidence",
    ]  # fmt: skip
