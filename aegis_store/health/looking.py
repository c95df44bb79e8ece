"""What a store looks like now.

What is looked at is cheap: what opening has found, where the trees stand against the heads that were released, how old the
newest records are, how long the space will last. Of a large store no catalogue is asked for: what only that knows, the last
writer has left in its outlook. Whether every byte is as it was written, only `aegis verify` can tell.
"""

from __future__ import annotations

import os
import stat
from array import array
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import msgspec

from aegis_store._engine import Engine, Report, Verdict, entries
from aegis_store.codec.runs import Runs, union
from aegis_store.config import Config
from aegis_store.errors import AegisError
from aegis_store.gaps import Cause, cause_of
from aegis_store.health.facts import Facts, Finding, Level, TierFacts, Trouble
from aegis_store.health.lookout import RECORDS_LOOKED_AT, Lookout
from aegis_store.health.lookout import Owner as LookoutOwner
from aegis_store.health.rules import assess
from aegis_store.health.verified import last_verified
from aegis_store.records import Records
from aegis_store.survey import waiting
from aegis_store.targets import Target, usual
from aegis_store.types import LINKS, Clock, Tier, TimeMs

#: Records that are looked back at for the newest checkpoint: others come between, but not many.
LOOK_BACK: Final = 4096
#: Payloads that are counted one by one; what more there is goes by what these take.
COUNTED: Final = 20_000
_STEP: Final = 256
_BLOCK: Final = 512
#: The folder of a tier that the hashes of its tree lie in.
TILES: Final = f"{os.sep}tiles"
_TIME: Final = slice(28, 34)


class Owner(LookoutOwner, Protocol):
    """The store, as who looks at it sees it."""

    @property
    def lookout(self) -> Lookout: ...
    @property
    def report(self) -> Report: ...


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How a store is: what is to be said, and what was seen."""

    findings: tuple[Finding, ...]
    facts: Facts

    @property
    def ok(self) -> bool:
        """Whether nobody needs to do anything."""
        return all(each.level is Level.FINE for each in self.findings)


def health(store: Owner, *, clock: Clock | None = None) -> Health:
    """Look at an open store, and say how it is. StorageError, Corrupt as they come."""
    facts = gather(store, clock=clock)
    return Health(findings=tuple(assess(facts)), facts=facts)


def gather(store: Owner, *, clock: Clock | None = None) -> Facts:
    """What a store looks like now. Nothing is changed; StorageError, Corrupt as they come."""
    now_ms = (store.clock if clock is None else clock).now_ms()
    lookout = store.lookout
    engine = lookout.engine
    is_small = sum(engine.size(tier) for tier in Tier) <= RECORDS_LOOKED_AT
    if is_small:
        store.catalog.session("")  # which makes a reader's look at every record
    lookout.look_again()
    known = None if lookout.writes else lookout.outlook()
    if store.catalog.is_read or known is None:
        unread = 0
        gaps = {tier: records.gaps.pending() for tier, records in lookout.records.items()}
        suspects = sum(len(records.suspects) for records in lookout.records.values())
    else:
        unread, suspects = lookout.behind(), known.suspects
        gaps = {tier: _causes(lookout, records) for tier, records in lookout.records.items()}
    targets = _targets(store.config, None if known is None else (known.targets, known.interval_seconds))
    released = store.keys.released()
    stats = {tier: engine.stats(tier) for tier in Tier if engine.size(tier)}
    tiers = []
    for tier in Tier:
        report, size = store.report.tiers.get(tier), engine.size(tier)
        if report is None and not size:
            continue
        head = released.get(tier)
        footers = engine.segments(tier, lambda error: None) if size else iter(())  # damage: verifying names it
        target, is_targeted = targets[tier]
        tiers.append(
            TierFacts(
                tier=tier,
                verdict=Verdict.CLEAN if report is None else report.verdict,
                size=size,
                segments_unsigned=sum(each.sealed and each.signature is None for each in footers),
                file_bytes=stats[tier].file_bytes if tier in stats else 0,
                cut_bytes=0 if report is None else report.cut_bytes,
                saved=None if report is None else report.saved,
                age_seconds=_age(_time_at(engine, tier, size - 1), now_ms),
                released_size=None if head is None else head.size,
                lag_seconds=_lag(engine, tier, 0 if head is None else head.size, now_ms),
                rpo_seconds=target.rpo_seconds,
                rto_seconds=target.rto_seconds,
                is_targeted=is_targeted,
            )
        )
    payloads, payload_bytes = _waiting(engine, gaps)
    disk = os.statvfs(store.path)
    oldest = [each for each in (_time_at(engine, tier, 0) for tier in Tier) if each is not None]
    return Facts(
        path=str(store.path),
        tiers=tuple(tiers),
        segment_bytes=engine.describe().segment_bytes,
        disk_bytes=_disk_bytes(store.path),
        free_bytes=disk.f_bavail * disk.f_frsize,
        total_bytes=disk.f_blocks * disk.f_frsize,
        is_poisoned=any(each.poisoned for each in stats.values()),
        suspects=suspects,
        records_unread=unread,
        erasures_pending=sum(each.is_erasure for causes in gaps.values() for each in causes),
        payloads_to_compact=payloads,
        bytes_to_compact=payload_bytes,
        checkpoint_age_seconds=_age(_newest_link(engine, Tier.SESSION), now_ms),
        head_age_seconds=_age_of(store.keys.path / "heads.json", now_ms),
        age_seconds=_age(min(oldest, default=None), now_ms),
        open_seconds=lookout.open_seconds if known is None else known.open_seconds,
        verified=last_verified(store.keys, now_ms),
        unsaved=lookout.unsaved(),
        troubles=tuple(
            Trouble(
                subject=each.subject, action=each.action, index=each.index, age_seconds=max(0.0, (now_ms - each.time_ms) / 1000)
            )
            for each in lookout.troubles()
        ),
    )


def _targets(
    config: Config, told: tuple[Mapping[int, tuple[int | None, int | None]], int] | None
) -> dict[Tier, tuple[Target, bool]]:
    """What each tier is measured against, and whether the owner has set it: by the options of this opening, else by those that
    the last writer told of."""
    found: dict[Tier, tuple[Target, bool]] = {}
    set_by_writer, interval = ({}, int(config.checkpoint_interval)) if told is None else told
    for tier in Tier:
        own = config.targets.get(tier.label)
        pair = set_by_writer.get(int(tier))
        if own is not None:
            found[tier] = own, True
        elif pair is not None:
            found[tier] = Target(rpo=pair[0], rto=pair[1]), True
        else:
            found[tier] = usual(tier, interval), False
    return found


# ---- what is gone and still there -----------------------------------------------------------------------------------------


def _causes(lookout: Lookout, records: Records) -> tuple[Cause, ...]:
    """The causes that the files do not follow yet, without the catalogue where that can be."""
    pending = lookout.gaps(records.tier)
    if pending is None:
        return records.gaps.pending()
    found = []
    for index, _ in pending:
        # The store's own key signs them, so that this needs no agent's.
        with suppress(AegisError):
            cause = cause_of(records.stored(records.engine.read(records.tier, index)))
            if cause is not None:
                found.append(cause)
    return tuple(found)


def _waiting(engine: Engine, gaps: Mapping[Tier, Iterable[Cause]]) -> tuple[int, int]:
    """(payloads, bytes) that are to go and that the files still hold."""
    payloads = size = 0
    for tier, causes in gaps.items():
        covered = union(each.runs for each in causes)
        counted = _first(covered, COUNTED)
        here, taken = waiting(engine, tier, counted)
        times = len(covered) / len(counted) if len(counted) else 0
        payloads, size = payloads + round(here * times), size + round(taken * times)
    return payloads, size


def _first(runs: Runs, limit: int) -> Runs:
    """The first so many of these indexes."""
    if len(runs) <= limit:
        return runs
    ends = array("Q")
    for first, end in runs.runs():
        ends.extend((first, min(end, first + limit)))
        limit -= ends[-1] - first
        if limit <= 0:
            break
    return Runs(ends)


# ---- times ----------------------------------------------------------------------------------------------------------------


def _time_at(engine: Engine, tier: Tier, index: int) -> TimeMs | None:
    """When a record was made; None if there is none that can be read."""
    with suppress(AegisError):
        for *_, entry in entries(engine, tier, index, index + 1) if 0 <= index < engine.size(tier) else ():
            return TimeMs(int.from_bytes(entry[_TIME], "little"))
    return None


def _newest_link(engine: Engine, tier: Tier) -> TimeMs | None:
    """When the newest checkpoint of a tier was made; None if none is among the last records."""
    end = engine.size(tier)
    stop = max(0, end - LOOK_BACK)
    while end > stop:
        first, newest = max(stop, end - _STEP), None
        with suppress(AegisError):
            for _, kind, _, _, entry in entries(engine, tier, first, end):
                if kind in LINKS:
                    newest = TimeMs(int.from_bytes(entry[_TIME], "little"))
        if newest is not None:
            return newest
        end = first
    return None


def _lag(engine: Engine, tier: Tier, released: int, now_ms: int) -> float | None:
    """The age of the oldest record that is not under the highest head that was released."""
    size = engine.size(tier)
    if size == 0:
        return None
    if size <= released:
        return 0.0
    return _age(_time_at(engine, tier, released), now_ms)


def _age(made: TimeMs | None, now_ms: int) -> float | None:
    return None if made is None else (now_ms - made) / 1000


def _age_of(file: Path, now_ms: int) -> float | None:
    """Seconds since a file was written."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return now_ms / 1000 - status.st_mtime if stat.S_ISREG(status.st_mode) else None


def _disk_bytes(folder: Path) -> int:
    """What a folder takes on its file system, in allocated blocks as `du` counts them.

    Of tiles there is one for every 256 records, all of a size but for the last: of those in a folder one is looked at."""
    total, folders = 0, [os.fspath(folder)]
    while folders:
        here = folders.pop()
        tiles, tile_bytes = 0, None
        with suppress(FileNotFoundError), os.scandir(here) as found:  # what was replaced while we looked is not there
            for each in found:
                if each.is_dir(follow_symlinks=False):
                    folders.append(each.path)
                elif tile_bytes is not None and TILES in here[len(os.fspath(folder)) :]:
                    tiles += 1
                    continue
                with suppress(FileNotFoundError):
                    taken = each.stat(follow_symlinks=False).st_blocks * _BLOCK
                    total += taken
                    if not each.is_dir(follow_symlinks=False):
                        tile_bytes = taken
        total += tiles * (tile_bytes or 0)
    return total
