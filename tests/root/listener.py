"""What writers said, held against what a store holds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import aegis_store
from tests.root import writer
from tests.stores import dump

#: What a writer may come to where its disk has gone: each says that nothing more is acknowledged.
EXPECTED_FAILURES = frozenset({"OutcomeUnknown", "Poisoned", "StorageError", "ReadOnly"})

Place = tuple[int, int, int]


class Writers:
    """The process that makes writers."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(writer.__file__))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def close(self) -> None:
        self.process.stdin.close()
        assert self.process.wait() == 0
        self.process.stdout.close()

    def run(self, cut: Callable[[int, list[str]], bool], **order: object) -> tuple[list[str], int]:
        """Let one writer work. `cut(pid, words)` is asked about each line, and says whether it took the disk away; from then on
        the writer may fail. What it said, and its wait status."""
        self.process.stdin.write(json.dumps(order) + "\n")
        said: list[str] = []
        pid, gone = 0, False
        while True:
            line = self.process.stdout.readline()
            assert line.endswith("\n"), "the process that makes writers has ended"
            words = line.split()
            if words[0] == "gone":
                return said, int(words[1])
            if words[0] == "child":
                pid = int(words[1])
            if words[0] == "failed":
                assert gone, f"the writer failed on a disk that works: {words[1]}"
                assert words[1] in EXPECTED_FAILURES, words[1]
            said.append(line)
            gone = gone or cut(pid, words)


class Listener:
    """What must be in the store at `place`, from what its writers said."""

    def __init__(self, place: Path, durability: str) -> None:
        self.place = place
        self.durability = durability
        #: (seed, thread, number) -> (index, leaf)
        self.acknowledged: dict[Place, tuple[int, str]] = {}
        #: What the last look has found, which must never go away again.
        self.found: dict[Place, tuple[int, str]] = {}

    def hears(self, seed: int, said: list[str]) -> int:
        """How many acknowledgements there were among the lines."""
        heard = [line.split()[1:] for line in said if line.startswith("ack ")]
        for thread, number, index, leaf in heard:
            self.acknowledged[seed, int(thread), int(number)] = (int(index), leaf)
        return len(heard)

    def open(self, mode: aegis_store.Mode = "a") -> aegis_store.Store:
        return aegis_store.open(self.place, mode=mode, config=writer.config(self.durability))

    def missing(self, store: aegis_store.Store) -> set[Place]:
        """Checks what is there, and returns the acknowledged checkpoints that are not."""
        found: dict[Place, tuple[int, str]] = {}
        numbers: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
        for info in store.sessions():
            history = list(store.session(info.id).history())[::-1]
            assert [each.ref.ordinal for each in history] == list(range(info.checkpoints))
            for each in history:
                state = each.state
                seed, thread, number = state["seed"], state["thread"], state["number"]
                assert state == writer.state_of(seed, thread, number)
                found[seed, thread, number] = (each.ref.index, each.ref.leaf.hex())
                numbers[seed, thread].append((each.ref.index, number))
        # Nothing but what was submitted, in that order, and no gap: what each thread did is there up to some point.
        for who, places in numbers.items():
            assert [number for _, number in sorted(places)] == list(range(len(places))), who
        result = store.verify(deep=True)
        assert result.findings == ()
        self.found, before = found, self.found
        # What was served once was made durable first, acknowledged or not.
        assert {each: found.get(each) for each in before} == before
        return {each for each, said in self.acknowledged.items() if found.get(each) != said}

    def catalogue_is_that_of_the_log(self) -> None:
        """The catalogue that was kept, and one that is made anew from the log, hold the same."""
        with self.open() as store:
            kept = dump(store.catalog._tables)
        shutil.rmtree(self.place / "catalog")
        with self.open() as store:
            assert dump(store.catalog._tables) == kept
