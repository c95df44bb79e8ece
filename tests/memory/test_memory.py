"""The memory tier through its face: puts, reads, lists, pointers."""

from __future__ import annotations

import threading

import pytest

import aegis_store
from aegis_store import DEFAULT, Config, Delete, Lifetime, MemoryPointer, Put, Rule, Tier, TierDurability
from aegis_store.errors import Conflict, InvalidArgument, Pruned, ReadOnly, RolledBack, StateTypeError
from tests.memory.memories import SMALL, Standing, held

ANN = ("users", "ann")


@pytest.fixture
def clock():
    return Standing()


@pytest.fixture
def store(tmp_path, clock):
    with aegis_store.open(tmp_path / "s", config=SMALL, clock=clock) as store:
        yield store


# ---- values and versions


def test_what_was_put_is_got_with_its_version_and_times(store, clock):
    memory = store.memory
    assert memory.get(ANN, "likes") is None
    first = memory.put(ANN, "likes", {"tea": True})
    clock.pass_seconds(5)
    second = memory.put(ANN, "likes", {"tea": False})
    got = memory.get(ANN, "likes")
    assert got == second
    assert (got.namespace, got.key, got.value, got.version) == (ANN, "likes", {"tea": False}, 2)
    assert (got.created_at, (got.changed_at - got.created_at).total_seconds()) == (first.created_at, 5)
    assert (got.expires_at, got.ttl_seconds, got.agent, got.ref.tier) == (None, None, "agent", Tier.MEMORY)
    assert [each.version for each in memory.versions(ANN, "likes")] == [2, 1]
    assert list(memory.versions(ANN, "hates")) == []


def test_any_value_and_any_name(store):
    names = ["", "\x00", "\x01\x02", "a/b", "\ud800", "x" * 5000]
    for name in names:
        store.memory.put((name,), name, {"of": {1, 2}, "raw": b"\x00", "n": len(name)})
        store.memory.put((), name, None)
    for name in names:
        assert store.memory.get([name], name).value == {"of": {1, 2}, "raw": b"\x00", "n": len(name)}
        assert store.memory.get((), name).value is None
    assert len(held(store.memory)) == 2 * len(names)


def test_a_delete_ends_a_value_and_versions_go_on_counting(store, clock):
    memory = store.memory
    assert not memory.delete(ANN, "likes")
    first = memory.put(ANN, "likes", "tea")
    clock.pass_seconds(1)
    assert memory.delete(ANN, "likes")
    assert not memory.delete(ANN, "likes")
    assert memory.get(ANN, "likes") is None and held(memory) == {}
    again = memory.put(ANN, "likes", "milk")
    assert again.version == 2 and again.created_at > first.created_at
    assert [each.value for each in memory.versions(ANN, "likes")] == ["milk", "tea"]


def test_expect_is_a_version_and_none_at_all_is_zero(store):
    memory = store.memory
    with pytest.raises(Conflict, match="key 'likes' of the namespace 'users'/'ann' has no value, and version 1 was expected"):
        memory.put(ANN, "likes", 1, expect=1)
    memory.put(ANN, "likes", 1, expect=0)
    with pytest.raises(Conflict, match="has version 1, and no value was expected") as caught:
        memory.put(ANN, "likes", 2, expect=0)
    assert caught.value.newest == memory.get(ANN, "likes").ref
    memory.put(ANN, "likes", 2, expect=1)
    with pytest.raises(Conflict, match="has version 2, and version 1 was expected"):
        memory.delete(ANN, "likes", expect=1)
    assert memory.delete(ANN, "likes", expect=2)
    with pytest.raises(Conflict):
        memory.delete(ANN, "likes", expect=2)
    memory.put(ANN, "likes", 3, expect=0)


def test_a_repeated_request_is_answered_and_stores_nothing(store):
    memory = store.memory
    first = memory.put(ANN, "likes", 1, request_id="r-1")
    memory.put(ANN, "likes", 2)
    size = store._engine.size(Tier.MEMORY)
    assert memory.put(ANN, "likes", "other", request_id="r-1", expect=7) == first
    assert store._engine.size(Tier.MEMORY) == size
    assert memory.delete(ANN, "likes", request_id="r-2")
    assert memory.delete(ANN, "likes", request_id="r-2")
    memory.put(ANN, "likes", 3)
    assert memory.delete(ANN, "likes", request_id="r-2") and memory.get(ANN, "likes").value == 3
    with pytest.raises(Conflict, match="deleted the key"):
        memory.put(ANN, "likes", 3, request_id="r-2")
    assert memory.put(ANN, "hates", 3, request_id="r-1").value == 3


def test_a_batch_is_in_order_and_those_before_one_that_is_refused_are_stored(store):
    memory = store.memory
    puts = memory.batch(
        [
            Put(namespace=ANN, key="a", value=1),
            Put(namespace=ANN, key="a", value=2, expect=1),
            Delete(namespace=ANN, key="a"),
            Delete(namespace=ANN, key="b"),
            Put(namespace=ANN, key="c", value=3, ttl="1h"),
        ]
    )
    assert [each and each.version for each in puts] == [1, 2, None, None, 1]
    assert held(memory) == {(ANN, "c"): 3}
    with pytest.raises(StateTypeError, match=r"^value is of type object"):
        memory.batch([Put(namespace=ANN, key="d", value=1), Put(namespace=ANN, key="e", value=object())])
    with pytest.raises(Conflict):
        memory.batch([Put(namespace=ANN, key="f", value=1), Put(namespace=ANN, key="f", value=2, expect=5)])
    assert held(memory) == {(ANN, "c"): 3, (ANN, "d"): 1, (ANN, "f"): 1}
    assert memory.batch([]) == []


def test_a_batch_of_many_is_one_commit(tmp_path):
    with aegis_store.open(tmp_path / "s") as store:
        store.memory.put((), "first", 0)
        before = store._engine.stats(Tier.MEMORY)
        store.memory.batch([Put(namespace=(str(number % 7),), key=str(number), value=number) for number in range(500)])
        after = store._engine.stats(Tier.MEMORY)
        assert after.size - before.size == 1000
        assert after.syncs - before.syncs < 20 if hasattr(after, "syncs") else True
        assert len(held(store.memory)) == 501


def test_threads_that_put_under_one_key_get_a_version_each(store):
    memory, versions = store.memory, []

    def work():
        versions.extend(memory.put(ANN, "n", each).version for each in range(50))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(versions) == list(range(1, 301))
    assert memory.get(ANN, "n").version == 300
    assert store.verify(deep=True).ok


def test_optimistic_counters_lose_no_count(store):
    memory = store.memory

    def work():
        done = 0
        while done < 25:
            seen = memory.get(ANN, "n")
            try:
                memory.put(ANN, "n", 1 + (seen.value if seen else 0), expect=seen.version if seen else 0)
                done += 1
            except Conflict:
                continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert memory.get(ANN, "n").value == 100


@pytest.mark.parametrize(
    "call",
    [
        lambda memory: memory.put("users", "k", 1),
        lambda memory: memory.put(("users", 5), "k", 1),
        lambda memory: memory.put(ANN, 5, 1),
        lambda memory: memory.put(ANN, "k", 1, ttl=0),
        lambda memory: memory.put(ANN, "k", 1, ttl="soon"),
        lambda memory: memory.put(ANN, "k", 1, ttl=True),
        lambda memory: memory.put(ANN, "k" * 1_000_001, 1),
        lambda memory: memory.get("users", "k"),
        lambda memory: memory.get(ANN, "k", at=5),
        lambda memory: memory.search("users"),
        lambda memory: memory.search(limit=-1),
        lambda memory: memory.search(offset=-1),
        lambda memory: list(memory.list(ANN, after="never there")),
        lambda memory: memory.namespaces(max_depth=0),
        lambda memory: memory.sweep(limit=-1),
        lambda memory: memory.put(ANN, "k", 1, request_id=5),
    ],
)
def test_what_cannot_be_meant_is_refused_and_stores_nothing(store, call):
    with pytest.raises(InvalidArgument):
        call(store.memory)
    assert held(store.memory) == {}


def test_no_message_speaks_of_sessions_or_checkpoints(store):
    store.memory.put(ANN, "k", "x" * 300)
    store.memory.put(ANN, "k", "y" * 300)
    pointer = store.memory.pointer()
    store.memory.put(ANN, "k", "z" * 300)
    store.memory.hold(ANN, "k", reason="case 7", holder="legal")
    calls = [
        lambda: store.memory.put(ANN, "k", 1, expect=1),
        lambda: store.memory.erase(ANN, "k", reason="r"),
        lambda: store.memory.erase(("nobody",), reason="r"),
        lambda: store.memory.hold(ANN, "other", reason="r", holder="h"),
        lambda: list(store.memory.list(ANN, after="other")),
        lambda: store.memory.release(999, reason="r"),
    ]
    said = []
    for call in calls:
        with pytest.raises(aegis_store.AegisError) as caught:
            call()
        said.append(str(caught.value))
    store.memory.release(store.memory.holds()[0].number, reason="r")
    store.retain([Rule(tier="memory", keep_last=1)])
    with pytest.raises(Pruned) as caught:
        store.memory.get(ANN, "k", at=pointer)
    said.append(str(caught.value))
    assert not [each for each in said if "session" in each or "checkpoint" in each or "\x01" in each]


# ---- lists


def test_lists_and_searches_come_by_namespace_and_key_and_in_pages(store):
    memory = store.memory
    for namespace in [("b",), ("a",), ("a", "x"), ("ab",), (), ("a", "")]:
        for key in ("k2", "k10", "j", ""):
            memory.put(namespace, key, {"n": key, "deep": len(namespace)})
    everything = [(each.namespace, each.key) for each in memory.search()]
    assert everything == sorted(everything) and len(everything) == 24
    assert [each.key for each in memory.list(("a",))] == ["", "j", "k10", "k2"]
    assert [each.key for each in memory.list(("a",), prefix="k")] == ["k10", "k2"]
    assert [each.key for each in memory.list(("a",), limit=2, after="")] == ["j", "k10"]
    assert {each.namespace for each in memory.search(("a",))} == {("a",), ("a", ""), ("a", "x")}
    assert [each.namespace for each in memory.search(("a",), where={"n": "j"}, limit=1, offset=1)] == [("a", "")]
    assert list(memory.search(("nobody",))) == []
    assert list(memory.search(limit=0)) == []


def test_a_name_comes_before_those_that_it_is_the_beginning_of(store):
    keys = ["", "\x00", "\x01", "k", "k\x00", "k\x02a", "k\x1f", "ka", "k" * 158, "k" * 200]
    for key in reversed(keys):
        store.memory.put((), key, 1)
        store.memory.put((key,), "", 1)
    found = [(each.namespace, each.key) for each in store.memory.search()]
    assert found == sorted(found) and len(found) == 20


def test_namespaces_by_prefix_suffix_and_depth(store):
    memory = store.memory
    for namespace in [("a", "x", "v1"), ("a", "y", "v1"), ("a", "y", "v2"), ("b", "v1"), ("c",)]:
        memory.put(namespace, "k", 1)
        memory.put(namespace, "l", 1)
    memory.delete(("c",), "k")
    memory.delete(("c",), "l")
    assert list(memory.namespaces()) == [("a", "x", "v1"), ("a", "y", "v1"), ("a", "y", "v2"), ("b", "v1")]
    assert list(memory.namespaces(prefix=("a",))) == [("a", "x", "v1"), ("a", "y", "v1"), ("a", "y", "v2")]
    assert list(memory.namespaces(suffix=("v1",))) == [("a", "x", "v1"), ("a", "y", "v1"), ("b", "v1")]
    assert list(memory.namespaces(max_depth=2)) == [("a", "x"), ("a", "y"), ("b", "v1")]
    assert list(memory.namespaces(prefix=("a",), suffix=("v1",), max_depth=1)) == [("a",)]
    assert list(memory.namespaces(suffix=("a", "b", "v1", "w"))) == []


def test_long_names_are_found_though_the_catalogue_keeps_their_first_bytes(store):
    memory, long = store.memory, "long" * 60
    for number in range(5):
        memory.put((long,), f"{long}{number}", number)
    assert sorted(each.value for each in memory.list((long,), prefix=long)) == [0, 1, 2, 3, 4]
    assert [each.value for each in memory.list((long,), prefix=f"{long}3")] == [3]
    seen, after = [], None
    while page := list(memory.list((long,), limit=2, after=after)):
        seen += [each.value for each in page]
        after = page[-1].key
    assert sorted(seen) == [0, 1, 2, 3, 4]


# ---- pointers


def test_at_a_pointer_the_memory_is_what_it_was(store, clock):
    memory, seen = store.memory, []
    assert memory.pointer().index == -1
    for number in range(30):
        key = f"k{number % 4}"
        if number % 7 == 6:
            memory.delete(ANN, key)
        else:
            memory.put(ANN if number % 2 else ("other",), key, {"n": number, "text": "x" * 300})
        clock.pass_seconds(1)
        seen.append((memory.pointer(), held(memory), list(memory.namespaces())))
    for pointer, values, namespaces in seen:
        assert held(memory, at=pointer) == values
        assert list(memory.namespaces(at=pointer)) == namespaces
        for (namespace, key), value in values.items():
            assert memory.get(namespace, key, at=pointer).value == value
        assert memory.get(ANN, "never", at=pointer) is None
    assert held(memory, at=MemoryPointer(index=-1, root=memory._reader._tier.records.engine.head(Tier.MEMORY, 0).root)) == {}


def test_a_resumed_session_sees_the_memory_that_it_had_seen(tmp_path):
    with aegis_store.open(tmp_path / "s", config=SMALL) as store:
        store.memory.put(ANN, "likes", "tea")
        store.session("s").checkpoint({"step": 1}, memory_pointer=store.memory.pointer())
        store.memory.put(ANN, "likes", "coffee")
    with aegis_store.open(tmp_path / "s", mode="r") as store:
        latest = store.session("s").latest()
        assert store.memory.get(ANN, "likes", at=latest.memory_pointer).value == "tea"
        assert store.memory.get(ANN, "likes").value == "coffee"


def test_a_session_that_saw_an_empty_memory_sees_an_empty_one(store):
    store.session("s").checkpoint({}, memory_pointer=store.memory.pointer())
    store.memory.put(ANN, "likes", "tea")
    assert store.memory.get(ANN, "likes", at=store.session("s").latest().memory_pointer) is None


def test_a_pointer_of_another_memory_is_refused(store, tmp_path):
    store.memory.put(ANN, "likes", "tea")
    pointer = store.memory.pointer()
    with pytest.raises(RolledBack, match="the pointer saw 9 records, and there are 3"):
        store.memory.get(ANN, "likes", at=MemoryPointer(index=8, root=pointer.root))
    with pytest.raises(RolledBack, match="not those that the pointer saw"):
        store.memory.get(ANN, "likes", at=MemoryPointer(index=1, root=pointer.root))
    with pytest.raises(RolledBack):
        list(store.memory.search(at=MemoryPointer(index=pointer.index, root=bytes(32))))


def test_a_pointer_has_all_that_was_got_before_it_though_others_have_not_settled(store):
    memory = store.memory
    memory.put(ANN, "a", 0)
    key = memory._keys.of(ANN, "b")
    queued = key.put(1, ttl_ms=None, expect=None, request_id=None, agent="agent")  # durable soon, and never told the catalogue
    memory.put(ANN, "a", 1)
    pointer = memory.pointer()
    assert pointer.index > queued.ref.index
    assert held(memory, at=pointer) == {(ANN, "a"): 1, (ANN, "b"): 1}


# ---- readers


def test_a_reader_sees_what_is_there_and_changes_nothing(tmp_path, clock):
    with aegis_store.open(tmp_path / "s", config=SMALL, clock=clock) as store:
        store.memory.put(ANN, "k", 1, ttl=100)
        with aegis_store.open(tmp_path / "s", mode="r", clock=clock) as reader:
            clock.pass_seconds(90)
            assert reader.memory.get(ANN, "k").value == 1
            assert reader.memory.get(ANN, "k").expires_at == store.memory.get(ANN, "k", refresh=False).expires_at
            for call in (
                lambda: reader.memory.put(ANN, "k", 2),
                lambda: reader.memory.delete(ANN, "k"),
                lambda: reader.memory.sweep(),
                lambda: reader.memory.erase(ANN, reason="r"),
            ):
                with pytest.raises(ReadOnly):
                    call()
            store.memory.put(ANN, "l", 2)
            assert reader.memory.get(ANN, "l").value == 2
            assert reader.memory.pointer() == store.memory.pointer()


def test_all_comes_back_after_a_crash_and_from_a_catalogue_that_is_built_again(tmp_path):
    from tests.stores import abandon

    store = aegis_store.open(tmp_path / "s", config=SMALL)
    for number in range(50):
        store.memory.put((f"n{number % 5}",), f"k{number}", {"n": number}, ttl=3600 if number % 2 else None)
    store.memory.delete(("n0",), "k0")
    before, pointer = held(store.memory), store.memory.pointer()
    abandon(store)
    with aegis_store.open(tmp_path / "s", config=SMALL) as store:
        assert held(store.memory) == before and store.memory.pointer() == pointer
        store.catalog.renew()
        assert held(store.memory) == before
        assert store.memory.put(("n0",), "k0", 1).version == 2
        assert store.verify(deep=True).ok


# ---- what lasts how long


def test_the_options_say_how_long_a_namespace_lasts(tmp_path, clock):
    config = Config(
        durability=TierDurability(memory="write"),
        memory=[
            Lifetime(ttl="1h"),
            Lifetime(namespace=["log"], ttl=60, refresh_on_read=False),
            Lifetime(namespace=["log", "kept"]),
        ],
    )
    with aegis_store.open(tmp_path / "s", config=config, clock=clock) as store:
        memory = store.memory
        assert memory.put(("any",), "k", 1).ttl_seconds == 3600
        assert memory.put(("log",), "k", 1).ttl_seconds == 60
        assert memory.put(("log", "x"), "k", 1, ttl=DEFAULT).ttl_seconds == 60
        assert memory.put(("log", "kept"), "k", 1).ttl_seconds is None
        assert memory.put(("log",), "for ever", 1, ttl=None).expires_at is None
        clock.pass_seconds(59)
        assert memory.get(("log",), "k").value == 1
        clock.pass_seconds(1)
        assert memory.get(("log",), "k") is None  # a read did not keep it
