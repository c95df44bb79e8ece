"""Where workflows stand, as far as this process knows, for all engines of one store together.

A *move* is a call that writes: it is begun before its record is queued, and over once the audit tier has what it did. Each
record of a workflow says below which index there was no move open when it was written (`audited_below`), so that the next
opening knows where to look for what a crash cut short. A move that failed stays open: what became of it is for `replaying`
to see.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from aegis_store.store import Store
from aegis_store.types import Ref
from aegis_store.workflow.links import Entry, Link

#: Workflows whose standing is remembered: about half a kilobyte each.
STANDINGS_KEPT: Final = 65536
_STRIPES: Final = 64


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Where a workflow stands: its newest checkpoint, its newest transition, and what its audit events are known to be.

    `state` is what an object of it has to be in. Where that is not where the newest transition ended, the workflow was
    loaded as it was saved before, and has to be rewound. `unaudited` are transitions whose event is not known to be
    durable, `event` is that of the newest one that was queued.
    """

    type: str
    newest: Ref
    link: Link
    state: str
    is_completed: bool = False
    unaudited: tuple[Entry, ...] = ()
    event: Ref | None = None


class Board:
    """The standings of one store's workflows. Any number of threads may use it."""

    def __init__(self) -> None:
        self._locks: Final = [threading.Lock() for _ in range(_STRIPES)]
        self._lock: Final = threading.Lock()
        self._standings: Final[dict[str, Standing]] = {}
        # Token of an open move -> no record of it is below that index.
        self._open: Final[dict[object, int]] = {}
        # Those of them that will not queue anything any more, and have not come to their event.
        self._failed: Final[set[object]] = set()
        # Events that were queued, in their order, each with the move that is over when it is durable.
        self._following: Final[deque[tuple[Ref, str, int, object]]] = deque()

    @contextmanager
    def locked(self, workflow_id: str) -> Iterator[None]:
        """No other thread moves the workflow meanwhile. Nothing is waited for in here."""
        with self._locks[hash(workflow_id) % _STRIPES]:
            yield

    def get(self, workflow_id: str) -> Standing | None:
        """What is known of a workflow."""
        return self._standings.get(workflow_id)

    def put(self, workflow_id: str, standing: Standing) -> None:
        """Remember it; the oldest go when there are too many, and are read again when they are asked for."""
        with self._lock:
            self._standings.pop(workflow_id, None)
            self._standings[workflow_id] = standing
            if len(self._standings) > STANDINGS_KEPT:
                for oldest in self._standings:
                    if not self._standings[oldest].unaudited:
                        del self._standings[oldest]
                        break

    def forget(self, workflow_id: str) -> None:
        """Read it again when it is asked for."""
        with self._lock:
            self._standings.pop(workflow_id, None)

    def follow(self, workflow_id: str, number: int, event: Ref, token: object) -> None:
        """The events of its transitions up to that number are queued; the last of them, and the move."""
        with self._lock:
            self._following.append((event, workflow_id, number, token))

    def take(self, size: int) -> None:
        """The audit tier has so many records that are durable: what was waited for among them is over."""
        while self._following and self._following[0][0].index < size:
            with self._lock:
                if not self._following or self._following[0][0].index >= size:
                    return
                event, workflow_id, number, token = self._following.popleft()
                self._open.pop(token, None)
                self._failed.discard(token)
                self._audited(workflow_id, number, event)

    def audited(self, workflow_id: str, number: int, event: Ref) -> None:
        """The events of its transitions up to that number are durable; the last of them."""
        with self._lock:
            self._audited(workflow_id, number, event)

    def _audited(self, workflow_id: str, number: int, event: Ref) -> None:
        standing = self._standings.get(workflow_id)
        if standing is not None and standing.unaudited:
            left = tuple(each for each in standing.unaudited if each.link.number > number)
            newest = event if standing.event is None or standing.event.index < event.index else standing.event
            self._standings[workflow_id] = msgspec.structs.replace(standing, unaudited=left, event=newest)

    # ---- moves ------------------------------------------------------------------------------------------------------------

    def begin(self, size: int) -> tuple[object, int]:
        """Begin a move in a log of `size` records; its token, and below which index nothing is open."""
        token = object()
        with self._lock:
            # First its own: whoever begins later queues behind `size`, and whoever began earlier is among the others.
            self._open[token] = size
            return token, min(self._open.values())

    def end(self, token: object) -> None:
        """The move is over: the audit tier has it, or nothing was queued."""
        with self._lock:
            self._open.pop(token, None)

    def fail(self, token: object) -> None:
        """The move ended and may have queued a record that has no event."""
        with self._lock:
            if token in self._open:
                self._failed.add(token)

    def failed(self) -> frozenset[object]:
        """The moves that failed: what they queued is in the log by now, if it ever comes there."""
        with self._lock:
            return frozenset(self._failed)

    def settle(self, seen_to: frozenset[object]) -> None:
        """Replaying has seen to those that had failed before it looked at the log. Of one that goes on it cannot tell."""
        with self._lock:
            for token in seen_to:
                self._open.pop(token, None)
                self._failed.discard(token)


_BOARDS: Final[weakref.WeakKeyDictionary[Store, Board]] = weakref.WeakKeyDictionary()
_boards_lock: Final = threading.Lock()


def board_of(store: Store) -> Board:
    """The board that all engines of an open store share."""
    with _boards_lock:
        board = _BOARDS.get(store)
        if board is None:
            board = _BOARDS[store] = Board()
        return board
