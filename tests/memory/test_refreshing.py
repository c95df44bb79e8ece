"""Expiry, and reads that move it."""

from __future__ import annotations

import gc
import threading

import pytest

import aegis_store
from aegis_store import Rule, Tier
from aegis_store.errors import NoSpace, Pruned
from aegis_store.memory.refreshing import lags
from aegis_store.schema import names
from tests.memory.memories import SMALL, Standing, held
from tests.stores import abandon

ANN = ("users", "ann")


@pytest.fixture
def clock():
    return Standing()


@pytest.fixture
def store(tmp_path, clock):
    with aegis_store.open(tmp_path / "s", config=SMALL, clock=clock) as store:
        yield store


def written(store):
    """What the reads so far have promised is in the log; how many records that has."""
    store.memory._refreshes._write()
    return store._engine.size(Tier.MEMORY)


def test_an_item_is_there_until_it_expires_and_not_a_millisecond_longer(store, clock):
    store.memory.put(ANN, "k", 1, ttl=10)
    clock.pass_seconds(9.999)
    assert store.memory.get(ANN, "k", refresh=False).value == 1 and held(store.memory) != {}
    clock.pass_seconds(0.001)
    assert store.memory.get(ANN, "k") is None and held(store.memory) == {} and list(store.memory.namespaces()) == []
    assert list(store.memory.list(ANN)) == []
    assert store.memory.put(ANN, "k", 2, expect=0).version == 2
    assert store.memory.get(ANN, "k").created_at == store.memory.get(ANN, "k").changed_at


@pytest.mark.parametrize(
    ("read", "keeps"),
    [
        (lambda memory: memory.get(ANN, "k"), True),
        (lambda memory: memory.get(ANN, "k", refresh=False), False),
        (lambda memory: list(memory.search()), True),
        (lambda memory: list(memory.search(refresh=False)), False),
        (lambda memory: list(memory.list(ANN)), True),
        (lambda memory: list(memory.namespaces()), False),
        (lambda memory: list(memory.versions(ANN, "k")), False),
        (lambda memory: memory.get(ANN, "k", at=memory.pointer()), False),
        (lambda memory: list(memory.search(where={"n": 2})), False),
    ],
)
def test_a_read_keeps_what_it_reads(store, clock, read, keeps):
    store.memory.put(ANN, "k", {"n": 1}, ttl=10)
    clock.pass_seconds(6)
    read(store.memory)
    clock.pass_seconds(6)
    item = store.memory.get(ANN, "k", refresh=False)
    assert (item is not None) is keeps
    if item is not None:
        assert (item.value, item.version, item.ttl_seconds) == ({"n": 1}, 1, 10)
        assert (item.expires_at - item.changed_at).total_seconds() == 16


def test_a_record_is_written_only_where_the_expiry_lags_by_more_than_an_eighth(store, clock):
    store.memory.put(ANN, "k", 1, ttl=80)
    size = written(store)
    for _ in range(5):
        store.memory.get(ANN, "k")
        clock.pass_seconds(2)
    assert written(store) == size
    clock.pass_seconds(0.001)
    for _ in range(5):
        store.memory.get(ANN, "k")
    assert written(store) == size + 1
    assert lags(1000, 800, 301) and not lags(1000, 800, 300)


def test_many_reads_are_refreshed_in_few_commits_and_none_waits(store, clock, monkeypatch):
    memory = store.memory
    memory.batch([aegis_store.Put(namespace=ANN, key=str(number), value=number, ttl=10) for number in range(100)])
    clock.pass_seconds(5)
    commits, caller = [], threading.get_ident()
    commit = type(store.memory.records).commit

    def counted(self, index):
        commits.append(threading.get_ident())
        commit(self, index)

    monkeypatch.setattr(type(store.memory.records), "commit", counted)
    assert len(list(memory.search())) == 100
    assert caller not in commits
    size = written(store)
    assert size == 1 + 300 and len(commits) <= 100
    clock.pass_seconds(7)
    assert len(held(memory)) == 100


def test_what_a_refresh_said_outlives_a_close_and_a_rebuilt_catalogue(tmp_path, clock):
    store = aegis_store.open(tmp_path / "s", config=SMALL, clock=clock)
    store.memory.put(ANN, "k", "text " * 100, ttl=10)
    clock.pass_seconds(6)
    expires = store.memory.get(ANN, "k").expires_at
    store.close()
    with aegis_store.open(tmp_path / "s", config=SMALL, clock=clock) as store:
        store.catalog.renew()
        item = store.memory.get(ANN, "k", refresh=False)
        assert (item.expires_at, item.value, item.version) == (expires, "text " * 100, 1)
        assert store.verify(deep=True).ok


def test_a_promise_that_was_not_written_before_a_crash_is_as_if_nobody_had_read(tmp_path, clock, monkeypatch):
    store = aegis_store.open(tmp_path / "s", config=SMALL, clock=clock)
    store.memory.put(ANN, "k", 1, ttl=10)
    monkeypatch.setattr(store.memory._refreshes._housekeeping, "due", lambda: None)
    clock.pass_seconds(6)
    store.memory.get(ANN, "k")
    clock.pass_seconds(6)
    assert store.memory.get(ANN, "k", refresh=False).value == 1
    abandon(store)
    with aegis_store.open(tmp_path / "s", config=SMALL, clock=clock) as store:
        assert store.memory.get(ANN, "k") is None


def test_a_promise_counts_for_whoever_puts_deletes_or_sweeps(store, clock, monkeypatch):
    memory = store.memory
    monkeypatch.setattr(memory._refreshes._housekeeping, "due", lambda: None)
    for key in ("a", "b", "c", "d"):
        memory.put(ANN, key, key, ttl=10)
    clock.pass_seconds(6)
    for key in ("a", "b", "c"):
        memory.get(ANN, key)
    clock.pass_seconds(6)
    assert memory.sweep().deleted == 1
    assert set(held(memory)) == {(ANN, "a"), (ANN, "b"), (ANN, "c")}
    assert memory.put(ANN, "a", "new", expect=1).version == 2
    assert memory.delete(ANN, "b", expect=1)
    written(store)
    assert held(memory) == {(ANN, "a"): "new", (ANN, "c"): "c"}
    clock.pass_seconds(5)
    assert held(memory) == {(ANN, "a"): "new"}


def test_a_refresh_that_lands_between_a_read_and_the_look_at_its_expiry_is_seen(store, clock):
    memory = store.memory
    memory.put(ANN, "k", 1, ttl=10)
    clock.pass_seconds(6)
    reader = memory._reader
    stored = reader.newest(names.name_of(ANN, "k"), reader.view(None))
    memory.get(ANN, "k")
    written(store)
    gc.collect()  # nobody has the key any more that had promised it
    clock.pass_seconds(6)
    assert memory._seen(stored, reader.view(None), None).ref.ordinal == 1
    memory.delete(ANN, "k")
    written(store)
    gc.collect()  # that look has promised something as well
    assert memory._seen(stored, reader.view(None), None) is None


def test_what_was_promised_before_a_close_is_written_by_it(tmp_path, clock, monkeypatch):
    store = aegis_store.open(tmp_path / "s", config=SMALL, clock=clock)
    store.memory.put(ANN, "k", 1, ttl=10)
    clock.pass_seconds(6)
    monkeypatch.setattr(store.memory._refreshes._housekeeping, "due", lambda: None)
    store.memory.get(ANN, "k")
    store.close()
    clock.pass_seconds(6)
    with aegis_store.open(tmp_path / "s", config=SMALL, clock=clock) as store:
        assert store.memory.get(ANN, "k").value == 1


def test_a_refresh_that_cannot_be_written_fails_no_read(store, clock, monkeypatch):
    store.memory.put(ANN, "k", 1, ttl=10)
    clock.pass_seconds(6)

    def full(*args, **options):
        raise NoSpace("no space", op="append")

    monkeypatch.setattr(type(store._engine), "append_signed", full)
    assert store.memory.get(ANN, "k").value == 1
    store.memory._refreshes.finish()
    monkeypatch.undo()
    clock.pass_seconds(3)
    assert store.memory.get(ANN, "k", refresh=False).value == 1
    clock.pass_seconds(1)
    assert store.memory.get(ANN, "k") is None
    assert store.memory.put(ANN, "k", 2).version == 2


def test_at_a_pointer_expiry_is_judged_by_the_time_of_its_last_record(store, clock):
    memory = store.memory
    memory.put(ANN, "k", 1, ttl=10)
    early = memory.pointer()
    clock.pass_seconds(20)
    memory.put(ANN, "l", 1)
    late = memory.pointer()
    assert memory.get(ANN, "k", at=early).value == 1 and memory.get(ANN, "k", at=late) is None
    assert held(memory, at=late) == {(ANN, "l"): 1}


def test_at_a_pointer_before_a_refresh_a_pruned_put_is_told_by_the_refresh(store, clock):
    memory = store.memory
    memory.put(ANN, "k", {"n": 1, "text": "x" * 300}, ttl=10)
    pointers = [memory.pointer()]
    for _ in range(3):
        clock.pass_seconds(6)
        memory.get(ANN, "k")
        written(store)
        pointers.append(memory.pointer())
    before = [memory.get(ANN, "k", at=pointer) for pointer in pointers]
    assert store.retain([Rule(tier="memory", keep_last=5)]).memory.decisions.gone == 3
    store.compact()
    for pointer, item in zip(pointers, before, strict=True):
        now = memory.get(ANN, "k", at=pointer)
        assert (now.value, now.version, now.changed_at) == (item.value, 1, item.changed_at)
    assert [each.version for each in memory.versions(ANN, "k")] == [1]


def test_a_refresh_of_another_version_stands_for_no_pruned_one(store, clock):
    memory = store.memory
    memory.put(ANN, "k", "first", ttl=10)
    before = memory.pointer()
    memory.put(ANN, "k", "second", ttl=10)
    between = memory.pointer()
    clock.pass_seconds(6)
    memory.get(ANN, "k")
    written(store)
    assert store.retain([Rule(tier="memory", keep_last=1)]).memory.decisions.gone == 2
    assert memory.get(ANN, "k", at=between).value == "second"
    with pytest.raises(Pruned, match="a version of key 'k'"):
        memory.get(ANN, "k", at=before)
