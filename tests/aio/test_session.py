"""A session for tasks does what one for threads does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

import aegis_store
from aegis_store import NO_CHECKPOINT, Config, aio
from aegis_store.aio.session import SUBMIT_IN_LOOP_BYTES
from aegis_store.errors import Closed, Conflict, Ended, InvalidArgument, NotFound, StateTooLarge, StateTypeError
from tests.aio.test_landing import descriptors, turns, until
from tests.stores import noise, states

LARGE = SUBMIT_IN_LOOP_BYTES + 1


def test_everything_that_is_given_is_saved_and_read_as_by_threads(place, run):
    given = {
        "position": "plan/1",
        "claims": {"c": 1},
        "approvals": [{"by": "me"}],
        "last_tool_call": {"name": "t"},
        "metadata": {"m": [1]},
        "request_id": "r",
    }

    async def work():
        async with aio.open(place, agent="planner") as store:
            session = store.session("s", agent="critic")
            assert (session.id, session.agent, repr(session)) == ("s", "critic", "aio.Session('s')")
            assert await session.latest() is None and await session.info() is None
            ref = await session.checkpoint({"a": 1}, expect=NO_CHECKPOINT, **given)
            for n in range(2, 6):
                await session.checkpoint({"a": n}, expect=(await session.latest()).ref)
            sync = store.sync.session("s")
            assert await session.latest() == sync.latest()
            assert await session.info() == sync.info()
            assert await session.get(0) == sync.get(0)
            assert (await session.get(0)).ref == ref and (await session.get(0)).agent == "critic"
            for name in set(given) - {"request_id"}:
                assert getattr(await session.get(0), name) == given[name]
            now = datetime.now(UTC) + timedelta(hours=1)
            assert await session.at(now) == sync.at(now)
            for limits in ({}, {"limit": 2}, {"before": 3}, {"before": 3, "limit": 1}):
                assert [each async for each in session.history(**limits)] == list(sync.history(**limits))

    run(work())


def test_what_is_refused_leaves_nothing_behind(place, run):
    async def work():
        async with aio.open(place, config=Config(state_limit_bytes=1000)) as store:
            session = store.session("s")
            for error, state, more in (
                (StateTypeError, {"x": object()}, {}),
                (StateTooLarge, noise(2000), {}),
                (NotFound, None, {}),
            ):
                with pytest.raises(error):
                    await (session.end() if state is None else session.checkpoint(state, **more))
            assert store.sync.records.size() == 1  # the agent's key
            ref = await session.checkpoint(1)
            with pytest.raises(Conflict):
                await session.checkpoint(2, expect=NO_CHECKPOINT)
            with pytest.raises(NotFound):
                await session.get(1)
            with pytest.raises(InvalidArgument):
                session.history(limit=-1)
            assert (await session.latest()).ref == ref

    run(work())


def test_a_request_that_is_repeated_returns_the_first_reference(place, run):
    async def work():
        async with aio.open(place) as store:
            session = store.session("s")
            await session.checkpoint(0)
            together = await asyncio.gather(*(session.checkpoint(n, request_id="one") for n in range(30)))
            assert len(set(together)) == 1
            assert await session.checkpoint("later", request_id="one") == together[0]
            assert (await session.info()).checkpoints == 2

    run(work())


def test_a_fork_and_an_end_are_durable_when_they_return(place, run):
    async def work():
        async with aio.open(place) as store:
            session = store.session("s")
            refs = [await session.checkpoint(n) for n in range(3)]
            fork = await session.fork("f", at=refs[1])
            assert isinstance(fork, aio.Session) and (await fork.latest()).state == 1
            assert (await store.session("f").info()).forked_from == "s"
            assert (await fork.checkpoint("own")).ordinal == 2
            with pytest.raises(Conflict):
                await session.fork("f")
            await session.end(reason="done")
            await session.end()
            with pytest.raises(Ended):
                await session.checkpoint(3)
            forks = await asyncio.gather(*(session.fork(f"f{n}") for n in range(20)))
            await asyncio.gather(*(each.end() for each in forks))
        with aegis_store.open(place) as store:
            assert states(store, "f") == [0, 1, "own"]
            assert {info.id for info in store.sessions(open=False)} == {"s", *(f"f{n}" for n in range(20))}

    run(work())


# ---- large states -----------------------------------------------------------------------------------------------------------


def in_threads(monkeypatch) -> list[object]:
    """Notes each call that goes to a thread."""
    noted = []
    loop = asyncio.get_running_loop()
    run_in_executor = loop.run_in_executor
    monkeypatch.setattr(loop, "run_in_executor", lambda *work: noted.append(work) or run_in_executor(*work))
    return noted


def test_after_a_large_state_the_next_is_encoded_in_a_thread(place, run, monkeypatch):
    async def work():
        async with aio.open(place) as store:
            session = store.session("s")
            await session.checkpoint("small")
            threads = in_threads(monkeypatch)
            for state, calls in (("small", 0), (bytes(LARGE), 0), (bytes(LARGE), 1), ("small", 1), ("small", 0)):
                threads.clear()
                ref = await session.checkpoint(state)
                assert len(threads) == calls
                assert (await session.get(ref.ordinal)).state == state
            monkeypatch.undo()

    run(work())


def test_a_large_state_whose_task_is_cancelled_is_saved_once_or_not_at_all(place, run):
    async def work():
        async with aio.open(place) as store:
            session, cancelled = store.session("s"), 0
            for n in range(20):
                await session.checkpoint(bytes(LARGE))
                task = asyncio.create_task(session.checkpoint({"n": n, "large": bytes(LARGE)}, request_id=f"{n}"))
                await turns(1 + n // 2)
                cancelled += task.cancel()
                await asyncio.wait([task])  # it may have been done already
                if n % 2:
                    ref = await session.checkpoint({"n": n, "large": bytes(LARGE)}, request_id=f"{n}")
                    assert (await session.get(ref.ordinal)).state["n"] == n
        with aegis_store.open(place) as store:
            assert cancelled > 0
            found = [state["n"] for state in states(store, "s") if isinstance(state, dict)]
            assert len(found) == len(set(found)) and set(found) >= set(range(1, 20, 2))
            assert store.verify(deep=True).findings == ()

    run(work())


def test_a_large_state_is_refused_like_any_other(place, run):
    async def work():
        before = descriptors()
        store = await aio.open(place)
        session = store.session("s")
        await session.checkpoint(bytes(LARGE))
        with pytest.raises(StateTypeError):
            await session.checkpoint([bytes(LARGE), object()])
        await session.checkpoint(bytes(LARGE))
        task = asyncio.create_task(session.checkpoint(bytes(LARGE)))
        await turns(1)
        await store.close()
        (ended,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(ended, aegis_store.Ref | Closed)
        with pytest.raises(Closed):
            await session.checkpoint(bytes(LARGE))
        await until(lambda: descriptors() == before)

    run(work())
