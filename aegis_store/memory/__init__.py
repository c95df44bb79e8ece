"""The memory tier: what agents remember beyond one session, under namespaces and keys, each version a signed record.

names       a namespace and a key as the name of a chain (schema.names)
items       what people hold: a value with its version and times
fields      which values a search is for; pure
reading     the newest of a key, or the one at a pointer, every check made
writing     the next record of a key: put, refresh, delete
newest      searches that give the newest put first
memory      all of it together, as `Store.memory`
"""

from __future__ import annotations

from aegis_store.memory.going import MemoryErasure, MemoryHold
from aegis_store.memory.items import MemoryItem
from aegis_store.memory.memory import DEFAULT, Delete, Memory, Put
from aegis_store.memory.sweeping import Swept

__all__ = ["DEFAULT", "Delete", "Memory", "MemoryErasure", "MemoryHold", "MemoryItem", "Put", "Swept"]
