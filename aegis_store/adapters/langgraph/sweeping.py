"""A thread that sweeps every so often, from when it is started until it is stopped, or nobody has what it sweeps any more."""

from __future__ import annotations

import logging
import threading
import weakref
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Final, Protocol

from aegis_store.errors import AegisError, Closed, ReadOnly, UsedAfterFork

_log: Final = logging.getLogger(__name__)


class Sweeps(Protocol):
    """What is swept."""

    def sweep_ttl(self) -> int:
        """Delete what has expired; how many that were."""
        ...


class Sweeper:
    """Sweeps one thing. Any thread may call."""

    def __init__(self, swept: Sweeps) -> None:
        # Not held: somebody who has forgotten it wants it swept no longer.
        self._swept: Final = weakref.ref(swept)
        self._lock: Final = threading.Lock()
        self._running: _Running | None = None
        weakref.finalize(swept, self.stop, 0.0).atexit = False

    def start(self, interval_seconds: float) -> Future[None]:
        """Sweep after each interval; one that runs already goes on as it was started.

        The future is done when it has ended, with the error if that was one; cancelling it stops it."""
        with self._lock:
            running = self._running
            if running is None or running.is_over:
                running = self._running = _Running(self._swept, interval_seconds)
                running.thread.start()
            return running.future

    def stop(self, timeout: float | None = None) -> bool:
        """Sweep no more. Whether a sweep that was going on has ended within `timeout` seconds (None: however long)."""
        with self._lock:
            running = self._running
        return running is None or running.end(timeout)


class _Running:
    def __init__(self, swept: weakref.ref[Sweeps], interval_seconds: float) -> None:
        self._swept = swept
        self._interval_seconds = interval_seconds
        self._over = threading.Event()
        self.future: Future[None] = Future()
        self.future.add_done_callback(lambda done: self._over.set())
        self.thread = threading.Thread(target=self._run, name="aegis-store ttl sweeper", daemon=True)

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def end(self, timeout: float | None) -> bool:
        self._over.set()
        if self.thread is threading.current_thread():  # what is swept was forgotten in the midst of a sweep
            return True
        self.thread.join(timeout)
        return not self.thread.is_alive()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            while not self._over.wait(self._interval_seconds) and self._sweep():
                pass
        except BaseException as ended:  # it is whoever has the future who hears of it
            error = ended
        with suppress(InvalidStateError):  # it was cancelled
            if error is None:
                self.future.set_result(None)
            else:
                self.future.set_exception(error)

    def _sweep(self) -> bool:
        """Sweep once. False: there is nothing to be swept any more."""
        swept = self._swept()
        if swept is None:
            return False
        try:
            swept.sweep_ttl()
        except (Closed, UsedAfterFork):
            return False
        except ReadOnly:
            raise
        except AegisError:
            # As on a full disk: it may go well the next time, and what has expired is given to nobody meanwhile.
            _log.exception("a sweep of expired items failed; the next one tries again")
        return True
