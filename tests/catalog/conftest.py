"""A log made up for the catalogue's tests, and a model that answers by looking through all of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest
from hypothesis import strategies as st

from aegis_store.catalog import (
    Catalog,
    CheckpointMade,
    CheckpointRecord,
    KeyAdded,
    KeyRecord,
    KeyRevoked,
    Other,
    Row,
    SessionBegan,
    SessionEnded,
    SessionRecord,
    WritesMade,
)
from aegis_store.types import Tier

STORE_ID = bytes(range(16))
MAC_KEY = b"m" * 32


class Log:
    """Rows of records of several tiers, in the order in which they were committed."""

    def __init__(self, salt: str = "", *, requests: bool = True, home: Tier = Tier.SESSION) -> None:
        #: Where its sessions are.
        self.home = home
        self.salt = salt
        self.requests = requests
        self.rows: list[Row] = []
        self.sizes: dict[Tier, int] = {}
        self.begun: list[SessionBegan] = []
        self.ordinals: dict[bytes, int] = {}
        self.written: dict[bytes, int] = {}

    def place(self, tier: Tier | None = None) -> dict[str, object]:
        tier = self.home if tier is None else tier
        index = self.sizes.get(tier, 0)
        self.sizes[tier] = index + 1
        return {"tier": tier, "index": index}

    def add(self, row: Row) -> Row:
        self.rows.append(row)
        return row

    def stamp(self) -> dict[str, object]:
        number = len(self.rows)
        return {"time_ms": 1_700_000_000_000 + number, "leaf": hashlib.sha256(f"{self.salt}{number}".encode()).digest()}

    def begin(self, name: str | None = None, *, agent: str = "support-bot", fork: bool = False) -> SessionBegan:
        number = len(self.begun)
        tag = hashlib.sha256(f"tag {self.salt}{number}".encode()).digest()[:16]
        origin = self.begun[-1] if fork and self.begun else None
        first = 0 if origin is None else self.ordinals[origin.tag] + 62  # so that forks begin in the middle of a group
        name = f"session {number}" if name is None else name
        row = SessionBegan(
            **self.place(),
            **self.stamp(),
            tag=tag,
            id=name,
            agent=agent,
            role="helper" if number % 2 else None,
            forked_from=None if origin is None else origin.id,
            parent=None if origin is None else origin.index,
            first_ordinal=first,
        )
        self.begun.append(row)
        self.ordinals[tag] = first
        self.add(row)
        return row

    def checkpoint(self, session: SessionBegan) -> CheckpointMade:
        ordinal = self.ordinals[session.tag]
        self.ordinals[session.tag] += 1
        request_tag = ordinal.to_bytes(8, "big") if self.requests and ordinal % 3 == 0 else None
        row = CheckpointMade(**self.place(), **self.stamp(), tag=session.tag, ordinal=ordinal, request_tag=request_tag)
        self.add(row)
        return row

    def write(self, session: SessionBegan) -> WritesMade:
        """Towards the checkpoint after the newest one whose ordinal is a multiple of 3, which there may not be yet."""
        ordinal = self.written.get(session.tag, 0)
        self.written[session.tag] = ordinal + 1
        request_tag = (self.ordinals[session.tag] // 3 * 3).to_bytes(8, "big")
        row = WritesMade(**self.place(), tag=session.tag, request_tag=request_tag, ordinal=ordinal)
        self.add(row)
        return row

    def end(self, session: SessionBegan) -> Row:
        return self.add(SessionEnded(**self.place(), tag=session.tag))

    def other(self, tier: Tier | None = None) -> Row:
        return self.add(Other(**self.place(tier)))

    def add_key(self, number: int, tier: Tier = Tier.SESSION) -> Row:
        return self.add(
            KeyAdded(**self.place(tier), key_id=_key_id(number), public_key=_public(number), agent=f"agent {number}")
        )

    def revoke_key(self, number: int, tier: Tier = Tier.SESSION) -> Row:
        return self.add(KeyRevoked(**self.place(tier), key_id=_key_id(number), public_key=_public(number)))

    def root_at(self, tier: Tier, size: int) -> bytes:
        """Of the rows of the tier before `size`, so that two logs differ in it where they differ in rows."""
        return hashlib.sha256(repr([row for row in self.rows if row.tier == tier and row.index < size]).encode()).digest()

    def open(self, directory: Path, **options: object) -> Catalog:
        """The catalogue of this log, not fed."""
        usual: dict[str, object] = {
            "store_id": STORE_ID,
            "mac_key": MAC_KEY,
            "log_sizes": self.sizes,
            "root_at": self.root_at,
            "refill": lambda: iter(self.rows),
            "writable": True,
        }
        return Catalog.open(directory, **(usual | options))

    def feed(self, catalog: Catalog) -> Catalog:
        """Apply what the catalogue does not cover."""
        covered = {tier: catalog.covered(tier) for tier in Tier}
        catalog.apply(row for row in self.rows if row.index >= covered[row.tier])
        return catalog


def _key_id(number: int) -> bytes:
    # Two keys that share an id, so that they are told apart by the key itself.
    return (number // 2).to_bytes(4, "big")


def _public(number: int) -> bytes:
    return bytes([number]) * 32


def expected(rows: list[Row]) -> dict[str, object]:
    """Everything that can be asked, answered from the rows alone."""
    rows = sorted(rows, key=lambda row: (row.tier, row.index))
    sessions, points, keys, writes = [], {}, {}, {}
    for begun in (row for row in rows if isinstance(row, SessionBegan)):
        made = [row for row in rows if isinstance(row, CheckpointMade) and row.tag == begun.tag]
        ended = [row.index for row in rows if isinstance(row, SessionEnded) and row.tag == begun.tag]
        last = made[-1] if made else begun
        sessions.append(
            SessionRecord(
                number=begun.index,
                id=begun.id,
                tag=begun.tag,
                agent=begun.agent,
                role=begun.role,
                forked_from=begun.forked_from,
                parent=begun.parent,
                first_ordinal=begun.first_ordinal,
                created_ms=begun.time_ms,
                last_ordinal=made[-1].ordinal if made else None,
                last_index=last.index,
                last_leaf=last.leaf,
                last_ms=last.time_ms,
                ended=ended[-1] if ended else None,
                writes=sum(isinstance(row, WritesMade) and row.tag == begun.tag for row in rows),
            )
        )
        points[begun.index] = [
            CheckpointRecord(number=begun.index, ordinal=row.ordinal, index=row.index, time_ms=row.time_ms)
            for row in reversed(made)
        ]
        for row in rows:
            if isinstance(row, WritesMade) and row.tag == begun.tag:
                writes.setdefault((begun.index, row.request_tag), []).append((row.ordinal, row.index))
    for tier in Tier:
        for number in range(6):
            allowed: list[list[int | None]] = []
            for row in rows:
                if row.tier == tier and isinstance(row, KeyAdded) and row.public_key == _public(number):
                    allowed.append([row.index, None])
                elif row.tier == tier and isinstance(row, KeyRevoked) and row.public_key == _public(number):
                    still = [each for each in allowed if each[1] is None]
                    if still:
                        still[-1][1] = row.index
            keys.setdefault((tier, _key_id(number)), []).extend(
                KeyRecord(
                    tier=tier,
                    key_id=_key_id(number),
                    agent=f"agent {number}",
                    public_key=_public(number),
                    added=added,
                    revoked=revoked,
                )
                for added, revoked in allowed
            )
    return {
        "sessions": sessions,
        "points": points,
        "writes": writes,
        "keys": {place: sorted(found, key=lambda record: record.added) for place, found in keys.items()},
    }


def answers(catalog: Catalog, rows: list[Row]) -> dict[str, object]:
    """The same, asked of a catalogue, each fact by every way that leads to it."""
    sessions: list[SessionRecord] = []
    while page := catalog.sessions(after=sessions[-1].number if sessions else None, limit=3):
        assert len(page) <= 3
        sessions += page
    points, writes = {}, {}
    for session in sessions:
        assert catalog.session(session.id) == catalog.session_by_tag(session.tag) == session
        found: list[CheckpointRecord] = []
        while some := catalog.checkpoints(session.number, before=found[-1].ordinal if found else None, limit=50):
            assert len(some) <= 50
            found += some
        assert [catalog.checkpoint(session.number, each.ordinal) for each in found] == found
        assert catalog.checkpoint(session.number, session.first_ordinal + len(found)) is None
        for each in found:
            requested = catalog.requested(session.number, each.ordinal.to_bytes(8, "big"))
            assert requested == (each if each.ordinal % 3 == 0 else None)
            assert catalog.all_requested(session.number, each.ordinal.to_bytes(8, "big")) == ([requested] if requested else [])
        tags = {row.request_tag for row in rows if isinstance(row, WritesMade)}
        found_writes = {(session.number, tag): catalog.writes(session.number, tag) for tag in tags}
        writes |= {place: some for place, some in found_writes.items() if some}
        points[session.number] = found
    keys = {(tier, _key_id(number)): catalog.key(tier, _key_id(number)) for tier in Tier for number in range(6)}
    return {"sessions": sessions, "points": points, "writes": writes, "keys": keys}


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(
            ["begin", "fork", "checkpoint", "checkpoint", "burst", "write", "end", "add", "revoke", "other", "away"]
        ),
        st.integers(0, 5),
    ),
    max_size=25,
)


def work(log: Log, actions: list[tuple[str, int]]) -> list[Row]:
    """Do them, and return the rows that came of it."""
    start = len(log.rows)
    for action, number in actions:
        tier = Tier.AUDIT if number % 2 else Tier.SESSION
        if action in ("begin", "fork"):
            log.begin(fork=action == "fork", agent=f"agent {number}")
        elif action == "add":
            log.add_key(number, tier)
        elif action == "revoke":
            log.revoke_key(number, tier)
        elif action == "other":
            log.other()
        elif action == "away":
            log.other(Tier.AUDIT)
        elif log.begun:
            session = log.begun[number % len(log.begun)]
            if action == "end":
                log.end(session)
            elif action == "write":
                log.write(session)
            for _ in range({"checkpoint": 1, "burst": 70}.get(action, 0)):
                log.checkpoint(session)
    return log.rows[start:]


def in_child(work: Callable[[], None]) -> None:
    """Run it in a forked child and fail if it fails there."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


class Kit:
    """What tests of this directory share."""

    STORE_ID = STORE_ID
    MAC_KEY = MAC_KEY
    Log = Log
    actions = ACTIONS
    work = staticmethod(work)
    in_child = staticmethod(in_child)
    expected = staticmethod(expected)
    answers = staticmethod(answers)

    @staticmethod
    def busy(sessions: int = 5, checkpoints: int = 100) -> Log:
        """A log with something of everything."""
        log = Log()
        for number in range(4):
            log.add_key(number)
        for _ in range(sessions):
            log.begin()
        for number in range(checkpoints):
            log.checkpoint(log.begun[number % sessions])
            if number % 7 == 0:
                log.write(log.begun[number % sessions])
        log.revoke_key(1)
        log.other(Tier.AUDIT)
        log.end(log.begun[0])
        return log


@pytest.fixture(scope="session")
def kit() -> type[Kit]:
    return Kit


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "catalog"


@pytest.fixture
def opened() -> Iterator[Callable[[Catalog], Catalog]]:
    """Closes, as a crash would, what a test leaves open."""
    kept: list[Catalog] = []
    yield lambda one: kept.append(one) or one
    for one in kept:
        one.abandon()


@pytest.fixture
def lmdb_opens(monkeypatch, place: Path) -> list[bytes | None]:
    """What data.mdb held at each time when LMDB was let at it: None for no file."""
    seen: list[bytes | None] = []
    real = lmdb.open

    def spy(*arguments, **options):
        seen.append((place / "data.mdb").read_bytes() if (place / "data.mdb").exists() else None)
        return real(*arguments, **options)

    monkeypatch.setattr(lmdb, "open", spy)
    return seen
