"""A whole log, read by its entries and folded into sessions in C: what a catalogue is made from when there is none.

Payloads are not read but for the few records that say more than their entry: those come back as records, and their payloads
are as believable as the commitment in the entry makes them, for the engine has only proven the entry.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator
from typing import Any, Final

import msgspec

from aegis_store._engine import facts
from aegis_store._engine.engine import SCAN_BUFFER_BYTES, Engine
from aegis_store._engine.facts import RECORD, Record
from aegis_store._engine.failures import failure
from aegis_store._native import ffi, lib
from aegis_store.types import Tier

#: aegis_chain: tag, number, first point, count of points, ordinal of the first, head.
_CHAIN: Final = struct.Struct("=16sQQII64s")
if _CHAIN.size != ffi.sizeof("aegis_chain"):
    raise ImportError("the extension was built from another version of aegis.h")
POINT_SIZE: Final = lib.AEGIS_POINT_SIZE
REQUEST_SIZE: Final = lib.AEGIS_REQUEST_SIZE
WRITES_SIZE: Final = lib.AEGIS_WRITES_SIZE
_TAKEN_SIZES: Final = (_CHAIN.size, POINT_SIZE, REQUEST_SIZE, WRITES_SIZE)
_new_buffer: Final = ffi.new_allocator(should_clear_after_alloc=False)

#: Tag [16], number, which point is its first, how many it has, the ordinal of its first, head [64] (aegis.h, aegis_chain).
SessionFields = tuple[bytes, int, int, int, int, bytes]


class Folded(msgspec.Struct, frozen=True):
    """What records [first, end) of a log come to, as aegis_chains_take tells it.

    `points` has POINT_SIZE bytes for each checkpoint, session by session, `requests` REQUEST_SIZE for each that carries a
    request tag, and `writes` WRITES_SIZE for each writes record, both in the log's order.
    """

    first: int
    end: int
    sessions: memoryview
    points: memoryview
    requests: memoryview
    writes: memoryview

    def chains(self) -> Iterator[SessionFields]:
        """The sessions that these records belong to, by number."""
        return _CHAIN.iter_unpack(self.sessions)


class Chains:
    """Folds the entries of a log, from the first one on. For one thread.

    Any error but those of the engine's own state means that this log is not one for the fast way: what is wrong with which
    record is for others to say.
    """

    def __init__(self, engine: Engine, tier: Tier, *, payloads_of: Collection[int]) -> None:
        self._engine = engine
        self._tier = tier
        #: Index of the record that comes.
        self.next = 0
        self._mask = sum(1 << kind for kind in payloads_of)
        handle = ffi.new("aegis_chains **")
        self._demand(lib.aegis_chains_start(tier, handle))
        self._chains = ffi.gc(handle[0], lib.aegis_chains_end)
        self._buffer = _new_buffer("uint8_t[]", SCAN_BUFFER_BYTES)
        self._records = ffi.new("aegis_record[]", lib.AEGIS_ENTRIES_MAX)
        self._records_view = ffi.buffer(self._records)
        self._told = ffi.new("uint32_t[]", lib.AEGIS_ENTRIES_MAX)
        self._count = ffi.new("uint32_t *")
        self._told_count = ffi.new("uint32_t *")
        self._taken = 0

    def add(self, end: int) -> list[Record]:
        """Folds some of the records from `next` to `end - 1`, at least one; those that have to be looked at, with payload."""
        buffer = self._buffer
        code = self._read(end, buffer)
        if code == lib.AEGIS_E_SPACE:
            buffer, _ = self._engine._larger(self._records[0], len(buffer))
            code = self._read(self.next + 1, buffer)
        self._demand(code)
        self._demand(lib.aegis_chains_add(self._chains, buffer, self._records, self._count[0], self._told, self._told_count))
        self.next += self._count[0]
        if not self._told_count[0]:
            return []
        view = ffi.buffer(buffer)
        told = self._told[0 : self._told_count[0]]
        return [facts.record(RECORD.unpack_from(self._records_view, at * RECORD.size), view) for at in told]

    def _read(self, end: int, buffer: Any) -> int:
        limit = min(lib.AEGIS_ENTRIES_MAX, end - self.next)
        out = buffer, len(buffer), self._records, self._count
        return self._engine._try("read", lib.aegis_read_entries, self._tier, self.next, limit, self._mask, *out)

    def take(self) -> Folded:
        """What was folded since the last call."""
        sizes = [ffi.new("uint64_t *") for _ in range(4)]
        self._demand(lib.aegis_chains_size(self._chains, *sizes))
        lengths = [size[0] * each for size, each in zip(sizes, _TAKEN_SIZES, strict=True)]
        sessions, *others = (_new_buffer("uint8_t[]", length) for length in lengths)
        self._demand(lib.aegis_chains_take(self._chains, ffi.cast("aegis_chain *", sessions), *others))
        first, self._taken = self._taken, self.next
        views = (memoryview(ffi.buffer(each)) for each in (sessions, *others))
        return Folded(first, self.next, *views)

    def _demand(self, code: int) -> None:
        if code:
            raise failure(code, "read", self._engine.path, tier=self._tier, index=self.next, keyed=True)
