"""Recorded sessions, a checkpoint after every message: bytes a checkpoint with everything counted, and the time of one."""

from __future__ import annotations

import io
import statistics
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import msgspec
import ormsgpack
import zstandard

import aegis_store
from aegis_store.store import disk_bytes
from bench.measure import Figure, figure
from bench.results import Outcome
from bench.workload import DURABLE, Run, Workload

ZSTD_LEVEL: Final = 3
QUICK_SESSIONS: Final = 3
#: So that the bytes of the active segment's frames are those of all.
ONE_SEGMENT: Final = aegis_store.Config(segment_bytes=1 << 30)


class Recorded(msgspec.Struct, frozen=True):
    """One line of the file."""

    source: str
    session_id: str
    messages: list[Any]


def read(path: Path) -> Iterator[Recorded]:
    """JSON lines, compressed by zstd where the name ends in .zst."""
    decoder = msgspec.json.Decoder(Recorded)
    with path.open("rb") as raw:
        stream = zstandard.ZstdDecompressor().stream_reader(raw) if path.suffix == ".zst" else raw
        with io.TextIOWrapper(stream, encoding="utf-8") as text:
            for line in text:
                if line.strip():
                    yield decoder.decode(line)


def run(how: Run) -> Outcome:
    if how.sessions is None:
        return Outcome(figures=[], plain={"left out": "no recorded sessions; give a file with --sessions FILE"})
    by_source: dict[str, list[Recorded]] = defaultdict(list)
    for recorded in read(how.sessions):
        if not how.quick or len(by_source[recorded.source]) < QUICK_SESSIONS:
            by_source[recorded.source].append(recorded)
    figures: list[Figure] = []
    plain: dict[str, Any] = {}
    for source, recorded_sessions in sorted(by_source.items()):
        how.say(f"{source}: {len(recorded_sessions)} sessions")
        found, told = _measure(how.place / str(len(plain)), source, recorded_sessions)
        figures += found
        plain |= {f"{source}: {what}": value for what, value in told.items()}
    return Outcome(figures=figures, plain=plain)


def _measure(place: Path, source: str, recorded_sessions: list[Recorded]) -> tuple[list[Figure], dict[str, Any]]:
    """The peer is zstd of each state alone, without any store; a round is a session."""
    compressor = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    ours_bytes: list[float] = []
    peer_bytes: list[float] = []
    ours_us: list[float] = []
    state_bytes = checkpoints = zstd_bytes = 0
    with aegis_store.open(place, config=ONE_SEGMENT) as store:
        for recorded in recorded_sessions:
            session = store.session(f"{recorded.source}/{recorded.session_id}")
            taken: list[int] = []
            alone = 0
            before = _frame_bytes(store)
            for count in range(1, len(recorded.messages) + 1):
                state = {"messages": recorded.messages[:count]}
                began = perf_counter_ns()
                session.checkpoint(state)
                taken.append(perf_counter_ns() - began)
                packed = ormsgpack.packb(state)
                state_bytes += len(packed)
                alone += len(compressor.compress(packed))
            if not taken:
                continue
            checkpoints += len(taken)
            zstd_bytes += alone
            ours_bytes.append((_frame_bytes(store) - before) / len(taken))
            peer_bytes.append(alone / len(taken))
            ours_us.append(statistics.median(taken) / 1e3)
    whole = disk_bytes(place)
    sizes = figure(
        f"{source}: bytes of frames a checkpoint",
        ours="frames",
        peer=f"zstd -{ZSTD_LEVEL} of each state alone",
        ours_values=ours_bytes,
        peer_values=peer_bytes,
        unit="bytes",
        comparison="ratio",
        durability=DURABLE,
        note="a round is a session",
    )
    return [sizes], {
        "sessions": len(ours_bytes),
        "checkpoints": checkpoints,
        "bytes on disk a checkpoint, closed, everything counted": round(whole / max(1, checkpoints)),
        "bytes a checkpoint, zstd of each state alone": round(zstd_bytes / max(1, checkpoints)),
        "bytes a checkpoint, plain msgpack": round(state_bytes / max(1, checkpoints)),
        "µs a checkpoint, median of sessions' medians": round(statistics.median(ours_us), 1),
    }


def _frame_bytes(store: aegis_store.Store) -> int:
    """Of the session tier, every segment counted without its zeros."""
    return store.stats().tiers["session"].frame_bytes if "session" in store.stats().tiers else 0


WORKLOAD: Final = Workload(name="sessions", promise="recorded sessions, a checkpoint after every message", run=run)
