"""What the engine tells, as frozen values: made from its structures once, and independent of them from then on."""

from __future__ import annotations

import struct
from enum import IntFlag
from typing import Any, Final

import msgspec

from aegis_store._native import ffi, lib
from aegis_store.config import Durability
from aegis_store.types import Tier

#: aegis_record as the machine lays it out: index, kind, flags, two lengths, two places, leaf.
RECORD: Final = struct.Struct("=QIIIIQQ32s")
if RECORD.size != ffi.sizeof("aegis_record"):
    raise ImportError("the extension was built from another version of aegis.h")


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record. `leaf` is the SHA-256 leaf hash [32] of `entry`, which is proven to be in the log's tree."""

    index: int
    kind: int
    flags: int
    entry: bytes
    payload: bytes
    leaf: bytes


class Verdict(IntFlag):
    """What opening found in a tier."""

    #: Closed in order.
    CLEAN = lib.AEGIS_VERDICT_CLEAN
    #: Not closed in order: the tail was read again and, by a writer, written again.
    UNCLEAN = lib.AEGIS_VERDICT_UNCLEAN
    #: An unacknowledged tail was dropped.
    TAIL_CUT = lib.AEGIS_VERDICT_TAIL_CUT
    #: The dropped bytes were saved: damage in the very last group looks the same.
    TAIL_AMBIGUOUS = lib.AEGIS_VERDICT_TAIL_AMBIGUOUS
    #: Opened without the secret: there are records past what is served.
    UNAUTHENTICATED = lib.AEGIS_VERDICT_UNAUTHENTICATED
    #: The last writer had a failed write.
    POISON = lib.AEGIS_VERDICT_POISON
    #: One copy of the manifest was damaged.
    MANIFEST_COPY = lib.AEGIS_VERDICT_MANIFEST_COPY
    #: Both were: it was made again from the segments.
    MANIFEST_REBUILT = lib.AEGIS_VERDICT_MANIFEST_REBUILT
    #: Records that were durable are damaged: reading them is refused, the others are served.
    DAMAGED = lib.AEGIS_VERDICT_DAMAGED


class TierReport(msgspec.Struct, frozen=True, kw_only=True):
    """What opening found in one tier. `saved` names the file, within the store, that holds `cut_bytes`; None if none were.

    `damaged` counts the damaged records that opening came upon (it does not look at all); `first_damaged` is the first of them.
    """

    tier: Tier
    verdict: Verdict
    size: int
    cut_bytes: int
    saved: str | None
    damaged: int = 0
    first_damaged: int | None = None


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What opening did: `created` says that the store is new; `tiers` holds those that were looked at."""

    created: bool
    tiers: dict[Tier, TierReport]


class Description(msgspec.Struct, frozen=True, kw_only=True):
    """What a store is: its identity, what was fixed when it was made, and the code paths that this processor gets."""

    store_id: bytes
    name: str
    meta: bytes
    format: int
    align: int
    segment_bytes: int
    generation: int
    crc_path: str
    sha_path: str


class TierStats(msgspec.Struct, frozen=True, kw_only=True):
    """A tier in numbers. From `appends` to `tiles_rebuilt` they count since the store was opened.

    `file_bytes` are of all segment files, pre-zeroed space included; `frame_bytes` of the frames in the active one.
    """

    size: int
    segments: int
    file_bytes: int
    frame_bytes: int
    appends: int
    groups: int
    syncs: int
    zeroed_bytes: int
    rotations: int
    tiles_written: int
    tiles_rebuilt: int
    poisoned: bool
    durability: Durability


class Footer(msgspec.Struct, frozen=True, kw_only=True):
    """One segment. Unless `sealed`, it is active or its footer is still to be written, and the hashes mean nothing.

    `message` [144] is what the log key signs, after its prefix; `signature` [64] is None until it did.
    """

    position: int
    segment: int
    generation: int
    first: int
    count: int
    sealed: bool
    root: bytes
    frames_sha256: bytes
    message: bytes
    signature: bytes | None


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a verification is. `root` [32] is recomputed from every entry, and None until `done`."""

    records_done: int
    records_total: int
    bytes_done: int
    bytes_total: int
    done: bool
    root: bytes | None


def as_bytes(array: Any) -> bytes:
    """A copy of a structure or an array."""
    return bytes(ffi.buffer(array))


def as_text(array: Any) -> str:
    """A zero-terminated string."""
    return ffi.string(array).decode("utf-8", "replace")


def record(fields: tuple[Any, ...], view: Any) -> Record:
    """From the fields of RECORD and the buffer that they point into."""
    index, kind, flags, entry_length, payload_length, entry_at, payload_at, leaf = fields
    entry = view[entry_at : entry_at + entry_length]
    return Record(index, kind, flags, entry, view[payload_at : payload_at + payload_length], leaf)


def report(found: Any) -> Report:
    """From aegis_report."""
    tiers = {}
    for verdict in found.tiers[0 : found.tier_count]:
        tier = Tier(verdict.tier)
        saved = as_text(verdict.saved) or None
        tiers[tier] = TierReport(
            tier=tier,
            verdict=Verdict(verdict.flags),
            size=verdict.size,
            cut_bytes=verdict.cut_bytes,
            saved=saved,
            damaged=verdict.damaged,
            first_damaged=verdict.first_damaged if verdict.damaged else None,
        )
    return Report(created=bool(found.created), tiers=tiers)


def description(info: Any) -> Description:
    """From aegis_info."""
    return Description(
        store_id=as_bytes(info.store_id),
        name=as_bytes(info.name)[: info.name_length].decode("utf-8", "replace"),
        meta=as_bytes(info.meta)[: info.meta_length],
        format=info.format,
        align=info.align,
        segment_bytes=info.segment_bytes,
        generation=info.generation,
        crc_path=as_text(info.crc_path),
        sha_path=as_text(info.sha_path),
    )


def tier_stats(stats: Any) -> TierStats:
    """From aegis_tier_stats, whose fields have the same names but for one."""
    fields = {field: getattr(stats, field) for field in TierStats.__struct_fields__ if field != "file_bytes"}
    fields["file_bytes"] = stats.bytes
    fields["poisoned"] = bool(stats.poisoned)
    fields["durability"] = Durability.WRITE if stats.durability == lib.AEGIS_DURABILITY_WRITE else Durability.COMMIT
    return TierStats(**fields)


def footer(position: int, found: Any) -> Footer:
    """From aegis_footer."""
    return Footer(
        position=position,
        segment=found.segment,
        generation=found.generation,
        first=found.first,
        count=found.count,
        sealed=bool(found.sealed),
        root=as_bytes(found.root),
        frames_sha256=as_bytes(found.frames_sha256),
        message=as_bytes(found.message),
        signature=as_bytes(found.signature) if found.is_signed else None,
    )


def progress(state: Any) -> Progress:
    """From aegis_progress."""
    return Progress(
        records_done=state.records,
        records_total=state.records_total,
        bytes_done=state.bytes,
        bytes_total=state.bytes_total,
        done=bool(state.done),
        root=as_bytes(state.root) if state.done else None,
    )
