"""Large states with small edits: a whole signed checkpoint each time, beside SqliteSaver and plain files.

A state is messages and, for half of its bytes, floats that nothing can compress (an embedding, a table). Each step changes some
floats, replaces a message and adds one. A plain file is what one writes without a store: msgpack, a new name, fsync of file and
folder, rename.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

import ormsgpack

import aegis_store
from aegis_store.bench.measure import Figure, Sample, Samples, Side, Work, field_figure, figure, interleave, run_each
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals import saver
from aegis_store.bench.rivals.absent import Missing, noted
from aegis_store.bench.rivals.saver import Saver
from aegis_store.bench.workload import DURABLE, Run, Workload
from aegis_store.stats import disk_bytes

OURS, SQLITE, FILES = "aegis", saver.SQLITE, "plain files, fsync"
MEGABYTE: Final = 1_000_000
SIZES: Final = {"1 MB": MEGABYTE, "10 MB": 10 * MEGABYTE}
#: Checkpoints of a round, by size: a round of each side writes some 20 MB.
STEPS: Final = {"1 MB": 20, "10 MB": 4}
SIZE_QUICK, STEPS_QUICK = MEGABYTE // 10, 3
ROUNDS: Final = 5
FLOAT_BYTES: Final = 9
MESSAGE_CHARACTERS: Final = 2_000
FLOATS_CHANGED: Final = 20


def run(how: Run) -> Outcome:
    figures: list[Figure] = []
    samples: dict[str, Samples] = {}
    missing: list[Missing] = []
    plain: dict[str, Any] = {}
    for title, size in SIZES.items():
        place = how.place / title.replace(" ", "-")
        place.mkdir()
        found, disk = _measure(how, place, title, SIZE_QUICK if how.quick else size, missing)
        samples[title] = found
        for field, what in (("median_us", "time"), ("cpu_us", "CPU")):
            figures += [
                field_figure(f"{title}: {what}", found, OURS, peer, field, DURABLE, note="of a checkpoint")
                for peer in (SQLITE, FILES)
                if peer in found
            ]
        figures += [
            figure(
                f"{title}: bytes on disk", ours=OURS, peer=peer, ours_values=[disk[OURS]], peer_values=[disk[peer]], unit="B",
                comparison="ratio", durability=DURABLE, note="a checkpoint; plain files keep all",
            )
            for peer in (SQLITE, FILES)
            if peer in disk
        ]  # fmt: skip
        plain |= {f"{title}: bytes a checkpoint, {side}": round(each) for side, each in disk.items()}
    return Outcome(figures=figures, samples=samples, plain=plain, missing=list({each.name: each for each in missing}.values()))


#: Works that save states in order.
Works = Callable[[Iterator[dict[str, Any]]], Iterator[Work]]


def _measure(how: Run, place: Path, title: str, size: int, missing: list[Missing]) -> tuple[Samples, dict[str, float]]:
    steps = STEPS_QUICK if how.quick else STEPS[title]
    rounds = min(how.rounds, ROUNDS)
    disk: dict[str, float] = {}
    with ExitStack() as stack:
        store = stack.enter_context(aegis_store.open(place / "store"))
        sides = [_side(OURS, partial(_our_works, store.session("large")), size, steps)]
        sqlite: Saver | None = None
        with noted(missing):
            sqlite = stack.enter_context(Saver.sqlite(place / "saver.sqlite"))
            sides.append(_side(SQLITE, partial(sqlite.works, "large"), size, steps))
        (place / "files").mkdir()
        sides.append(_side(FILES, partial(_file_works, place / "files"), size, steps))
        samples = interleave(sides, rounds, lambda number, side: how.say(f"{title}: {max(0, number + 1)} of {rounds}: {side}"))
        written = (rounds + 1) * steps
        if sqlite is not None:
            disk[SQLITE] = sqlite.file_bytes() / written
        disk[FILES] = disk_bytes(place / "files") / written
    disk[OURS] = disk_bytes(place / "store") / written
    return samples, disk


def _side(name: str, works: Works, size: int, steps: int) -> Side:
    states = edited(size)

    def taken() -> Iterator[dict[str, Any]]:
        return iter([next(states) for _ in range(steps)])

    def run() -> Sample:
        return run_each(works(taken()))

    return Side(name=name, run=run)


def edited(size: int) -> Iterator[dict[str, Any]]:
    """States of some `size` bytes without end, each a little different from the one before; the same in each run."""
    source = random.Random(size)
    floats = [source.gauss(0, 1) for _ in range(size // 2 // FLOAT_BYTES)]
    messages = [_message(source) for _ in range(max(2, size // 2 // MESSAGE_CHARACTERS))]
    step = 0
    while True:
        yield {"messages": list(messages), "embedding": list(floats), "position": step}
        for _ in range(FLOATS_CHANGED):
            floats[source.randrange(len(floats))] = source.gauss(0, 1)
        messages[source.randrange(len(messages))] = _message(source)
        messages = [*messages[1:], _message(source)]
        step += 1


def _message(source: random.Random) -> dict[str, str]:
    words = (f"{source.choice(('plan', 'call', 'check', 'read', 'write'))}_{source.randrange(1000)}" for _ in range(200))
    return {"role": "tool", "content": " ".join(words)}


def _our_works(session: aegis_store.Session, states: Iterator[dict[str, Any]]) -> Iterator[Work]:
    for state in states:
        yield partial(session.checkpoint, state, position=state["position"])


def _file_works(folder: Path, states: Iterator[dict[str, Any]]) -> Iterator[Work]:
    for state in states:
        yield partial(_write, folder, state)


def _write(folder: Path, state: dict[str, Any]) -> None:
    path = folder / f"{state['position']:06}"
    new = path.with_suffix(".new")
    with new.open("wb") as file:
        file.write(ormsgpack.packb(state))
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
    at = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(at)
    finally:
        os.close(at)


WORKLOAD: Final = Workload(name="large", promise="states of 1 and 10 MB, small edits", run=run)
