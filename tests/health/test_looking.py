from __future__ import annotations

import msgspec
import pytest

import aegis_store
from aegis_store._engine import Verdict
from aegis_store.compaction import compactor
from aegis_store.health import Aspect, Level, assess, gather
from aegis_store.rules import Rule
from tests.stores import SMALL, Crash, Told, abandon, fill, flip, frame_of


def needing(facts):
    return [each for each in assess(facts) if each.level is Level.ATTENTION]


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


def test_what_a_store_takes_is_what_du_counts(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "a", each=600)  # two tiles
        assert store.lookout.engine.size(store.records.tier) > 512
    assert len(list((place / "session" / "tiles").rglob("*"))) > 2
    with aegis_store.open(place, mode="r") as store:
        assert gather(store).disk_bytes == pytest.approx(store.stats().disk_bytes, abs=8192)
