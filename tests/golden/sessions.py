"""Entries, payloads and sessions for the second reader, by docs/FORMAT.md."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import zstandard
from blake3 import blake3

from tests.golden.basics import demand
from tests.golden.deltas import apply_delta
from tests.golden.reader import Frame, Keys, Log, key_id, signed_by
from tests.golden.values import read_value

NO_PARENT = 0xFFFF_FFFF_FFFF
SESSION_BEGIN, CHECKPOINT, SESSION_END, KEY_ADD, KEY_REVOKE, WRITES, CHUNK, DICTIONARY = 1, 2, 3, 4, 5, 6, 7, 8
HOLD, HOLD_RELEASE, PRUNE, ERASE = 12, 13, 14, 15
OF_NO_SESSION = (KEY_ADD, KEY_REVOKE, DICTIONARY, PRUNE)
#: Those that are never taken away.
STAYING = (KEY_ADD, KEY_REVOKE, HOLD, HOLD_RELEASE, PRUNE, ERASE)


@dataclass
class Entry:
    kind: int
    tier: int
    epoch: int
    tag: bytes
    ordinal: int
    time_ms: int
    parent: int | None
    parent_leaf: bytes
    commitment: bytes
    length: int
    key_id: bytes
    signature: bytes
    request_tag: bytes | None


def read_entry(data: bytes) -> Entry:
    demand(data[0] == 0 and data[3] in (0, 1) and len(data) == 176 + 8 * data[3], "not an entry of version 0")
    parent = int.from_bytes(data[34:40], "little")
    return Entry(
        kind=data[1],
        tier=data[2],
        epoch=int.from_bytes(data[4:8], "little"),
        tag=data[8:24],
        ordinal=int.from_bytes(data[24:28], "little"),
        time_ms=int.from_bytes(data[28:34], "little"),
        parent=None if parent == NO_PARENT else parent,
        parent_leaf=data[40:72],
        commitment=data[72:104],
        length=int.from_bytes(data[104:108], "little"),
        key_id=data[108:112],
        signature=data[-64:],
        request_tag=data[112:120] if data[3] == 1 else None,
    )


def signed_message(store_id: bytes, tier: int, entry: bytes) -> bytes:
    return b"aegis-store/v0/entry\n" + store_id + struct.pack("<I", tier) + entry[:-64]


def read_payload(
    payload: bytes,
    entry: Entry,
    chunks: dict[int, tuple[Entry, bytes]],
    before: dict[int, bytes],
    dictionaries: dict[int, bytes],
) -> bytes:
    """The envelope in a payload, in bytes. `before`: those of the checkpoints that a delta may be to."""
    codec, flags, salt, encoded = payload[0], payload[1], payload[2:18], payload[18:]
    demand(flags & ~30 == 0 and flags & 12 != 8 and codec in (0, 1), "the codec of a payload")
    base = entry.parent
    if flags & 8:
        base, encoded = int.from_bytes(encoded[:6], "little"), encoded[6:]
    primed = None
    if flags & 16:
        demand(codec == 1 and entry.kind == CHECKPOINT, "what is compressed with a dictionary")
        content = dictionaries[int.from_bytes(encoded[:6], "little")]
        primed, encoded = zstandard.ZstdCompressionDict(content, zstandard.DICT_TYPE_RAWCONTENT), encoded[6:]
    if flags & 2:
        demand(entry.kind == CHECKPOINT and len(encoded) % 8 == 0, "what is in chunks")
        pieces = [chunks[index] for (index,) in struct.iter_unpack("<Q", encoded)]
        demand(all((of.tag, of.ordinal) == (entry.tag, entry.ordinal) for of, _ in pieces), "whose chunks they are")
        encoded = b"".join(piece for _, piece in pieces)
    if codec == 1:
        declared = zstandard.frame_content_size(encoded)
        demand(declared <= entry.length and (flags & 4 or declared == entry.length), "the length that a zstd frame declares")
        encoded = zstandard.ZstdDecompressor(dict_data=primed).decompress(encoded, max_output_size=entry.length)
    if flags & 4:
        demand(entry.kind == CHECKPOINT and len(encoded) <= entry.length and base in before, "what is a delta")
        encoded = apply_delta(before[base], encoded)
    demand(len(encoded) == entry.length, "the length of an envelope")
    message = b"aegis-store/v0/commitment\n" + salt + struct.pack("<Q", len(encoded)) + encoded
    demand(blake3(message).digest() == entry.commitment, "the commitment to an envelope")
    return encoded


def _name(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "surrogatepass")


@dataclass
class Saved:
    """A checkpoint as its record says; of one that is gone there are no fields."""

    index: int
    leaf: bytes
    ordinal: int
    time_ms: int
    agent: str
    fields: list[Any] | None


# ---- what is gone -----------------------------------------------------------------------------------------------------------


def read_runs(data: bytes) -> list[range]:
    """The records that a prune or erase record covers."""
    demand(len(data) % 16 == 0 and len(data) <= 16 * 65536, "the length of runs")
    steps = [step for (step,) in struct.iter_unpack("<Q", data)]
    demand(all(steps[1:]), "runs touch each other, or are empty")
    ends = list(accumulate(steps))
    demand(not ends or ends[-1] <= 1 << 48, "runs end in the log")
    return [range(first, end) for first, end in zip(ends[::2], ends[1::2], strict=True)]


def read_causes(log: Log, tier: int, keys: Keys) -> dict[int, list[range]]:
    """What each prune and erase record covers."""
    causes = {}
    for frame in log.frames:
        if frame.kind not in (PRUNE, ERASE):
            continue
        entry = read_entry(frame.entry)
        check_store_s_own(frame, entry, tier, keys)
        said = read_value(read_payload(frame.payload, entry, {}, {}, {}))
        if frame.kind == PRUNE:
            demand(said[:2] == ["prune", 0] and len(said) == 4, "the schema of a prune")
        else:
            demand(
                said[:2] == ["erase", 0] and len(said) == 6 and type(said[4]) in (int, type(None)), "the schema of an erasure"
            )
        causes[frame.index] = read_runs(said[-1])
    return causes


def check_store_s_own(frame: Frame, entry: Entry, tier: int, keys: Keys) -> None:
    demand(entry.key_id == key_id(f"aegis/{keys.store_id.hex()}", keys.log), "the key id of what is the store's own")
    message = signed_message(keys.store_id, tier, frame.entry)
    demand(signed_by(keys.log, message, entry.signature), "the signature of what is the store's own")


# ---- sessions ---------------------------------------------------------------------------------------------------------------


class _Reading:
    """Records in order, each believed or `Invalid`."""

    def __init__(self, log: Log, tier: int, keys: Keys) -> None:
        self.keys, self.tier = keys, tier
        self.causes = read_causes(log, tier, keys)
        self.allowed: dict[bytes, tuple[str, bytes]] = {}
        self.names: dict[bytes, str | None] = {}
        self.last: dict[bytes, tuple[int, bytes, int, int]] = {}
        self.ended: set[bytes] = set()
        self.written: dict[bytes, list[tuple[str, bytes, int, int] | None]] = {}
        self.chunks: dict[int, tuple[Entry, bytes]] = {}
        self.before: dict[int, bytes] = {}
        self.dictionaries: dict[int, bytes] = {}
        self.saved: dict[bytes, list[Saved]] = {}
        self.where: dict[int, bytes] = {}
        self.request_key = blake3(keys.secret, derive_key_context="aegis-store 2026 request tags").digest()

    def is_gone(self, frame: Frame) -> bool:
        """Whether it is to be treated as gone; a gap must be one by right."""
        if frame.cause is not None:
            demand(frame.kind not in STAYING, "a record that stays is there")
            demand(any(frame.index in run for run in self.causes.get(frame.cause, ())), "the cause of a gap covers it")
        return any(frame.index < cause and any(frame.index in run for run in runs) for cause, runs in self.causes.items())

    def envelope(self, frame: Frame, entry: Entry) -> bytes | None:
        """What a record holds; None where it holds nothing any more."""
        if frame.cause is not None:
            return None
        found = read_payload(frame.payload, entry, self.chunks, self.before, self.dictionaries)
        if entry.kind == CHECKPOINT:
            self.before[frame.index] = found
        return found

    def take(self, frame: Frame, leaf: bytes) -> None:
        entry = read_entry(frame.entry)
        demand((entry.kind, entry.tier) == (frame.kind, self.tier), "the kind and tier of an entry")
        demand((entry.tag == bytes(16)) == (entry.kind in OF_NO_SESSION), "whose record it is")
        gone = self.is_gone(frame)
        if entry.kind in (DICTIONARY, HOLD, HOLD_RELEASE, PRUNE, ERASE):
            demand(entry.parent is None, "what is the store's own follows nothing")
            check_store_s_own(frame, entry, self.tier, self.keys)
            if frame.cause is None:
                self.take_store_s_own(frame, entry)
            return
        message = signed_message(self.keys.store_id, self.tier, frame.entry)
        if entry.kind == CHUNK:
            log_key_id = key_id(f"aegis/{self.keys.store_id.hex()}", self.keys.log)
            signer = self.keys.log if entry.key_id == log_key_id else self.allowed[entry.key_id][1]
            demand(entry.parent is None and signed_by(signer, message, entry.signature), "a chunk")
            return
        encoded = self.envelope(frame, entry)
        envelope: list[Any] | None = None if encoded is None else read_value(encoded)
        if entry.kind in (KEY_ADD, KEY_REVOKE):
            self.take_key(entry, envelope or [], message)
            return
        agent, public_key = self.allowed[entry.key_id]
        demand(signed_by(public_key, message, entry.signature), "the signature of an entry")
        if entry.kind == SESSION_BEGIN:
            self.begin(frame, leaf, entry, None if gone else envelope, agent)
        elif entry.kind == SESSION_END:
            demand(entry.tag not in self.ended and (entry.parent, entry.parent_leaf) == self.last[entry.tag][:2], "an end")
            demand(envelope is None or envelope[:2] == ["session-end", 0], "the end of a session")
            self.ended.add(entry.tag)
        elif entry.kind == WRITES:
            self.take_writes(entry, None if gone else envelope)
        else:
            self.take_checkpoint(frame, leaf, entry, envelope, gone, agent)

    def take_writes(self, entry: Entry, envelope: list[Any] | None) -> None:
        written = self.written.setdefault(entry.tag, [])
        demand(entry.parent is None and entry.request_tag is not None, "what writes follow, and belong to")
        demand(entry.tag in self.names and entry.tag not in self.ended and entry.ordinal == len(written), "the place of writes")
        if envelope is None:
            written.append(None)
            return
        demand(envelope[:2] == ["writes", 0] and len(envelope) == 6, "the schema of writes")
        _, _, asked, part, parts, body = envelope
        tag = blake3(entry.tag + asked.encode(), key=self.request_key).digest(8)
        demand(tag == entry.request_tag and 0 <= part < parts, "the request tag of writes")
        written.append((asked, body, part, parts))

    def whole_writes(self) -> dict[str, list[tuple[str, list[Any]]]]:
        """Of each session what was written: the request id, and task, path and rows. Parts without the others are left out."""
        found: dict[str, list[tuple[str, list[Any]]]] = {}
        for tag, written in self.written.items():
            held: list[bytes] = []
            for each in written:
                if each is None:
                    continue
                asked, body, part, parts = each
                held = [*held[:part], body] if part <= len(held) else []
                if held and len(held) == parts:
                    found.setdefault(self.names[tag] or "", []).append((asked, read_value(b"".join(held))))
                    held = []
        return found

    def take_store_s_own(self, frame: Frame, entry: Entry) -> None:
        envelope = read_value(read_payload(frame.payload, entry, {}, {}, {}))
        if entry.kind == DICTIONARY:
            demand(envelope[:2] == ["dictionary", 0] and len(envelope) == 3, "the schema of a dictionary")
            demand(type(envelope[2]) is bytes and 0 < len(envelope[2]) <= 65536, "the content of a dictionary")
            self.dictionaries[frame.index] = envelope[2]
        elif entry.kind == HOLD:
            demand(envelope[:2] == ["hold", 0] and len(envelope) == 5 and entry.ordinal == (envelope[4] or 0), "a hold")
        elif entry.kind == HOLD_RELEASE:
            demand(envelope[:2] == ["hold-release", 0] and len(envelope) == 5 and envelope[2] < frame.index, "a hold-release")

    def take_key(self, entry: Entry, envelope: list[Any], message: bytes) -> None:
        demand(entry.key_id == key_id("aegis/enrolment", self.keys.enrolment), "the key id of an enrolment")
        demand(signed_by(self.keys.enrolment, message, entry.signature), "the signature of an enrolment")
        schema, version, agent, public_key = envelope[:4]
        demand((schema, version) == ("key-add" if entry.kind == KEY_ADD else "key-revoke", 0), "the schema of an envelope")
        if entry.kind == KEY_ADD:
            self.allowed[key_id(_name(agent), public_key)] = (_name(agent), public_key)
        else:
            del self.allowed[key_id(_name(agent), public_key)]

    def begin(self, frame: Frame, leaf: bytes, entry: Entry, envelope: list[Any] | None, agent: str) -> None:
        demand(entry.tag not in self.names and (entry.ordinal == 0) == (entry.parent is None), "the beginning of a session")
        inherited: list[Saved] = []
        if entry.parent is not None:
            inherited = self.saved[self.where[entry.parent]][: entry.ordinal]
            demand((inherited[-1].index, inherited[-1].leaf) == (entry.parent, entry.parent_leaf), "where a fork goes on from")
            demand(len(inherited) == entry.ordinal, "the first ordinal of a fork")
        self.names[entry.tag] = None
        if envelope is not None:
            demand(envelope[:2] == ["session-begin", 0] and _name(envelope[3]) == agent, "the names of a session")
            self.names[entry.tag] = _name(envelope[2])
        self.saved[entry.tag] = inherited
        self.last[entry.tag] = (frame.index, leaf, entry.ordinal, entry.time_ms)

    def take_checkpoint(
        self, frame: Frame, leaf: bytes, entry: Entry, envelope: list[Any] | None, gone: bool, agent: str
    ) -> None:
        demand(entry.kind == CHECKPOINT and entry.tag not in self.ended, "the kind of a record")
        parent, parent_leaf, ordinal, time_ms = self.last[entry.tag]
        demand((entry.parent, entry.parent_leaf, entry.ordinal) == (parent, parent_leaf, ordinal), "the chain of a session")
        demand(entry.time_ms >= time_ms, "the time of a checkpoint")
        if envelope is not None:
            demand(envelope[:2] == ["checkpoint", 0], "the schema of a checkpoint")
            asked = envelope[8]
            tag = None if asked is None else blake3(entry.tag + asked.encode(), key=self.request_key).digest(8)
            demand(tag == entry.request_tag, "the request tag of a checkpoint")
        self.last[entry.tag] = (frame.index, leaf, ordinal + 1, entry.time_ms)
        self.where[frame.index] = entry.tag
        fields = None if gone or envelope is None else envelope[2:]
        self.saved[entry.tag].append(Saved(frame.index, leaf, ordinal, entry.time_ms, agent, fields))


def read_writes(log: Log, tier: int, keys: Keys) -> dict[str, list[tuple[str, list[Any]]]]:
    """What was written towards checkpoints, by session: request id; task, path and rows."""
    return _read(log, tier, keys).whole_writes()


def read_sessions(log: Log, tier: int, keys: Keys) -> dict[str, list[Saved]]:
    """Every record believed or `Invalid`, and the checkpoints of each session in order that are there."""
    reading = _read(log, tier, keys)
    return {
        name: [each for each in reading.saved[tag] if each.fields is not None]
        for tag, name in reading.names.items()
        if name is not None
    }


def _read(log: Log, tier: int, keys: Keys) -> _Reading:
    reading = _Reading(log, tier, keys)
    # Pieces that compaction made come behind their checkpoint.
    for frame in log.frames:
        entry = read_entry(frame.entry)
        if entry.kind == CHUNK and frame.cause is None:
            reading.chunks[frame.index] = entry, read_payload(frame.payload, entry, {}, {}, {})
    for frame, leaf in zip(log.frames, log.leaves, strict=True):
        reading.take(frame, leaf)
    return reading
