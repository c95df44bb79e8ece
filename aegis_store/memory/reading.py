"""The reading side of the memory tier: which record of a key counts, now or at a pointer, and that it is what it seems.

The catalogue says where the records of a key are; nothing that it says is believed. A record is proven to be in the tree, its
signature holds, it carries the tag and ordinal of its chain, and it says itself which key it is of.

A pointer is an index and the root up to there. What is read at one is the newest record of a key at or below that index, and
whether it had expired is judged by the time of the record at that index.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from aegis_store.catalog import SessionRecord
from aegis_store.errors import Corrupt, Erased, Foreign, Gone, InvalidArgument, Pruned, RolledBack, UnknownType
from aegis_store.memory.items import Stored
from aegis_store.open_tier import OpenTier
from aegis_store.schema import memory as schema
from aegis_store.schema import names
from aegis_store.types import Kind, LogIndex, MemoryPointer, Tier, TimeMs

#: Chains that are asked of the catalogue at a time.
PAGE: Final = 256
#: Records of which is remembered until when they are there, so that a list or a sweep need not read them.
KNOWN_MAX: Final = 1 << 18
#: Until when what never expires is there, and what was deleted.
FOR_EVER: Final = 1 << 63
GONE: Final = 0


class View(msgspec.Struct, frozen=True, kw_only=True):
    """When is read: records up to index `last` (None: all), as of the time `now`."""

    now: TimeMs
    last: LogIndex | None = None


class Reader:
    """Reads the memory tier of one store. Any number of threads may use it."""

    def __init__(self, tier: OpenTier) -> None:
        self._tier: Final = tier
        # Index of a record that was believed -> until when (ms) its version is there.
        self._until: dict[int, int] = {}

    # ---- when -------------------------------------------------------------------------------------------------------------

    def view(self, at: MemoryPointer | None) -> View:
        """Now, or at a pointer. RolledBack: this memory never was what the pointer saw."""
        self._tier.check_open()
        if at is None:
            return View(now=TimeMs(self._tier.clock.now_ms()))
        if not isinstance(at, MemoryPointer):
            raise InvalidArgument(f"a memory pointer is a MemoryPointer, and not {type(at).__name__}", op="read")
        self._tier.catch_up()
        records = self._tier.records
        size = at.index + 1
        if records.size() < size:
            raise self._rolled_back(f"the pointer saw {size} records, and there are {records.size()}")
        if records.engine.head(records.tier, size).root != at.root:
            raise self._rolled_back(f"its first {size} records are not those that the pointer saw")
        # What was durable when the pointer was taken counts, whether whoever put it has told the catalogue by now or not.
        self._tier.take_in(size)
        return View(now=records.entry_at(at.index).entry.time_ms if size else TimeMs(0), last=at.index)

    def pointer(self) -> MemoryPointer:
        """All that can be read now."""
        self._tier.check_open()
        self._tier.catch_up()
        records = self._tier.records
        head = records.engine.head(records.tier)
        return MemoryPointer(index=LogIndex(head.size - 1), root=head.root)

    def _rolled_back(self, message: str) -> RolledBack:
        return RolledBack(
            message,
            op="read",
            path=self._tier.records.engine.path,
            tier=self._tier.tier.label,
            hint="this is another store, or an older copy: see what it holds: "
            f"aegis verify {shlex.quote(self._tier.records.engine.path)}",
        )

    # ---- one key ----------------------------------------------------------------------------------------------------------

    def chain(self, name: str) -> SessionRecord | None:
        """What the catalogue knows of a key, once it has caught up. Raises where a later record may be hidden by damage."""
        self._tier.catch_up()
        found = self._tier.catalog.session(name, self._tier.tier)
        self._demand_newest(found)
        return found

    def newest(self, name: str, view: View, *, with_value: bool = True) -> Stored | None:
        """The record of a key that counts, or what it says beside the value; None: there is none yet."""
        found = self.chain(name)
        return None if found is None else self.of(found, view, with_value=with_value)

    def of(self, chain: SessionRecord, view: View, *, with_value: bool = True) -> Stored | None:
        """The same of a chain that was found."""
        place = self.place(chain, view)
        return None if place is None else self.at_place(chain, *place, with_value=with_value)

    def newer(self, stored: Stored) -> Stored | None:
        """The newest record of a key, if it is not this one any more."""
        found = self.chain(stored.chain.id)
        if found is None or found.last_ordinal is None or found.last_index == stored.record.index:
            return None
        return self.at_place(found, found.last_ordinal, found.last_index)

    def place(self, chain: SessionRecord, view: View) -> tuple[int, LogIndex] | None:
        """Ordinal and index of the record that counts. By the catalogue."""
        last = chain.last_ordinal
        if last is None or (view.last is not None and chain.begun > view.last):
            return None
        if view.last is None or chain.last_index <= view.last:
            return last, chain.last_index
        low, high = 0, int(last)  # the newest is too new
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.index_of(chain, middle) <= view.last else (low, middle)
        return None if low == 0 else (low - 1, self.index_of(chain, low - 1))

    def index_of(self, chain: SessionRecord, ordinal: int) -> LogIndex:
        """Where a record of a key is. Corrupt: it is not where the log should have it."""
        point = self._tier.catalog.checkpoint(chain.number, ordinal)
        if point is not None:
            return point.index
        for suspect in self._tier.records.suspects.values():
            if suspect.tag in (None, chain.tag):
                raise suspect.error
        raise Corrupt(
            f"record {ordinal} of {_shown(chain)} is not where the log should have it", op="read", tier=self._tier.tier.label
        )

    def at_place(self, chain: SessionRecord, ordinal: int, index: LogIndex, *, with_value: bool = True) -> Stored:
        """A record of a key, every check made. Pruned, Erased: what it held is gone."""
        try:
            return self.stored(chain, ordinal, index, with_value=with_value)
        except Pruned as error:
            found = self._refreshed(chain, ordinal)
            if found is None:
                raise self._gone(error, chain) from None
            return found
        except Gone as error:
            raise self._gone(error, chain) from None

    def stored(self, chain: SessionRecord, ordinal: int, index: LogIndex, *, with_value: bool = True) -> Stored:
        """The same, and nothing in the place of what is gone."""
        record = self._tier.records.read(index)
        entry = record.entry
        if (entry.kind, entry.session_tag, entry.ordinal) != (Kind.MEMORY_ITEM, chain.tag, ordinal):
            raise Foreign(
                f"record {index} is not record {ordinal} of {_shown(chain)}", op="read", tier=entry.tier.label, index=index
            )
        try:
            types = self._tier.types
            item = schema.decode(record.envelope, types=types) if with_value else schema.decode_head(record.envelope)
        except (Corrupt, UnknownType) as error:
            raise type(error)(error.message, op="read", tier=entry.tier.label, index=index, hint=error.hint) from None
        if names.name_of(item.namespace, item.key) != chain.id:
            raise Foreign(
                f"record {index} is of {names.shown(item.namespace, item.key)}, and stands among those of {_shown(chain)}",
                op="read",
                tier=entry.tier.label,
                index=index,
            )
        stored = Stored(chain=chain, record=record, item=item)
        self._remember(stored)
        return stored

    def _refreshed(self, chain: SessionRecord, ordinal: int) -> Stored | None:
        """The refresh that says what a pruned record said: of the same put, so the same value, and the key was there at least
        until then. None: what comes next is another version."""
        last = -1 if chain.last_ordinal is None else chain.last_ordinal
        for later in range(ordinal + 1, last + 1):
            try:
                found = self.stored(chain, later, self.index_of(chain, later))
            except Pruned:
                continue
            except Gone:
                return None
            return found if found.item.op == "refresh" and found.put <= ordinal else None
        return None

    def _gone(self, error: Gone, chain: SessionRecord) -> Gone:
        """The same error in words that whoever asked for a key understands."""
        hint = "read another version, or a later pointer; what stays how long says the history window of [[retention]]"
        return type(error)(
            f"a version of {_shown(chain)} is gone: {error.message}",
            op="read",
            path=error.path,
            tier=error.tier,
            index=error.index,
            hint=hint if isinstance(error, Pruned) else None,
        )

    def _demand_newest(self, found: SessionRecord | None) -> None:
        """Raise if what the catalogue has found may not be the newest: a later record could not be taken in."""
        suspects = self._tier.records.suspects
        if not suspects:
            return
        tag, last = (None, -1) if found is None else (found.tag, found.last_index)
        for index in sorted(suspects):
            if index > last and suspects[index].tag in (None, tag):
                raise suspects[index].error

    # ---- many -------------------------------------------------------------------------------------------------------------

    def chains(self, prefix: str, *, after: str | None = None) -> Iterator[SessionRecord]:
        """The chains whose names begin so, in order, those of deleted and expired keys too; `after` a name that is there."""
        self._tier.catch_up()
        for suspect in self._tier.records.suspects.values():
            if suspect.tag is None:
                raise suspect.error  # it may be a key's that nobody would miss here
        last = None
        if after is not None:
            last = self._tier.catalog.session(after, self._tier.tier)
            if last is None:
                raise InvalidArgument(f"there is no {names.shown(*names.split(after))} to go on after", op="list")
        while page := self._tier.catalog.named(prefix, tier=self._tier.tier, after=last, limit=PAGE):
            for chain in page:
                self._demand_newest(chain)
                yield chain
            last = page[-1]

    def until(self, index: LogIndex) -> int | None:
        """Until when (ms) the version of a record is there, if that was read before; None: it was not."""
        return self._until.get(index)

    def items(self, chains: Iterable[SessionRecord], view: View, *, with_value: bool = True) -> Iterator[Stored]:
        """The records that count, but for those of keys that were deleted or were not there yet."""
        for chain in chains:
            place = self.place(chain, view)
            if place is None or self._until.get(place[1]) == GONE:
                continue
            # What is being erased has no name any more when that is done: it is not there.
            with suppress(Erased):
                stored = self.at_place(chain, *place, with_value=with_value)
                if stored.item.op != "delete":
                    yield stored

    def _remember(self, stored: Stored) -> None:
        if len(self._until) >= KNOWN_MAX:
            self._until.clear()
        expires = FOR_EVER if stored.item.expires_ms is None else stored.item.expires_ms
        self._until[stored.record.index] = GONE if stored.item.op == "delete" else expires


def _shown(chain: SessionRecord) -> str:
    return names.called(Tier.MEMORY, chain.id)
