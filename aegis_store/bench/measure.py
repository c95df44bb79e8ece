"""How a figure comes about: rounds in which every side takes its turn, paired by round, told as median, minimum and maximum.

A machine's speed changes by half within minutes, so a side is only ever compared with what another side did in the same round.
Nothing here knows what is measured.
"""

from __future__ import annotations

import resource
import statistics
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter_ns
from typing import Final, Literal, Self

import msgspec

Work = Callable[[], object]
#: Whether more of a unit is better (rates) or less (times, bytes).
Better = Literal["more", "less"]

MICRO: Final = 1e6
#: A signal that another thread was given is seen by the main one when it wakes up.
INTERRUPTIBLE_SECONDS: Final = 0.1


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Several measurements of one thing."""

    median: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        return cls(median=statistics.median(values), min=min(values), max=max(values))


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What one side did in one round. CPU time is of the whole process, and of the working thread where there is one."""

    operations: int
    seconds: float
    median_us: float
    p99_us: float
    cpu_us: float
    thread_cpu_us: float | None = None

    @property
    def rate(self) -> float:
        """Operations a second."""
        return self.operations / self.seconds


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who takes part: `run` does one round's work."""

    name: str
    run: Callable[[], Sample]


#: How a figure is told: ours to the peer's, or ours less the peer's, paired round by round; or ours alone.
Comparison = Literal["ratio", "over", "alone"]


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison: `compared` holds it, and is what `wanted` is about. Without a peer, it is ours."""

    title: str
    ours: str
    peer: str
    unit: str
    ours_value: Spread
    peer_value: Spread | None
    comparison: Comparison
    compared: Spread
    wanted: str
    met: bool | None
    rounds: int
    durability: str
    note: str = ""
    better: Better = "more"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a figure should be: at least, or at most, some number."""

    least: float | None = None
    most: float | None = None

    def met_by(self, value: float) -> bool | None:
        """None where nothing is wanted."""
        if self.least is None and self.most is None:
            return None
        return (self.least is None or value >= self.least) and (self.most is None or value <= self.most)

    def __str__(self) -> str:
        parts = [f">= {self.least:g}"] if self.least is not None else []
        return ", ".join([*parts, *([f"<= {self.most:g}"] if self.most is not None else [])])


NOTHING_WANTED: Final = Wanted()

Samples = Mapping[str, Sequence[Sample]]


def interleave(sides: Sequence[Side], rounds: int, seen: Callable[[int, str], object] | None = None) -> dict[str, list[Sample]]:
    """Every side's samples, round by round: A B C, A B C, … The round before the first does not count."""
    samples: dict[str, list[Sample]] = {side.name: [] for side in sides}
    for number in range(-1, rounds):
        for side in sides:
            if seen is not None:
                seen(number, side.name)
            sample = side.run()
            if number >= 0:
                samples[side.name].append(sample)
    return samples


def ratios(ours: Sequence[float], peer: Sequence[float]) -> list[float]:
    """Paired: the first with the first."""
    return [mine / theirs for mine, theirs in zip(ours, peer, strict=True)]


def differences(ours: Sequence[float], peer: Sequence[float]) -> list[float]:
    """Paired: the first with the first."""
    return [mine - theirs for mine, theirs in zip(ours, peer, strict=True)]


def figure(
    title: str,
    *,
    ours: str,
    peer: str = "",
    ours_values: Sequence[float],
    peer_values: Sequence[float] = (),
    unit: str,
    comparison: Comparison,
    durability: str,
    wanted: Wanted = NOTHING_WANTED,
    note: str = "",
    better: Better = "less",
) -> Figure:
    """A comparison from the values of each round."""
    match comparison:
        case "ratio":
            compared = Spread.of(ratios(ours_values, peer_values))
        case "over":
            compared = Spread.of(differences(ours_values, peer_values))
        case "alone":
            compared = Spread.of(ours_values)
    return Figure(
        title=title,
        ours=ours,
        peer=peer,
        unit=unit,
        ours_value=Spread.of(ours_values),
        peer_value=Spread.of(peer_values) if peer_values else None,
        comparison=comparison,
        compared=compared,
        wanted=str(wanted),
        met=wanted.met_by(compared.median),
        rounds=len(ours_values),
        durability=durability,
        note=note,
        better=better,
    )


def rate_figure(
    title: str, samples: Samples, ours: str, peer: str, durability: str, wanted: Wanted = NOTHING_WANTED, note: str = ""
) -> Figure:
    """Ours to the peer's operations a second."""
    return figure(
        title,
        ours=ours,
        peer=peer,
        ours_values=[sample.rate for sample in samples[ours]],
        peer_values=[sample.rate for sample in samples[peer]],
        unit="1/s",
        comparison="ratio",
        durability=durability,
        wanted=wanted,
        note=note,
        better="more",
    )


def field_figure(
    title: str,
    samples: Samples,
    ours: str,
    peer: str,
    field: str,
    durability: str,
    *,
    unit: str = "µs",
    comparison: Comparison = "ratio",
    wanted: Wanted = NOTHING_WANTED,
    note: str = "",
) -> Figure:
    """One field of the samples, such as `cpu_us`, of which less is better."""
    return figure(
        title,
        ours=ours,
        peer=peer,
        ours_values=[getattr(sample, field) for sample in samples[ours]],
        peer_values=[getattr(sample, field) for sample in samples[peer]],
        unit=unit,
        comparison=comparison,
        durability=durability,
        wanted=wanted,
        note=note,
    )


# ---- one round in this process ----------------------------------------------------------------------------------------------


def cpu_seconds(who: int) -> float:
    """User and system time (getrusage)."""
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value that `share` of the ordered values do not pass."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def run_for(work: Work, seconds: float) -> Sample:
    """Does `work` again and again in this thread, each one timed. The time ends with the last operation."""
    taken: list[int] = []
    note, now = taken.append, perf_counter_ns
    process, thread = cpu_seconds(resource.RUSAGE_SELF), cpu_seconds(resource.RUSAGE_THREAD)
    began = before = now()
    end = began + int(seconds * 1e9)
    while before < end:
        work()
        after = now()
        note(after - before)
        before = after
    return sample_of(
        taken,
        (before - began) / 1e9,
        cpu_seconds(resource.RUSAGE_SELF) - process,
        cpu_seconds(resource.RUSAGE_THREAD) - thread,
    )


def run_each(works: Iterable[Work]) -> Sample:
    """Does every one of `works` once, in this thread, each one timed.

    Taking the next one from the iterator does not count, neither as time nor as this thread's CPU time; what other threads of
    the process do meanwhile counts.
    """
    taken: list[int] = []
    note, now = taken.append, perf_counter_ns
    counted = 0.0
    process, thread = cpu_seconds(resource.RUSAGE_SELF), cpu_seconds(resource.RUSAGE_THREAD)
    for work in works:
        cpu, before = cpu_seconds(resource.RUSAGE_THREAD), now()
        work()
        note(now() - before)
        counted += cpu_seconds(resource.RUSAGE_THREAD) - cpu
    uncounted = cpu_seconds(resource.RUSAGE_THREAD) - thread - counted
    return sample_of(taken, sum(taken) / 1e9, cpu_seconds(resource.RUSAGE_SELF) - process - uncounted, counted)


def run_threads_for(works: Sequence[Work], seconds: float) -> Sample:
    """The same with one thread for each of `works`. What ends after the time is not counted: a thread that still sleeps then
    must not make the others look slow. A thread's only operation counts however late, and then the round took as long."""
    taken: list[list[int]] = [[] for _ in works]
    late: list[int] = []
    failures: list[BaseException] = []
    gate = threading.Barrier(len(works) + 1)
    limit = [0]

    # Not `join`: an interrupt in the middle of it makes CPython 3.11 take a thread that runs for one that has ended.
    ended = [threading.Event() for _ in works]

    def worker(work: Work, mine: list[int], end: threading.Event) -> None:
        try:
            gate.wait()
            before = perf_counter_ns()
            while not mine or before < limit[0]:  # once at least, however late the thread was let in
                work()
                after = perf_counter_ns()
                mine.append(after - before)
                before = after
            if before > limit[0] and len(mine) > 1:
                mine.pop()
            elif before > limit[0]:
                late.append(before)
        except BaseException as error:
            failures.append(error)
        finally:
            end.set()

    threads = [threading.Thread(target=worker, args=each) for each in zip(works, taken, ended, strict=True)]
    try:
        for thread in threads:
            thread.start()
        process = cpu_seconds(resource.RUSAGE_SELF)
        limit[0] = perf_counter_ns() + int(seconds * 1e9)
        gate.wait()
        for each in ended:
            while not each.wait(INTERRUPTIBLE_SECONDS):
                pass
    except BaseException:
        # Ctrl-C: what they work on is about to be closed and removed, so none of them may still be at it.
        limit[0] = 0
        gate.abort()
        raise
    finally:
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    if failures:
        raise failures[0]
    cpu = cpu_seconds(resource.RUSAGE_SELF) - process
    over = max((end - limit[0] for end in late), default=0) / 1e9
    return sample_of([each for mine in taken for each in mine], seconds + over, cpu, None)


def sample_of(taken_ns: list[int], seconds: float, cpu: float, thread_cpu: float | None) -> Sample:
    """A round's sample from the time of each operation, and the CPU seconds of all of them."""
    ordered = sorted(taken_ns)
    count = len(ordered)
    return Sample(
        operations=count,
        seconds=seconds,
        median_us=statistics.median(ordered) / 1e3,
        p99_us=percentile(ordered, 0.99) / 1e3,
        cpu_us=cpu / count * MICRO,
        thread_cpu_us=None if thread_cpu is None else thread_cpu / count * MICRO,
    )
