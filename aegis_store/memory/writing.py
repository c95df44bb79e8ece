"""The writing side of a key: what its next record says, and that none is queued on what has changed meanwhile.

A record is queued under the key's lock, and the next one follows it while it is on its way to the disk, as in `chain`: so two
threads that put under one key share a sync, and the numbers of versions have no gaps. What a call that did not come to its end
has queued is looked for in the log before anything is built on it (`lost_track`).
"""

from __future__ import annotations

import threading
from typing import Final

import msgspec

from aegis_store.chain import Chain
from aegis_store.errors import AegisError, Conflict, Erased
from aegis_store.memory.items import Stored
from aegis_store.memory.reading import Reader, View
from aegis_store.open_tier import OpenTier
from aegis_store.schema import memory as schema
from aegis_store.schema import names
from aegis_store.schema.names import Namespace
from aegis_store.types import LogIndex, Ref, TimeMs


class Queued(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a key that is queued, and what it says; `item` None: a request was repeated, and `ref` is the first's."""

    key: Key
    ref: Ref
    item: schema.Item | None
    created_ms: TimeMs
    changed_ms: TimeMs
    agent: str


class _Standing(msgspec.Struct, frozen=True, kw_only=True):
    """The newest record of a key, on its way perhaps."""

    ref: Ref
    is_deleted: bool
    number: int
    put: int
    created_ms: TimeMs
    changed_ms: TimeMs
    expires_ms: int | None


class _Promise(msgspec.Struct, frozen=True, kw_only=True):
    """A later expiry of the version that a put made, because it was read."""

    stored: Stored
    expires_ms: int


class Key:
    """What all that write under one key share."""

    __slots__ = ("__weakref__", "_lock", "_promise", "_reader", "_standing", "_tier", "chain", "key", "namespace")

    def __init__(self, tier: OpenTier, reader: Reader, chain: Chain, namespace: Namespace, key: str) -> None:
        self.chain: Final = chain
        self.namespace: Final = namespace
        self.key: Final = key
        self._tier = tier
        self._reader = reader
        self._lock = threading.Lock()
        # None: to be looked up.
        self._standing: _Standing | None = None
        self._promise: _Promise | None = None

    # ---- expiry -----------------------------------------------------------------------------------------------------------

    def expiry_on_way(self, stored: Stored) -> int:
        """The expiry of a version as a refresh has it that is promised or on its way; 0: none is."""
        with self._lock:
            found = 0
            if self._promise is not None and self._promise.stored.put == stored.put:
                found = self._promise.expires_ms
            standing = self._standing
            if standing is not None and standing.put == stored.put and not standing.is_deleted:
                found = max(found, standing.expires_ms or 0)
            return found

    def promise(self, stored: Stored, expires_ms: int) -> int:
        """A version was read: it is to be there until then at least. Gives until when it is."""
        with self._lock:
            promise = self._promise
            if promise is None or promise.stored.put < stored.put or promise.expires_ms < expires_ms:
                promise = self._promise = _Promise(stored=stored, expires_ms=expires_ms)
            return promise.expires_ms

    def _is_there(self, standing: _Standing | None, now: int) -> bool:
        """Whether the key has a value. The lock is held."""
        if standing is None or standing.is_deleted:
            return False
        if standing.expires_ms is None or now < standing.expires_ms:
            return True
        promise = self._promise
        return promise is not None and promise.stored.put == standing.put and now < promise.expires_ms

    # ---- what is queued ---------------------------------------------------------------------------------------------------

    def put(self, value: object, *, ttl_ms: int | None, expect: int | None, request_id: str | None, agent: str) -> Queued:
        """Queue a version. Conflict: the key is not at the version that was expected (0: it has none)."""
        with self._lock:
            first = self._requested(request_id)
            if first is not None:
                return self._repeated(first, agent)
            now = self._tier.clock.now_ms()
            standing = self._stand()
            is_there = self._is_there(standing, now)
            self._demand(expect, standing if is_there else None)
            item = schema.Item(
                namespace=self.namespace,
                key=self.key,
                op="put",
                number=1 if standing is None else standing.number + 1,
                created_ms=standing.created_ms if standing is not None and is_there else None,
                ttl_ms=ttl_ms,
                expires_ms=None if ttl_ms is None else now + ttl_ms,
                request_id=request_id,
                value=value,
            )
            return self._queue(item, agent)

    def delete(self, *, expect: int | None, request_id: str | None, agent: str) -> Queued | None:
        """Queue the end of the newest version; None: the key has no value."""
        with self._lock:
            first = self._requested(request_id)
            if first is not None:
                return self._repeated(first, agent)
            standing = self._stand()
            if not self._is_there(standing, self._tier.clock.now_ms()):
                standing = None
            self._demand(expect, standing)
            if standing is None:
                return None
            return self._queue(self._same(standing, "delete", request_id=request_id), agent)

    def sweep(self, now: int, agent: str) -> Queued | None:
        """Queue the end of the newest version if it has expired at that time."""
        with self._lock:
            standing = self._stand()
            if standing is None or standing.is_deleted or self._is_there(standing, now):
                return None
            return self._queue(self._same(standing, "delete"), agent)

    def fulfil(self, agent: str) -> Queued | None:
        """Queue the refresh that was promised; None: the version is not the newest any more."""
        with self._lock:
            promise, standing = self._promise, self._stand()
            if promise is None:
                return None
            try:
                if standing is None or standing.is_deleted or standing.put != promise.stored.put:
                    return None
                if standing.expires_ms is None or standing.expires_ms >= promise.expires_ms:
                    return None
                was = promise.stored.item
                item = self._same(standing, "refresh", ttl_ms=was.ttl_ms, expires_ms=promise.expires_ms, value=was.value)
                return self._queue(item, agent)
            finally:
                self._promise = None

    def settle(self, index: LogIndex) -> None:
        """Record `index` is durable: lookups know from here on."""
        self.chain.settle(index)

    # ---- within: the lock is held -----------------------------------------------------------------------------------------

    def _same(
        self,
        standing: _Standing,
        op: schema.Op,
        *,
        ttl_ms: int | None = None,
        expires_ms: int | None = None,
        request_id: str | None = None,
        value: object = None,
    ) -> schema.Item:
        """A record about the version that is there."""
        return schema.Item(
            namespace=self.namespace,
            key=self.key,
            op=op,
            number=standing.number,
            put=standing.put,
            created_ms=standing.created_ms,
            changed_ms=standing.changed_ms,
            ttl_ms=ttl_ms,
            expires_ms=expires_ms,
            request_id=request_id,
            value=value,
        )

    def _queue(self, item: schema.Item, agent: str) -> Queued:
        envelope = schema.encode(item, types=self._tier.types)
        records = self._tier.records
        if len(envelope) > records.state_limit_bytes:
            records.demand_limit(len(envelope), "value")
        self._standing = None
        try:
            ref = self.chain.submit(agent, envelope, expect=None, request_id=item.request_id).ref
        except Erased:
            raise self._erased() from None
        time_ms = TimeMs(0) if ref.time_ms is None else ref.time_ms
        queued = Queued(
            key=self,
            ref=ref,
            item=item,
            created_ms=time_ms if item.created_ms is None else TimeMs(item.created_ms),
            changed_ms=time_ms if item.changed_ms is None else TimeMs(item.changed_ms),
            agent=agent,
        )
        self._standing = _Standing(
            ref=ref,
            is_deleted=item.op == "delete",
            number=item.number,
            put=ref.ordinal if item.put is None else item.put,
            created_ms=queued.created_ms,
            changed_ms=queued.changed_ms,
            expires_ms=item.expires_ms,
        )
        return queued

    def _stand(self) -> _Standing | None:
        if self._standing is None:
            found = self._reader.newest(self.chain.id, View(now=TimeMs(0)), with_value=False)
            if found is not None:
                self._standing = _Standing(
                    ref=found.ref,
                    is_deleted=found.item.op == "delete",
                    number=found.item.number,
                    put=found.put,
                    created_ms=found.created_ms,
                    changed_ms=found.changed_ms,
                    expires_ms=found.item.expires_ms,
                )
        return self._standing

    def _requested(self, request_id: str | None) -> Ref | None:
        if request_id is None:
            return None
        try:
            return self.chain.requested(request_id)
        except Erased:
            raise self._erased() from None

    def _repeated(self, first: Ref, agent: str) -> Queued:
        return Queued(key=self, ref=first, item=None, created_ms=TimeMs(0), changed_ms=TimeMs(0), agent=agent)

    def _demand(self, expect: int | None, standing: _Standing | None) -> None:
        version = 0 if standing is None else standing.number
        if expect is None or expect == version:
            return
        wanted, found = (f"version {each}" if each else "no value" for each in (expect, version))
        error = Conflict(
            f"{names.shown(self.namespace, self.key)} has {found}, and {wanted} was expected",
            op="put",
            path=self._tier.records.engine.path,
            hint="get() it again and decide on what it says",
        )
        error.newest = None if standing is None else standing.ref
        raise error

    def _erased(self) -> AegisError:
        return Erased(f"{names.shown(self.namespace, self.key)} is being erased", op="put", path=self._tier.records.engine.path)
