"""Workflows for tasks: as for threads, and what is different about tasks."""

from __future__ import annotations

import asyncio

import pytest

import aegis_store
import aegis_store.aio
from aegis_store.aio.workflow import DurableWorkflowEngine
from aegis_store.errors import Conflict, NotFound, ReadOnly
from aegis_store.workflow import checking
from tests.stores import abandon
from tests.workflow.orders import Order


def run(place, work, **options):
    async def main():
        async with aegis_store.aio.open(place, **options) as store:
            return await work(DurableWorkflowEngine(store), store)

    return asyncio.run(main())


def test_a_whole_life(tmp_path):
    async def work(engine, store):
        order = Order("o")
        await engine.create(order, actor="shop")
        order.lines.append("tea")
        made = await engine.transition(order, "paid", actor="bank", request_id="pay")
        assert await engine.transition(order, "paid", actor="bank", request_id="pay") == made
        await engine.checkpoint(order)
        assert (await engine.load(Order, "o")).lines == ["tea"]
        assert (await engine.load_at(Order, "o", 0)).state == "new"
        assert [each.workflow_id for each in await engine.resume_all_pending(Order)] == ["o"]
        assert await engine.pending(Order) == ["o"]
        data = await engine.export("o")
        await engine.complete(order)
        assert await engine.is_completed("o")
        assert await engine.resume_all_pending(Order) == []
        assert [each.to_state for each in await engine.history("o")] == ["new", "paid", None]
        assert await engine.verify_audit_chain("o") == (True, None)
        assert await engine.verify_integrity("o") == (True, None)
        async with aegis_store.aio.open(tmp_path / "elsewhere") as other:
            there = DurableWorkflowEngine(other)
            assert await there.import_(data) == "o"
            assert await there.verify_integrity("o") == (True, None)

    run(tmp_path / "state", work)


def test_tasks_that_move_at_once_all_move(tmp_path):
    async def work(engine, store):
        orders = [Order(f"o{number}") for number in range(50)]
        await asyncio.gather(*(engine.create(each) for each in orders))
        for state in ("paid", "sent"):
            await asyncio.gather(*(engine.transition(each, state) for each in orders))
        for each in orders:
            assert await engine.verify_integrity(each.workflow_id) == (True, None)
        assert {each.state for each in await engine.resume_all_pending(Order)} == {"sent"}

    run(tmp_path / "state", work)


def test_tasks_that_move_one_workflow_at_once_follow_each_other(tmp_path):
    async def work(engine, store):
        order = Order("o")
        await engine.create(order)
        await asyncio.gather(*(engine.transition(order, state) for state in "abcdef"))
        assert [each.to_state for each in await engine.history("o")] == ["new", *"abcdef"]
        assert await engine.verify_integrity("o") == (True, None)

    run(tmp_path / "state", work)


def test_a_task_that_is_cancelled_has_moved_all_the_same_and_its_event_is_there(tmp_path):
    async def work(engine, store):
        order = Order("o")
        await engine.create(order)
        task = asyncio.ensure_future(engine.transition(order, "paid"))
        while order.state == "new":
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.gather(*engine._going_on)
        assert checking.integrity(store.sync, "o") == (True, None)
        assert [each.to_state for each in await engine.history("o")] == ["new", "paid"]

    run(tmp_path / "state", work)


def test_refusals_come_before_anything_is_queued(tmp_path):
    async def work(engine, store):
        await engine.create(Order("o"))
        size = store.sync.records.size()
        with pytest.raises(Conflict):
            await engine.create(Order("o"))
        with pytest.raises(NotFound):
            await engine.transition(Order("x"), "paid")
        assert store.sync.records.size() == size

    run(tmp_path / "state", work)

    async def reading(engine, store):
        order = await engine.load(Order, "o")
        with pytest.raises(ReadOnly):
            await engine.transition(order, "paid")
        assert order.state == "new"

    run(tmp_path / "state", reading, mode="r")


def test_what_a_crash_left_out_is_made_good_by_the_first_call(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place) as store:
        engine = aegis_store.workflow.DurableWorkflowEngine(store)
        order = Order("o")
        engine.create(order)
        steps = engine._moves.transition(order, "paid", actor=None, request_id=None, is_saved=True)
        store.records.commit(next(steps).record)
        abandon(store)

    async def work(engine, store):
        assert [each.to_state for each in await engine.history("o")] == ["new", "paid"]
        assert checking.integrity(store.sync, "o") == (True, None)

    run(place, work)
