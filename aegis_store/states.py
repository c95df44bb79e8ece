"""Envelopes of checkpoints that are stored as deltas to others, and those that were last written or read, kept in memory.

What is kept is what the next delta is made to, and what a chain of deltas need not be walked beyond. Bounded by bytes; the
least recently used go first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

import msgspec

from aegis_store._engine import restore
from aegis_store.codec.payload import Body
from aegis_store.errors import AegisError, Corrupt
from aegis_store.schema.entry import Entry
from aegis_store.types import LogIndex

#: Deltas between a checkpoint and its keyframe, at most.
LINKS_MAX: Final = 63
#: A large session consists of runs of so many: the first of a run is a delta to the first of the run before, so that what came
#: in between is stored twice, and not the whole envelope. Only ordinals that it divides begin runs.
RUN: Final = 48
#: What a session is large by: its envelope's bytes.
RUN_BYTES_MIN: Final = 128 << 10
#: Envelopes shorter than this are stored whole, and so are those that are shorter than so small a part of the one before: what
#: little there is to win is not worth reading another record.
WHOLE_MAX: Final = 256
SHRUNK: Final = 16
#: A delta above this share of its envelope is not worth a chain either.
DELTA_SHARE: Final = 0.9
#: Deltas since the keyframe may have so many bytes together, or twice the state if that is more.
CHAIN_BYTES_MIN: Final = 256 << 10
#: What an entry of the cache costs beside its envelope.
_OVERHEAD_BYTES: Final = 256


class State(msgspec.Struct, frozen=True, gc=False):
    """An envelope, and how far it is from its keyframe: links, and bytes of their deltas.

    One that was met on the way to another is not checked by its own commitment: what is made from it is, by its own.
    """

    envelope: bytes
    links: int = 0
    chain_bytes: int = 0
    is_checked: bool = True

    def longest_delta(self, length: int) -> int:
        """Bytes that a delta from here to an envelope of `length` bytes may have, to be better than a keyframe; or 0."""
        if self.links >= LINKS_MAX or length < max(WHOLE_MAX, len(self.envelope) // SHRUNK):
            return 0
        return int(length * DELTA_SHARE)

    def begins_run(self, ordinal: int, length: int) -> bool:
        """Whether a checkpoint of that ordinal after this one, of an envelope of `length` bytes, may be the first of a run."""
        return ordinal > 0 and ordinal % RUN == 0 and length >= RUN_BYTES_MIN

    @property
    def carries_run(self) -> bool:
        """Whether a run may hang on this one, and be filled."""
        return self.links + RUN <= LINKS_MAX

    def follow(self, delta: bytes, envelope: bytes) -> State | None:
        """What stands where `delta` makes `envelope` from this one; None where a keyframe is better."""
        chain_bytes = self.chain_bytes + len(delta)
        if chain_bytes > max(2 * len(envelope), CHAIN_BYTES_MIN):
            return None
        return State(envelope, self.links + 1, chain_bytes)


class Link(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint as it is stored: an envelope (base None) or a delta to the checkpoint at `base`; the envelope's length."""

    index: LogIndex
    data: bytes
    length: int
    base: LogIndex | None


def link_of(index: LogIndex, entry: Entry, body: Body) -> Link:
    """The checkpoint of an entry by the body of its payload. Where that does not name its base, the entry's parent is meant."""
    base = (entry.parent if body.base is None else LogIndex(body.base)) if body.is_delta else None
    return Link(index, body.data, entry.length, base)


class States:
    """States by the index of their record. Any number of threads may use it."""

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity = capacity_bytes
        self._bytes = 0
        self._kept: OrderedDict[int, State] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, index: LogIndex) -> State | None:
        """What is known of the checkpoint at `index`."""
        with self._lock:
            found = self._kept.get(index)
            if found is not None:
                self._kept.move_to_end(index)
            return found

    def put(self, index: LogIndex, state: State, *, instead_of: LogIndex | None = None) -> None:
        """Keep a state; `instead_of` one that nobody will ask for again."""
        with self._lock:
            if instead_of is not None:
                self._forget(instead_of)
            self._forget(index)
            size = len(state.envelope) + _OVERHEAD_BYTES
            if size > self._capacity:
                return
            self._kept[index] = state
            self._bytes += size
            while self._bytes > self._capacity:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= len(gone.envelope) + _OVERHEAD_BYTES

    def forget(self) -> None:
        """Keep nothing."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _forget(self, index: LogIndex) -> None:
        gone = self._kept.pop(index, None)
        if gone is not None:
            self._bytes -= len(gone.envelope) + _OVERHEAD_BYTES

    def restore(self, last: Link, fetch: Callable[[LogIndex], Link], *, limit: int, keep_way: bool = False) -> State:
        """The state of a checkpoint: back to its keyframe, or to what is in memory, and forth in one go.

        With `keep_way` those on the way are kept. Nothing is checked but that it can be done, within `limit` bytes a state.
        Corrupt, and what `fetch` raises: they say which record this one is made from.
        """
        links, known = [last], None
        while known is None:
            base = links[-1].base
            if base is None:
                known = State(links.pop().data, is_checked=False)
                break
            if base >= links[-1].index or len(links) > LINKS_MAX:
                raise Corrupt(f"it is made from record {base}, which cannot be", op="read")
            known = self.get(base)
            if known is None:
                try:
                    links.append(fetch(base))
                except AegisError as error:
                    raise type(error)(f"it is made from record {base}: {error.message}", op="read", hint=error.hint) from None
        while keep_way and len(links) > 1:
            link = links.pop()
            known = _go_on(known, [link], limit)
            self.put(link.index, known)
        return _go_on(known, links[::-1], limit)


def _go_on(known: State, links: list[Link], limit: int) -> State:
    if not links:
        return known
    deltas = [link.data for link in links]
    envelope = restore(known.envelope, deltas, length=links[-1].length, limit=limit)
    return State(envelope, known.links + len(links), known.chain_bytes + sum(map(len, deltas)), is_checked=False)
