from __future__ import annotations

import msgspec
import pytest

import aegis_store
from aegis_store._engine import Verdict
from aegis_store.compaction import compactor
from aegis_store.errors import Corrupt
from aegis_store.health import Aspect, Facts, Level, TierFacts, assess, gather, refused
from aegis_store.rules import Rule
from aegis_store.types import Tier

from .stores import SMALL, Crash, Told, abandon, fill, flip, frame_of

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


# ---- the look --------------------------------------------------------------------------------------------------------------


def seen(path, now_ms):
    with aegis_store.open(path, mode="r") as store:
        return gather(store, clock=Told(now_ms))


def test_what_is_gathered_is_what_is_there(tmp_path):
    path = tmp_path / "state"
    with aegis_store.open(path, config=SMALL, clock=Told(start=1_700_000_000_000)) as store:
        fill(store, "a", "b", each=30)
        newest = store.session("b").latest().ref.time_ms
        size = store.records.size()
    facts = seen(path, newest + 5000)
    assert facts.checkpoint_age_seconds == 5.0
    assert facts.segment_bytes == 64 << 10
    assert 0 < facts.free_bytes <= facts.total_bytes
    assert (facts.suspects, facts.is_poisoned) == (0, False)
    (found,) = facts.tiers
    # The last segment that was filled may have been sealed while the store was being closed, and not signed.
    assert found.segments_unsigned in (0, 1)
    assert (found.verdict, found.size, found.released_size) == (Verdict.CLEAN, size, size)
    assert needing(msgspec.structs.replace(facts, free_bytes=facts.total_bytes)) == []


def test_a_crash_is_seen_and_is_no_alarm(tmp_path):
    path = tmp_path / "state"
    store = aegis_store.open(path)
    store.session("a").checkpoint({})
    abandon(store)
    facts = seen(path, 1_800_000_000_000)
    assert Verdict.UNCLEAN in facts.tiers[0].verdict
    assert [each for each in needing(facts) if each.aspect is not Aspect.SPACE] == []


def test_a_damaged_record_is_seen(tmp_path):
    path = tmp_path / "state"
    with aegis_store.open(path, config=SMALL) as store:
        fill(store, "a", each=60)
    file, span = frame_of(path, 1)  # the session's begin, which opening needs to read
    flip(file, span.payload + 3)
    assert seen(path, 1_800_000_000_000).suspects == 61  # without it, none of its 60 checkpoints belongs to anything


def test_what_waits_for_compaction_is_seen_and_is_none_of_it_once_done(tmp_path, monkeypatch):
    place = tmp_path / "state"
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "a", "b", each=30)
        store.retain([Rule(keep_last=10)])
    found = seen(place, 1)
    assert (found.erasures_pending, found.payloads_to_compact) == (0, 40)
    assert found.bytes_to_compact > 40 * 3000
    with aegis_store.open(place, config=SMALL) as store:
        store.compact()
    assert seen(place, 1).payloads_to_compact == 0
    store = aegis_store.open(place, config=SMALL)
    monkeypatch.setattr(compactor, "compact_segment", crash)
    with pytest.raises(Crash):
        store.session("a").erase(reason="request 17")
    abandon(store)
    monkeypatch.undo()
    found = seen(place, 1)
    assert found.erasures_pending == 1 and found.payloads_to_compact == 11
    aegis_store.open(place, config=SMALL).close()
    assert seen(place, 1).erasures_pending == 0


def crash(*arguments, **options):
    raise Crash
