"""Tool calls of tasks happen once; a task that is cancelled in one leaves it unknown."""

from __future__ import annotations

import asyncio
import inspect

import pytest

from aegis_store import aio, calls
from aegis_store.aio.calls import Calls
from aegis_store.errors import CallFailed, CallUnknown


def run(place, work):
    async def inner():
        async with await aio.open(place) as store:
            await work(store.session("s"))

    asyncio.run(inner())


def test_a_call_is_made_once(place):
    made = []

    async def charge():
        made.append(1)
        return {"paid": 12}

    async def work(session):
        assert await session.calls.once("charge", charge, {"order": 17}, id="a") == {"paid": 12}
        (info,) = await session.calls.all()
        assert (info.id, info.arguments, info.is_done) == ("a", {"order": 17}, True)

    run(place, work)
    run(place, work)
    assert made == [1]


def test_a_cancelled_one_is_unknown(place):
    async def work(session):
        entered = asyncio.Event()

        async def hang():
            entered.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(session.calls.once("charge", hang, id="a"))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [each.id for each in await session.calls.unknown()] == ["a"]
        with pytest.raises(CallUnknown):
            await session.calls.once("charge", hang, id="a")
        await session.calls.resolve("a", result=3)
        assert (await session.calls.get("a")).result == 3

    run(place, work)


def test_an_error_is_an_outcome(place):
    async def work(session):
        async def fail():
            raise TimeoutError("no answer")

        with pytest.raises(TimeoutError):
            await session.calls.once("charge", fail, id="a")
        with pytest.raises(CallFailed, match="no answer"):
            await session.calls.once("charge", fail, id="a")

    run(place, work)


def test_the_surface_is_the_same():
    for name, function in inspect.getmembers(calls.Calls, inspect.isfunction):
        if not name.startswith("_"):
            twin = inspect.signature(getattr(Calls, name)).parameters
            assert list(inspect.signature(function).parameters) == list(twin), name
