"""A reader's catalogue reads the log when somebody asks for what only it knows, and not before."""

from __future__ import annotations

import threading

import pytest

import aegis_store
from aegis_store import indexing
from aegis_store import store as store_module
from aegis_store.errors import Corrupt

from .stores import SMALL, Crash, fill, flip, frame_of


@pytest.fixture
def place(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "a", "b", each=20)
    return place


@pytest.fixture
def readings(monkeypatch):
    """How often a whole log was read for a catalogue."""
    found: list[object] = []
    real = indexing.whole

    def whole(records):
        found.append(records.tier)
        yield from real(records)

    monkeypatch.setattr(store_module, "whole", whole)
    return found


def test_what_needs_no_lookup_reads_no_log(place, readings):
    with aegis_store.open(place, mode="r") as store:
        store.head()
        store.stats()
        assert not store.catalog.is_read
    assert readings == []


def test_the_first_lookup_reads_it_once(place, readings):
    with aegis_store.open(place, mode="r") as store:
        assert store.session("a").info().checkpoints == 20
        assert store.session("b").latest().ref.ordinal == 19
        assert [each.id for each in store.sessions()] == ["a", "b"]
        assert len(readings) == len(store._records)


def test_from_then_on_it_follows_the_writer(place, readings):
    with aegis_store.open(place, mode="r") as reader, aegis_store.open(place, config=SMALL) as writer:
        writer.session("before").checkpoint({"n": 1})
        assert reader.session("before").latest().state == {"n": 1}
        read = len(readings)
        writer.session("after").checkpoint({"n": 2})
        assert reader.session("after").latest().state == {"n": 2}
        assert len(readings) == read


def test_threads_that_ask_first_at_once_all_get_the_answer(place):
    with aegis_store.open(place, mode="r") as store:
        start, found = threading.Barrier(8), []

        def ask(name):
            start.wait()
            found.append(store.session(name).info().checkpoints)

        threads = [threading.Thread(target=ask, args=("ab"[number % 2],)) for number in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert found == [20] * 8
        assert store.records.suspects == {}


def test_an_interrupt_in_the_middle_of_it_leaves_it_to_the_next_lookup(place, monkeypatch):
    with aegis_store.open(place, mode="r") as store:
        with monkeypatch.context() as patch:

            def cut_short(records):
                yield from ()
                raise Crash

            patch.setattr(store_module, "whole", cut_short)
            with pytest.raises(Crash):
                store.session("a").info()
        assert not store.catalog.is_read
        assert store.session("a").info().checkpoints == 20


def test_damage_is_refused_by_the_first_lookup_too(place):
    file, span = frame_of(place, 1)  # the begin of "a"
    flip(file, span.payload + 3)
    with aegis_store.open(place, mode="r") as store:
        with pytest.raises(Corrupt):
            store.session("a").latest()
        assert store.records.suspects
