from __future__ import annotations

import asyncio
import sys

import pytest

from aegis_store.bench import tasks
from aegis_store.bench.tasks import IN_THREADS, OURS, SQLITE, TASKS, run_tasks_for
from tests.bench.facts import tiny


def test_every_task_has_its_turn_and_what_ends_late_is_not_counted():
    turns = [0, 0]

    async def quick() -> None:
        turns[0] += 1
        await asyncio.sleep(0)

    async def late() -> None:
        turns[1] += 1
        await asyncio.sleep(0.03)

    found = asyncio.run(run_tasks_for([quick, late], 0.01))
    assert turns[0] >= 1 and turns[1] == 1
    # The late one did nothing in time, and counts once all the same, and so does its time: a task is never left out.
    assert found.seconds >= 0.03
    assert turns[0] <= found.operations <= turns[0] + 1


def test_a_failure_of_a_task_is_the_rounds():
    async def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(run_tasks_for([fail], 0.01))
    assert raised.group_contains(RuntimeError, match="no")


def test_without_the_asynchronous_face_the_others_are_measured_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "aegis_store.aio", None)
    figures, samples, missing = tasks.measure(tiny(tmp_path))
    assert figures == [] and [each.name for each in missing] == [OURS]
    assert all(samples[peer][0].operations >= TASKS for peer in (IN_THREADS, SQLITE))
