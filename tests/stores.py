"""Stores for tests: clocks and dice that are told what to say, a look at a directory's bytes, and the tools of a forger."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import aegis_store
from aegis_store import Config, Head, Store, Tier, TierDurability
from aegis_store._engine import Engine, Record
from aegis_store.catalog.disk import DiskTables
from aegis_store.catalog.memory import MemoryTables
from aegis_store.catalog.tables import Table
from aegis_store.codec.payload import seal
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.schema.entry import pack_unsigned, signing_message
from aegis_store.trust.keys import KeyDirectory
from aegis_store.trust.signer import FileSigner, Signer
from aegis_store.types import Kind

#: Segments as small as they may be, so that a few dozen checkpoints fill one, and no waiting for the disk.
SMALL = Config(segment_bytes=64 << 10, durability=TierDurability(session="write"))
SEGMENT_FRAMES = 12288
FRAME_HEADER = 48


class Told:
    """A clock that says what it is told, and the last of it for ever; without being told anything it counts."""

    def __init__(self, *times: int, start: int = 1_700_000_000_000) -> None:
        self._times = list(times)
        self._last = start

    def now_ms(self) -> int:
        self._last = self._times.pop(0) if self._times else self._last + 1
        return self._last


class Dice:
    """Bytes that are the same in each run."""

    def __init__(self, seed: str = "") -> None:
        self._seed = seed
        self._drawn = 0
        self._lock = threading.Lock()

    def draw(self, count: int) -> bytes:
        with self._lock:
            self._drawn += 1
            return hashlib.shake_256(f"{self._seed}/{self._drawn}".encode()).digest(count)


class Crash(BaseException):
    """Raised by a test where an interrupt might come."""


def noise(count: int, seed: object = 0) -> bytes:
    """Bytes that do not compress, the same in each run."""
    return hashlib.shake_256(repr(seed).encode()).digest(count)


def make(place, *values: object, **options: object) -> Head:
    """A store with one session that holds these; its head, unreleased but for the close."""
    with aegis_store.open(place, **options) as store:
        for value in values or ("only",):
            store.session("s").checkpoint(value)
        return store.records.engine.head(Tier.SESSION)


def fill(store: Store, *sessions: str, each: int = 10, bytes_each: int = 3000) -> dict[str, list[object]]:
    """Checkpoints in turn in all the sessions; with SMALL, about twenty make a segment. What was saved, by session."""
    saved: dict[str, list[object]] = {name: [] for name in sessions}
    for number in range(each):
        for name in sessions:
            state = {"number": number, "noise": noise(bytes_each, (name, number))}
            store.session(name).checkpoint(state)
            saved[name].append(state)
    return saved


def abandon(store: Store) -> None:
    """Let go of a store as a crash of the process would."""
    store.catalog.abandon()
    store._engine.abandon()


def states(store: Store, name: str) -> list[object]:
    """What a session holds, oldest first."""
    return [each.state for each in store.session(name).history()][::-1]


def dump(tables: MemoryTables | DiskTables) -> dict[Table, dict[bytes, bytes]]:
    """All that a catalogue's tables hold."""
    if isinstance(tables, MemoryTables):
        return {table: dict(items) for table, items in tables._items.items()}
    with tables._live().begin() as txn:
        return {table: dict(txn.cursor(tables._dbs[table])) for table in Table}


# ---- files ------------------------------------------------------------------------------------------------------------------


def snapshot(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything below a folder: names, kinds, modes, times and bytes."""
    found = {}
    for root, folders, names in os.walk(folder):
        for name in (*folders, *names, "."):
            path = Path(root, name)
            status = path.lstat()
            data = path.read_bytes() if path.is_file() else b""
            found[os.path.relpath(path, folder)] = (status.st_mode, status.st_mtime_ns, status.st_ino, data)
    return found


def segments(place: Path, tier: str = "session") -> list[Path]:
    """A tier's segment files, oldest first."""
    return sorted((place / tier).glob("*.seg"))


class Span(NamedTuple):
    """Where a frame lies in its segment's file."""

    index: int
    start: int
    entry: int
    payload: int
    end: int


def frames(segment: Path) -> list[Span]:
    """The frames of a segment's file."""
    data, at, found = segment.read_bytes(), SEGMENT_FRAMES, []
    while data[at : at + 4] == b"AFR0":
        entry_length = int.from_bytes(data[at + 6 : at + 8], "little")
        payload_length = int.from_bytes(data[at + 8 : at + 12], "little")
        used = FRAME_HEADER + entry_length + payload_length
        end = at + (used + 7) // 8 * 8
        index = int.from_bytes(data[at + 16 : at + 24], "little")
        found.append(Span(index, at, at + FRAME_HEADER, at + FRAME_HEADER + entry_length, end))
        at = end
    return found


def frame_of(place: Path, index: int) -> tuple[Path, Span]:
    """The file and the frame of a record."""
    return next((path, span) for path in segments(place) for span in frames(path) if span.index == index)


def edit(path: Path, change: Callable[[bytearray], object]) -> None:
    """Change a file's bytes in place."""
    data = bytearray(path.read_bytes())
    result = change(data)
    path.write_bytes(data if result is None or not isinstance(result, bytes | bytearray) else result)


def blot(path: Path, at: int, length: int = 64) -> None:
    """Zeros over bytes of a file: a frame that begins there no longer proves which record it was."""

    def change(data: bytearray) -> None:
        data[at : at + length] = bytes(length)

    edit(path, change)


def flip(path: Path, at: int, mask: int = 1) -> None:
    """Flip bits of one byte of a file."""

    def change(data: bytearray) -> None:
        data[at] ^= mask

    edit(path, change)


# ---- forging ----------------------------------------------------------------------------------------------------------------


class Forger:
    """Who holds the store secret, and so can make the engine append what they like, but has no key that may sign it."""

    def __init__(self, engine: Engine, keys: KeyDirectory) -> None:
        self.engine = engine
        self.keys = keys
        self.stranger = FileSigner("stranger", noise(32, "stranger"))

    def entry(
        self,
        kind: Kind,
        commitment: bytes,
        length: int,
        signer: Signer,
        *,
        tier: Tier = Tier.SESSION,
        store_id: bytes | None = None,
        **fields: object,
    ) -> bytes:
        """An entry signed for that store and tier."""
        unsigned = pack_unsigned(
            kind=kind, tier=tier, time_ms=1, commitment=commitment, length=length, key_id=signer.key_id, **fields
        )
        return unsigned + signer.sign(signing_message(store_id or self.keys.store_id, tier, unsigned))

    def sealed(self, kind: Kind, envelope: bytes, signer: Signer, **fields: object) -> tuple[bytes, bytes]:
        """An entry and the payload that it commits to."""
        payload, commitment, length = seal(envelope, noise(16, envelope))
        return self.entry(kind, commitment, length, signer, **fields), payload

    def checkpoint(self, state: object, signer: Signer, **fields: object) -> int:
        """Append a checkpoint record."""
        envelope = checkpoint_schema.encode(checkpoint_schema.Checkpoint(state=state))
        return self.append(Kind.CHECKPOINT, *self.sealed(Kind.CHECKPOINT, envelope, signer, **fields))

    def append(self, kind: int, entry: bytes, payload: bytes) -> int:
        """Append anything; its index."""
        index = self.engine.append(Tier.SESSION, kind, entry, payload)
        self.engine.commit(Tier.SESSION, index)
        return index

    def again(self, index: int) -> int:
        """Append a record that is there once more."""
        record = self.read(index)
        return self.append(record.kind, record.entry, record.payload)

    def read(self, index: int) -> Record:
        return self.engine.read(Tier.SESSION, index)


@contextmanager
def forging(place: Path) -> Iterator[Forger]:
    """A forger at work on a closed store. The key directory's memory of heads is not changed."""
    keys = KeyDirectory.load(place.with_name(place.name + ".keys"))
    engine = Engine.open(place, mode="w", secret=keys.secret, store_id=keys.store_id)
    try:
        yield Forger(engine, keys)
    finally:
        engine.close()


def after(ref: aegis_store.Ref, tag: bytes) -> dict[str, object]:
    """The fields of an entry that follows a checkpoint in its session as it should."""
    return {"session_tag": tag, "ordinal": ref.ordinal + 1, "parent": ref.index, "parent_leaf": ref.leaf}
