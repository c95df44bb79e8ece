"""Stretches of a log, put into tables at once: byte for byte what their rows make one by one."""

from __future__ import annotations

import struct
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from aegis_store._engine import Folded
from aegis_store.catalog import (
    CheckpointMade,
    DictionaryMade,
    KeyAdded,
    KeyRevoked,
    SessionBegan,
    SessionEnded,
    WritesMade,
    disk,
    number_of,
)
from aegis_store.catalog.bulk import Stretch, load
from aegis_store.catalog.disk import DiskTables
from aegis_store.catalog.memory import MemoryTables
from aegis_store.catalog.sidecar import Seal
from aegis_store.catalog.tables import Table, Tables, fold, number_key
from aegis_store.types import Tier
from tests.catalog.conftest import ACTIONS, Log, work
from tests.stores import dump

TIERS = (Tier.SESSION, Tier.MEMORY)


def stretch_of(rows: list, before: list) -> Stretch:
    """What the engine would make of `rows`, by looking through them and those before again and again."""
    begun = [row for row in (*before, *rows) if isinstance(row, SessionBegan)]
    sessions, points = b"", b""
    for own in begun:
        made = [row for row in rows if isinstance(row, CheckpointMade) and row.tag == own.tag]
        old = [row for row in before if isinstance(row, CheckpointMade) and row.tag == own.tag]
        ended = [row.index for row in (*before, *rows) if isinstance(row, SessionEnded) and row.tag == own.tag]
        if (
            not made
            and own not in rows
            and not any(isinstance(row, SessionEnded | WritesMade) and row.tag == own.tag for row in rows)
        ):
            continue
        written = sum(isinstance(row, WritesMade) and row.tag == own.tag for row in (*before, *rows))
        newest = (*old, *made)[-1] if old or made else own
        ordinal = newest.ordinal if isinstance(newest, CheckpointMade) else 0xFFFFFFFF
        end = ended[-1] if ended else 2**64 - 1
        head = struct.pack("<IQQQ32sI", ordinal, newest.index, newest.time_ms, end, newest.leaf, written)
        first = own.first_ordinal + len(old)
        sessions += struct.pack("=16sQQII64s", own.tag, own.index, len(points) // 12, len(made), first, head)
        points += b"".join(row.index.to_bytes(6, "little") + row.time_ms.to_bytes(6, "little") for row in made)
    numbers = {row.tag: row.index for row in begun}
    requests = b"".join(
        number_key(numbers[row.tag]) + row.request_tag + row.ordinal.to_bytes(4, "little")
        for row in rows
        if isinstance(row, CheckpointMade) and row.request_tag is not None
    )
    writes = b"".join(
        number_key(numbers[row.tag]) + row.request_tag + row.ordinal.to_bytes(4, "little") + row.index.to_bytes(6, "little")
        for row in rows
        if isinstance(row, WritesMade)
    )
    views = (memoryview(each) for each in (sessions, points, requests, writes))
    return Stretch(
        tier=rows[0].tier if rows else before[0].tier if before else Tier.SESSION,
        folded=Folded(len(before), len(before) + len(rows), *views),
        begun=[row for row in rows if isinstance(row, SessionBegan)],
        told=[row for row in rows if isinstance(row, KeyAdded | KeyRevoked | DictionaryMade)],
    )


def on_disk(folder: str, map_bytes: int = 1 << 20) -> DiskTables:
    seal = Seal(mac_key=b"m" * 32, store_id=bytes(16))
    return DiskTables(Path(folder, "catalog"), seal=seal, vouch=lambda covers: True, map_bytes=map_bytes)


def one_by_one(rows: list) -> dict[Table, dict[bytes, bytes]]:
    tables = MemoryTables()
    tables.write(fold(rows, tables.get))
    return dump(tables)


def check(tables: Tables, rows: list, cuts: list[int]) -> None:
    """Load the rows in stretches that end at the cuts, and the last one twice: as after an interrupt."""
    ends = sorted({min(cut, len(rows)) for cut in cuts} | {len(rows)})
    first = 0
    for end in ends:
        stretch = stretch_of(rows[first:end], rows[:first])
        load(stretch, tables)
        first = end
    load(stretch, tables)
    assert dump(tables) == one_by_one(rows)
    numbers = [number_key(number_of(row.tier, row.index)) for row in rows if isinstance(row, SessionBegan)]
    assert [key for key, _ in tables.sessions_after(b"", 10_000)] == numbers


def one_tier(actions: list[tuple[str, int]], tier: Tier) -> list:
    log = Log(home=tier)
    # Keys are added to the session tier, or the audit tier.
    left_out = ("away",) if tier is Tier.SESSION else ("away", "add", "revoke", "write")
    work(log, [(action, number * 2) for action, number in actions if action not in left_out])
    return [
        # Some are asked for more than once.
        replace(row, request_tag=bytes([row.ordinal % 5]) * 8)
        if isinstance(row, CheckpointMade) and row.ordinal % 3 == 0
        else row
        for row in log.rows
    ]


@given(ACTIONS, st.lists(st.integers(0, 400), max_size=4), st.sampled_from(TIERS))
def test_stretches_come_to_what_their_rows_come_to(actions, cuts, tier) -> None:
    check(MemoryTables(), one_tier(actions, tier), cuts)


@settings(max_examples=20, deadline=None)
@given(ACTIONS, st.lists(st.integers(0, 400), max_size=4), st.sampled_from(TIERS))
def test_on_disk_too(actions, cuts, tier) -> None:
    with TemporaryDirectory() as folder:
        tables = on_disk(folder)
        try:
            check(tables, one_tier(actions, tier), cuts)
        finally:
            tables.close()


def test_a_map_that_is_full_grows_under_a_load_and_nothing_is_lost(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(disk, "LOAD_ITEMS", 70)
    log = Log()
    for _ in range(500):
        log.begin(agent="a name of some length " * 20)
    tables = on_disk(str(tmp_path), map_bytes=64 << 10)
    try:
        check(tables, log.rows, [200])
        assert tables._live().info()["map_size"] > 64 << 10
    finally:
        tables.close()


@pytest.mark.parametrize("first", [0, 1, 63, 64, 65, 130])
def test_a_fork_leaves_room_for_its_parents_checkpoints_in_its_first_group(first: int) -> None:
    log = Log()
    begun = log.begin()
    fork = replace(begun, first_ordinal=first)
    log.rows[0] = log.begun[0] = fork
    log.ordinals[fork.tag] = first
    for _ in range(70):
        log.checkpoint(fork)
    for cuts in ([], [1], [2, 30, 66]):
        check(MemoryTables(), log.rows, cuts)
