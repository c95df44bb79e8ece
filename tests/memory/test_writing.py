"""The next record of a key: what it says, and what it is built on."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store import Put, Tier
from aegis_store.errors import NoSpace
from aegis_store.schema import memory as schema
from aegis_store.types import Kind
from tests.memory.memories import SMALL, Standing, held
from tests.stores import Crash, abandon

ANN = ("users", "ann")


@pytest.fixture
def clock():
    return Standing()


@pytest.fixture
def store(tmp_path, clock):
    with aegis_store.open(tmp_path / "s", config=SMALL, clock=clock) as store:
        yield store


def said(store):
    """The items in the log, without their values."""
    records = store.memory.records
    return [
        schema.decode_head(records.check(record).envelope)
        for record in records.scan(0, records.size())
        if record.kind == Kind.MEMORY_ITEM
    ]


def test_what_the_records_of_a_key_say(store, clock):
    memory = store.memory
    memory.put(ANN, "k", 1, ttl=10)
    clock.pass_seconds(6)
    memory.get(ANN, "k")
    memory._refreshes._write()
    memory.put(ANN, "k", 2, request_id="r")
    memory.delete(ANN, "k")
    memory.put(ANN, "k", 3)
    begin = 1_700_000_000_000
    one = {"namespace": ANN, "key": "k"}
    assert said(store) == [
        schema.Item(**one, op="put", number=1, ttl_ms=10_000, expires_ms=begin + 10_000),
        schema.Item(
            **one, op="refresh", number=1, put=0, created_ms=begin, changed_ms=begin, ttl_ms=10_000, expires_ms=begin + 16_000
        ),
        schema.Item(**one, op="put", number=2, created_ms=begin, request_id="r"),
        schema.Item(**one, op="delete", number=2, put=2, created_ms=begin, changed_ms=begin + 6000),
        schema.Item(**one, op="put", number=3),
    ]


def test_versions_of_a_value_are_stored_as_what_changed(store):
    value = {str(number): "some text that stays " * 3 for number in range(200)}
    store.memory.put(ANN, "k", value)
    before = store._engine.size(Tier.MEMORY)
    for number in range(20):
        store.memory.put(ANN, "k", {**value, "n": number})
    records = list(store.memory.records.scan(before, store._engine.size(Tier.MEMORY)))
    assert len(records) == 20 and max(len(each.payload) for each in records) < 300
    assert [each.value.get("n") for each in store.memory.versions(ANN, "k")] == [*range(19, -1, -1), None]


@pytest.mark.parametrize("step", ["before", "behind"])
@pytest.mark.parametrize("what", ["append_signed", "commit", "note"])
def test_an_interrupt_between_any_two_steps_loses_no_count(tmp_path, monkeypatch, what, step):
    store = aegis_store.open(tmp_path / "s", config=SMALL)
    store.memory.put(ANN, "k", 1)
    owner = {"append_signed": type(store._engine), "commit": type(store.memory.records), "note": type(store.memory._tier)}[what]
    real = getattr(owner, what)

    def interrupted(self, *args, **options):
        if step == "behind":
            real(self, *args, **options)
        raise Crash

    monkeypatch.setattr(owner, what, interrupted)
    with pytest.raises(Crash):
        store.memory.put(ANN, "k", 2)
    monkeypatch.undo()
    there = store.memory.get(ANN, "k")
    assert there.value in (1, 2) and there.version == there.value
    assert store.memory.put(ANN, "k", 3).version == there.version + 1
    before = held(store.memory)
    abandon(store)
    with aegis_store.open(tmp_path / "s", config=SMALL) as store:
        assert held(store.memory) == before
        assert [each.version for each in store.memory.versions(ANN, "k")] == list(range(there.version + 1, 0, -1))
        assert store.verify(deep=True).ok


def test_a_put_that_there_is_no_space_for_leaves_those_before_it_on_their_way(store, monkeypatch):
    memory = store.memory
    real, calls = type(store._engine).append_signed, []

    def full(self, tier, *record):
        calls.append(tier)
        if len(calls) == 4:
            raise NoSpace("no space", op="append")
        return real(self, tier, *record)

    memory.put(ANN, "j", 0)
    monkeypatch.setattr(type(store._engine), "append_signed", full)
    with pytest.raises(NoSpace):
        memory.batch([Put(namespace=ANN, key="k", value=number) for number in range(5)])
    assert (memory.get(ANN, "k").version, memory.get(ANN, "k").value) == (2, 1)
    assert memory.put(ANN, "k", "next").version == 3


def test_a_value_above_the_limit_is_refused_before_it_is_queued(tmp_path):
    config = aegis_store.Config(state_limit_bytes=1000)
    with aegis_store.open(tmp_path / "s", config=config) as store:
        store.memory.put(ANN, "k", "x" * 500)
        with pytest.raises(aegis_store.errors.StateTooLarge, match="the value has"):
            store.memory.put(ANN, "k", "x" * 1500)
        assert store.memory.put(ANN, "k", "x").version == 2


def test_a_value_larger_than_a_record_comes_back(store):
    from tests.stores import noise

    value = noise(5 << 20)
    store.memory.put(ANN, "k", value)
    store.memory.put(ANN, "k", value[:-1])
    assert store.memory.get(ANN, "k").value == value[:-1]
    assert [each.value for each in store.memory.versions(ANN, "k")] == [value[:-1], value]
