from __future__ import annotations

import itertools
import os
import subprocess
import sys

import msgspec
import pytest

import aegis_store
from aegis_store.cli.demo import agent
from aegis_store.cli.demo.agent import Acknowledged, Finished, Job, Resumed
from aegis_store.cli.demo.tasks import Reference, recorded_plan

from .test_tasks import line


def job(plan, place, **options):
    return Job(store=str(place / "state"), segment_bytes=65536, plan=plan, **options)


def steps(events):
    return [(event.task, event.step) for event in events if isinstance(event, Acknowledged)]


def test_the_agent_tells_where_it_begins_each_acknowledgement_and_its_end(library, place):
    events = []
    agent.work(job(library, place), events.append)
    assert events[0] == Resumed(task=0, step=1)
    assert steps(events) == [(0, step) for step in range(1, 25)]
    assert events[-1] == Finished(is_complete=True)
    acknowledged = events[1:-1]
    assert all(event.took_us > 0 for event in acknowledged)
    assert [event.index for event in acknowledged] == sorted({event.index for event in acknowledged})
    assert acknowledged[-1].syncs >= 24


def test_what_it_saves_is_what_the_task_says(library, place):
    agent.work(job(library, place), lambda event: None)
    (task,), (again,) = library.tasks(), library.tasks()
    with aegis_store.open(place / "state", mode="r") as store:
        latest = store.session(task.session).latest()
    state = again.begin()
    for step in range(1, 25):
        context = again.advance(state, step)
    assert latest.state == state
    assert (latest.position, latest.claims, latest.approvals, latest.last_tool_call) == (
        context.position,
        context.claims,
        context.approvals,
        context.last_tool_call,
    )
    assert Reference(task).after(24).state_bytes > 0


def test_it_stops_when_its_time_is_up_and_goes_on_at_the_next_step(library, place):
    clock = itertools.count(0, 1.0).__next__
    first, second = [], []
    # One look at the start, then two a step: after the second step, three units have passed.
    agent.work(job(library, place, seconds=3.0), first.append, clock)
    agent.work(job(library, place), second.append)
    done = steps(first)[-1][1]
    assert first[-1] == Finished(is_complete=False)
    assert 1 <= done < 24
    assert second[0] == Resumed(task=0, step=done + 1)
    assert steps(first) + steps(second) == [(0, step) for step in range(1, 25)]


def test_a_finished_store_leaves_nothing_to_do(library, place):
    agent.work(job(library, place), lambda event: None)
    events = []
    agent.work(job(library, place), events.append)
    assert events == [Finished(is_complete=True)]


def test_sessions_come_one_after_the_other(place):
    (place / "recorded").write_text(line("a", "one", 3) + line("b", "two", 2))
    plan = recorded_plan(place / "recorded", place / "chosen")
    events = []
    agent.work(job(plan, place), events.append)
    assert steps(events) == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2)]


def run(data: bytes, **options):
    command = [sys.executable, "-P", "-m", "aegis_store.cli.demo.agent"]
    return subprocess.run(command, input=data, stderr=subprocess.PIPE, check=False, **options)


def test_as_a_process_it_reads_its_job_and_writes_lines(library, place):
    ran = run(msgspec.json.encode(job(library, place)), stdout=subprocess.PIPE)
    events = [msgspec.json.decode(each, type=agent.Event) for each in ran.stdout.splitlines()]
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert steps(events) == [(0, step) for step in range(1, 25)]
    assert events[-1] == Finished(is_complete=True)


def test_it_ends_quietly_when_nobody_listens(library, place):
    read, write = os.pipe()
    os.close(read)
    ran = run(msgspec.json.encode(job(library, place)), stdout=write)
    os.close(write)
    assert (ran.returncode, ran.stderr) == (0, b"")


@pytest.mark.parametrize("what", ["file", "locked"])
def test_what_keeps_it_from_working_goes_to_stderr_without_a_traceback(library, place, what):
    work = job(library, place)
    if what == "file":
        (place / "state").write_text("no store")
        ran, code = run(msgspec.json.encode(work), stdout=subprocess.PIPE), 3
    else:
        with aegis_store.open(place / "state"):
            ran, code = run(msgspec.json.encode(work), stdout=subprocess.PIPE), 4
    assert (ran.returncode, ran.stdout) == (code, b"")
    assert str(place / "state").encode() in ran.stderr
    assert b"Traceback" not in ran.stderr
