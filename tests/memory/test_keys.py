"""Keys that somebody writes under."""

from __future__ import annotations

import gc

import pytest

import aegis_store
from aegis_store.errors import Erased, InvalidArgument
from aegis_store.memory.keys import name_of, namespace_of
from tests.memory.memories import SMALL


def test_who_writes_under_one_key_has_one_object_and_nobody_keeps_it(tmp_path):
    with aegis_store.open(tmp_path / "s", config=SMALL) as store:
        keys = store.memory._keys
        one = keys.of(("a",), "k")
        assert keys.of(["a"], "k") is one and keys.known(one.chain.id) is one
        assert keys.of(("a",), "l") is not one
        name = one.chain.id
        del one
        gc.collect()
        assert keys.known(name) is None


def test_after_an_erasure_a_key_is_another_one(tmp_path):
    with aegis_store.open(tmp_path / "s", config=SMALL) as store:
        store.memory.put(("a",), "k", 1)
        old = store.memory._keys.of(("a",), "k")
        store.memory.erase(("a",), "k", reason="r")
        assert store.memory._keys.of(("a",), "k") is not old
        with pytest.raises(Erased, match="key 'k' of the namespace 'a' is being erased"):
            old.put(2, ttl_ms=None, expect=None, request_id=None, agent="agent")
        with pytest.raises(Erased, match="key 'k' of the namespace 'a' is being erased"):
            old.put(2, ttl_ms=None, expect=None, request_id="r", agent="agent")
        assert store.memory.put(("a",), "k", 3).version == 1


def test_what_is_no_namespace_or_key_is_refused():
    assert namespace_of(["a", "b"]) == ("a", "b")
    for parts in ("a", None, {"a"}, ("a", 5), ("a", b"b")):
        with pytest.raises(InvalidArgument):
            namespace_of(parts)
    with pytest.raises(InvalidArgument, match="this key is of type int"):
        name_of(("a",), 5)
    with pytest.raises(InvalidArgument, match="namespace and key has 1,000,00"):
        name_of(("a" * 500_000,), "b" * 500_000)
