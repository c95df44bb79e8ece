"""What has expired is deleted, and nothing else."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store import Put, Swept, Tier
from aegis_store.memory import sweeping
from tests.memory.memories import SMALL, Standing, held
from tests.stores import Crash, abandon


@pytest.fixture
def clock():
    return Standing()


def fill(memory, count=20):
    memory.batch([Put(namespace=(f"n{n % 2}",), key=f"{n:03}", value=n, ttl=10 if n % 4 < 2 else None) for n in range(count)])


def test_a_sweep_deletes_what_has_expired(tmp_path, clock):
    with aegis_store.open(tmp_path / "s", config=SMALL, clock=clock) as store:
        memory, told = store.memory, []
        fill(memory, 200)
        assert memory.sweep() == Swept(looked_at=200, deleted=0)
        clock.pass_seconds(10)
        before = held(memory)
        assert memory.sweep(("n1",), limit=7).deleted == 7
        assert memory.sweep(("n1",)) == Swept(looked_at=100, deleted=43)
        assert memory.sweep(watch=lambda looked_at, deleted: told.append((looked_at, deleted))).deleted == 50
        assert [each[0] for each in told] == [64, 128, 192] and told[-1][1] == 50
        assert memory.sweep() == Swept(looked_at=200, deleted=0)
        assert held(memory) == before and len(before) == 100
        assert memory.get(("n0",), "000") is None and memory.put(("n0",), "000", 1).version == 2


def test_a_sweep_in_batches_that_is_cut_short_goes_on(tmp_path, clock, monkeypatch):
    monkeypatch.setattr(sweeping, "BATCH", 8)
    monkeypatch.setattr(sweeping, "STEP", 1)
    store = aegis_store.open(tmp_path / "s", config=SMALL, clock=clock)
    fill(store.memory, 80)
    clock.pass_seconds(10)
    before = held(store.memory)

    def crash(looked_at, deleted):
        if deleted == 20:
            raise Crash

    with pytest.raises(Crash):
        store.memory.sweep(watch=crash)
    abandon(store)
    with aegis_store.open(tmp_path / "s", config=SMALL, clock=clock) as store:
        assert 16 <= 40 - store.memory.sweep().deleted <= 20
        assert held(store.memory) == before
        assert store.verify(deep=True).ok


def test_a_second_sweep_reads_nothing_that_it_knows(tmp_path, clock, monkeypatch):
    with aegis_store.open(tmp_path / "s", config=SMALL, clock=clock) as store:
        fill(store.memory)
        store.memory.sweep()
        reads = []
        read = type(store.memory.records).read
        monkeypatch.setattr(
            type(store.memory.records), "read", lambda self, index, **rest: reads.append(index) or read(self, index, **rest)
        )
        assert store.memory.sweep().deleted == 0 and reads == []
        clock.pass_seconds(10)
        assert store.memory.sweep().deleted == 10
        assert store._engine.size(Tier.MEMORY) == 1 + 40 + 10
