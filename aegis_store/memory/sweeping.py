"""What has expired is deleted: a record that says so, after which retention may let the value go.

An expired item is not served in any case, swept or not.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

import msgspec

from aegis_store.catalog import SessionRecord
from aegis_store.errors import Erased
from aegis_store.memory.keys import Keys
from aegis_store.memory.reading import Reader, View
from aegis_store.memory.writing import Queued
from aegis_store.schema import names

#: Deletes that share a commit.
BATCH: Final = 256
#: Keys between two words of how far it is.
STEP: Final = 64


class Swept(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep did: keys that were looked at, and those whose value had expired and was deleted."""

    looked_at: int
    deleted: int


#: Told how many keys were looked at, and how many values deleted.
Watcher = Callable[[int, int], object]


def sweep(
    reader: Reader,
    keys: Keys,
    prefix: str,
    *,
    agent: str,
    view: View,
    limit: int | None,
    watch: Watcher | None,
    commit: Callable[[list[Queued]], None],
) -> Swept:
    """Delete what has expired of the keys whose names begin so; at most `limit`. Each batch is durable when the next begins."""
    looked_at = deleted = 0
    queued: list[Queued] = []
    try:
        for chain in reader.chains(prefix):
            if limit is not None and deleted >= limit:
                break
            looked_at += 1
            one = _expired(reader, keys, chain, view, agent)
            if one is not None:
                queued.append(one)
                deleted += 1
            if len(queued) == BATCH:
                commit(queued)
                queued = []
            if watch is not None and looked_at % STEP == 0:
                watch(looked_at, deleted)
    finally:
        commit(queued)
    return Swept(looked_at=looked_at, deleted=deleted)


def _expired(reader: Reader, keys: Keys, chain: SessionRecord, view: View, agent: str) -> Queued | None:
    place = reader.place(chain, view)
    if place is None:
        return None
    until = reader.until(place[1])
    if until is None:
        with suppress(Erased):
            reader.at_place(chain, *place, with_value=False)
        until = reader.until(place[1])
    if not until or until > view.now:  # deleted already, or there
        return None
    return keys.of(*names.split(chain.id)).sweep(view.now, agent)
