"""The catalogue: which sessions, checkpoints and keys there are, and where in the log.

The log is the truth, this is a cache. It is fed: the caller asks at open what is covered, applies the rows of the rest, and
from then on notes the row of each record that it has committed. Rows pend in memory, so that to acknowledge a record does not
wait for LMDB; lookups see them. Nothing that goes wrong with LMDB fails a note or a lookup: the catalogue deletes the file,
reads the log again into memory at the next lookup (`refill`), and says so in `broken`. At a clean close a sidecar vouches for
the file, and without it the next open starts empty.

    rows ──note──▶ pending rows ──fold──▶ overlay (bytes) ──flush──▶ tables: LMDB, or dicts in a reader
                                              lookups: overlay, then tables

Two locks, taken in this order: `_lock` for overlay and tables, `_pend` for pending rows and coverage. A note takes the second
only.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import lmdb

from aegis_store.catalog.bulk import Stretch, load
from aegis_store.catalog.coverage import Coverage
from aegis_store.catalog.disk import DiskTables
from aegis_store.catalog.memory import MemoryTables
from aegis_store.catalog.rows import (
    INDEX_BITS,
    CheckpointRecord,
    DictionaryRecord,
    HoldPlaced,
    HoldRecord,
    HoldReleased,
    KeyAdded,
    KeyRecord,
    KeyRevoked,
    PayloadsGone,
    Row,
    SessionRecord,
    number_of,
)
from aegis_store.catalog.sidecar import Seal
from aegis_store.catalog.tables import (
    GROUP,
    NAMED,
    NUMBER_BYTES,
    NUMBER_MAX,
    ORDINAL_MAX,
    TAG_SIZE,
    Table,
    Tables,
    checkpoint_record,
    dictionary_records,
    fold,
    group_key,
    hold_record,
    id_key,
    index_of,
    key_records,
    last_ordinal,
    name_key,
    name_prefix,
    no_updates,
    number_key,
    ordinals_of,
    request_key,
    session_record,
    signer_key,
    tier_key,
    writes_records,
)
from aegis_store.errors import Closed, Corrupt, InvalidArgument, UsedAfterFork
from aegis_store.types import Head, LogIndex, Ordinal, Tier

#: Rows that pend before a note flushes them; before it waits for a flush that another thread is in.
PENDING_ROWS = 1_024
PENDING_ROWS_MAX = 8_192
#: Rows in one transaction of a rebuild.
BULK_ROWS = 16_384
#: Of address space, not of disk; doubled when full.
MAP_BYTES = 64 << 20

#: Rows with which what was asked of keys, of gaps and of holds may be answered otherwise.
_OF_KEYS: Final = frozenset({KeyAdded, KeyRevoked})
_OF_GAPS: Final = frozenset({PayloadsGone, HoldPlaced, HoldReleased})

Found = TypeVar("Found")


class Catalog:
    """Lookups into the log of one store, from any thread. See the module's text."""

    def __init__(
        self,
        tables: Tables,
        *,
        covers: Iterable[Head],
        root_at: Callable[[Tier, int], bytes],
        refill: Callable[[], Iterable[Row | Stretch]],
        broken: str | None = None,
        due: Callable[[], None] | None = None,
        is_read: bool = True,
    ) -> None:
        self._tables = tables
        self._root_at = root_at
        self._refill = refill
        self._due = due
        self._broken = broken
        # The tables say nothing, and the next lookup reads the log: they were lost, or nobody has asked yet.
        self._stale = not is_read
        self._closed = False
        self._pid = os.getpid()
        #: Changes with every row about a key, and where all may have changed: what `key` answered before may be asked again.
        self.keys_version = 0
        #: The same of `gaps` and of `holds`.
        self.gaps_version = 0
        self._lock = threading.Lock()
        self._overlay = no_updates()
        self._unwritten = 0
        self._pend = threading.Lock()
        self._rows: list[Row] = []
        self._coverage = Coverage({cover.tier: cover.size for cover in covers})

    @classmethod
    def open(
        cls,
        directory: Path,
        *,
        store_id: bytes,
        mac_key: bytes,
        log_sizes: Mapping[Tier, int],
        root_at: Callable[[Tier, int], bytes],
        refill: Callable[[], Iterable[Row | Stretch]],
        writable: bool,
        map_bytes: int = MAP_BYTES,
        due: Callable[[], None] | None = None,
    ) -> Self:
        """The catalogue in `directory`, an empty one where that cannot be vouched for, or one in memory if not `writable`.

        That one reads the log at the first lookup: who opens a store only to see its head waits for nothing.
        `log_sizes` and `root_at(tier, size)` are the logs' own. `refill()` yields the rows of all tiers from their first record
        on, or stretches of them; it is called from within a lookup and must not look up. Locked if this process has the
        catalogue open already."""
        if not writable:
            return cls(MemoryTables(), covers=(), root_at=root_at, refill=refill, due=due, is_read=False)

        def vouch(covers: Iterable[Head]) -> bool:
            return all(
                cover.size <= log_sizes.get(cover.tier, 0) and cover.root == root_at(cover.tier, cover.size) for cover in covers
            )

        seal = Seal(mac_key=mac_key, store_id=store_id)
        try:
            disk = DiskTables(directory, seal=seal, vouch=vouch, map_bytes=map_bytes)
        except (lmdb.Error, OSError) as error:
            return cls(MemoryTables(), covers=(), root_at=root_at, refill=refill, broken=_reason(error), due=due)
        return cls(disk, covers=disk.covers, root_at=root_at, refill=refill, due=due)

    @property
    def broken(self) -> str | None:
        """Why the catalogue is in memory although it was opened for writing; None if all is well."""
        return self._broken

    @property
    def is_read(self) -> bool:
        """Whether it knows anything yet. If not, feed it nothing: the next lookup reads the log, to its end of then."""
        with self._pend:
            return not self._stale

    def covered(self, tier: Tier) -> int:
        """How many records of the tier are known: feed it the rest."""
        self._check()
        with self._pend:
            return self._coverage.sizes.get(tier, 0)

    # ---- feeding ----------------------------------------------------------------------------------------------------------

    def note(self, row: Row) -> None:
        """Take in a committed record. Never fails for a reason of the tables.

        Where many rows pend, `due` is called, which is to see to it that `flush` is, elsewhere. Without it, or where very many
        pend all the same, this call writes them.
        """
        if os.getpid() != self._pid:
            self._check()  # before any lock, which may never be let go in a child
        with self._pend:
            if self._closed:
                raise _closed()
            if self._stale:
                return  # it is in the log, and the log will be read
            self._rows.append(row)
            self._coverage.note(row.tier, row.index)
            kind = type(row)
            if kind in _OF_KEYS:
                self.keys_version += 1
            elif kind in _OF_GAPS:
                self.gaps_version += 1
            pending = self._unwritten + len(self._rows)
        if PENDING_ROWS <= pending < PENDING_ROWS_MAX and self._due is not None:
            self._due()
        elif pending >= PENDING_ROWS and self._lock.acquire(blocking=pending >= PENDING_ROWS_MAX):
            try:
                self._try_flush()
            finally:
                self._lock.release()

    def cover(self, tier: Tier, size: int) -> None:
        """The caller has looked at every record below `size`: what was not applied or noted, no lookup asks for."""
        self._check()
        with self._pend:
            if not self._stale:
                self._coverage.cover(tier, size)

    def apply(self, rows: Iterable[Row | Stretch]) -> None:
        """Take in many records, in large transactions, while nobody notes. Corrupt for rows that contradict each other."""
        self._check()
        for batch in _batches(rows):
            with self._lock:
                with self._pend:
                    self._suspect_answers()
                    if self._closed:
                        raise _closed()
                    if self._stale:
                        return
                    if not isinstance(batch, Stretch):
                        self._rows.extend(batch)
                        self._cover(batch)
                error = self._try_load(batch) if isinstance(batch, Stretch) else self._try_flush()
                if isinstance(error, Corrupt):
                    raise error

    def _cover(self, batch: list[Row] | Stretch) -> None:
        if isinstance(batch, Stretch):
            self._coverage.cover(batch.tier, batch.folded.end)
            return
        for row in batch:
            self._coverage.note(row.tier, row.index)

    def _try_load(self, stretch: Stretch) -> Exception | None:
        """Put a stretch into the tables. If that fails, forget everything and say why."""
        try:
            self._flush()
            load(stretch, self._tables)
        except Exception as error:
            self._lose(error)
            return error
        with self._pend:
            self._cover(stretch)
        return None

    def flush(self) -> None:
        """Write what pends, without a sync. For a moment with nothing else to do; never fails for a reason of the tables."""
        self._check()
        with self._lock:
            self._try_flush()

    def _try_flush(self) -> Exception | None:
        """Flush. If that fails, forget everything and say why."""
        try:
            if not self._closed:
                self._flush()
        except Exception as error:
            self._lose(error)
            return error
        return None

    def _settle(self) -> None:
        """Fold the pending rows into the overlay."""
        with self._pend:
            rows = self._rows[:]
        if not rows:
            return
        updates = fold(rows, self._get)
        for table, items in updates.items():
            self._overlay[table].update(items)
        # Only now, so that an interrupt in between loses nothing: folding a row twice changes nothing.
        with self._pend:
            del self._rows[: len(rows)]
            self._unwritten += len(rows)

    def _flush(self) -> None:
        self._settle()
        if self._unwritten:
            self._tables.write(self._overlay)
            self._overlay = no_updates()
            self._unwritten = 0

    # ---- when LMDB fails --------------------------------------------------------------------------------------------------

    def _lose(self, error: BaseException) -> None:
        """Forget everything: the next lookup reads the log."""
        if isinstance(self._tables, DiskTables):
            self._tables.discard()
            self._broken = _reason(error)
        self._tables = MemoryTables()
        with self._pend:
            self._forget()

    def _forget(self) -> None:
        self._stale = True
        self._suspect_answers()
        self._rows.clear()
        self._overlay = no_updates()
        self._unwritten = 0
        self._coverage = Coverage()

    def _suspect_answers(self) -> None:
        self.keys_version += 1
        self.gaps_version += 1

    def renew(self) -> None:
        """Make it anew from the log, in a file of its own: of what was erased not even a free page is left. Never fails for a
        reason of the tables."""
        self._check()
        with self._lock:
            with self._pend:
                if self._closed:
                    raise _closed()
                self._forget()
            try:
                if isinstance(self._tables, DiskTables):
                    self._tables.renew()
                else:
                    self._tables = MemoryTables()
                self._fill(self._tables)
            except (lmdb.Error, OSError) as error:
                self._lose(error)

    def _fill(self, tables: Tables) -> None:
        """Read the log into empty tables. What is noted meanwhile pends: the log may have been read past it already."""
        with self._pend:
            self._stale = False
        try:
            for batch in _batches(self._refill()):
                if isinstance(batch, Stretch):
                    load(batch, tables)
                else:
                    tables.write(fold(batch, tables.get))
                with self._pend:
                    self._cover(batch)
            self._tables = tables
        except BaseException:
            with self._pend:
                self._forget()
            raise

    def _look(self, find: Callable[[], Found]) -> Found:
        """Run a lookup under the lock; where the tables fail it, once more on the log."""
        self._check()
        with self._lock:
            if self._closed:
                raise _closed()
            if not self._stale:
                try:
                    self._settle()
                    return find()
                except Exception as error:
                    self._lose(error)
            self._fill(MemoryTables())
            self._settle()
            return find()

    # ---- lookups ----------------------------------------------------------------------------------------------------------

    def session(self, session_id: str, tier: Tier = Tier.SESSION) -> SessionRecord | None:
        """The session of that id in a tier."""
        key = id_key(session_id, tier)
        found = self._look(lambda: self._session(self._get(Table.IDS, key)))
        return found if found is not None and found.id == session_id else None

    def session_by_tag(self, tag: bytes) -> SessionRecord | None:
        """The session whose entries carry `tag`."""
        if len(tag) != TAG_SIZE:
            return None
        return self._look(lambda: self._session(self._get(Table.TAGS, tag)))

    def sessions(self, *, tier: Tier = Tier.SESSION, after: int | None = None, limit: int = 100) -> list[SessionRecord]:
        """At most `limit` sessions of a tier with numbers above `after`, oldest first."""
        _positive(limit)
        lowest, highest = number_of(tier, 0), number_of(tier, (1 << INDEX_BITS) - 1)
        if after is not None and not 0 <= after <= NUMBER_MAX:
            raise InvalidArgument(f"no session has the number {after}", op="sessions")
        # The number of a session that a tier begins with is its lowest: nothing is above an empty key, either.
        key = number_key(max(lowest - 1, 0) if after is None else after) if lowest or after is not None else b""
        end = number_key(highest)

        def find() -> list[SessionRecord]:
            self._flush()
            found: list[SessionRecord] = []
            last = key
            while items := self._tables.sessions_after(last, limit - len(found)):
                here = [item for item in items if item[0] <= end]
                records = (session_record(number, value, self._head(number)) for number, value in here)
                found.extend(record for record in records if not record.is_erased)
                last = items[-1][0]
                if len(found) == limit or len(here) < len(items):
                    break
            return found

        return self._look(find)

    def named(self, prefix: str, *, tier: Tier, after: SessionRecord | None = None, limit: int = 100) -> list[SessionRecord]:
        """At most `limit` sessions of a tier whose ids start with `prefix`, behind that of `after`, in the order of the first
        bytes of their ids. InvalidArgument: the tier's names are not kept in order."""
        _positive(limit)
        if tier not in NAMED:
            raise InvalidArgument(f"the names of the {tier.label} tier are not looked for by prefix", op="lookup")
        start = name_prefix(tier, prefix)

        def find() -> list[SessionRecord]:
            self._flush()
            last = b"" if after is None else name_key(tier, after.id, after.number)
            found: list[SessionRecord] = []
            while items := self._tables.items(Table.NAMES, start, after=last, limit=limit - len(found)):
                for key, _ in items:
                    # An erased one has no id here any more; a long prefix shares its first bytes with others.
                    session = self._session(key[-NUMBER_BYTES:])
                    if session is not None and not session.is_erased and session.id.startswith(prefix):
                        found.append(session)
                last = items[-1][0]
                if len(found) >= limit:
                    break
            return found

        return self._look(find)

    def holds(self, tier: Tier) -> list[HoldRecord]:
        """The holds of a tier that stand, oldest first."""

        def find() -> list[HoldRecord]:
            self._flush()
            released = {key for key, _ in self._tables.items(Table.RELEASES, bytes([tier]))}
            placed = self._tables.items(Table.HOLDS, bytes([tier]))
            return [hold_record(key, value) for key, value in placed if key not in released]

        return self._look(find)

    def gaps(self, tier: Tier) -> list[tuple[LogIndex, bool]]:
        """The prune and erase records of a tier, oldest first: index, and whether it is an erase record."""

        def find() -> list[tuple[LogIndex, bool]]:
            self._flush()
            return [(index_of(key), value == b"\1") for key, value in self._tables.items(Table.GAPS, bytes([tier]))]

        return self._look(find)

    def checkpoint(self, number: int, ordinal: int) -> CheckpointRecord | None:
        """The checkpoint of that ordinal in the session of that number."""
        if not (0 <= number <= NUMBER_MAX and 0 <= ordinal <= ORDINAL_MAX):
            return None
        key = group_key(number, ordinal // GROUP)
        return self._look(lambda: checkpoint_record(number, ordinal, self._get(Table.POINTS, key)))

    def requested(self, number: int, request_tag: bytes) -> CheckpointRecord | None:
        """The first checkpoint of a session that carries that request tag [8]."""
        return next(iter(self.all_requested(number, request_tag)), None)

    def all_requested(self, number: int, request_tag: bytes) -> list[CheckpointRecord]:
        """All checkpoints of a session that carry that request tag [8], ascending."""
        if not 0 <= number <= NUMBER_MAX:
            return []
        ordinals = ordinals_of(self._look(lambda: self._get(Table.REQUESTS, request_key(number, request_tag))))
        return [found for each in ordinals if (found := self.checkpoint(number, each)) is not None]

    def writes(self, number: int, request_tag: bytes) -> list[tuple[Ordinal, LogIndex]]:
        """The writes records of a session that carry that request tag [8], in order: ordinal and index."""
        if not 0 <= number <= NUMBER_MAX:
            return []
        return writes_records(self._look(lambda: self._get(Table.WRITES, request_key(number, request_tag))))

    def written(self, number: int) -> list[tuple[bytes, list[tuple[Ordinal, LogIndex]]]]:
        """All writes records of a session: each request tag, with the same as `writes`."""
        if not 0 <= number <= NUMBER_MAX:
            return []

        def find() -> list[tuple[bytes, list[tuple[Ordinal, LogIndex]]]]:
            self._flush()
            start = number_key(number)
            return [(key[len(start) :], writes_records(value)) for key, value in self._tables.items(Table.WRITES, start)]

        return self._look(find)

    def checkpoints(self, number: int, *, before: int | None = None, limit: int = 100) -> list[CheckpointRecord]:
        """At most `limit` checkpoints of a session with ordinals below `before`, newest first."""
        _positive(limit)
        if not 0 <= number <= NUMBER_MAX:
            return []

        def find() -> list[CheckpointRecord]:
            head = self._get(Table.HEADS, number_key(number))
            last = last_ordinal(head) if head else None
            if last is None:
                return []
            found: list[CheckpointRecord] = []
            ordinal = last if before is None else min(last, before - 1)
            while ordinal >= 0 and len(found) < limit:
                points = self._get(Table.POINTS, group_key(number, ordinal // GROUP))
                first = ordinal - ordinal % GROUP
                here = (checkpoint_record(number, each, points) for each in range(ordinal, first - 1, -1))
                found.extend(islice((record for record in here if record is not None), limit - len(found)))
                ordinal = first - 1
            return found

        return self._look(find)

    def key(self, tier: Tier, key_id: bytes) -> list[KeyRecord]:
        """The times that a key of that id was allowed in the tier, oldest first."""
        key = signer_key(tier, key_id)
        return self._look(lambda: key_records(tier, key_id, self._get(Table.KEYS, key)))

    def keys(self, tier: Tier) -> list[KeyRecord]:
        """The times that any key was allowed in the tier, oldest first."""

        def find() -> list[KeyRecord]:
            self._flush()
            items = self._tables.items(Table.KEYS, tier_key(tier))
            found = [each for key, value in items for each in key_records(tier, key[1:], value)]
            return sorted(found, key=lambda each: each.added)

        return self._look(find)

    def dictionaries(self, tier: Tier = Tier.SESSION) -> list[DictionaryRecord]:
        """The dictionaries of a tier, oldest first, those that are retired too."""
        key = tier_key(tier)
        return self._look(lambda: dictionary_records(self._get(Table.DICTS, key)))

    def _get(self, table: Table, key: bytes) -> bytes | None:
        value = self._overlay[table].get(key)
        return self._tables.get(table, key) if value is None else value

    def _head(self, number: bytes) -> bytes:
        head = self._get(Table.HEADS, number)
        if head is None:
            raise Corrupt("the catalogue contradicts itself", op="lookup")
        return head

    def _session(self, number: bytes | None) -> SessionRecord | None:
        value = self._get(Table.SESSIONS, number) if number else None
        return session_record(number, value, self._head(number)) if number and value else None

    # ---- the end ----------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Flush, sync and vouch for it all; failing that, the next open starts empty. Does nothing in a forked child."""
        self._end(clean=True)

    def abandon(self) -> None:
        """Close as a crash would: nothing more is written."""
        self._end(clean=False)

    def _end(self, *, clean: bool) -> None:
        if os.getpid() != self._pid:
            return
        with self._lock:
            with self._pend:
                if self._closed:
                    return
                self._closed = True
            tables = self._tables
            if not isinstance(tables, DiskTables):
                return
            if not clean:
                tables.close()
                return
            try:
                self._flush()
                sizes = sorted(self._coverage.sizes.items())
                covers = [Head(tier=Tier(tier), size=size, root=self._root_at(Tier(tier), size)) for tier, size in sizes]
                tables.vouch(covers)
            except Exception as error:
                tables.discard()
                self._broken = _reason(error)

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise UsedAfterFork("the catalogue was opened before fork()", hint="Open the store again in the child, for reading")
        if self._closed:
            raise _closed()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _batches(rows: Iterable[Row | Stretch]) -> Iterator[list[Row] | Stretch]:
    """Rows by BULK_ROWS, stretches one by one."""
    batch: list[Row] = []
    for row in rows:
        if isinstance(row, Stretch):
            if batch:
                yield batch
                batch = []
            yield row
            continue
        batch.append(row)
        if len(batch) >= BULK_ROWS:
            yield batch
            batch = []
    if batch:
        yield batch


def _closed() -> Closed:
    return Closed("the catalogue was closed", hint="Open the store again")


def _positive(limit: int) -> None:
    if limit < 1:
        raise InvalidArgument(f"a limit of {limit} asks for nothing", op="lookup")


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
