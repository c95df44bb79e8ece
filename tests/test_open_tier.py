"""A tier of a store as chains see it: the memory tier's here, for nothing else writes to it yet in this test."""

from __future__ import annotations

import gc

import pytest

import aegis_store
from aegis_store.errors import Conflict, Foreign, InvalidArgument, ReadOnly
from aegis_store.open_tier import RECENT_CHAINS, OpenTier, tier_named
from aegis_store.schema import memory
from aegis_store.types import Kind, Tier


@pytest.fixture
def place(tmp_path):
    return tmp_path / "store"


def tier_of(store: aegis_store.Store) -> OpenTier:
    return OpenTier(store, store._records[Tier.MEMORY])


def add(tier: OpenTier, name: str, value: object, **options: object) -> aegis_store.Ref:
    chain = tier.chain_of(name)
    envelope = memory.encode(
        memory.Item(namespace=("n",), key="k", op="put", number=1, value=value, request_id=options.get("request_id"))
    )
    pending = chain.submit("planner", envelope, **{"expect": None, "request_id": None, **options})
    tier.records.commit(pending.ref.index)
    chain.settle(pending.ref.index)
    return pending.ref


def values(tier: OpenTier, name: str) -> list[object]:
    lineage = tier.chain_of(name).lineage
    found = lineage.newest()
    return [memory.decode(record.envelope).value for _, record in lineage.records_down(found, found.last_ordinal)]


def test_a_chain_of_its_own_stands_beside_the_sessions(place):
    with aegis_store.open(place) as store:
        store.session("a").checkpoint("in the session tier")
        tier = tier_of(store)
        refs = [add(tier, "a", value) for value in ("one", "two")]
        assert [(ref.tier, ref.ordinal) for ref in refs] == [(Tier.MEMORY, 0), (Tier.MEMORY, 1)]
        assert values(tier, "a") == ["two", "one"]
        assert [each.id for each in store.sessions()] == ["a"] and store.session("a").latest().state == "in the session tier"
        assert store.records.engine.read(Tier.MEMORY, refs[0].index).kind == Kind.MEMORY_ITEM
        assert store.verify(deep=True).ok


def test_it_comes_back_with_its_names_whether_the_catalogue_is_there_or_not(place):
    with aegis_store.open(place) as store:
        for name in ("b/2", "a/1", "b/1"):
            add(tier_of(store), name, name)
    for gone in (False, True):
        if gone:
            for file in (place / "catalog").iterdir():
                file.unlink()
        with aegis_store.open(place) as store:
            tier = tier_of(store)
            assert [each.id for each in store.catalog.named("b/", tier=Tier.MEMORY)] == ["b/1", "b/2"]
            assert values(tier, "a/1") == ["a/1"]
            assert list(store.sessions()) == []


def test_versions_of_a_key_are_deltas(place):
    with aegis_store.open(place) as store:
        tier = tier_of(store)
        text = "a long memory of what was said about nothing much " * 40
        sizes = [len(store.records.engine.read(Tier.MEMORY, add(tier, "k", [text, count]).index).payload) for count in range(3)]
        assert sizes[1] < sizes[0] / 2 and sizes[2] < sizes[0] / 2


def test_expect_and_requests_work_as_in_a_session(place):
    with aegis_store.open(place) as store:
        tier = tier_of(store)
        first = add(tier, "k", 1, expect=aegis_store.NO_CHECKPOINT, request_id="r")
        assert add(tier, "k", 2, request_id="r") == first
        with pytest.raises(Conflict):
            add(tier, "k", 2, expect=aegis_store.NO_CHECKPOINT)
        add(tier, "k", 2, expect=first)


def test_a_reader_writes_nothing(place):
    with aegis_store.open(place) as store:
        add(tier_of(store), "k", 1)
    with aegis_store.open(place, mode="r") as store, pytest.raises(ReadOnly):
        add(tier_of(store), "k", 2)


def test_a_record_that_is_moved_to_another_chain_is_refused(place):
    with aegis_store.open(place) as store:
        tier = tier_of(store)
        add(tier, "k", 1)
        add(tier, "other", 2)
        of = store.catalog.checkpoint
        other = store.catalog.session("other", Tier.MEMORY)
        add(tier, "k", 3)
        store.catalog.checkpoint = lambda number, ordinal: of(other.number, 0)
        with pytest.raises(Foreign):
            tier.chain_of("k").lineage.record(store.catalog.session("k", Tier.MEMORY), 0)


def test_chains_that_nobody_holds_are_let_go_of(place, monkeypatch):
    monkeypatch.setattr("aegis_store.open_tier.RECENT_CHAINS", 2)
    assert RECENT_CHAINS > 2
    with aegis_store.open(place) as store:
        tier = tier_of(store)
        for name in ("a", "b", "c"):
            add(tier, name, name)
        gc.collect()
        assert {chain.id for chain in tier.chains()} == {"b", "c"}
        tier.forget_session("b")
        gc.collect()
        assert {chain.id for chain in tier.chains()} == {"c"}


def test_tiers_have_names():
    assert [tier_named(name) for name in ("audit", Tier.MEMORY)] == [Tier.AUDIT, Tier.MEMORY]
    for name in ("Session", "", 3.5):
        with pytest.raises(InvalidArgument):
            tier_named(name)
