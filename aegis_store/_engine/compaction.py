"""A sealed segment, written anew: some records lose their payload, some get another one, and every entry stays.

What may go, and by which record's word, is for others to decide: the engine only demands that this record is in the log, behind
the gaps, and durable. Whatever happens on the way (damage, a full disk, Ctrl-C, a watcher that raises), the segment is then as
it was.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from threading import get_ident
from typing import Any, Final, TypeAlias

import msgspec

from aegis_store import errors
from aegis_store._engine import facts
from aegis_store._engine.engine import Engine
from aegis_store._engine.facts import Progress
from aegis_store._engine.failures import failure
from aegis_store._native import ffi, lib
from aegis_store.types import Tier

#: aegis_change: index, cause, where in the payloads, how long, and four bytes that say nothing.
_CHANGE: Final = struct.Struct("=QQQII")
if _CHANGE.size != ffi.sizeof("aegis_change"):
    raise ImportError("the extension was built from another version of aegis.h")
#: So often a compaction shows progress and can be stopped.
COMPACT_STEP_BYTES: Final = 8 << 20


class Gap(msgspec.Struct, frozen=True, gc=False):
    """Record `index` loses its payload, by the word of the later record `cause`."""

    index: int
    cause: int


class Replacement(msgspec.Struct, frozen=True, gc=False):
    """Record `index` gets another payload: another encoding of what its entry commits to."""

    index: int
    payload: bytes


Change: TypeAlias = Gap | Replacement


def compact_segment(
    engine: Engine,
    tier: Tier,
    position: int,
    changes: Iterable[Change],
    *,
    step_bytes: int = COMPACT_STEP_BYTES,
    watch: Callable[[Progress], object] | None = None,
) -> Progress:
    """Writes the sealed segment at `position` anew, and puts it in the place of the old file, which is then removed.

    `changes` are at least one, all of that segment, ascending by index. A gap may become one by another cause. `watch` is
    called after every `step_bytes` that were copied, from this thread: it may wait (nobody waits for a compaction), stop the
    work by raising, and must not close the engine. Payloads are held in memory until the end. The new file is not signed.

    Raises InvalidArgument for changes that cannot be meant (a cause that is not durable yet, a payload for a gap, a segment
    that is not sealed, another compaction of the tier at work, the audit tier), NotFound for a position that is not there,
    Corrupt for a record whose bytes are not what they were, NoSpace, StorageError. Where one of the last two happened at the
    very end the segment may be rewritten all the same, with the old file left to the next opening: `Engine.segments` tells.
    """
    if step_bytes < 1:
        raise errors.InvalidArgument("a step has at least one byte", op="compact", path=engine.path)
    packed, count, payloads = _packed(engine, changes)
    compactor = ffi.new("aegis_compactor **")
    out = ffi.new("aegis_progress *")
    token = object()
    try:
        # A compactor works on the store, so it counts as one call for as long as it lives.
        engine._calls[token] = -get_ident()
        engine._check_usable("compact")
        code = lib.aegis_compact_start(engine._handle, tier, position, packed, count, payloads, len(payloads), compactor)
        while not code:
            engine._check_usable("compact")
            code = lib.aegis_compact_step(compactor[0], step_bytes, out)
            if code:
                break
            state = facts.progress(out)
            if watch is not None:
                watch(state)
            if state.done:
                return state
        raise failure(code, "compact", engine.path, tier=tier, keyed=engine._keyed)
    except OverflowError as error:
        raise errors.InvalidArgument(f"a number out of range: {error}", op="compact", path=engine.path) from error
    finally:
        if compactor[0] != ffi.NULL:
            lib.aegis_compact_end(compactor[0])
        engine._calls.pop(token, None)
        engine._call_ended.set()


def _packed(engine: Engine, changes: Iterable[Change]) -> tuple[Any, int, Any]:
    """aegis_change for each, how many, and the payloads one behind the other."""
    packed, payloads, at = bytearray(), [], 0
    count = 0
    try:
        for change in changes:
            if isinstance(change, Gap):
                packed += _CHANGE.pack(change.index, change.cause, 0, 0, 0)
            else:
                packed += _CHANGE.pack(change.index, lib.AEGIS_NO_CAUSE, at, len(change.payload), 0)
                payloads.append(change.payload)
                at += len(change.payload)
            count += 1
    except struct.error as error:
        raise errors.InvalidArgument(f"a number out of range: {error}", op="compact", path=engine.path) from error
    return ffi.from_buffer("aegis_change[]", packed), count, ffi.from_buffer("uint8_t[]", b"".join(payloads))
