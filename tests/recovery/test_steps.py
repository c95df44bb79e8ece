"""The steps as events: what they say, that a repeat is the same event, and that what is no decision is damage."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store.errors import Corrupt
from aegis_store.recovery import Decision, Discard, Failure, Hooks, Status, Step, look, recover, recovery_of
from aegis_store.recovery.steps import ACTOR, Doing, begin, evidence, newest
from tests.recovery.damage import DAMAGE, saved


@pytest.fixture
def place(tmp_path):
    return tmp_path / "store"


def events(store, name="s"):
    return list(store.audit.events(f"session/{name}"))


def test_a_decision_comes_back_as_it_went(place):
    saved(place)
    with aegis_store.open(place) as store:
        looked = look(store, "s")
        made = begin(store, "s", Failure.SECURITY, looked, None)
        assert made == newest(store, "s")
        assert (made.checkpoint, made.status, made.decision) == (looked.ref, Status.VERIFIED, Decision.DISCARD)
        assert (made.number, made.incident, made.restart, made.done) == (1, 1, None, (Step.DECIDED,))
        assert begin(store, "s", Failure.SECURITY, looked, None) == made  # as if two had decided at once
        assert len(events(store)) == 1
        assert evidence(store, "s") == [looked.ref]


def test_a_step_that_is_done_twice_is_one_event_and_one_hold(place):
    saved(place)
    with aegis_store.open(place) as store:
        made = begin(store, "s", Failure.SECURITY, look(store, "s"), None)
        for _ in range(2):  # two that stand before the same step
            assert Doing(store, made, Hooks()).discard().recovery.is_finished
        assert [each.action for each in events(store)] == [each.value for each in Step]
        assert len(store.session("s").holds()) == 1
        assert {each.actor for each in events(store)} == {ACTOR}


def test_a_hold_that_a_killed_process_placed_is_found_again(place):
    saved(place)
    with aegis_store.open(place) as store:
        made = begin(store, "s", Failure.SECURITY, look(store, "s"), None)
        placed = Doing(store, made, Hooks())._hold(1)
        assert recover(store, "s", failure=Failure.INFRASTRUCTURE).hold == placed
        assert len(store.holds()) == 1


@pytest.mark.parametrize("status", [Status.NOT_INCLUDED, Status.BAD_COMMITMENT, Status.BAD_KEY, Status.GONE])
def test_what_is_damaged_is_held_with_its_whole_session(place, status):
    DAMAGE[status](place)
    with aegis_store.open(place) as store:
        result = recover(store, "s", failure=Failure.UNKNOWN)
        assert isinstance(result, Discard)
        assert [(each.number, each.ordinal) for each in store.session("s").holds()] == [(result.hold, None)]


def test_a_notice_has_the_claims_only_where_the_checkpoint_verifies(place, tmp_path):
    for status, claims in ((Status.VERIFIED, {"tools": ["search"]}), (Status.BAD_COMMITMENT, None)):
        where = tmp_path / status.value
        DAMAGE[status](where)
        seen = []

        class Keeper:
            def notify(self, notice, seen=seen):
                seen.append(notice)

        with aegis_store.open(where) as store:
            recover(store, "s", failure=Failure.SECURITY, hooks=Hooks(notifier=Keeper()))
        assert [(each.claims, each.key, each.incident, each.agent) for each in seen] == [(claims, "s/1", 1, "agent")]


def test_what_others_record_of_a_session_is_not_a_step(place):
    saved(place)
    with aegis_store.open(place) as store:
        recover(store, "s", failure=Failure.SECURITY)
        before = recovery_of(store, "s")
        store.audit.record("ana", "review.done", "session/s", {"recovery": 1, "outcome": "failed"})
        store.audit.record("ana", "recovery.act", "session/s", {"recovery": 9, "outcome": "failed", "error": "x"})
        store.audit.record("ana", "recovery.act", "session/s", None)
        assert recovery_of(store, "s") == before


def test_what_is_no_decision_is_damage(place):
    with aegis_store.open(place) as store:
        store.audit.record("ana", "recovery.decided", "session/s", {"recovery": 1})
        with pytest.raises(Corrupt, match="is no decision") as caught:
            recovery_of(store, "s")
        assert caught.value.index == events(store)[0].ref.index
