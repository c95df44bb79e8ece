"""The catalogue: lookups into the log, kept in LMDB, always rebuildable from the log.

`rows` is what goes in and comes out; `tables` how it lies in bytes, and how rows are folded in; `bulk` takes whole stretches
of a log; `memory` and `disk` hold the tables; `sidecar` decides whether those on disk may be opened at all; `coverage` knows
how much of the log they know; `catalog` puts it together.
"""

from __future__ import annotations

from aegis_store.catalog.bulk import Stretch
from aegis_store.catalog.catalog import Catalog
from aegis_store.catalog.rows import (
    CheckpointMade,
    CheckpointRecord,
    DictionaryMade,
    DictionaryRecord,
    DictionaryRetired,
    HoldPlaced,
    HoldRecord,
    HoldReleased,
    KeyAdded,
    KeyRecord,
    KeyRevoked,
    Other,
    PayloadsGone,
    Row,
    SessionBegan,
    SessionEnded,
    SessionRecord,
    WritesMade,
    number_of,
)

__all__ = [
    "Catalog",
    "CheckpointMade",
    "CheckpointRecord",
    "DictionaryMade",
    "DictionaryRecord",
    "DictionaryRetired",
    "HoldPlaced",
    "HoldRecord",
    "HoldReleased",
    "KeyAdded",
    "KeyRecord",
    "KeyRevoked",
    "Other",
    "PayloadsGone",
    "Row",
    "SessionBegan",
    "SessionEnded",
    "SessionRecord",
    "Stretch",
    "WritesMade",
    "number_of",
]
