"""The keys that somebody writes under, one object each: found by namespace and key, and let go when nobody has them."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from typing import Final

from aegis_store.errors import InvalidArgument
from aegis_store.memory.reading import Reader
from aegis_store.memory.writing import Key
from aegis_store.open_tier import OpenTier
from aegis_store.opening import demand_name
from aegis_store.schema import names
from aegis_store.schema.names import Namespace


class Keys:
    """Keys of one store. Any number of threads may use it."""

    def __init__(self, tier: OpenTier, reader: Reader) -> None:
        self._tier: Final = tier
        self._reader: Final = reader
        self._lock: Final = threading.Lock()
        self._known: Final[weakref.WeakValueDictionary[str, Key]] = weakref.WeakValueDictionary()

    def of(self, namespace: Sequence[str], key: str) -> Key:
        """The key, to be written under."""
        parts = namespace_of(namespace)
        name = name_of(parts, key)
        chain = self._tier.chain_of(name)
        with self._lock:
            known = self._known.get(name)
            if known is None or known.chain is not chain:  # it was erased meanwhile
                known = self._known[name] = Key(self._tier, self._reader, chain, parts, key)
        return known

    def known(self, name: str) -> Key | None:
        """The key of a chain, if anybody has it."""
        with self._lock:
            return self._known.get(name)


def namespace_of(parts: Sequence[str]) -> Namespace:
    """A namespace as a tuple. InvalidArgument: it is none."""
    given: object = parts
    if not isinstance(given, tuple | list):
        raise InvalidArgument(
            f"a namespace is a tuple of str, and not {type(given).__name__}", op="memory", hint='as in ("users", "u-17")'
        )
    for part in given:
        demand_name(part, "part of a namespace", op="memory")
    return tuple(given)


def name_of(namespace: Namespace, key: str) -> str:
    """The name of a key's chain. InvalidArgument: it is too long, or the key is no str."""
    demand_name(key, "key", op="memory")
    name = names.name_of(namespace, key)
    demand_name(name, "namespace and key", op="memory")
    return name
