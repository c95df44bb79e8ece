"""The nine edits that every reader must refuse when it reads: made in the files of a store, in each way that a forger has.

A forger without keys edits bytes and recomputes the checksums that need no key. One who has stolen the store secret also makes
the codes of the frames right. Whatever they do, the store must then refuse to open, or raise where the edit is; and must not
give back anything that was not saved.
"""

from __future__ import annotations

import hmac
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import aegis_store
from aegis_store import Tier
from aegis_store._engine import Engine
from aegis_store.codec.payload import seal
from aegis_store.errors import AegisError, Corrupt, RolledBack
from aegis_store.schema.checkpoint import Checkpoint, encode
from aegis_store.schema.entry import parse, signing_message
from aegis_store.trust.keys import KeyDirectory
from aegis_store.trust.signer import FileSigner
from tests.golden import reader
from tests.stores import SMALL, Span, frame_of, frames, noise, segments

SESSIONS = ("s", "t")
EACH = 30


@dataclass
class Target:
    """A store to be edited: its files, what was saved, and one record of `s` in the middle of a segment."""

    place: Path
    secret: bytes | None
    saved: dict[str, list[object]]
    indexes: dict[str, list[int]]
    ordinal: int

    @property
    def index(self) -> int:
        return self.indexes["s"][self.ordinal]

    def where(self, index: int) -> tuple[Path, Span]:
        return frame_of(self.place, index)

    def contents(self, index: int) -> tuple[bytes, bytes]:
        """Entry and payload of a record."""
        path, span = self.where(index)
        used = struct.unpack_from("<HI", path.read_bytes(), span.start + 6)
        return path.read_bytes()[span.entry : span.payload], path.read_bytes()[span.payload : span.payload + used[1]]

    def put(self, index: int, entry: bytes, payload: bytes) -> None:
        """Write another record over the frame of one, with all checksums and codes that this forger can make."""
        path, span = self.where(index)
        data = bytearray(path.read_bytes())
        size = 48 + len(entry) + len(payload)
        assert (size + 7) // 8 * 8 == span.end - span.start, "the record does not fit"
        data[span.entry : span.end] = (entry + payload).ljust(span.end - span.entry, b"\0")
        data[span.start + 4] = entry[1]
        struct.pack_into("<HI", data, span.start + 6, len(entry), len(payload))
        data[span.start : span.end] = self.resealed(bytes(data[span.start : span.end]), data, span.start)
        path.write_bytes(data)

    def resealed(self, frame: bytes, file: bytes, at: int, index: int | None = None) -> bytes:
        """A frame with its body checksum and link recomputed for a place in a file."""
        header, out = reader.read_header(bytes(file[:512])), bytearray(frame)
        if index is not None:
            struct.pack_into("<Q", out, 16, index)
        entry_length, payload_length = struct.unpack_from("<HI", out, 6)
        body = header.store_id + struct.pack("<IBHI", header.tier, out[4], entry_length, payload_length)
        body += bytes(out[48 : 48 + entry_length + payload_length]) + bytes(out[16:24]) + bytes(out[5:6])
        struct.pack_into("<I", out, 12, reader.crc32c(body))
        if self.secret is not None:
            leaf = reader.leaf_hash(bytes(out[48 : 48 + entry_length]))
            message = b"L" + header.nonce + struct.pack("<Q", at) + bytes(out[16:32]) + leaf + bytes(out[12:16])
            out[32:48] = hmac.digest(self.secret, message, "sha256")[:16]
        return bytes(out)


# ---- the edits --------------------------------------------------------------------------------------------------------------


def changed_content(target: Target) -> None:
    entry, payload = target.contents(target.index)
    target.put(target.index, entry, payload[:200] + bytes([payload[200] ^ 1]) + payload[201:])


def changed_metadata(target: Target) -> None:
    """The time in the entry; its signature cannot follow."""
    entry, payload = target.contents(target.index)
    target.put(target.index, entry[:28] + bytes([entry[28] ^ 1]) + entry[29:], payload)


def another_state_sealed(target: Target) -> None:
    """A state of the forger's, with a commitment that fits it."""
    entry, payload = target.contents(target.index)
    state = {"number": 9999, "noise": noise(3000, "forged")}
    length = parse(entry).length
    envelope = encode(Checkpoint(state=state)).ljust(length, b"\0")[:length]
    sealed, commitment, _ = seal(envelope, b"forger's salt 16")
    sealed = sealed.ljust(len(payload), b"\0")[: len(payload)]
    target.put(target.index, entry[:72] + commitment + entry[104:], sealed)


def forged_with_another_key(target: Target) -> None:
    entry, payload = target.contents(target.index)
    forger = FileSigner("planner", noise(32, "forger"))
    unsigned = entry[:108] + forger.key_id
    store_id = reader.read_header(segments(target.place)[0].read_bytes()).store_id
    target.put(target.index, unsigned + forger.sign(signing_message(store_id, Tier.SESSION, unsigned)), payload)


def a_record_of_another_session(target: Target) -> None:
    target.put(target.index, *target.contents(target.indexes["t"][target.ordinal]))


def an_older_record_as_the_newest(target: Target) -> None:
    target.put(target.indexes["s"][-1], *target.contents(target.indexes["s"][-3]))


def an_older_record_in_a_newer_ones_place(target: Target) -> None:
    target.put(target.index, *target.contents(target.indexes["s"][target.ordinal - 1]))


def reordered(target: Target) -> None:
    """Two records of the session change places."""
    one, two = target.index, target.indexes["s"][target.ordinal + 1]
    first, second = target.contents(one), target.contents(two)
    target.put(one, *second)
    target.put(two, *first)


def deleted_middle(target: Target) -> None:
    """A record is cut out, and what follows it in the file moves up, under new numbers; the file's size stays."""
    path, gone = target.where(target.index)
    data = path.read_bytes()
    spans = [span for span in frames(path) if span.start > gone.start]
    out = bytearray(data[: gone.start])
    for span in spans:
        out += target.resealed(data[span.start : span.end], data, len(out), span.index - 1)
    rest = data[spans[-1].end if spans else gone.end :]
    out += bytes(len(data) - len(out) - len(rest)) + rest
    path.write_bytes(out)


def truncated_tail(target: Target) -> None:
    """The last record of the active segment is cut off."""
    path = segments(target.place)[-1]
    with path.open("r+b") as file:
        file.truncate(frames(path)[-1].start)


def zeroed_tail(target: Target) -> None:
    path = segments(target.place)[-1]
    last = frames(path)[-1]
    data = bytearray(path.read_bytes())
    data[last.start :] = bytes(len(data) - last.start)
    path.write_bytes(data)


def the_last_segment_gone(target: Target) -> None:
    segments(target.place)[-1].unlink()


def a_middle_segment_gone(target: Target) -> None:
    segments(target.place)[1].unlink()


def two_segments_swapped(target: Target) -> None:
    one, two = segments(target.place)[:2]
    one.rename(one.with_suffix(".x"))
    two.rename(one)
    one.with_suffix(".x").rename(two)


def a_segment_twice(target: Target) -> None:
    one, two = segments(target.place)[:2]
    shutil.copy(one, two)


EDITS: list[Callable[[Target], None]] = [
    changed_content,
    changed_metadata,
    another_state_sealed,
    forged_with_another_key,
    a_record_of_another_session,
    an_older_record_as_the_newest,
    an_older_record_in_a_newer_ones_place,
    reordered,
    deleted_middle,
    truncated_tail,
    zeroed_tail,
    the_last_segment_gone,
    a_middle_segment_gone,
    two_segments_swapped,
    a_segment_twice,
]


# ---- the store that is edited -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> tuple[Path, dict[str, list[object]], dict[str, list[int]]]:
    place = tmp_path_factory.mktemp("original") / "state"
    saved: dict[str, list[object]] = {name: [] for name in SESSIONS}
    indexes: dict[str, list[int]] = {name: [] for name in SESSIONS}
    with aegis_store.open(place, agent="planner", config=SMALL) as store:
        for number in range(EACH):
            for name in SESSIONS:
                state = {"number": 1000 + number, "noise": noise(3000, (name, number))}  # all of one size
                indexes[name].append(store.session(name).checkpoint(state).index)
                saved[name].append(state)
    with aegis_store.open(place):
        pass
    assert len(segments(place)) >= 4
    return place, saved, indexes


@pytest.fixture
def target(original, tmp_path, request) -> Target:
    stolen, segment = request.param
    place, saved, indexes = original
    for source in (place, place.with_name("state.keys")):
        shutil.copytree(source, tmp_path / source.name)
    secret = (tmp_path / "state.keys" / "secret").read_bytes() if stolen else None
    found = Target(tmp_path / "state", secret, saved, indexes, 0)
    path = segments(found.place)[1 if segment == "sealed" else -1]
    inside = [n for n, index in enumerate(indexes["s"]) if found.where(index)[0] == path]
    found.ordinal = inside[len(inside) // 2 - 1]
    assert 0 < found.ordinal < EACH - 2
    return found


def look(target: Target, *, mode: str) -> list[AegisError]:
    """Everything that a reader asks; what was refused. Whatever is given back must be what was saved."""
    try:
        store = aegis_store.open(target.place, mode=mode, agent="planner")
    except Corrupt as error:
        return [error]
    refused: list[AegisError] = []
    with store:
        for name in SESSIONS:
            try:
                assert store.session(name).latest().state == target.saved[name][-1]
            except Corrupt as error:
                refused.append(error)
            before: int | None = None
            while before is None or before > 0:
                try:
                    for each in store.session(name).history(before=before):
                        assert each.state == target.saved[name][each.ref.ordinal]
                        assert each.ref.index == target.indexes[name][each.ref.ordinal]
                        before = each.ref.ordinal
                    assert before == 0
                except Corrupt as error:
                    refused.append(error)
                    before = EACH if before is None else before - 1
        findings = store.verify(deep=True).findings
        assert bool(findings) == bool(refused)
    return refused


@pytest.mark.parametrize("catalogue", ["kept", "lost"])
@pytest.mark.parametrize(
    "target",
    [(False, "sealed"), (False, "active"), (True, "sealed"), (True, "active")],
    indirect=True,
    ids=["sealed", "active", "sealed, secret stolen", "active, secret stolen"],
)
@pytest.mark.parametrize("edit", EDITS, ids=lambda edit: edit.__name__)
def test_every_edit_is_refused_and_nothing_that_was_not_saved_is_given_back(target, edit, catalogue):
    edit(target)
    if catalogue == "lost":
        shutil.rmtree(target.place / "catalog")
    for mode in ("r", "a", "r"):
        refused = look(target, mode=mode)
        assert refused, f"mode {mode}: nothing was noticed"
        assert all(error.tier == "session" for error in refused)


@pytest.mark.parametrize("target", [(True, "sealed"), (True, "active")], indirect=True, ids=["sealed", "active"])
def test_without_an_edit_nothing_is_refused(target):
    path, _ = target.where(target.index)
    before = path.read_bytes()
    target.put(target.index, *target.contents(target.index))
    assert path.read_bytes() == before  # so the forger's checksums and codes are the right ones
    for mode in ("r", "a"):
        assert look(target, mode=mode) == []


@pytest.mark.parametrize("target", [(False, "active")], indirect=True)
def test_the_whole_store_rolled_back_is_refused(target, original, tmp_path):
    with aegis_store.open(target.place) as store:
        store.session("s").checkpoint("newer")
    shutil.rmtree(target.place)
    shutil.copytree(original[0], target.place)
    for mode in ("r", "a"):
        with pytest.raises(RolledBack):
            aegis_store.open(target.place, mode=mode)


@pytest.mark.parametrize("target", [(True, "active")], indirect=True)
def test_a_store_that_was_made_again_under_the_same_secret_is_refused(target):
    """Who has the secret can make the whole log anew, and all its codes; not the head that the key directory remembers."""
    keys = KeyDirectory.load(target.place.with_name("state.keys"))
    with Engine.open(target.place, mode="r", secret=keys.secret) as engine:
        records, meta = list(engine.scan(Tier.SESSION)), engine.describe().meta
    shutil.rmtree(target.place)
    with Engine.open(target.place, mode="x", secret=keys.secret, store_id=keys.store_id, meta=meta) as engine:
        for record in records[:-3] + records[-2:] + records[-2:-1]:  # as many as there were
            engine.append(Tier.SESSION, record.kind, record.entry, record.payload)
    for mode in ("r", "a"):
        with pytest.raises(RolledBack, match="not those"):
            aegis_store.open(target.place, mode=mode)


@pytest.mark.parametrize("mode", ["r", "a"])
def test_an_edited_entry_does_not_take_others_along(tmp_path, mode):
    """In a tile of the tree that is full, and whose hashes say what each of its 256 entries was."""
    place = tmp_path / "state"
    with aegis_store.open(place, agent="planner", config=SMALL) as store:
        session, other = store.session("s"), store.session("t")
        refs = [(session.checkpoint(number), other.checkpoint(number))[0] for number in range(400)]
    target = Target(place, None, {}, {"s": [ref.index for ref in refs]}, 40)
    changed_metadata(target)
    for _ in range(2):
        with aegis_store.open(place, mode=mode) as store:
            assert store.session("s").latest().state == 399
            seen = []
            with pytest.raises(Corrupt) as caught:
                seen.extend(each.state for each in store.session("s").history())
            assert caught.value.index == target.index
            assert seen == list(range(41, 400))[::-1]
            assert [each.state for each in store.session("s").history(before=40)] == list(range(40))[::-1]
            assert [each.state for each in store.session("t").history()] == list(range(400))[::-1]
            # The segment that is not the one that was sealed, and the record in it.
            assert [each.index for each in store.verify(deep=True).findings] == [0, target.index]
