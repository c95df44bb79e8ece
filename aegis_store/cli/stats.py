"""`aegis stats`: a store in numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aegis_store.cli import figures
from aegis_store.cli.opening import AsJson, Keys, StorePath, reading
from aegis_store.cli.outcome import guarded
from aegis_store.cli.output import answers, command, emit, line, shown, table

if TYPE_CHECKING:
    from rich.console import Console

    from aegis_store import Store
    from aegis_store.catalog import Catalog


@guarded
def stats(path: StorePath, keys: Keys = None, as_json: AsJson = False) -> None:
    """Show what a store holds and what that takes."""
    with reading(path, keys=keys) as store:
        found = gather(store)
    if as_json:
        emit({**found, "path": str(path)})
    else:
        show(answers(), shown(path), found)


def gather(store: Store) -> dict[str, Any]:
    """The numbers, as they go out with --json."""
    from aegis_store.codec.runs import union
    from aegis_store.survey import waiting
    from aegis_store.types import Tier

    numbers = store.stats()
    infos = list(store.sessions())
    tiers = []
    for label, tier in numbers.tiers.items():
        footers = list(store.records.engine.segments(Tier.labelled(label), lambda error: None))
        tiers.append(
            {
                "tier": label,
                "records": tier.size,
                "file_bytes": tier.file_bytes,
                "segments": tier.segments,
                "segments_sealed": sum(each.sealed for each in footers),
                "segments_signed": sum(each.signature is not None for each in footers),
                "poisoned": tier.poisoned,
            }
        )
    about = store.records.engine.describe()
    checkpoints = count_checkpoints(store.catalog)
    session = next((each for each in tiers if each["tier"] == Tier.SESSION.label), None)
    gone = payloads = payload_bytes = erasures = 0
    for records in (store.records, store.memory.records):
        pending = records.gaps.pending()
        here, bytes_here = waiting(records.engine, records.tier, union(each.runs for each in pending))
        gone += len(union(each.runs for each in records.gaps.newest_first())) - here
        payloads, payload_bytes = payloads + here, payload_bytes + bytes_here
        erasures += sum(each.is_erasure for each in pending)
    return {
        "path": numbers.path,
        "name": numbers.name,
        "store_id": numbers.store_id,
        "format": about.format,
        "segment_bytes": about.segment_bytes,
        "align_bytes": about.align,
        "crc_path": about.crc_path,
        "sha_path": about.sha_path,
        "disk_bytes": numbers.disk_bytes,
        "catalogue_bytes": numbers.catalogue_bytes,
        "cache_bytes": store.config.cache_bytes,
        "sessions": len(infos),
        "sessions_open": sum(each.is_open for each in infos),
        "checkpoints": checkpoints,
        "bytes_per_checkpoint": numbers.disk_bytes / checkpoints if session is not None and checkpoints else None,
        "memory_keys": count_keys(store.catalog),
        "holds": len(store.holds()) + len(store.memory.holds()),
        "payloads_gone": gone,
        "payloads_to_compact": payloads,
        "bytes_to_compact": payload_bytes,
        "erasures_pending": erasures,
        "tiers": tiers,
    }


def count_checkpoints(catalog: Catalog) -> int:
    """Checkpoints of all sessions. What a fork has inherited is its parent's, and counted there."""
    total = 0
    after: int | None = None
    while page := catalog.sessions(after=after):
        total += sum(each.last_ordinal + 1 - each.first_ordinal for each in page if each.last_ordinal is not None)
        after = page[-1].number
    return total


def count_keys(catalog: Catalog) -> int:
    """Keys of the memory, those that were deleted or have expired too."""
    from aegis_store.types import Tier

    total = 0
    after: int | None = None
    while page := catalog.sessions(tier=Tier.MEMORY, after=after):
        total += len(page)
        after = page[-1].number
    return total


def show(console: Console, name: str, found: dict[str, Any]) -> None:
    """The numbers for people."""
    line(console, f"{name}   {figures.size(found['disk_bytes'])} on disk   store {found['store_id']}", "bold")
    line(
        console,
        f"  {figures.counted(found['sessions'], 'session')}, {figures.count(found['sessions_open'])} of them open   "
        f"{figures.counted(found['checkpoints'], 'checkpoint')}"
        + (
            "" if found["bytes_per_checkpoint"] is None else f", {figures.size(found['bytes_per_checkpoint'])} on disk for each"
        ),
    )
    if found["memory_keys"]:
        line(console, f"  memory: {figures.counted(found['memory_keys'], 'key')}, deleted and expired ones counted")
    line(
        console,
        f"  catalogue {figures.size(found['catalogue_bytes'])}   segments of {figures.size(found['segment_bytes'])}   "
        f"format {found['format']}   checksums by {found['crc_path']}, hashes by {found['sha_path']}",
    )
    gone = [
        text
        for number, text in (
            (found["holds"], f"{figures.counted(found['holds'], 'hold')} in force"),
            (found["payloads_gone"], f"{figures.counted(found['payloads_gone'], 'payload')} pruned or erased"),
            (
                found["payloads_to_compact"],
                f"{figures.counted(found['payloads_to_compact'], 'payload')} ({figures.size(found['bytes_to_compact'])}) "
                f"to be compacted: {command('compact', name)}",
            ),
        )
        if number
    ]
    for text in gone:
        line(console, f"  {text}")
    if not found["tiers"]:
        line(console, "  no records yet")
        return
    line(console)
    rows = [
        [
            each["tier"],
            figures.count(each["records"]),
            figures.size(each["file_bytes"]),
            figures.count(each["segments"]),
            figures.count(each["segments_sealed"]),
            figures.count(each["segments_signed"]),
        ]
        for each in found["tiers"]
    ]
    headings = ["tier", "records", "files", "segments", "sealed", "signed"]
    table(console, headings, rows, right=headings[1:])
