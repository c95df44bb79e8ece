"""The tables in memory: for readers, and for a writer whose LMDB cannot be used."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

from aegis_store.catalog.tables import Item, Table, Updates, no_updates


class MemoryTables:
    """Plain dicts. A checkpoint takes about 15 bytes, since 64 share an item."""

    def __init__(self) -> None:
        self._items = no_updates()
        self._sessions: list[bytes] = []
        self._names: list[bytes] = []

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._items[table].get(key)

    def sessions_after(self, key: bytes, limit: int) -> list[Item]:
        start = bisect_right(self._sessions, key)
        items = self._items[Table.SESSIONS]
        return [(found, items[found]) for found in self._sessions[start : start + limit]]

    def items(self, table: Table, prefix: bytes, *, after: bytes = b"", limit: int | None = None) -> list[Item]:
        items = self._items[table]
        if table is not Table.NAMES:
            return sorted(item for item in items.items() if item[0].startswith(prefix) and item[0] > after)[:limit]
        found: list[Item] = []
        at = bisect_left(self._names, prefix) if after < prefix else bisect_right(self._names, after)
        while at < len(self._names) and self._names[at].startswith(prefix) and (limit is None or len(found) < limit):
            found.append((self._names[at], items[self._names[at]]))
            at += 1
        return found

    def write(self, updates: Updates) -> None:
        for key in updates[Table.SESSIONS]:
            if key not in self._items[Table.SESSIONS]:
                insort(self._sessions, key)
        for key in updates[Table.NAMES]:
            if key not in self._items[Table.NAMES]:
                insort(self._names, key)
        for table, items in updates.items():
            self._items[table].update(items)

    def load(self, table: Table, items: Iterator[Item]) -> None:
        there = self._items[table]
        ordered = {Table.SESSIONS: self._sessions, Table.NAMES: self._names}.get(table)
        if ordered is None:
            there.update(items)
            return
        new = dict(items)
        ordered.extend(key for key in new if key not in there)
        ordered.sort()
        there.update(new)
