"""LangGraph's long-term memory against the one in memory that LangGraph comes with, over any sequence of operations.

The peer is the model. Three things are put right first, as LangGraph's database stores have them: a namespace that was only
looked at, or whose items are all gone, is none; a search gives the newest put first, where the peer goes by the first put; and
what cannot be compared does not match, where the peer raises.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("langgraph.store.memory", exc_type=ImportError)

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from langgraph.store.base import GetOp, ListNamespacesOp, MatchCondition, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

import aegis_store
from aegis_store.adapters.langgraph import AegisStore
from tests.memory.memories import SMALL, Standing
from tests.stores import abandon

NAMESPACES = [("a",), ("a", "b"), ("ab",), ("a", "b", "c"), ("b", "c"), ("*",), ("A\x01",)]
KEYS = ["", "k", "K", "kk", "\x00", "z" * 300]
EVERYTHING = 1 << 30

namespaces = st.sampled_from(NAMESPACES)
keys = st.sampled_from(KEYS)
numbers = st.sampled_from([0, 1, 1.0, 1.5, -2, 10**20])
#: No bool among numbers and no number as text: those the peer takes for one another.
scalars = st.none() | numbers | st.sampled_from(["", "a", "é", "\x00"])
fields = {
    "n": numbers | st.none() | st.just("many"),
    "s": scalars,
    "list": st.lists(scalars, max_size=2),
    "in": st.fixed_dictionaries({}, optional={"n": numbers, "s": scalars}),
    "flag": st.booleans(),
}
values = st.one_of(
    st.fixed_dictionaries({}, optional=fields),
    # Long enough to be stored as deltas.
    st.builds(lambda n: {"n": n, "text": "same text " * 60, "tail": n * "x"}, st.integers(0, 9)),
)
orders = st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), numbers, min_size=1, max_size=2)
equals = st.dictionaries(st.sampled_from(["$eq", "$ne"]), scalars, min_size=1, max_size=2)
filters = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "n": numbers | orders | equals,
        "s": scalars | equals,
        "list": st.lists(scalars, max_size=2),
        "in": st.fixed_dictionaries({}, optional={"n": numbers | orders, "s": scalars | equals}),
        "flag": st.booleans(),
        "missing": scalars | orders | equals,
    },
)
paths = st.lists(st.sampled_from(["a", "b", "c", "ab", "*"]), max_size=3).map(tuple)
conditions = st.lists(
    st.builds(lambda *given: MatchCondition(*given), st.sampled_from(["prefix", "suffix"]), paths), max_size=2
).map(tuple)

# By lambdas: builds() would think of values for what is left out as well.
puts = st.builds(lambda *given: PutOp(*given), namespaces, keys, values)
deletes = st.builds(lambda *given: PutOp(*given, None), namespaces, keys)
gets = st.builds(lambda *given: GetOp(*given), namespaces, keys)
searches = st.builds(
    lambda *given: SearchOp(*given),
    st.sampled_from([(), *NAMESPACES]),
    filters,
    st.sampled_from([0, 1, 2, 10]),
    st.sampled_from([0, 0, 1, 5]),
)
lists = st.builds(
    lambda *given: ListNamespacesOp(*given),
    conditions,
    st.none() | st.integers(1, 3),
    st.sampled_from([0, 1, 3, 100]),
    st.sampled_from([0, 0, 1]),
)


def matches(value, wanted):
    """What the peer says of one value."""
    one = InMemoryStore()
    one.put(("only",), "k", value)
    try:
        return bool(one.search(("only",), filter=wanted))
    except (TypeError, ValueError):
        return False


class Peer:
    """The store in memory, put right."""

    def __init__(self) -> None:
        self.store = InMemoryStore()
        self.order: dict[tuple[tuple[str, ...], str], int] = {}

    def batch(self, ops):
        results = [self._read(op) for op in ops]
        for op in ops:
            if isinstance(op, PutOp):
                self.store.batch([op])
                self.order[op.namespace, op.key] = len(self.order) + max(self.order.values(), default=0) + 1
        return results

    def _read(self, op):
        # Looking at a namespace has made it.
        for namespace in [each for each, items in self.store._data.items() if not items]:
            del self.store._data[namespace]
        if isinstance(op, PutOp):
            return None
        if not isinstance(op, SearchOp):
            (result,) = self.store.batch([op])
            return seen(result)
        found = self.store.search(op.namespace_prefix, limit=EVERYTHING)
        found.sort(key=lambda each: -self.order[each.namespace, each.key])
        found = [each for each in found if not op.filter or matches(each.value, op.filter)]
        return seen(found[op.offset : op.offset + op.limit])


def seen(result):
    """What of a result both must agree on: all but times."""
    if isinstance(result, list):
        return [seen(each) for each in result]
    if result is None or isinstance(result, tuple):
        return result
    return (type(result).__name__, result.namespace, result.key, result.value)


class PeersModel(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Standing()
        self.peer = Peer()
        self.open()

    def open(self) -> None:
        self.store = aegis_store.open(self.folder / "s", config=SMALL, clock=self.clock)
        self.memory = AegisStore(self.store)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)

    def check(self, ops) -> None:
        self.clock.pass_seconds(1)
        expected = self.peer.batch(ops)
        assert [seen(each) for each in self.memory.batch(ops)] == expected

    @rule(op=puts | puts | deletes | gets | searches | lists)
    def one(self, op) -> None:
        self.check([op])

    @rule(ops=st.lists(puts | deletes | gets | searches | lists, max_size=8))
    def batch(self, ops) -> None:
        self.check(ops)

    @rule(namespace=namespaces, key=keys, value=values)
    def put_and_get(self, namespace, key, value) -> None:
        before = self.memory.get(namespace, key)
        self.check([PutOp(namespace, key, value)])
        item = self.memory.get(namespace, key)
        assert item.value == value
        now = round(item.updated_at.timestamp() * 1000)
        assert now == self.clock.now
        assert item.created_at == (item.updated_at if before is None else before.created_at)

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.open()

    @rule()
    def crash(self) -> None:
        abandon(self.store)
        self.open()

    @rule()
    def compact(self) -> None:
        self.store.compact()

    @invariant()
    def the_same_is_there(self) -> None:
        if hasattr(self, "memory"):
            self.check([SearchOp((), None, EVERYTHING), ListNamespacesOp(limit=EVERYTHING)])


TestPeersModel = PeersModel.TestCase
TestPeersModel.settings = settings(max_examples=20, stateful_step_count=25)
