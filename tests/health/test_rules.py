from __future__ import annotations

import msgspec
import pytest

from aegis_store._engine import Verdict
from aegis_store.errors import Corrupt
from aegis_store.health import Aspect, Facts, Level, TierFacts, Trouble, Unsaved, Verified, assess, refused
from aegis_store.types import LogIndex, Tier

GB = 10**9
TIER = TierFacts(tier=Tier.SESSION, verdict=Verdict.CLEAN, size=10, segments_unsigned=0, released_size=10)
FACTS = Facts(
    path="state",
    tiers=(TIER,),
    segment_bytes=32 << 20,
    disk_bytes=1 * GB,
    free_bytes=500 * GB,
    total_bytes=1000 * GB,
    checkpoint_age_seconds=30.0,
    head_age_seconds=240.0,
    age_seconds=10 * 86_400.0,
    verified=Verified(age_seconds=2 * 86_400.0, is_deep=True, findings=0, records=10),
)


def having(**changes):
    return msgspec.structs.replace(FACTS, **changes)


def tier(**changes):
    return having(tiers=(msgspec.structs.replace(TIER, **changes),))


def needing(facts):
    return [each for each in assess(facts) if each.level is Level.ATTENTION]


def said(facts):
    return [f"{each.aspect}: {each.what}" for each in assess(facts)]


def test_a_store_that_is_well_has_something_to_say_of_each_aspect():
    assert said(FACTS) == [
        "integrity: opened without findings; the heads that were released still hold (session at 10)",
        "integrity: verified 2 days ago, deep, 10 records: nothing found",
        "age: newest checkpoint 30 s old",
        "age: last head recorded 4 min ago, 0 records since",
        "space: 500 GB free of 1.0 TB, the store takes 1.0 GB and has grown by 100 MB a day",
        "poison: no failed write",
    ]
    assert needing(FACTS) == []


@pytest.mark.parametrize(
    ("facts", "aspect", "words", "hint"),
    [
        (having(suspects=2), Aspect.INTEGRITY, "2 records can't be read", "aegis verify state --deep"),
        (tier(verdict=Verdict.MANIFEST_COPY), Aspect.INTEGRITY, "one of the two copies in MANIFEST", "aegis verify state"),
        (tier(verdict=Verdict.MANIFEST_REBUILT), Aspect.INTEGRITY, "MANIFEST is missing", "aegis verify state"),
        (tier(verdict=Verdict.DAMAGED), Aspect.INTEGRITY, "session: records that were stored are damaged", "--deep"),
        (tier(verdict=Verdict.TAIL_AMBIGUOUS, saved="session/x.tail"), Aspect.INTEGRITY, "kept in session/x.tail", "--deep"),
        (tier(verdict=Verdict.POISON), Aspect.POISON, "a write or a sync has failed", "dmesg"),
        (having(is_poisoned=True), Aspect.POISON, "a write or a sync has failed", "dmesg"),
        (having(erasures_pending=1), Aspect.ERASURE, "an erasure was begun and not finished", "aegis compact state"),
        (having(erasures_pending=2, payloads_to_compact=9), Aspect.ERASURE, "erasures were begun", "aegis compact state"),
        (having(free_bytes=90 << 20), Aspect.SPACE, "room for fewer than 3 more segments", "df -h state"),
        (having(disk_bytes=500 * GB, free_bytes=200 * GB), Aspect.SPACE, "full in 4.0 days as it grows", "df -h state"),
        (having(free_bytes=49 * GB), Aspect.SPACE, "less than 5% of the file system is free", "df -h state"),
    ],
)
def test_what_needs_attention_says_so_with_the_next_step(facts, aspect, words, hint):
    (found,) = needing(facts)
    assert found.aspect is aspect
    assert words in found.what
    assert hint in found.hint


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (tier(verdict=Verdict.UNCLEAN), "a writer has it open, or did not close it"),
        (tier(verdict=Verdict.UNCLEAN | Verdict.TAIL_CUT, cut_bytes=48), "a crash left 48 bytes"),
        (tier(segments_unsigned=1), "1 full segment is not signed yet"),
        (tier(segments_unsigned=2), "2 full segments are not signed yet"),
        (
            having(payloads_to_compact=1, bytes_to_compact=5000),
            "1 payload was pruned and not compacted yet, 5.0 kB",
        ),
        (having(payloads_to_compact=20), "20 payloads were pruned"),
        (having(checkpoint_age_seconds=None), "no checkpoint yet"),
        (having(checkpoint_age_seconds=3 * 86_400.0), "newest checkpoint 3 days old"),
        (tier(released_size=None), "no head was released yet; keep one elsewhere: aegis head state"),
        (tier(size=25), "15 records since"),
        (having(age_seconds=60.0, free_bytes=100 * GB), "the store takes 1.0 GB"),
    ],
)
def test_what_is_only_worth_knowing_is_no_alarm(facts, words):
    assert needing(facts) == []
    assert any(words in each for each in said(facts))


def test_a_store_without_a_released_head_claims_nothing_of_heads():
    assert said(tier(released_size=None))[0] == "integrity: opened without findings"


def test_a_path_is_quoted_for_a_shell():
    (found,) = needing(having(path="a b", free_bytes=1))
    assert "df -h 'a b'" in found.hint


def test_a_store_that_does_not_open_is_a_finding():
    found = refused(Corrupt("record 3 is damaged", hint="aegis verify state"))
    assert (found.level, found.what, found.hint) == (
        Level.ATTENTION,
        "the store can't be opened: record 3 is damaged",
        "aegis verify state",
    )


# ---- targets ---------------------------------------------------------------------------------------------------------------


def memory(lag, **changes):
    return having(tiers=(msgspec.structs.replace(TIER, tier=Tier.MEMORY, lag_seconds=lag, rpo_seconds=900, **changes),))


def test_a_target_that_was_set_and_is_missed_needs_attention():
    (found,) = needing(memory(1000.0, is_targeted=True))
    assert found.aspect is Aspect.TARGETS
    assert "memory: the oldest record beyond the last head taken down: 16 min, beyond the RPO of 15 min" in found.what
    assert "aegis head state memory" in found.hint


@pytest.mark.parametrize(
    ("lag", "targeted", "words"),
    [
        (1000.0, False, "usual is an RPO of 15 min, and none is set"),
        (900.0, True, "within the RPO of 15 min"),
        (0.0, True, "nothing beyond the last head, within the RPO"),
    ],
)
def test_a_target_that_is_met_or_was_not_set_is_no_alarm(lag, targeted, words):
    facts = memory(lag, is_targeted=targeted)
    assert needing(facts) == []
    assert any(words in each for each in said(facts))


def test_an_rpo_of_nothing_allows_nothing():
    tier = msgspec.structs.replace(TIER, tier=Tier.AUDIT, lag_seconds=0.001, rpo_seconds=0, is_targeted=True)
    assert "beyond the RPO of 0 s" in needing(having(tiers=(tier,)))[0].what


def test_sessions_are_measured_by_the_timers_that_save_them():
    facts = having(
        tiers=(msgspec.structs.replace(TIER, lag_seconds=10_000.0, rpo_seconds=300, is_targeted=True),),
        unsaved=Unsaved(sessions=3, oldest_seconds=299.0),
    )
    assert needing(facts) == []
    late = msgspec.structs.replace(facts, unsaved=Unsaved(sessions=3, oldest_seconds=301.0))
    assert "session: since a save by the timer: 5 min, beyond the RPO of 5 min" in needing(late)[0].what
    assert needing(msgspec.structs.replace(facts, unsaved=None)) == []
    failing = msgspec.structs.replace(facts, unsaved=Unsaved(sessions=3, oldest_seconds=1.0, failing=2))
    assert "the timer could not save 2 sessions" in needing(failing)[0].what


def test_an_opening_that_took_too_long_misses_the_rto():
    slow = msgspec.structs.replace(TIER, rto_seconds=60, is_targeted=True)
    assert needing(having(tiers=(slow,), open_seconds=60.0)) == []
    (found,) = needing(having(tiers=(slow,), open_seconds=61.0))
    assert "the last opening took 1 min, beyond the RTO of 1 min" in found.what


# ---- what is not over ------------------------------------------------------------------------------------------------------


def trouble(subject, action):
    return Trouble(subject=subject, action=action, index=LogIndex(7), age_seconds=120.0)


def test_an_open_incident_and_an_unfinished_recovery_need_attention():
    facts = having(troubles=(trouble("incident/3", "incident.opened"), trouble("session/ticket 1", "recovery.decided")))
    incident, session = needing(facts)
    assert incident.aspect is session.aspect is Aspect.RECOVERY
    assert "incident 3 has been open for 2 min" in incident.what
    assert "aegis incident close state 3" in incident.hint
    assert "recovery of session ticket 1 is not finished (recovery.decided 2 min ago)" in session.what
    assert session.hint == "go on with it: aegis recover state 'ticket 1'"


def test_many_of_them_are_counted():
    incidents = tuple(trouble(f"incident/{each}", "incident.opened") for each in range(7))
    sessions = tuple(trouble(f"session/{each}", "recovery.decided") for each in range(8))
    found = needing(having(troubles=incidents + sessions))
    assert len(found) == 12
    assert found[5].what == "2 more incidents are open"
    assert found[11].what == "3 more recoveries are not finished"


# ---- verification ----------------------------------------------------------------------------------------------------------


def test_what_the_last_verification_found_needs_attention_until_the_next():
    (found,) = needing(having(verified=Verified(age_seconds=60.0, is_deep=False, findings=2, records=10)))
    assert (found.what, found.hint) == (
        "verified 1 min ago, bytes and trees, 10 records: 2 findings",
        "see which: aegis verify state --deep",
    )


def test_a_store_that_was_never_verified_is_told_how():
    facts = having(verified=None)
    assert needing(facts) == []
    assert "integrity: never verified as a whole" in said(facts)
    assert "integrity: never verified as a whole" not in said(having(verified=None, tiers=()))


def test_records_that_nobody_looked_at_are_counted():
    assert "; 12 new records not looked at one by one" in said(having(records_unread=12))[0]
