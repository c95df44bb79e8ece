"""What every workload is told, and what several of them use."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from aegis_store._engine import Engine
from aegis_store.bench.measure import Figure, Sample, Samples, Side, Wanted, Work, rate_figure
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals.absent import Missing, noted
from aegis_store.types import Tier

PAYLOAD_BYTES: Final = 4096
#: A signed checkpoint's entry.
ENTRY_BYTES: Final = 176
#: What all peers give too: acknowledged after the sync.
DURABLE: Final = "commit"


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How this run is to be done. `place` is an empty folder on the disk that is measured; `say` shows what is going on."""

    place: Path
    quick: bool
    rounds: int
    seconds: float
    say: Callable[[str], None]
    sessions: Path | None = None
    records: int | None = None

    def progress(self, number: int, side: str) -> None:
        """For `interleave`."""
        self.say(f"round {number + 1} of {self.rounds}: {side}" if number >= 0 else f"warming up: {side}")


class Workload(msgspec.Struct, frozen=True, kw_only=True):
    """One promise and how it is measured."""

    name: str
    promise: str
    run: Callable[[Run], Outcome]


class Field:
    """Who takes part in a measurement, as they are set up one after the other: those who cannot are noted.

    What is entered into `stack` is closed at the end, whoever came.
    """

    def __init__(self, stack: ExitStack) -> None:
        self.stack: Final = stack
        self.sides: Final[list[Side]] = []
        self.missing: Final[list[Missing]] = []

    def add(self, name: str, make: Callable[[], Callable[[], Sample]]) -> None:
        """A side, made by a function that may raise NotHere."""
        with noted(self.missing):
            self.sides.append(Side(name=name, run=make()))


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


def rates_against(
    title: str,
    samples: Samples,
    ours: str,
    peers: Iterable[str],
    *,
    wanted: dict[str, Wanted] | None = None,
    note: str = "",
    durability: str = DURABLE,
) -> list[Figure]:
    """Ours to each peer's rate; of those who are there. `wanted` is by peer."""
    if ours not in samples:
        return []
    bounds = wanted or {}
    return [
        rate_figure(title, samples, ours, peer, durability, bounds.get(peer, Wanted()), note)
        for peer in peers
        if peer in samples
    ]
