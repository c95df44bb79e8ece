"""The memory for tasks does what the one for threads does."""

from __future__ import annotations

import asyncio

import pytest

import aegis_store
from aegis_store import Delete, Put, Rule, aio
from aegis_store.errors import Conflict, InvalidArgument, StateTypeError
from tests.memory.memories import SMALL, Standing, held

ANN = ("users", "ann")


def test_everything_is_as_for_threads(place, run):
    async def work():
        async with aio.open(place, config=SMALL) as store:
            memory, sync = store.memory, store.sync.memory
            assert await memory.get(ANN, "k") is None
            put = await memory.put(ANN, "k", {"n": 1}, ttl="1h", expect=0, request_id="r", agent="critic")
            assert put == sync.get(ANN, "k") == await memory.get(ANN, "k") and put.agent == "critic"
            assert await memory.put(ANN, "k", 5, request_id="r") == put
            with pytest.raises(Conflict):
                await memory.put(ANN, "k", 2, expect=7)
            pointer = await memory.pointer()
            items = await memory.batch(
                [Put(namespace=ANN, key="l", value=2), Delete(namespace=ANN, key="m"), Put(namespace=("x",), key="l", value=3)]
            )
            assert [each and each.value for each in items] == [2, None, 3]
            assert [each async for each in memory.search()] == list(sync.search())
            assert [each.key async for each in memory.search(where={"n": 1})] == ["k"]
            assert [each.key async for each in memory.list(ANN, prefix="l")] == ["l"]
            assert [each async for each in memory.namespaces()] == [ANN, ("x",)]
            assert [each.key async for each in memory.search(at=pointer)] == ["k"]
            assert await memory.delete(ANN, "l") and not await memory.delete(ANN, "l")
            assert [each.value async for each in memory.versions(ANN, "l")] == [2]
            hold = await memory.hold(ANN, "k", reason="case 7", holder="legal")
            assert await memory.holds() == [hold]
            await memory.release(hold.number, reason="settled")
            assert (await memory.sweep()).deleted == 0
            await store.retain([Rule(tier="memory", keep_last=1)])
            await store.compact()
            assert len((await memory.erase(ANN, reason="request 17")).keys) == 2
            assert held(sync) == {(("x",), "l"): 3}

    run(work())


def test_tasks_that_put_at_once_share_a_commit_and_lose_nothing(place, run):
    async def work():
        async with aio.open(place) as store:
            await asyncio.gather(*(store.memory.put((str(n % 3),), f"k{n % 10}", n) for n in range(100)))
            versions = [each.version async for each in store.memory.search()]
            assert sum(versions) == 100
            assert (await store.verify(deep=True)).ok

    run(work())


def test_a_cancelled_put_has_landed_once_or_not_at_all(place, run):
    async def work():
        async with aio.open(place) as store:
            await store.memory.put(ANN, "other", 0)
            task = asyncio.ensure_future(store.memory.put(ANN, "k", 1, request_id="r"))
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert (await store.memory.put(ANN, "k", 2, request_id="r")).version == 1
            assert [each.version async for each in store.memory.versions(ANN, "k")] == [1]

    run(work())


def test_of_a_batch_those_before_one_that_is_refused_are_stored(place, run):
    async def work():
        async with aio.open(place, config=SMALL) as store:
            with pytest.raises(StateTypeError):
                await store.memory.batch([Put(namespace=ANN, key="a", value=1), Put(namespace=ANN, key="b", value=object())])
            with pytest.raises(InvalidArgument):
                await store.memory.put("users", "k", 1)
            assert held(store.sync.memory) == {(ANN, "a"): 1}

    run(work())


def test_a_put_on_its_way_lands_before_the_store_is_closed(place, run):
    async def work():
        async with aio.open(place) as store:
            await store.memory.put(ANN, "j", 0)
            task = asyncio.ensure_future(store.memory.put(ANN, "k", 1))
            await asyncio.sleep(0)
        await task

    run(work())
    with aegis_store.open(place, mode="r") as store:
        assert store.memory.get(ANN, "k").value == 1


def test_a_read_keeps_what_it_reads(place, run):
    clock = Standing()

    async def work():
        async with aio.open(place, config=SMALL, clock=clock) as store:
            await store.memory.put(ANN, "k", 1, ttl=10)
            clock.pass_seconds(6)
            assert await store.memory.get(ANN, "k") is not None
            clock.pass_seconds(6)
            assert await store.memory.get(ANN, "k", refresh=False) is not None

    run(work())
