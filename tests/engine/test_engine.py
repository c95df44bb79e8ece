"""An engine, over the real core: what goes in comes out, proven, and what is wrong is said."""

from __future__ import annotations

from hashlib import sha256

import pytest

from aegis_store import errors
from aegis_store._engine import ENTRY_MAX, PAYLOAD_MAX, Verdict, check_consistency, check_inclusion, leaf_hash
from aegis_store._engine.engine import READ_BUFFER_BYTES, SCAN_BUFFER_BYTES, SCAN_RECORDS
from aegis_store.config import KIB, Config, Durability, TierDurability
from aegis_store.types import Head, Tier

SMALL_SEGMENTS = Config(segment_bytes=64 * KIB)


def settle(engine):
    """Runs background work until there is none that is due now."""
    while engine.run_background() == 0:
        pass


def damage(file, content):
    """Flips a bit of `content` in the file."""
    whole = bytearray(file.read_bytes())
    whole[whole.index(content)] ^= 1
    file.write_bytes(whole)


# ---- records


@pytest.mark.parametrize("tier", list(Tier))
def test_what_is_committed_can_be_read(opened, tier):
    engine = opened()
    index = engine.append(tier, 2, b"entry", b"payload")
    engine.commit(tier, index)
    record = engine.read(tier, index)
    assert (record.index, record.kind, record.entry, record.payload) == (0, 2, b"entry", b"payload")
    assert record.leaf == leaf_hash(b"entry") == sha256(b"\0entry").digest()


def test_each_tier_counts_from_zero(opened):
    engine = opened()
    for tier in (Tier.SESSION, Tier.AUDIT):
        assert [engine.append(tier, 1, b"e") for _ in range(3)] == [0, 1, 2]


@pytest.mark.parametrize(
    ("entry_bytes", "payload_bytes"),
    [(1, 0), (ENTRY_MAX, 0), (1, PAYLOAD_MAX), (ENTRY_MAX, PAYLOAD_MAX), (1, READ_BUFFER_BYTES), (1, READ_BUFFER_BYTES - 49)],
)
def test_records_of_any_size_come_back(opened, entry_bytes, payload_bytes):
    engine = opened()
    entry, payload = b"e" * entry_bytes, bytes(range(1, 8)) * (payload_bytes // 7) + b"p" * (payload_bytes % 7)
    for _ in range(2):
        index = engine.append(Tier.SESSION, 1, entry, payload)
    engine.commit(Tier.SESSION, index)
    assert (engine.read(Tier.SESSION, 0).entry, engine.read(Tier.SESSION, 0).payload) == (entry, payload)
    assert [len(record.payload) for record in engine.scan(Tier.SESSION)] == [payload_bytes, payload_bytes]


def test_what_is_not_committed_cannot_be_read(opened):
    engine = opened()
    index = engine.append(Tier.SESSION, 1, b"entry")
    assert engine.size(Tier.SESSION) == 0
    with pytest.raises(errors.NotFound):
        engine.read(Tier.SESSION, index)


@pytest.mark.parametrize("index", [3, 1 << 40, (1 << 64) - 1])
def test_a_record_past_the_end_is_named(opened, fill, index):
    engine = opened()
    fill(engine, Tier.SESSION, 3)
    with pytest.raises(errors.NotFound, match=rf"record {index} does not exist: the log has 3") as caught:
        engine.read(Tier.SESSION, index)
    assert (caught.value.tier, caught.value.index, caught.value.path) == ("session", index, engine.path)


def test_calls_that_cannot_be_meant_are_refused(opened):
    engine = opened()
    for entry, payload in [("entry", b""), (bytearray(b"e"), b""), (b"e", memoryview(b"p")), (b"", b"p")]:
        with pytest.raises(errors.InvalidArgument):
            engine.append(Tier.SESSION, 1, entry, payload)
    for kind in (-1, 0, 256, 1 << 40):
        with pytest.raises(errors.InvalidArgument):
            engine.append(Tier.SESSION, kind, b"e")
    for tier in (0, 5, -1):
        with pytest.raises(errors.InvalidArgument):
            engine.append(tier, 1, b"e")
    with pytest.raises(errors.InvalidArgument):
        engine.read(Tier.SESSION, -1)
    with pytest.raises(errors.StateTooLarge):
        engine.append(Tier.SESSION, 1, b"e" * (ENTRY_MAX + 1))
    with pytest.raises(errors.StateTooLarge):
        engine.append(Tier.SESSION, 1, b"e", bytes(PAYLOAD_MAX + 1))
    assert engine.append(Tier.SESSION, 1, b"e") == 0


def test_a_commit_of_what_was_never_appended_is_refused(opened):
    engine = opened()
    with pytest.raises(errors.NotFound):
        engine.commit(Tier.SESSION, 0)
    engine.append(Tier.SESSION, 1, b"e")
    with pytest.raises(errors.NotFound):
        engine.commit(Tier.SESSION, 1)


def test_ranges_end_where_the_log_does(opened, fill):
    engine = opened()
    written = fill(engine, Tier.SESSION, 10)
    for first, limit in [(0, 10), (0, 3), (4, 100), (9, 1), (10, 5), (99, 5), (3, 0)]:
        records = engine.read_range(Tier.SESSION, first, limit)
        assert [(record.entry, record.payload) for record in records] == written[first : first + limit]
        assert [record.index for record in records] == list(range(first, min(first + limit, 10)))[:limit]


def test_a_scan_crosses_segments_and_batches(opened, fill):
    engine = opened(config=SMALL_SEGMENTS)
    written = fill(engine, Tier.SESSION, 3 * SCAN_RECORDS + 5, payload_bytes=400)
    assert engine.stats(Tier.SESSION).segments > 3
    assert [(record.entry, record.payload) for record in engine.scan(Tier.SESSION)] == written
    assert [record.index for record in engine.scan(Tier.SESSION, 700, 710)] == list(range(700, 710))


def test_a_scan_takes_large_records_among_small_ones(opened):
    engine = opened()
    sizes = [10, SCAN_BUFFER_BYTES + 1, 10, 3 * SCAN_BUFFER_BYTES, SCAN_BUFFER_BYTES - 1, 0]
    for size in sizes:
        index = engine.append(Tier.MEMORY, 1, b"e", bytes(size))
    engine.commit(Tier.MEMORY, index)
    assert [len(record.payload) for record in engine.scan(Tier.MEMORY)] == sizes


def test_a_scan_shows_what_was_there_when_it_began(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 5)
    scan = engine.scan(Tier.SESSION)
    next(scan)
    fill(engine, Tier.SESSION, 5)
    assert [record.index for record in scan] == [1, 2, 3, 4]


# ---- opening again


def test_a_closed_store_comes_back_as_it_was(opened, fill):
    engine = opened()
    written = fill(engine, Tier.SESSION, 300)
    heads = [engine.head(Tier.SESSION, size) for size in range(301)]
    engine.close()
    again = opened()
    assert not again.report.created
    assert again.report.tiers[Tier.SESSION].verdict == Verdict.CLEAN
    assert again.report.tiers[Tier.SESSION].size == 300
    assert [(record.entry, record.payload) for record in again.scan(Tier.SESSION)] == written
    assert [again.head(Tier.SESSION, size) for size in range(301)] == heads
    assert fill(again, Tier.SESSION, 1)


def test_closing_commits_what_was_appended(opened):
    engine = opened()
    engine.append(Tier.SESSION, 1, b"entry")
    engine.close()
    assert opened().read(Tier.SESSION, 0).entry == b"entry"


def test_what_was_acknowledged_outlives_an_end_like_a_crash(opened, fill):
    engine = opened()
    written = fill(engine, Tier.SESSION, 20)
    engine.append(Tier.SESSION, 1, b"never committed")
    engine.abandon()
    again = opened()
    assert again.report.tiers[Tier.SESSION].verdict & Verdict.UNCLEAN
    assert [(record.entry, record.payload) for record in again.read_range(Tier.SESSION, 0, 20)] == written


def test_a_new_store_says_so_and_describes_itself(opened):
    engine = opened(name="tenant é", meta=b"\0meta", config=Config(align="block", segment_bytes=1 << 20))
    assert engine.report.created
    about = engine.describe()
    assert (about.store_id, about.name, about.meta) == (b"sixteen byte ids", "tenant é", b"\0meta")
    assert (about.format, about.align, about.segment_bytes) == (0, 4096, 1 << 20)
    assert about.crc_path and about.sha_path


def test_the_durability_of_a_tier_is_what_was_asked_for(opened, fill):
    engine = opened(config=Config(durability=TierDurability(session="write", telemetry="commit")))
    for tier in Tier:
        fill(engine, tier, 1)
    durability = {tier: engine.stats(tier).durability for tier in Tier}
    assert durability.pop(Tier.SESSION) is Durability.WRITE
    assert set(durability.values()) == {Durability.COMMIT}


# ---- the tree


def test_proofs_of_the_engine_hold_and_others_do_not(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 70)
    head = engine.head(Tier.SESSION)
    assert head.size == 70
    for index in range(70):
        leaf = engine.read(Tier.SESSION, index).leaf
        check_inclusion(leaf, index, head, engine.inclusion(Tier.SESSION, index))
        with pytest.raises(errors.BadProof):
            check_inclusion(leaf, index, head, engine.inclusion(Tier.SESSION, index ^ 1))
    for size in (1, 2, 31, 64, 69, 70):
        old = engine.head(Tier.SESSION, size)
        check_consistency(old, head, engine.consistency(Tier.SESSION, size))
        check_consistency(engine.head(Tier.SESSION, 1), old, engine.consistency(Tier.SESSION, 1, size))


def test_the_empty_tree_has_a_head(opened):
    engine = opened()
    assert engine.head(Tier.AUDIT) == Head(tier=Tier.AUDIT, size=0, root=sha256(b"").digest())


def test_heads_and_proofs_past_the_end_are_refused(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 5)
    with pytest.raises(errors.NotFound, match="session has 5 records, not 6"):
        engine.head(Tier.SESSION, 6)
    with pytest.raises(errors.NotFound):
        engine.inclusion(Tier.SESSION, 0, 6)
    with pytest.raises(errors.InvalidArgument):
        engine.inclusion(Tier.SESSION, 5, 5)
    with pytest.raises(errors.NotFound):
        engine.consistency(Tier.SESSION, 1, 6)
    with pytest.raises(errors.InvalidArgument):
        engine.consistency(Tier.SESSION, 5, 4)


# ---- segments


def test_full_segments_are_sealed_and_can_be_signed_once(opened, fill):
    engine = opened(config=SMALL_SEGMENTS, background=False)
    fill(engine, Tier.SESSION, 300, payload_bytes=400)
    settle(engine)
    segments = list(engine.segments(Tier.SESSION))
    assert [segment.position for segment in segments] == list(range(len(segments)))
    assert [segment.first for segment in segments[1:]] == [segment.first + segment.count for segment in segments[:-1]]
    sealed = segments[:-1]
    assert sealed and all(segment.sealed for segment in sealed) and not segments[-1].sealed
    for segment in sealed:
        assert segment.root == engine.head(Tier.SESSION, segment.first + segment.count).root
        assert segment.signature is None and len(segment.message) == 144
    engine.sign_segment(Tier.SESSION, 0, b"s" * 64, segment=0)
    engine.sign_segment(Tier.SESSION, 0, b"s" * 64, segment=0)
    with pytest.raises(errors.KeysWrong):
        engine.sign_segment(Tier.SESSION, 0, b"t" * 64, segment=0)
    assert next(engine.segments(Tier.SESSION)).signature == b"s" * 64
    engine.close()
    assert next(opened().segments(Tier.SESSION)).signature == b"s" * 64


def test_a_signature_has_a_length_and_a_place(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 1)
    with pytest.raises(errors.InvalidArgument, match="64 bytes"):
        engine.sign_segment(Tier.SESSION, 0, b"short", segment=0)
    with pytest.raises(errors.AegisError):
        engine.sign_segment(Tier.SESSION, 7, bytes(64), segment=7)


# ---- verifying


def test_a_verification_recomputes_the_root_and_shows_its_progress(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 5000, payload_bytes=4000)
    seen = []
    result = engine.verify(Tier.SESSION, seen.append)
    assert result.done and result.root == engine.head(Tier.SESSION).root
    assert (result.records_done, result.records_total) == (5000, 5000)
    assert result.bytes_done == result.bytes_total
    assert len(seen) > 1 and seen[-1] == result
    assert [step.bytes_done for step in seen] == sorted(step.bytes_done for step in seen)
    assert not seen[0].done and seen[0].root is None


def test_a_tier_without_records_is_verified_too(opened):
    assert opened().verify(Tier.AUDIT).records_done == 0


def test_a_verification_can_be_stopped_by_its_watcher(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 10)

    def stop(progress):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.verify(Tier.SESSION, stop)
    assert engine.verify(Tier.SESSION).done


def test_a_damaged_record_of_the_last_segment_is_reported_and_refused_alone(opened, fill, place):
    engine = opened()
    written = fill(engine, Tier.SESSION, 50)
    engine.close()
    damage(place / "session" / "00000000.seg", written[30][1])
    for mode in ("r", "w", "a"):
        engine = opened(mode)
        report = engine.report.tiers[Tier.SESSION]
        assert Verdict.DAMAGED in report.verdict
        assert (report.damaged, report.first_damaged) == (1, 30)
        with pytest.raises(errors.Corrupt, match=r"record 30 is damaged.*00000000\.seg") as caught:
            engine.read(Tier.SESSION, 30)
        assert (caught.value.tier, caught.value.index) == ("session", 30)
        assert [engine.read(Tier.SESSION, index).payload for index in (29, 31, 49)] == [
            written[index][1] for index in (29, 31, 49)
        ]
        engine.close()


def test_damage_in_the_last_segment_that_proves_nothing_keeps_the_store_shut_and_names_the_records(opened, fill, place):
    engine = opened()
    written = fill(engine, Tier.SESSION, 50)
    engine.close()
    path = place / "session" / "00000000.seg"
    whole = path.read_bytes()
    before = whole.replace(written[30][0], bytes(len(written[30][0])))
    path.write_bytes(before)
    for mode in ("a", "w", "r"):
        with pytest.raises(errors.Corrupt, match="records 30 to 49") as caught:
            opened(mode)
        assert (caught.value.tier, caught.value.index) == ("session", 30)
    assert (place / "session" / "00000000.seg").read_bytes() == before


def test_damage_in_a_sealed_segment_is_named_and_other_records_stay_readable(opened, fill, place):
    engine = opened(config=SMALL_SEGMENTS)
    written = fill(engine, Tier.SESSION, 500, payload_bytes=400)
    engine.close()
    damage(place / "session" / "00000000.seg", written[30][1])
    again = opened()
    for act in (
        lambda: again.read(Tier.SESSION, 30),
        lambda: again.verify(Tier.SESSION),
        lambda: list(again.scan(Tier.SESSION)),
    ):
        with pytest.raises(errors.Corrupt, match=r"record 30 is damaged") as caught:
            act()
        assert (caught.value.tier, caught.value.index) == ("session", 30)
        assert f"aegis verify {place}" in caught.value.hint
        assert "00000000.seg" in caught.value.message
    assert [again.read(Tier.SESSION, index).payload for index in (29, 31)] == [written[29][1], written[31][1]]


# ---- reading beside a writer


def test_a_reader_follows_a_writer(opened, fill):
    writer = opened()
    fill(writer, Tier.SESSION, 3)
    reader = opened(mode="r")
    assert reader.size(Tier.SESSION) == 3
    written = fill(writer, Tier.SESSION, 4)
    assert reader.size(Tier.SESSION) == 3
    reader.refresh()
    assert [record.entry for record in reader.scan(Tier.SESSION, 3)] == [entry for entry, _ in written]
    assert reader.head(Tier.SESSION) == writer.head(Tier.SESSION)
    writer.refresh()
