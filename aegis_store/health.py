"""Is a store well, and if not, what to do.

`gather` looks at a store that is open for reading and at the disk that it lies on; `assess` is a pure function of what was
seen, so that every rule is a line in tests/test_health.py. A finding says what is so, whether somebody should act, and what to
type.

What is looked at is cheap: what opening has found, where the tree stands against the heads that were released, how old the
newest checkpoint is, and how long the space will last. Whether every byte is as it was written, only `aegis verify` can tell.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from aegis_store._engine import Verdict
from aegis_store.codec.runs import union
from aegis_store.errors import AegisError
from aegis_store.store import Store
from aegis_store.survey import waiting
from aegis_store.types import Clock, SystemClock, Tier

#: Free space below which something is to be done: this part of the file system, or so many segments, or so many days of growth.
FREE_SHARE_MIN: Final = 0.05
FREE_SEGMENTS_MIN: Final = 3
FREE_DAYS_MIN: Final = 7.0
#: Growth is only told of a store that has been growing for so long.
GROWTH_SECONDS_MIN: Final = 3600.0
_DAY: Final = 86_400.0


class Aspect(StrEnum):
    """What a finding is about."""

    INTEGRITY = "integrity"
    AGE = "age"
    ERASURE = "erasure"
    SPACE = "space"
    POISON = "poison"


class Level(StrEnum):
    """Whether somebody should do something."""

    FINE = "fine"
    ATTENTION = "attention"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing about a store. `hint` is what to type, where something is to be done or can be."""

    aspect: Aspect
    level: Level
    what: str
    hint: str | None = None


class TierFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a tier that has records, or had: `verdict` is what opening found."""

    tier: Tier
    verdict: Verdict
    size: int
    segments_unsigned: int
    cut_bytes: int = 0
    saved: str | None = None
    #: Records under the highest head that was released; None if none ever was.
    released_size: int | None = None


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a store looks like at one moment. Sizes in bytes, ages in seconds; None: there is none, or it can't be told."""

    path: str
    tiers: tuple[TierFacts, ...]
    segment_bytes: int
    disk_bytes: int
    free_bytes: int
    total_bytes: int
    #: A failed write of the last writer, seen by this opening or in the one that is open now.
    is_poisoned: bool = False
    #: Records that could not be taken in: damaged, or not where they belong.
    suspects: int = 0
    #: Erase records whose work is not done: a crash came in between, or somebody is at it.
    erasures_pending: int = 0
    #: Pruned or erased, and still in the files: payloads and their bytes.
    payloads_to_compact: int = 0
    bytes_to_compact: int = 0
    checkpoint_age_seconds: float | None = None
    head_age_seconds: float | None = None
    age_seconds: float | None = None


# ---- the rules ------------------------------------------------------------------------------------------------------------


def assess(facts: Facts) -> list[Finding]:
    """What is to be said about a store, one or more findings an aspect."""
    return [*_integrity(facts), *_age(facts), *_erasure(facts), *_space(facts), *_poison(facts)]


def _integrity(facts: Facts) -> Iterator[Finding]:
    place = shlex.quote(facts.path)
    found = False
    for finding in _damage(facts, place):
        found = True
        yield finding
    if not found:
        released = [f"{each.tier.label} at {each.released_size}" for each in facts.tiers if each.released_size]
        heads = f"; the heads that were released still hold ({', '.join(released)})" if released else ""
        yield _fine(Aspect.INTEGRITY, f"opened without findings{heads}")
    for tier in facts.tiers:
        if tier.segments_unsigned:
            many = tier.segments_unsigned > 1
            what = f"{tier.tier.label}: {tier.segments_unsigned} full segment{'s are' if many else ' is'} not signed yet"
            yield _fine(Aspect.INTEGRITY, f"{what}; a writer does that now and then, and when it opens the store")
        if Verdict.TAIL_CUT in tier.verdict and Verdict.TAIL_AMBIGUOUS not in tier.verdict:
            yield _fine(
                Aspect.INTEGRITY, f"{tier.tier.label}: a crash left {tier.cut_bytes} bytes that nobody was told are stored"
            )
        elif Verdict.UNCLEAN in tier.verdict:
            yield _fine(Aspect.INTEGRITY, f"{tier.tier.label}: a writer has it open, or did not close it; nothing is lost")


def _damage(facts: Facts, place: str) -> Iterator[Finding]:
    if facts.suspects:
        what = f"{facts.suspects} record{'s' if facts.suspects > 1 else ''} can't be read, or stand where they do not belong"
        yield _attention(Aspect.INTEGRITY, what, f"see which: aegis verify {place} --deep")
    verdicts = {flag for tier in facts.tiers for flag in tier.verdict}
    if Verdict.MANIFEST_REBUILT in verdicts:
        what = "MANIFEST is missing, or both copies in it are damaged; the segments told what it held"
        yield _attention(
            Aspect.INTEGRITY, what, f"look at the disk; then open it for writing, which repairs it, and: aegis verify {place}"
        )
    elif Verdict.MANIFEST_COPY in verdicts:
        what = "one of the two copies in MANIFEST is damaged; the other one is used"
        yield _attention(
            Aspect.INTEGRITY, what, f"look at the disk; then open it for writing, which repairs it, and: aegis verify {place}"
        )
    for tier in facts.tiers:
        if Verdict.DAMAGED in tier.verdict:
            what = f"{tier.tier.label}: records that were stored are damaged and can't be read; all others can"
            yield _attention(Aspect.INTEGRITY, what, f"look at the disk, and see which: aegis verify {place} --deep")
        if Verdict.TAIL_AMBIGUOUS in tier.verdict:
            kept = "" if tier.saved is None else f"; its bytes are kept in {tier.saved}"
            what = f"{tier.tier.label}: the last group was torn by a crash, or damaged, which look the same{kept}"
            yield _attention(Aspect.INTEGRITY, what, f"compare with a head or a replica; then: aegis verify {place} --deep")


def _age(facts: Facts) -> Iterator[Finding]:
    """How long ago the store was written to, and looked at from outside. What is too long, only its owner knows: no alarm."""
    if facts.checkpoint_age_seconds is None:
        yield _fine(Aspect.AGE, "no checkpoint yet")
    else:
        yield _fine(Aspect.AGE, f"newest checkpoint {_span(facts.checkpoint_age_seconds)} old")
    if not any(tier.released_size for tier in facts.tiers):
        if any(tier.size for tier in facts.tiers):
            yield _fine(Aspect.AGE, f"no head was released yet; keep one elsewhere: aegis head {shlex.quote(facts.path)}")
    elif facts.head_age_seconds is not None:
        later = sum(max(0, tier.size - (tier.released_size or 0)) for tier in facts.tiers)
        yield _fine(Aspect.AGE, f"last head recorded {_span(facts.head_age_seconds)} ago, {later} records since")


def _erasure(facts: Facts) -> Iterator[Finding]:
    if facts.erasures_pending:
        many = "erasures were" if facts.erasures_pending > 1 else "an erasure was"
        what = f"{many} begun and not finished: the text is refused, and still in the files"
        hint = f"finish it, unless somebody is at it: aegis compact {shlex.quote(facts.path)}"
        yield _attention(Aspect.ERASURE, what, hint)


def _space(facts: Facts) -> Iterator[Finding]:
    if facts.payloads_to_compact and not facts.erasures_pending:
        payloads = f"{facts.payloads_to_compact} payload{'s were' if facts.payloads_to_compact > 1 else ' was'}"
        what = f"{payloads} pruned and not compacted yet, {_size(facts.bytes_to_compact)}"
        yield _fine(Aspect.SPACE, what, f"to have the space back: aegis compact {shlex.quote(facts.path)}")
    if facts.total_bytes <= 0:
        return
    free = facts.free_bytes
    share = free / facts.total_bytes
    about = f"{_size(free)} free of {_size(facts.total_bytes)}, the store takes {_size(facts.disk_bytes)}"
    days = None
    if facts.age_seconds is not None and facts.age_seconds >= GROWTH_SECONDS_MIN and facts.disk_bytes > 0:
        grown = facts.disk_bytes / facts.age_seconds * _DAY
        days = free / grown
        about += f" and has grown by {_size(grown)} a day"
    why = None
    if free < FREE_SEGMENTS_MIN * facts.segment_bytes:
        why = f"room for fewer than {FREE_SEGMENTS_MIN} more segments"
    elif days is not None and days < FREE_DAYS_MIN:
        why = f"full in {days:.1f} days as it grows"
    elif share < FREE_SHARE_MIN:
        why = f"less than {FREE_SHARE_MIN:.0%} of the file system is free"
    if why is None:
        yield _fine(Aspect.SPACE, about)
    else:
        yield _attention(Aspect.SPACE, f"{why}: {about}", f"make room before it is full: df -h {shlex.quote(facts.path)}")


def _poison(facts: Facts) -> Iterator[Finding]:
    if facts.is_poisoned or any(Verdict.POISON in tier.verdict for tier in facts.tiers):
        hint = "see what the disk says (dmesg); then stop the writer and open the store for writing again, which recovers"
        yield _attention(Aspect.POISON, "a write or a sync has failed, and the writer takes nothing more", hint)
    else:
        yield _fine(Aspect.POISON, "no failed write")


def _fine(aspect: Aspect, what: str, hint: str | None = None) -> Finding:
    return Finding(aspect=aspect, level=Level.FINE, what=what, hint=hint)


def _attention(aspect: Aspect, what: str, hint: str) -> Finding:
    return Finding(aspect=aspect, level=Level.ATTENTION, what=what, hint=hint)


def _span(seconds: float) -> str:
    """An age in one unit."""
    for unit, length, least in (("days", _DAY, 2), ("h", 3600.0, 1), ("min", 60.0, 1)):
        if seconds >= least * length:
            return f"{seconds // length:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def _size(count: float) -> str:
    """Bytes in decimal units."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 999.5 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 99.95 else f"{count:.1f} {unit}"


# ---- the look -------------------------------------------------------------------------------------------------------------


def gather(store: Store, *, clock: Clock | None = None) -> Facts:
    """What a store looks like now. It should be open for reading, which changes nothing; StorageError, Corrupt as they come."""
    now_ms = (SystemClock() if clock is None else clock).now_ms()
    released = store.keys.released()
    engine = store.records.engine
    numbers = store.stats()
    tiers = []
    for tier, report in store.report.tiers.items():
        head = released.get(tier)
        footers = engine.segments(tier, lambda error: None) if engine.size(tier) else iter(())  # damage: verifying names it
        tiers.append(
            TierFacts(
                tier=tier,
                verdict=report.verdict,
                size=engine.size(tier),
                segments_unsigned=sum(each.sealed and each.signature is None for each in footers),
                cut_bytes=report.cut_bytes,
                saved=report.saved,
                released_size=None if head is None else head.size,
            )
        )
    newest, oldest = _times(store)
    pending = store.records.gaps.pending()
    payloads, payload_bytes = waiting(engine, store.records.tier, union(each.runs for each in pending))
    disk = os.statvfs(store.path)
    return Facts(
        path=str(store.path),
        tiers=tuple(tiers),
        segment_bytes=engine.describe().segment_bytes,
        disk_bytes=numbers.disk_bytes,
        free_bytes=disk.f_bavail * disk.f_frsize,
        total_bytes=disk.f_blocks * disk.f_frsize,
        is_poisoned=any(each.poisoned for each in numbers.tiers.values()),
        suspects=len(store.records.suspects),
        erasures_pending=sum(each.is_erasure for each in pending),
        payloads_to_compact=payloads,
        bytes_to_compact=payload_bytes,
        checkpoint_age_seconds=None if newest is None else (now_ms - newest) / 1000,
        head_age_seconds=_age_of(store.keys.path / "heads.json", now_ms),
        age_seconds=None if oldest is None else (now_ms - oldest) / 1000,
    )


def _times(store: Store) -> tuple[int | None, int | None]:
    """(newest checkpoint, oldest session) in ms."""
    newest: int | None = None
    oldest: int | None = None
    after: int | None = None
    while page := store.catalog.sessions(after=after):
        for each in page:
            oldest = each.created_ms if oldest is None else min(oldest, each.created_ms)
            if each.last_ordinal is not None:
                newest = each.last_ms if newest is None else max(newest, each.last_ms)
        after = page[-1].number
    return newest, oldest


def _age_of(file: Path, now_ms: int) -> float | None:
    """Seconds since a file was written."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return now_ms / 1000 - status.st_mtime if stat.S_ISREG(status.st_mode) else None


def refused(error: AegisError) -> Finding:
    """What there is to say of a store that does not open."""
    return _attention(Aspect.INTEGRITY, f"the store can't be opened: {error.message}", error.hint or "aegis verify")
