"""Cancelled wherever it waits, timed out, failed with its group, its loop closed: a call is made once or not at all.

`cancelled_at` cancels a call at its n-th wait, as a task's cancellation would that came just then; with every n in turn no
place is left out, and the schedule is the same in each run. Whatever becomes of a call, the same request made again tells.
"""

from __future__ import annotations

import asyncio
import gc
import random
import types
from collections import Counter
from collections.abc import Coroutine, Generator
from itertools import count
from typing import Any

import pytest

import aegis_store
from aegis_store import aio
from aegis_store.aio.session import SUBMIT_IN_LOOP_BYTES
from aegis_store.errors import Conflict, Locked
from tests.aio.test_landing import descriptors, turns, until
from tests.stores import SMALL, states

LARGE = SUBMIT_IN_LOOP_BYTES + 1


@types.coroutine
def cancelled_at(work: Coroutine[Any, Any, object], number: int) -> Generator[Any, None, object]:
    """What the call returns, if it ends before it waits for the n-th time (from 0); there it is cancelled."""
    failed: BaseException | None = None
    for wait in count():
        try:
            waits_for = work.send(None) if failed is None else work.throw(failed)
            if wait == number and waits_for is None:  # a bare turn of the loop
                waits_for = work.throw(asyncio.CancelledError())
            elif wait == number:
                waits_for.cancel()
        except StopIteration as done:
            return done.value
        failed = None
        try:
            yield waits_for
        except BaseException as error:  # what it waited for raises: a task hands that on by throwing it
            failed = error
    raise AssertionError


async def at_every_wait(make) -> int:
    """Make a call again and again, cancelled at its first wait, its second, … until it ends before; how often it was."""
    number = 0
    while True:
        try:
            await cancelled_at(make(number), number)
        except asyncio.CancelledError:
            number += 1
        except Locked:
            await asyncio.sleep(0.001)  # the opening that was cancelled last is not closed again yet
        else:
            return number


def once_each(place, session: str) -> list[object]:
    """The states of a session, none of them twice, after the whole store was looked at."""
    with aegis_store.open(place) as store:
        found = states(store, session)
        assert len({repr(state) for state in found}) == len(found)
        assert store.verify(deep=True).findings == ()
        return found


# ---- every wait -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [10, LARGE], ids=["in the loop", "in a thread"])
def test_a_checkpoint_is_saved_once_or_not_at_all_wherever_it_is_cancelled(place, run, size):
    async def work() -> int:
        async with aio.open(place) as store:
            session = store.session("s")

            async def save(number: int) -> aegis_store.Ref:
                return await session.checkpoint([number, bytes(size)], request_id=f"{number}")

            await session.checkpoint(["first", bytes(size)])
            cancelled = await at_every_wait(save)
            # Asked again, each is there: that which it saved then, or a new one.
            again = [await save(number) for number in range(cancelled + 1)]
            assert len({ref.index for ref in again}) == cancelled + 1
            return cancelled

    cancelled = run(work())
    assert cancelled > 0
    assert sorted(state[0] for state in once_each(place, "s")[1:]) == list(range(cancelled + 1))


def test_an_agents_first_checkpoint_may_be_cancelled_at_every_wait(place, run):
    async def work() -> int:
        async with aio.open(place) as store:

            async def save(number: int) -> aegis_store.Ref:
                return await store.session("s", agent=f"agent {number}").checkpoint(number, request_id=f"{number}")

            cancelled = await at_every_wait(save)
            for number in range(cancelled + 1):
                await save(number)
            return cancelled

    cancelled = run(work())
    assert cancelled > 1  # for its key to be allowed, and for its record
    assert sorted(once_each(place, "s")) == list(range(cancelled + 1))


def test_forks_and_ends_are_made_once_or_not_at_all_wherever_they_are_cancelled(place, run):
    async def work() -> tuple[int, int]:
        async with aio.open(place) as store:
            session = store.session("s")
            await session.checkpoint("first")
            forks = await at_every_wait(lambda number: session.fork(f"fork {number}"))
            for number in range(forks + 1):
                try:
                    await session.fork(f"fork {number}")
                except Conflict:
                    assert (await store.session(f"fork {number}").info()).forked_from == "s"
            ends = await at_every_wait(lambda number: store.session(f"fork {number % (forks + 1)}").end())
            for number in range(forks + 1):
                await store.session(f"fork {number}").end()
            return forks, ends

    forks, ends = run(work())
    assert min(forks, ends) > 0
    with aegis_store.open(place) as store:
        assert {info.id for info in store.sessions(open=False)} == {f"fork {number}" for number in range(forks + 1)}
        assert store.verify(deep=True).findings == ()


def test_openings_closes_and_looks_may_be_cancelled_at_every_wait(place, run):
    async def work() -> None:
        async with aio.open(place):
            pass
        before = descriptors()

        async def open_and_use(_: int) -> None:
            async with aio.open(place) as store:
                session = store.session("s")
                await session.checkpoint("again")
                await session.latest()
                assert [each async for each in session.history(limit=3)]
                await store.head()
                await store.stats()
                assert (await store.verify(deep=True)).findings == ()

        assert await at_every_wait(open_and_use) > 5
        await until(lambda: descriptors() == before)  # a thread may still have been opening, or closing

    run(work())
    with aegis_store.open(place) as store:
        assert store.verify(deep=True).findings == ()


# ---- storms -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_timeouts_and_failing_groups_lose_nothing_and_double_nothing(place, run, seed):
    dice = random.Random(seed)
    met = Counter()
    returned: dict[str, aegis_store.Ref] = {}

    async def save(store: aio.Store, request: str) -> None:
        session = store.session(f"s{int(request) % 5}")
        returned[request] = await session.checkpoint({"request": request}, request_id=request)

    async def fail_after(number: int) -> None:
        await turns(number)
        raise ArithmeticError

    async def one_group(store: aio.Store, requests: list[str]) -> None:
        try:
            async with asyncio.timeout(dice.choice((0, 0.001, 0.003, 60))), asyncio.TaskGroup() as tasks:
                for request in requests:
                    tasks.create_task(save(store, request))
                if dice.random() < 0.5:
                    tasks.create_task(fail_after(dice.randrange(5)))
            met["whole"] += 1
        except TimeoutError:
            met["timed out"] += 1
        except ExceptionGroup as group:
            assert group.split(ArithmeticError)[1] is None
            met["failed"] += 1

    async def work() -> None:
        async with aio.open(place, config=SMALL if seed else None) as store:
            await store.session("s0").checkpoint("first")
            requests = [f"{number}" for number in range(300)]
            for _ in range(3):  # each request up to three times, in another company
                dice.shuffle(requests)
                groups = [requests[at : at + 10] for at in range(0, len(requests), 10)]
                await asyncio.gather(*(one_group(store, group) for group in groups))
            before = dict(returned)
            for request in requests:
                await save(store, request)
            assert {request: returned[request] for request in before} == before

    run(work())
    assert min(met[what] for what in ("timed out", "failed")) > 5, met
    found = [state for n in range(5) for state in once_each(place, f"s{n}") if state != "first"]
    assert sorted(int(state["request"]) for state in found) == list(range(300))


def test_a_loop_that_is_closed_at_any_turn_leaves_its_records_to_the_next_one(place):
    """Closed under tasks that wait, which are never heard of again."""
    requests = [f"{number}" for number in range(20)]
    with aegis_store.open(place, config=SMALL) as store:
        tasks = aio.wrap(store)
        asyncio.run(tasks.session("s").checkpoint("first"))
        for stop_after in range(10):
            loop = asyncio.new_event_loop()
            names = [f"{stop_after}/{request}" for request in requests]
            waiting = [loop.create_task(tasks.session("s").checkpoint(name, request_id=name)) for name in names]
            for _ in range(stop_after):
                loop.call_soon(loop.stop)
                loop.run_forever()
            loop.close()
            for task in waiting:
                task._log_destroy_pending = False
                if not task.done():
                    task.get_coro().close()
            del loop, waiting, task
            gc.collect()

            async def again(names=names) -> list[aegis_store.Ref]:
                return await asyncio.gather(*(tasks.session("s").checkpoint(name, request_id=name) for name in names))

            assert len({ref.index for ref in asyncio.run(again())}) == len(names)
    expected = {"first", *(f"{stop_after}/{request}" for stop_after in range(10) for request in requests)}
    assert set(once_each(place, "s")) == expected
