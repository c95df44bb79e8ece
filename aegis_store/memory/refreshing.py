"""Reads that keep what they read: the expiry of an item moves when somebody asks for it.

A read does not wait for that. It promises a later expiry, which every look at the key in this process takes for true from then
on, and a thread writes down what was promised, all of it in one commit. A record for each read would be too many: a promise is
made only where the expiry lags behind by more than an eighth of the ttl. What a crash takes of promises expires as if it had
not been read.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import Final

from aegis_store.errors import AegisError
from aegis_store.housekeeping import Housekeeping
from aegis_store.memory.items import Stored
from aegis_store.memory.keys import Keys
from aegis_store.memory.writing import Key, Queued
from aegis_store.open_tier import OpenTier

#: The part of a ttl: see the module's text.
REFRESH_PART: Final = 8


class Refreshes:
    """The refreshes of one store. Any number of threads may use it."""

    def __init__(self, tier: OpenTier, keys: Keys) -> None:
        self._tier: Final = tier
        self._keys: Final = keys
        self._lock: Final = threading.Lock()
        #: Held while something is written: who writes next has it all behind them.
        self._writing: Final = threading.Lock()
        # Held until it is written: the promise is the key's.
        self._promised: dict[str, Key] = {}
        self._housekeeping: Final = Housekeeping(self._write)

    def expiry(self, stored: Stored) -> int | None:
        """When a version expires, with what is promised."""
        own = stored.item.expires_ms
        if own is None:
            return None
        key = self._keys.known(stored.chain.id)
        return own if key is None else max(own, key.expiry_on_way(stored))

    def read(self, stored: Stored, expires_ms: int, now: int) -> int:
        """A version was read that is there: its expiry from now on."""
        ttl_ms = stored.item.ttl_ms
        if ttl_ms is None or not lags(expires_ms, ttl_ms, now) or not self._tier.is_writable:
            return expires_ms
        key = self._keys.of(stored.item.namespace, stored.item.key)
        promised = key.promise(stored, now + ttl_ms)
        with self._lock:
            self._promised[stored.chain.id] = key
        self._housekeeping.due()
        return promised

    def finish(self) -> None:
        """Write down what is promised; nothing more is."""
        self._housekeeping.finish()
        self._write()

    def _write(self) -> None:
        with self._writing:
            self._write_promised()

    def _write_promised(self) -> None:
        with self._lock:
            promised, self._promised = self._promised, {}
        queued: list[Queued] = []
        try:
            # What is not taken, as on a full disk, fails no read: it expires as if it had not been read.
            with suppress(AegisError):
                for key in promised.values():
                    each = key.fulfil(self._tier.agent)
                    if each is not None:
                        queued.append(each)
            if queued:
                self._tier.records.commit(max(each.ref.index for each in queued))
            for each in queued:
                each.key.settle(each.ref.index)
        except AegisError:
            self._tier.lost_track()


def lags(expires_ms: int, ttl_ms: int, now: int) -> bool:
    """Whether an expiry is so far behind that of a read now that it is to be moved."""
    return now + ttl_ms - expires_ms > ttl_ms // REFRESH_PART
