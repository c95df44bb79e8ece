"""kill -9 at any moment: what was acknowledged is there, byte for byte, and nothing is there that was not submitted.

A writer saves checkpoints from several threads into several sessions and says so after each; it is killed somewhere on the way,
while it opens and recovers, works, seals a segment, or closes. Then everything is looked at, and the next writer goes on in the
same store. Which moments those are depends on the machine; what each writer does depends on a seed alone.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

import aegis_store
from tests.crash import writer
from tests.stores import abandon

SCRIPT = Path(writer.__file__)
#: A store is given up after that many writers, so that to look at all of it stays cheap.
WRITERS_EACH = 8
QUOTA = 40


class Writers:
    """The process that makes writers, and what they have said."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def close(self) -> None:
        self.process.stdin.close()
        assert self.process.wait() == 0
        self.process.stdout.close()

    def line(self) -> list[str]:
        line = self.process.stdout.readline()
        assert line.endswith("\n"), "the process that makes writers has ended"
        return line.split()

    def run(self, dice: random.Random, **order: object) -> tuple[list[tuple[str, int, str]], bool]:
        """Let one writer work, and kill it after some acknowledgements or earlier; what it said, and whether it was hit."""
        self.process.stdin.write(json.dumps(order) + "\n")
        pid, acknowledged = None, []
        after = dice.choice((None, None, 0, 1, dice.randrange(writer.THREADS * QUOTA)))
        delay = dice.expovariate(500)
        while True:
            words = self.line()
            if words[0] == "gone":
                status = int(words[1])
                assert status == 0 or os.WIFSIGNALED(status), "the writer failed by itself"
                return acknowledged, status != 0
            if words[0] == "child":
                pid = int(words[1])
            elif words[0] == "open":
                after = 0 if after is None else after
            else:
                acknowledged.append((f"session {words[0]}", int(words[1]), words[2]))
            # None: while it opens. Not a wait for anything: the moment is to be a different one each time.
            if pid is not None and (after is None or len(acknowledged) >= after > 0 or (after == 0 and words[0] == "open")):
                time.sleep(delay)
                os.kill(pid, signal.SIGKILL)
                pid = None


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    made = Writers()
    yield made
    made.close()


class Witness:
    """What must be in a store, from what its writers said."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.acknowledged: dict[tuple[str, int], str] = {}
        #: What the last look has found, which must never go away again.
        self.found: dict[tuple[str, int], str] = {}

    def hears(self, acknowledged: list[tuple[str, int, str]]) -> None:
        for session, ordinal, digest in acknowledged:
            assert self.acknowledged.setdefault((session, ordinal), digest) == digest
            assert self.found.get((session, ordinal), digest) == digest

    def looks(self, *, clean: bool, mode: str = "a", durability: str = "write") -> None:
        """Open the store, check all of it, and leave it, in order or as a crash would."""
        store = aegis_store.open(self.place, mode=mode, config=writer.config(durability))
        try:
            self.check(store)
        except BaseException:
            store.close()
            raise
        if clean or mode == "r":
            store.close()
        else:
            abandon(store)

    def check(self, store: aegis_store.Store) -> None:
        found: dict[tuple[str, int], str] = {}
        by_thread: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for info in store.sessions():
            history = list(store.session(info.id).history())[::-1]
            assert [each.ref.ordinal for each in history] == list(range(info.checkpoints))
            for each in history:
                state = each.state
                assert state == writer.state_of(state["seed"], state["thread"], state["number"])
                assert each.position == [state["seed"], state["thread"], state["number"]]
                found[info.id, each.ref.ordinal] = writer.digest_of(state)
                by_thread[state["seed"], state["thread"]].append((each.ref.index, state["number"]))
        # Acknowledged, and byte for byte.
        missing = {place: digest for place, digest in self.acknowledged.items() if found.get(place) != digest}
        assert missing == {}
        # What is there without having been acknowledged was submitted, in that order, and none before it is missing.
        for (seed, thread), places in by_thread.items():
            assert [number for _, number in sorted(places)] == list(range(len(places))), (seed, thread)
        # What was there once stays.
        assert {place: found[place] for place in self.found} == self.found
        self.found = found
        result = store.verify(deep=True)
        assert result.findings == ()
        assert sum(tier.signatures for tier in result.tiers) == store.records.size()


def kill_loop(writers: Writers, folder: Path, *, kills: int, seed: int) -> int:
    """Kill that many writers; how many checkpoints they had acknowledged."""
    dice = random.Random(seed)
    hit = turn = acknowledged = 0
    while hit < kills:
        witness = Witness(folder / f"store {turn}")
        durability = dice.choice(("write", "write", "commit"))
        for _ in range(WRITERS_EACH):
            turn += 1
            order = {"place": str(witness.place), "seed": turn, "quota": dice.randrange(QUOTA), "durability": durability}
            said, was_hit = writers.run(dice, **order)
            hit += was_hit
            acknowledged += len(said)
            witness.hears(said)
            if (witness.place / "MANIFEST").exists() and dice.random() < 0.8:
                witness.looks(clean=dice.random() < 0.3, durability=durability)
        witness.looks(clean=True)
        witness.looks(clean=True, mode="r")
    return acknowledged


def test_what_was_acknowledged_survives_a_kill_at_any_moment(writers, tmp_path):
    assert kill_loop(writers, tmp_path, kills=200, seed=1) > 2000


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 12))
def test_what_was_acknowledged_survives_thousands_of_kills(writers, tmp_path, seed):
    assert kill_loop(writers, tmp_path, kills=1000, seed=seed) > 10_000
