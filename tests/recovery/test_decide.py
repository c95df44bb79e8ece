"""The table of decisions, whole: every status with every failure, with and without an open incident."""

from __future__ import annotations

import itertools

import pytest

from aegis_store.recovery import Decision, Failure, Status
from aegis_store.recovery.decide import decide

EVERY = list(itertools.product(Status, Failure, [False, True]))


def expected(status: Status, failure: Failure, has_incident: bool) -> Decision:
    if failure is not Failure.INFRASTRUCTURE or has_incident:
        return Decision.DISCARD
    return Decision.RESUME if status is Status.VERIFIED else Decision.RESTART


@pytest.mark.parametrize(("status", "failure", "has_incident"), EVERY)
def test_the_first_row_that_fits(status, failure, has_incident):
    decision, reason = decide(status, failure, has_incident=has_incident)
    assert decision is expected(status, failure, has_incident)
    assert reason


def test_each_row_says_why_in_words_of_its_own():
    reasons = {decide(status, failure, has_incident=incident)[1] for status, failure, incident in EVERY}
    assert len(reasons) == 2 + 1 + (len(Status) - 1) + 1


def test_only_one_of_all_goes_on():
    going = [case for case in EVERY if decide(case[0], case[1], has_incident=case[2])[0] is Decision.RESUME]
    assert going == [(Status.VERIFIED, Failure.INFRASTRUCTURE, False)]
