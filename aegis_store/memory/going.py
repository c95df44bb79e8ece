"""What must not go of the memory, and what goes at once: holds and erasures of keys."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime

import msgspec

from aegis_store.compaction import Compacted
from aegis_store.erasure import demand_unnamed
from aegis_store.errors import NotFound
from aegis_store.holders import Holder
from aegis_store.holding import HoldInfo
from aegis_store.memory.keys import name_of, namespace_of
from aegis_store.memory.reading import Reader
from aegis_store.open_tier import OpenTier
from aegis_store.schema import names
from aegis_store.schema.names import Namespace
from aegis_store.types import LogIndex


class MemoryHold(msgspec.Struct, frozen=True, kw_only=True):
    """A hold on a key that stands. `number` is what releases it."""

    number: LogIndex
    namespace: Namespace
    key: str
    reason: str
    holder: str
    since: datetime


class MemoryErasure(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure did: `keys` as (namespace, key), and the erase records. `holders` are processes that have an old file
    open and can read it until they let go."""

    keys: tuple[tuple[Namespace, str], ...]
    records: tuple[LogIndex, ...]
    holders: tuple[Holder, ...]
    compacted: Compacted


def hold(tier: OpenTier, reader: Reader, namespace: Sequence[str], key: str, *, reason: str, holder: str) -> MemoryHold:
    """Let no version of a key go; durable when this returns. NotFound: nothing was ever put there."""
    parts = namespace_of(namespace)
    found = reader.chain(name_of(parts, key))
    if found is None:
        raise _missing(tier, parts, key, "hold")
    return _hold_of(tier.keeping.holds.place(found, reason=reason, holder=holder, ordinal=None))


def holds(tier: OpenTier) -> list[MemoryHold]:
    """The holds that stand, oldest first."""
    return [_hold_of(each) for each in tier.keeping.holds.infos()]


def _hold_of(info: HoldInfo) -> MemoryHold:
    namespace, key = names.split(info.session)
    return MemoryHold(
        number=info.number, namespace=namespace, key=key, reason=info.reason, holder=info.holder, since=info.since
    )


def erase(
    tier: OpenTier,
    reader: Reader,
    namespace: Sequence[str],
    key: str | None,
    *,
    reason: str,
    by: str,
    wait_seconds: float,
) -> MemoryErasure:
    """Erase a key, or all of a namespace and below it. See `Memory.erase`."""
    parts = namespace_of(namespace)
    for part in parts if key is None else (*parts, key):
        demand_unnamed(part, reason, by, what="namespace or key")
    tier.store_signer("erase")  # ReadOnly is said before anything is looked for
    # What is on its way is to be found as well.
    tier.lost_track()
    if key is None:
        targets = list(reader.chains(names.within(parts)))
    else:
        found = reader.chain(name_of(parts, key))
        targets = [] if found is None else [found]
    if not targets:
        raise _missing(tier, parts, key, "erase")
    done = tier.keeping.eraser.several(targets, reason=reason, by=by, wait_seconds=wait_seconds)
    return MemoryErasure(
        keys=tuple(names.split(target.id) for target in targets),
        records=done.records,
        holders=done.holders,
        compacted=done.compacted,
    )


def _missing(tier: OpenTier, namespace: Namespace, key: str | None, op: str) -> NotFound:
    path = tier.records.engine.path
    what = "nothing was ever put under" if key is not None else "there is no key in"
    return NotFound(
        f"{what} {names.shown(namespace, key)}",
        op=op,
        path=path,
        hint=f"see which there are: aegis memory list {shlex.quote(path)}",
    )
