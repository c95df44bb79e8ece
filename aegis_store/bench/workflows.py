"""Durable workflows: all that were under way are resumed by a process that has just started, and transitions are made.

Beside it what a program has without such a store: one SQL row a checkpoint, with a chain of hashes, through SQLAlchemy's async
engine (`rivals.sql_workflows`). States of 1 kB that compress little. Ours are resumed with every check made: inclusion,
signature, commitment; the peer hashes the row again. Both open what they need within the time.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import resource
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import aegis_store
import aegis_store.aio
from aegis_store.aio.workflow import DurableWorkflowEngine as AsyncEngine
from aegis_store.bench.measure import Figure, Sample, Samples, Side, Wanted, figure, interleave, run_for
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals import postgres, sql_workflows
from aegis_store.bench.rivals.absent import Missing, noted
from aegis_store.bench.rivals.sql_workflows import POSTGRES, SQLITE, SqlWorkflows
from aegis_store.bench.tasks import run_tasks_for
from aegis_store.bench.workload import DURABLE, Run, Workload, rates_against
from aegis_store.workflow import DurableWorkflowEngine

COUNTS: Final = (100, 10_000)
COUNTS_QUICK: Final = (100, 500)
TASKS: Final = 100
#: Transitions of each workflow before it is resumed.
STEPS: Final = 2
RESUME_WANTED: Final = {10_000: Wanted(most=2)}
OURS: Final = "aegis"
STATE_BYTES: Final = 1000


class Job:
    """A workflow whose state is about a kilobyte."""

    def __init__(self, workflow_id: str, state: str, content: dict[str, Any]) -> None:
        self.workflow_id = workflow_id
        self.state = state
        self.content = content

    def to_dict(self) -> dict[str, Any]:
        return {"id": self.workflow_id, "state": self.state, "content": self.content}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Job:
        return cls(data["id"], data["state"], data["content"])


def jobs(count: int) -> Iterator[Job]:
    """The same in each run."""
    for number in range(count):
        source = random.Random(number)
        notes = [source.randbytes(20).hex() for _ in range(STATE_BYTES // 46)]
        yield Job(f"job-{number:05}", "new", {"notes": notes, "attempts": 0})


def run(how: Run) -> Outcome:
    counts = (how.records,) if how.records else COUNTS_QUICK if how.quick else COUNTS
    figures: list[Figure] = []
    samples: dict[str, Samples] = {}
    missing: list[Missing] = []
    with ExitStack() as stack:
        where: list[str] = []
        with noted(missing):
            how.place.chmod(0o711)  # the server is another user's, where this is root, and has to pass through
            where.append(stack.enter_context(postgres.server(place=how.place)))
        for count in counts:
            figures += _resumed(how, count, where, missing)
        samples["one after the other"], samples[f"{TASKS} tasks"] = _moved(how, where, missing)
    for title, found in samples.items():
        figures += rates_against(f"transitions, {title}", found, OURS, [SQLITE, POSTGRES])
    return Outcome(
        figures=figures,
        samples=samples,
        missing=missing,
        plain={
            "durability": f"{DURABLE}: a transition is on the disk before the next one of its workflow begins, for every side"
        },
    )


# ---- resuming ---------------------------------------------------------------------------------------------------------------


def _resumed(how: Run, count: int, where: list[str], missing: list[Missing]) -> list[Figure]:
    place = how.place / str(count)
    place.mkdir()
    how.say(f"building {count:,} workflows")
    build(place / "store", count)
    seconds: dict[str, list[float]] = {OURS: []}
    with ExitStack() as stack:
        peers: dict[str, SqlWorkflows] = {}
        for name, peer in _peers(stack, place, where, missing):
            peer.run(peer.fill((job.workflow_id, job.state, job.to_dict()) for job in jobs(count)))
            peers[name], seconds[name] = peer, []
        peak = 0.0
        for number in range(-1, how.rounds):
            how.say(f"resuming {count:,}: {max(0, number + 1)} of {how.rounds}")
            taken = {OURS: _resume_ours(place / "store", count)}
            for name, peer in peers.items():
                taken[name] = _resume_peer(peer, count)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            if number >= 0:
                for name, value in taken.items():
                    seconds[name].append(value)
    title = f"resume {count:,} workflows of 1 kB"
    alone = figure(
        title, ours=OURS, ours_values=seconds[OURS], unit="s", comparison="alone", durability="reads only",
        wanted=RESUME_WANTED.get(count, Wanted()), note=f"store opened, every check made; peak of the process {peak:.0f} MB",
    )  # fmt: skip
    against = [
        figure(
            title, ours=OURS, peer=name, ours_values=seconds[OURS], peer_values=seconds[name], unit="s", comparison="ratio",
            durability="reads only", note="the peer is connected, and checks a hash",
        )
        for name in peers
    ]  # fmt: skip
    return [alone, *against]


def build(place: Path, count: int) -> None:
    """A store of workflows that have each been moved; without syncs, and read as any other."""
    write = aegis_store.Durability.WRITE
    config = aegis_store.Config(durability=aegis_store.TierDurability(session=write, audit=write))
    with aegis_store.open(place, config=config) as store:
        engine = DurableWorkflowEngine(store)
        made = list(jobs(count))
        for job in made:
            engine.create(job, actor="bench")
        for step in range(STEPS):
            for job in made:
                job.content["attempts"] = step
                engine.transition(job, f"step {step}", actor="bench")


def _resume_ours(place: Path, count: int) -> float:
    began = perf_counter()
    with aegis_store.open(place) as store:
        found = DurableWorkflowEngine(store).resume_all_pending(Job)
        taken = perf_counter() - began
    _demand_all(len(found), count)
    return taken


def _resume_peer(peer: SqlWorkflows, count: int) -> float:
    began = perf_counter()
    found = [Job.from_dict(each) for each in peer.run(peer.resume(count))]
    taken = perf_counter() - began
    _demand_all(len(found), count)
    return taken


def _demand_all(found: int, count: int) -> None:
    if found != count:
        raise RuntimeError(f"{found} workflows were resumed, and there are {count}")


def _peers(stack: ExitStack, place: Path, where: list[str], missing: list[Missing]) -> Iterator[tuple[str, SqlWorkflows]]:
    with noted(missing):
        yield SQLITE, stack.enter_context(sql_workflows.on_sqlite(place / "rows.sqlite"))
    for each in where:
        with noted(missing):
            peer = stack.enter_context(sql_workflows.on_postgres(each))
            peer.run(peer.empty())
            yield POSTGRES, peer


# ---- moving -----------------------------------------------------------------------------------------------------------------


def _moved(how: Run, where: list[str], missing: list[Missing]) -> tuple[Samples, Samples]:
    """One workflow after the other, and many tasks at the same time."""
    place = how.place / "moving"
    place.mkdir()
    with ExitStack() as stack:
        store = stack.enter_context(aegis_store.open(place / "store"))
        engine = DurableWorkflowEngine(store)
        mine = list(jobs(TASKS))
        for job in mine:
            engine.create(job, actor="bench")
        states = itertools.cycle(["a", "b", "c"])
        turn = itertools.cycle(mine)
        alone = [Side(name=OURS, run=lambda: run_for(lambda: engine.transition(next(turn), next(states)), how.seconds))]
        together = [Side(name=OURS, run=lambda: asyncio.run(_in_tasks(store, how.seconds)))]
        for name, peer in _peers(stack, place, where, missing):
            peer.run(peer.fill((job.workflow_id, job.state, job.to_dict()) for job in mine))
            alone.append(Side(name=name, run=_alone(peer, mine, how.seconds)))
            together.append(Side(name=name, run=_together(peer, mine, how.seconds)))
        return interleave(alone, how.rounds, how.progress), interleave(together, how.rounds, how.progress)


async def _in_tasks(store: aegis_store.Store, seconds: float) -> Sample:
    engine = AsyncEngine(aegis_store.aio.wrap(store))
    # As who resumes them: the round before may have been another loop's.
    mine = await engine.resume_all_pending(Job)

    def moving(job: Job) -> Callable[[], Awaitable[object]]:
        states = itertools.cycle(["a", "b", "c"])
        return lambda: engine.transition(job, next(states))

    return await run_tasks_for([moving(job) for job in mine], seconds)


def _alone(peer: SqlWorkflows, mine: list[Job], seconds: float) -> Callable[[], Sample]:
    turn = itertools.cycle(mine)

    async def one() -> None:
        job = next(turn)
        await peer.transition(job.workflow_id, "a", job.to_dict(), "bench")

    return lambda: peer.run(run_tasks_for([one], seconds))


def _together(peer: SqlWorkflows, mine: list[Job], seconds: float) -> Callable[[], Sample]:
    def moving(job: Job) -> Callable[[], Awaitable[object]]:
        return lambda: peer.transition(job.workflow_id, "a", job.to_dict(), "bench")

    return lambda: peer.run(run_tasks_for([moving(job) for job in mine], seconds))


WORKLOAD: Final = Workload(name="workflows", promise="workflows are resumed after a crash, and moved", run=run)
