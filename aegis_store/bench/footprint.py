"""A store starts small on the disk, and its memory does not grow with what it holds."""

from __future__ import annotations

import multiprocessing
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final

import aegis_store
from aegis_store.bench.measure import Wanted
from aegis_store.bench.results import Outcome
from aegis_store.bench.states import conversations
from aegis_store.bench.workload import Run, Workload
from aegis_store.store import disk_bytes

DISK_WANTED: Final = Wanted(most=(1 << 20) - 1)
MEMORY_WANTED: Final = Wanted(most=(8 << 20) - 1)
#: Records at which memory is looked at; growth is from the second to the last.
LOOKS: Final = (1_000, 10_000, 30_000, 100_000)
LOOKS_QUICK: Final = (500, 1_000, 3_000, 10_000)
#: `write` leaves the sync out: the memory is the same (a group is written from the same buffers), the time is a tenth.
FAST: Final = aegis_store.Config(durability=aegis_store.TierDurability(session=aegis_store.Durability.WRITE))


def run(how: Run) -> Outcome:
    with aegis_store.open(how.place / "one") as store:
        store.session("bench").checkpoint(conversations(1)[0])
        open_bytes = disk_bytes(how.place / "one")
    closed_bytes = disk_bytes(how.place / "one")
    looks = LOOKS_QUICK if how.quick else LOOKS
    anonymous = _measure_child(how, looks)
    growth = anonymous[-1] - anonymous[1]
    return Outcome(
        figures=[],
        plain={
            "bytes on disk with one checkpoint, store open": open_bytes,
            "bytes on disk with one checkpoint, store closed": closed_bytes,
            "of those wanted": f"{DISK_WANTED}, {_verdict(DISK_WANTED, max(open_bytes, closed_bytes))}",
            **{f"RssAnon at {look:,} checkpoints": size for look, size in zip(looks, anonymous, strict=True)},
            f"growth from {looks[1]:,} to {looks[-1]:,} checkpoints": growth,
            "growth wanted": f"{MEMORY_WANTED}, {_verdict(MEMORY_WANTED, growth)}",
            "durability while memory is measured": "write (the sync is left out for speed; the buffers are the same)",
            "bytes on disk at the end": disk_bytes(how.place / "many"),
        },
    )


def _verdict(wanted: Wanted, value: float) -> str:
    return "met" if wanted.met_by(value) else "missed"


def _measure_child(how: Run, looks: tuple[int, ...]) -> list[int]:
    """In a process of its own, whose memory nobody else used."""
    how.say(f"writing {looks[-1]:,} checkpoints in a child process")
    context = multiprocessing.get_context("spawn")
    mine, childs = context.Pipe(duplex=False)
    child = context.Process(target=_write_and_look, args=(how.place / "many", looks, childs))
    child.start()
    childs.close()
    try:
        found: list[int] = [mine.recv() for _ in looks]
    except EOFError:
        child.join()
        raise RuntimeError(f"the child process ended with {child.exitcode}") from None
    child.join()
    return found


def _write_and_look(place: Path, looks: tuple[int, ...], out: Connection) -> None:
    states = cycle(conversations(512))
    with aegis_store.open(place, config=FAST) as store:
        session = store.session("bench")
        written = 0
        for look in looks:
            for state in islice(states, look - written):
                session.checkpoint(state)
            written = look
            out.send(anonymous_bytes())


def anonymous_bytes() -> int:
    """This process's memory that no file stands behind (RssAnon of /proc/self/status)."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell RssAnon")


WORKLOAD: Final = Workload(name="footprint", promise="bytes of a small store, memory of a large one", run=run)
