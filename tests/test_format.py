"""docs/FORMAT.md is enough to read a store by: a reader that was written from it agrees with the product, record by record."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import re
import shutil
import uuid
from pathlib import Path

import msgspec
import pytest

import aegis_store
from aegis_store import Config, MemoryPointer, Tier, TierDurability
from aegis_store.rules import Rule
from aegis_store.schema.writes import Write, Writes
from aegis_store.states import RUN
from tests.golden import reader, small
from tests.golden import sessions as sessions_of
from tests.golden.basics import Invalid
from tests.golden.values import read_value
from tests.stores import Told, abandon, noise, segments

SESSION = Tier.SESSION


KINDS = {
    "numbers": (2**64, -(2**63) - 1, decimal.Decimal("-1.10")),
    "times": [
        datetime.datetime(2026, 11, 22, 8, 9, 10, 11, datetime.timezone(datetime.timedelta(hours=1), "CET")),
        datetime.datetime(2026, 11, 22, fold=1),
        datetime.time(1, 2, tzinfo=datetime.UTC),
        datetime.date(2026, 11, 22),
        datetime.timedelta(-1, 2, 3),
    ],
    "sets": [{1, "a", (2, b"")}, frozenset({uuid.UUID(int=7)}), set()],
    (1, "key"): {datetime.date(1, 1, 1): bytearray(b"x")},
}


#: What sessions have in common, so that there is a dictionary.
PROMPT = "".join(f"rule {number}: {noise(20, number).hex()}.\n" for number in range(80))


def read(place: Path):
    """All that the second reader finds of a closed store."""
    keys = reader.read_keys(place.with_name(place.name + ".keys"))
    manifest = reader.read_manifest((place / "MANIFEST").read_bytes(), keys.secret)
    log = reader.read_log(place, "session", manifest, keys)
    return keys, manifest, log, sessions_of.read_sessions(log, SESSION, keys)


def written(value: bytes) -> Writes:
    rows = (Write(0, "channel", "bytes", value), Write(-3, "\ud800", "null", b""))
    return Writes(request_id="r", task="t", path="~p", writes=rows)


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
            store.session("kinds").checkpoint(KINDS)
            for number in range(4):
                store.session(f"prompted {turn} {number}").checkpoint({"system": PROMPT, "n": number})
                store.session(f"prompted {turn} {number}").checkpoint({"system": PROMPT, "n": number, "more": [PROMPT[:300]]})
            if turn == 1:
                store.session("large").checkpoint(noise(200_000))
                store.session("large").checkpoint(noise(17 << 20), request_id="as large as no record")
                store.session("s").fork("fork", at=store.session("s").get(3).ref)
                store.session("fork").fork("fork of it").checkpoint({"on": "its own"}, request_id="r")
                store.session("fork of it").end(reason="done")
                for number in range(2 * RUN + 3):
                    store.session("runs").checkpoint(noise(140_000) + noise(20 * number))
                store.session("written").write(written(b"before its checkpoint"))
                store.session("written").checkpoint(b"1", request_id="r")
                store.session("written").write(written(noise(17 << 20)))
            elif turn == 2:
                store.session("fork").checkpoint({"on": "its own"}, request_id="r")
                store.session("written").write(written(b"after"))


@pytest.mark.parametrize("align", ["packed", "block"])
def test_a_second_reader_agrees_on_every_record_and_root(tmp_path, align):
    place = tmp_path / "state"
    make(place, align=align)
    keys, manifest, log, sessions = read(place)
    with aegis_store.open(place, mode="r") as store:
        engine = store.records.engine
        assert len(log.frames) == store.records.size() > 300
        assert sum(frame.kind == sessions_of.DICTIONARY for frame in log.frames) == 1
        assert sum(frame.payload[1] & 16 > 0 for frame in log.frames) > 10
        assert sum(frame.payload[1] & 8 > 0 for frame in log.frames) == 2  # those that begin a run
        assert sessions_of.read_writes(log, SESSION, keys) == {
            "written": [
                ("r", ["t", "~p", [[0, "channel", "bytes", value], [-3, b"\xed\xa0\x80", "null", b""]]])
                for value in (b"before its checkpoint", noise(17 << 20), b"after")
            ]
        }
        assert len(store.session("written").writes("r")) == 3
        for frame, leaf, record in zip(log.frames, log.leaves, engine.scan(SESSION), strict=True):
            assert (frame.index, frame.kind, int(frame.last)) == (record.index, record.kind, record.flags)
            assert (frame.entry, frame.payload, leaf) == (record.entry, record.payload, record.leaf)
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
        assert (manifest.alignment, manifest.segment_bytes) == (about.align, about.segment_bytes)
        assert about.align == (4096 if align == "block" else 8)
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


@pytest.mark.parametrize("align", ["packed", "block"])
def test_a_second_reader_agrees_on_what_is_gone(tmp_path, align):
    place = tmp_path / "state"
    make(place, align=align)
    config = Config(durability=TierDurability(session="write"))
    with aegis_store.open(place, config=config, clock=Told(start=5000)) as store:
        held = store.session("kinds").hold(reason="r", holder="h")
        store.session("s").hold(reason="r", holder="h", ordinal=4)
        store.release(held.number, reason="over")
        store.session("large").checkpoint("small")
        store.retain([Rule(keep_last=2, keep_positions=["p/*"])])
        store.session("é").erase(reason="case 1")
        store.session("prompted 2 3").erase(reason="case 1")
        store.erase(session="a+b/c d", ordinal=74, reason="case 1")
        store.retain([Rule(keep_last=1)])  # not compacted: what it covers is still there
    _, manifest, log, sessions = read(place)
    with aegis_store.open(place, mode="r") as store:
        assert manifest.tiers[SESSION].swept == store.records.engine.stats(SESSION).swept < len(log.frames)
        gone = [frame for frame in log.frames if frame.cause is not None]
        assert len(gone) > 150
        for frame, record in zip(log.frames, store.records.engine.scan(SESSION), strict=True):
            assert (frame.cause, frame.payload) == (record.cause, record.payload)
        assert list(sessions) == [info.id for info in store.sessions()]
        assert "é" not in sessions and [each.ordinal for each in sessions["s"]] == [4, 77]
        for name, saved in sessions.items():
            for mine, theirs in zip(saved, list(store.session(name).history())[::-1], strict=True):
                check_same(mine, theirs)
        # A gap that its cause does not cover is none.
        frame = gone[0]
        with pytest.raises(Invalid, match="covers it"):
            log.frames[frame.index] = dataclasses.replace(frame, cause=gone[-1].cause + 1)
            sessions_of.read_sessions(log, SESSION, reader.read_keys(place.with_name("state.keys")))


def check_same(mine: sessions_of.Saved, theirs: aegis_store.Checkpoint) -> None:
    """What both readers say of a checkpoint."""
    ref = theirs.ref
    assert (mine.index, mine.leaf, mine.ordinal, mine.time_ms) == (ref.index, ref.leaf, ref.ordinal, ref.time_ms)
    assert mine.agent == theirs.agent
    position, claims, pointer, approvals, last_tool_call, metadata, request_id, state = mine.fields
    assert (position, claims, approvals) == (theirs.position, theirs.claims, theirs.approvals)
    assert (last_tool_call, metadata, state) == (theirs.last_tool_call, theirs.metadata, theirs.state)
    assert request_id == theirs.request_id
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
    # The session's beginning and its first checkpoint went together.
    assert [frame.watermark for frame in log.frames] == [0, 1, 1, *range(3, 62)]
    assert [frame.last for frame in log.frames] == [True, False, *[True] * 60]


@pytest.mark.parametrize(
    "where", ["MANIFEST", "header", "slot", "link", "entry", "payload", "padding", "root", "secret", "signature"]
)
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
        with pytest.raises(Invalid, match="signature"):
            sessions_of.read_sessions(log, SESSION, keys)
        return
    elif where == "root":
        log.frames.reverse()
        assert reader.root_of(log.leaves) != reader.root_of(log.leaves[::-1])
        return
    else:
        data = bytearray(path.read_bytes())
        data[offsets[where]] ^= 1
        path.write_bytes(data)
    with pytest.raises(Invalid):
        read(place)
    shutil.rmtree(place)


# ---- the section in hexadecimal ---------------------------------------------------------------------------------------------

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "FORMAT.md"
LINE = re.compile(r"\s*(\d+)  (?P<hex>[0-9a-f]{2}(?: [0-9a-f]{2})*|00 … 00, (?P<zeros>\d+) bytes)(?:\s{2,}(?P<meaning>\S.*))?")


@pytest.fixture(scope="module")
def shown() -> tuple[dict[str, bytes], list[small.Block]]:
    """What the document says: the facts, and the structures."""
    text = DOCUMENT.read_text(encoding="utf-8").split(f"\n{small.HEAD}\n")[1]
    first, *rest = text.split("\n### ")
    facts = dict(re.findall(r"^(.+?)  +([0-9a-f]{32,})$", first, re.M))
    found = []
    for part in rest:
        title, body = part.split("\n", 1)
        block = small.Block(title, [])
        for line in body.split("```")[1].strip("\n").split("\n"):
            match = LINE.fullmatch(line)
            assert match, line
            data = bytes(int(match["zeros"])) if match["zeros"] else bytes.fromhex(match["hex"])
            if match["meaning"]:
                block.fields.append(small.Field(int(match[1]), data, match["meaning"]))
            else:
                block.fields[-1].data += data
        found.append(block)
    return {name: bytes.fromhex(value) for name, value in facts.items()}, found


def keys_of(facts: dict[str, bytes]) -> reader.Keys:
    return reader.Keys(
        store_id=facts["store id"],
        name="example",
        secret=facts["store secret"],
        log=facts["public log key"],
        enrolment=facts["public enrolment key"],
        agents={"planner": facts["public key of agent planner"]},
        heads={},
    )


def test_the_bytes_in_the_document_are_what_the_second_reader_says(shown):
    facts, (manifest, header, slot, frame) = shown
    keys = keys_of(facts)
    for block in shown[1]:  # the fields follow one another
        ends = [field.offset + len(field.data) for field in block.fields]
        assert [field.offset for field in block.fields[1:]] == ends[:-1]

    found = reader.read_copy(manifest.data, keys.secret)
    assert (found.store_id, found.name, found.alignment, found.segment_bytes) == (keys.store_id, "example", 8, 32 << 20)
    assert found.meta == {"log_key": keys.log, "enrolment_key": keys.enrolment, "created": 1_700_000_000_001}
    root = reader.root_of([facts[name] for name in facts if name.startswith("leaf hash")])
    assert root == facts["root of the three"] == found.tiers[SESSION].root
    assert found.tiers[SESSION].size == 3

    place = reader.read_header(header.data)
    assert (place.store_id, place.tier, place.number, place.alignment) == (keys.store_id, SESSION, 0, 8)
    assert place.generation == found.tiers[SESSION].segments[0].generation
    mark = reader.read_slot(slot.data, slot.fields[0].offset, place.nonce, keys.secret)
    assert slot.fields[0].offset == 4096 * (1 + mark.sequence % 2)
    assert (mark.size, mark.root, mark.end) == (3, root, True)

    start = frame.fields[0].offset
    record = reader.read_frame(bytes(start) + frame.data, start, place, keys.secret)
    assert (record.index, record.kind, record.watermark, record.last) == (2, sessions_of.CHECKPOINT, 1, True)
    assert record.end == mark.offset
    assert reader.leaf_hash(record.entry) == facts["leaf hash of record 2, the checkpoint"]
    entry = sessions_of.read_entry(record.entry)
    assert (entry.parent, entry.parent_leaf) == (1, facts["leaf hash of record 1, a session-begin"])
    assert (entry.ordinal, entry.time_ms) == (0, 1_700_000_000_004)
    public = keys.agents["planner"]
    assert entry.key_id == reader.key_id("planner", public)
    assert reader.signed_by(public, sessions_of.signed_message(keys.store_id, SESSION, record.entry), entry.signature)
    envelope = read_value(sessions_of.read_payload(record.payload, entry, {}, {}, {}))
    assert envelope == ["checkpoint", 0, "plan/1", *[None] * 6, {"todo": ["call", "write"]}]


def test_each_field_in_the_document_is_what_it_is_called(shown):
    """By value, where the reader takes bytes apart by position alone."""
    by_name = [{field.meaning: field.data for field in block.fields} for block in shown[1]]
    manifest, header, slot, frame = by_name
    assert [fields["magic"] for fields in by_name] == [b"AEGISMAN", b"AEGISSEG", b"AEGISWMK", b"AFR0"]
    assert manifest["name"] == b"example"
    assert len(manifest["HMAC"]) == 32
    assert len(manifest["meta block"]) == int.from_bytes(manifest["length of the meta block"], "little")
    assert manifest["root"] == slot["root"] == shown[0]["root of the three"]
    assert header["store id"] == manifest["store id"] == shown[0]["store id"]
    assert frame["index of the parent"] == (1).to_bytes(6, "little")
    assert (frame["entry: version"], frame["tier"], frame["payload: codec"]) == (b"\0", b"\3", b"\0")
    assert frame["leaf hash of the parent"] == shown[0]["leaf hash of record 1, a session-begin"]
    assert len(frame["envelope"]) == int.from_bytes(frame["length of the envelope"], "little")
    assert [len(frame[name]) for name in ("session tag", "commitment", "signature", "salt", "link")] == [16, 32, 64, 16, 16]


def test_a_store_made_now_has_the_bytes_that_the_document_shows(shown, tmp_path):
    """All but what depends on the nonce, or on whether the machine was slow enough for a watermark in between."""
    small.make(tmp_path / "example")
    facts, found = shown
    assert small.facts(tmp_path / "example") == facts
    for old, new in zip(found, small.blocks(tmp_path / "example"), strict=True):
        assert old.title == new.title
        assert [field.meaning for field in old.fields] == [field.meaning for field in new.fields]
        for was, is_now in zip(old.fields, new.fields, strict=True):
            assert len(was.data) == len(is_now.data)
            assert was.meaning in small.VARIES or was.data == is_now.data, was.meaning
            assert was.offset == is_now.offset or "slot" in old.title
        assert "nonce" not in {field.meaning for field in old.fields} or old.data != new.data


def test_the_document_is_what_the_printer_prints(shown, tmp_path):
    small.make(tmp_path / "example")
    said = DOCUMENT.read_text(encoding="utf-8").split(small.HEAD)[1].split("```")[0]
    assert said == small.section(tmp_path / "example").split(small.HEAD)[1].split("```")[0]
    lines = [line for block in shown[1] for field in block.fields for line in field.lines()]
    assert all(f"\n{line}\n" in DOCUMENT.read_text(encoding="utf-8") for line in lines)
