"""Items by when they were put, the newest first, without reading those that nobody comes to.

The catalogue says where the last record of each key is. The put of its value is that record or, after a refresh, one before it:
so keys are looked at from the last record backwards, and an item is given once no key that is left can have a later put.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from heapq import heappop, heappush

from aegis_store.catalog import SessionRecord
from aegis_store.memory.items import Stored
from aegis_store.memory.reading import Reader, View


def newest_first(reader: Reader, chains: Iterable[SessionRecord], view: View) -> Iterator[Stored]:
    """What `Reader.items` gives, by the index of the put, falling."""
    ends = [(place[1], chain) for chain in chains if (place := reader.place(chain, view)) is not None]
    ends.sort(key=lambda each: each[0])
    # By the index of its put, negated; no two items have one.
    waiting: list[tuple[int, Stored]] = []
    while ends:
        end, chain = ends.pop()
        while waiting and -waiting[0][0] > end:
            yield heappop(waiting)[1]
        for stored in reader.items([chain], view):
            put = end if stored.item.put is None else reader.index_of(chain, stored.put)
            heappush(waiting, (-put, stored))
    while waiting:
        yield heappop(waiting)[1]
