"""The tables in memory: for readers, and for a writer whose LMDB cannot be used."""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Iterator

from aegis_store.catalog.tables import Item, Table, Updates, no_updates


class MemoryTables:
    """Plain dicts. A checkpoint takes about 15 bytes, since 64 share an item."""

    def __init__(self) -> None:
        self._items = no_updates()
        self._sessions: list[bytes] = []

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._items[table].get(key)

    def sessions_after(self, key: bytes, limit: int) -> list[Item]:
        start = bisect_right(self._sessions, key)
        items = self._items[Table.SESSIONS]
        return [(found, items[found]) for found in self._sessions[start : start + limit]]

    def items(self, table: Table, prefix: bytes) -> list[Item]:
        return sorted(item for item in self._items[table].items() if item[0].startswith(prefix))

    def write(self, updates: Updates) -> None:
        for key in updates[Table.SESSIONS]:
            if key not in self._items[Table.SESSIONS]:
                insort(self._sessions, key)
        for table, items in updates.items():
            self._items[table].update(items)

    def load(self, table: Table, items: Iterator[Item]) -> None:
        there = self._items[table]
        if table is not Table.SESSIONS:
            there.update(items)
            return
        new = dict(items)
        self._sessions.extend(key for key in new if key not in there)
        self._sessions.sort()
        there.update(new)
