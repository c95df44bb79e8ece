"""After a crash: what was about to be written is, wherever the crash came, and nothing twice."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store.workflow import DurableWorkflowEngine, checking, replaying
from aegis_store.workflow.replaying import _Looked
from aegis_store.workflow.saved import saved_in
from aegis_store.workflow.standing import board_of
from tests.stores import abandon, flip, frame_of
from tests.workflow.orders import Order, moved


def cut_short(engine, order, state):
    """A call whose record is durable, and that came no further."""
    steps = engine._moves.transition(order, state, actor=None, request_id=None, is_saved=True)
    engine.store.records.commit(next(steps).record)
    return steps


@pytest.mark.parametrize("page", [1, 3, 256])
def test_only_what_a_crash_may_have_left_out_is_looked_at(tmp_path, monkeypatch, page):
    monkeypatch.setattr(replaying, "PAGE", page)
    with aegis_store.open(tmp_path / "state") as store:
        orders = [moved(store, f"o{number}", "paid") for number in range(6)]
        store.session("plain").checkpoint(1)
        engine = DurableWorkflowEngine(store)
        hanging = cut_short(engine, orders[2], "sent")
        engine.create(Order("later"))
        for number in range(4):
            store.session("plain").checkpoint(number)
        abandon(store)
        hanging.close()
    with aegis_store.open(tmp_path / "state") as store:
        names = _Looked(store, store.records.size()).names_behind()
        assert names == {"workflow/o2", "workflow/later"}
        engine = DurableWorkflowEngine(store)
        assert checking.integrity(store, "o2") == (True, None)
        assert engine.replay() == 2  # they are still the last that were written
        assert len(engine.history("o2")) == 3


def test_a_call_that_failed_is_made_good_by_the_next_engine_of_the_same_process(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:
        order = moved(store, "o", "paid")
        engine = DurableWorkflowEngine(store)
        cut_short(engine, order, "sent").close()
        assert board_of(store).failed()
        other = engine.create(Order("other"))
        low = saved_in(store.session("workflow/other").latest()).audited_below
        assert low < other.record - 1
        assert checking.integrity(store, "o")[0] is False
        engine.replay()
        assert not board_of(store).failed()
        assert checking.integrity(store, "o") == (True, None)
        assert engine.load(Order, "o").state == "sent"


def test_an_end_that_is_missing_is_written(tmp_path, monkeypatch):
    with aegis_store.open(tmp_path / "state") as store:
        order = moved(store, "o", "paid")
        monkeypatch.setattr("aegis_store.session.Session.submit_end", lambda self, reason: None)
        DurableWorkflowEngine(store).complete(order)
    monkeypatch.undo()
    with aegis_store.open(tmp_path / "state", mode="r") as store:
        reader = DurableWorkflowEngine(store)
        assert not reader.is_completed("o")
        assert reader.resume_all_pending(Order) == []
    with aegis_store.open(tmp_path / "state") as store:
        assert DurableWorkflowEngine(store).is_completed("o")


def test_damage_keeps_nobody_else_from_being_seen_to(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place) as store:
        one, two = moved(store, "one", "paid"), moved(store, "two", "paid")
        engine = DurableWorkflowEngine(store)
        hanging = [cut_short(engine, each, "sent") for each in (one, two)]
        assert len(hanging) == 2
        newest = store.session("workflow/two").latest().ref.index
    with aegis_store.open(place) as store:
        path, span = frame_of(place, newest)
        flip(path, span.payload + 20)
        store.records.states.forget()
        DurableWorkflowEngine(store)
        assert checking.integrity(store, "one") == (True, None)
        assert checking.integrity(store, "two")[0] is False


def test_a_store_without_a_workflow_has_nothing_to_replay(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:
        assert DurableWorkflowEngine(store).replay() == 0
        store.session("s").checkpoint(1)
        assert DurableWorkflowEngine(store).replay() == 0
