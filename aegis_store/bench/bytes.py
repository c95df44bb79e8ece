"""Bytes on disk after agents' sessions, everything counted: log, entries, signatures, catalogue, tiles, dictionaries.

Every side saves the same sessions, a state after every message, and is closed before it is weighed: stores of many files by the
blocks that they take, SQLite by its file's length, compressed states by theirs. Two splits: the sessions that the other
workloads measure, on which deltas and dictionaries were tuned, and others of the same families. Bytes are the same in each run,
or nearly so (LMDB's pages), so one round is enough.

A state's logical bytes are those of its envelope; the payload is what is stored of it, dictionaries included.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
import zstandard

import aegis_store
from aegis_store.bench.measure import Figure, Wanted, figure
from aegis_store.bench.results import Outcome
from aegis_store.bench.rivals import rocksdb_log, saver
from aegis_store.bench.rivals.absent import Missing, noted
from aegis_store.bench.rivals.rocksdb_log import RocksLog
from aegis_store.bench.rivals.saver import Saver
from aegis_store.bench.sessions import Session, families
from aegis_store.bench.workload import Run, Workload
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.schema.entry import parse
from aegis_store.stats import disk_bytes
from aegis_store.types import Kind

OURS, SQLITE, ROCKSDB = "aegis", saver.SQLITE, rocksdb_log.NAME
VACUUMED: Final = f"{SQLITE}, VACUUM"
WHOLE: Final = "zstd-3 of each state"
PEERS: Final = (SQLITE, VACUUMED, WHOLE, ROCKSDB)
TUNED, HELD_OUT = "", ", held out"
#: Bytes a checkpoint, and the payload's share of the logical bytes in per cent, by family. The held-out split has no targets of
#: its own.
DISK_WANTED: Final = {"tau-bench": Wanted(most=600), "mini-swe-agent": Wanted(most=1000)}
SHARE_WANTED: Final = {"tau-bench": Wanted(most=2.2), "mini-swe-agent": Wanted(most=1.2)}
SESSIONS_QUICK: Final = 4

#: What is done to a store between two times that it is weighed.
Stage = Callable[[aegis_store.Store], object]


def _compacted(store: aegis_store.Store) -> None:
    """One checkpoint goes, so that its segment is written anew, and with it all that stays."""
    store.erase(session=next(store.sessions()).id, ordinal=0, reason="to see what a compaction leaves")


STAGES: Final[dict[str, Stage]] = {"as written": lambda store: None, "after compaction": _compacted}


class Weighed(msgspec.Struct, frozen=True, kw_only=True):
    """Ours: `disk` after each stage. `payload` is as written."""

    disk: dict[str, int]
    payload: int
    logical: int
    dictionaries: int


def run(how: Run) -> Outcome:
    how.say("reading the sessions" if how.sessions else "making sessions up")
    figures: list[Figure] = []
    missing: list[Missing] = []
    plain: dict[str, Any] = {"sessions": "recorded" if how.sessions else "made up; give recorded ones with --sessions FILE"}
    for split, held_out in ((TUNED, False), (HELD_OUT, True)):
        for family, found in families(how.sessions, held_out=held_out).items():
            sessions = found[:SESSIONS_QUICK] if how.quick else found
            place = how.place / str(len(list(how.place.iterdir())))
            place.mkdir()
            title = family + split
            count = sum(len(session.messages) for session in sessions)
            how.say(f"{title}: {OURS}")
            ours = _weigh(place / "store", sessions)
            peers: dict[str, int] = {}
            for name, weigh in ((SQLITE, _saver), (WHOLE, _whole), (ROCKSDB, _rocksdb)):
                how.say(f"{title}: {name}")
                with noted(missing):
                    peers |= weigh(place, sessions)
            figures += _figures(title, family if split == TUNED else "", ours, peers, count)
            plain |= {
                f"{title}: checkpoints": count,
                f"{title}: logical bytes": ours.logical,
                f"{title}: payload bytes": ours.payload,
                f"{title}: dictionaries": ours.dictionaries,
            }
    return Outcome(figures=figures, plain=plain, missing=list({each.name: each for each in missing}.values()))


def _figures(title: str, family: str, ours: Weighed, peers: dict[str, int], count: int) -> list[Figure]:
    figures = []
    for stage, size in ours.disk.items():
        figures.append(
            figure(
                f"{title}: bytes a checkpoint, {stage}", ours=OURS, ours_values=[size / count], unit="B", comparison="alone",
                durability="", wanted=DISK_WANTED.get(family, Wanted()), note="the whole directory, closed",
            )
        )  # fmt: skip
        figures += [
            figure(
                f"{title}: bytes on disk, {stage}", ours=OURS, peer=peer, ours_values=[size / count],
                peer_values=[peers[peer] / count], unit="B", comparison="ratio", durability="", note="a checkpoint",
            )
            for peer in PEERS
            if peer in peers
        ]  # fmt: skip
    share = 100 * ours.payload / ours.logical
    figures.append(
        figure(
            f"{title}: payload of logical bytes", ours=OURS, ours_values=[share], unit="%", comparison="alone", durability="",
            wanted=SHARE_WANTED.get(family, Wanted()), note="dictionaries included",
        )
    )  # fmt: skip
    return figures


def _states(sessions: Sequence[Session]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    for number, session in enumerate(sessions):
        yield f"{session.session_id}#{number}", session.states()


def _weigh(place: Path, sessions: Sequence[Session]) -> Weighed:
    disk: dict[str, int] = {}
    for number, (stage, work) in enumerate(STAGES.items()):
        with aegis_store.open(place) as store:
            if number == 0:
                for name, states in _states(sessions):
                    checkpoint = store.session(name).checkpoint
                    for state in states:
                        checkpoint(state, position=state["position"])
                payload, logical, dictionaries = _stored(store)
            work(store)
        disk[stage] = disk_bytes(place)
    return Weighed(disk=disk, payload=payload, logical=logical, dictionaries=dictionaries)


def _stored(store: aegis_store.Store) -> tuple[int, int, int]:
    """Bytes of payloads of checkpoints and dictionaries, bytes of the checkpoints' envelopes, and how many dictionaries."""
    payload = logical = dictionaries = 0
    for record in store.records.scan(0, store.records.size()):
        if record.kind in (Kind.CHECKPOINT, Kind.CHUNK, Kind.DICTIONARY):
            payload += len(record.payload)
        if record.kind == Kind.CHECKPOINT:
            logical += parse(record.entry).length
        dictionaries += record.kind == Kind.DICTIONARY
    return payload, logical, dictionaries


def _saver(place: Path, sessions: Sequence[Session]) -> dict[str, int]:
    path = place / "saver.sqlite"
    with Saver.sqlite(path) as sqlite:
        for name, states in _states(sessions):
            for work in sqlite.works(name, states):
                work()
        written = sqlite.file_bytes()
        return {SQLITE: written, VACUUMED: sqlite.vacuumed_bytes()}


def _envelopes(sessions: Sequence[Session]) -> Iterator[bytes]:
    for _, states in _states(sessions):
        for state in states:
            yield checkpoint_schema.encode(checkpoint_schema.Checkpoint(state=state, position=state["position"]))


def _whole(place: Path, sessions: Sequence[Session]) -> dict[str, int]:
    compress = zstandard.ZstdCompressor(level=3).compress
    return {WHOLE: sum(len(compress(envelope)) for envelope in _envelopes(sessions))}


def _rocksdb(place: Path, sessions: Sequence[Session]) -> dict[str, int]:
    """Whole states, as it stores and compresses them; compacted, for it has no other form at rest."""
    path = place / "rocks"
    with ExitStack() as stack:
        rocks = stack.enter_context(RocksLog(path))
        for envelope in _envelopes(sessions):
            rocks.work(b"", envelope)()
        rocks.settle()
    return {ROCKSDB: disk_bytes(path)}


WORKLOAD: Final = Workload(name="bytes", promise="bytes on disk after agent sessions, everything counted", run=run)
