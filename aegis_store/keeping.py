"""What stays in a store and what goes: holds, retention, erasure, compaction, put together.

retention ──prune record──┐
                          ├──▶ pending ──compaction──▶ files without it ──▶ swept
erasure ────erase record──┘
holds: neither takes what is held
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from aegis_store._engine import Footer
from aegis_store.catalog import Row
from aegis_store.chain import Chain
from aegis_store.compaction import NOTHING, Compacted, Compactor, Stage
from aegis_store.erasure import Eraser
from aegis_store.erasure import Owner as ErasureOwner
from aegis_store.errors import Closed, Corrupt, NoSpace, OutOfResources, StorageError
from aegis_store.gaps import Cause
from aegis_store.holding import Holds
from aegis_store.retention.sweeper import Owner as RetentionOwner
from aegis_store.retention.sweeper import Sweeper
from aegis_store.trust.signer import Signer

#: What recovery cut off and could not call unacknowledged: nobody knows whose it was.
_CUT_TAILS: Final = "tail-*.cut"


class Owner(ErasureOwner, RetentionOwner, Protocol):
    """The store, as its keeping sees it."""

    @property
    def path(self) -> Path: ...
    def sign_segment(self, footer: Footer) -> None: ...
    def chains(self) -> Sequence[Chain]:
        """Those that somebody holds."""
        ...


class Keeping:
    """What a store has for all of it. Any number of threads may use it."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        #: Held by whoever decides what goes, and by whoever says what must not: a hold, a fork.
        self.going: Final = threading.RLock()
        self.holds: Final = Holds(owner, self.going)
        self.sweeper: Final = Sweeper(owner, self.holds)
        self.eraser: Final = Eraser(owner, self.holds, self)
        self.compactor: Final = Compactor(owner.records, self)
        self._stop: Final = threading.Event()
        self._in_background: Compaction | None = None

    # ---- compaction -------------------------------------------------------------------------------------------------------

    def compact(
        self, *, bytes_a_second: int | None = None, watch: Callable[[Stage], object] | None = None, waits: bool = False
    ) -> Compacted:
        """See `Store.compact`."""
        self._owner.catch_up()
        return self.compactor.run(bytes_a_second=bytes_a_second, watch=watch, stop=self._stop, waits=waits)

    def compact_pending(self) -> Compacted:
        return self.compact(waits=True)

    def start_compaction(self, *, bytes_a_second: int | None = None, also: Sequence[Keeping] = ()) -> Compaction:
        """See `Store.start_compaction`; `also` are other tiers', whose turn comes when this one is done."""
        with self.going:
            running = self._in_background
            if running is None or running.is_done:
                compactors = [self.compactor, *(each.compactor for each in also)]
                running = self._in_background = Compaction(compactors, bytes_a_second, self._stop)
            return running

    def resume(self) -> None:
        """Finish erasures that a crash interrupted.

        Where that cannot be done the store opens all the same: what was erased is refused, `aegis health` says that its bytes
        are still there, and the next open, or compaction, tries again."""
        if any(cause.is_erasure for cause in self._owner.records.gaps.pending()):
            with suppress(NoSpace, OutOfResources, StorageError, Corrupt):
                self.compact_pending()

    def finish(self) -> None:
        """Nothing more begins, and what is at work stops where it is."""
        self._stop.set()
        if self._in_background is not None:
            self._in_background.join()

    # ---- for whoever takes something away ----------------------------------------------------------------------------------

    def store_signer(self, op: str) -> Signer:
        return self._owner.store_signer(op)

    def sign_segment(self, footer: Footer) -> None:
        self._owner.sign_segment(footer)

    def note(self, row: Row) -> None:
        self._owner.note(row)

    def settled(self) -> None:
        """Return when no checkpoint is on its way whose base was looked up before what is pending was, and all is durable."""
        for chain in self._owner.chains():
            with chain.lock:
                pass
        self._owner.records.flush()

    def segment_file(self, footer: Footer) -> tuple[tuple[int, int], int]:
        found = os.stat(self._owner.path / self._owner.records.tier.label / footer.file)
        return (found.st_dev, found.st_ino), found.st_size

    def cleaned(self, causes: Sequence[Cause]) -> None:
        """The segments are without it: see to what else may hold what was erased."""
        erasures = [cause for cause in causes if cause.is_erasure]
        if not erasures:
            return
        folder = self._owner.path / self._owner.records.tier.label
        tails = list(folder.glob(_CUT_TAILS))
        for tail in tails:
            with suppress(FileNotFoundError):
                tail.unlink()
        if tails:
            _sync(folder)
        if any(cause.ordinal is None for cause in erasures):
            self._owner.catalog.renew()


class Compaction:
    """A compaction in a thread of its own. Ending the store ends it; the next one goes on where it was."""

    def __init__(self, compactors: Sequence[Compactor], bytes_a_second: int | None, stop: threading.Event) -> None:
        self._compactors = compactors
        self._pace = bytes_a_second
        self._stop = stop
        self._done: Compacted | None = None
        self._error: BaseException | None = None
        #: How far it is; None: it has not begun.
        self.stage: Stage | None = None
        self._thread = threading.Thread(target=self._run, name="aegis-store compaction", daemon=True)
        self._thread.start()

    @property
    def is_done(self) -> bool:
        """Whether it has ended, one way or another."""
        return not self._thread.is_alive()

    def join(self) -> None:
        """Return when it has ended."""
        self._thread.join()

    def wait(self) -> Compacted:
        """What it did, once it has. Raises what ended it."""
        self._thread.join()
        if self._done is None:
            raise self._error or Closed("the compaction ended with its interpreter", op="compact")
        return self._done

    def _run(self) -> None:
        try:
            done = NOTHING
            for compactor in self._compactors:
                done = done.and_then(compactor.run(bytes_a_second=self._pace, watch=self._see, stop=self._stop, waits=True))
            self._done = done
        except BaseException as error:  # it is whoever waits who hears of it
            self._error = error

    def _see(self, stage: Stage) -> None:
        self.stage = stage


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
