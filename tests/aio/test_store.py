"""A store for tasks: opened, handed over, cancelled, looked at and closed."""

from __future__ import annotations

import asyncio
import threading

import pytest

import aegis_store
from aegis_store import Config, aio
from aegis_store.aio.store import _Handover
from aegis_store.errors import Closed, InvalidArgument, Locked, NotAStore
from tests.aio.test_landing import start
from tests.stores import SMALL, Told, fill


class Gate:
    """A clock that lets nobody by until it is opened; it says when somebody waits."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.open = threading.Event()

    def now_ms(self) -> int:
        self.reached.set()
        assert self.open.wait(60)
        return 1_700_000_000_000


def test_a_store_is_opened_by_waiting_or_by_entering(place, run):
    async def work():
        store = await aio.open(place, agent="planner", name="mine")
        assert (store.path, store.agent, store.report.created) == (place, "planner", True)
        await store.close()
        await store.close()
        async with aio.open(place) as store:
            assert not store.report.created
            with pytest.raises(Locked):
                await aio.open(place)
        async with await aio.open(place) as store:
            await store.session("s").checkpoint(1)
        with pytest.raises(Closed):
            store.session("s")
        with pytest.raises(NotAStore):
            await aio.open(place.parent / "none", mode="r")
        async with aio.open(place, mode="r") as store:
            assert (await store.session("s").latest()).state == 1

    run(work())


def test_a_cancelled_opening_leaves_nothing_open(place, run):
    gate = Gate()

    async def work():
        opening = asyncio.create_task(aio.open(place, clock=gate)._open())
        while not gate.reached.is_set():
            await asyncio.sleep(0.001)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        gate.open.set()

    run(work())  # its end waits for the thread
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(1)


@pytest.mark.parametrize("refused", ["before", "after"])
def test_a_store_that_nobody_takes_is_closed(place, refused):
    handover = _Handover(lambda: aegis_store.open(place))
    if refused == "before":
        handover.refuse()
    store = handover.make()
    handover.refuse()
    with pytest.raises(Closed):
        store.session("s")


def test_a_cancelled_close_is_a_close(place, run):
    async def work():
        store = await aio.open(place)
        await store.session("first").checkpoint(0)
        under_way = start(store, 50)
        closing = asyncio.create_task(store.close())
        await asyncio.sleep(0)
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await asyncio.gather(*under_way)
        async with aio.open(place) as store:
            assert len([info async for info in store.sessions()]) == 51

    run(work())


def test_a_store_of_threads_is_wrapped_and_shared(place, run):
    with aegis_store.open(place) as store:

        async def work():
            tasks = aio.wrap(store)
            assert tasks.sync is store
            await tasks.session("s").checkpoint(1)
            await asyncio.to_thread(store.session("s").checkpoint, 2)
            await tasks.session("s").checkpoint(3)

        run(work())
        assert [each.state for each in store.session("s").history()] == [3, 2, 1]


def test_lists_proofs_heads_and_numbers_are_those_for_threads(place, run):
    async def work():
        async with aio.open(place, config=SMALL, clock=Told()) as store:
            fill(store.sync, "a", "b", "c", each=15)
            await store.session("b").end()
            for chosen in ({}, {"open": False}, {"prefix": "a"}, {"limit": 1}, {"after": "a"}, {"agent": "nobody"}):
                assert [each async for each in store.sessions(**chosen)] == list(store.sync.sessions(**chosen))
            with pytest.raises(InvalidArgument):
                store.sessions(limit=-1)
            head = await store.head()
            assert head == store.sync.head() == await store.head("session")
            ref = (await store.session("a").latest()).ref
            assert await store.inclusion(ref) == store.sync.inclusion(ref)
            assert await store.consistency(head.head) == store.sync.consistency(head.head)
            assert (await store.stats()).tiers == store.sync.stats().tiers
            seen = []
            result = await store.verify(deep=True, watch=lambda *what: seen.append((threading.get_ident(), *what)))
            again = store.sync.verify(deep=True)
            assert (result.findings, [tier.root for tier in result.tiers]) == ((), [tier.root for tier in again.tiers])
            await asyncio.sleep(0)
            assert {each[0] for each in seen} == {threading.get_ident()}

    run(work())


def test_a_verification_ends_with_the_task_that_wanted_it(place, run):
    with aegis_store.open(place, config=Config(segment_bytes=64 << 10)) as store:
        fill(store, "a", each=60)

    async def work():
        async with aio.open(place) as store:
            calls = []
            verify = store.sync.verify

            def watched(*, deep, watch, **more):
                def counting(*what):
                    calls.append(what)
                    watch(*what)

                return verify(deep=deep, watch=counting, **more)

            store.sync.verify = watched
            task = asyncio.create_task(store.verify(deep=True, watch=lambda *_: task.cancel()))
            with pytest.raises(asyncio.CancelledError):
                await task
            in_all = []
            verify(deep=True, watch=lambda *what: in_all.append(what))
            assert 0 < len(calls) <= len(in_all)
            # Nothing runs on that the close would have to wait for.

    run(work())
