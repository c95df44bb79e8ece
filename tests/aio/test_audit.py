"""The audit tier for tasks does what that for threads does, and costs no thread a call."""

from __future__ import annotations

import asyncio
import threading

import pytest

import aegis_store
from aegis_store import NO_CHECKPOINT, aio
from aegis_store.errors import Closed, Conflict, InvalidArgument, ReadOnly, StateTypeError
from tests.aio.conftest import writes_fail_beyond


def test_what_is_recorded_is_read_as_by_threads(place, run):
    async def work():
        async with aio.open(place, agent="planner") as store:
            audit, sync = store.audit, store.sync.audit
            assert await audit.latest("s") is None
            ref = await audit.record("ana", "a.b", "s", {"n": 1}, expect=NO_CHECKPOINT, request_id="r", agent="guard")
            assert await audit.record("ana", "a.b", "s", 2, request_id="r") == ref
            await audit.record("ben", "b.c", "t")
            assert await audit.latest("s") == sync.latest("s") and (await audit.latest("s")).agent == "guard"
            assert [each async for each in audit.events()] == list(sync.events())
            assert [each async for each in audit.events("s", action="a.b")] == list(sync.events("s"))
            assert [each async for each in audit.newest_first("t")] == list(sync.newest_first("t"))
            assert [each async for each in audit.subjects()] == ["s", "t"]
            assert await audit.since(0) == sync.since(0) and await audit.size() == sync.size()
            assert await audit.verify_chain("s") == (True, None)
            assert await audit.verify_chains() == list(sync.verify_chains())

    run(work())
    with aegis_store.open(place, mode="r") as store:
        assert [each.subject for each in store.audit.events()] == ["s", "t"]


def test_many_tasks_share_syncs_and_no_thread_is_made(place, run):
    async def work():
        async with aio.open(place) as store:
            await store.audit.record("ana", "a.b", "s")
            before = {thread.ident for thread in threading.enumerate()}
            syncs = store.sync.records.engine.stats(aegis_store.Tier.AUDIT).groups
            await asyncio.gather(*(store.audit.record("ana", "a.b", f"s{n % 7}", n) for n in range(200)))
            assert {thread.ident for thread in threading.enumerate()} <= before
            assert store.sync.records.engine.stats(aegis_store.Tier.AUDIT).groups - syncs < 100
            assert sorted([each.details async for each in store.audit.events(action="a.b") if each.subject != "s"]) == list(
                range(200)
            )
            assert all(each.broken is None for each in await store.audit.verify_chains())

    run(work())


def test_a_task_that_is_cancelled_has_recorded_once_or_not_at_all(place, run):
    async def work():
        async with aio.open(place) as store:
            await store.audit.record("ana", "a.b", "s", 0)
            task = asyncio.ensure_future(store.audit.record("ana", "a.b", "s", 1, request_id="r"))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            again = await store.audit.record("ana", "a.b", "s", 1, request_id="r")
            assert again.ordinal == 1 and [each.details async for each in store.audit.events("s")] == [0, 1]

    run(work())


def test_what_is_queued_when_the_store_closes_lands(place, run):
    async def work():
        store = await aio.open(place)
        await store.audit.record("ana", "a.b", "s", 0)
        tasks = [asyncio.ensure_future(store.audit.record("ana", "a.b", "s", n)) for n in range(1, 20)]
        await asyncio.sleep(0)
        await store.close()
        await asyncio.gather(*tasks)

    run(work())
    with aegis_store.open(place, mode="r") as store:
        assert [each.details for each in store.audit.events("s")] == list(range(20))


def test_what_is_refused_is_refused_as_by_threads(place, run):
    async def work():
        async with aio.open(place) as store:
            first = await store.audit.record("ana", "a.b", "s")
            await store.audit.record("ana", "a.b", "s", expect=first)
            for error, arguments, options in (
                (Conflict, ("ana", "a.b", "s"), {"expect": first}),
                (StateTypeError, ("ana", "a.b", "s", object()), {}),
                (InvalidArgument, ("ana", "a.b", 7), {}),
            ):
                with pytest.raises(error):
                    await store.audit.record(*arguments, **options)
            assert len([each async for each in store.audit.events()]) == 2
        with pytest.raises(Closed):
            await store.audit.record("ana", "a.b", "s")
        async with aio.open(place, mode="r") as reader:
            with pytest.raises(ReadOnly):
                await reader.audit.record("ana", "a.b", "s")

    run(work())


def test_a_write_that_fails_is_told(place, run):
    async def work():
        store = await aio.open(place)
        await store.audit.record("ana", "a.b", "s", 0)
        with writes_fail_beyond(4096), pytest.raises(aegis_store.AegisError):
            await store.audit.record("ana", "a.b", "s", "x" * 10_000)
        with pytest.raises(aegis_store.AegisError):
            await store.close()

    run(work())
