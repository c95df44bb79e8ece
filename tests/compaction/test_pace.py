"""When a compaction waits, and for whom. The clock is made up: it moves by what is slept, and when it is told to."""

from __future__ import annotations

import threading

import pytest

from aegis_store.compaction import pace as module
from aegis_store.compaction.pace import ASIDE, BETWEEN, STILL, Pace
from aegis_store.errors import Closed, InvalidArgument


class World:
    """A clock, and a log that grows."""

    def __init__(self, monkeypatch) -> None:
        self.now, self.size, self.slept = 100.0, 0, 0
        monkeypatch.setattr(module, "monotonic", lambda: self.now)
        monkeypatch.setattr(module, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        assert seconds == ASIDE
        self.now += seconds
        self.slept += 1

    def work(self, pace: Pace, seconds: float, *, grows: bool = False) -> int:
        """Steps of a tenth of what lies between two pauses; how often it stood aside."""
        before, end = self.slept, self.now + seconds
        while self.now < end:
            self.now += BETWEEN / 10
            self.size += grows
            pace.step()
        return self.slept - before


@pytest.fixture
def world(monkeypatch) -> World:
    return World(monkeypatch)


def test_it_stands_aside_again_and_again_while_somebody_appends(world):
    pace = Pace(lambda: world.size)
    assert world.work(pace, 1.0, grows=True) >= 0.8 / (BETWEEN + ASIDE)
    assert world.work(pace, 1.0, grows=True) <= 1.2 / BETWEEN


def test_where_nobody_appends_it_does_not_wait(world):
    pace = Pace(lambda: world.size)
    world.work(pace, 2 * STILL)
    assert world.work(pace, 1.0) == 0
    world.size += 1  # somebody comes back
    assert world.work(pace, STILL / 2) > 1
    world.work(pace, STILL)
    assert world.work(pace, 1.0) == 0


def test_who_waits_for_the_interpreter_appends_nothing_and_is_waited_for_all_the_same(world):
    pace = Pace(lambda: world.size)
    world.work(pace, 2 * STILL)
    world.size += 1
    assert world.work(pace, STILL * 0.9) >= 0.7 * STILL / (BETWEEN + ASIDE)


def test_a_stop_ends_it_at_the_next_piece_of_work():
    stop = threading.Event()
    pace = Pace(lambda: 0, stop=stop)
    pace.spend(10)
    stop.set()
    with pytest.raises(Closed, match="goes on from here"):
        pace.spend(0)


@pytest.mark.parametrize("bytes_a_second", [0, -1])
def test_a_pace_of_nothing_is_refused(bytes_a_second):
    with pytest.raises(InvalidArgument, match="no pace"):
        Pace(lambda: 0, bytes_a_second)


def test_bytes_that_came_too_early_are_waited_for(world):
    waited: list[float] = []

    class Stop(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            waited.append(timeout or 0.0)
            return False

    pace = Pace(lambda: 0, 1_000, Stop())
    pace.spend(2_500)
    world.now += 3.0
    pace.spend(100)
    assert waited == [2.5]
