"""The tables in memory: for readers, and for a writer whose LMDB cannot be used."""

from __future__ import annotations

from bisect import bisect_right, insort

from aegis_store.catalog.tables import Table, Updates, no_updates


class MemoryTables:
    """Plain dicts. A checkpoint takes about 15 bytes, since 64 share an item."""

    def __init__(self) -> None:
        self._items = no_updates()
        self._sessions: list[bytes] = []

    def get(self, table: Table, key: bytes) -> bytes | None:
        return self._items[table].get(key)

    def sessions_after(self, key: bytes, limit: int) -> list[tuple[bytes, bytes]]:
        start = bisect_right(self._sessions, key)
        items = self._items[Table.SESSIONS]
        return [(found, items[found]) for found in self._sessions[start : start + limit]]

    def write(self, updates: Updates) -> None:
        for key in updates[Table.SESSIONS]:
            if key not in self._items[Table.SESSIONS]:
                insort(self._sessions, key)
        for table, items in updates.items():
            self._items[table].update(items)
