"""What is to be said of a store that looks like this: a pure function, so that every rule is a line in a test.

A finding says what is so, whether somebody should act, and what to type.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Final

from aegis_store._engine import Verdict
from aegis_store.errors import AegisError
from aegis_store.health.facts import SESSIONS, Aspect, Facts, Finding, Level, TierFacts, Trouble
from aegis_store.types import Tier

#: Free space below which something is to be done: this part of the file system, or so many segments, or so many days of growth.
FREE_SHARE_MIN: Final = 0.05
FREE_SEGMENTS_MIN: Final = 3
FREE_DAYS_MIN: Final = 7.0
#: Growth is only told of a store that has been growing for so long.
GROWTH_SECONDS_MIN: Final = 3600.0
#: Incidents and sessions that are named one by one; the rest is counted.
TROUBLES_NAMED: Final = 5
_DAY: Final = 86_400.0


def refused(error: AegisError) -> Finding:
    """What there is to say of a store that does not open."""
    return _attention(Aspect.INTEGRITY, f"the store can't be opened: {error.message}", error.hint or "aegis verify")


# ---- the rules ------------------------------------------------------------------------------------------------------------


def assess(facts: Facts) -> list[Finding]:
    """What is to be said about a store, one or more findings an aspect."""
    return [
        *_integrity(facts),
        *_age(facts),
        *_targets(facts),
        *_recovery(facts),
        *_erasure(facts),
        *_space(facts),
        *_poison(facts),
    ]


def _integrity(facts: Facts) -> Iterator[Finding]:
    place = shlex.quote(facts.path)
    found = False
    for finding in _damage(facts, place):
        found = True
        yield finding
    if not found:
        released = [f"{each.tier.label} at {each.released_size}" for each in facts.tiers if each.released_size]
        heads = f"; the heads that were released still hold ({', '.join(released)})" if released else ""
        unread = f"; {facts.records_unread} new records not looked at one by one" if facts.records_unread else ""
        yield _fine(Aspect.INTEGRITY, f"opened without findings{heads}{unread}")
    yield from _verified(facts, place)
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
            hint = f"if its process died, decide about its sessions: aegis recover {place} --all --failure infrastructure"
            what = f"{tier.tier.label}: a writer has it open, or did not close it; nothing is lost"
            yield _fine(Aspect.INTEGRITY, what, hint if tier.tier is Tier.SESSION else None)


def _verified(facts: Facts, place: str) -> Iterator[Finding]:
    last = facts.verified
    if last is None:
        if any(tier.size for tier in facts.tiers):
            yield _fine(Aspect.INTEGRITY, "never verified as a whole", f"read every byte again: aegis verify {place} --deep")
        return
    how = f"verified {_span(last.age_seconds)} ago, {'deep' if last.is_deep else 'bytes and trees'}, {last.records} records"
    if last.findings:
        many = f"{last.findings} finding{'s' if last.findings > 1 else ''}"
        yield _attention(Aspect.INTEGRITY, f"{how}: {many}", f"see which: aegis verify {place} --deep")
    else:
        yield _fine(Aspect.INTEGRITY, f"{how}: nothing found")


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


def _targets(facts: Facts) -> Iterator[Finding]:
    """What may be lost, and how long coming back takes. A miss is an alarm where the owner has set a target."""
    for tier in facts.tiers:
        lost = loss_seconds(facts, tier)
        if lost is not None:
            of = (
                "since a save by the timer"
                if tier.tier is Tier.SESSION
                else "the oldest record beyond the last head taken down"
            )
            told = f"{tier.tier.label}: {of}: {_span(lost)}" if lost else f"{tier.tier.label}: nothing beyond the last head"
            yield from _measured(told, tier, "RPO", lost, tier.rpo_seconds, _rpo_hint(facts, tier))
        if facts.open_seconds is not None and tier.rto_seconds is not None and misses(facts.open_seconds, tier.rto_seconds):
            told = f"{tier.tier.label}: the last opening took {_span(facts.open_seconds)}"
            hint = f"see what is large: aegis stats {shlex.quote(facts.path)}"
            yield from _measured(told, tier, "RTO", facts.open_seconds, tier.rto_seconds, hint)
    if facts.unsaved is not None and facts.unsaved.failing:
        many = f"{facts.unsaved.failing} session{'s' if facts.unsaved.failing > 1 else ''}"
        yield _attention(
            Aspect.TARGETS, f"the timer could not save {many}", "see why: Autosaver.watches() in the program that saves them"
        )


def loss_seconds(facts: Facts, tier: TierFacts) -> float | None:
    """The age of what would be lost of a tier. Of sessions that a timer keeps: since it last found or made one safe; of the
    other tiers: what is not under a head that the key directory knows, for whether that is elsewhere too can't be seen from
    here."""
    if tier.tier is Tier.SESSION:
        return None if facts.unsaved is None or not facts.unsaved.sessions else facts.unsaved.oldest_seconds
    return tier.lag_seconds


def misses(measured: float, allowed: int) -> bool:
    """Whether a target is missed."""
    return measured > allowed


def _measured(told: str, tier: TierFacts, what: str, measured: float, allowed: int | None, hint: str) -> Iterator[Finding]:
    if allowed is None:
        yield _fine(Aspect.TARGETS, told)
    elif not misses(measured, allowed):
        yield _fine(Aspect.TARGETS, f"{told}, within the {what} of {_span(allowed)}")
    elif tier.is_targeted:
        yield _attention(Aspect.TARGETS, f"{told}, beyond the {what} of {_span(allowed)}", hint)
    else:
        yield _fine(Aspect.TARGETS, f"{told}; usual is an {what} of {_span(allowed)}, and none is set")


def _rpo_hint(facts: Facts, tier: TierFacts) -> str:
    if tier.tier is Tier.SESSION:
        return "see that the program that saves them is alive, and saves as often as it should: [intervals] in its options"
    return f"keep a head elsewhere, and a copy: aegis head {shlex.quote(facts.path)} {tier.tier.label}"


def _recovery(facts: Facts) -> Iterator[Finding]:
    place = shlex.quote(facts.path)
    incidents = [each for each in facts.troubles if each.is_incident]
    for each in incidents[:TROUBLES_NAMED]:
        number = shlex.quote(each.subject.partition("/")[2])
        hint = f"look at it, then: aegis incident close {place} {number} --reason …"
        yield _attention(Aspect.RECOVERY, f"incident {number} has been open for {_span(each.age_seconds)}", hint)
    if len(incidents) > TROUBLES_NAMED:
        what = f"{len(incidents) - TROUBLES_NAMED} more incidents are open"
        yield _attention(Aspect.RECOVERY, what, f"see which: aegis incident list {place}")
    sessions = [each for each in facts.troubles if not each.is_incident]
    for each in sessions[:TROUBLES_NAMED]:
        yield _undecided(each, place)
    if len(sessions) > TROUBLES_NAMED:
        what = f"{len(sessions) - TROUBLES_NAMED} more recoveries are not finished"
        yield _attention(Aspect.RECOVERY, what, f"go on with them: aegis recover {place} --all")


def _undecided(trouble: Trouble, place: str) -> Finding:
    session = trouble.subject.removeprefix(SESSIONS)
    what = f"the recovery of session {session} is not finished ({trouble.action} {_span(trouble.age_seconds)} ago)"
    return _attention(Aspect.RECOVERY, what, f"go on with it: aegis recover {place} {shlex.quote(session)}")


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
