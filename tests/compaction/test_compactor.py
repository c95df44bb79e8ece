"""A compaction that is stopped, watched, or has others beside it: what stays can be read at every moment."""

from __future__ import annotations

import threading

import pytest

import aegis_store
from aegis_store.compaction import compactor
from aegis_store.errors import Closed, Conflict
from aegis_store.rules import Rule
from tests.keeping import LAST_3, facts, kept_of
from tests.stores import SMALL, abandon, states
from tests.test_delta_chains import growing, save


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def test_a_compaction_that_was_stopped_goes_on_where_it_was(place, monkeypatch):
    saved = growing(200)
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", saved)
        store.retain(LAST_3)
        before, seen, stop = facts(store), [], threading.Event()

        def watch(stage):
            seen.append(stage)
            if stage.segment == 2:
                stop.set()

        with pytest.raises(Closed, match="goes on from here"):
            store.keeping.compactor.run(watch=watch, stop=stop)
        assert [pending.index for pending in store.records.gaps.pending()] != []
        assert kept_of(store, "s") == dict(enumerate(saved[197:], 197))
        abandon(store)
    with aegis_store.open(place, config=SMALL) as store:
        assert store.compact().segments > 0
        assert facts(store) == before
        assert store.records.gaps.pending() == ()
        assert kept_of(store, "s") == dict(enumerate(saved[197:], 197))
        assert store.verify(deep=True).findings == ()


def test_every_segment_done_leaves_a_store_that_is_whole(place, monkeypatch):
    """As a crash between any two segments leaves it: what stays can be read, what goes cannot, nothing is damage."""
    saved = growing(150)
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", saved)
        store.retain([Rule(keep_last=1, keep_positions=["none"])])
        save(store, "t", saved[:40])
        looks = []
        real = compactor.compact_segment

        def look(*args, **options):
            real(*args, **options)
            with aegis_store.open(place, mode="r", config=SMALL) as reader:
                looks.append(reader.verify(deep=True).findings)
                assert kept_of(reader, "s") == {149: saved[149]}
                assert kept_of(reader, "t") == dict(enumerate(saved[:40]))

        monkeypatch.setattr(compactor, "compact_segment", look)
        store.compact()
        assert len(looks) > 2
        assert set(looks) == {()}


def test_appends_and_readers_go_on_beside_it(place):
    saved = growing(150)
    with aegis_store.open(place, config=SMALL) as store, aegis_store.open(place, mode="r", config=SMALL) as reader:
        save(store, "s", saved)
        assert reader.session("s").latest().state == saved[-1]
        store.retain(LAST_3)
        over, written, failures = threading.Event(), [], []

        def write():
            session = store.session("w")
            while not over.is_set() or len(written) < 50:
                state = {"n": len(written), "pad": saved[len(written) % 150]}
                session.checkpoint(state)
                written.append(state)

        def read():
            while not over.is_set():
                if reader.session("s").latest().state != saved[-1]:
                    failures.append("latest")

        threads = [threading.Thread(target=write), threading.Thread(target=read)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                store.compact()
                store.retain([Rule(keep_last=2)])
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert failures == []
        store.compact()
        assert store.session("w").latest().state == written[-1]
        assert store.verify(deep=True).findings == ()
        assert kept_of(reader, "s") == {148: saved[148], 149: saved[149]}


def test_in_the_background_it_is_one_and_closing_stops_it(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(120))
        store.retain(LAST_3)
        running = store.start_compaction()
        assert running.wait().payloads_gone == 117
        assert running.is_done
        save(store, "s", growing(60))
        store.retain(LAST_3)
        slow = store.start_compaction(bytes_a_second=1)
        assert store.start_compaction() is slow
        while slow.stage is None:  # it has begun
            slow._thread.join(0.001)
        with pytest.raises(Conflict, match="being compacted already"):
            store.compact()
    with pytest.raises(Closed):
        slow.wait()
    with aegis_store.open(place, config=SMALL) as store:
        assert len(states(store, "s")) == 3
        store.compact()
        assert store.verify(deep=True).ok
