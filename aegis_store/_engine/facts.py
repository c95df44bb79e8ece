"""What the engine tells, as frozen values: made from its structures once, and independent of them from then on."""

from __future__ import annotations

import struct
from enum import IntFlag
from typing import Any, Final

import msgspec

from aegis_store._native import ffi, lib
from aegis_store.config import Durability
from aegis_store.types import Tier

SEGMENT_FILE_BYTES: Final = 24
#: aegis_record as the machine lays it out: index, kind, flags, two lengths, two places, leaf.
RECORD: Final = struct.Struct("=QIIIIQQ32s")
if RECORD.size != ffi.sizeof("aegis_record"):
    raise ImportError("the extension was built from another version of aegis.h")


#: The flag of a record whose payload is gone.
GAP: Final = lib.AEGIS_RECORD_GAP


class Record(msgspec.Struct, frozen=True, gc=False):
    """One record. `leaf` is the SHA-256 leaf hash [32] of `entry`, which is proven to be in the log's tree.

    With GAP in its flags the payload is gone: what stands there is the index u64 of the record that authorised it, its `cause`.
    """

    index: int
    kind: int
    flags: int
    entry: bytes
    payload: bytes
    leaf: bytes

    @property
    def cause(self) -> int | None:
        """By which record's word the payload is gone; None: it is there."""
        return int.from_bytes(self.payload, "little") if self.flags & GAP else None


class GapRun(msgspec.Struct, frozen=True, gc=False):
    """The payloads of records `first` to `first + count - 1` are gone, by the word of record `cause`."""

    first: int
    count: int
    cause: int


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
    """A tier in numbers. From `appends` to `tiles_rebuilt`, and with `rewrites`, they count since the store was opened.

    `file_bytes` are of all segment files, pre-zeroed space included; `frame_bytes` of the frames in the active one. What the
    prune and erase records below index `swept` say has been done to the files.
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
    rewrites: int
    swept: int


class Footer(msgspec.Struct, frozen=True, kw_only=True):
    """One segment. Unless `sealed`, it is active or its footer is still to be written, and the hashes mean nothing.

    `segment` is its number: the low 32 bits its place in the tier's history, the high ones how often it was rewritten. `file`
    is the name of its file within the tier's folder. `message` [144] is what the log key signs, after its prefix; `signature`
    [64] is None until it did.
    """

    position: int
    segment: int
    file: str
    generation: int
    first: int
    count: int
    sealed: bool
    root: bytes
    frames_sha256: bytes
    message: bytes
    signature: bytes | None

    @property
    def rewrites(self) -> int:
        """How often it was written anew."""
        return self.segment >> 32


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """How far a verification or a compaction is.

    `root` [32] is None until `done`: recomputed from every entry, or the root at the segment's end.
    """

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
    file = ffi.new("char[]", SEGMENT_FILE_BYTES)
    lib.aegis_segment_file(found.segment, file)
    return Footer(
        position=position,
        segment=found.segment,
        file=as_text(file),
        generation=found.generation,
        first=found.first,
        count=found.count,
        sealed=bool(found.sealed),
        root=as_bytes(found.root),
        frames_sha256=as_bytes(found.frames_sha256),
        message=as_bytes(found.message),
        signature=as_bytes(found.signature) if found.is_signed else None,
    )


def gap_runs(found: Any, count: int) -> list[GapRun]:
    """From an array of aegis_gap_run."""
    return [GapRun(run.first, run.count, run.cause) for run in found[0:count]]


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
