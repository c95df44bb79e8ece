"""What of each session lies on the disk, by its entries."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store import Config, Tier
from aegis_store.rules import Rule
from aegis_store.survey import parents, survey
from aegis_store.types import Kind
from tests.stores import SMALL, Told, noise
from tests.test_delta_chains import growing, save


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def test_a_session_is_found_with_all_that_is_its_own(place):
    with aegis_store.open(place, config=SMALL, clock=Told(start=1000)) as store:
        refs = save(store, "s", growing(5))
        fork = store.session("s").fork("f", at=refs[2])
        own = fork.checkpoint("own")
        store.session("s").end()
        found = survey(store.records.engine, Tier.SESSION)
        s, f = (found.strands[store.catalog.session(name).tag] for name in "sf")
        assert found.size == store.records.size() and found.dictionaries == []
        assert list(s.indexes) == [ref.index for ref in refs] and list(s.ordinals) == [0, 1, 2, 3, 4]
        assert list(s.times) == [ref.time_ms for ref in refs]
        assert list(s.sizes) == [len(store.records.engine.read(Tier.SESSION, ref.index).payload) for ref in refs]
        assert (s.number, s.parent, s.is_erased, s.ended) == (1, None, False, own.index + 1)
        assert (f.parent, f.first_ordinal, list(f.ordinals)) == (refs[2].index, 3, [3])
        assert found.forks() == {refs[2].index: [f]}
        assert sorted(s.records()) == [1, *(ref.index for ref in refs), own.index + 1]
        assert list(parents(store.records.engine, Tier.SESSION, 0)) == [refs[2].index]
        assert list(parents(store.records.engine, Tier.SESSION, found.size)) == []


def test_gaps_and_chunks_are_told(place):
    with aegis_store.open(place, config=Config(segment_bytes=64 << 10)) as store:
        session = store.session("s")
        session.checkpoint(noise(17 << 20))
        session.checkpoint("small")
        (strand,) = survey(store.records.engine, Tier.SESSION).strands.values()
        pieces = [(index, size) for index, size in strand.chunks[0]]
        assert len(pieces) == 5 and sum(size for _, size in pieces) > 17 << 20
        assert set(strand.records()) >= {index for index, _ in pieces}
        store.retain([Rule(keep_last=1)])
        store.compact()
        (strand,) = survey(store.records.engine, Tier.SESSION).strands.values()
        assert list(strand.gaps) == [1, 0]
        assert {size for _, size in strand.chunks[0]} == {0}


def test_an_erased_session_and_dictionaries_are_told(place):
    shared = " ".join(f"tool number {number} does this and that;" for number in range(200))
    with aegis_store.open(place, config=SMALL) as store:
        for name in ("a", "b", "c", "d"):
            store.session(name).checkpoint({"prompt": shared, "name": name})
        found = survey(store.records.engine, Tier.SESSION)
        assert [store.records.read(index).entry.kind for index in found.dictionaries] == [Kind.DICTIONARY]
        tag = store.catalog.session("d").tag
        store.session("d").erase(reason="case 1")
        assert survey(store.records.engine, Tier.SESSION).strands[tag].is_erased
