"""Searches that give the newest put first."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store import DEFAULT
from aegis_store.memory.reading import Reader
from tests.memory.memories import SMALL, Standing


@pytest.fixture
def clock():
    return Standing()


@pytest.fixture
def open_store(tmp_path, clock):
    return lambda: aegis_store.open(tmp_path / "s", config=SMALL, clock=clock)


def keys(memory, prefix=(), **options):
    return [each.key for each in memory.search(prefix, newest_first=True, refresh=False, **options)]


def test_the_newest_put_comes_first_whatever_its_name(open_store):
    with open_store() as store:
        for namespace, key in [("b", "1"), ("a", "2"), ("c", "3"), ("a", "1")]:
            store.memory.put((namespace,), namespace + key, {"of": namespace})
        assert keys(store.memory) == ["a1", "c3", "a2", "b1"]
        store.memory.put(("b",), "b1", {"of": "b", "again": True})
        assert keys(store.memory) == ["b1", "a1", "c3", "a2"]
        assert keys(store.memory, ("a",)) == ["a1", "a2"]
        assert keys(store.memory, limit=2, offset=1) == ["a1", "c3"]
        assert keys(store.memory, where={"of": "a"}) == ["a1", "a2"]


def test_what_was_deleted_or_has_expired_has_no_place(open_store, clock):
    with open_store() as store:
        for key in "abc":
            store.memory.put(("n",), key, key, ttl=60 if key == "b" else DEFAULT)
        store.memory.delete(("n",), "c")
        assert keys(store.memory) == ["b", "a"]
        clock.pass_seconds(60)
        assert keys(store.memory) == ["a"]
        store.memory.put(("n",), "c", "again")
        assert keys(store.memory) == ["c", "a"]


def test_a_refresh_is_no_put(open_store, clock):
    with open_store() as store:
        for key in "abc":
            store.memory.put(("n",), key, key, ttl=1000)
        clock.pass_seconds(500)
        store.memory.get(("n",), "a")
        store.memory.get(("n",), "b")
    with open_store() as store:  # closing has written down what the reads promised
        clock.pass_seconds(400)
        assert [each.expires_at is not None for each in store.memory.list(("n",), refresh=False)] == [True] * 3
        assert keys(store.memory) == ["c", "b", "a"]
        clock.pass_seconds(200)
        assert keys(store.memory) == ["b", "a"]


def test_a_pointer_sees_the_order_of_its_time(open_store):
    with open_store() as store:
        for key in "abc":
            store.memory.put(("n",), key, key)
        then = store.memory.pointer()
        store.memory.put(("n",), "a", "newer")
        store.memory.put(("n",), "d", "d")
        assert keys(store.memory, at=then) == ["c", "b", "a"]
        assert keys(store.memory) == ["d", "a", "c", "b"]


def test_what_nobody_comes_to_is_not_read(open_store, monkeypatch):
    with open_store() as store:
        for at in range(50):
            store.memory.put(("n",), f"{at:02}", at)
        read = []
        at_place = Reader.at_place

        def watched(self, chain, *place, **options):
            read.append(chain.id)
            return at_place(self, chain, *place, **options)

        monkeypatch.setattr(Reader, "at_place", watched)
        assert keys(store.memory, limit=3) == ["49", "48", "47"]
        assert len(read) <= 4


def test_namespaces_that_match(open_store):
    with open_store() as store:
        for namespace in [("a", "x"), ("a", "y"), ("b", "x"), ("b",)]:
            store.memory.put(namespace, "k", 1)
        ends_in_x = list(store.memory.namespaces(matching=lambda namespace: namespace[-1] == "x"))
        assert ends_in_x == [("a", "x"), ("b", "x")]
        assert list(store.memory.namespaces(prefix=("b",), matching=lambda namespace: "x" in namespace, max_depth=1)) == [
            ("b",)
        ]
