"""Audit events of workflows: once each, and what others say of a workflow is left alone."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store import Tier
from aegis_store.errors import Corrupt
from aegis_store.workflow import DurableWorkflowEngine
from aegis_store.workflow.links import Entry
from aegis_store.workflow.trail import Trail, made_from
from tests.workflow.orders import moved


def test_an_event_is_made_once(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:
        moved(store, "o", "paid")
        trail = Trail(store)
        (first, ref), (second, _) = trail.entries("o")
        assert trail.submit("o", first, "agent").ref == ref
        assert made_from(first) == f"session/{first.record}"
        assert made_from(Entry(link=first.link)) == "transition/0"
        assert made_from(Entry(link=first.link, request="r")) == "request/r"
        assert trail.newest("o")[0] == second
        assert trail.newest("none") is None


def test_an_event_is_there_for_whoever_asks_and_nothing_piles_up_where_nobody_does(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:
        order = moved(store, "o")
        engine = DurableWorkflowEngine(store)
        for number in range(40):
            made = engine.transition(order, f"state {number}")
            assert number % 10 or store.audit.latest("workflow/o").ref == made.event
        engine.transition(order, "last")
        waiting = len(store.audit._following)
        store.audit.land()
        assert (waiting < 12, store.audit._following) == (True, [])
        assert store.catalog.session("workflow/o", Tier.AUDIT).last_ordinal == 41


def test_what_nobody_waited_for_is_durable_after_a_close(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:
        moved(store, "o", "paid")
    with aegis_store.open(tmp_path / "state", mode="r") as store:
        assert len(list(Trail(store).entries("o"))) == 2


def test_what_others_say_of_a_workflow_is_no_transition(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:
        order = moved(store, "o", "paid")
        store.audit.record("somebody", "looked.at", "workflow/o", {"number": 9})
        engine = DurableWorkflowEngine(store)
        assert Trail(store).newest("o")[0].link.to_state == "paid"
        assert engine.verify_integrity("o") == (True, None)
        engine.transition(order, "sent")
        assert [each.number for each in engine.history("o")] == [0, 1, 2]


def test_an_event_that_says_no_transition_is_corrupt(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:
        ref = store.audit.record("somebody", "transition", "workflow/o", {"number": 9})
        with pytest.raises(Corrupt) as caught:
            list(Trail(store).transitions("o"))
        assert caught.value.index == ref.index
