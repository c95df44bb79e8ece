"""A version of a key as people hold it, made of a record that every check was made on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from aegis_store.catalog import SessionRecord
from aegis_store.checkpoint import moment
from aegis_store.records import TrustedRecord
from aegis_store.schema.memory import Item
from aegis_store.schema.names import Namespace
from aegis_store.types import Ref, TimeMs


class MemoryItem(msgspec.Struct, frozen=True, kw_only=True):
    """A value under a namespace and a key, every check made.

    `version` counts the puts of the key from 1. `created_at` is the time of the first of them since it had no value,
    `changed_at` that of this one; both are the store's, in UTC. `expires_at` is None where it never does. `agent` signed the
    record that `ref` names: the put, or a later refresh of it.
    """

    namespace: Namespace
    key: str
    value: Any
    version: int
    created_at: datetime
    changed_at: datetime
    expires_at: datetime | None
    ttl_seconds: float | None
    ref: Ref
    agent: str


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """A record of a key that was believed, and the chain that it was found in."""

    chain: SessionRecord
    record: TrustedRecord
    item: Item

    @property
    def ref(self) -> Ref:
        """What the record is called."""
        entry = self.record.entry
        return Ref(
            tier=entry.tier,
            index=self.record.index,
            leaf=self.record.leaf,
            ordinal=entry.ordinal,
            session=self.chain.id,
            time_ms=entry.time_ms,
        )

    @property
    def put(self) -> int:
        """The ordinal of the put that made the version."""
        return self.record.entry.ordinal if self.item.put is None else self.item.put

    @property
    def created_ms(self) -> TimeMs:
        """When the key began to be there."""
        return self.record.entry.time_ms if self.item.created_ms is None else TimeMs(self.item.created_ms)

    @property
    def changed_ms(self) -> TimeMs:
        """When the version was put."""
        return self.record.entry.time_ms if self.item.changed_ms is None else TimeMs(self.item.changed_ms)


def as_item(stored: Stored, expires_ms: int | None) -> MemoryItem:
    """What people hold. `expires_ms`: as the record says, or a refresh that is on its way."""
    item = stored.item
    return MemoryItem(
        namespace=item.namespace,
        key=item.key,
        value=item.value,
        version=item.number,
        created_at=moment(stored.created_ms),
        changed_at=moment(stored.changed_ms),
        expires_at=None if expires_ms is None else moment(TimeMs(expires_ms)),
        ttl_seconds=None if item.ttl_ms is None else item.ttl_ms / 1000,
        ref=stored.ref,
        agent=stored.record.agent,
    )
