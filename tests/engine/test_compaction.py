"""Sealed segments written anew: what is read afterwards, by whom, and what an interrupted one leaves."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from aegis_store import errors
from aegis_store._engine import GAP, Engine, Gap, GapRun, Replacement, compact_segment
from aegis_store.config import Config
from aegis_store.types import Tier
from tests.engine.conftest import SECRET, STORE_ID

SMALL = Config(segment_bytes=64 << 10)


@pytest.fixture
def filled(opened, fill):
    """An engine with full, sealed segments, and the records that it holds."""
    engine = opened(config=SMALL)
    records = fill(engine, Tier.SESSION, 300, payload_bytes=400)
    engine.seal(Tier.SESSION)
    return engine, records


def files(place):
    return sorted(path.name for path in (place / "session").glob("*.seg"))


def test_gaps_and_replacements_are_read_and_everything_else_is_as_it_was(filled, opened, place):
    engine, records = filled
    head, before = engine.head(Tier.SESSION), list(engine.segments(Tier.SESSION))
    end = len(records) - 1
    seen = []
    done = compact_segment(
        engine,
        Tier.SESSION,
        1,
        [Gap(before[1].first, end), Replacement(before[1].first + 1, b"anew"), Gap(before[1].first + 5, end)],
        step_bytes=10_000,
        watch=seen.append,
    )
    assert done.done and done.root == before[1].root
    assert done == seen[-1] and len(seen) > 3
    assert [state.bytes_done for state in seen] == sorted(state.bytes_done for state in seen)
    for each in (engine, opened(mode="r")):
        assert each.head(Tier.SESSION) == head
        for record in each.scan(Tier.SESSION):
            entry, payload = records[record.index]
            assert record.entry == entry
            place_in_segment = record.index - before[1].first
            if place_in_segment in (0, 5):
                assert record.flags & GAP and record.cause == end and record.payload == end.to_bytes(8, "little")
            else:
                assert not record.flags & GAP and record.cause is None
                assert record.payload == (b"anew" if place_in_segment == 1 else payload)
        told = []
        each.verify(Tier.SESSION, gaps=told.extend)
        assert told == [GapRun(before[1].first, 1, end), GapRun(before[1].first + 5, 1, end)]
    after = list(engine.segments(Tier.SESSION))
    assert [(each.first, each.count, each.root) for each in after] == [(each.first, each.count, each.root) for each in before]
    assert [each.rewrites for each in after] == [0, 1, *[0] * (len(before) - 2)]
    assert after[1].file == "00000001-00000001.seg" and after[0].file == "00000000.seg"
    assert "00000001.seg" not in files(place) and after[1].file in files(place)
    assert engine.stats(Tier.SESSION).rewrites == 1


def test_neighbouring_gaps_are_told_in_one_run(filled):
    engine, records = filled
    end = len(records) - 1
    segment = next(engine.segments(Tier.SESSION))
    compact_segment(engine, Tier.SESSION, 0, [Gap(index, end) for index in range(segment.count)])
    told = []
    engine.verify(Tier.SESSION, gaps=told.extend)
    assert told == [GapRun(0, segment.count, end)]


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [Gap(3, 299), Gap(2, 299)],
        [Gap(3, 3)],
        [Gap(3, 300)],
        [Gap(299, 299)],
        [Gap(-1, 299)],
        [Replacement(1 << 64, b"")],
    ],
)
def test_changes_that_cannot_be_meant_are_refused(filled, changes, place):
    engine, _ = filled
    names = files(place)
    with pytest.raises(errors.InvalidArgument):
        compact_segment(engine, Tier.SESSION, 0, changes)
    assert files(place) == names


def test_a_place_that_is_not_there_or_not_sealed_or_audited_is_refused(filled, fill):
    engine, _ = filled
    fill(engine, Tier.AUDIT, 3)
    with pytest.raises(errors.NotFound):
        compact_segment(engine, Tier.SESSION, 99, [Gap(0, 299)])
    with pytest.raises(errors.InvalidArgument, match="not sealed"):
        compact_segment(engine, Tier.SESSION, len(list(engine.segments(Tier.SESSION))) - 1, [Gap(0, 299)])
    with pytest.raises(errors.WriteOnce, match="never compacted"):
        compact_segment(engine, Tier.AUDIT, 0, [Gap(0, 2)])
    with pytest.raises(errors.InvalidArgument, match="one byte"):
        compact_segment(engine, Tier.SESSION, 0, [Gap(0, 299)], step_bytes=0)
    with pytest.raises(errors.InvalidArgument):
        compact_segment(engine, Tier.SESSION, -1, [Gap(0, 299)])


def test_a_watcher_that_raises_leaves_the_segment_as_it_was(filled, place):
    engine, records = filled
    names = files(place)

    def stop(state):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compact_segment(engine, Tier.SESSION, 0, [Gap(3, 299)], step_bytes=1000, watch=stop)
    assert files(place) == names
    assert engine.read(Tier.SESSION, 3).payload == records[3][1]
    compact_segment(engine, Tier.SESSION, 0, [Gap(3, 299)])
    assert engine.read(Tier.SESSION, 3).cause == 299


def test_damage_is_named_and_nothing_is_published(filled, place):
    engine, _ = filled
    names = files(place)
    path = place / "session" / "00000000.seg"
    data = bytearray(path.read_bytes())
    data[12288 + 60] ^= 1
    path.write_bytes(data)
    with pytest.raises(errors.Corrupt, match="record 0 is damaged"):
        compact_segment(engine, Tier.SESSION, 0, [Gap(3, 299)])
    assert files(place) == names


def test_records_are_appended_and_read_while_a_segment_is_rewritten(filled, fill):
    engine, records = filled
    stop = threading.Event()
    failures = []

    def read():
        while not stop.is_set():
            for record in engine.scan(Tier.SESSION, 0, 300):
                if record.entry != records[record.index][0]:
                    failures.append(record)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    try:
        for turn in range(20):
            position = turn % (len(list(engine.segments(Tier.SESSION))) - 1)
            first = list(engine.segments(Tier.SESSION))[position].first
            compact_segment(
                engine,
                Tier.SESSION,
                position,
                [Replacement(first, b"x" * turn)],
                step_bytes=4096,
                watch=lambda state: fill(engine, Tier.SESSION, 1),
            )
            engine.seal(Tier.SESSION)
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert not failures
    engine.verify(Tier.SESSION)


def test_two_readers_one_that_refreshes_and_one_that_does_not(filled, opened):
    engine, records = filled
    old, new = opened(mode="r"), opened(mode="r")
    compact_segment(engine, Tier.SESSION, 0, [Gap(3, 299), Replacement(4, b"anew")])
    for reader in (old, new):
        assert reader.read(Tier.SESSION, 3).payload == records[3][1]
    new.refresh()
    assert new.read(Tier.SESSION, 3).cause == 299 and new.read(Tier.SESSION, 4).payload == b"anew"
    assert old.read(Tier.SESSION, 3).payload == records[3][1]
    old.verify(Tier.SESSION)
    new.verify(Tier.SESSION)
    assert next(new.segments(Tier.SESSION)).rewrites == 1 and next(old.segments(Tier.SESSION)).rewrites == 0


READER = """
import sys
from pathlib import Path
from aegis_store._engine import Engine
from aegis_store.types import Tier
path, secret, stop = sys.argv[1], bytes.fromhex(sys.argv[2]), Path(sys.argv[3])
print("ready", flush=True)
turns = 0
while turns < 5 or not stop.exists():
    with Engine.open(path, mode="r", secret=secret) as engine:
        for _ in range(2):
            entries = [record.entry for record in engine.scan(Tier.SESSION, 0, 300)]
            assert entries == [b"entry %d of 3" % at for at in range(300)]
            engine.refresh()
    turns += 1
"""


def test_other_processes_open_and_refresh_while_segments_are_rewritten(filled, place, tmp_path):
    engine, _ = filled
    stop = tmp_path / "stop"
    command = [sys.executable, "-c", READER, str(place), SECRET.hex(), str(stop)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for reader in readers:
        assert reader.stdout.readline() == "ready\n"
    for turn in range(40):
        for position in (0, 1):
            first = list(engine.segments(Tier.SESSION))[position].first
            compact_segment(engine, Tier.SESSION, position, [Replacement(first + turn, b"anew")])
    stop.touch()
    for reader in readers:
        reader.communicate()
        assert reader.returncode == 0


def test_a_log_turns_to_its_next_segment_when_asked(opened, fill, place):
    engine = opened()
    engine.rotate(Tier.SESSION)  # a tier without records
    records = fill(engine, Tier.SESSION, 3)
    engine.append(Tier.SESSION, 1, b"queued", b"")
    engine.rotate(Tier.SESSION)
    assert engine.size(Tier.SESSION) == 4  # what was queued is committed first
    engine.rotate(Tier.SESSION)  # the active one has no record
    engine.seal(Tier.SESSION)
    first, active = engine.segments(Tier.SESSION)
    assert (first.first, first.count, first.sealed) == (0, 4, True)
    assert (active.first, active.count, active.sealed) == (4, 0, False)
    fill(engine, Tier.SESSION, 2)
    compact_segment(engine, Tier.SESSION, 0, [Gap(0, 5)])
    engine.close()
    again = opened()
    assert again.read(Tier.SESSION, 0).cause == 5
    assert again.read(Tier.SESSION, 1).payload == records[1][1]
    assert again.size(Tier.SESSION) == 6
    assert files(place) == ["00000000-00000001.seg", "00000001.seg"]


def test_what_is_swept_is_kept_and_never_lowered(opened, fill):
    engine = opened()
    engine.set_swept(Tier.SESSION, 0)
    with pytest.raises(errors.InvalidArgument):
        engine.set_swept(Tier.SESSION, 1)
    fill(engine, Tier.SESSION, 5)
    engine.set_swept(Tier.SESSION, 4)
    engine.set_swept(Tier.SESSION, 2)
    with pytest.raises(errors.InvalidArgument, match="cannot be swept"):
        engine.set_swept(Tier.SESSION, 6)
    assert engine.stats(Tier.SESSION).swept == 4
    engine.abandon()
    assert opened().stats(Tier.SESSION).swept == 4


def test_a_signature_for_the_old_file_is_not_put_on_the_new_one(filled):
    engine, _ = filled
    before = next(engine.segments(Tier.SESSION))
    engine.sign_segment(Tier.SESSION, 0, b"s" * 64, segment=before.segment)
    compact_segment(engine, Tier.SESSION, 0, [Gap(3, 299)])
    after = next(engine.segments(Tier.SESSION))
    assert after.signature is None and after.message != before.message
    with pytest.raises(errors.NotFound):
        engine.sign_segment(Tier.SESSION, 0, b"t" * 64, segment=before.segment)
    engine.sign_segment(Tier.SESSION, 0, b"t" * 64, segment=after.segment)


def test_readers_may_not_compact(filled, opened):
    reader = opened(mode="r")
    for call in (
        lambda: compact_segment(reader, Tier.SESSION, 0, [Gap(3, 299)]),
        lambda: reader.rotate(Tier.SESSION),
        lambda: reader.seal(Tier.SESSION),
        lambda: reader.set_swept(Tier.SESSION, 1),
    ):
        with pytest.raises(errors.ReadOnly):
            call()


def test_a_closed_engine_compacts_nothing(filled):
    engine, _ = filled
    engine.close()
    with pytest.raises(errors.Closed):
        compact_segment(engine, Tier.SESSION, 0, [Gap(3, 299)])


def test_the_store_is_opened_by_the_name_of_the_rewritten_file_alone(filled, place):
    engine, _ = filled
    compact_segment(engine, Tier.SESSION, 0, [Gap(3, 299)])
    engine.close()
    (place / "session" / "00000000-00000001.seg").rename(place / "session" / "00000000.seg")
    with pytest.raises(errors.Corrupt, match="is missing"):
        Engine.open(place, mode="r", secret=SECRET, store_id=STORE_ID)
