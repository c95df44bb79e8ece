"""Payloads that are gone by right: which records a prune or an erase record covers.

A record's payload may be dropped, its entry stays. A gap is valid only if a signed prune or erase record of the same log covers
its index; any other is damage. What stands in the place of the payload names that record, its *cause*. Between the moment when
a cause is durable and that when the files are rewritten the payload is still there: it is refused all the same (`pending`).
Source: FORMAT.md, Gaps."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Final, Protocol

import msgspec

from aegis_store._engine import GAP, Engine, Record
from aegis_store.catalog import Catalog
from aegis_store.codec.runs import Runs
from aegis_store.errors import AegisError, Corrupt, Erased, Gone, Pruned
from aegis_store.schema import gaps as schema
from aegis_store.schema.entry import Entry
from aegis_store.types import Kind, LogIndex, Ordinal, Tier, TimeMs

#: Causes that are kept in memory beside those that are pending.
CAUSES_KEPT: Final = 64
#: Kinds that stay whatever happens: they say who may sign, and why something is gone or must not go.
STAYING: Final = frozenset({Kind.KEY_ADD, Kind.KEY_REVOKE, Kind.HOLD, Kind.HOLD_RELEASE, Kind.PRUNE, Kind.ERASE})
_CAUSE: Final = 8


class Cause(msgspec.Struct, frozen=True, kw_only=True):
    """A prune or erase record: what it covers, and what it says. Of an erase record: the session's tag, and who it was."""

    index: LogIndex
    time_ms: TimeMs
    is_erasure: bool
    reason: str
    runs: Runs
    by: str = ""
    tag: bytes = b""
    ordinal: Ordinal | None = None


class Read(Protocol):
    """A record that every check was made on."""

    @property
    def index(self) -> LogIndex: ...
    @property
    def entry(self) -> Entry: ...
    @property
    def envelope(self) -> bytes: ...


class Gaps:
    """The gaps of one tier. Any number of threads may use it."""

    def __init__(self, engine: Engine, catalog: Catalog, tier: Tier, *, read: Callable[[LogIndex], Read]) -> None:
        self._engine = engine
        self._catalog = catalog
        self._tier = tier
        self._read = read
        self._lock = threading.Lock()
        self._known: OrderedDict[int, Cause] = OrderedDict()
        # What the catalogue's version was when the next was asked for; it changes with every cause.
        self._version = -1
        self._pending: tuple[Cause, ...] = ()

    def demand(self, record: Record, kind: Kind) -> None:
        """Pruned, Erased: what the record held is gone, or is to be treated as if it were. Corrupt: it is gone without a
        cause."""
        if record.flags & GAP:
            raise self._gone(record, kind)
        if kind in STAYING:
            return
        # Each read asks, and there hardly ever is one.
        pending = self._pending if self._version == self._catalog.gaps_version else self.pending()
        for cause in pending:
            if record.index in cause.runs and cause.index > record.index:
                raise gone(LogIndex(record.index), cause, self._tier, self._engine.path)

    def pending(self) -> tuple[Cause, ...]:
        """The causes that the files do not follow yet, oldest first."""
        version = self._catalog.gaps_version  # first: what changes meanwhile is asked for again
        if version != self._version:
            swept = self._engine.stats(self._tier).swept
            found = [index for index, _ in self._catalog.gaps(self._tier) if index >= swept]
            self._pending, self._version = tuple(self.cause(index) for index in found), version
        return self._pending

    def swept(self) -> None:
        """The files were rewritten: what was pending may not be any more."""
        self._version = -1

    def newest_first(self) -> list[Cause]:
        """All of them that can be read: of the others verification speaks, and whoever reads what they cover."""
        found = []
        for index, _ in reversed(self._catalog.gaps(self._tier)):
            with suppress(AegisError):
                found.append(self.cause(index))
        return found

    def cause(self, index: LogIndex) -> Cause:
        """What the prune or erase record at `index` says. Corrupt: it is none, or damaged."""
        with self._lock:
            known = self._known.get(index)
            if known is not None:
                self._known.move_to_end(index)
                return known
        record = self._read(index)
        cause = cause_of(record)
        if cause is None:
            raise Corrupt(f"record {index} is none that takes payloads away", op="read", tier=self._tier.label, index=index)
        with self._lock:
            self._known[index] = cause
            if len(self._known) > CAUSES_KEPT:
                self._known.popitem(last=False)
        return cause

    def authorises(self, first: int, end: int, cause: int) -> bool:
        """Whether the record at `cause` is one that covers every index from `first` to `end - 1`."""
        if not first < end <= cause < self._engine.size(self._tier):
            return False
        try:
            return self.cause(LogIndex(cause)).runs.holds(first, end)
        except AegisError:
            return False

    def cause_named_by(self, record: Record) -> int:
        """The index that stands where the payload of a gap was."""
        return int.from_bytes(record.payload, "little") if len(record.payload) == _CAUSE else -1

    def _gone(self, record: Record, kind: Kind) -> AegisError:
        index = LogIndex(record.index)
        named = self.cause_named_by(record)
        if kind in STAYING or not self.authorises(index, index + 1, named):
            return Corrupt("its payload is gone, and no prune or erase record says why", op="read")
        return gone(index, self.cause(LogIndex(named)), self._tier, self._engine.path)


def cause_of(record: Read) -> Cause | None:
    """The cause in a believed record; None if it is of another kind."""
    entry = record.entry
    if entry.kind is Kind.PRUNE:
        prune = schema.decode_prune(record.envelope)
        return Cause(index=record.index, time_ms=entry.time_ms, is_erasure=False, reason=prune.reason, runs=prune.runs)
    if entry.kind is not Kind.ERASE:
        return None
    erase = schema.decode_erase(record.envelope)
    return Cause(
        index=record.index,
        time_ms=entry.time_ms,
        is_erasure=True,
        reason=erase.reason,
        runs=erase.runs,
        by=erase.by,
        tag=entry.session_tag,
        ordinal=erase.ordinal,
    )


def gone(index: LogIndex, cause: Cause, tier: Tier, path: str) -> Gone:
    """The error for a record whose payload a cause took away."""
    if cause.is_erasure:
        message = f"record {index} was erased by {cause.by} ({cause.reason}), says record {cause.index}"
        return Erased(message, op="read", path=path, tier=tier.label, index=index)
    message = f"record {index} was pruned ({cause.reason}), says record {cause.index}"
    return Pruned(message, op="read", path=path, tier=tier.label, index=index)
