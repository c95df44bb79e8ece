"""Threads, forks, interrupts, and the end: an engine can always be closed, and nobody uses it after that."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import get_ident

import pytest

from aegis_store import errors
from aegis_store._engine import Engine, Gap, Verdict, compact_segment
from aegis_store.types import Tier

#: Every way to use an engine that is open.
CALLS: dict[str, Callable] = {
    "append": lambda engine: engine.append(Tier.SESSION, 1, b"e"),
    "commit": lambda engine: engine.commit(Tier.SESSION, 0),
    "size": lambda engine: engine.size(Tier.SESSION),
    "read": lambda engine: engine.read(Tier.SESSION, 0),
    "read_range": lambda engine: engine.read_range(Tier.SESSION, 0, 1),
    "scan": lambda engine: next(engine.scan(Tier.SESSION)),
    "head": lambda engine: engine.head(Tier.SESSION),
    "inclusion": lambda engine: engine.inclusion(Tier.SESSION, 0),
    "consistency": lambda engine: engine.consistency(Tier.SESSION, 0),
    "segments": lambda engine: next(engine.segments(Tier.SESSION)),
    "sign_segment": lambda engine: engine.sign_segment(Tier.SESSION, 0, bytes(64), segment=0),
    "rotate": lambda engine: engine.rotate(Tier.SESSION),
    "seal": lambda engine: engine.seal(Tier.SESSION),
    "set_swept": lambda engine: engine.set_swept(Tier.SESSION, 0),
    "compact_segment": lambda engine: compact_segment(engine, Tier.SESSION, 0, [Gap(0, 1)]),
    "verify": lambda engine: engine.verify(Tier.SESSION),
    "stats": lambda engine: engine.stats(Tier.SESSION),
    "describe": lambda engine: engine.describe(),
    "refresh": lambda engine: engine.refresh(),
    "run_background": lambda engine: engine.run_background(),
}


def in_child(work: Callable[[], object]) -> str:
    """What `work` returns, or raises, in a forked child; the child is gone before anything else happens in it."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, repr(work()).encode())
        except BaseException as error:
            os.write(writing, type(error).__name__.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read().decode()
    assert os.waitpid(child, 0)[1] == 0
    return answer


# ---- closing


@pytest.mark.parametrize("end", ["close", "abandon"])
@pytest.mark.parametrize("call", CALLS)
def test_nothing_works_after_the_end(opened, fill, end, call):
    engine = opened()
    fill(engine, Tier.SESSION, 1)
    getattr(engine, end)()
    assert engine.closed
    with pytest.raises(errors.Closed) as caught:
        CALLS[call](engine)
    assert caught.value.path == engine.path


def test_closing_again_does_nothing(opened):
    engine = opened()
    for _ in range(3):
        engine.close()
    engine.abandon()


def test_a_with_block_closes(opened, fill):
    with opened() as engine:
        fill(engine, Tier.SESSION, 1)
    with pytest.raises(ZeroDivisionError), opened() as engine:
        assert engine.report.tiers[Tier.SESSION].verdict == Verdict.CLEAN
        raise ZeroDivisionError
    assert engine.closed


def test_what_was_read_outlives_the_engine(opened, fill):
    engine = opened()
    written = fill(engine, Tier.SESSION, 3)
    record = engine.read(Tier.SESSION, 1)
    scan = engine.scan(Tier.SESSION)
    assert next(scan).index == 0
    engine.close()
    assert (record.entry, record.payload) == written[1]


def test_a_scan_that_was_left_standing_does_not_hold_up_a_close(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 600)
    scan = engine.scan(Tier.SESSION)
    next(scan)
    engine.close()
    with pytest.raises(errors.Closed):
        list(scan)


def test_an_engine_that_was_forgotten_is_closed_with_a_warning(opened, place):
    engine = Engine.open(place, secret=bytes(range(32)), store_id=b"sixteen byte ids")
    engine.commit(Tier.SESSION, engine.append(Tier.SESSION, 1, b"e"))
    with pytest.warns(ResourceWarning, match="was not closed"):
        del engine
        gc.collect()
    assert opened().report.tiers[Tier.SESSION].verdict == Verdict.CLEAN


@pytest.mark.parametrize("where", ["engine", "sys.keep"])
def test_the_end_of_the_interpreter_closes_in_silence(opened, place, where):
    opened().close()
    code = f"""
import sys
from aegis_store._engine import Engine
from aegis_store.types import Tier
{where} = Engine.open({str(place)!r}, secret=bytes(range(32)))
{where}.commit(Tier.SESSION, {where}.append(Tier.SESSION, 1, b"entry"))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert done.stderr == b""
    assert opened().read(Tier.SESSION, 0).entry == b"entry"


# ---- threads


def test_threads_share_an_engine(opened):
    engine = opened()

    def work(number: int) -> dict[int, bytes]:
        mine = {}
        for turn in range(50):
            entry = b"%d/%d" % (number, turn)
            index = engine.append(Tier.SESSION, 1, entry, entry * 10)
            engine.commit(Tier.SESSION, index)
            mine[index] = entry
            assert engine.read(Tier.SESSION, index).payload == entry * 10
        return mine

    with ThreadPoolExecutor(8) as pool:
        shares = list(pool.map(work, range(8)))
    written = {index: entry for share in shares for index, entry in share.items()}
    assert sorted(written) == list(range(400))
    assert [record.entry for record in engine.scan(Tier.SESSION)] == [written[index] for index in range(400)]
    assert engine.stats(Tier.SESSION).groups <= 400


def test_a_close_among_busy_threads_loses_nothing_that_was_acknowledged(opened):
    for _ in range(5):
        engine = opened()
        busy = threading.Barrier(7)
        acknowledged: list[tuple[int, bytes]] = []

        def work(number: int, engine=engine, busy=busy, acknowledged=acknowledged) -> None:
            busy.wait()
            for turn in range(10_000):
                entry = b"%d/%d" % (number, turn)
                try:
                    index = engine.append(Tier.SESSION, 1, entry)
                    engine.commit(Tier.SESSION, index)
                except errors.Closed:
                    return
                acknowledged.append((index, entry))

        with ThreadPoolExecutor(6) as pool:
            done = [pool.submit(work, number) for number in range(6)]
            busy.wait()
            while not acknowledged:
                time.sleep(0.001)
            engine.close()
            for one in done:
                one.result()
        again = opened()
        assert again.report.tiers[Tier.SESSION].verdict == Verdict.CLEAN
        for index, entry in acknowledged:
            assert again.read(Tier.SESSION, index).entry == entry
        again.close()


def test_a_close_waits_for_a_verification_and_ends_it(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 3000, payload_bytes=4000)
    begun, go_on = threading.Event(), threading.Event()

    def watch(progress: object) -> None:
        begun.set()
        go_on.wait()

    with ThreadPoolExecutor(2) as pool:
        verifying = pool.submit(engine.verify, Tier.SESSION, watch)
        begun.wait()
        closing = pool.submit(engine.close)
        while not engine.closed:
            time.sleep(0.001)
        assert not closing.done()
        go_on.set()
        closing.result()
        with pytest.raises(errors.Closed):
            verifying.result()


def test_a_watcher_that_closes_is_told_so_and_not_left_waiting(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 1)
    with pytest.raises(errors.InvalidArgument, match="verification"):
        engine.verify(Tier.SESSION, lambda progress: engine.close())
    assert engine.verify(Tier.SESSION, lambda progress: engine.read(Tier.SESSION, 0)).done


# ---- interrupts


def test_a_call_that_an_interrupt_left_half_counted_does_not_hold_up_a_close(opened):
    engine = opened()
    engine._calls[object()] = get_ident()
    engine.close()
    assert engine.closed


def test_a_signal_handler_may_use_the_engine_in_the_middle_of_a_read(opened, fill):
    engine = opened()
    written = fill(engine, Tier.SESSION, 64, payload_bytes=4000)
    handled = 0

    def handler(*_: object) -> None:
        nonlocal handled
        handled += 1
        index = handled % 64
        assert engine.read(Tier.SESSION, index).payload == written[index][1]
        engine.append(Tier.AUDIT, 1, b"from the handler")

    before = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        for turn in range(20_000):
            index = turn % 64
            assert engine.read(Tier.SESSION, index).payload == written[index][1]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled > 10


def test_keyboard_interrupts_anywhere_leave_an_engine_that_closes(opened):
    engine = opened()
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    interrupted = 0
    try:
        for _ in range(200):
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0002)
                while True:
                    engine.append(Tier.SESSION, 1, b"e")
                    engine.size(Tier.SESSION)
            except KeyboardInterrupt:
                interrupted += 1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert interrupted == 200
    engine.close()
    assert opened().report.tiers[Tier.SESSION].verdict == Verdict.CLEAN


# ---- forks


@pytest.mark.parametrize("call", CALLS)
def test_a_forked_child_cannot_use_its_parents_engine(opened, fill, call):
    engine = opened()
    fill(engine, Tier.SESSION, 1)
    assert in_child(lambda: CALLS[call](engine)) == "UsedAfterFork"


@pytest.mark.parametrize("end", ["close", "abandon"])
def test_an_end_in_a_forked_child_touches_nothing(opened, fill, place, end):
    engine = opened()
    written = fill(engine, Tier.SESSION, 3)
    pending = engine.append(Tier.SESSION, 1, b"pending in the parent")
    before = {path: path.read_bytes() for path in place.rglob("*.seg")}
    assert in_child(getattr(engine, end)) == "None"
    assert {path: path.read_bytes() for path in before} == before
    with pytest.raises(errors.Locked):
        opened()
    engine.commit(Tier.SESSION, pending)
    engine.close()
    assert [record.entry for record in opened().scan(Tier.SESSION)] == [
        *(entry for entry, _ in written),
        b"pending in the parent",
    ]


def test_a_child_may_read_with_an_engine_of_its_own(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 3)

    def read() -> int:
        with opened(mode="r") as own:
            return own.read(Tier.SESSION, 2).index

    assert in_child(read) == "2"


def test_a_fork_in_the_middle_of_commits_holds_nobody_up(opened):
    engine = opened()
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            engine.commit(Tier.SESSION, engine.append(Tier.SESSION, 1, b"e"))

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(work) for _ in range(4)]
        for _ in range(20):
            assert in_child(engine.close) == "None"
        stop.set()
        for one in done:
            one.result()
    engine.close()
    assert opened().report.tiers[Tier.SESSION].verdict == Verdict.CLEAN
