"""100 tasks of one event loop save checkpoints at the same time: whole ones, of 4 KiB that nothing can compress.

Ours by `aegis_store.aio`, whose tasks share syncs and take no thread. The peers are what a task can do with a store that only
knows threads: the same through `asyncio.to_thread`, for our own threaded face and for SQLite behind a lock.
"""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from importlib import import_module
from time import perf_counter_ns
from typing import Any, Final

import ormsgpack

import aegis_store
from aegis_store.bench.measure import Figure, Sample, Samples, cpu_seconds, interleave, sample_of
from aegis_store.bench.rivals.absent import Missing, NotHere
from aegis_store.bench.rivals.sqlite import SqliteLog
from aegis_store.bench.states import incompressible
from aegis_store.bench.workload import Field, Run, rates_against

TASKS: Final = 100
OURS, IN_THREADS = "aegis, tasks", "aegis by to_thread"
SQLITE: Final = "SQLite by to_thread, a lock"

#: One operation of a task.
Step = Callable[[], Awaitable[object]]


def measure(how: Run) -> tuple[list[Figure], Samples, list[Missing]]:
    """Ours beside the peers."""
    place = how.place / "tasks"
    place.mkdir()
    states = incompressible(TASKS)
    with ExitStack() as stack:
        field = Field(stack)

        def tasks() -> Callable[[], Sample]:
            wrap = _asynchronous().wrap
            store = stack.enter_context(aegis_store.open(place / "tasks"))

            async def run_round() -> Sample:
                wrapped = wrap(store)
                sessions = [wrapped.session(f"task-{number}") for number in range(TASKS)]
                return await run_tasks_for([_saving(*each) for each in zip(sessions, states, strict=True)], how.seconds)

            return lambda: asyncio.run(run_round())

        def threads() -> Callable[[], Sample]:
            store = stack.enter_context(aegis_store.open(place / "threads"))
            sessions = [store.session(f"task-{number}") for number in range(TASKS)]
            works = [_in_thread(session.checkpoint, state) for session, state in zip(sessions, states, strict=True)]
            return lambda: asyncio.run(run_tasks_for(works, how.seconds))

        def sqlite() -> Callable[[], Sample]:
            log = stack.enter_context(SqliteLog(place / "log.sqlite", 1))
            works = [_in_thread(log.locked_work(b"", ormsgpack.packb(state))) for state in states]
            return lambda: asyncio.run(run_tasks_for(works, how.seconds))

        field.add(OURS, tasks)
        field.add(IN_THREADS, threads)
        field.add(SQLITE, sqlite)
        samples = interleave(field.sides, how.rounds, how.progress)
    title = f"{TASKS} tasks, whole checkpoints"
    figures = rates_against(title, samples, OURS, [IN_THREADS, SQLITE], note="SQLite: the same bytes, a bare row")
    return figures, samples, field.missing


def _asynchronous() -> Any:
    try:
        return import_module("aegis_store.aio")
    except ImportError:
        raise NotHere(OURS, "this version of aegis-store has no aegis_store.aio") from None


def _saving(session: Any, state: object) -> Step:
    return lambda: session.checkpoint(state)


def _in_thread(work: Callable[..., object], *arguments: object) -> Step:
    return lambda: asyncio.to_thread(work, *arguments)


async def run_tasks_for(steps: Sequence[Step], seconds: float) -> Sample:
    """One task for each of `steps`, which it does again and again. As with threads, what ends after the time is not counted,
    unless it is a task's only one: then the round took as long."""
    taken: list[list[int]] = [[] for _ in steps]
    last = 0

    async def task(step: Step, mine: list[int]) -> None:
        nonlocal last
        before = perf_counter_ns()
        while not mine or before < end:  # once at least
            await step()
            after = perf_counter_ns()
            mine.append(after - before)
            before = after
        if before > end and len(mine) > 1:
            mine.pop()
        elif before > end:
            last = max(last, before)

    process = cpu_seconds(resource.RUSAGE_SELF)
    began = perf_counter_ns()
    end = began + int(seconds * 1e9)
    async with asyncio.TaskGroup() as group:
        for each in zip(steps, taken, strict=True):
            group.create_task(task(*each))
    cpu = cpu_seconds(resource.RUSAGE_SELF) - process
    return sample_of([each for mine in taken for each in mine], max(seconds, (last - began) / 1e9), cpu, None)
