"""The memory tier of an open store: values under namespaces and keys, version by version."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import msgspec

from aegis_store.checkpoint import moment
from aegis_store.errors import Conflict, InvalidArgument, NotFound, Pruned, ReadOnly, StateTypeError
from aegis_store.memory.fields import matcher
from aegis_store.memory.items import MemoryItem, Stored, as_item
from aegis_store.memory.reading import Reader, View
from aegis_store.memory.writing import Key, Queued
from aegis_store.open_tier import OpenTier
from aegis_store.opening import demand_name
from aegis_store.schema import names
from aegis_store.schema.names import Namespace
from aegis_store.types import MemoryPointer, TimeMs

_MS: Final = 1000
#: About 300 years, so that no sum of it and a time is out of range.
TTL_SECONDS_MAX: Final = 10_000_000_000


class _Default:
    def __repr__(self) -> str:
        return "DEFAULT"


#: `ttl=DEFAULT`: as the options say for the namespace.
DEFAULT: Final = _Default()
Ttl = float | _Default | None


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

    def __init__(self, tier: OpenTier) -> None:
        self._tier: Final = tier
        self._reader: Final = Reader(tier)
        self._lock: Final = threading.Lock()
        self._keys: Final[weakref.WeakValueDictionary[str, Key]] = weakref.WeakValueDictionary()

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

        `value` is any value that a state may hold. `ttl` is in seconds from now (None: it never expires; DEFAULT: as the
        options say for the namespace). With `expect` the key must be at that version (0: it must have no value), else Conflict.
        A repeated `request_id` returns the key's version of that request and stores nothing. `agent` signs it, the store's if
        nobody is named.

        StateTypeError, StateTooLarge, Conflict, NoSpace, ReadOnly: nothing was stored.
        """
        one = Put(namespace=namespace, key=key, value=value, ttl=ttl, expect=expect, request_id=request_id)
        (item,) = self.batch([one], agent=agent)
        if item is None:
            raise Conflict(f"request {request_id!r} deleted the key", op="put", hint="give each request an id of its own")
        return item

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
        return [self._item_of(each) for each in self._land(operations, agent)]

    def _land(self, operations: Iterable[Put | Delete], agent: str | None) -> Sequence[Queued | None]:
        self._tier.check_open()
        queued: list[Queued | None] = []
        try:
            try:
                for each in operations:
                    queued.append(self._submit(each, self._tier.agent if agent is None else agent))
            finally:
                # Those before one that is refused as well.
                self._commit([each for each in queued if each is not None])
        except (Conflict, InvalidArgument, StateTypeError, ReadOnly):
            raise
        except BaseException:
            self._tier.lost_track()
            raise
        return queued

    def _submit(self, operation: Put | Delete, agent: str) -> Queued | None:
        key = self._key(operation.namespace, operation.key)
        if isinstance(operation, Delete):
            return key.delete(expect=operation.expect, request_id=operation.request_id, agent=agent)
        return key.put(
            operation.value,
            ttl_ms=self._ttl_ms(operation.ttl),
            expect=operation.expect,
            request_id=operation.request_id,
            agent=agent,
        )

    def _commit(self, queued: Sequence[Queued]) -> None:
        if not queued:
            return
        self._tier.records.commit(max(each.ref.index for each in queued))
        for each in queued:
            each.key.settle(each.ref.index)

    def _item_of(self, queued: Queued | None) -> MemoryItem | None:
        """What was put, once it is durable; None of a delete."""
        if queued is None:
            return None
        item = queued.item
        if item is None:
            chain = self._reader.chain(queued.key.chain.id)
            if chain is None:
                raise NotFound(f"{names.shown(queued.key.namespace, queued.key.key)} is gone", op="put")
            stored = self._reader.at_place(chain, queued.ref.ordinal, queued.ref.index)
            return None if stored.item.op == "delete" else as_item(stored)
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

    def _key(self, namespace: Sequence[str], key: str) -> Key:
        parts = _namespace(namespace)
        demand_name(key, "key", op="memory")
        name = names.name_of(parts, key)
        demand_name(name, "namespace and key", op="memory")
        chain = self._tier.chain_of(name)
        with self._lock:
            known = self._keys.get(name)
            if known is None or known.chain is not chain:  # it was erased meanwhile
                known = self._keys[name] = Key(self._tier, self._reader, chain, parts, key)
        return known

    def _ttl_ms(self, ttl: Ttl) -> int | None:
        if isinstance(ttl, _Default) or ttl is None:
            return None
        given: object = ttl
        if isinstance(given, bool) or not isinstance(given, int | float) or not 0 < given <= TTL_SECONDS_MAX:
            raise InvalidArgument(f"ttl is {ttl!r}, not a number of seconds above 0", op="put")
        return max(1, round(given * _MS))

    # ---- reading ----------------------------------------------------------------------------------------------------------

    def get(
        self, namespace: Sequence[str], key: str, *, at: MemoryPointer | None = None, refresh: bool | None = None
    ) -> MemoryItem | None:
        """What is stored under a key, every check made; None: nothing is, or it has expired.

        With `at` what a reader saw at that pointer: the newest version up to there. Pruned, Erased: that one is gone, and no
        other is given in its place. RolledBack: this memory never was what the pointer saw.
        """
        view = self._reader.view(at)
        stored = self._reader.newest(names.name_of(_namespace(namespace), key), view)
        return None if stored is None else self._seen(stored, view)

    def versions(self, namespace: Sequence[str], key: str) -> Iterator[MemoryItem]:
        """The versions of a key, newest first, expired and deleted ones too; those that retention let go are left out."""
        self._tier.check_open()
        return self._versions(names.name_of(_namespace(namespace), key))

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
            yield as_item(stored)
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
    ) -> Iterator[MemoryItem]:
        """Items of all namespaces that begin so, by namespace and key, each checked when it comes.

        `where` says what their values' fields are to be (memory.fields). At most `limit`, after the first `offset`.
        """
        matches = matcher(where)
        prefix = names.within(_namespace(namespace_prefix))
        return self._page(self._found(prefix, None, at, matches), limit, offset)

    def namespaces(
        self,
        *,
        prefix: Sequence[str] = (),
        suffix: Sequence[str] = (),
        max_depth: int | None = None,
        at: MemoryPointer | None = None,
    ) -> Iterator[Namespace]:
        """The namespaces that have items, in order: those that begin and end so, cut to `max_depth` parts, each once."""
        begins, ends = _namespace(prefix), _namespace(suffix)
        if max_depth is not None and max_depth < 1:
            raise InvalidArgument(f"max_depth is {max_depth}", op="namespaces")
        return self._namespaces(begins, ends, max_depth, self._reader.view(at))

    def _namespaces(self, begins: Namespace, ends: Namespace, max_depth: int | None, view: View) -> Iterator[Namespace]:
        done: set[Namespace] = set()
        for stored in self._reader.items(self._reader.chains(names.within(begins)), view):
            namespace = stored.item.namespace
            cut = namespace[:max_depth]
            if cut in done or not self._is_there(stored, view) or namespace[len(namespace) - len(ends) :] != ends:
                continue
            done.add(cut)
            yield cut

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
        parts = _namespace(namespace)
        behind = None if after is None else names.name_of(parts, after)
        return self._page(self._found(names.prefix_of(parts, prefix), behind, at, lambda value: True), limit, 0)

    def _found(
        self, prefix: str, after: str | None, at: MemoryPointer | None, matches: Callable[[object], bool]
    ) -> Iterator[MemoryItem]:
        view = self._reader.view(at)
        for stored in self._reader.items(self._reader.chains(prefix, after=after), view):
            if self._is_there(stored, view) and matches(stored.item.value):
                item = self._seen(stored, view)
                if item is not None:
                    yield item

    @staticmethod
    def _page(found: Iterator[MemoryItem], limit: int | None, offset: int) -> Iterator[MemoryItem]:
        if offset < 0 or (limit is not None and limit < 0):
            raise InvalidArgument(f"limit is {limit} and offset {offset}", op="search")
        return islice(found, offset, None if limit is None else offset + limit)

    # ---- expiry -----------------------------------------------------------------------------------------------------------

    def _is_there(self, stored: Stored, view: View) -> bool:
        return stored.is_there(view.now, self._on_way(stored) if view.last is None else None)

    def _on_way(self, stored: Stored) -> int | None:
        with self._lock:
            key = self._keys.get(stored.chain.id)
        return None if key is None else key.expiry_on_way(stored)

    def _seen(self, stored: Stored, view: View) -> MemoryItem | None:
        """What whoever asked for a key is given."""
        return as_item(stored) if self._is_there(stored, view) else None


def _namespace(parts: Sequence[str]) -> Namespace:
    """A namespace as a tuple. InvalidArgument: it is none."""
    given: object = parts
    if not isinstance(given, tuple | list):
        raise InvalidArgument(
            f"a namespace is a tuple of str, and not {type(given).__name__}", op="memory", hint='as in ("users", "u-17")'
        )
    for part in given:
        demand_name(part, "part of a namespace", op="memory")
    return tuple(given)
