"""A whole stretch of a log at once, as the engine folds it: what becomes of it in the tables.

The same as `tables.fold` makes of its rows one by one (tests/test_indexing.py holds them together), but checkpoints never
become objects: their points and heads are put as the engine laid them out. Everything comes sorted by key, table by table,
because LMDB takes sorted keys many times faster than others.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from aegis_store._engine import REQUEST_SIZE, WRITES_SIZE, Folded
from aegis_store.catalog.rows import Row, SessionBegan, number_of
from aegis_store.catalog.tables import (
    GROUP,
    NAMED,
    NO_POINT,
    POINT_SIZE,
    Item,
    Table,
    Tables,
    fold,
    group_key,
    id_key,
    name_key,
    number_key,
    request_key,
    session_value,
    with_ordinal,
    with_writes,
)
from aegis_store.types import Tier


class Stretch(msgspec.Struct, frozen=True, kw_only=True):
    """Records of one tier, in which nothing is amiss: `folded` is what all of them come to, `begun` and `told` the rows of
    those that say more than their entry, in order. Stretches of a log come in order, the first from record 0 on."""

    tier: Tier
    folded: Folded
    begun: list[SessionBegan]
    told: list[Row]


def load(stretch: Stretch, tables: Tables) -> None:
    """Put a stretch into tables that hold the stretches before it and nothing else, or this one already."""
    tier = stretch.tier
    numbered = [(number_of(tier, row.index), row) for row in stretch.begun]
    ids = {id_key(row.id, tier): number_key(number) for number, row in numbered if row.id is not None}
    tables.load(Table.IDS, iter(sorted(ids.items())))
    tables.load(Table.TAGS, iter(sorted((row.tag, number_key(number)) for number, row in numbered)))
    if tier in NAMED:
        names = (name_key(tier, row.id, number) for number, row in numbered if row.id is not None)
        tables.load(Table.NAMES, ((name, b"") for name in sorted(names)))
    tables.load(Table.SESSIONS, ((number_key(number), session_value(row)) for number, row in numbered))
    tables.load(Table.HEADS, _heads(tier, stretch.folded))
    tables.load(Table.POINTS, _points(tier, stretch.folded, tables))
    tables.load(Table.REQUESTS, _requests(tier, stretch.folded, tables))
    tables.load(Table.WRITES, _writes(tier, stretch.folded, tables))
    tables.write(fold(stretch.told, tables.get))


def _heads(tier: Tier, folded: Folded) -> Iterator[Item]:
    for _, begun, _, _, _, head in folded.chains():
        yield number_key(number_of(tier, begun)), head


def _points(tier: Tier, folded: Folded, tables: Tables) -> Iterator[Item]:
    points = bytes(folded.points)
    for _, begun, begin, count, first, _ in folded.chains():
        number, done = number_of(tier, begun), 0
        while done < count:
            group, slot = divmod(first + done, GROUP)
            here = min(GROUP - slot, count - done)
            value = points[(begin + done) * POINT_SIZE : (begin + done + here) * POINT_SIZE]
            key = group_key(number, group)
            yield key, _spliced(tables.get(Table.POINTS, key) or b"", slot, value) if slot else value
            done += here


def _spliced(value: bytes, slot: int, points: bytes) -> bytes:
    """A group with points put behind those below `slot`: they were there, or are another session's and stay out."""
    at = slot * POINT_SIZE
    before = value[:at]
    return before + NO_POINT * (slot - len(before) // POINT_SIZE) + points


def _requests(tier: Tier, folded: Folded, tables: Tables) -> Iterator[Item]:
    requests = bytes(folded.requests)
    found: dict[bytes, bytes] = {}
    for at in range(0, len(requests), REQUEST_SIZE):
        key, ordinal = _request_key(tier, requests, at), requests[at + REQUEST_SIZE - 4 : at + REQUEST_SIZE]
        known = found.get(key) or (tables.get(Table.REQUESTS, key) if folded.first else None)
        found[key] = ordinal if known is None else with_ordinal(known, int.from_bytes(ordinal, "little"))
    yield from sorted(found.items())


def _writes(tier: Tier, folded: Folded, tables: Tables) -> Iterator[Item]:
    writes = bytes(folded.writes)
    found: dict[bytes, bytes] = {}
    for at in range(0, len(writes), WRITES_SIZE):
        key = _request_key(tier, writes, at)
        value = found.get(key) or (tables.get(Table.WRITES, key) if folded.first else None) or b""
        ordinal, index = writes[at + REQUEST_SIZE - 4 : at + REQUEST_SIZE], writes[at + REQUEST_SIZE : at + WRITES_SIZE]
        found[key] = with_writes(value, int.from_bytes(ordinal, "little"), int.from_bytes(index, "little"))
    yield from sorted(found.items())


def _request_key(tier: Tier, told: bytes, at: int) -> bytes:
    """Number of the session and request tag, as the engine told them at that place."""
    return request_key(number_of(tier, int.from_bytes(told[at : at + 6], "big")), told[at + 6 : at + REQUEST_SIZE - 4])
