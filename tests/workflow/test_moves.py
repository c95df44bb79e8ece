"""The order in which things are queued, and what becomes of a call that fails in the middle."""

from __future__ import annotations

import threading

import pytest

import aegis_store
from aegis_store import Tier
from aegis_store.errors import Conflict, OutcomeUnknown, StateTypeError
from aegis_store.session import Session
from aegis_store.workflow import DurableWorkflowEngine, checking
from aegis_store.workflow.saved import saved_in
from aegis_store.workflow.standing import board_of
from tests.stores import Crash
from tests.workflow.orders import Order, moved


@pytest.fixture
def store(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:
        yield store


def begun(engine, order, state):
    """A transition that has queued its record, and no more."""
    steps = engine._moves.transition(order, state, actor="clerk", request_id=None, is_saved=True)
    return steps, next(steps)


def test_the_event_is_queued_when_the_record_is_durable_and_not_before(store):
    order = moved(store)
    engine = DurableWorkflowEngine(store)
    events = store.records.engine.stats(Tier.AUDIT)
    steps, wait = begun(engine, order, "paid")
    assert wait.tier is Tier.SESSION
    assert store.records.engine.stats(Tier.AUDIT).size == events.size
    store.records.commit(wait.record)
    wait.settle()
    with pytest.raises(StopIteration) as done:
        steps.send(None)
    assert done.value.value.event.index == events.size
    (event,) = [each for each in store.audit.events("workflow/o") if each.details["number"] == 1]
    assert event.ref == done.value.value.event


def test_whoever_overtakes_makes_the_events_of_those_before_first(store):
    order = moved(store)
    engine = DurableWorkflowEngine(store)
    slow, wait = begun(engine, order, "paid")
    store.records.commit(wait.record)
    wait.settle()
    made = engine.transition(order, "sent")
    assert made.number == 2
    assert checking.integrity(store, "o") == (True, None)
    with pytest.raises(StopIteration) as done:
        slow.send(None)
    assert done.value.value.event.index == made.event.index - 1  # it finds its own
    newest = saved_in(store.session("workflow/o").latest())
    assert [each.link.to_state for each in newest.unaudited] == ["paid"]


def test_a_record_says_from_where_on_to_look_while_another_call_is_open(store):
    one, other = moved(store, "one"), moved(store, "other")
    engine = DurableWorkflowEngine(store)
    size = store.records.size()
    slow, wait = begun(engine, one, "paid")
    engine.checkpoint(other)
    assert saved_in(store.session("workflow/other").latest()).audited_below <= wait.record
    assert saved_in(store.session("workflow/other").latest()).audited_below >= size
    slow.close()


def test_a_wait_that_fails_is_read_again_from_the_store(store):
    order = moved(store)
    steps, wait = begun(DurableWorkflowEngine(store), order, "paid")
    store.records.commit(wait.record)
    wait.settle()
    with pytest.raises(OutcomeUnknown):
        steps.throw(OutcomeUnknown("the disk said no"))
    assert board_of(store).get("o") is None
    engine = DurableWorkflowEngine(store)  # makes the event
    assert checking.integrity(store, "o") == (True, None)
    assert engine.load(Order, "o").state == "paid"


def test_threads_that_move_one_workflow_do_not_break_its_chain(store):
    engine = DurableWorkflowEngine(store)
    moved(store)
    refused = []

    def work(name: str) -> None:
        for number in range(15):
            try:
                engine.transition(engine.load(Order, "o"), f"{name}{number}", actor=name)
            except Conflict as error:
                refused.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(engine.history("o")) == 1 + 4 * 15 - len(refused)
    assert engine.verify_integrity("o") == (True, None)


def test_a_call_that_is_interrupted_stays_open_and_one_that_is_refused_does_not(store, monkeypatch):
    order, engine = moved(store), DurableWorkflowEngine(store)
    submit = Session.submit

    def interrupted(self, *arguments, **options):
        submit(self, *arguments, **options)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(Session, "submit", interrupted)
        with pytest.raises(Crash):
            engine.transition(order, "paid")
    assert len(board_of(store).failed()) == 1
    engine.replay()
    assert not board_of(store).failed()
    assert checking.integrity(store, "o") == (True, None)
    order = engine.load(Order, "o")
    assert order.state == "paid"
    order.lines.append(object())
    with pytest.raises(StateTypeError):
        engine.transition(order, "sent")
    assert board_of(store).begin(99)[1] == 99
