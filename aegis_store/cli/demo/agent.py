"""The agent: the process that the demo starts, kills and starts again.

    python -m aegis_store.cli.demo.agent < job.json

It opens the store, asks each session for its latest checkpoint, goes on at the step after it, and tells on stdout, a JSON line
at a time, where it resumes and what was acknowledged. A line about a checkpoint is written after `checkpoint()` has returned,
never before. When nobody listens any more, it ends.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

import aegis_store
from aegis_store.cli.demo.tasks import Plan, step_of
from aegis_store.config import Config
from aegis_store.store import Store

AGENT: Final = "reader"


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent is to do: the store, its size of segments in bytes, the plan; and to stop after `seconds`, if given."""

    store: str
    segment_bytes: int
    plan: Plan
    seconds: float | None = None


class Resumed(msgspec.Struct, frozen=True, kw_only=True, tag="resumed"):
    """The agent starts with this step of this task, numbered from 0 in the plan."""

    task: int
    step: int


class Acknowledged(msgspec.Struct, frozen=True, kw_only=True, tag="acknowledged", gc=False):
    """`checkpoint()` has returned. `syncs` counts since this process opened the store."""

    task: int
    step: int
    index: int
    took_us: float
    syncs: int


class Finished(msgspec.Struct, frozen=True, kw_only=True, tag="finished"):
    """The agent has stopped by itself: all done, or its time is up."""

    is_complete: bool


Event: TypeAlias = Resumed | Acknowledged | Finished


def work(job: Job, tell: Callable[[Event], None], clock: Callable[[], float] = time.perf_counter) -> None:
    """Do the job, from wherever the store says that it stands."""
    with aegis_store.open(job.store, agent=AGENT, config=Config(segment_bytes=job.segment_bytes)) as store:
        is_complete = _work(job, store, tell, clock)
    tell(Finished(is_complete=is_complete))


def _work(job: Job, store: Store, tell: Callable[[Event], None], clock: Callable[[], float]) -> bool:
    """Whether all was done before the time was up."""
    begin = clock()
    engine, tier = store.records.engine, store.records.tier
    has_resumed = False
    for number, task in enumerate(job.plan.tasks()):
        session = store.session(task.session)
        latest = session.latest()
        state = task.begin() if latest is None else latest.state
        done = 0 if latest is None else step_of(latest.position)
        for step in range(done + 1, task.steps + 1):
            if not has_resumed:
                tell(Resumed(task=number, step=step))
                has_resumed = True
            context = task.advance(state, step)
            before = clock()
            ref = session.checkpoint(
                state,
                position=context.position,
                claims=context.claims,
                approvals=context.approvals,
                last_tool_call=context.last_tool_call,
            )
            after = clock()
            took_us = (after - before) * 1e6
            tell(Acknowledged(task=number, step=step, index=ref.index, took_us=took_us, syncs=engine.stats(tier).syncs))
            if job.seconds is not None and after - begin >= job.seconds:
                return False
    return True


def main() -> int:
    """Run in a process of its own, with a job on stdin. Problems go to stderr."""

    def tell(event: Event) -> None:
        # Unbuffered, and shorter than what a pipe takes at once: a line is there in full, or not at all.
        os.write(1, msgspec.json.encode(event) + b"\n")

    try:
        work(msgspec.json.decode(sys.stdin.buffer.read(), type=Job), tell)
    except BrokenPipeError:
        return 0
    except aegis_store.AegisError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
