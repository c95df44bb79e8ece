"""How fast a compaction goes: no faster than it was told, and out of the way of threads that append.

CPython runs one thread at a time. One that waits for the interpreter is only let in after 5 ms if whoever has it goes on
without a pause (the switch interval, which is the program's and not ours to change), and a checkpoint asks for it several
times. So a compaction stands aside for a moment, often, as long as somebody appends: with it one checkpoint in a thousand takes
4 ms, without it 11, and the compaction takes a fifth longer (`aegis bench compact`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic, sleep
from typing import Final

from aegis_store.errors import Closed, InvalidArgument

#: Seconds from one standing aside to the next, and how long it takes: somebody who waits wakes up in that time.
BETWEEN: Final = 0.0007
ASIDE: Final = 0.00003
#: Seconds after which nobody appends any more, if the log has not grown.
STILL: Final = 0.1


class Pace:
    """`size` is the log's, in records; `bytes_a_second` bounds what is read and written; `stop` ends the work."""

    def __init__(self, size: Callable[[], int], bytes_a_second: int | None = None, stop: threading.Event | None = None) -> None:
        if bytes_a_second is not None and bytes_a_second < 1:
            raise InvalidArgument(f"{bytes_a_second} bytes a second is no pace", op="compact")
        self.bytes_a_second = bytes_a_second
        self._size = size
        self._stop = threading.Event() if stop is None else stop
        self._begun = monotonic()
        self._spent = 0
        self._seen = size()
        self._busy_until = self._begun + STILL
        self._next = self._begun

    def spend(self, count: int) -> None:
        """So many bytes were read or written: wait until that is slow enough. Closed: it is to stop."""
        self._spent += count
        ahead = 0.0 if self.bytes_a_second is None else self._spent / self.bytes_a_second - (monotonic() - self._begun)
        if self._stop.wait(ahead) if ahead > 0 else self._stop.is_set():
            raise Closed("the compaction was stopped; the next one goes on from here", op="compact")
        self.step()

    def step(self) -> None:
        """A little was done, of what takes much less than `BETWEEN`: stand aside if it is time to, and somebody appends."""
        now = monotonic()
        if now < self._next:
            return
        size = self._size()
        if size != self._seen:
            self._seen, self._busy_until = size, now + STILL
        if now < self._busy_until:
            sleep(ASIDE)
            now = monotonic()
        self._next = now + BETWEEN
