"""What tests of retention, compaction and erasure ask of a store."""

from __future__ import annotations

from aegis_store import Tier
from aegis_store.errors import Pruned
from aegis_store.rules import Rule

LAST_3 = [Rule(keep_last=3)]


def facts(store):
    """What must not change: of every record kind, entry and leaf, the root at every size, and an inclusion proof each."""
    engine, size = store.records.engine, store.records.size()
    records = [(record.kind, record.entry, record.leaf) for record in engine.scan(Tier.SESSION, 0, size)]
    roots = [engine.head(Tier.SESSION, at).root for at in range(size + 1)]
    return records, roots, [engine.inclusion(Tier.SESSION, at, size) for at in range(size)]


def kept_of(store, name):
    """What of a session can be read, by ordinal; the others say that they were pruned."""
    session, found = store.session(name), {}
    for ordinal in range(session.info().checkpoints):
        try:
            found[ordinal] = session.get(ordinal).state
        except Pruned:
            continue
    return found


def payloads(store):
    return sum(len(record.payload) for record in store.records.scan(0, store.records.size()))
