"""Work beside the loop, and turns in between."""

from __future__ import annotations

import asyncio
import threading

import pytest

from aegis_store.aio.turns import in_thread_to_its_end, turn_by_turn


def test_work_in_a_thread_gives_its_result_or_its_error(run):
    async def work():
        assert await in_thread_to_its_end(threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await in_thread_to_its_end(lambda: 1 // 0)

    run(work())


def test_a_cancelled_task_waits_for_the_end_of_its_work(run):
    async def work():
        may_end, has_ended = threading.Event(), []
        task = asyncio.create_task(in_thread_to_its_end(lambda: has_ended.append(may_end.wait())))
        await asyncio.sleep(0)
        task.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert has_ended == [True]

    run(work())


def test_other_tasks_have_a_turn_between_two_items(run):
    async def work():
        seen = []

        async def other():
            for _ in range(3):
                seen.append("other")
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        async for each in turn_by_turn(iter(range(4))):
            seen.append(each)
        await task
        assert seen == [0, "other", 1, "other", 2, "other", 3]

    run(work())


def test_what_is_not_asked_for_is_not_made(run):
    made = []

    async def work():
        async for each in turn_by_turn(made.append(n) or n for n in range(10)):
            if each == 2:
                break

    run(work())
    assert made == [0, 1, 2]
