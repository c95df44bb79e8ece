"""Entries without what they are entries of."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store import Tier
from aegis_store._engine import entries
from aegis_store.errors import Corrupt
from tests.stores import SMALL, blot, fill, frame_of, noise


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def test_they_are_those_of_the_records(place):
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "a", "b", each=150, bytes_each=30)
        engine, size = store.records.engine, store.records.size()
        records = list(engine.scan(Tier.SESSION, 0, size))
        assert len(records) > 256  # more than one call gives
        expected = [(each.index, each.kind, each.flags, len(each.payload), each.entry) for each in records]
        assert list(entries(engine, Tier.SESSION, 0, size)) == expected
        assert list(entries(engine, Tier.SESSION, 7, 300)) == expected[7:300]
        assert list(entries(engine, Tier.SESSION, 9, 9)) == []


def test_one_that_cannot_be_read_is_named(place):
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "a", each=60)
        path, span = frame_of(place, 5)
        blot(path, span.start)
        with pytest.raises(Corrupt) as caught:
            list(entries(store.records.engine, Tier.SESSION, 0, store.records.size()))
        assert caught.value.index == 5


def test_of_payloads_nothing_is_asked(place):
    with aegis_store.open(place, config=SMALL) as store:
        store.session("s").checkpoint(noise(9000))
        path, span = frame_of(place, 2)
        blot(path, span.payload)
        assert [each[0] for each in entries(store.records.engine, Tier.SESSION, 0, 3)] == [0, 1, 2]
