"""What of each session lies on the disk, by the entries alone: for whoever decides what goes, and makes it so.

One pass over the log, about a microsecond a record, and some 25 bytes of memory for each checkpoint. The engine has proven the
entries; who signed them is not asked, for nothing is believed here: what goes is named by index in a record that is signed, and
what stays is checked when it is read."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Final

import msgspec

from aegis_store._engine import GAP, Engine, entries
from aegis_store.codec.runs import Runs
from aegis_store.errors import AegisError
from aegis_store.types import LINK_OF, Kind, LogIndex, Ordinal, Tier

_TAG: Final = slice(8, 24)
_ORDINAL: Final = slice(24, 28)
_TIME: Final = slice(28, 34)
_PARENT: Final = slice(34, 40)
_REQUEST: Final = slice(112, 120)
_TAG_SIZE: Final = 8
#: Of the entry of a checkpoint that no request made.
_BARE_ENTRY: Final = 176
_NO_PARENT: Final = b"\xff" * 6
_NO_REQUEST: Final = bytes(_TAG_SIZE)


class Strand(msgspec.Struct, kw_only=True):
    """A session's records, each list ascending. `parent` is what a fork goes on from.

    `ordinals`, `indexes`, `times` (ms), `sizes` (bytes of the payload) and `gaps` (1: the payload is gone) are those of its own
    checkpoints. `chunks` has the pieces of a checkpoint, by its ordinal: index and bytes. `writes` has what was written towards
    the one after it, by the request tag that both carry; `tags` has those of the checkpoints, eight bytes each, zero where
    there is none.
    """

    tag: bytes
    number: LogIndex
    parent: LogIndex | None
    first_ordinal: Ordinal
    is_erased: bool
    ended: LogIndex | None = None
    ordinals: array[int] = msgspec.field(default_factory=lambda: array("I"))
    indexes: array[int] = msgspec.field(default_factory=lambda: array("Q"))
    times: array[int] = msgspec.field(default_factory=lambda: array("Q"))
    sizes: array[int] = msgspec.field(default_factory=lambda: array("I"))
    gaps: bytearray = msgspec.field(default_factory=bytearray)
    chunks: dict[int, list[tuple[LogIndex, int]]] = msgspec.field(default_factory=dict)
    tags: bytearray = msgspec.field(default_factory=bytearray)
    writes: dict[bytes, list[tuple[LogIndex, int]]] = msgspec.field(default_factory=dict)

    def records(self) -> Iterator[int]:
        """The index of every record that is the session's own, in no order."""
        yield self.number
        yield from self.indexes
        for pieces in (*self.chunks.values(), *self.writes.values()):
            yield from (index for index, _ in pieces)
        if self.ended is not None:
            yield self.ended

    def beside(self) -> dict[int, list[tuple[LogIndex, int]]]:
        """What goes with a checkpoint, by its ordinal: its pieces, and its writes. Those of a request that has more than one
        checkpoint go with the newest."""
        if not self.writes:
            return self.chunks
        found = {ordinal: list(pieces) for ordinal, pieces in self.chunks.items()}
        owners = {bytes(self.tags[at * _TAG_SIZE : (at + 1) * _TAG_SIZE]): ordinal for at, ordinal in enumerate(self.ordinals)}
        for tag, writes in self.writes.items():
            ordinal = owners.get(tag)
            if ordinal is not None:
                found.setdefault(ordinal, []).extend(writes)
        return found


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """A tier up to `size` records: its sessions by tag, in the order in which they began, and the dictionaries that are
    there."""

    size: int
    strands: dict[bytes, Strand]
    dictionaries: list[LogIndex]

    def forks(self) -> dict[int, list[Strand]]:
        """The sessions that go on from a checkpoint, by its index."""
        found: dict[int, list[Strand]] = {}
        for strand in self.strands.values():
            if strand.parent is not None:
                found.setdefault(strand.parent, []).append(strand)
        return found


def survey(engine: Engine, tier: Tier, step: Callable[[], object] = lambda: None) -> Survey:
    """A tier as it is now. `step` is called for each record. Corrupt: a record cannot be read, and nothing should go until
    it is known what it was."""
    size = engine.size(tier)
    strands: dict[bytes, Strand] = {}
    dictionaries: list[LogIndex] = []
    link, chunk = int(LINK_OF.get(tier, Kind.CHECKPOINT)), int(Kind.CHUNK)
    for index, kind, flags, payload_bytes, entry in entries(engine, tier, 0, size):
        step()
        if kind == link:
            strand = strands.get(entry[_TAG])
            if strand is None:
                continue  # of no session: verification says so
            strand.ordinals.append(int.from_bytes(entry[_ORDINAL], "little"))
            strand.indexes.append(index)
            strand.times.append(int.from_bytes(entry[_TIME], "little"))
            strand.sizes.append(payload_bytes)
            strand.gaps.append(1 if flags & GAP else 0)
            strand.tags += entry[_REQUEST] if len(entry) > _BARE_ENTRY else _NO_REQUEST
        elif kind == chunk:
            strand = strands.get(entry[_TAG])
            if strand is not None:
                ordinal = int.from_bytes(entry[_ORDINAL], "little")
                strand.chunks.setdefault(ordinal, []).append((LogIndex(index), 0 if flags & GAP else payload_bytes))
        elif kind == Kind.WRITES:
            strand = strands.get(entry[_TAG])
            if strand is not None:
                size_there = 0 if flags & GAP else payload_bytes
                strand.writes.setdefault(entry[_REQUEST], []).append((LogIndex(index), size_there))
        elif kind == Kind.SESSION_BEGIN:
            parent = entry[_PARENT]
            strands.setdefault(
                entry[_TAG],
                Strand(
                    tag=entry[_TAG],
                    number=LogIndex(index),
                    parent=None if parent == _NO_PARENT else LogIndex(int.from_bytes(parent, "little")),
                    first_ordinal=Ordinal(int.from_bytes(entry[_ORDINAL], "little")),
                    is_erased=bool(flags & GAP),
                ),
            )
        elif kind == Kind.SESSION_END:
            strand = strands.get(entry[_TAG])
            if strand is not None:
                strand.ended = LogIndex(index)
        elif kind == Kind.DICTIONARY and not flags & GAP:
            dictionaries.append(LogIndex(index))
    return Survey(size=size, strands=strands, dictionaries=dictionaries)


def waiting(engine: Engine, tier: Tier, covered: Runs) -> tuple[int, int]:
    """(payloads, bytes) of these records that the files still hold. What cannot be read counts as gone."""
    payloads = size = 0
    for first, end in covered.runs():
        with suppress(AegisError):
            for _, _, flags, payload_bytes, _ in entries(engine, tier, first, end):
                if not flags & GAP:
                    payloads, size = payloads + 1, size + payload_bytes
    return payloads, size


def parents(engine: Engine, tier: Tier, first: int) -> Iterator[int]:
    """What the forks go on from that began at record `first` or later."""
    for _, kind, _, _, entry in entries(engine, tier, first, engine.size(tier)):
        if kind == Kind.SESSION_BEGIN and entry[_PARENT] != _NO_PARENT:
            yield int.from_bytes(entry[_PARENT], "little")
