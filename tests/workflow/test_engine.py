"""What the engine does, call by call."""

from __future__ import annotations

from datetime import timedelta
from enum import Enum, StrEnum

import pytest

import aegis_store
from aegis_store import Rule
from aegis_store.errors import (
    BadSignature,
    Conflict,
    Corrupt,
    Ended,
    Erased,
    InvalidArgument,
    NotFound,
    ReadOnly,
    StateTypeError,
)
from aegis_store.workflow import DurableWorkflowEngine
from tests.stores import Told, abandon, flip, frame_of
from tests.workflow.orders import Order, Refund, moved


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def store(place):
    with aegis_store.open(place, agent="planner", clock=Told()) as store:
        yield store


@pytest.fixture
def engine(store):
    return DurableWorkflowEngine(store)


def test_a_transition_is_one_record_of_the_session_tier_and_one_of_the_audit_tier(engine, store):
    order = Order("o")
    engine.create(order, actor="shop")
    before = store.records.size(), len(list(store.audit.events()))
    made = engine.transition(order, "paid", actor="bank")
    assert (store.records.size(), len(list(store.audit.events()))) == (before[0] + 1, before[1] + 1)
    assert order.state == "paid"
    assert (made.number, made.from_state, made.to_state, made.actor) == (1, "new", "paid", "bank")
    latest = store.session("workflow/o").latest()
    assert (latest.ref.index, latest.position, latest.state) == (made.record, "paid", order.to_dict())
    assert store.session("workflow/o").info().role == "Order"


def test_an_object_that_is_behind_moves_nothing(engine, store):
    order, stale = moved(store), Order("o")
    engine.transition(order, "paid")
    size = store.records.size()
    with pytest.raises(Conflict, match="is in state 'paid', and this object of it in 'new'") as caught:
        engine.transition(stale, "sent")
    assert caught.value.newest == store.session("workflow/o").latest().ref
    with pytest.raises(Conflict):
        engine.checkpoint(stale)
    with pytest.raises(Conflict):
        engine.complete(stale)
    assert (stale.state, store.records.size()) == ("new", size)
    engine.transition(engine.load(Order, "o"), "sent")


def test_somebody_who_writes_into_the_session_by_hand_is_a_conflict_once(engine, store):
    order = moved(store)
    session = store.session("workflow/o")
    session.checkpoint(order.to_dict(), metadata=session.latest().metadata | {"mine": 1})
    with pytest.raises(Conflict):
        engine.transition(order, "paid")
    assert order.state == "new"
    engine.transition(engine.load(Order, "o"), "paid")


def test_what_cannot_be_stored_leaves_everything_as_it_was(engine, store):
    order = moved(store)
    order.lines.append(object())
    with pytest.raises(StateTypeError, match=r'state\["lines"\]\[0\]'):
        engine.transition(order, "paid")
    assert order.state == "new"
    order.lines.clear()
    engine.transition(order, "paid")
    assert engine.verify_integrity("o") == (True, None)


def test_a_to_dict_that_raises_leaves_everything_as_it_was(engine, store, monkeypatch):
    order = moved(store)
    monkeypatch.setattr(order, "to_dict", lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.transition(order, "paid")
    assert order.state == "new"


def test_a_workflow_is_created_once(engine, store):
    first = engine.create(Order("o"), actor="shop", request_id="r")
    with pytest.raises(Conflict, match="is there already"):
        engine.create(Order("o"))
    assert engine.create(Order("o"), actor="shop", request_id="r") == first


def test_what_was_never_created_goes_nowhere(engine):
    with pytest.raises(NotFound, match="there is no workflow 'x'"):
        engine.transition(Order("x"), "paid")
    for call in (engine.load, engine.load_at):
        with pytest.raises(NotFound):
            call(Order, "x", *([0] if call == engine.load_at else []))
    with pytest.raises(NotFound):
        engine.is_completed("x")
    assert engine.history("x") == []


def test_a_completed_one_goes_nowhere_either(engine, store):
    order = moved(store, "o", "paid")
    done = engine.complete(order, actor="clerk")
    assert (done.to_state, order.state) == (None, "paid")
    for call in (lambda: engine.transition(order, "x"), lambda: engine.checkpoint(order), lambda: engine.complete(order)):
        with pytest.raises(Ended):
            call()
    assert engine.load(Order, "o").state == "paid"


def test_another_class_does_not_get_it(engine, store):
    moved(store)
    for call in (
        lambda: engine.load(Refund, "o"),
        lambda: engine.load_at(Refund, "o", 0),
        lambda: engine.transition(Refund("o"), "x"),
    ):
        with pytest.raises(InvalidArgument, match="is of type 'Order', not 'Refund'"):
            call()
    assert engine.resume_all_pending(Refund) == []


def test_a_type_that_has_a_name_of_its_own_keeps_it_when_the_class_is_renamed(engine):
    class Old(Order):
        workflow_type = "order"

    class New(Order):
        workflow_type = "order"

    engine.create(Old("o"))
    assert isinstance(engine.load(New, "o"), New)


class Stage(Enum):
    FIRST = 1
    SECOND = 2


class Mood(StrEnum):
    GOOD = "good"
    BAD = "bad"


@pytest.mark.parametrize(
    ("first", "second", "names"), [(Stage.FIRST, Stage.SECOND, ("FIRST", "SECOND")), (Mood.GOOD, Mood.BAD, ("good", "bad"))]
)
def test_states_may_be_members_of_an_enum(place, first, second, names):
    class Staged(Order):
        def to_dict(self):
            return {"id": self.workflow_id, "state": self.state.name}

        @classmethod
        def from_dict(cls, data):
            return cls(data["id"], type(first)[data["state"]])

    with aegis_store.open(place) as store:
        engine = DurableWorkflowEngine(store)
        order = Staged("o", first)
        engine.create(order)
        engine.transition(order, second)
        assert order.state is second
        assert engine.load(Staged, "o").state is second
        assert [each.to_state for each in engine.history("o")] == list(names)


def test_a_time_that_goes_back_does_not_go_back_in_a_workflow(place):
    with aegis_store.open(place, clock=Told(2000, 3000, 1000, 900, 800, 700, 600, 500, 400)) as store:
        moved(store, "o", "paid", "sent")
        times = [each.at for each in DurableWorkflowEngine(store).history("o")]
        assert times == sorted(times)
        assert DurableWorkflowEngine(store).verify_integrity("o") == (True, None)


def test_load_at_by_number_and_by_time(engine, store):
    moved(store, "o", "paid", "sent")
    session = store.session("workflow/o")
    times = [session.get(number).created_at for number in range(3)]
    assert [engine.load_at(Order, "o", number).state for number in range(3)] == ["new", "paid", "sent"]
    assert [engine.load_at(Order, "o", when).state for when in times] == ["new", "paid", "sent"]
    with pytest.raises(NotFound, match="had no checkpoint then"):
        engine.load_at(Order, "o", times[0] - timedelta(seconds=1))
    with pytest.raises(NotFound):
        engine.load_at(Order, "o", 3)


def test_a_repeated_request_is_what_the_first_was_even_when_it_is_pruned_and_the_object_is_old(engine, store):
    order, stale = moved(store), Order("o")
    first = engine.transition(order, "paid", actor="bank", request_id="pay")
    for state in ("packed", "sent"):
        engine.transition(order, state)
    store.retain([Rule(keep_last=1)])
    store.compact()
    again = engine.transition(stale, "paid", actor="bank", request_id="pay")
    assert again == first
    assert stale.state == "paid"
    assert len(engine.history("o")) == 4
    with pytest.raises(InvalidArgument, match="was a transition to 'paid', not 'x'"):
        engine.transition(order, "x", request_id="pay")
    ref = engine.checkpoint(order, request_id="save")
    assert engine.checkpoint(order, request_id="save") == ref
    with pytest.raises(InvalidArgument, match="no transition"):
        engine.transition(order, "x", request_id="save")


def test_transitions_that_are_not_saved_are_events_and_gone_when_it_is_loaded(place):
    with aegis_store.open(place) as store:
        engine = DurableWorkflowEngine(store, checkpoint_on_transition=False)
        order = Order("o")
        engine.create(order)
        size = store.records.size()
        assert engine.transition(order, "paid").record is None
        assert store.records.size() == size
        engine.checkpoint(order)
        engine.transition(order, "packed", request_id="pack")
        engine.transition(order, "sent")
        abandon(store)
    with aegis_store.open(place) as store:
        engine = DurableWorkflowEngine(store, checkpoint_on_transition=False)
        assert engine.verify_integrity("o") == (True, None)
        order = engine.load(Order, "o")
        assert order.state == "paid"
        assert engine.transition(order, "packed", request_id="pack").number == 2  # it is known that it was done
        order = engine.load(Order, "o")
        engine.transition(order, "lost", actor="clerk")
        assert [(each.action, each.from_state, each.to_state) for each in engine.history("o")][2:] == [
            ("transition", "paid", "packed"),
            ("transition", "packed", "sent"),
            ("workflow.rewound", "sent", "paid"),
            ("transition", "paid", "lost"),
        ]
        assert engine.verify_integrity("o") == (True, None)


@pytest.mark.parametrize("last", ["transition", "checkpoint", "complete"])
def test_whatever_is_written_after_such_a_load_goes_back_first(place, last):
    with aegis_store.open(place) as store:
        engine = DurableWorkflowEngine(store, checkpoint_on_transition=False)
        order = Order("o")
        engine.create(order)
        engine.transition(order, "paid")
        order = engine.resume_all_pending(Order)[0]
        assert order.state == "new"
        saving = DurableWorkflowEngine(store)
        {"transition": lambda: saving.transition(order, "x"), "checkpoint": lambda: saving.checkpoint(order)}.get(
            last, lambda: saving.complete(order)
        )()
        assert engine.history("o")[2].action == "workflow.rewound"
        assert engine.verify_integrity("o") == (True, None)
    with aegis_store.open(place) as store:
        assert DurableWorkflowEngine(store).verify_integrity("o") == (True, None)


def test_one_that_cannot_be_resumed_is_told_and_the_others_are(engine, store):
    for name in ("a", "b", "c"):
        moved(store, name, "paid")
    store.erase(session="workflow/b", ordinal=1, reason="a password")
    with pytest.raises(Erased):
        engine.resume_all_pending(Order)
    failed = []
    got = engine.resume_all_pending(Order, failed=lambda name, error: failed.append((name, type(error))))
    assert ([each.workflow_id for each in got], failed) == (["a", "c"], [("b", Erased)])


def test_a_workflow_whose_beginning_cannot_be_read_is_not_passed_over(place):
    with aegis_store.open(place) as store:
        for name in ("a", "b"):
            moved(store, name, "paid")
        begun = store.catalog.session("workflow/b").begun
    path, span = frame_of(place, begun)
    flip(path, span.payload + 20)
    with aegis_store.open(place, mode="r") as store:
        engine = DurableWorkflowEngine(store)
        with pytest.raises(Corrupt):
            engine.resume_all_pending(Order)
        failed = []
        engine.resume_all_pending(Order, failed=lambda name, error: failed.append((name, error.index)))
        assert (None, begun) in failed


def test_a_store_that_is_open_for_reading_is_read(place):
    with aegis_store.open(place) as store:
        moved(store, "o", "paid")
    with aegis_store.open(place, mode="r") as store:
        engine = DurableWorkflowEngine(store)
        order = engine.load(Order, "o")
        assert engine.verify_integrity("o") == (True, None)
        assert [each.workflow_id for each in engine.resume_all_pending(Order)] == ["o"]
        with pytest.raises(ReadOnly):
            engine.transition(order, "sent")
        assert order.state == "paid"


def test_a_session_that_is_no_workflow_is_not_taken_for_one(engine, store):
    store.session("workflow/x").checkpoint({"state": "new"})
    store.session("other").checkpoint({})
    with pytest.raises(InvalidArgument, match="is of type None"):
        engine.load(Order, "x")
    assert engine.resume_all_pending(Order) == []
    with pytest.raises(Corrupt, match="is no workflow's"):
        engine.transition(Order("x"), "paid")


def test_what_from_dict_makes_must_be_what_was_saved(engine, store):
    class Forgetful(Order):
        @classmethod
        def from_dict(cls, data):
            return cls(data["id"])

    order = Forgetful("o")
    engine.create(order)
    engine.transition(order, "paid")
    with pytest.raises(InvalidArgument, match="in state 'new' of what was saved of 'o' in 'paid'"):
        engine.load(Forgetful, "o")


@pytest.mark.parametrize("state", ["", None, 7, b"x", "x" * 2_000_000, "a\udc80"])
def test_what_is_no_state_is_refused(engine, store, state):
    order = moved(store)
    with pytest.raises(InvalidArgument):
        engine.transition(order, state)
    with pytest.raises(InvalidArgument):
        engine.transition(order, "paid", actor="a\udc80")
    assert order.state == "new"


def test_what_is_no_workflow_is_refused_by_what_it_lacks(engine):
    with pytest.raises(InvalidArgument, match="it has no state and no to_dict and no from_dict"):
        engine.create(type("Bare", (), {"workflow_id": "x"})())


def test_names_may_be_any_text(engine, store):
    for name in ("workflow/a", "", "a\0b", "ü/ä"):
        moved(store, name, "bezahlt/ü")
        assert engine.load(Order, name).state == "bezahlt/ü"
        assert engine.verify_integrity(name) == (True, None)
    assert len(engine.resume_all_pending(Order)) == 4


def test_two_engines_of_one_store_see_each_other(store):
    one, two = DurableWorkflowEngine(store), DurableWorkflowEngine(store, agent="other", checkpoint_on_transition=False)
    order = Order("o")
    one.create(order)
    two.transition(order, "paid")
    one.transition(order, "sent")
    assert one.verify_integrity("o") == (True, None)
    assert [each.agent for each in store.audit.events("workflow/o")] == ["planner", "other", "planner"]


def test_an_export_that_was_changed_or_signed_by_another_is_refused(engine, store, place):
    moved(store, "o", "paid")
    data = engine.export("o")
    key = store.signer_for("planner").public_key
    with aegis_store.open(place.with_name("elsewhere")) as other:
        there = DurableWorkflowEngine(other)
        for changed in (data.replace(b"paid", b"sent"), data.replace(b'"planner"', b'"nobody"', 1)[:-9]):
            with pytest.raises((BadSignature, Corrupt)):
                there.import_(changed)
        with pytest.raises(BadSignature, match="with another key"):
            there.import_(data, public_key=bytes(32))
        assert other.records.size() == 0
        there.import_(data, public_key=key)
        assert there.load(Order, "o").state == "paid"
    with pytest.raises(Conflict):
        engine.import_(data)
