from __future__ import annotations

from contextlib import ExitStack

from aegis_store.bench.measure import Wanted
from aegis_store.bench.rivals.absent import NotHere
from aegis_store.bench.workload import ENTRY_BYTES, PAYLOAD_BYTES, Field, engine_work, open_engine, rates_against, record
from aegis_store.types import Tier
from tests.bench.facts import sample, tiny


def test_who_cannot_take_part_is_noted_and_the_others_go_on():
    def absent():
        raise NotHere("RocksDB", "install it")

    with ExitStack() as stack:
        field = Field(stack)
        field.add("a", lambda: lambda: sample(1))
        field.add("RocksDB", absent)
        field.add("b", lambda: lambda: sample(2))
    assert [side.name for side in field.sides] == ["a", "b"]
    assert [(each.name, each.remedy) for each in field.missing] == [("RocksDB", "install it")]


def test_figures_are_made_against_who_is_there():
    samples = {"ours": [sample(30)], "a": [sample(10)]}
    found = rates_against("t", samples, "ours", ["a", "b"], wanted={"a": Wanted(least=2)})
    assert [(each.peer, each.compared.median, each.met) for each in found] == [("a", 3, True)]
    assert rates_against("t", {"a": [sample(10)]}, "ours", ["a"]) == []


def test_an_append_is_4_kib_and_in_the_log_when_it_returns(tmp_path):
    entry, payload = record(1)
    assert (len(entry), len(payload)) == (ENTRY_BYTES, PAYLOAD_BYTES)
    assert record(1) == (entry, payload) != record(2)
    with open_engine(tmp_path / "s") as engine:
        engine_work(engine, 1)()
        assert engine.size(Tier.SESSION) == 1
        assert engine.read(Tier.SESSION, 0).payload == payload


def test_progress_is_said(tmp_path):
    said: list[str] = []
    how = tiny(tmp_path, say=said.append)
    how.progress(-1, "a")
    how.progress(0, "b")
    assert said == ["warming up: a", "round 1 of 1: b"]
