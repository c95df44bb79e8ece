"""What every workload is told, and what several of them use."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from aegis_store._engine import Engine
from aegis_store.types import Tier
from bench.measure import Sample, Side, Work
from bench.results import Outcome
from bench.rivals import programs

PAYLOAD_BYTES: Final = 4096
#: A signed checkpoint's entry.
ENTRY_BYTES: Final = 176
#: What all peers give too: acknowledged after the sync.
DURABLE: Final = "commit"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How this run is to be done. `place` is an empty folder on the disk that is measured."""

    place: Path
    quick: bool
    rounds: int
    seconds: float
    sessions: Path | None
    say: Callable[[str], None]

    def progress(self, number: int, side: str) -> None:
        """For `interleave`."""
        self.say(f"round {number + 1} of {self.rounds}: {side}" if number >= 0 else f"warming up: {side}")


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One promise and how it is measured."""

    name: str
    promise: str
    run: Callable[[Run], Outcome]


def record(number: int) -> tuple[bytes, bytes]:
    """(entry, payload) of 4 KiB that nothing can compress."""
    source = random.Random(number)
    return source.randbytes(ENTRY_BYTES), source.randbytes(PAYLOAD_BYTES)


def open_engine(place: Path) -> Engine:
    """A new store, without the floors above the engine."""
    return Engine.open(place, mode="x", secret=bytes(32), store_id=bytes(16), name="bench")


def engine_work(engine: Engine, number: int) -> Work:
    """A durable append through the engine's Python face."""
    entry, payload = record(number)
    append, commit, tier = engine.append, engine.commit, Tier.SESSION

    def work() -> None:
        commit(tier, append(tier, 1, entry, payload))

    return work


def program_side(name: str, program: Path, place: Path, threads: int, seconds: float) -> Side:
    """A C program as one who takes part."""

    def run() -> Sample:
        return programs.run(program, place, threads, seconds)

    return Side(name=name, run=run)
