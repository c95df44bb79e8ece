"""What goes is taken out of the files: how fast what stays is copied and given another form, what appends notice of it, and
what space comes back.

Four measurements, each beside a peer in the same rounds: a segment of which nearly all stays, to `cp` with a sync and to
SHA-256 of the same bytes; sessions of which every other checkpoint goes, to writing them; a thread that appends, to itself
without a compaction beside it; sessions of which the newest ten stay, to SQLite's DELETE and VACUUM and RocksDB's delete and
compact_range. Every side syncs what it leaves behind; reads are from the page cache.
"""

from __future__ import annotations

import os
import random
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from hashlib import file_digest
from itertools import count, cycle
from pathlib import Path
from time import perf_counter, perf_counter_ns
from typing import Any, Final

import aegis_store
from aegis_store._engine import Engine, Footer, Gap, compact_segment
from aegis_store.bench.measure import (
    Figure,
    Sample,
    Samples,
    Side,
    Wanted,
    cpu_seconds,
    field_figure,
    figure,
    interleave,
    percentile,
)
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals import shrinking
from aegis_store.bench.rivals.absent import Missing, noted
from aegis_store.bench.sessions import families
from aegis_store.bench.states import conversations
from aegis_store.bench.workload import DURABLE, ENTRY_BYTES, Run, Workload, open_engine
from aegis_store.codec.canonical import encode
from aegis_store.rules import Rule
from aegis_store.stats import disk_bytes
from aegis_store.types import Tier

COPY_WANTED: Final = Wanted(least=0.8)
REENCODED_WANTED: Final = Wanted(least=10_000)
PAUSE_WANTED: Final = Wanted(most=5.0)

#: Of the segments that are copied: bytes of a payload, and how many segments of the usual size.
COPIED_PAYLOAD: Final = 256 << 10
COPIED_SEGMENTS, COPIED_SEGMENTS_QUICK = 4, 1
#: Sessions are written again under other names until there are so many checkpoints.
CHECKPOINTS, CHECKPOINTS_QUICK = 12_000, 300
#: So that a store of sessions has several segments.
SESSION_SEGMENT_BYTES: Final = 4 << 20
KEEP_LAST: Final = 10
STAYS, GOES = "stays", "goes"
#: Every other checkpoint.
EVERY_OTHER: Final = (Rule(keep_positions=[STAYS]),)
NEWEST: Final = (Rule(keep_last=KEEP_LAST),)
#: An appending thread is looked at for so many operations at least: below, no 99.9th of a hundred is one.
APPENDS_MIN, APPENDS_MIN_QUICK = 2_000, 50
#: Rounds of what takes seconds.
ROUNDS_MAX: Final = 5

FAST: Final = aegis_store.Config(
    segment_bytes=SESSION_SEGMENT_BYTES, durability=aegis_store.TierDurability(session=aegis_store.Durability.WRITE)
)
SYNCED: Final = aegis_store.Config(segment_bytes=SESSION_SEGMENT_BYTES)

OURS: Final = "aegis compact"
CP, SHA256, SLOWER = "cp + fdatasync", "SHA-256 (hashlib)", "the slower of the two"
WRITING: Final = "writing them, unsynced"
BESIDE, ALONE = "appends beside it", "appends alone"

#: (session, ordinal, state)
Step = tuple[str, int, dict[str, Any]]


def run(how: Run) -> Outcome:
    figures: list[Figure] = []
    missing: list[Missing] = []
    samples: dict[str, Samples] = {}
    rounds = min(how.rounds, ROUNDS_MAX)
    with ExitStack() as stack:
        samples["copy"] = interleave(_copies(how, stack), how.rounds, how.progress)
        figures += _copy_figures(samples["copy"])
    steps, template = _steps(how), how.place / "template"
    how.say(f"writing {len(steps):,} checkpoints")
    _write(template, steps)
    samples["in another form"] = interleave(_reencoded(how, template, steps), rounds, how.progress)
    figures += _reencode_figures(samples["in another form"])
    samples["appends"] = interleave(_appends(how, template), rounds, how.progress)
    figures += _append_figures(samples["appends"])
    space = _Space(how, template, steps, missing)
    samples["space"] = interleave(space.sides, rounds, how.progress)
    figures += _space_figures(samples["space"], space)
    plain: dict[str, Any] = {
        "sessions": "recorded" if how.sessions else "made up; give recorded ones with --sessions FILE",
        "checkpoints": len(steps),
    }
    for name, (before, after) in space.bytes.items():
        plain[f"bytes before and after keep_last={KEEP_LAST}, {name}"] = f"{before:,} -> {after:,}"
    return Outcome(figures=figures, samples=samples, plain=plain, missing=missing)


# ---- verbatim ------------------------------------------------------------------------------------------------------------


def _copies(how: Run, stack: ExitStack) -> list[Side]:
    """A few sealed segments of large payloads that nothing compresses. Each round takes one more payload out of each."""
    how.say("writing segments to be copied")
    engine = stack.enter_context(open_engine(how.place / "copied"))
    tier, source = Tier.SESSION, random.Random(1)
    segments = COPIED_SEGMENTS_QUICK if how.quick else COPIED_SEGMENTS
    index = 0
    while engine.stats(tier).segments <= segments:
        index = engine.append(tier, 1, source.randbytes(ENTRY_BYTES), source.randbytes(COPIED_PAYLOAD))
        engine.commit(tier, index)
    engine.seal(tier)
    rounds = count()

    def files() -> list[Path]:
        return [how.place / "copied" / tier.label / each.file for each in _sealed(engine)]

    def compact() -> Sample:
        number, size, clock = next(rounds), 0, _Clock()
        for footer in _sealed(engine):
            size += compact_segment(engine, tier, footer.position, [Gap(footer.first + number, index)]).bytes_done
        return clock.sample(size)

    def copy() -> Sample:
        target = how.place / "copy"
        target.mkdir()
        found, clock = files(), _Clock()
        for file in found:
            _copy(file, target / file.name)
        _sync(target)
        sample = clock.sample(sum(file.stat().st_size for file in found))
        shutil.rmtree(target)
        return sample

    def digest() -> Sample:
        size, clock = 0, _Clock()
        for path in files():
            with path.open("rb") as file:
                file_digest(file, "sha256").digest()
                size += file.tell()
        return clock.sample(size)

    return [Side(name=OURS, run=compact), Side(name=CP, run=copy), Side(name=SHA256, run=digest)]


def _sealed(engine: Engine) -> list[Footer]:
    return [each for each in engine.segments(Tier.SESSION) if each.sealed]


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "--reflink=never", source, target], check=True)
    descriptor = os.open(target, os.O_WRONLY)
    try:
        os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Clock:
    """Takes the time of one long operation, from when it is made: seconds, and CPU time, that of child processes too."""

    def __init__(self) -> None:
        self._cpu, self._begin = self._spent(), perf_counter()

    @staticmethod
    def _spent() -> float:
        return cpu_seconds(resource.RUSAGE_SELF) + cpu_seconds(resource.RUSAGE_CHILDREN)

    def sample(self, size: int) -> Sample:
        """The operation, told by the `size` things that it went through."""
        seconds, cpu = perf_counter() - self._begin, self._spent() - self._cpu
        return _whole(size, seconds, cpu)


def _whole(size: int, seconds: float, cpu: float = 0.0) -> Sample:
    return Sample(
        operations=size, seconds=seconds, median_us=seconds * 1e6, p99_us=seconds * 1e6, cpu_us=cpu / max(size, 1) * 1e6
    )


def _copy_figures(samples: Samples) -> list[Figure]:
    speeds = {name: [sample.rate / 1e6 for sample in each] for name, each in samples.items()}
    speeds[SLOWER] = [min(pair) for pair in zip(speeds[CP], speeds[SHA256], strict=True)]
    return [
        figure(
            "a segment that stays but for one record",
            ours=OURS,
            peer=peer,
            ours_values=speeds[OURS],
            peer_values=speeds[peer],
            unit="MB/s",
            comparison="ratio",
            durability=DURABLE if peer != SHA256 else f"{DURABLE}; the peer only reads",
            wanted=COPY_WANTED if peer == SLOWER else Wanted(),
            better="more",
        )
        for peer in (SLOWER, CP, SHA256)
    ] + [
        figure(
            "the same in CPU time",
            ours=OURS,
            peer=peer,
            ours_values=[sample.cpu_us * 1e3 for sample in samples[OURS]],
            peer_values=[sample.cpu_us * 1e3 for sample in samples[peer]],
            unit="ns a byte",
            comparison="ratio",
            durability=DURABLE,
        )
        for peer in (CP, SHA256)
        if all(sample.cpu_us for sample in samples[peer])
    ]


# ---- sessions ------------------------------------------------------------------------------------------------------------


def _steps(how: Run) -> list[Step]:
    """The sessions step by step, again under other names until there are enough."""
    wanted = how.records or (CHECKPOINTS_QUICK if how.quick else CHECKPOINTS)
    sessions = [(family, session) for family, found in families(how.sessions).items() for session in found]
    random.Random(1).shuffle(sessions)
    steps: list[Step] = []
    for copy in count():
        for family, session in sessions:
            name = f"{family}/{session.session_id}/{copy}"  # an identifier says which one of its family it is, no more
            steps += [(name, ordinal, state) for ordinal, state in enumerate(session.states())]
            if len(steps) >= wanted:
                return steps
    raise AssertionError("there is no end to counting")


def _write(place: Path, steps: Sequence[Step]) -> Sample:
    """A store of them; how fast they were written."""
    with aegis_store.open(place, config=FAST) as store:
        clock = _Clock()
        for name, ordinal, state in steps:
            store.session(name).checkpoint(state, position=STAYS if ordinal % 2 else GOES)
        return clock.sample(len(steps))


def _copied(template: Path, place: Path) -> Path:
    """A store like another one, keys and all."""
    _remove(place)
    shutil.copytree(template, place)
    shutil.copytree(_keys(template), _keys(place))
    return place


def _remove(place: Path) -> None:
    for each in (place, _keys(place)):
        shutil.rmtree(each, ignore_errors=True)


def _keys(place: Path) -> Path:
    return place.with_name(place.name + ".keys")


# ---- in another form -----------------------------------------------------------------------------------------------------


def _reencoded(how: Run, template: Path, steps: Sequence[Step]) -> list[Side]:
    def compact() -> Sample:
        with aegis_store.open(_copied(template, how.place / "halved"), config=SYNCED) as store:
            store.retain(EVERY_OTHER)
            clock = _Clock()
            return clock.sample(store.compact().reencoded)

    def write() -> Sample:
        _remove(how.place / "written")
        return _write(how.place / "written", steps)

    return [Side(name=OURS, run=compact), Side(name=WRITING, run=write)]


def _reencode_figures(samples: Samples) -> list[Figure]:
    rates = {name: [sample.rate for sample in each] for name, each in samples.items()}
    title = "checkpoints a second in another form, every other one gone"
    return [
        figure(
            title,
            ours=OURS,
            ours_values=rates[OURS],
            unit="1/s",
            comparison="alone",
            durability=DURABLE,
            wanted=REENCODED_WANTED,
            better="more",
        ),
        figure(
            title,
            ours=OURS,
            peer=WRITING,
            ours_values=rates[OURS],
            peer_values=rates[WRITING],
            unit="1/s",
            comparison="ratio",
            durability=f"{DURABLE}; the peer: write",
            better="more",
        ),
        field_figure(
            "CPU of one, all of the compaction counted", samples, OURS, WRITING, "cpu_us", f"{DURABLE}; the peer: write"
        ),
    ]


# ---- appends meanwhile ---------------------------------------------------------------------------------------------------


def _appends(how: Run, template: Path) -> list[Side]:
    """A thread that appends while another compacts, and for as long alone. Samples hold the 99.9th of the latencies and the
    most, in the places of the 99th and the median."""
    states = conversations(256)
    least = APPENDS_MIN_QUICK if how.quick else APPENDS_MIN

    def beside(compacts: bool) -> Sample:
        with aegis_store.open(_copied(template, how.place / "appended"), config=SYNCED) as store:
            session = store.session("appending")
            session.checkpoint(states[0])
            store.retain(EVERY_OTHER)
            background = store.start_compaction() if compacts else None
            taken: list[int] = []
            begin = perf_counter()
            for state in cycle(states):
                before = perf_counter_ns()
                session.checkpoint(state)
                taken.append(perf_counter_ns() - before)
                if len(taken) >= least and (background is None or background.is_done):
                    break
            seconds = perf_counter() - begin
            if background is not None and background.wait().reencoded == 0:
                raise RuntimeError("nothing was compacted beside the appends")
        taken.sort()
        return Sample(
            operations=len(taken), seconds=seconds, median_us=taken[-1] / 1e3, p99_us=percentile(taken, 0.999) / 1e3, cpu_us=0.0
        )

    return [Side(name=BESIDE, run=lambda: beside(True)), Side(name=ALONE, run=lambda: beside(False))]


def _append_figures(samples: Samples) -> list[Figure]:
    return [
        figure(
            title,
            ours=BESIDE,
            peer=ALONE,
            ours_values=[getattr(sample, field) / 1e3 for sample in samples[BESIDE]],
            peer_values=[getattr(sample, field) / 1e3 for sample in samples[ALONE]],
            unit="ms",
            comparison="over",
            durability=DURABLE,
            wanted=wanted,
        )
        for title, field, wanted in (
            ("a checkpoint while another thread compacts, 99.9th percentile", "p99_us", PAUSE_WANTED),
            ("the same, the longest", "median_us", Wanted()),
        )
    ]


# ---- space ---------------------------------------------------------------------------------------------------------------


class _Space:
    """The sides, and what each weighed before and after, in bytes of its whole folder, closed."""

    def __init__(self, how: Run, template: Path, steps: Sequence[Step], missing: list[Missing]) -> None:
        self.bytes: Final[dict[str, tuple[int, int]]] = {}
        self.sides: Final[list[Side]] = []
        self._how = how
        newest: dict[str, int] = {}
        for name, ordinal, _ in steps:
            newest[name] = ordinal
        going = [(name, ordinal) for name, ordinal, _ in steps if ordinal <= newest[name] - KEEP_LAST]
        stay = len(steps) - len(going)
        self._add(OURS, template, _shrink_ours, lambda place: _count_ours(place, stay))
        how.say("filling SQLite and RocksDB")
        sqlite = how.place / "sqlite"
        shrinking.fill_sqlite(sqlite, _rows(steps))
        self._add(
            shrinking.SQLITE,
            sqlite,
            lambda place: shrinking.shrink_sqlite(place, KEEP_LAST),
            lambda place: _demand(shrinking.count_sqlite(place), stay),
        )
        with noted(missing):
            rocksdb = how.place / "rocksdb"
            shrinking.fill_rocksdb(rocksdb, _rows(steps))
            self._add(
                shrinking.ROCKSDB,
                rocksdb,
                lambda place: shrinking.shrink_rocksdb(place, going),
                lambda place: _demand(shrinking.count_rocksdb(place), stay),
            )

    def _add(self, name: str, template: Path, shrink: Callable[[Path], object], check: Callable[[Path], object]) -> None:
        place = self._how.place / "shrunk"

        def run() -> Sample:
            _remove(place)
            shutil.copytree(template, place)
            if _keys(template).exists():
                shutil.copytree(_keys(template), _keys(place))
            clock = _Clock()
            shrink(place)
            sample = clock.sample(1)
            self.bytes[name] = disk_bytes(template), disk_bytes(place)
            check(place)
            return sample

        self.sides.append(Side(name=name, run=run))


def _shrink_ours(place: Path) -> None:
    with aegis_store.open(place, config=SYNCED) as store:
        store.retain(NEWEST)
        store.compact()


def _count_ours(place: Path, wanted: int) -> None:
    with aegis_store.open(place, mode="r") as store:
        _demand(sum(1 for info in store.sessions() for _ in store.session(info.id).history()), wanted)


def _demand(found: int, wanted: int) -> None:
    if found != wanted:
        raise RuntimeError(f"{found} checkpoints are left, and {wanted} should be")


def _rows(steps: Sequence[Step]) -> Iterator[tuple[str, int, bytes]]:
    return ((name, ordinal, encode(state)) for name, ordinal, state in steps)


def _space_figures(samples: Samples, space: _Space) -> list[Figure]:
    figures = []
    for peer in space.bytes:
        if peer == OURS:
            continue
        figures.append(
            figure(
                f"seconds until the newest {KEEP_LAST} of each session are left",
                ours=OURS,
                peer=peer,
                ours_values=[sample.seconds for sample in samples[OURS]],
                peer_values=[sample.seconds for sample in samples[peer]],
                unit="s",
                comparison="ratio",
                durability=DURABLE,
            )
        )
        figures.append(
            figure(
                "bytes on disk then",
                ours=OURS,
                peer=peer,
                ours_values=[space.bytes[OURS][1] / 1e6],
                peer_values=[space.bytes[peer][1] / 1e6],
                unit="MB",
                comparison="ratio",
                durability=DURABLE,
            )
        )
    return figures


WORKLOAD: Final = Workload(name="compact", promise="what goes is taken out of the files, while appends go on", run=run)
