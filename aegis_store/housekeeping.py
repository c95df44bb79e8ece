"""What a store does for itself, and nobody should wait for: writing the catalogue's pending rows, signing sealed segments.

It runs in a thread of its own that lives as long as there is something to do: none is there while nothing is due, and a store
that is forgotten is not kept alive by one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final


class Housekeeping:
    """Runs `work` once for any number of times that it became due meanwhile. Any thread may call."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work: Final = work
        self._lock: Final = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_due = False
        self._is_over = False

    def due(self) -> None:
        """There is something to do. Returns at once."""
        with self._lock:
            if self._is_due or self._is_over:
                return
            self._is_due = True
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="aegis-store housekeeping", daemon=True)
                # RuntimeError: the interpreter is ending; what is due stays due, and the next open finds it.
                with suppress(RuntimeError):
                    thread.start()
                    self._thread = thread

    def finish(self) -> None:
        """Nothing more becomes due; return when what runs has ended. Not from within the work."""
        with self._lock:
            self._is_over = True
            thread = self._thread
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._is_due:
                    self._thread = None
                    return
                self._is_due = False
            self._work()
