"""A store starts small on the disk, and its memory does not grow with what it holds."""

from __future__ import annotations

import multiprocessing
import signal
from itertools import cycle, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import aegis_store
from aegis_store.bench.measure import Wanted
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals.absent import Missing
from aegis_store.bench.states import conversations
from aegis_store.bench.workload import Run, Workload
from aegis_store.stats import disk_bytes

DISK_WANTED: Final = Wanted(most=(1 << 20) - 1)
MEMORY_WANTED: Final = Wanted(most=(8 << 20) - 1)
#: Where Linux tells a process's memory.
STATUS: Final = Path("/proc/self/status")
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
    plain: dict[str, Any] = {
        "bytes on disk with one checkpoint, store open": open_bytes,
        "bytes on disk with one checkpoint, store closed": closed_bytes,
        "of those wanted": f"{DISK_WANTED}, {_verdict(DISK_WANTED, max(open_bytes, closed_bytes))}",
    }
    if not STATUS.is_file():
        return Outcome(figures=[], plain=plain, missing=[Missing("memory", "this system does not tell a process's own pages")])
    looks = LOOKS_QUICK if how.quick else LOOKS
    anonymous = _measure_child(how, looks)
    growth = anonymous[-1] - anonymous[1]
    plain |= {
        **{f"RssAnon at {look:,} checkpoints": size for look, size in zip(looks, anonymous, strict=True)},
        f"growth from {looks[1]:,} to {looks[-1]:,} checkpoints": growth,
        "growth wanted": f"{MEMORY_WANTED}, {_verdict(MEMORY_WANTED, growth)}",
        "durability while memory is measured": "write (the sync is left out for speed; the buffers are the same)",
        "bytes on disk at the end": disk_bytes(how.place / "many"),
    }
    return Outcome(figures=[], plain=plain)


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
        found = [mine.recv() for _ in looks]
        child.join()
        return found
    except EOFError:
        child.join()
        raise RuntimeError(f"the child process ended with {child.exitcode}") from None
    finally:
        child.kill()
        child.join()
        mine.close()


def _write_and_look(place: Path, looks: tuple[int, ...], out: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which kills this
    states = cycle(conversations(512))
    with aegis_store.open(place, config=FAST) as store, out:
        session = store.session("bench")
        written = 0
        for look in looks:
            for state in islice(states, look - written):
                session.checkpoint(state)
            written = look
            out.send(anonymous_bytes())


def anonymous_bytes() -> int:
    """This process's memory that no file stands behind."""
    lines = STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


WORKLOAD: Final = Workload(name="footprint", promise="bytes of a small store, memory of a large one", run=run)
