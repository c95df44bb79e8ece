"""docs/FORMAT.md is enough to read a store by: a reader that was written from it agrees with the product, record by record."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

import aegis_store
from aegis_store import Config, MemoryPointer, Tier, TierDurability
from tests.golden import reader
from tests.stores import Told, abandon, noise, segments

SESSION = Tier.SESSION


def read(place: Path):
    """All that the second reader finds of a closed store."""
    keys = reader.read_keys(place.with_name(place.name + ".keys"))
    manifest = reader.read_manifest((place / "MANIFEST").read_bytes(), keys.secret)
    log = reader.read_log(place, "session", manifest, keys)
    return keys, manifest, log, reader.read_sessions(log, SESSION, keys)


def make(place: Path, **config: object) -> None:
    """Sealed and active segments, several agents and sessions, names and states of every kind, several openings."""
    chosen = Config(segment_bytes=64 << 10, durability=TierDurability(session="write"), **config)
    for turn in range(3):
        with aegis_store.open(place, agent="planner", name="tickets", config=chosen, clock=Told(start=1000 * turn)) as store:
            for number in range(25):
                for name, agent in (("s", "planner"), ("é", "critic"), ("\ud800", "odd \udcff"), ("a+b/c d", "a+b")):
                    store.session(name, agent=agent).checkpoint({"n": number, "noise": noise(400, (turn, name, number))})
            everything = {
                "position": ["p", turn], "claims": {"c": 0.5}, "memory_pointer": MemoryPointer(index=turn, root=bytes(32)),
                "approvals": ["a"], "last_tool_call": {"name": "x"}, "metadata": {"m": None},
            }  # fmt: skip
            store.session("s").checkpoint({"text": "compressible " * 500, 7: [True, -1, 2**63, b"", 1e-9]}, **everything)
            if turn == 1:
                store.session("large").checkpoint(noise(200_000))


@pytest.mark.parametrize("align", ["packed", "block"])
def test_a_second_reader_agrees_on_every_record_and_root(tmp_path, align):
    place = tmp_path / "state"
    make(place, align=align)
    keys, manifest, log, sessions = read(place)
    with aegis_store.open(place, mode="r") as store:
        engine = store.records.engine
        assert len(log.frames) == store.records.size() > 300
        for frame, leaf, record in zip(log.frames, log.leaves, engine.scan(SESSION), strict=True):
            assert (frame.index, frame.kind, frame.entry, frame.payload) == (record.index, record.kind, record.entry, record.payload)
            assert (leaf, int(frame.last)) == (record.leaf, record.flags)
        for size in range(0, len(log.frames) + 1, 7):
            assert reader.root_of(log.leaves[:size]) == engine.head(SESSION, size).root
        product = list(engine.segments(SESSION))
        assert len(product) == len(segments(place)) == len(log.footers) > 3
        for footer, found in zip(product, log.footers, strict=True):
            assert footer.sealed == (found is not None)
            if found:
                assert (footer.first, footer.count, footer.root) == (found.first, found.count, found.root)
                assert (footer.frames_sha256, footer.signature) == (found.frames_sha256, found.signature)
        assert log.footers[-1] is None
        assert sum(each is not None and each.signature is not None for each in log.footers) >= len(log.footers) - 2
        about = engine.describe()
        assert (manifest.store_id, manifest.name, manifest.generation) == (about.store_id, "tickets", about.generation)
        assert (manifest.alignment, manifest.segment_bytes) == (about.align, about.segment_bytes) == (4096 if align == "block" else 8, 65536)
        assert manifest.meta == msgspec.msgpack.decode(about.meta) == {
            "log_key": keys.log, "enrolment_key": keys.enrolment, "created": 1,
        }  # fmt: skip
        assert manifest.tiers[SESSION].size == len(log.frames)
        assert list(sessions) == [info.id for info in store.sessions()]
        for name, saved in sessions.items():
            for mine, theirs in zip(saved, list(store.session(name).history())[::-1], strict=True):
                check_same(mine, theirs)
        assert keys.heads == {"session": (len(log.frames), reader.root_of(log.leaves))}
        assert sorted(keys.agents) == sorted(signer.name for signer in store.keys.agents())
        note = store.head()
        origin, size, root = reader.read_note(note.format(), keys.log)
        assert (origin, size, root) == (f"aegis/{keys.store_id.hex()}/session", note.head.size, note.head.root)


def check_same(mine: reader.Saved, theirs: aegis_store.Checkpoint) -> None:
    """What both readers say of a checkpoint."""
    ref = theirs.ref
    assert (mine.index, mine.leaf, mine.ordinal, mine.time_ms) == (ref.index, ref.leaf, ref.ordinal, ref.time_ms)
    assert mine.agent == theirs.agent
    position, claims, pointer, approvals, last_tool_call, metadata, request_id, state = mine.fields
    assert (position, claims, approvals) == (theirs.position, theirs.claims, theirs.approvals)
    assert (last_tool_call, metadata, state) == (theirs.last_tool_call, theirs.metadata, theirs.state)
    assert request_id is None
    assert pointer == (None if theirs.memory_pointer is None else [theirs.memory_pointer.index, theirs.memory_pointer.root])


def test_a_second_reader_finds_end_marks_tiles_and_the_lock_file(tmp_path):
    place = tmp_path / "state"
    make(place)
    _, _, log, _ = read(place)
    assert log.slots[-1].end
    assert (log.slots[-1].size, log.slots[-1].root) == (len(log.frames), reader.root_of(log.leaves))
    assert log.slots[-1].offset == log.frames[-1].end
    assert reader.read_tiles(place / "session", log.leaves) == len(log.frames) // 256 > 0
    poisoned, sizes, holder = reader.read_lock((place / "LOCK").read_bytes())
    assert (poisoned, sizes) == (False, {1: 0, 2: 0, 3: len(log.frames), 4: 0})
    assert holder


def test_a_second_reader_reads_what_a_crash_left(tmp_path):
    """Full segments without a footer, watermarks that lag behind, zeros ahead, and one prepared segment."""
    place = tmp_path / "state"
    store = aegis_store.open(place, config=Config(segment_bytes=64 << 10))
    for number in range(60):
        store.session("s").checkpoint(noise(3000, number))
    abandon(store)
    _, manifest, log, sessions = read(place)
    assert [saved.fields[-1] for saved in sessions["s"]] == [noise(3000, number) for number in range(60)]
    assert len(manifest.tiers[SESSION].segments) in (len(segments(place)), len(segments(place)) - 1)
    assert [frame.watermark for frame in log.frames] == list(range(62))
    assert all(frame.last for frame in log.frames)


@pytest.mark.parametrize("where", ["MANIFEST", "header", "slot", "link", "entry", "payload", "padding", "root", "secret", "signature"])
def test_the_second_reader_can_say_no(tmp_path, where):
    place = tmp_path / "state"
    with aegis_store.open(place, config=Config(segment_bytes=64 << 10)) as store:
        store.session("s").checkpoint(b"123")
        frame = reader.Frame
    keys, _, log, _ = read(place)
    frame = log.frames[-1]
    path = place / ("MANIFEST" if where == "MANIFEST" else "session/00000000.seg")
    offsets = {
        "MANIFEST": 70, "header": 20, "slot": log.slots[-1].sequence % 2 * 4096 + 4096 + 20, "link": frame.offset + 40,
        "entry": frame.offset + 48 + 30, "payload": frame.offset + 48 + 176 + 20, "padding": frame.end - 1,
    }  # fmt: skip
    if where == "secret":
        (place.with_name("state.keys") / "secret").write_bytes(bytes(32))
    elif where == "signature":
        keys.agents.clear()
        forged = frame.entry[:112] + frame.entry[112:][::-1]
        log.frames[-1] = reader.Frame(**{**vars(frame), "entry": forged})
        with pytest.raises(reader.Invalid, match="signature"):
            reader.read_sessions(log, SESSION, keys)
        return
    elif where == "root":
        log.frames.reverse()
        assert reader.root_of(log.leaves) != reader.root_of(log.leaves[::-1])
        return
    else:
        data = bytearray(path.read_bytes())
        data[offsets[where]] ^= 1
        path.write_bytes(data)
    with pytest.raises(reader.Invalid):
        read(place)
    shutil.rmtree(place)
