"""Any order of transitions, checkpoints, kills, crashes and compactions, against a dict that says what must be there."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import aegis_store
from aegis_store import Config, Rule, TierDurability
from aegis_store.workflow import DurableWorkflowEngine, checking
from tests.stores import abandon
from tests.workflow.orders import Order, killed

NAMES = st.sampled_from(["a", "b", "c"])
STATES = st.sampled_from(["new", "paid", "sent"])
CONFIG = Config(segment_bytes=64 << 10, durability=TierDurability(session="write", audit="write"))


class Known:
    """What must be there of a workflow."""

    def __init__(self) -> None:
        self.chain = ["new"]
        self.saved = ("new", [])
        self.is_completed = False


class Shop(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.known: dict[str, Known] = {}
        self.requests = 0
        self.open()

    def open(self) -> None:
        self.store = aegis_store.open(self.folder / "state", config=CONFIG)
        self.engine = DurableWorkflowEngine(self.store)
        for name in self.known:  # by what does not write: opening has made good what was missing
            assert checking.integrity(self.store, name) == (True, None)

    def teardown(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder)

    def order(self, name: str) -> Order | None:
        known = self.known.get(name)
        return None if known is None or known.is_completed else self.engine.load(Order, name)

    @rule(name=NAMES)
    def create(self, name):
        if name not in self.known:
            self.engine.create(Order(name))
            self.known[name] = Known()

    @rule(name=NAMES, state=STATES, line=st.text(max_size=300))
    def transition(self, name, state, line):
        if order := self.order(name):
            order.lines.append(line)
            self.engine.transition(order, state)
            self.known[name].chain.append(state)
            self.known[name].saved = state, order.lines

    @rule(name=NAMES, state=STATES)
    def transition_that_is_not_saved(self, name, state):
        if order := self.order(name):
            DurableWorkflowEngine(self.store, checkpoint_on_transition=False).transition(order, state)
            known = self.known[name]
            known.chain.append(state)
            if state != known.saved[0]:
                known.chain.append(known.saved[0])  # whoever loads it next goes back to there
                self.engine.checkpoint(self.engine.load(Order, name))

    @rule(name=NAMES, line=st.text(max_size=300))
    def checkpoint(self, name, line):
        if order := self.order(name):
            order.lines.append(line)
            self.engine.checkpoint(order)
            self.known[name].saved = order.state, order.lines

    @rule(name=NAMES)
    def complete(self, name):
        if order := self.order(name):
            self.engine.complete(order)
            self.known[name].is_completed = True
            self.known[name].chain.append(None)

    @rule()
    def reopen(self):
        self.store.close()
        self.open()

    @rule()
    def crash(self):
        abandon(self.store)
        self.open()

    @rule(count=st.integers(1, 3))
    def compact(self, count):
        self.store.retain([Rule(keep_last=count)])
        self.store.compact()

    @rule(name=NAMES, state=STATES, nth=st.integers(1, 8), seed=st.integers(0, 9))
    def killed_in_a_transition(self, name, state, nth, seed):
        if self.order(name) is None or sys.platform != "linux":
            return
        self.store.close()
        self.requests += 1
        asked = f"request {self.requests}"

        def work(engine: DurableWorkflowEngine) -> None:
            engine.transition(engine.load(Order, name), state, request_id=asked)

        killed(self.folder / "state", work, nth, seed)
        self.open()
        known = self.known[name]
        assert len(self.engine.history(name)) in (len(known.chain), len(known.chain) + 1)
        self.engine.transition(self.engine.load(Order, name), state, request_id=asked)
        known.chain.append(state)
        known.saved = state, known.saved[1]

    @invariant()
    def what_must_be_there_is_there(self):
        pending = {each.workflow_id: (each.state, each.lines) for each in self.engine.resume_all_pending(Order)}
        assert pending == {name: known.saved for name, known in self.known.items() if not known.is_completed}
        for name, known in self.known.items():
            assert [each.to_state for each in self.engine.history(name)] == known.chain
            assert self.engine.verify_integrity(name) == (True, None)


TestShop = Shop.TestCase
TestShop.settings = settings(max_examples=12, stateful_step_count=25, deadline=None)


@pytest.mark.long
def test_for_long():
    class Long(Shop.TestCase):
        settings = settings(max_examples=300, stateful_step_count=40, deadline=None)

    Long().runTest()
