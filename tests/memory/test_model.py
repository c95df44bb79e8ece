"""The memory against a dict, over any sequence of calls: reopened, killed, its catalogue lost, swept, pruned and compacted in
between; read now, by a reader, and at every pointer that was taken."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

import aegis_store
from aegis_store import Delete, Put, Rule
from aegis_store.errors import Conflict, Pruned
from tests.memory.memories import SMALL, Standing
from tests.stores import abandon

NAMESPACES = [(), ("a",), ("a", "b"), ("ab",), ("\x00",)]
KEYS = ["", "k", "kk", "\x01", "z" * 300]
places = st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(KEYS))
#: Some long enough to be stored as deltas.
values = st.one_of(
    st.integers(0, 9), st.builds(lambda n: {"n": n, "text": "same text " * 60, "tail": n * "x"}, st.integers(0, 9))
)
ttls = st.sampled_from([None, None, 10, 1000])


class Versioned:
    """What the model knows of a key: its puts as [value, number, ttl, expires, created], and whether it was deleted."""

    def __init__(self) -> None:
        self.number = 0
        self.value: object = None
        self.ttl: int | None = None
        self.expires: int | None = None
        self.created = 0
        self.deleted = True

    def is_there(self, now: int) -> bool:
        return not self.deleted and (self.expires is None or now < self.expires)


class MemoryModel(RuleBasedStateMachine):
    pointers = Bundle("pointers")

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.clock = Standing()
        self.store = aegis_store.open(self.folder / "s", config=SMALL, clock=self.clock)
        self.keys: dict[tuple[tuple[str, ...], str], Versioned] = {}
        self.requests: dict[tuple[tuple[tuple[str, ...], str], str], int] = {}
        self.pruned = False

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)

    # ---- what is done

    @rule(place=places, value=values, ttl=ttls, expect=st.none() | st.integers(0, 4))
    def put(self, place, value, ttl, expect) -> None:
        known = self.keys.setdefault(place, Versioned())
        version = known.number if known.is_there(self.clock.now) else 0
        if expect not in (None, version):
            with pytest.raises(Conflict):
                self.store.memory.put(*place, value, ttl=ttl, expect=expect)
            return
        item = self.store.memory.put(*place, value, ttl=ttl, expect=expect)
        self._note_put(place, value, ttl)
        assert (item.version, item.value) == (known.number, value)

    def _note_put(self, place, value, ttl) -> None:
        known = self.keys.setdefault(place, Versioned())
        if not known.is_there(self.clock.now):
            known.created = self.clock.now
        known.number += 1
        known.value, known.ttl, known.deleted = value, ttl, False
        known.expires = None if ttl is None else self.clock.now + ttl * 1000

    @rule(place=places, value=values, request=st.sampled_from(["r1", "r2"]))
    def put_with_a_request(self, place, value, request) -> None:
        first = self.requests.get((place, request))
        try:
            item = self.store.memory.put(*place, value, ttl=None, request_id=request)
        except Pruned:
            assert first is not None and self.pruned
            return
        if first is None:
            self._note_put(place, value, None)
            self.requests[place, request] = self.keys[place].number
        assert item.version == self.requests[place, request]

    @rule(place=places)
    def delete(self, place) -> None:
        known = self.keys.setdefault(place, Versioned())
        assert self.store.memory.delete(*place) == known.is_there(self.clock.now)
        if known.is_there(self.clock.now):
            known.deleted = True

    @rule(each=st.lists(st.tuples(places, st.none() | values), max_size=5))
    def batch(self, each) -> None:
        self.store.memory.batch(
            [
                Delete(namespace=place[0], key=place[1])
                if value is None
                else Put(namespace=place[0], key=place[1], value=value, ttl=None)
                for place, value in each
            ]
        )
        for place, value in each:
            if value is not None:
                self._note_put(place, value, None)
            elif place in self.keys and self.keys[place].is_there(self.clock.now):
                self.keys[place].deleted = True

    @rule(place=places, refresh=st.booleans())
    def get(self, place, refresh) -> None:
        known = self.keys.get(place)
        item = self.store.memory.get(*place, refresh=refresh)
        if known is None or not known.is_there(self.clock.now):
            assert item is None
            return
        if refresh and known.ttl is not None:
            due = self.clock.now + known.ttl * 1000
            if due - known.expires > known.ttl * 1000 // 8:
                known.expires = due
        assert (item.value, item.version) == (known.value, known.number)
        assert round(item.created_at.timestamp() * 1000) == known.created
        assert (None if item.expires_at is None else round(item.expires_at.timestamp() * 1000)) == known.expires

    @rule(seconds=st.sampled_from([0.001, 1, 2, 9, 10, 500]))
    def time_passes(self, seconds) -> None:
        self.clock.pass_seconds(seconds)

    @rule()
    def sweep(self) -> None:
        expired = [each for each in self.keys.values() if not each.deleted and not each.is_there(self.clock.now)]
        assert self.store.memory.sweep().deleted == len(expired)
        for each in expired:
            each.deleted = True

    @rule(keep=st.integers(1, 2))
    def retain(self, keep) -> None:
        self.store.retain([Rule(tier="memory", keep_last=keep)])
        self.pruned = True

    @rule()
    def compact(self) -> None:
        self.store.compact()

    # ---- what happens to it

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = aegis_store.open(self.folder / "s", config=SMALL, clock=self.clock)

    @rule()
    def crash(self) -> None:
        # What reads have promised is written by a thread of its own, and a crash may come before that: here it does not.
        self.store.memory._refreshes._write()
        abandon(self.store)
        self.store = aegis_store.open(self.folder / "s", config=SMALL, clock=self.clock)

    @rule()
    def lose_the_catalogue(self) -> None:
        self.store.catalog._lose(OSError("gone"))

    # ---- what is seen

    def expected(self) -> dict[tuple[tuple[str, ...], str], object]:
        return {place: each.value for place, each in self.keys.items() if each.is_there(self.clock.now)}

    @rule(target=pointers)
    def point(self):
        # The time that counts at a pointer is that of its last record: so that it is now.
        self.store.memory.put((), "the time", self.clock.now, ttl=None)
        self._note_put(((), "the time"), self.clock.now, None)
        return self.store.memory.pointer(), self.expected()

    @rule(pointed=pointers, place=places)
    def look_back(self, pointed, place) -> None:
        pointer, expected = pointed
        try:
            item = self.store.memory.get(*place, at=pointer)
            assert (None if item is None else item.value) == expected.get(place)
            assert (item is not None) == (place in expected)
        except Pruned:
            assert self.pruned  # said, and never another version in its place

    @rule(pointed=pointers)
    @precondition(lambda self: not self.pruned)
    def look_back_at_all(self, pointed) -> None:
        pointer, expected = pointed
        assert {(each.namespace, each.key): each.value for each in self.store.memory.search(at=pointer)} == expected

    @rule()
    def a_reader_sees_the_same(self) -> None:
        self.store.memory._refreshes._write()
        with aegis_store.open(self.folder / "s", mode="r", clock=self.clock) as reader:
            found = {(each.namespace, each.key): each.value for each in reader.memory.search()}
            assert found == self.expected()
            assert reader.verify(deep=True).ok

    @invariant()
    def all_is_there_and_in_order(self) -> None:
        if not hasattr(self, "store"):
            return
        found = [(each.namespace, each.key, each.value) for each in self.store.memory.search(refresh=False)]
        expected = self.expected()
        assert {(namespace, key): value for namespace, key, value in found} == expected and len(found) == len(expected)
        assert [each[:2] for each in found] == sorted(each[:2] for each in found)
        assert list(self.store.memory.namespaces()) == sorted({namespace for namespace, _ in expected})


TestMemoryModel = MemoryModel.TestCase
TestMemoryModel.settings = settings(max_examples=25, stateful_step_count=30, deadline=None)
