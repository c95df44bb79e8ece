"""The nine scenarios that the least workflow engine has to hold: as they are, with a kill -9 in the middle, after a compaction.

Each has what comes before, a middle that is named by request ids, and what must be true after it. The process that does the
middle is killed before its nth call that changes a file, which may be torn on top; then it is done again. Or all but the newest
checkpoint of each workflow are pruned and compacted away after it.
"""

from __future__ import annotations

import hashlib
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import pytest

import aegis_store
from aegis_store import Rule
from aegis_store.errors import Pruned
from aegis_store.workflow import DurableWorkflowEngine, checking
from tests.workflow.orders import Order, Refund, killed

PLAIN, COMPACTED = "plain", "compacted"
KILLED = [f"killed {nth}" for nth in (1, 2, 3, 4, 5, 7, 10, 14)] if sys.platform == "linux" else []


class Scenario(ABC):
    """What comes before, what is cut short, and what must be true."""

    #: Workflows that are there in the end.
    ids: ClassVar[list[str]] = ["a"]

    def before(self, engine: DurableWorkflowEngine) -> None:
        engine.create(Order("a"), actor="shop")

    @abstractmethod
    def middle(self, engine: DurableWorkflowEngine) -> None: ...

    @abstractmethod
    def check(self, engine: DurableWorkflowEngine, *, is_pruned: bool) -> None: ...


class CheckpointAndResume(Scenario):
    def middle(self, engine):
        order = engine.load(Order, "a")
        order.lines.append("tea")
        engine.checkpoint(order, request_id="tea")

    def check(self, engine, *, is_pruned):
        (order,) = engine.resume_all_pending(Order)
        assert (order.workflow_id, order.state, order.lines) == ("a", "new", ["tea"])
        assert len(engine.history("a")) == 1


class ResumeAfterATransition(Scenario):
    def middle(self, engine):
        order = engine.load(Order, "a")
        order.lines.append("tea")
        engine.transition(order, "paid", actor="bank", request_id="pay")

    def check(self, engine, *, is_pruned):
        (order,) = engine.resume_all_pending(Order)
        assert (order.state, order.lines) == ("paid", ["tea"])
        engine.transition(order, "sent", actor="clerk")
        assert [each.to_state for each in engine.history("a")] == ["new", "paid", "sent"]


class ChainValid(Scenario):
    states: ClassVar[list[str]] = ["paid", "packed", "sent", "paid", "paid"]

    def middle(self, engine):
        order = engine.load(Order, "a")
        for number, state in enumerate(self.states):
            engine.transition(order, state, actor="clerk", request_id=f"step {number}")

    def check(self, engine, *, is_pruned):
        assert engine.verify_audit_chain("a") == (True, None)
        assert [each.to_state for each in engine.history("a")] == ["new", *self.states]


class BatchOfFive(Scenario):
    ids: ClassVar[list[str]] = [f"batch-{number}" for number in range(5)]

    def before(self, engine):
        pass

    def middle(self, engine):
        for name in self.ids:
            order = Order(name)
            engine.create(order, actor="shop", request_id=f"create {name}")
            order = engine.load(Order, name)
            engine.transition(order, "paid", actor="bank", request_id=f"pay {name}")

    def check(self, engine, *, is_pruned):
        assert [(each.workflow_id, each.state) for each in engine.resume_all_pending(Order)] == [
            (name, "paid") for name in self.ids
        ]


class CompletedExcluded(Scenario):
    ids: ClassVar[list[str]] = ["a", "b"]

    def before(self, engine):
        engine.create(Order("a"), actor="shop")
        engine.create(Order("b"), actor="shop")

    def middle(self, engine):
        engine.complete(engine.load(Order, "a"), actor="clerk", request_id="done")

    def check(self, engine, *, is_pruned):
        assert [each.workflow_id for each in engine.resume_all_pending(Order)] == ["b"]
        assert list(engine.pending(Order)) == ["b"]
        assert (engine.is_completed("a"), engine.is_completed("b")) == (True, False)
        last = engine.history("a")[-1]
        assert (last.action, last.from_state, last.to_state) == ("workflow.completed", "new", None)
        assert engine.load(Order, "a").state == "new"


class MixedStates(Scenario):
    ids: ClassVar[list[str]] = ["a", "b", "c", "r"]

    def before(self, engine):
        for name in "abc":
            engine.create(Order(name), actor="shop")
        engine.create(Refund("r"), actor="shop")

    def middle(self, engine):
        engine.transition(engine.load(Order, "b"), "paid", actor="bank", request_id="1")
        engine.transition(engine.load(Order, "c"), "paid", actor="bank", request_id="2")
        engine.transition(engine.load(Order, "c"), "sent", actor="clerk", request_id="3")
        engine.transition(engine.load(Refund, "r"), "refused", actor="clerk", request_id="4")

    def check(self, engine, *, is_pruned):
        assert {each.workflow_id: each.state for each in engine.resume_all_pending(Order)} == {
            "a": "new",
            "b": "paid",
            "c": "sent",
        }
        (refund,) = engine.resume_all_pending(Refund)
        assert (type(refund), refund.state) == (Refund, "refused")


class TimeTravel(Scenario):
    def middle(self, engine):
        for number, state in enumerate(("paid", "packed", "sent")):
            order = engine.load(Order, "a")
            if len(order.lines) == number:
                order.lines.append(state)
            engine.transition(order, state, actor="clerk", request_id=state)

    def check(self, engine, *, is_pruned):
        assert engine.load_at(Order, "a", 3).state == "sent"
        session = engine.store.session("workflow/a")
        assert engine.load_at(Order, "a", session.latest().created_at).state == "sent"
        if is_pruned:
            with pytest.raises(Pruned):
                engine.load_at(Order, "a", 1)
            return
        for number, state in enumerate(("new", "paid", "packed", "sent")):
            then = engine.load_at(Order, "a", number)
            assert (then.state, len(then.lines)) == (state, number)
        engine.transition(engine.load(Order, "a"), "back", actor="clerk")  # a look back moves nothing


class ExportAndImport(Scenario):
    def middle(self, engine):
        order = engine.load(Order, "a")
        order.lines = ["tea"]
        engine.transition(order, "paid", actor="bank", request_id="pay")
        engine.complete(engine.load(Order, "a"), actor="clerk", request_id="done")

    def check(self, engine, *, is_pruned):
        data = engine.export("a")
        with aegis_store.open(engine.store.path.with_name("elsewhere")) as store:
            other = DurableWorkflowEngine(store)
            assert other.import_(data) == "a"
            assert other.verify_integrity("a") == (True, None)
            assert other.load(Order, "a").lines == ["tea"]
            assert other.is_completed("a")
            mine, theirs = engine.history("a"), other.history("a")
            assert [each.hash for each in mine] == [each.hash for each in theirs]
            assert [(each.actor, each.at) for each in mine] == [(each.actor, each.at) for each in theirs]


class AuditTrailWithHashes(Scenario):
    def middle(self, engine):
        order = engine.load(Order, "a")
        engine.transition(order, "paid", actor="bank", request_id="pay")
        engine.transition(order, "sent", actor="clerk", request_id="send")

    def check(self, engine, *, is_pruned):
        previous, events = bytes(32), list(engine.store.audit.events("workflow/a"))
        assert [(each.actor, each.action) for each in events] == [
            ("shop", "workflow.created"),
            ("bank", "transition"),
            ("clerk", "transition"),
        ]
        for event in events:
            said = event.details
            digest = hashlib.sha256(b"aegis-store/v0/transition\n")
            for text in ("a", said["from"], said["to"], event.actor):
                digest.update(len(text.encode()).to_bytes(4, "little") + text.encode())
            digest.update(said["time_ms"].to_bytes(8, "little") + previous)
            assert said["hash"] == digest.digest()
            assert said["previous"] == previous
            previous = said["hash"]
        records = [engine.store.records.entry_at(event.details["record"]) for event in events]
        assert [each.leaf for each in records] == [event.details["leaf"] for event in events]


SCENARIOS = [each() for each in Scenario.__subclasses__()]


def test_there_are_nine():
    assert len(SCENARIOS) == 9


@pytest.mark.parametrize("way", [PLAIN, *KILLED, COMPACTED])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: type(scenario).__name__)
def test_what_a_workflow_did_is_there_after(scenario: Scenario, way: str, tmp_path: Path):
    place = tmp_path / "state"
    with aegis_store.open(place) as store:
        scenario.before(DurableWorkflowEngine(store))
    if way in KILLED:
        killed(place, scenario.middle, int(way.split()[1]))
        with aegis_store.open(place) as store:
            engine = DurableWorkflowEngine(store)
            for session in store.sessions(prefix="workflow/"):
                # What does not write: the engine made good at once what the kill had left out.
                assert checking.integrity(engine.store, session.id.removeprefix("workflow/")) == (True, None)
    with aegis_store.open(place) as store:
        scenario.middle(DurableWorkflowEngine(store))
        if way == COMPACTED:
            store.retain([Rule(keep_last=1)])
            store.compact()
    with aegis_store.open(place) as store:
        engine = DurableWorkflowEngine(store)
        for workflow_id in scenario.ids:
            assert engine.verify_audit_chain(workflow_id) == (True, None)
            assert engine.verify_integrity(workflow_id) == (True, None)
        assert store.verify(deep=True).ok
        scenario.check(engine, is_pruned=way == COMPACTED)
