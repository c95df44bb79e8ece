"""Huge states: their pieces go with them, and what no record holds in its new form goes into pieces of the store's own."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store import Config
from aegis_store.rules import Rule
from tests.keeping import facts, payloads
from tests.stores import noise, states


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def test_chunks_go_with_the_checkpoint_that_they_are_of(place):
    config = Config(segment_bytes=64 << 10, state_limit_bytes=64 << 20)
    big = [noise(20 << 20, number) for number in range(2)]
    with aegis_store.open(place, config=config) as store:
        session = store.session("s")
        for state in big:
            session.checkpoint(state)
        session.checkpoint("small")
        store.retain([Rule(keep_last=1)])
        store.compact()
        assert payloads(store) < 1 << 20
        assert states(store, "s") == ["small"]
        assert store.verify(deep=True).ok


def test_what_no_record_holds_in_its_new_form_goes_into_chunks_of_the_store(place):
    """A small delta to a huge state: when that goes, it takes the huge one's place, after the fact."""
    config = Config(segment_bytes=64 << 10, state_limit_bytes=64 << 20)
    base = noise(18 << 20)
    with aegis_store.open(place, config=config) as store:
        session = store.session("s")
        session.checkpoint({"base": base, "n": 0})
        session.checkpoint({"base": base, "n": 1})
        session.checkpoint("small")
        before = facts(store)
        session.checkpoint("newest")
        store.retain([Rule(keep_last=3)])
        store.compact()
        assert [state if isinstance(state, str) else state["n"] for state in states(store, "s")] == [1, "small", "newest"]
        size = len(before[0])
        assert facts(store)[0][:size] == before[0]
        assert store.catalog.covered(store.records.tier) == store.records.size()
        store.retain([Rule(keep_last=1)])
        store.compact()
        assert payloads(store) < 1 << 20
        assert store.verify(deep=True).ok
    with aegis_store.open(place, mode="r", config=config) as store:
        assert states(store, "s") == ["newest"]
