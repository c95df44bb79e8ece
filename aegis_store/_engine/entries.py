"""The entries of a log without what they are entries of: for whoever looks at all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aegis_store._engine.engine import SCAN_BUFFER_BYTES, Engine
from aegis_store._engine.facts import RECORD
from aegis_store._engine.failures import failure
from aegis_store._native import ffi, lib
from aegis_store.types import Tier

_new_buffer: Final = ffi.new_allocator(should_clear_after_alloc=False)

#: Index, kind, flags, bytes of the payload, entry.
EntryFields = tuple[int, int, int, int, bytes]


def entries(engine: Engine, tier: Tier, first: int, end: int) -> Iterator[EntryFields]:
    """The entries of records `first` to `end - 1`, each proven to be in the tree. Of payloads nothing is read or checked.

    Corrupt names the record that cannot be read.
    """
    buffer = _new_buffer("uint8_t[]", SCAN_BUFFER_BYTES)
    view = ffi.buffer(buffer)
    records = ffi.new("aegis_record[]", lib.AEGIS_ENTRIES_MAX)
    records_view = ffi.buffer(records)
    count = ffi.new("uint32_t *")
    while first < end:
        limit = min(lib.AEGIS_ENTRIES_MAX, end - first)
        code = engine._try("read", lib.aegis_read_entries, tier, first, limit, 0, buffer, len(buffer), records, count)
        if code:
            raise failure(code, "read", engine.path, tier=tier, index=first, keyed=engine._keyed)
        for index, kind, flags, length, payload, at, _, _ in RECORD.iter_unpack(records_view[: count[0] * RECORD.size]):
            yield index, kind, flags, payload, view[at : at + length]
        first += count[0]
