"""The memory tier of an open store: values under namespaces and keys, version by version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from aegis_store.catalog import SessionRecord
from aegis_store.checkpoint import moment
from aegis_store.erasure import WAIT_SECONDS
from aegis_store.errors import Conflict, InvalidArgument, NotFound, Pruned, ReadOnly, StateTypeError
from aegis_store.keeping import Keeping
from aegis_store.lifetimes import Lifetime, ttl_of
from aegis_store.memory import going, newest, sweeping
from aegis_store.memory.fields import matcher
from aegis_store.memory.going import MemoryErasure, MemoryHold
from aegis_store.memory.items import MemoryItem, Stored, as_item
from aegis_store.memory.keys import Keys, name_of, namespace_of
from aegis_store.memory.reading import Reader, View
from aegis_store.memory.refreshing import Refreshes
from aegis_store.memory.sweeping import Swept
from aegis_store.memory.writing import Queued
from aegis_store.open_tier import OpenTier
from aegis_store.records import Records
from aegis_store.schema import names
from aegis_store.schema.names import Namespace
from aegis_store.types import MemoryPointer, TimeMs

_MS: Final = 1000


class _Default:
    """`ttl=DEFAULT`: as the options say for the namespace."""

    def __repr__(self) -> str:
        return "DEFAULT"


#: `ttl=DEFAULT`: as the options say for the namespace.
DEFAULT: Final = _Default()
#: Seconds, or text such as "30d"; None: it never expires.
Ttl = float | str | _Default | None


class Put(msgspec.Struct, frozen=True, kw_only=True):
    """A `Memory.put` that is part of a batch."""

    namespace: Sequence[str]
    key: str
    value: Any
    ttl: Any = DEFAULT
    expect: int | None = None
    request_id: str | None = None


class Delete(msgspec.Struct, frozen=True, kw_only=True):
    """A `Memory.delete` that is part of a batch."""

    namespace: Sequence[str]
    key: str
    expect: int | None = None
    request_id: str | None = None


class Memory:
    """The memory tier of an open store, as `Store.memory`. Any number of threads may use it.

    A namespace is a tuple of str, a key a str; both may be any, the empty ones too.
    """

    def __init__(self, tier: OpenTier, lifetimes: Sequence[Lifetime]) -> None:
        self._tier: Final = tier
        self._lifetimes: Final = lifetimes
        self._reader: Final = Reader(tier)
        self._keys: Final = Keys(tier, self._reader)
        self._refreshes: Final = Refreshes(tier, self._keys)

    @property
    def agent(self) -> str:
        """Who signs what is written, unless a call says otherwise."""
        return self._tier.agent

    @property
    def records(self) -> Records:
        """The records of the tier."""
        return self._tier.records

    @property
    def keeping(self) -> Keeping:
        """What stays in it and what goes."""
        return self._tier.keeping

    # ---- writing ----------------------------------------------------------------------------------------------------------

    def put(
        self,
        namespace: Sequence[str],
        key: str,
        value: object,
        *,
        ttl: Ttl = DEFAULT,
        expect: int | None = None,
        request_id: str | None = None,
        agent: str | None = None,
    ) -> MemoryItem:
        """Store a value as the key's next version; it is durable when this returns.

        `value` is any value that a state may hold. `ttl` is seconds from now, or text such as "30d" (None: it never expires;
        DEFAULT: as the options say for the namespace). With `expect` the key must be at that version (0: it must have no
        value), else Conflict. A repeated `request_id` returns the key's version of that request and stores nothing. `agent`
        signs it, the store's if nobody is named.

        StateTypeError, StateTooLarge, Conflict, NoSpace, ReadOnly: nothing was stored.
        """
        one = Put(namespace=namespace, key=key, value=value, ttl=ttl, expect=expect, request_id=request_id)
        (item,) = self.batch([one], agent=agent)
        return demand_item(item, request_id)

    def delete(
        self,
        namespace: Sequence[str],
        key: str,
        *,
        expect: int | None = None,
        request_id: str | None = None,
        agent: str | None = None,
    ) -> bool:
        """Let a key have no value; durable when this returns. Whether it had one, or the request is a repeated one.

        Its versions stay until retention lets them go. `expect`, `request_id` and `agent` as of `put`."""
        one = Delete(namespace=namespace, key=key, expect=expect, request_id=request_id)
        queued = self._land([one], agent)
        return queued[0] is not None

    def batch(self, operations: Iterable[Put | Delete], *, agent: str | None = None) -> Sequence[MemoryItem | None]:
        """Puts and deletes in order, in one commit; durable when this returns. For each put what `put` returns, else None.

        They are not one transaction: where one is refused, those before it are stored, and a power cut may leave the first of
        them without the rest."""
        return [self.result(each) for each in self._land(operations, agent)]

    def _land(self, operations: Iterable[Put | Delete], agent: str | None) -> Sequence[Queued | None]:
        queued: list[Queued | None] = []
        try:
            try:
                for each in operations:
                    queued.append(self.submit(each, agent=agent))
            finally:
                # Those before one that is refused as well.
                self._commit([each for each in queued if each is not None])
        except (Conflict, InvalidArgument, StateTypeError, ReadOnly):
            raise
        except BaseException:
            self._tier.lost_track()
            raise
        return queued

    def submit(self, operation: Put | Delete, *, agent: str | None = None) -> Queued | None:
        """The first half of a put or delete: queue it. It is not durable yet; once it is, `settle` it. None: of a key that has
        no value there is nothing to delete."""
        self._tier.check_open()
        key = self._keys.of(operation.namespace, operation.key)
        signer = self._tier.agent if agent is None else agent
        if isinstance(operation, Delete):
            return key.delete(expect=operation.expect, request_id=operation.request_id, agent=signer)
        return key.put(
            operation.value,
            ttl_ms=self._ttl_ms(operation.ttl, key.namespace),
            expect=operation.expect,
            request_id=operation.request_id,
            agent=signer,
        )

    @staticmethod
    def settle(queued: Queued) -> None:
        """The second half, once the record is durable: lookups know from here on."""
        queued.key.settle(queued.ref.index)

    def _commit(self, queued: Sequence[Queued]) -> None:
        if not queued:
            return
        self._tier.records.commit(max(each.ref.index for each in queued))
        for each in queued:
            self.settle(each)

    def result(self, queued: Queued | None) -> MemoryItem | None:
        """What was put, once it is durable; None of a delete."""
        if queued is None:
            return None
        item = queued.item
        if item is None:
            chain = self._reader.chain(queued.key.chain.id)
            if chain is None:
                raise NotFound(f"{names.shown(queued.key.namespace, queued.key.key)} is gone", op="put")
            stored = self._reader.at_place(chain, queued.ref.ordinal, queued.ref.index)
            return None if stored.item.op == "delete" else as_item(stored, stored.item.expires_ms)
        if item.op == "delete":
            return None
        return MemoryItem(
            namespace=item.namespace,
            key=item.key,
            value=item.value,
            version=item.number,
            created_at=moment(queued.created_ms),
            changed_at=moment(queued.changed_ms),
            expires_at=None if item.expires_ms is None else moment(TimeMs(item.expires_ms)),
            ttl_seconds=None if item.ttl_ms is None else item.ttl_ms / _MS,
            ref=queued.ref,
            agent=queued.agent,
        )

    def _ttl_ms(self, ttl: Ttl, namespace: Namespace) -> int | None:
        if isinstance(ttl, _Default):
            lifetime = self._lifetime(namespace)
            ttl = None if lifetime is None else lifetime.ttl
        return None if ttl is None else max(1, round(ttl_of(ttl) * _MS))

    def _lifetime(self, namespace: Namespace) -> Lifetime | None:
        """What the options say of a namespace: the longest one that it begins with."""
        return next((each for each in self._lifetimes if namespace[: len(each.namespace)] == tuple(each.namespace)), None)

    # ---- expiry -----------------------------------------------------------------------------------------------------------

    def sweep(
        self,
        namespace_prefix: Sequence[str] = (),
        *,
        limit: int | None = None,
        watch: sweeping.Watcher | None = None,
    ) -> Swept:
        """Delete what has expired, in all namespaces that begin so, at most `limit` items; durable when this returns.

        An expired item is not given to anybody in any case; once it is deleted, retention may let its value go. `watch` is told
        how many keys were looked at, and how many values deleted."""
        if limit is not None and limit < 0:
            raise InvalidArgument(f"limit is {limit}", op="sweep")
        view = self._reader.view(None)
        self._tier.store_signer("sweep")  # ReadOnly is said before anything is looked at
        try:
            return sweeping.sweep(
                self._reader,
                self._keys,
                names.within(namespace_of(namespace_prefix)),
                agent=self._tier.agent,
                view=view,
                limit=limit,
                watch=watch,
                commit=self._commit,
            )
        except BaseException:
            self._tier.lost_track()
            raise

    # ---- what stays and what goes -----------------------------------------------------------------------------------------

    def hold(self, namespace: Sequence[str], key: str, *, reason: str, holder: str) -> MemoryHold:
        """Let no version of a key go until `release`; durable when this returns. Retention leaves out what is held, and erasure
        refuses."""
        self._tier.check_open()
        return going.hold(self._tier, self._reader, namespace, key, reason=reason, holder=holder)

    def holds(self) -> Sequence[MemoryHold]:
        """The holds on keys that stand, oldest first."""
        self._tier.check_open()
        return going.holds(self._tier)

    def release(self, hold: int, *, reason: str, by: str | None = None) -> None:
        """Let a hold go, by its number; durable when this returns. NotFound: none of that number stands."""
        self._tier.check_open()
        self._tier.keeping.holds.release(hold, reason=reason, by=self._tier.agent if by is None else by)

    def erase(
        self,
        namespace: Sequence[str],
        key: str | None = None,
        *,
        reason: str,
        by: str | None = None,
        wait_seconds: float = WAIT_SECONDS,
    ) -> MemoryErasure:
        """Erase a key, or without one the namespace and all below it: when this returns no file of the store holds a value or
        a name of it.

        What stays is that there was something: entries without content, which keep every root and proof, and erase records of
        who, why, and which. Processes that still have an old file open after `wait_seconds` are named. NotFound: there is
        nothing. Held: a key is held, and nothing was erased."""
        self._tier.check_open()
        return going.erase(
            self._tier,
            self._reader,
            namespace,
            key,
            reason=reason,
            by=self._tier.agent if by is None else by,
            wait_seconds=wait_seconds,
        )

    # ---- within -----------------------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Write down what reads have promised: the store is about to be closed."""
        self._refreshes.finish()

    def _seen(self, stored: Stored | None, view: View, refresh: bool | None) -> MemoryItem | None:
        """What whoever asked for a key is given, which a read keeps longer; None: it has expired, or was deleted."""
        if stored is None or stored.item.op == "delete":
            return None
        expires = stored.item.expires_ms
        if expires is None or view.last is not None:
            return as_item(stored, expires) if expires is None or view.now < expires else None
        expires = self._refreshes.expiry(stored) or expires
        if view.now >= expires:
            # A refresh may have landed since it was read, and is promised by nobody any more.
            newer = self._reader.newer(stored)
            return None if newer is None else self._seen(newer, view, refresh)
        if refresh is None:
            lifetime = self._lifetime(stored.item.namespace)
            refresh = lifetime is None or lifetime.refresh_on_read
        return as_item(stored, self._refreshes.read(stored, expires, view.now) if refresh else expires)

    # ---- reading ----------------------------------------------------------------------------------------------------------

    def get(
        self, namespace: Sequence[str], key: str, *, at: MemoryPointer | None = None, refresh: bool | None = None
    ) -> MemoryItem | None:
        """What is stored under a key, every check made; None: nothing is, or it has expired.

        A read moves the expiry of what has a ttl, unless `refresh`, or the options for the namespace, say no. With `at` it is
        what a reader saw at that pointer: the newest version up to there. Pruned, Erased: that one is gone, and no other is
        given in its place. RolledBack: this memory never was what the pointer saw.
        """
        view = self._reader.view(at)
        return self._seen(self._reader.newest(name_of(namespace_of(namespace), key), view), view, refresh)

    def versions(self, namespace: Sequence[str], key: str) -> Iterator[MemoryItem]:
        """The versions of a key, newest first, expired and deleted ones too; those that retention let go are left out."""
        self._tier.check_open()
        return self._versions(name_of(namespace_of(namespace), key))

    def _versions(self, name: str) -> Iterator[MemoryItem]:
        chain = self._reader.chain(name)
        if chain is None or chain.last_ordinal is None:
            return
        ordinal = int(chain.last_ordinal)
        while ordinal >= 0:
            try:
                stored = self._reader.stored(chain, ordinal, self._reader.index_of(chain, ordinal))
            except Pruned:
                ordinal -= 1
                continue
            if stored.item.op == "delete":
                ordinal -= 1
                continue
            yield as_item(stored, stored.item.expires_ms)
            ordinal = stored.put - 1

    def search(
        self,
        namespace_prefix: Sequence[str] = (),
        *,
        where: Mapping[str, object] | None = None,
        limit: int | None = None,
        offset: int = 0,
        at: MemoryPointer | None = None,
        refresh: bool | None = None,
        newest_first: bool = False,
    ) -> Iterator[MemoryItem]:
        """Items of all namespaces that begin so, by namespace and key or the newest put first, each checked when it comes.

        `where` says what their values' fields are to be (memory.fields). At most `limit`, after the first `offset`.
        """
        prefix = names.within(namespace_of(namespace_prefix))
        order = newest.newest_first if newest_first else Reader.items
        return self._page(self._found(prefix, None, at, matcher(where), refresh, order), limit, offset)

    def namespaces(
        self,
        *,
        prefix: Sequence[str] = (),
        suffix: Sequence[str] = (),
        matching: Callable[[Namespace], bool] = lambda namespace: True,
        max_depth: int | None = None,
        at: MemoryPointer | None = None,
    ) -> Iterator[Namespace]:
        """The namespaces that have items, in order: those that begin and end so and are `matching`, cut to `max_depth` parts,
        each once."""
        begins, ends = namespace_of(prefix), namespace_of(suffix)

        def is_asked_for(namespace: Namespace) -> bool:
            return namespace[len(namespace) - len(ends) :] == ends and matching(namespace)

        if max_depth is not None and max_depth < 1:
            raise InvalidArgument(f"max_depth is {max_depth}", op="namespaces")
        return self._namespaces(begins, is_asked_for, max_depth, self._reader.view(at))

    def _namespaces(
        self, begins: Namespace, is_asked_for: Callable[[Namespace], bool], max_depth: int | None, view: View
    ) -> Iterator[Namespace]:
        done: set[Namespace] = set()
        chains = self._reader.chains(names.within(begins))
        for chain in chains:
            namespace, _ = names.split(chain.id)
            cut = namespace[:max_depth]
            # What is not asked for, or was found already, need not be read.
            if cut in done or not is_asked_for(namespace) or not self._is_there(chain, view):
                continue
            done.add(cut)
            yield cut

    def _is_there(self, chain: SessionRecord, view: View) -> bool:
        stored = next(self._reader.items([chain], view, with_value=False), None)
        return self._seen(stored, view, False) is not None

    def pointer(self) -> MemoryPointer:
        """All that can be read now, as an index and a root: hand it to `Session.checkpoint`, and to any read as `at`."""
        return self._reader.pointer()

    def list(
        self,
        namespace: Sequence[str],
        *,
        prefix: str = "",
        limit: int | None = None,
        after: str | None = None,
        at: MemoryPointer | None = None,
        refresh: bool | None = None,
    ) -> Iterator[MemoryItem]:
        """Items of that very namespace whose keys begin with `prefix`, by key, each checked when it comes.

        At most `limit`; with `after`, those behind that key, which is how a list goes on."""
        parts = namespace_of(namespace)
        behind = None if after is None else name_of(parts, after)
        found = self._found(names.prefix_of(parts, prefix), behind, at, lambda value: True, refresh)
        return self._page(found, limit, 0)

    def _found(
        self,
        prefix: str,
        after: str | None,
        at: MemoryPointer | None,
        matches: Callable[[object], bool],
        refresh: bool | None,
        order: Callable[[Reader, Iterable[SessionRecord], View], Iterator[Stored]] = Reader.items,
    ) -> Iterator[MemoryItem]:
        view = self._reader.view(at)
        for stored in order(self._reader, self._reader.chains(prefix, after=after), view):
            if matches(stored.item.value):
                item = self._seen(stored, view, refresh)
                if item is not None:
                    yield item

    @staticmethod
    def _page(found: Iterator[MemoryItem], limit: int | None, offset: int) -> Iterator[MemoryItem]:
        if offset < 0 or (limit is not None and limit < 0):
            raise InvalidArgument(f"limit is {limit} and offset {offset}", op="search")
        return islice(found, offset, None if limit is None else offset + limit)


def demand_item(item: MemoryItem | None, request_id: str | None) -> MemoryItem:
    """What was put. Conflict: the request was a delete."""
    if item is None:
        raise Conflict(f"request {request_id!r} deleted the key", op="put", hint="give each request an id of its own")
    return item
