from __future__ import annotations

import pytest

from aegis_store.bench import langgraph
from aegis_store.bench.langgraph import CALLS_QUICK, IN_MEMORY, OURS, SIZES, SQLITE, THREADS, TURNS_QUICK
from aegis_store.bench.rivals.absent import NotHere
from aegis_store.bench.rivals.synced_memory import SIGNED, SYNCED
from tests.bench.facts import tiny


def test_every_side_does_the_same(tmp_path):
    pytest.importorskip("langgraph.checkpoint.sqlite", reason="not installed: pip install '.[test]'")
    found = langgraph.run(tiny(tmp_path))
    assert found.missing == []
    turns = found.samples[f"{TURNS_QUICK} turns"]
    assert set(turns) == {OURS, SQLITE, IN_MEMORY, SYNCED, SIGNED}
    assert {each.operations for samples in turns.values() for each in samples} == {TURNS_QUICK}
    cases = [f"{case}, {size}" for size in SIZES for case in langgraph._Calls.CASES]
    assert set(found.samples) == {f"{TURNS_QUICK} turns", *cases, *(f"{THREADS} threads, {size}" for size in SIZES)}
    for case in cases:
        assert {name: samples[0].operations for name, samples in found.samples[case].items()} == {
            OURS: CALLS_QUICK,
            SQLITE: CALLS_QUICK,
        }
    disk = {figure.note: figure for figure in found.figures if figure.title.endswith("bytes on disk") and not figure.peer}
    assert disk["the whole directory, closed"].ours_value.median < disk["the whole directory, open"].ours_value.median
    assert all(figure.met is not None for figure in found.figures if figure.wanted)


def test_without_langgraph_it_says_what_is_missing(tmp_path, monkeypatch):
    def absent(*_):
        raise NotHere(OURS, "not installed")

    monkeypatch.setattr(langgraph, "demand", absent)
    found = langgraph.run(tiny(tmp_path))
    assert found.figures == [] and [each.name for each in found.missing] == [OURS]
