"""kill -9 of a process with two hundred tasks: what any of them was told is there."""

from __future__ import annotations

import random
import subprocess
import sys

import aegis_store
from tests.aio import killed

TASKS = 200
RUNS = 3


def test_what_tasks_were_told_survives_the_death_of_their_process(place):
    dice = random.Random(1)
    told: dict[tuple[str, int], tuple[int, str]] = {}
    for run in range(RUNS):
        command = [sys.executable, killed.__file__, str(place), f"{run}", f"{TASKS}"]
        after = dice.randrange(1, 4 * TASKS)
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            lines = []
            for line in process.stdout:
                lines.append(line)
                if len(lines) == after:
                    process.kill()  # and what it has said until it is dead is heard as well
        assert len(lines) >= after
        for line in lines:
            session, ordinal, index, digest = line.split()
            assert told.setdefault((session, int(ordinal)), (int(index), digest)) == (int(index), digest)
        with aegis_store.open(place) as store:
            found = {}
            for info in store.sessions():
                history = list(store.session(info.id).history())[::-1]
                assert [each.ref.ordinal for each in history] == list(range(info.checkpoints))
                numbers: dict[str, int] = {}
                for each in history:
                    state = each.state
                    assert state == killed.state_of(state["seed"], info.id, state["number"])
                    assert state["number"] == numbers.get(state["seed"], -1) + 1  # in order, and none before it is missing
                    numbers[state["seed"]] = state["number"]
                    found[info.id, each.ref.ordinal] = (each.ref.index, killed.digest_of(state))
            assert {where: found.get(where) for where in told} == told
            assert store.verify(deep=True).findings == ()
