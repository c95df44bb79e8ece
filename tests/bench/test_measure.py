from __future__ import annotations

import os
import signal
import threading

import pytest

from aegis_store.bench.measure import (
    Sample,
    Side,
    Spread,
    Wanted,
    differences,
    figure,
    interleave,
    percentile,
    rate_figure,
    ratios,
    run_each,
    run_for,
    run_threads_for,
)
from tests.bench.facts import sample


def test_every_side_has_its_turn_in_every_round_and_the_one_before_does_not_count():
    turns: list[str] = []

    def side(name: str) -> Side:
        def run() -> Sample:
            turns.append(name)
            return sample(len(turns))

        return Side(name=name, run=run)

    samples = interleave([side("a"), side("b")], 3)
    assert turns == ["a", "b"] * 4
    assert [each.operations for each in samples["a"]] == [3, 5, 7]
    assert [each.operations for each in samples["b"]] == [4, 6, 8]


def test_a_ratio_is_paired_by_round_and_then_the_median_is_taken():
    # The machine was ten times slower in the last round: the pairs do not mind.
    samples = {"ours": [sample(300), sample(200), sample(20)], "peer": [sample(100), sample(100), sample(10)]}
    found = rate_figure("t", samples, "ours", "peer", "commit", Wanted(least=2))
    assert found.compared == Spread(median=2, min=2, max=3)
    assert found.ours_value == Spread(median=200, min=20, max=300)
    assert found.rounds == 3
    assert found.met is True


def test_a_difference_is_paired_too():
    found = figure(
        "t", ours="o", peer="p", ours_values=[5.0, 70.0, 9.0], peer_values=[1.0, 60.0, 2.0], unit="µs", comparison="over",
        durability="commit", wanted=Wanted(most=6),
    )  # fmt: skip
    assert found.compared == Spread(median=7, min=4, max=10)
    assert found.met is False


def test_a_figure_without_a_peer_is_what_is_wanted_itself():
    found = figure(
        "open",
        ours="o",
        ours_values=[40.0, 60.0, 45.0],
        unit="ms",
        comparison="alone",
        durability="reads",
        wanted=Wanted(most=50),
    )  # fmt: skip
    assert (found.compared, found.peer_value, found.met) == (Spread(median=45, min=40, max=60), None, True)


def test_rounds_that_do_not_pair_are_refused():
    for compare in (ratios, differences):
        with pytest.raises(ValueError, match="shorter"):
            compare([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("wanted", "value", "met"),
    [
        (Wanted(), 1, None),
        (Wanted(least=2), 2, True),
        (Wanted(least=2), 1.9, False),
        (Wanted(most=2), 2, True),
        (Wanted(most=2), 2.1, False),
    ],
)
def test_what_is_wanted_includes_the_bound(wanted, value, met):
    assert wanted.met_by(value) is met


def test_percentiles_stay_within_the_values():
    assert percentile([1, 2, 3], 0.99) == 3
    assert percentile([1], 0.99) == 1
    assert percentile(list(range(1000)), 0.99) == 990


def test_work_is_counted_in_one_thread_and_in_many():
    done: list[int] = []
    alone = run_for(lambda: done.append(1), 0.01)
    assert alone.operations == len(done) > 0
    assert alone.thread_cpu_us is not None
    together = run_threads_for([lambda: None] * 3, 0.01)
    assert together.operations >= 3
    assert together.rate <= together.operations / 0.01


def test_a_thread_that_does_nothing_in_time_counts_once_and_so_does_its_time():
    gate = threading.Event()
    found = run_threads_for([lambda: gate.wait(0.05)], 0.01)
    assert found.operations == 1
    assert found.seconds >= 0.05


def test_a_failure_in_a_thread_is_the_rounds():
    def fail() -> None:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        run_threads_for([lambda: None, fail], 0.01)


def test_each_work_is_done_once_and_what_lies_between_does_not_count():
    done: list[int] = []

    def works():
        for number in range(3):
            sum(range(2_000_000))  # preparing the next one: many times what the work itself takes
            yield lambda number=number: done.append(number)

    found = run_each(works())
    assert done == [0, 1, 2]
    assert found.operations == 3
    assert found.thread_cpu_us is not None and found.thread_cpu_us < 5_000
    assert found.cpu_us < 5_000


def test_an_interrupt_ends_the_round_and_leaves_no_thread_at_work():
    sent: list[int] = []

    def interrupt() -> None:
        if not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run_threads_for([interrupt, lambda: None], 60)
    assert threading.active_count() == before
