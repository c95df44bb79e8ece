from __future__ import annotations

import shutil
from hashlib import shake_256

import pytest

import aegis_store
from aegis_store.cli.demo import damage
from aegis_store.config import Config


@pytest.fixture
def points(place):
    """A store with sealed segments and its checkpoints: (session, index of the record)."""
    found = []
    with aegis_store.open(place / "state", config=Config(segment_bytes=64 * 1024)) as store:
        for name in ("a", "b"):
            session = store.session(name)
            for number in range(50):
                noise = shake_256(f"{name} {number}".encode()).digest(3000)
                found.append((name, session.checkpoint({"number": number, "noise": noise}, position=number).index))
    return found


def test_frames_are_all_records_in_order_without_gaps(place, points):
    files = damage.segments(place / "state")
    assert len(files) > 3
    seen = [frame for file in files for frame in damage.frames(file)]
    assert [frame.index for frame in seen] == list(range(points[-1][1] + 1))
    for file in files:
        for before, after in zip(found := list(damage.frames(file)), found[1:], strict=False):
            assert before.offset + before.length == after.offset
            assert before.payload_at + before.payload_length <= after.offset < before.payload_at + before.payload_length + 8
    with aegis_store.open(place / "state", mode="r") as store:
        record = store.records.engine.read(store.records.tier, 7)
    frame = seen[7]
    data = files[0].read_bytes()
    assert data[frame.payload_at : frame.payload_at + frame.payload_length] == record.payload


def test_one_bit_of_one_checkpoint_is_changed(place, points):
    store, before = place / "state", {}
    for file in damage.segments(store):
        before[file.name] = file.read_bytes()
    flip = damage.flip(store, {index for _, index in points}.__contains__)
    changed = []
    for file in damage.segments(store):
        now = file.read_bytes()
        changed += [
            (file.name, at, old, new) for at, (old, new) in enumerate(zip(before[file.name], now, strict=True)) if old != new
        ]
    assert changed == [(flip.file.removeprefix("session/"), flip.offset, flip.before, flip.after)]
    assert flip.before ^ flip.after == 1
    assert flip.record in {index for _, index in points}
    (frame,) = [each for each in damage.frames(store / flip.file) if each.index == flip.record]
    assert frame.offset == flip.frame_offset
    assert frame.payload_at <= flip.offset < frame.payload_at + frame.payload_length


def test_a_damaged_record_is_named_and_refused_and_the_others_are_served(place, points):
    flip = damage.flip(place / "state", {index for _, index in points}.__contains__)
    looked = {}
    answer = damage.ask(
        place / "state", points, damaged=flip.record, look=lambda at, checkpoint: looked.update({at: checkpoint.position})
    )
    victim = [index for _, index in points].index(flip.record)
    assert answer.opened
    assert victim in answer.refused
    assert sorted(answer.served + answer.refused) == list(range(len(points)))
    assert len(answer.served) > len(points) // 2
    assert looked == {at: at % 50 for at in answer.served}
    assert f"record {flip.record} " in answer.refusal
    assert f"record {flip.record} " in next(problem for index, problem in answer.findings if index == flip.record)


def test_a_store_that_refuses_to_open_serves_nothing(place, points):
    store = place / "state"
    (store / "session" / "outline").unlink()  # without it the active segment is scanned
    active = damage.segments(store)[-1]
    frame = next(iter(damage.frames(active)))
    data = bytearray(active.read_bytes())
    data[frame.offset : frame.offset + 64] = bytes(64)
    active.write_bytes(data)
    answer = damage.ask(store, points, damaged=frame.index, look=lambda at, checkpoint: pytest.fail("served"))
    assert not answer.opened
    assert answer.served == []
    assert answer.refused == list(range(len(points)))
    assert answer.findings[0][0] == frame.index
    assert active.name in answer.refusal


def test_an_untouched_copy_serves_everything(place, points):
    shutil.copytree(place / "state", place / "copy")
    shutil.copytree(place / "state.keys", place / "copy.keys")
    answer = damage.ask(place / "copy", points, damaged=-1, look=lambda at, checkpoint: None)
    assert (answer.opened, answer.findings, answer.refused) == (True, [], [])
    assert answer.served == list(range(len(points)))
