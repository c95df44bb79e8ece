"""kill -9 at any moment and at every call: what was acknowledged is there, byte for byte, and nothing that was not submitted.

A writer saves checkpoints from several threads into several sessions, and plain records into two more tiers, and says so after
each; it is killed somewhere on the way, while it opens and recovers, works, seals a segment, or closes: at some moment, or
before its nth system call that changes a file, which may be torn on top (`calls`). Other processes read beside it all the
time (`follower`). Then everything is looked at, and the next writer goes on in the same store. Which moments those are depends
on the machine; what each writer does, and before which call of its it dies, depends on a seed alone.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import aegis_store
from aegis_store import Head, Tier
from tests.crash import writer
from tests.stores import abandon, dump

TOP = Path(__file__).resolve().parents[2]
#: Runs a module of the tests with the installed package: the source tree comes last.
RUN = "import runpy, sys; sys.path.append(sys.argv[1]); runpy.run_module(sys.argv[2], run_name='__main__', alter_sys=False)"
#: A store is given up after that many writers, so that to look at all of it stays cheap.
WRITERS_EACH = 8
QUOTA = 40
#: Calls that change a file: in an opening, up to that many; in a whole life; in a close.
CALLS = {"open": (40, 600), "close": (60, 60)}


def start(module: str, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", RUN, str(TOP), f"tests.crash.{module}", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)


def stop(process: subprocess.Popen[str]) -> None:
    process.stdin.close()
    assert process.wait() == 0
    process.stdout.close()


class Life(NamedTuple):
    """What one writer has said, and how it ended: in which step, and before which call on what, if it was at a call."""

    checkpoints: list[tuple[str, int, str]]
    plain: list[tuple[Tier, int, str]]
    hit: bool
    step: str
    call: str
    file: str
    torn: bool


class Writers:
    """The process that makes writers, and what they have said."""

    def __init__(self) -> None:
        self.process = start("writer")

    def close(self) -> None:
        stop(self.process)

    def line(self) -> list[str]:
        line = self.process.stdout.readline()
        assert line.endswith("\n"), "the process that makes writers has ended"
        return line.split()

    def run(self, dice: random.Random, **order: object) -> Life:
        """Let one writer work, and kill it at some call, or after some acknowledgements, or earlier."""
        ask = dice.choice((None, None, None, "open", "open", "open", "close")) if sys.platform == "linux" else None
        nth = dice.randint(1, dice.choice(CALLS[ask])) if ask else 0
        self.process.stdin.write(json.dumps({**order, "ask": ask, "nth": nth}) + "\n")
        pid, step = None, "open"
        checkpoints: list[tuple[str, int, str]] = []
        plain: list[tuple[Tier, int, str]] = []
        # None: while it opens; -1: once it closes.
        after = dice.choice((None, None, 0, 1, dice.randrange(writer.THREADS * QUOTA), -1))
        delay = dice.expovariate(500)
        while True:
            words = self.line()
            if words[0] == "gone":
                status = int(words[1])
                assert status == 0 or os.WIFSIGNALED(status), "the writer failed by itself"
                return Life(checkpoints, plain, status != 0, step, words[2], words[3], words[4] != "-")
            if words[0] == "child":
                pid = None if ask else int(words[1])
            elif words[0] == "open":
                step = "work"
            elif words[0] == "closing":
                step = "close"
            elif words[0].isdigit():
                checkpoints.append((f"session {words[0]}", int(words[1]), words[2]))
            else:
                plain.append((Tier.labelled(words[0]), int(words[1]), words[2]))
            # Not a wait for anything: the moment is to be a different one each time.
            due = {None: True, -1: step == "close"}.get(after, step != "open" and len(checkpoints) >= (after or 0))
            if pid is not None and due:
                time.sleep(delay)
                with suppress(ProcessLookupError):  # it has ended by itself meanwhile
                    os.kill(pid, signal.SIGKILL)
                pid = None


class Followers:
    """Processes that read beside."""

    def __init__(self) -> None:
        self.processes = [start("follower", how) for how in ("still", "again")]

    def close(self) -> None:
        for each in self.processes:
            stop(each)

    def follow(self, place: Path) -> None:
        for each in self.processes:
            each.stdin.write(f"follow {place}\n")

    def end(self) -> list[dict[str, Any]]:
        for each in self.processes:
            each.stdin.write("end\n")
        return [json.loads(each.stdout.readline()) for each in self.processes]


@pytest.fixture(scope="module")
def writers() -> Iterator[Writers]:
    made = Writers()
    yield made
    made.close()


@pytest.fixture(scope="module")
def followers() -> Iterator[Followers]:
    made = Followers()
    yield made
    made.close()


class Listener:
    """What must be in a store, from what its writers said."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.acknowledged: dict[tuple[str, int], str] = {}
        self.plain: dict[tuple[Tier, int], str] = {}
        #: What the last look has found, which must never go away again.
        self.found: dict[tuple[str, int], str] = {}

    def hears(self, life: Life) -> None:
        for session, ordinal, digest in life.checkpoints:
            assert self.acknowledged.setdefault((session, ordinal), digest) == digest
            assert self.found.get((session, ordinal), digest) == digest
        for tier, index, digest in life.plain:
            assert self.plain.setdefault((tier, index), digest) == digest

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
        self.check_plain(store)
        result = store.verify(deep=True)
        assert result.findings == ()
        assert sum(tier.signatures or 0 for tier in result.tiers) == store.records.size()
        # The catalogue, kept or made again, is the one that a reader makes of the log alone.
        store.catalog.flush()
        with aegis_store.open(self.place, mode="r") as reader:
            assert store.catalog.broken is None
            assert reader.session("nobody's").info() is None  # a reader reads the log when it is first asked
            assert dump(store.catalog._tables) == dump(reader.catalog._tables)

    def check_plain(self, store: aegis_store.Store) -> None:
        found: dict[tuple[Tier, int], str] = {}
        numbers: dict[tuple[int, Tier], list[int]] = defaultdict(list)
        for tier in writer.PLAIN_TIERS:
            for record in store.records.engine.scan(tier):
                seed, number = map(int, record.entry.split())
                assert (tier, record.entry, record.payload) == writer.plain_of(seed, number)
                numbers[seed, tier].append(number)
                found[tier, record.index] = writer.digest_of([record.entry, record.payload])
        for (seed, tier), there in numbers.items():
            assert there == [number for number in range(there[-1] + 1) if writer.plain_of(seed, number)[0] == tier]
        assert {place: found.get(place) for place in self.plain} == self.plain

    def hears_out(self, seen: dict[str, Any], store: aegis_store.Store) -> None:
        """What a reader has seen at any time is the beginning of what is there."""
        assert seen["wrong"] == [], "\n".join(seen["wrong"])
        for name, digests in seen["sessions"].items():
            assert digests == [self.found[name, ordinal] for ordinal in range(len(digests))]
        assert sum(map(len, seen["sessions"].values())) == len(self.found)  # its last look was behind the last writer
        for tier, size, root in seen["heads"]:
            assert store.records.engine.head(Tier(tier), size) == Head(tier=Tier(tier), size=size, root=bytes.fromhex(root))


def kind_of(file: str) -> str:
    """What sort of file a path's last two names mean: without numbers, and without what makes them one of many."""
    folder, _, name = file.rpartition("/")
    return f"{re.sub('[0-9].*', '…', folder)}/{re.sub('[0-9a-f]{8,}', '…', name)}"


def kill_loop(writers: Writers, followers: Followers, folder: Path, *, kills: int, seed: int) -> Counter[str]:
    """Kill that many writers; what was met. With AEGIS_PROGRESS each store is told of on standard error."""
    dice = random.Random(seed)
    met: Counter[str] = Counter()
    turn = 0
    while met["kills"] < kills:
        listener = Listener(folder / f"store-{turn}")
        followers.follow(listener.place)
        durability = dice.choice(("write", "write", "commit"))
        for _ in range(WRITERS_EACH):
            turn += 1
            order = {"place": str(listener.place), "seed": turn, "quota": dice.randrange(QUOTA), "durability": durability}
            life = writers.run(dice, **order)
            met["acknowledged"] += len(life.checkpoints) + len(life.plain)
            if life.hit:
                met.update(["kills", f"in {life.step}"])
                met.update([f"before {life.call} of {kind_of(life.file)}", "at a call"] if life.call != "-" else [])
                met["torn"] += life.torn
            listener.hears(life)
            if (listener.place / "MANIFEST").exists() and dice.random() < 0.8:
                listener.looks(clean=dice.random() < 0.3, durability=durability)
        listener.looks(clean=True)
        listener.looks(clean=True, mode="r")
        with aegis_store.open(listener.place, mode="r") as store:
            for seen in followers.end():
                met["looks"] += seen["looks"]
                met["heads seen"] += len(seen["heads"])
                listener.hears_out(seen, store)
        if os.environ.get("AEGIS_PROGRESS"):
            print(f"seed {seed}: {met['kills']} of {kills} kills, {met['acknowledged']} acknowledged", file=sys.stderr)
    return met


def test_what_was_acknowledged_survives_a_kill_at_any_moment(writers, followers, tmp_path):
    met = kill_loop(writers, followers, tmp_path, kills=100, seed=1)
    assert met["acknowledged"] > 1000, met
    assert min(met[f"in {step}"] for step in ("open", "work", "close")) > 3, met
    assert met["looks"] > 100, met
    assert sys.platform != "linux" or (met["at a call"] > 20 and met["torn"] > 0), met


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2, 12))
def test_what_was_acknowledged_survives_thousands_of_kills(writers, followers, tmp_path, seed):
    print(json.dumps(dict(kill_loop(writers, followers, tmp_path, kills=1000, seed=seed).most_common())))
