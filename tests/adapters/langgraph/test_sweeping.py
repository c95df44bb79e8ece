"""A thread that sweeps until it is stopped."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import CancelledError

import pytest

pytest.importorskip("langgraph.store.base", exc_type=ImportError)

from aegis_store.adapters.langgraph.sweeping import Sweeper
from aegis_store.errors import Closed, NoSpace, ReadOnly

#: Beyond anything that a test waits for.
LONG = 60
SOON = 0.001


class Swept:
    """Something that says when it was swept, and raises what it is told."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.count = 0
        self.told = threading.Condition()

    def sweep_ttl(self) -> int:
        with self.told:
            self.count += 1
            self.told.notify_all()
            if self.errors:
                raise self.errors.pop(0)
            return 0

    def wait_for(self, count: int) -> None:
        with self.told:
            assert self.told.wait_for(lambda: self.count >= count, LONG)


def test_it_sweeps_again_and_again_until_it_is_stopped():
    swept = Swept()
    sweeper = Sweeper(swept)
    ended = sweeper.start(SOON)
    swept.wait_for(3)
    assert not ended.done()
    assert sweeper.stop(LONG)
    assert ended.result(LONG) is None
    after = swept.count
    assert sweeper.stop() and swept.count == after
    again = sweeper.start(SOON)
    swept.wait_for(after + 1)
    assert again is not ended and sweeper.stop()


def test_one_that_runs_goes_on_as_it_was_started():
    swept = Swept()
    sweeper = Sweeper(swept)
    ended = sweeper.start(LONG * LONG)
    assert sweeper.start(SOON) is ended
    assert sweeper.stop() and swept.count == 0


def test_what_was_never_started_is_stopped():
    assert Sweeper(Swept()).stop()


def test_cancelling_what_start_returned_stops_it():
    swept = Swept()
    sweeper = Sweeper(swept)
    ended = sweeper.start(LONG * LONG)
    assert ended.cancel()
    with pytest.raises(CancelledError):
        ended.result(0)
    again = sweeper.start(SOON)  # another one, for nobody has stopped the first but the cancelling
    assert again is not ended
    swept.wait_for(1)
    assert sweeper.stop()


def test_a_stop_waits_for_a_sweep_that_is_going_on_as_long_as_it_is_told():
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def sweep_ttl(self) -> int:
            begun.set()
            assert go_on.wait(LONG)
            return 1

    slow = Slow()
    sweeper = Sweeper(slow)
    sweeper.start(SOON)
    assert begun.wait(LONG)
    assert not sweeper.stop(0)
    go_on.set()
    assert sweeper.stop()


def test_a_sweep_that_fails_is_logged_and_tried_again(caplog):
    swept = Swept(NoSpace("the disk is full"))
    sweeper = Sweeper(swept)
    ended = sweeper.start(SOON)
    swept.wait_for(2)
    assert sweeper.stop() and ended.result(LONG) is None
    assert "the disk is full" in caplog.text


def test_it_ends_with_the_store():
    ended = Sweeper(swept := Swept(Closed("the store was closed"))).start(SOON)
    assert ended.result(LONG) is None
    assert swept.count == 1


@pytest.mark.parametrize("error", [ReadOnly("opened for reading"), RuntimeError("a fault")])
def test_what_no_later_sweep_can_mend_is_said_to_whoever_started_it(error):
    swept = Swept(error)
    assert Sweeper(swept).start(SOON).exception(LONG) is error
    assert swept.count == 1


def test_what_is_forgotten_is_swept_no_more():
    swept = Swept()
    ended = Sweeper(swept).start(LONG * LONG)
    del swept
    gc.collect()
    assert ended.result(LONG) is None
