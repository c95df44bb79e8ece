"""LangGraph's long-term memory on a store: what its contract says, and what of it the peer in memory does otherwise."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from collections import UserDict
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest

pytest.importorskip("langgraph.store.base", exc_type=ImportError)

from langgraph.store.base import (
    GetOp,
    InvalidNamespaceError,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchItem,
    SearchOp,
)

import aegis_store
from aegis_store import Lifetime
from aegis_store.adapters.langgraph import AegisStore
from aegis_store.adapters.langgraph.store import IN_LOOP_OPERATIONS
from aegis_store.errors import Closed, Held, InvalidArgument, ReadOnly, StateTypeError
from aegis_store.records import Records
from tests.memory.memories import SMALL, Standing

ANN = ("users", "ann")
BOB = ("users", "bob")
LONG = 60


@pytest.fixture
def clock():
    return Standing()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def store(place, clock):
    with aegis_store.open(place, agent="planner", config=SMALL, clock=clock) as store:
        yield store


@pytest.fixture
def memory(store):
    return AegisStore(store)


@pytest.fixture
def commits(monkeypatch):
    """How often something was made durable."""
    counted = []
    commit = Records.commit
    monkeypatch.setattr(Records, "commit", lambda self, index: counted.append(index) or commit(self, index))
    return counted


def keys(items):
    return [each.key for each in items]


# ---- items


def test_what_was_put_is_got_with_its_times(memory, clock):
    begun = datetime.fromtimestamp(clock.now / 1000, UTC)
    assert memory.get(ANN, "likes") is None
    memory.put(ANN, "likes", {"tea": True})
    clock.pass_seconds(5)
    memory.put(ANN, "likes", {"tea": False, "since": begun})
    item = memory.get(ANN, "likes")
    assert item.dict() == {
        "namespace": ["users", "ann"],
        "key": "likes",
        "value": {"tea": False, "since": begun},
        "created_at": begun.isoformat(),
        "updated_at": (begun + timedelta(seconds=5)).isoformat(),
    }
    (found,) = memory.search(ANN)
    assert isinstance(found, SearchItem) and found.score is None
    assert (found.value, found.created_at, found.updated_at) == (item.value, item.created_at, item.updated_at)
    memory.delete(ANN, "likes")
    memory.delete(ANN, "likes")
    assert memory.get(ANN, "likes") is None and memory.search(ANN) == []
    memory.put(ANN, "likes", {})
    assert memory.get(ANN, "likes").created_at == begun + timedelta(seconds=5)


def test_items_are_the_memory_tiers_own_with_history_and_signer(memory, store):
    memory.put(ANN, "likes", {"tea": True})
    memory.put(ANN, "likes", {"tea": False})
    assert [(each.version, each.value, each.agent) for each in store.memory.versions(ANN, "likes")] == [
        (2, {"tea": False}, "planner"),
        (1, {"tea": True}, "planner"),
    ]
    store.memory.put(ANN, "by hand", {"of": "the tier"})
    assert memory.get(ANN, "by hand").value == {"of": "the tier"}


def test_what_is_got_is_nobody_elses(memory):
    value = {"list": [1]}
    memory.put(ANN, "k", value)
    value["list"].append(2)
    memory.get(ANN, "k").value["list"].append(3)
    memory.search(ANN)[0].value["list"].append(4)
    assert memory.get(ANN, "k").value == {"list": [1]}


@pytest.mark.parametrize("mapping", [UserDict({"a": 1}), MappingProxyType({"a": 1})])
def test_any_mapping_is_a_value(memory, mapping):
    memory.put(ANN, "k", mapping)
    assert memory.get(ANN, "k").value == {"a": 1}


def test_a_value_that_cannot_be_stored_is_named(memory):
    with pytest.raises(StateTypeError, match="address"):
        memory.put(ANN, "k", {"address": object()})
    assert memory.get(ANN, "k") is None


def test_keys_are_text(memory):
    memory.put(ANN, 7, {"n": 7})
    assert memory.get(ANN, "7").value == memory.get(ANN, 7).value == {"n": 7}


@pytest.mark.parametrize("namespace", [(), ("",), ("a.b",), ("a\0",), (7,), ("langgraph", "x")])
def test_a_namespace_that_langgraph_does_not_allow_is_refused(memory, namespace):
    with pytest.raises(InvalidNamespaceError):
        memory.put(namespace, "k", {})
    assert memory.list_namespaces() == []


# ---- a batch


def test_reads_of_a_batch_see_what_there_was_before(memory):
    memory.put(ANN, "a", {"n": 1})
    results = memory.batch(
        [
            PutOp(ANN, "a", {"n": 2}),
            GetOp(ANN, "a"),
            PutOp(BOB, "b", {"n": 3}),
            SearchOp(("users",)),
            ListNamespacesOp(),
            GetOp(BOB, "b"),
            PutOp(ANN, "a", None),
        ]
    )
    assert results[0] is results[2] is results[5] is results[6] is None
    assert results[1].value == {"n": 1}
    assert [each.value for each in results[3]] == [{"n": 1}]
    assert results[4] == [ANN]
    assert memory.get(ANN, "a") is None and memory.get(BOB, "b").value == {"n": 3}
    assert memory.batch([]) == []


def test_the_last_put_of_a_batch_counts_and_is_the_only_version(memory, store):
    memory.batch([PutOp(ANN, "a", {"n": n}) for n in range(5)] + [PutOp(ANN, "b", {}), PutOp(ANN, "b", None)])
    assert [each.value for each in store.memory.versions(ANN, "a")] == [{"n": 4}]
    assert memory.get(ANN, "b") is None
    memory.batch([PutOp(ANN, "a", {}), PutOp(ANN, "c", {}), PutOp(ANN, "a", {"n": "last"})])
    assert keys(memory.search(ANN)) == ["a", "c"]


def test_puts_of_a_batch_share_a_commit(memory, commits):
    memory.put(ANN, "first", {})  # which makes the agent's key known
    commits.clear()
    memory.batch([PutOp(("users", str(n)), "k", {"n": n}) for n in range(50)])
    assert len(commits) == 1
    commits.clear()
    memory.batch([GetOp(ANN, "first"), SearchOp(ANN)])
    assert commits == []


@pytest.mark.parametrize(
    "wrong",
    [
        PutOp(("a.b",), "k", {}),
        GetOp(("",), "k"),
        SearchOp(("a", 7)),
        ListNamespacesOp((MatchCondition("prefix", ("a.b",)),)),
        PutOp(ANN, "k", {}, ttl=-1),
        SearchOp(ANN, limit=-1),
        ListNamespacesOp(limit=-1),
        ListNamespacesOp((MatchCondition("infix", ("a",)),)),
        SearchOp(ANN, {"n": {"$near": 1}}),
        ("put", ANN, "k"),
    ],
)
def test_a_batch_with_an_operation_that_cannot_be_meant_does_nothing(memory, wrong):
    memory.put(ANN, "there", {})
    with pytest.raises(ValueError):
        memory.batch([PutOp(BOB, "k", {}), wrong])
    assert memory.list_namespaces() == [ANN]


def test_what_a_batch_may_ask_for_in_any_namespace(memory):
    memory.batch([PutOp(("langgraph",), "k", {})])  # put() alone keeps that name for LangGraph
    memory.put(ANN, "k", {})
    every, wild = memory.batch([SearchOp(()), ListNamespacesOp((MatchCondition("prefix", ("*", "ann")),))])
    assert len(every) == 2 and wild == [ANN]


# ---- search and lists


def test_a_search_gives_the_newest_put_first_a_page_at_a_time(memory):
    for n in range(25):
        memory.put(("notes", str(n % 3)), f"k{n:02}", {"n": n})
    memory.put(("notes", "0"), "k00", {"n": 0, "again": True})
    assert keys(memory.search(("notes",)))[:3] == ["k00", "k24", "k23"]
    pages = [memory.search(("notes",), limit=4, offset=offset) for offset in range(0, 28, 4)]
    assert [key for page in pages for key in keys(page)] == ["k00"] + [f"k{n:02}" for n in range(24, 0, -1)]
    assert memory.search(("notes",), limit=0) == memory.search(("note",)) == []


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({}, "dcba"),
        ({"kind": "note"}, "ba"),
        ({"kind": "note", "n": 1}, "a"),
        ({"n": {"$eq": 2}}, "b"),
        ({"n": {"$ne": 2}}, "dca"),
        ({"n": {"$gt": 1}}, "cb"),
        ({"n": {"$gte": 1, "$lt": 3}}, "ba"),
        ({"n": {"$lte": 1}}, "a"),
        ({"tags": ["x", "y"]}, "a"),
        ({"at": {"city": "Oslo"}}, "c"),
        ({"at": {"city": {"$ne": "Oslo"}}}, "d"),
        ({"n": None}, "d"),
        ({"at.city": "Oslo"}, ""),
        ({"kind' OR '1'='1": "note"}, ""),
    ],
)
def test_filters(memory, asked, found):
    memory.put(ANN, "a", {"kind": "note", "n": 1, "tags": ["x", "y"]})
    memory.put(ANN, "b", {"kind": "note", "n": 2, "tags": ["y", "x"]})
    memory.put(ANN, "c", {"kind": "task", "n": 3, "at": {"city": "Oslo", "zip": 1}})
    memory.put(ANN, "d", {"kind": "task", "at": {"city": "Rome"}})
    assert "".join(keys(memory.search(ANN, filter=asked))) == found


def test_what_cannot_be_compared_does_not_match_where_the_peer_raises(memory):
    for key, value in [("none", None), ("text", "7"), ("number", 7), ("flag", True)]:
        memory.put(ANN, key, {"n": value})
    assert keys(memory.search(ANN, filter={"n": {"$gt": 0}})) == ["number"]
    assert keys(memory.search(ANN, filter={"n": {"$gt": "0"}})) == ["text"]
    assert keys(memory.search(ANN, filter={"n": 1})) == []


def test_a_question_without_an_index_is_a_search_without_one(memory):
    memory.put(ANN, "a", {"text": "tea"}, index=["text"])
    memory.put(ANN, "b", {"text": "coffee"}, index=False)
    found = memory.search(ANN, query="something to drink", filter={"text": "tea"})
    assert [(each.key, each.score) for each in found] == [("a", None)]


def test_namespaces_by_their_beginnings_and_ends(memory):
    for namespace in [("a", "b", "c"), ("a", "b", "d", "e"), ("a", "c", "f"), ("b", "a", "f"), ("*", "c")]:
        memory.put(namespace, "k", {})
    assert memory.list_namespaces() == [("*", "c"), ("a", "b", "c"), ("a", "b", "d", "e"), ("a", "c", "f"), ("b", "a", "f")]
    assert memory.list_namespaces(prefix=("a", "*", "f")) == [("a", "c", "f")]
    assert memory.list_namespaces(suffix=("*", "f")) == [("a", "c", "f"), ("b", "a", "f")]
    assert memory.list_namespaces(prefix=("a",), suffix=("f",)) == [("a", "c", "f")]
    assert memory.list_namespaces(prefix=("a",), max_depth=2) == [("a", "b"), ("a", "c")]
    assert memory.list_namespaces(max_depth=1, limit=2, offset=1) == [("a",), ("b",)]
    assert memory.list_namespaces(limit=0) == []
    with pytest.raises(InvalidArgument):
        memory.list_namespaces(max_depth=0)


def test_a_namespace_without_items_is_none(memory):
    memory.get(ANN, "k")
    assert memory.list_namespaces() == []  # the peer has one by now
    memory.put(ANN, "k", {})
    memory.delete(ANN, "k")
    assert memory.list_namespaces() == []


# ---- how long


def test_what_expires_is_given_to_nobody_swept_or_not(store, clock):
    memory = AegisStore(store, ttl={"default_ttl": 1, "refresh_on_read": False})
    assert memory.supports_ttl and memory.ttl_config["default_ttl"] == 1
    memory.put(ANN, "default", {})
    memory.put(ANN, "longer", {}, ttl=2)
    memory.put(ANN, "never", {}, ttl=None)
    memory.put(BOB, "default", {})
    clock.pass_seconds(59)
    assert memory.get(ANN, "default") is not None and memory.sweep_ttl() == 0
    clock.pass_seconds(1)
    assert memory.get(ANN, "default") is None
    assert keys(memory.search(())) == ["never", "longer"]
    assert memory.list_namespaces() == [ANN]
    assert memory.sweep_ttl() == 2
    assert memory.sweep_ttl() == 0
    clock.pass_seconds(10**6)
    assert keys(memory.search(())) == ["never"]
    assert asyncio.run(memory.asweep_ttl()) == 1


def test_a_read_moves_the_expiry_unless_it_is_told_not_to(store, clock):
    memory = AegisStore(store, ttl={"default_ttl": 10})
    for key in ("got", "searched", "seen", "left"):
        memory.put(ANN, key, {"is": key})
    clock.pass_seconds(500)
    assert memory.get(ANN, "got") is not None
    assert keys(memory.search(ANN, filter={"is": "searched"})) == ["searched"]
    assert memory.get(ANN, "seen", refresh_ttl=False) is not None
    assert memory.list_namespaces() == [ANN]
    clock.pass_seconds(500)
    assert keys(memory.search(ANN, refresh_ttl=False)) == ["searched", "got"]
    assert memory.sweep_ttl() == 2
    clock.pass_seconds(100)
    assert memory.search(ANN) == []


def test_reads_do_not_move_it_where_the_configuration_says_so(store, clock):
    memory = AegisStore(store, ttl={"default_ttl": 10, "refresh_on_read": False})
    memory.put(ANN, "a", {})
    memory.put(ANN, "b", {})
    clock.pass_seconds(500)
    assert memory.get(ANN, "a") is not None
    assert memory.get(ANN, "b", refresh_ttl=True) is not None
    clock.pass_seconds(100)
    assert keys(memory.search(ANN)) == ["b"]


def test_where_nothing_is_said_the_options_of_the_store_hold(place, clock):
    options = aegis_store.Config(
        segment_bytes=64 << 10,
        durability=SMALL.durability,
        memory=[Lifetime(namespace=("users",), ttl="1h", refresh_on_read=False)],
    )
    with aegis_store.open(place, config=options, clock=clock) as store:
        memory = AegisStore(store)
        memory.put(ANN, "as the options say", {})
        memory.put(ANN, "never", {}, ttl=None)
        memory.put(ANN, "longer", {}, ttl=120)
        memory.put(("other",), "k", {})
        memory.batch([PutOp(BOB, "as the options say", {})])
        asyncio.run(memory.aput(BOB, "never", {}, ttl=None))
        clock.pass_seconds(1800)
        assert len(memory.search(())) == 6
        clock.pass_seconds(1800)
        assert sorted(keys(memory.search(()))) == ["k", "longer", "never", "never"]


def test_a_sweeper(store, clock):
    memory = AegisStore(store, ttl={"default_ttl": 1, "sweep_interval_minutes": 60})
    swept = threading.Event()
    sweep = memory.sweep_ttl
    memory.sweep_ttl = lambda: sweep() and swept.set()
    memory.put(ANN, "k", {})
    clock.pass_seconds(60)
    assert memory.stop_ttl_sweeper()
    ended = memory.start_ttl_sweeper(1e-5)
    assert swept.wait(LONG)
    assert memory.start_ttl_sweeper() is ended
    assert memory.stop_ttl_sweeper(LONG) and ended.result(LONG) is None
    assert [each.value for each in store.memory.versions(ANN, "k")] == [{}]
    with pytest.raises(InvalidArgument):
        memory.start_ttl_sweeper(0)


def test_the_interval_of_the_configuration_counts_where_none_is_said(store, monkeypatch):
    told = []
    for config in (None, {}, {"sweep_interval_minutes": 2}):
        memory = AegisStore(store, ttl=config)
        monkeypatch.setattr(memory._sweeper, "start", told.append)
        memory.start_ttl_sweeper()
        memory.start_ttl_sweeper(1)
    assert told == [300, 60, 300, 60, 120, 60]


# ---- opening and closing


def test_a_store_at_a_path_is_closed_with_its_sweeper_at_the_end(place):
    with AegisStore.from_path(place, agent="planner", config=SMALL, ttl={"default_ttl": 5}) as memory:
        memory.put(ANN, "k", {"n": 1})
        ended = memory.start_ttl_sweeper()
    assert ended.done()
    with pytest.raises(Closed):
        memory.get(ANN, "k")

    async def work():
        async with AegisStore.from_path(str(place), config=SMALL) as memory:
            ended = memory.start_ttl_sweeper()
            return (await memory.aget(ANN, "k")).value, ended

    value, ended = asyncio.run(work())
    assert value == {"n": 1} and ended.done()


def test_what_the_caller_opened_the_caller_closes(store):
    memory = AegisStore(store)
    memory.put(ANN, "k", {})
    ended = memory.start_ttl_sweeper()
    del memory
    gc.collect()
    assert ended.result(LONG) is None
    assert store.memory.get(ANN, "k") is not None


def test_a_store_for_reading_refuses_puts(place):
    with AegisStore.from_path(place, config=SMALL, ttl={"default_ttl": 5}) as memory:
        memory.put(ANN, "k", {"n": 1})
    with AegisStore.from_path(place, mode="r") as memory:
        assert memory.get(ANN, "k").value == {"n": 1}
        with pytest.raises(ReadOnly):
            memory.put(ANN, "k", {})
        with pytest.raises(ReadOnly):
            memory.sweep_ttl()
        assert isinstance(memory.start_ttl_sweeper(1e-5).exception(LONG), ReadOnly)


@pytest.mark.parametrize("make", [AegisStore, AegisStore.from_path])
def test_what_it_does_not_do_is_said_at_once(make, store, tmp_path):
    where = store if make is AegisStore else tmp_path / "never made"
    with pytest.raises(InvalidArgument, match="by meaning") as refused:
        make(where, index={"dims": 3, "embed": lambda texts: [[0.0] * 3 for _ in texts]})
    assert "vector database" in refused.value.hint
    with pytest.raises(InvalidArgument, match="omit_expired"):
        make(where, ttl={"omit_expired": False})
    assert not (tmp_path / "never made").exists()


# ---- what goes


def test_a_namespace_is_erased_and_another_stays(memory, store, place):
    memory.put((*ANN, "notes"), "secret-key", {"text": "the-secret-text " * 50})
    memory.put(BOB, "k", {"text": "of bob"})
    store.memory.erase(ANN, reason="case 4711")
    assert memory.search(("users",), limit=100)[0].key == "k"
    assert memory.list_namespaces() == [BOB]
    assert memory.get((*ANN, "notes"), "secret-key") is None
    for file in (each for each in place.rglob("*") if each.is_file()):
        data = file.read_bytes()
        assert b"the-secret-text" not in data and b"secret-key" not in data, file
    memory.put((*ANN, "notes"), "secret-key", {"text": "new"})
    assert memory.get((*ANN, "notes"), "secret-key").value == {"text": "new"}


def test_what_is_held_is_not_erased(memory, store):
    memory.put(ANN, "k", {})
    store.memory.hold(ANN, "k", reason="case 4711", holder="legal")
    with pytest.raises(Held):
        store.memory.erase(ANN, reason="case 4712")
    assert memory.get(ANN, "k") is not None


# ---- many at once


def test_threads(memory, store):
    errors = []

    def work(name):
        try:
            for n in range(20):
                memory.put(("users", name), f"k{n % 5}", {"n": n})
                memory.put(("shared",), "k", {"by": name, "n": n})
                assert memory.get(("users", name), f"k{n % 5}").value == {"n": n}
                assert len(memory.search(("users", name), limit=100)) == min(n + 1, 5)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(str(at),)) for at in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(LONG)
    assert errors == []
    assert len(memory.search(("users",), limit=100)) == 30
    assert [each.version for each in store.memory.versions(("shared",), "k")] == list(range(120, 0, -1))


def test_tasks_do_what_threads_do(memory):
    async def work():
        await asyncio.gather(*(memory.aput(("users", str(n)), "k", {"n": n}) for n in range(30)))
        found = await asyncio.gather(*(memory.aget(("users", str(n)), "k") for n in range(30)))
        assert [each.value for each in found] == [{"n": n} for n in range(30)]
        assert len(await memory.asearch(("users",), limit=100)) == 30
        assert len(await memory.alist_namespaces(prefix=("users",))) == 30
        await memory.adelete(("users", "7"), "k")
        assert await memory.aget(("users", "7"), "k") is None
        many = await memory.abatch([GetOp(("users", str(n)), "k") for n in range(IN_LOOP_OPERATIONS + 1)])
        assert [each is None for each in many] == [n == 7 for n in range(IN_LOOP_OPERATIONS + 1)]
        with pytest.raises(InvalidNamespaceError):
            await memory.abatch([PutOp(("a.b",), "k", {})])

    asyncio.run(work())
    asyncio.run(memory.aput(ANN, "from another loop", {}))
    assert memory.get(ANN, "from another loop") is not None


def test_a_put_of_a_task_that_is_cancelled_lands(memory):
    async def work(operations):
        await memory.aput(ANN, "first", {})
        task = asyncio.create_task(memory.abatch(operations))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(work([PutOp(ANN, "few", {"n": 1})]))
    asyncio.run(work([PutOp(ANN, f"many {n}", {"n": n}) for n in range(IN_LOOP_OPERATIONS + 1)]))
    assert memory.get(ANN, "few").value == {"n": 1}
    assert len(memory.search(ANN, limit=100)) == IN_LOOP_OPERATIONS + 3


def test_puts_of_tasks_share_commits_and_take_no_threads(memory, monkeypatch):
    def refuse(work):
        raise AssertionError("a thread was asked for")

    async def work():
        await memory.aput(ANN, "first", {})
        monkeypatch.setattr("aegis_store.adapters.langgraph.store.in_thread_to_its_end", refuse)
        await asyncio.gather(*(memory.aput(("users", str(n)), "k", {"n": n}) for n in range(50)))
        assert (await memory.aget(("users", "49"), "k")).value == {"n": 49}

    asyncio.run(work())


# ---- the end of a process

KILLED = """
import sys
from langgraph.store.base import PutOp
from aegis_store.adapters.langgraph import AegisStore

with AegisStore.from_path(sys.argv[1]) as memory:
    at = 0
    while True:
        memory.batch([PutOp(("users", str(at % 7)), f"k{at}", {"n": at, "text": "x" * 500}), PutOp(("last",), "k", {"n": at})])
        print(at, flush=True)
        at += 1
"""


def test_what_was_acknowledged_is_there_after_kill_9(place):
    process = subprocess.Popen([sys.executable, "-P", "-c", KILLED, str(place)], stdout=subprocess.PIPE, text=True)
    said = [int(process.stdout.readline()) for _ in range(60)]
    os.kill(process.pid, signal.SIGKILL)
    said += [int(line) for line in process.stdout.read().splitlines() if line]
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    with AegisStore.from_path(place) as memory:
        assert [memory.get(("users", str(n % 7)), f"k{n}").value["n"] for n in said] == said
        assert memory.get(("last",), "k").value["n"] in (said[-1], said[-1] + 1)
        memory.put(ANN, "k", {})
    with AegisStore.from_path(place) as memory:
        assert memory.get(ANN, "k") is not None
