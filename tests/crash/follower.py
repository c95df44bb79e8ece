"""A process that reads a store beside its writers, while they work, die and recover, and says at the end what it has seen.

    stdin   a line "follow <place>" to begin with a store, and a line "end" to be done with it
    stdout  one JSON object for each "end": {"looks": …, "sessions": {id: [digest, …]}, "heads": [[tier, size, root], …],
            "wrong": [what should not have been, …]}

    follower.py again|still       opens the store for every look, or keeps it open from the first one on

Each look takes in what is new and compares it with what was seen before: no checkpoint may become another one, no tree may be
anything but a continuation of the tree before, and what is kept open may never show less. What is opened anew may: between the
death of a writer and the next recovery only what is known to be durable is served to it. That it was all the writers' own, and
that it all stayed, the parent sees.
"""

from __future__ import annotations

import hashlib
import json
import select
import sys
from io import FileIO
from pathlib import Path

import aegis_store
from aegis_store._engine import check_consistency
from aegis_store.errors import AegisError, KeysMissing, NotAStore
from aegis_store.types import Tier
from tests.crash import writer

#: Between two looks, so that the writers get to write; a command ends it at once.
PAUSE_SECONDS = 0.01


class Follower:
    """What was seen of one store."""

    def __init__(self, place: Path, *, still: bool) -> None:
        self.place = place
        self.still = still
        self.store: aegis_store.Store | None = None
        self.looks = 0
        self.sessions: dict[str, list[str]] = {}
        self.heads: dict[Tier, aegis_store.Head] = {}
        self.all_heads: list[tuple[int, int, str]] = []
        self.wrong: list[str] = []

    def look(self) -> None:
        try:
            if self.store is None:
                self.store = aegis_store.open(self.place, mode="r")
        except (NotAStore, KeysMissing):
            return  # it is still being made
        except AegisError as error:
            self.wrong.append(f"open: {error!r}")
            return
        try:
            self._look(self.store)
            self.looks += 1
        except AegisError as error:
            self.wrong.append(f"look {self.looks}: {error!r}")
        if not self.still:
            self.close()

    def close(self) -> None:
        if self.store is not None:
            self.store.close()
            self.store = None

    def _look(self, store: aegis_store.Store) -> None:
        for info in store.sessions():
            known = self.sessions.setdefault(info.id, [])
            if info.checkpoints < len(known) and self.still:
                self.wrong.append(f"{info.id} went back from {len(known)} checkpoints to {info.checkpoints}")
            session = store.session(info.id)
            for ordinal in range(max(len(known) - 1, 0), info.checkpoints):
                digest = self._digest(session.get(ordinal))
                if ordinal == len(known):
                    known.append(digest)
                elif known[ordinal] != digest:
                    self.wrong.append(f"checkpoint {ordinal} of {info.id} became another one")
        engine = store.records.engine
        for tier in Tier:
            before, now = self.heads.get(tier), engine.head(tier)
            if before is not None:
                if now.size < before.size:
                    if self.still:
                        self.wrong.append(f"tier {tier.label} went back from {before.size} records to {now.size}")
                    continue
                if before.size > 0:
                    check_consistency(before, now, engine.consistency(tier, before.size, now.size))
            if before is None or now.size > before.size:
                self.all_heads.append((int(tier), now.size, now.root.hex()))
            self.heads[tier] = now

    def _digest(self, checkpoint: aegis_store.Checkpoint) -> str:
        state = checkpoint.state
        if state != writer.state_of(state["seed"], state["thread"], state["number"]):
            self.wrong.append(f"{checkpoint.ref} is nothing that a writer saved")
        return hashlib.sha256(repr(state).encode()).hexdigest()


def main() -> None:
    follower: Follower | None = None
    commands = FileIO(0)  # unbuffered: a line that was read ahead could not be waited for
    while True:
        if follower is None or select.select([commands], [], [], PAUSE_SECONDS)[0]:
            words = commands.readline().decode().split(maxsplit=1)
            if not words:
                return
            if words[0] == "follow":
                follower = Follower(Path(words[1].strip()), still=sys.argv[-1] == "still")
            else:
                follower.look()
                follower.close()
                said = {"looks": follower.looks, "sessions": follower.sessions, "heads": follower.all_heads}
                print(json.dumps({**said, "wrong": follower.wrong}), flush=True)
                follower = None
                continue
        follower.look()


if __name__ == "__main__":
    main()
