"""What the demo does, in order.

    1  the agent works and is killed, several times; each time the store is opened again and held against what was acknowledged
    2  every checkpoint is read back and held against the same steps done without a store; everything is verified
    3  one byte of a copy is changed; the store must name it, and serve nothing wrong
    4  what it cost

Whatever does not hold raises BrokenPromise. Nothing is shown here: a Teller is told.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

import aegis_store
from aegis_store.checkpoint import Checkpoint
from aegis_store.cli.demo import checks, damage, lives, machine
from aegis_store.cli.demo.agent import AGENT, Acknowledged, Job
from aegis_store.cli.demo.facts import Cost, Damage, Outcome, Point, Run, Source
from aegis_store.cli.demo.tasks import Context, Expected, Plan, Reference, Task, fingerprint, step_of
from aegis_store.cli.figures import quantile
from aegis_store.config import KIB
from aegis_store.opening import KEYS_SUFFIX
from aegis_store.stats import disk_bytes
from aegis_store.types import Randomness, Tier
from aegis_store.verification import Result

#: So often the agent is killed.
KILLS: Final = 3
#: Small, so that even a short demo fills some segments and has them sealed.
SEGMENT_BYTES: Final = 256 * KIB

STORE: Final = "state"
DAMAGED: Final = "damaged"
LOG: Final = "agent.log"


class Teller:
    """Who is told what happens, as it happens. This one keeps it all to itself; as a context manager it ends with the story."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def begins(self, plan: Plan, tasks: list[Task]) -> None:
        """The agent is about to be started for the first time."""

    def works(self, at: Point, part: float) -> None:
        """A checkpoint was acknowledged. `part` of the work, or of its time, is done (0 to 1)."""

    def ran(self, run: Run) -> None:
        """A run of the agent is over, and what the store held then was as it must be."""

    def held(self, compared: int, sessions: int) -> None:
        """Every checkpoint was read back, and was what it must be."""

    def verified(self, result: Result, took_seconds: float) -> None:
        """The store was verified, deep, and nothing was found."""

    def damaged(self, damage: Damage) -> None:
        """A byte of a copy was changed, and the store has answered as it must."""

    def cost(self, cost: Cost) -> None:
        """What it all cost."""


class Story:
    """The demo, in a directory of its own, with a plan and a time to work in seconds."""

    def __init__(self, place: Path, plan: Plan, *, seconds: float, randomness: Randomness, teller: Teller) -> None:
        self._place = place
        self._store = place / STORE
        self._plan = plan
        self._seconds = seconds
        self._randomness = randomness
        self._teller = teller
        self._tasks = plan.tasks()
        self._references = [Reference(task) for task in self._tasks]
        self._steps = sum(task.steps for task in self._tasks)
        #: Per task: the last step that was acknowledged, and the last that the store was seen to hold.
        self._acknowledged = [0] * len(self._tasks)
        self._latest = [0] * len(self._tasks)
        self._events: list[Acknowledged] = []
        self._runs: list[Run] = []
        self._syncs = 0
        self._disk_us: list[float] = []

    def tell(self) -> Outcome:
        """From the first step to the bill. BrokenPromise: the store did not keep its word."""
        self._teller.begins(self._plan, self._tasks)
        self._work()
        points, result, took_seconds = self._look_back()
        damaged = self._damage(points)
        cost = self._count(points, took_seconds)
        self._teller.cost(cost)
        session = next(tier for tier in result.tiers if tier.tier is Tier.SESSION)
        return Outcome(
            runs=self._runs,
            steps_planned=self._steps,
            checkpoints_compared=len(points),
            records=session.records,
            root="" if session.root is None else session.root.hex(),
            signatures=session.signatures,
            damage=damaged,
            cost=cost,
        )

    def _point(self, task: int, step: int) -> Point:
        return Point(number=task + 1, session=self._tasks[task].session, step=step)

    # ---- 1: work, and be killed -------------------------------------------------------------------------------------------

    def _work(self) -> None:
        spare_seconds = self._seconds / (KILLS + 1)
        kill = lives.Kill(seconds=spare_seconds, steps=max(1, self._steps // (KILLS + 1)))
        for number in range(KILLS + 1):
            is_last = number == KILLS
            job = Job(
                store=str(self._store),
                segment_bytes=SEGMENT_BYTES,
                plan=self._plan,
                seconds=spare_seconds if is_last else None,
            )
            life = lives.live(
                job,
                kill=None if is_last else kill,
                log=self._place / LOG,
                randomness=self._randomness,
                watch=self._watcher(number),
            )
            # Right after the agent, and not before it: what a disk gives depends on what it had to do just now.
            self._disk_us += machine.sync_us(self._place)
            self._runs.append(self._judge(life))
            self._teller.ran(self._runs[-1])
            if life.finished is not None:
                return

    def _watcher(self, number: int) -> lives.Watcher:
        begin, done = time.perf_counter(), len(self._events)
        spare_seconds = self._seconds / (KILLS + 1)

        def watch(event: Acknowledged) -> None:
            nonlocal done
            done += 1
            by_time = (number + min(1.0, (time.perf_counter() - begin) / spare_seconds)) / (KILLS + 1)
            self._teller.works(self._point(event.task, event.step), max(by_time, done / self._steps))

        return watch

    def _judge(self, life: lives.Life) -> Run:
        """Hold a run of the agent, and the store after it, against what was acknowledged."""
        resumed = life.resumed
        if resumed is not None:
            unfinished = (number for number, task in enumerate(self._tasks) if self._latest[number] < task.steps)
            task = next(unfinished, resumed.task)
            checks.resumed_session(expected=self._tasks[task].session, found=self._tasks[resumed.task].session)
            checks.resumed(self._tasks[task].session, latest=self._latest[task], step=resumed.step)
        for event in life.acknowledged:
            session = self._tasks[event.task].session
            checks.follows(session, before=max(self._latest[event.task], self._acknowledged[event.task]), step=event.step)
            self._acknowledged[event.task] = event.step
        self._events += life.acknowledged
        self._syncs += max((event.syncs for event in life.acknowledged), default=0)
        last = life.acknowledged[-1] if life.acknowledged else None
        run = Run(
            resumed=None if resumed is None else self._point(resumed.task, resumed.step),
            acknowledged=len(life.acknowledged),
            last=None if last is None else self._point(last.task, last.step),
        )
        if life.heard is None:
            # What was stored without being acknowledged is not acknowledged later either.
            self._latest = [max(pair) for pair in zip(self._latest, self._acknowledged, strict=True)]
            return run
        return self._reopen(run, life)

    def _reopen(self, run: Run, life: lives.Life) -> Run:
        """Open the store that the killed agent has left: it must hold what was acknowledged."""
        assert life.heard is not None
        begin = time.perf_counter()
        with aegis_store.open(self._store, agent=AGENT) as store:
            reopened_seconds = time.perf_counter() - begin
            cut_bytes = sum(tier.cut_bytes for tier in store.report.tiers.values())
            # The session after the last one that was heard of may have begun.
            for task in range(min(len(self._tasks), life.acknowledged[-1].task + 2)):
                self._latest[task] = self._check_latest(task, store.session(self._tasks[task].session).latest())
        at = max(task for task, latest in enumerate(self._latest) if latest > 0)
        return msgspec.structs.replace(
            run,
            heard=self._point(life.heard.task, life.heard.step),
            killed_after_us=life.killed_after_us,
            latest=self._point(at, self._latest[at]),
            reopened_seconds=reopened_seconds,
            cut_bytes=cut_bytes,
        )

    def _check_latest(self, task: int, latest: Checkpoint | None) -> int:
        """The step of a session's latest checkpoint, which holds what it must."""
        step = 0 if latest is None else step_of(latest.position)
        checks.after_kill(self._tasks[task].session, acknowledged=self._acknowledged[task], latest=step)
        if latest is not None:
            self._check_content(task, latest)
        return step

    def _check_content(self, task: int, checkpoint: Checkpoint) -> Expected:
        step = step_of(checkpoint.position)
        expected = self._references[task].after(step)
        found = fingerprint(checkpoint.state, context_of(checkpoint))
        checks.same(self._tasks[task].session, step=step, expected=expected.digest, found=found.digest)
        return expected

    # ---- 2: read it all back ----------------------------------------------------------------------------------------------

    def _look_back(self) -> tuple[list[Saved], Result, float]:
        """Every checkpoint, compared; the store, verified; and the seconds that the latter took."""
        points: list[Saved] = []
        with aegis_store.open(self._store, mode="r") as store:
            for number, task in enumerate(self._tasks):
                # Newest first, one state in memory at a time.
                mine = [self._saved(number, checkpoint) for checkpoint in store.session(task.session).history()]
                mine.reverse()
                checks.all_there(task.session, steps=[each.step for each in mine], expected=self._latest[number])
                points += mine
            self._teller.held(len(points), len({point.task for point in points}))
            begin = time.perf_counter()
            result = store.verify(deep=True)
            took_seconds = time.perf_counter() - begin
        checks.nothing_found([finding.problem for finding in result.findings])
        self._teller.verified(result, took_seconds)
        return points, result, took_seconds

    def _saved(self, task: int, checkpoint: Checkpoint) -> Saved:
        state_bytes = self._check_content(task, checkpoint).state_bytes
        return Saved(task=task, step=step_of(checkpoint.position), index=checkpoint.ref.index, state_bytes=state_bytes)

    # ---- 3: damage --------------------------------------------------------------------------------------------------------

    def _damage(self, points: list[Saved]) -> Damage:
        """Change a byte of a copy, and hold against it what the store then says."""
        copy = self._place / DAMAGED
        for suffix in ("", KEYS_SUFFIX):
            shutil.copytree(self._place / (STORE + suffix), self._place / (DAMAGED + suffix))
        places = {point.index: place for place, point in enumerate(points)}
        flip = damage.flip(copy, places.__contains__)

        def look(place: int, checkpoint: Checkpoint) -> None:
            point = points[place]
            checks.same_step(self._tasks[point.task].session, expected=point.step, found=step_of(checkpoint.position))
            self._check_content(point.task, checkpoint)

        asked = [(self._tasks[point.task].session, point.index) for point in points]
        answer = damage.ask(copy, asked, damaged=flip.record, look=look)
        victim = places[flip.record]
        checks.damage_named(record=flip.record, findings=[index for index, _ in answer.findings])
        checks.damage_refused(record=flip.record, served=victim in answer.served)
        told = Damage(
            flip=flip,
            victim=self._point(points[victim].task, points[victim].step),
            opened=answer.opened,
            refusal=answer.refusal,
            findings=answer.findings,
            refused=[self._point(points[place].task, points[place].step) for place in answer.refused],
            served=len(answer.served),
        )
        self._teller.damaged(told)
        return told

    # ---- 4: what it cost --------------------------------------------------------------------------------------------------

    def _count(self, points: list[Saved], took_seconds: float) -> Cost:
        lengths = {frame.index: frame.length for file in damage.segments(self._store) for frame in damage.frames(file)}
        took_us: dict[str, list[float]] = {}
        for event in self._events:
            took_us.setdefault(self._tasks[event.task].source, []).append(event.took_us)
        sources = []
        for name in dict.fromkeys(task.source for task in self._tasks):
            tasks = [number for number, task in enumerate(self._tasks) if task.source == name and self._latest[number]]
            mine = [point for point in points if point.task in set(tasks)]
            sources.append(
                Source(
                    name=name,
                    sessions=len(tasks),
                    sessions_complete=sum(self._latest[number] == self._tasks[number].steps for number in tasks),
                    checkpoints=len(mine),
                    state_bytes=sum(point.state_bytes for point in mine),
                    frame_bytes=sum(lengths[point.index] for point in mine),
                    median_us=quantile(took_us.get(name, []), 0.5),
                )
            )
        everything = [event.took_us for event in self._events]
        return Cost(
            checkpoints=len(points),
            state_bytes=sum(point.state_bytes for point in points),
            disk_bytes=disk_bytes(self._store),
            median_us=quantile(everything, 0.5),
            p99_us=quantile(everything, 0.99),
            syncs=self._syncs,
            reopened_seconds=[run.reopened_seconds for run in self._runs if run.reopened_seconds is not None],
            verified_seconds=took_seconds,
            file_system=machine.file_system(self._place),
            processors=os.cpu_count() or 1,
            sync_median_us=quantile(self._disk_us, 0.5),
            sync_p99_us=quantile(self._disk_us, 0.99),
            sources=sources,
        )


class Saved(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A checkpoint that was read back: of which task and step, in which record, and the bytes of its state."""

    task: int
    step: int
    index: int
    state_bytes: int


def context_of(checkpoint: Checkpoint) -> Context:
    """What a checkpoint holds beside its state, as tasks say it."""
    return Context(
        position=checkpoint.position,
        claims=checkpoint.claims,
        approvals=checkpoint.approvals,
        last_tool_call=checkpoint.last_tool_call,
    )
