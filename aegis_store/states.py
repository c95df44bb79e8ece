"""Envelopes of checkpoints that were last written or read, kept in memory: what the next delta is made to, and what a chain of
deltas need not be walked beyond. Bounded by bytes; the least recently used go first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

import msgspec

from aegis_store.types import LogIndex

#: Deltas between a checkpoint and its keyframe, at most.
LINKS_MAX: Final = 63
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
    """An envelope that was written, or checked, and how far it is from its keyframe: links, and bytes of their deltas."""

    envelope: bytes
    links: int = 0
    chain_bytes: int = 0

    def longest_delta(self, length: int) -> int:
        """Bytes that a delta from here to an envelope of `length` bytes may have, to be better than a keyframe; or 0."""
        if self.links >= LINKS_MAX or length < max(WHOLE_MAX, len(self.envelope) // SHRUNK):
            return 0
        return int(length * DELTA_SHARE)

    def follow(self, delta: bytes, envelope: bytes) -> State | None:
        """What stands where `delta` makes `envelope` from this one; None where a keyframe is better."""
        chain_bytes = self.chain_bytes + len(delta)
        if chain_bytes > max(2 * len(envelope), CHAIN_BYTES_MIN):
            return None
        return State(envelope, self.links + 1, chain_bytes)


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

    def _forget(self, index: LogIndex) -> None:
        gone = self._kept.pop(index, None)
        if gone is not None:
            self._bytes -= len(gone.envelope) + _OVERHEAD_BYTES
