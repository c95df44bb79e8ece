"""A fork in the middle of anything: the child is refused clearly and harms nothing, however it ends, and its parent goes on.

What each call says in a child is in test_beside.py; here is what a fork may fall into, and how a child may end.
"""

from __future__ import annotations

import asyncio
import fcntl
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

import pytest

import aegis_store
from aegis_store import Tier, aio
from aegis_store._engine import Verdict
from aegis_store.errors import Locked, UsedAfterFork
from tests.stores import SMALL, frames, noise, segments, states

CHILD_SECONDS = 60


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def clean(place) -> None:
    """Nobody's fork has left a trace: closed in order, whole, and free for the next writer."""
    with aegis_store.open(place) as store:
        assert store.report.tiers[Tier.SESSION].verdict == Verdict.CLEAN
        assert store.verify(deep=True).findings == ()


def refused(use) -> bool:
    try:
        use()
    except UsedAfterFork:
        return True
    return False


def forked(work) -> int:
    """The exit code of a forked child that runs `work`."""
    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_SECONDS)
        os._exit(work())
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("durability", ["commit", "write"])
def test_forks_among_threads_that_commit_seal_and_rotate(place, durability):
    config = aegis_store.Config(segment_bytes=64 << 10, durability=aegis_store.TierDurability(session=durability))
    with aegis_store.open(place, config=config) as store:
        done = threading.Event()
        saved: dict[str, int] = {}

        def write(name: str) -> None:
            session = store.session(name)
            while not done.is_set() and saved.get(name, 0) < 100:
                session.checkpoint(noise(2000, saved.get(name, 0)), request_id=f"{saved.get(name, 0)}")
                saved[name] = saved.get(name, 0) + 1

        def child() -> int:
            session = store.session
            ok = refused(lambda: session("s0").checkpoint("mine")) and refused(store.head)
            store.close()
            gc.collect()
            return 0 if ok else 1

        threads = [threading.Thread(target=write, args=(f"s{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        assert [forked(child) for _ in range(15)] == [0] * 15
        done.set()
        for thread in threads:
            thread.join()
        for name, count in saved.items():
            assert states(store, name) == [noise(2000, number) for number in range(count)]
        with pytest.raises(Locked):
            aegis_store.open(place)
    clean(place)


def test_a_fork_in_the_middle_of_a_loop(place):
    """The child has the loop's tasks, its descriptor and a store in the middle of a flight; none does anything there."""

    async def work() -> None:
        async with aio.open(place, config=SMALL) as store:
            session = store.session("s")
            await session.checkpoint("first")
            sync = store.sync
            for turn in range(10):
                tasks = [asyncio.ensure_future(session.checkpoint([turn, n], request_id=f"{turn} {n}")) for n in range(20)]
                for _ in range(turn % 4):
                    await asyncio.sleep(0)

                def child(tasks=tasks) -> int:
                    ok = refused(lambda: sync.session("s").latest()) and refused(lambda: sync.records.engine.size(Tier.SESSION))
                    for task in tasks:
                        task.cancel()
                    sync.close()
                    return 0 if ok else 1

                assert forked(child) == 0
                assert len({ref.index for ref in await asyncio.gather(*tasks)}) == 20
            await session.end()

    asyncio.run(asyncio.wait_for(work(), CHILD_SECONDS))
    with aegis_store.open(place) as store:
        assert [state for state in states(store, "s") if state != "first"] == [[t, n] for t in range(10) for n in range(20)]
    clean(place)


def ask_in_child(say) -> None:
    """For multiprocessing: what the store that was open at the fork says, by the name of its error."""
    store = OPEN[0]
    for use in (lambda: store.session("s").checkpoint("mine"), store.close, lambda: store.session("s")):
        try:
            use()
            say.send("done")
        except Exception as error:
            say.send(type(error).__name__)


OPEN: list[aegis_store.Store] = []


def test_a_child_of_multiprocessing_is_refused_and_ends_as_they_do(place):
    """Such a child runs finalizers of its own, and leaves by os._exit."""
    context = multiprocessing.get_context("fork")
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(0)
        OPEN[:] = [store]
        try:
            for number in range(1, 4):
                hear, say = context.Pipe(duplex=False)
                child = context.Process(target=ask_in_child, args=(say,))
                child.start()
                assert [hear.recv() for _ in range(3)] == ["UsedAfterFork", "done", "UsedAfterFork"]
                child.join(CHILD_SECONDS)
                assert child.exitcode == 0
                store.session("s").checkpoint(number)
        finally:
            OPEN.clear()
        assert states(store, "s") == [0, 1, 2, 3]
    clean(place)


ENDS = {
    "leaves at once": "os._exit(0)",
    "ends in order": "sys.exit(0)",
    "ends in order, having let go of it": "del store, session; gc.collect(); sys.exit(0)",
    "ends by an error": "raise SystemExit(0) from KeyError('mine')",
    "becomes another program": "os.execv(sys.executable, [sys.executable, '-c', 'pass'])",
}

#: A parent that has queued a record that nobody has committed, whose child ends in some way, and which goes on then.
PROGRAM = """
import atexit, gc, os, sys, warnings
import aegis_store
warnings.simplefilter("error")
store = aegis_store.open(sys.argv[1])
session = store.session("s")
session.checkpoint("before")
pending = session.submit("queued before the fork")
child = os.fork()
if child == 0:
    atexit.register(lambda: None)
    {end}
status = os.waitpid(child, 0)[1]
assert status == 0, status
session.land(pending.ref.index)
session.checkpoint("after")
store.close()
"""


@pytest.mark.parametrize("end", ENDS)
def test_however_a_child_ends_its_parents_records_are_its_parents(place, end):
    ended = subprocess.run(
        [sys.executable, "-P", "-c", PROGRAM.format(end=ENDS[end]), str(place)],
        capture_output=True,
        text=True,
        timeout=CHILD_SECONDS,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    with aegis_store.open(place) as store:
        assert states(store, "s") == ["before", "queued before the fork", "after"]
    clean(place)


@pytest.mark.parametrize("mode", ["a", "r"])
def test_a_close_frees_the_lock_though_a_child_has_not_come_to_closing_its_copy(place, mode):
    """Between fork() and the child's first step, or its exec(), there are two descriptors of one lock."""
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(1)
    store = aegis_store.open(place, mode=mode)
    lock = str(place / "LOCK")
    copies = [os.dup(int(fd)) for fd in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{fd}") == lock]
    assert copies
    store.close()
    with open(lock, "rb+") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 2)  # the writer's byte and the readers'
    with aegis_store.open(place):
        pass
    for copy in copies:
        os.close(copy)


@pytest.mark.parametrize("end", [lambda: os._exit(0), lambda: os.kill(os.getpid(), signal.SIGKILL)], ids=["exit", "kill"])
def test_an_end_of_a_child_changes_no_file_and_frees_no_lock(place, end):
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(1)
        pending = store.session("s").submit(2)
        segment = segments(place)[0]
        written = frames(segment)
        child = os.fork()
        if child == 0:
            end()
        os.waitpid(child, 0)
        assert frames(segment) == written  # what is queued is the parent's to write
        with pytest.raises(Locked):
            aegis_store.open(place)
        store.session("s").land(pending.ref.index)
        assert states(store, "s") == [1, 2]
    clean(place)
