"""Whatever LMDB does, nothing that was acknowledged fails or is lost; and a log that contradicts itself is said to."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import lmdb
import pytest

from aegis_store.catalog import CheckpointMade, catalog
from aegis_store.catalog.disk import DiskTables
from aegis_store.catalog.sidecar import Seal
from aegis_store.errors import Corrupt
from aegis_store.types import Tier


def fail(error: Exception) -> Callable[..., None]:
    def failing(*_: object, **__: object) -> None:
        raise error

    return failing


@pytest.mark.parametrize("where", ["write", "get", "sessions_after"])
@pytest.mark.parametrize("error", [lmdb.DiskError("no space"), lmdb.CorruptedError("bad page"), OSError(5, "I/O error")])
def test_lmdb_may_fail_anywhere_and_nothing_is_lost(
    kit, place: Path, opened, monkeypatch, where: str, error: Exception
) -> None:
    log = kit.busy()
    live = opened(log.feed(log.open(place)))
    monkeypatch.setattr(DiskTables, where, fail(error))
    for _ in range(catalog.PENDING_ROWS + 10):
        live.note(log.checkpoint(log.begun[0]))
    assert kit.answers(live, log.rows) == kit.expected(log.rows)
    assert str(error) in live.broken
    assert os.listdir(place) == []  # not left for the next open, nor taking space
    live.note(log.begin())
    assert kit.answers(live, log.rows) == kit.expected(log.rows)
    live.close()
    assert os.listdir(place) == []


def test_a_file_that_cannot_grow_fails_nothing(kit, place: Path) -> None:
    log = kit.busy(checkpoints=30_000)

    def child() -> None:
        live = log.open(place)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        for row in log.rows:
            live.note(row)
        assert live.broken is not None
        assert live.session("session 0").last_ordinal == 5_999
        assert live.covered(Tier.SESSION) == log.sizes[Tier.SESSION]
        live.close()

    kit.in_child(child)
    assert os.listdir(place) == []


def test_a_map_that_is_too_small_grows_and_nobody_notices(kit, place: Path, opened) -> None:
    log = kit.busy(sessions=50, checkpoints=20_000)
    live = log.open(place, map_bytes=1 << 16)
    for row in log.rows:
        live.note(row)
    live.flush()
    assert live._tables._live().info()["map_size"] > 1 << 16
    assert live.broken is None
    live.close()
    again = opened(log.open(place, map_bytes=1 << 16))
    assert again.covered(Tier.SESSION) == log.sizes[Tier.SESSION]
    assert kit.answers(again, log.rows) == kit.expected(log.rows)
    assert again.broken is None


def test_a_failure_while_the_log_is_applied_is_made_up_for_at_the_first_lookup(kit, place: Path, opened, monkeypatch) -> None:
    log = kit.busy()
    live = opened(log.open(place))
    monkeypatch.setattr(DiskTables, "write", fail(lmdb.DiskError("no space")))
    log.feed(live)
    assert live.broken
    assert kit.answers(live, log.rows) == kit.expected(log.rows)
    assert live.covered(Tier.SESSION) == log.sizes[Tier.SESSION]


def test_what_is_noted_while_the_log_is_read_again_is_not_lost(kit, place: Path, opened, monkeypatch) -> None:
    monkeypatch.setattr(catalog, "BULK_ROWS", 4)
    log = kit.busy()
    session, later = log.begun[-1], []

    def refill() -> Iterator[object]:
        found = list(log.rows)
        # Committed behind the reader's back, of a session that the reader has not come to yet.
        for _ in range(3):
            later.append(log.checkpoint(session))
            live.note(later[-1])
        yield from found

    live = opened(log.feed(log.open(place, refill=refill)))
    monkeypatch.setattr(DiskTables, "get", fail(lmdb.CorruptedError("bad page")))
    assert live.session(session.id).last_index == later[-1].index
    assert kit.answers(live, log.rows) == kit.expected(log.rows)
    assert live.covered(Tier.SESSION) == log.sizes[Tier.SESSION]
    assert len(later) == 3


def test_what_is_noted_before_anybody_asks_again_does_not_pile_up(kit, place: Path, opened, monkeypatch) -> None:
    log = kit.busy()
    live = opened(log.feed(log.open(place)))
    monkeypatch.setattr(DiskTables, "write", fail(lmdb.DiskError("no space")))
    live.note(log.checkpoint(log.begun[0]))
    live.flush()
    assert live.broken
    for _ in range(100):
        live.note(log.checkpoint(log.begun[0]))
    assert live._rows == []
    assert live.covered(Tier.SESSION) == 0
    assert kit.answers(live, log.rows) == kit.expected(log.rows)


def test_a_log_that_cannot_be_read_again_is_tried_at_each_lookup(kit, place: Path, opened, monkeypatch) -> None:
    log, tries = kit.busy(), []

    def refill() -> Iterator[object]:
        tries.append(1)
        yield from log.rows[:50]
        if len(tries) < 3:
            raise OSError(5, "I/O error")
        yield from log.rows[50:]

    live = opened(log.feed(log.open(place, refill=refill)))
    monkeypatch.setattr(DiskTables, "get", fail(lmdb.CorruptedError("bad page")))
    for _ in range(2):
        with pytest.raises(OSError, match="I/O"):
            live.session("session 0")
        assert live.covered(Tier.SESSION) == 0
        live.note(log.checkpoint(log.begun[0]))
    assert kit.answers(live, log.rows) == kit.expected(log.rows)
    assert len(tries) == 3


@pytest.mark.parametrize("writable", [True, False])
def test_rows_that_contradict_each_other_are_corruption_wherever_they_come_from(
    kit, place: Path, opened, writable: bool
) -> None:
    log = kit.busy()
    bad = CheckpointMade(**log.place(), **log.stamp(), tag=b"never began it..", ordinal=0)
    live = opened(log.feed(log.open(place, writable=writable)))
    live.note(bad)  # an acknowledged append is not failed
    live.flush()
    log.add(bad)
    for _ in range(2):
        with pytest.raises(Corrupt, match="no record before it begins"):
            live.session("session 0")
    fresh = opened(log.open(place.with_name("fresh"), writable=writable))
    with pytest.raises(Corrupt, match="no record before it begins"):
        log.feed(fresh) if fresh.is_read else fresh.session("session 0")


def test_a_contradiction_never_fails_the_note_that_flushes(kit, place: Path, opened, monkeypatch) -> None:
    monkeypatch.setattr(catalog, "PENDING_ROWS", 4)
    log = kit.busy()
    tries: list[int] = []
    live = opened(log.feed(log.open(place, refill=lambda: tries.append(1) or iter(log.rows))))
    for _ in range(10):
        live.note(CheckpointMade(**log.place(), **log.stamp(), tag=b"never began it..", ordinal=0))
        live.flush()
    assert live.broken
    assert tries == []  # not before somebody asks
    # The rows were never in the log, so the log answers.
    assert kit.answers(live, log.rows) == kit.expected(log.rows)


@pytest.mark.parametrize("obstacle", ["file", "symlink", "no parent", "lmdb"])
def test_where_lmdb_cannot_be_had_memory_serves(kit, place: Path, opened, monkeypatch, obstacle: str) -> None:
    victim = place.with_name("victim")
    victim.mkdir()
    (victim / "data.mdb").write_text("precious")
    if obstacle == "file":
        place.write_text("x")
    elif obstacle == "symlink":
        place.symlink_to(victim)
    elif obstacle == "no parent":
        place = place / "deeper" / "still"
    else:
        monkeypatch.setattr(lmdb, "open", fail(lmdb.Error("no")))
    log = kit.busy()
    live = opened(log.open(place))
    assert live.broken
    assert kit.answers(log.feed(live), log.rows) == kit.expected(log.rows)
    live.close()
    assert (victim / "data.mdb").read_text() == "precious"


@pytest.mark.parametrize("what", ["sidecar", "root", "flush"])
def test_a_close_that_cannot_vouch_says_so_and_leaves_nothing(kit, place: Path, opened, monkeypatch, what: str) -> None:
    log = kit.busy()
    live = log.feed(log.open(place))
    live.note(log.begin())
    if what == "sidecar":
        monkeypatch.setattr(Seal, "write", fail(OSError(28, "no space")))
    elif what == "flush":
        monkeypatch.setattr(DiskTables, "write", fail(lmdb.DiskError("no space")))
    else:
        live._root_at = fail(RuntimeError("the log is closed"))
    live.close()
    assert live.broken
    assert os.listdir(place) == []
    monkeypatch.undo()
    again = opened(log.open(place))
    assert again.covered(Tier.SESSION) == 0


@pytest.mark.parametrize("looked", [False, True])
def test_what_pends_is_bounded_and_let_go_of(kit, place: Path, opened, looked: bool) -> None:
    log = kit.busy(checkpoints=5_000)
    live = opened(log.open(place))
    most = 0
    for row in log.rows:
        live.note(row)
        if looked:
            live.session("session 0")
        most = max(most, len(live._rows) + live._unwritten + sum(map(len, live._overlay.values())))
    assert most < 2 * catalog.PENDING_ROWS
    live.flush()
    assert live._rows == []
    assert not any(live._overlay.values())
    assert not live._coverage._ahead
