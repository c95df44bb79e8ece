"""Tasks that wait together: they share syncs, nothing is lost or done twice, and every wait has an end."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import selectors
import threading
from collections import Counter
from itertools import count

import pytest

import aegis_store
from aegis_store import Config, TierDurability, aio
from aegis_store._engine import Watcher
from aegis_store.aio.landing import REQUEST_RECORDS, Landings
from aegis_store.errors import Closed, InvalidArgument, OutcomeUnknown, Poisoned, ReadOnly, UsedAfterFork
from aegis_store.types import LogIndex
from tests.aio.conftest import LONG, writes_fail_beyond
from tests.stores import SMALL, abandon, noise, states

TASKS = 1000
CRASH_AT = 64 << 10


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def until(condition) -> None:
    while not condition():
        await asyncio.sleep(0.001)


# ---- sharing ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [Config(), Config(durability=TierDurability(session="write"))], ids=["commit", "write"])
def test_a_thousand_tasks_share_flushes(place, run, config):
    async def work():
        async with aio.open(place, config=config) as store:
            await store.session("first").checkpoint("the agent's key is there from here on")
            before = store.sync.records.engine.stats(store.sync.records.tier)
            refs = await asyncio.gather(*(store.session(f"s{n}").checkpoint({"n": n}) for n in range(TASKS)))
            after = store.sync.records.engine.stats(store.sync.records.tier)
            assert len({ref.index for ref in refs}) == TASKS
            assert after.appends - before.appends == 2 * TASKS  # a session begins with a record of its own
            assert after.groups - before.groups <= 2 * (TASKS // REQUEST_RECORDS + 1)
            assert after.syncs - before.syncs <= 50
            for n, ref in enumerate(refs):
                latest = await store.session(f"s{n}").latest()
                assert (latest.ref, latest.state) == (ref, {"n": n})

    run(work())


def test_no_thread_is_spent_on_a_checkpoint(place, run, monkeypatch):
    async def work():
        async with aio.open(place) as store:
            session = store.session("s")
            await session.checkpoint(0)

            def refuse(*_):
                raise AssertionError("a thread for a call")

            monkeypatch.setattr(asyncio.get_running_loop(), "run_in_executor", refuse)
            threads = threading.active_count()
            for n in range(1, 20):
                await session.checkpoint(n)
            await session.end()
            fork = await session.fork("f")
            await fork.checkpoint("more")
            assert threading.active_count() == threads
            monkeypatch.undo()

    run(work())


def test_a_checkpoint_that_has_returned_is_durable(place, run):
    async def work():
        async with aio.open(place) as store:
            for n in range(50):
                ref = await store.session("s").checkpoint(n)
                assert store.sync.records.size() > ref.index
        with aegis_store.open(place) as store:
            assert states(store, "s") == list(range(50))

    run(work())


def test_any_loop_will_do_that_can_watch_a_descriptor(place):
    """uvloop, for one, has its own ways: here every other selector that there is, and nothing but add_reader and call_soon."""
    kinds = {selectors.SelectSelector, selectors.PollSelector, selectors.DefaultSelector}
    for kind in kinds:

        async def work():
            async with aio.open(place) as store:
                for n in range(3):
                    await asyncio.gather(*(store.session(f"s{k}").checkpoint(n) for k in range(20)))

        with asyncio.Runner(loop_factory=lambda kind=kind: asyncio.SelectorEventLoop(kind())) as runner:
            runner.run(asyncio.wait_for(work(), LONG))
    with aegis_store.open(place) as store:
        assert all(states(store, f"s{k}") == [0, 1, 2] * len(kinds) for k in range(20))


# ---- cancelling -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_cancelling_at_any_moment_loses_nothing_and_doubles_nothing(place, run, seed):
    dice = random.Random(seed)
    acknowledged: dict[str, aegis_store.Ref] = {}
    submitted: set[str] = set()
    met = Counter()

    async def save(store: aio.Store, session: str, request: str, size: int) -> None:
        """One checkpoint, tried until it returns, or given up after a cancellation."""
        submitted.add(request)
        while request not in acknowledged:
            attempt = asyncio.create_task(
                store.session(session).checkpoint({"request": request, "noise": noise(size, request)}, request_id=request)
            )
            if dice.random() < 0.6:
                await turns(dice.choice((0, 1, 1, 2, 3, 5, 20)))
                met["too late" if attempt.done() else "cancelled"] += 1
                attempt.cancel()
            try:
                ref = await attempt
            except asyncio.CancelledError:
                if dice.random() < 0.3:
                    met["given up"] += 1
                    return
                met["tried again"] += 1
            else:
                acknowledged[request] = ref

    async def work():
        async with aio.open(place, config=SMALL if seed % 2 else None) as store:
            if seed:  # else many are cancelled while the agent is enrolled
                acknowledged["first"] = await store.session("s0").checkpoint({"request": "first"}, request_id="first")
                submitted.add("first")
            requests = ((f"s{n % 10}", f"{n}") for n in range(400))
            await asyncio.gather(*(save(store, session, request, dice.randrange(3000)) for session, request in requests))

    run(work())
    assert min(met[what] for what in ("cancelled", "given up", "tried again")) > 20, met
    with aegis_store.open(place) as store:
        found: dict[str, aegis_store.Ref] = {}
        for info in store.sessions():
            history = list(store.session(info.id).history())[::-1]
            assert [each.ref.ordinal for each in history] == list(range(len(history)))
            for each in history:
                assert each.state["request"] not in found, "the same request twice"
                found[each.state["request"]] = each.ref
        assert {request: found[request] for request in acknowledged} == acknowledged
        assert set(found) <= submitted
        # Without these it would not be much of a test: queued by a task that was cancelled and never asked again.
        assert seed == 0 or len(found) > len(acknowledged)
        assert store.verify(deep=True).findings == ()


def test_what_a_cancelled_task_has_queued_lands_and_is_found(place, run):
    async def work():
        async with aio.open(place) as store:
            session = store.session("s")
            await session.checkpoint(0)
            task = asyncio.create_task(session.checkpoint(1, request_id="one"))
            await turns(1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            # Nobody waits for it, and nothing else makes it land.
            while (await session.latest()).state == 0:
                await asyncio.sleep(0.001)
            assert (await session.latest()).state == 1
            again = await session.checkpoint(1, request_id="one")
            assert again == (await session.latest()).ref
            assert (await session.info()).checkpoints == 2

    run(work())


# ---- failing ----------------------------------------------------------------------------------------------------------------


def test_a_failed_write_is_told_to_each_task_as_to_a_thread(place, run):
    async def work():
        store = await aio.open(place)
        sync = store.sync
        session = store.session("s")
        kept = [await session.checkpoint(noise(CRASH_AT, n)) for n in range(2)]
        with writes_fail_beyond(CRASH_AT):
            told = await asyncio.gather(*(store.session(f"s{n}").checkpoint(n) for n in range(50)), return_exceptions=True)
        assert {type(error) for error in told} == {OutcomeUnknown}
        assert len({error.index for error in told}) == 50
        for error in told:
            with pytest.raises(OutcomeUnknown) as caught:
                sync.records.commit(error.index)
            assert str(caught.value) == str(error)
        # From here on nothing is accepted, and what was acknowledged is read.
        with pytest.raises(Poisoned):
            await session.checkpoint("more")
        with pytest.raises(Poisoned):
            await session.end()
        assert (await session.latest()).ref == kept[-1]
        assert await store.session("s7").latest() is None
        with pytest.raises((Poisoned, OutcomeUnknown)):
            await store.close()
        async with aio.open(place) as store:
            assert [each.ref async for each in store.session("s").history()] == kept[::-1]
            assert await store.session("s").checkpoint("works again")

    run(work())


def test_nothing_that_goes_wrong_in_settling_fails_a_checkpoint(place, run, monkeypatch):
    async def work():
        async with aio.open(place) as store:
            session = store.session("s")
            await session.checkpoint(0)
            with monkeypatch.context() as patch:

                def fail(*_):
                    raise InvalidArgument("on purpose")

                patch.setattr(store.sync, "note", fail)
                ref = await session.checkpoint(1)
            assert (await session.latest()).ref == ref  # looked for in the log

    run(work())


def test_a_reader_cannot_write(place, run):
    async def work():
        async with aio.open(place) as store:
            await store.session("s").checkpoint(1)
            async with aio.open(place, mode="r") as reader:
                assert (await reader.session("s").latest()).state == 1
                for call in (lambda s: s.checkpoint(2), lambda s: s.end(), lambda s: s.fork("f")):
                    with pytest.raises(ReadOnly):
                        await call(reader.session("s"))

    run(work())


# ---- several loops, and threads ---------------------------------------------------------------------------------------------


def test_loops_in_several_threads_and_plain_threads_share_one_store(place):
    LOOPS, THREADS, TOGETHER, EACH = 2, 3, 20, 15
    failures = []
    with aegis_store.open(place, config=SMALL) as store:
        tasks = aio.wrap(store)

        async def one(name: str) -> None:
            for n in range(EACH):
                session = tasks.session(name)
                ref = await session.checkpoint({"n": n, "noise": noise(500, n)})
                assert (await session.get(ref.ordinal)).state["n"] == n
                assert (await tasks.session("all").checkpoint([name, n])).session == "all"

        async def loop(number: int) -> None:
            await asyncio.wait_for(asyncio.gather(*(one(f"loop {number} {k}") for k in range(TOGETHER))), LONG)

        def thread(number: int) -> None:
            for n in range(EACH):
                store.session(f"thread {number}").checkpoint({"n": n})
                store.session("all").checkpoint([f"thread {number}", n])

        def guarded(work, number):
            try:
                work(number)
            except BaseException as error:
                failures.append(error)

        works = [(lambda n: asyncio.run(loop(n)), k) for k in range(LOOPS)] + [(thread, k) for k in range(THREADS)]
        threads = [threading.Thread(target=guarded, args=each) for each in works]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert failures == []
        names = [f"loop {k} {n}" for k in range(LOOPS) for n in range(TOGETHER)] + [f"thread {k}" for k in range(THREADS)]
        for name in names:
            assert [each["n"] for each in states(store, name)] == list(range(EACH))
        assert sorted(states(store, "all")) == sorted([name, n] for name in names for n in range(EACH))
    with aegis_store.open(place) as store:
        assert store.verify(deep=True).findings == ()
        assert len(states(store, "all")) == len(names) * EACH


def test_loops_come_and_go_and_leave_nothing_behind(place, monkeypatch):
    with aegis_store.open(place) as store:
        tasks = aio.wrap(store)
        asyncio.run(tasks.session("s").checkpoint(0))
        gc.collect()
        before = descriptors()
        for n in range(1, 20):
            asyncio.run(tasks.session("s").checkpoint(n))
        gc.collect()
        assert descriptors() == before
        assert states(store, "s") == list(range(20))
        found = store._lost
        assert found is store._found  # nothing was on its way: nothing has to be looked for


def test_what_was_on_its_way_when_its_loop_was_closed_is_looked_for(place):
    with aegis_store.open(place) as store:
        tasks = aio.wrap(store)
        asyncio.run(tasks.session("s").checkpoint(0))

        loop = asyncio.new_event_loop()
        task = loop.create_task(tasks.session("s").checkpoint(1, request_id="one"))
        waiting = loop.create_task(turns(3))
        while store.records.engine.stats(store.records.tier).appends < 4:  # key, session, 0, and this one
            loop.call_soon(loop.stop)
            loop.run_forever()
        # Closed under a task that waits; nobody cancels it, and it will never be heard of again.
        loop.close()
        task._log_destroy_pending = waiting._log_destroy_pending = False
        task.get_coro().close()
        waiting.get_coro().close()
        del loop, task, waiting
        gc.collect()
        assert states(store, "s") == [0, 1]
        assert asyncio.run(tasks.session("s").checkpoint(1, request_id="one")).ordinal == 1
        assert asyncio.run(tasks.session("s").checkpoint(2)).ordinal == 2


# ---- the end ----------------------------------------------------------------------------------------------------------------


def start(store: aio.Store, number: int) -> list[asyncio.Task]:
    return [asyncio.create_task(store.session(f"s{n}").checkpoint(n)) for n in range(number)]


@pytest.mark.parametrize("how", ["tasks", "thread", "loop"])
def test_a_store_that_is_closed_under_checkpoints_lets_them_land_or_refuses_them(place, run, how):
    async def work():
        for begun in (0, 1, 2, 3):
            store = await aio.open(place)
            await store.session("first").checkpoint(begun)
            under_way = start(store, 300)
            await turns(begun)
            if how == "tasks":
                await store.close()
            elif how == "thread":
                await asyncio.to_thread(store.sync.close)
            else:
                store.sync.close()
            ended = await asyncio.gather(*under_way, return_exceptions=True)
            refused = [each for each in ended if isinstance(each, Exception)]
            assert {type(each) for each in refused} <= {Closed}
            assert not (begun > 1 and refused)
            landed = [each for each in ended if isinstance(each, aegis_store.Ref)]
            assert len(landed) + len(refused) == 300
            with aegis_store.open(place) as again:
                for each in landed:
                    assert again.session(each.session).get(each.ordinal).ref == each
            with pytest.raises(Closed):
                await store.session("first").checkpoint("too late")
            await store.close()

    run(work())


def test_a_store_that_is_given_up_under_checkpoints_tells_them(place, run):
    async def work():
        store = await aio.open(place)
        await store.session("first").checkpoint(0)
        under_way = start(store, 20)
        await turns(1)  # queued; not asked for yet
        abandon(store.sync)
        told = await asyncio.gather(*under_way, return_exceptions=True)
        assert {type(each) for each in told} <= {OutcomeUnknown, aegis_store.Ref}

    run(work())


@pytest.mark.parametrize("queues", [True, False])
def test_a_thread_that_submits_while_the_store_is_closed_is_answered(place, run, monkeypatch, queues):
    """The loop has heard of the close before it hears of the record."""
    heard = threading.Event()
    look = Watcher.look

    def noticed(watcher):
        landed = look(watcher)
        if landed.closed:
            heard.set()
        return landed

    monkeypatch.setattr(Watcher, "look", noticed)

    async def work():
        store = await aio.open(place)
        await store.session("s").checkpoint(0)
        session, landing = store.sync.session("s"), store._landings.here()

        def submit():
            pending = session.submit(1)
            store.sync.close()
            assert heard.wait(LONG)
            if queues:
                return pending
            raise Closed("on purpose")

        landed = landing.submit_in_thread(submit, session.settle)
        if queues:
            assert (await landed).ref.ordinal == 1
        else:
            with pytest.raises(Closed, match="on purpose"):
                await landed
        assert landing.ended
        with aegis_store.open(place) as again:
            assert states(again, "s") == [0, 1]

    run(work())


def test_a_watch_that_ends_gives_its_descriptor_back_and_leaves_the_loop(place, run):
    async def work():
        before = descriptors()
        for _ in range(3):
            async with aio.open(place) as store:
                await store.session("s").checkpoint(1)
            await until(lambda: descriptors() == before)

    run(work())


def test_a_forked_child_is_refused_and_harms_nobody(place, run):
    async def work():
        async with aio.open(place) as store:
            session = store.session("s")
            ref = await session.checkpoint(0)
            on_its_way = asyncio.create_task(session.checkpoint(1))
            await turns(1)
            child = os.fork()
            if child == 0:
                status = 1
                try:
                    calls = [
                        lambda: session.checkpoint(2),
                        lambda: session.end(),
                        lambda: session.fork("f"),
                        lambda: session.latest(),
                        lambda: session.history().__anext__(),
                        lambda: store.stats(),
                        lambda: store.verify(),
                        lambda: store.head(),
                        lambda: store.inclusion(ref),
                    ]
                    refused = 0
                    for call in calls:
                        try:
                            await call()
                        except UsedAfterFork:
                            refused += 1
                    await store.close()
                    status = 0 if refused == len(calls) else 2
                finally:
                    os._exit(status)
            assert os.waitpid(child, 0)[1] == 0
            assert (await on_its_way).ordinal == 1
            assert (await session.checkpoint(2)).ordinal == 2

    run(work())


# ---- alone ------------------------------------------------------------------------------------------------------------------


def test_a_turn_that_queues_much_asks_in_between_and_any_turn_asks_at_its_end(place, run, monkeypatch):
    async def work():
        async with aio.open(place) as store:
            await store.session("s").checkpoint(0)
            landing = store._landings.here()
            asked = []
            request = Watcher.request
            monkeypatch.setattr(Watcher, "request", lambda self, *where: asked.append(where) or request(self, *where))
            for number in (1, REQUEST_RECORDS - 1, REQUEST_RECORDS, 3 * REQUEST_RECORDS + 1):
                asked.clear()
                waits = [landing.wait_for(LogIndex(0), lambda: None) for _ in range(number)]
                assert len(asked) == number // REQUEST_RECORDS
                await asyncio.gather(*waits)
                assert len(asked) == -(-number // REQUEST_RECORDS)
            monkeypatch.undo()

    run(work())


def test_waits_are_answered_in_the_order_of_their_records(place, run):
    async def work():
        async with aio.open(place) as store:
            engine, tier = store.sync.records.engine, store.sync.records.tier
            first = engine.append(tier, 200, b"e")
            for _ in range(9):
                engine.append(tier, 200, b"e")
            landing, order, numbers = store._landings.here(), [], count()
            shuffled = random.Random(1).sample(range(10), 10)
            await asyncio.gather(*(landing.wait_for(first + n, lambda n=n: order.append((n, next(numbers)))) for n in shuffled))
            assert order == [(n, n) for n in range(10)]
            await landing.all_landed()

    run(work())


def test_each_loop_has_one_landing(place):
    with aegis_store.open(place) as store:
        landings = Landings(store)

        async def work():
            here = landings.here()
            assert landings.here() is here and not here.ended
            return id(here)

        asyncio.run(work())
        gc.collect()
        asyncio.run(work())
        with pytest.raises(RuntimeError):
            landings.here()
