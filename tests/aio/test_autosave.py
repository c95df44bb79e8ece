"""Sessions of tasks that are saved by a timer. The waits are a test's: it says when the time is up."""

from __future__ import annotations

import asyncio

import pytest

from aegis_store import Snapshot, aio
from aegis_store.aio.autosave import Autosave, set_or_late
from aegis_store.errors import StateTypeError
from tests.stores import states


class Hand:
    """A wait that ends when somebody says so."""

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(0)
        self.waited: list[float] = []
        self.waiting = asyncio.Event()

    async def __call__(self, event: asyncio.Event, seconds: float) -> None:
        self.waited.append(seconds)
        self.waiting.set()
        await self.turns.acquire()

    async def turn(self) -> None:
        await self.waiting.wait()
        self.waiting.clear()
        self.turns.release()
        await self.waiting.wait()  # until it comes back for the next


def by_hand(store, session, get_state, hand, interval=60):
    return Autosave(store.sync.autosaver, session, get_state, interval=interval, wait=hand)


def test_what_has_changed_is_saved_each_turn_and_at_the_end(place, run):
    async def work():
        state = {"n": 0}
        async with aio.open(place) as store:
            hand = Hand()
            async with by_hand(store, store.session("s"), lambda: state, hand) as saving:
                await hand.turn()
                await hand.turn()
                assert states(store.sync, "s") == [{"n": 0}]
                assert saving.info().error is None
                assert store.sync.autosaver.unsaved()[0] == 1
                state["n"] = 1
                await hand.turn()
                assert states(store.sync, "s") == [{"n": 0}, {"n": 1}]
                state["n"] = 2
            assert states(store.sync, "s") == [{"n": 0}, {"n": 1}, {"n": 2}]
            assert store.sync.autosaver.unsaved() is None
            assert set(hand.waited) == {60}

    run(work())


def test_the_function_may_be_a_coroutine_and_tell_more_than_the_state(place, run):
    async def work():
        async def get_state():
            await asyncio.sleep(0)
            return Snapshot(state={"n": 0}, position="plan")

        async with aio.open(place) as store:
            async with store.session("s").every(get_state, interval="1h") as saving:
                assert (await saving.save()).ordinal == 0
                assert await saving.save() is None
            assert (await store.session("s").latest()).position == "plan"

    run(work())


def test_a_failure_is_kept_and_the_last_one_raises(place, run):
    async def work():
        async with aio.open(place) as store:
            hand = Hand()
            with pytest.raises(StateTypeError):
                async with by_hand(store, store.session("s"), object, hand) as saving:
                    await hand.turn()
                    assert saving.info().error.startswith("StateTypeError")
                    assert (await store.health()).facts.unsaved.failing == 1
            assert store.sync.autosaver.watches() == []

    run(work())


def test_who_has_changed_is_saved_without_waiting(place, run):
    async def work():
        async with aio.open(place) as store:
            called = asyncio.Event()

            def get_state():
                called.set()
                return {"n": 0}

            async with store.session("s").every(get_state, interval="30d") as saving:
                saving.changed()
                await called.wait()

    run(work())


def test_a_task_that_is_cancelled_saves_a_last_time(place, run):
    async def work():
        async with aio.open(place) as store:
            inside = asyncio.Event()

            async def agent():
                async with store.session("s").every(lambda: {"n": 1}):
                    inside.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(agent())
            await inside.wait()
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            assert states(store.sync, "s") == [{"n": 1}]

    run(work())


def test_a_wait_ends_with_the_event_or_with_the_time(run):
    async def work():
        event = asyncio.Event()
        await set_or_late(event, 0)
        event.set()
        await set_or_late(event, 10**6)

    run(work())
