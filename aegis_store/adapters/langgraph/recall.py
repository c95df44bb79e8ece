"""What this process has written or believed, mostly by the index of its record: it need not be read and believed again.

A record never changes, so what is known of one stays true until something takes records away; then all is forgotten. Bounded by
bytes; the least recently used go first.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, MutableMapping
from typing import Final, TypeVar

Key = TypeVar("Key")
Known = TypeVar("Known")


class Recall(MutableMapping[Key, Known]):
    """See the module's text. Any number of threads may use it."""

    def __init__(self, capacity_bytes: int, *, size_of: Callable[[Known], int], age: Callable[[], int]) -> None:
        """`age` changes with everything that takes records away."""
        self._capacity: Final = capacity_bytes
        self._size_of: Final = size_of
        self._age: Final = age
        self._aged = age()
        self._bytes = 0
        self._kept: OrderedDict[Key, Known] = OrderedDict()
        self._lock = threading.Lock()

    def __getitem__(self, key: Key) -> Known:
        found = self.known(key)
        if found is None:
            raise KeyError(key)
        return found

    def known(self, key: Key) -> Known | None:
        """`get(key)`, without the exception in between that makes it slow where there is nothing."""
        with self._lock:
            self._catch_up()
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def __setitem__(self, key: Key, known: Known) -> None:
        size = self._size_of(known)
        with self._lock:
            self._catch_up()
            self._forget(key)
            self._kept[key] = known
            self._bytes += size
            while self._bytes > self._capacity and len(self._kept) > 1:
                self._forget(next(iter(self._kept)))

    def __delitem__(self, key: Key) -> None:
        with self._lock:
            self._forget(key)

    def __iter__(self) -> Iterator[Key]:
        with self._lock:
            self._catch_up()
            return iter(list(self._kept))

    def __len__(self) -> int:
        with self._lock:
            self._catch_up()
            return len(self._kept)

    def _catch_up(self) -> None:
        age = self._age()
        if age != self._aged:
            self._aged, self._bytes = age, 0
            self._kept.clear()

    def _forget(self, key: Key) -> None:
        gone = self._kept.pop(key, None)
        if gone is not None:
            self._bytes -= self._size_of(gone)
