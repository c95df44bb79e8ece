"""A second reader of stores, written from docs/FORMAT.md alone.

It imports nothing of aegis_store, and reads slowly and plainly: whole files, every check that the format names, the tree as RFC
6962 defines it. `Invalid` where anything is not as the format says. It shows that the format is described well enough.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from blake3 import blake3
from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from tests.golden.basics import crc32c, demand, leaf_hash, mac, node_hash, root_of

TIERS = {"audit": 1, "memory": 2, "session": 3, "telemetry": 4}
FRAMES = 12288
SLOTS = (4096, 8192)


# ---- keys -------------------------------------------------------------------------------------------------------------------


def key_id(name: str, public_key: bytes) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass") + b"\x0a\x01" + public_key).digest()[:4]


def signed_by(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        VerifyKey(public_key).verify(message, signature)
    except BadSignatureError:
        return False
    return True


@dataclass
class Keys:
    """What is in a key directory. Keys are public ones."""

    store_id: bytes
    name: str
    secret: bytes
    log: bytes
    enrolment: bytes
    agents: dict[str, bytes]
    heads: dict[str, tuple[int, bytes]]


def _key_line(line: str) -> tuple[str, bytes, bytes]:
    """(name, key id, public key)"""
    prefix, kind, name, identity, material = line.split("+", 4)
    demand((prefix, kind) == ("PRIVATE", "KEY"), "a key line starts with PRIVATE+KEY")
    raw = base64.b64decode(material, validate=True)
    demand(raw[0] == 1 and len(raw) == 33, "a key is an Ed25519 seed")
    return name, bytes.fromhex(identity), bytes(SigningKey(raw[1:]).verify_key)


def read_keys(place: Path) -> Keys:
    """A key directory."""
    store = json.loads((place / "store.json").read_text())
    demand(store["format"] == 0, "the key directory has another format")
    public = {}
    for file, expected in (("log.key", f"aegis/{store['store_id']}"), ("enrolment.key", "aegis/enrolment")):
        name, identity, key = _key_line((place / file).read_text().removesuffix("\n"))
        demand(name == expected and identity == key_id(name, key), f"{file} is not the key that it says")
        public[file] = key
    agents = {}
    for path in (place / "agents").glob("*.key"):
        line, rest = path.read_text().split("\n", 1)
        name = json.loads(rest)
        if isinstance(name, dict):
            name = bytes.fromhex(name["utf8"]).decode("utf-8", "surrogatepass")
        in_line, identity, key = _key_line(line)
        place_name = blake3(name.encode("utf-8", "surrogatepass")).hexdigest(length=16)
        demand(in_line in (name, place_name), "the name in an agent's key line")
        demand(identity == key_id(name, key), "an agent's key is not the one that it says")
        demand(path.name == f"{place_name}.key", "an agent's key has another's place")
        agents[name] = key
    heads = {
        tier: (head["size"], bytes.fromhex(head["root"]))
        for tier, head in json.loads((place / "heads.json").read_text()).items()
    }
    return Keys(
        store_id=bytes.fromhex(store["store_id"]),
        name=store["name"],
        secret=(place / "secret").read_bytes(),
        log=public["log.key"],
        enrolment=public["enrolment.key"],
        agents=agents,
        heads=heads,
    )


# ---- manifest ---------------------------------------------------------------------------------------------------------------


@dataclass
class Listed:
    """A segment as the manifest names it."""

    number: int
    generation: int
    first: int


@dataclass
class ListedTier:
    size: int
    root: bytes
    swept: int
    segments: list[Listed]


@dataclass
class Manifest:
    store_id: bytes
    generation: int
    epoch: int
    alignment: int
    segment_bytes: int
    name: str
    meta: dict[str, Any]
    tiers: dict[int, ListedTier]


def read_manifest(data: bytes, secret: bytes) -> Manifest:
    """A manifest's file: two identical copies."""
    half = len(data) // 2
    demand(len(data) % 1024 == 0 and data[:half] == data[half:], "the manifest is not two identical copies")
    length = struct.unpack_from("<I", data, 12)[0]
    demand(half - length < 512 and not any(data[length:half]), "a copy is padded with zeros to a multiple of 512")
    return read_copy(data[:length], secret)


def read_copy(copy: bytes, secret: bytes) -> Manifest:
    """One copy of a manifest, without its padding."""
    magic, version, length, store_id, generation, epoch, flags, alignment, segment_bytes, name, meta, tiers = (
        struct.unpack_from("<8sII16sQQIIQHHI", copy)
    )
    demand(magic == b"AEGISMAN" and version == 0 and flags == 0 and length == len(copy), "not a manifest of version 0")
    code, crc, _ = struct.unpack_from("<32sII", copy, length - 40)
    demand(crc == crc32c(copy[: length - 8]), "the manifest's checksum")
    message = hashlib.sha256(b"M" + copy[: length - 40]).digest()
    demand(hmac.digest(secret, message, "sha256") == code, "the manifest's code")
    names = copy[72 : 72 + name + meta]
    at = 72 + (name + meta + 7) // 8 * 8
    found: dict[int, ListedTier] = {}
    for _ in range(tiers):
        tier, count, size, root, swept = struct.unpack_from("<IIQ32sQ", copy, at)
        at += 56
        listed = [Listed(*struct.unpack_from("<QQQ", copy, at + 24 * each)) for each in range(count)]
        at += 24 * count
        demand(tier > max(found, default=0) and listed[0].first == 0, "tiers and segments ascend")
        demand(swept <= size and listed[-1].number >> 32 == 0, "what is swept, and an active segment that is an original")
        found[tier] = ListedTier(size, root, swept, listed)
    demand(at == length - 40, "the manifest's length")
    return Manifest(
        store_id,
        generation,
        epoch,
        alignment,
        segment_bytes,
        names[:name].decode(),
        msgspec.msgpack.decode(names[name:]),
        found,
    )


# ---- segments ---------------------------------------------------------------------------------------------------------------


def file_of(number: int) -> str:
    """The name of a segment's file: its place, and how often it was rewritten if it was."""
    place, rewrites = number & 0xFFFFFFFF, number >> 32
    return f"{place:08x}-{rewrites:08x}.seg" if rewrites else f"{place:08x}.seg"


@dataclass
class Header:
    tier: int
    store_id: bytes
    number: int
    generation: int
    nonce: bytes
    alignment: int


def read_header(data: bytes) -> Header:
    """The first 512 bytes of a segment."""
    magic, version, tier, store_id, number, generation, nonce, alignment = struct.unpack_from("<8sII16sQQ16sI", data)
    demand(magic == b"AEGISSEG" and version == 0, "not a segment of version 0")
    demand(struct.unpack_from("<I", data, 508)[0] == crc32c(data[:508]), "the checksum of a segment's header")
    return Header(tier, store_id, number, generation, nonce, alignment)


@dataclass
class Slot:
    sequence: int
    size: int
    offset: int
    root: bytes
    end: bool


def read_slot(data: bytes, at: int, nonce: bytes, secret: bytes) -> Slot | None:
    """The watermark slot in the 96 bytes at offset `at` of a segment; None if there is none."""
    magic, sequence, size, offset, root, flags, crc, code = struct.unpack_from("<8sQQQ32sII16s", data)
    if magic != b"AEGISWMK":
        return None
    demand(crc == crc32c(data[:68]), "the checksum of a watermark slot")
    demand(code == mac(secret, b"W" + nonce + struct.pack("<Q", at) + data[:68]), "the code of a watermark slot")
    return Slot(sequence, size, offset, root, bool(flags & 1))


@dataclass
class Frame:
    offset: int
    kind: int
    last: bool
    cause: int | None
    index: int
    watermark: int
    entry: bytes
    payload: bytes
    end: int


def read_frame(data: bytes, at: int, header: Header, secret: bytes | None) -> Frame:
    """The frame at offset `at` of a segment's bytes; with `secret` its link is checked, as in an active segment."""
    magic, kind, flags, entry_length, payload_length, body, index, watermark, link = struct.unpack_from(
        "<4sBBHIIQQ16s", data, at
    )
    demand(magic == b"AFR0", "the magic of a frame")
    demand(entry_length >= 1 and payload_length <= 16777216, "the lengths of a frame")
    used = at + 48 + entry_length + payload_length
    end = (used + 7) // 8 * 8
    demand(end <= len(data) and not any(data[used:end]), "the padding of a frame")
    entry, payload = data[at + 48 : at + 48 + entry_length], data[at + 48 + entry_length : used]
    checked = header.store_id + struct.pack("<IBHI", header.tier, kind, entry_length, payload_length)
    demand(body == crc32c(checked + entry + payload + struct.pack("<QB", index, flags)), "the body checksum of a frame")
    demand(watermark <= index, "the watermark of a frame")
    demand(flags & ~3 == 0, "the flags of a frame")
    cause = None
    if flags & 2:
        demand(header.number >> 32 != 0, "stubs stand in rewritten segments only")
        demand(payload_length == 8 and struct.unpack("<Q", payload)[0] > index, "the cause of a stub")
        cause = struct.unpack("<Q", payload)[0]
    if secret is not None:
        message = b"L" + header.nonce + struct.pack("<QQQ", at, index, watermark) + leaf_hash(entry) + struct.pack("<I", body)
        demand(link == mac(secret, message), "the link of a frame")
    return Frame(at, kind, bool(flags & 1), cause, index, watermark, entry, payload, end)


def remains(data: bytes, at: int, index: int, header: Header, secret: bytes) -> bytes | None:
    """The leaf hash of the damaged record `index` at offset `at`, by the reading that its link holds for; None: by none."""
    entry_length, _, body, _, watermark, link = struct.unpack_from("<HIIQQ16s", data, at + 6)
    entry = data[at + 48 : at + 48 + entry_length]

    def apart(entry: bytes, watermark: int, body: int) -> int:
        place = struct.pack("<QQQ", at, index, watermark)
        made = mac(secret, b"L" + header.nonce + place + leaf_hash(entry) + struct.pack("<I", body))
        return (int.from_bytes(made) ^ int.from_bytes(link)).bit_count()

    def turned() -> Iterator[tuple[bytes, int, int]]:
        yield from ((entry, watermark ^ 1 << bit, body) for bit in range(64))
        yield from ((entry, watermark, body ^ 1 << bit) for bit in range(32))
        yield from ((data[at + 48 : at + 48 + (entry_length ^ 1 << bit)], watermark, body) for bit in range(16))
        whole = int.from_bytes(entry)
        yield from (((whole ^ 1 << bit).to_bytes(len(entry)), watermark, body) for bit in range(8 * len(entry)))

    if apart(entry, watermark, body) <= 1:
        return leaf_hash(entry)
    return next((leaf_hash(reading[0]) for reading in turned() if apart(*reading) == 0), None)


@dataclass
class Footer:
    first: int
    count: int
    frames_end: int
    root: bytes
    frames_sha256: bytes
    signature: bytes | None


def read_footer(data: bytes, header: Header, secret: bytes) -> Footer | None:
    """The footer at the end of a segment's bytes; None if there is none."""
    fixed = data[-256:]
    magic, version, tier, store_id, number, generation, first, count, end, table_crc = struct.unpack_from(
        "<8sII16sQQQQQI", fixed
    )
    if magic != b"AEGISFTR":
        return None
    demand(version == 0, "a footer of another version")
    place = header.tier, header.store_id, header.number, header.generation
    demand((tier, store_id, number, generation) == place, "a footer's place")
    demand(struct.unpack_from("<I", fixed, 252)[0] == crc32c(fixed[:144]), "the checksum of a footer")
    demand(fixed[208:224] == mac(secret, b"F" + fixed[:144]), "the code of a footer")
    total = first + count
    frontier = [data[at : at + 32] for at in range(end + 4 * count, len(data) - 256, 32)]
    demand(count >= 1 and len(frontier) == total.bit_count(), "the frontier of a footer")
    demand(table_crc == crc32c(data[end:-256]), "the checksum of a footer's table")
    root = frontier[-1]
    for left in frontier[-2::-1]:
        root = node_hash(left, root)
    demand(root == fixed[80:112], "the frontier gives the root")
    demand(fixed[112:144] == hashlib.sha256(data[FRAMES:end]).digest(), "the digest of a segment's frames")
    signature = fixed[144:208]
    return Footer(first, count, end, root, fixed[112:144], signature if any(signature) else None)


# ---- logs -------------------------------------------------------------------------------------------------------------------


@dataclass
class Log:
    """A tier: its frames in order, and what its segments say."""

    frames: list[Frame] = field(default_factory=list)
    footers: list[Footer | None] = field(default_factory=list)
    slots: list[Slot | None] = field(default_factory=list)

    @property
    def leaves(self) -> list[bytes]:
        return [leaf_hash(frame.entry) for frame in self.frames]


def read_log(place: Path, tier: str, manifest: Manifest, keys: Keys) -> Log:
    """All segments of a tier of a store that nobody has open."""
    log, listed = Log(), manifest.tiers[TIERS[tier]]
    for position, segment in enumerate(listed.segments):
        active = position == len(listed.segments) - 1
        data = (place / tier / file_of(segment.number)).read_bytes()
        header = read_header(data)
        expected = (TIERS[tier], manifest.store_id, segment.number, segment.generation, manifest.alignment)
        place_of = header.tier, header.store_id, header.number, header.generation, header.alignment
        demand(place_of == expected, "a segment's place")
        demand(segment.first == len(log.frames), "a segment starts where the one before it ends")
        footer = None if active else read_footer(data, header, keys.secret)
        end, secret = (footer.frames_end, None) if footer else (len(data), keys.secret)
        if segment.number >> 32:
            secret = None  # its links were made for other places
        found = read_groups(data, header, len(log.frames), end, secret)
        log.frames += found
        log.footers.append(footer)
        slots = [read_slot(data[at : at + 96], at, header.nonce, keys.secret) for at in SLOTS]
        slot = max((each for each in slots if each), key=lambda each: each.sequence, default=None)
        log.slots.append(slot)
        if footer:
            check_footer(data, footer, found, log, keys)
        elif not active:
            demand(listed.segments[position + 1].first == len(log.frames), "a full segment holds all up to the next")
        else:
            demand(not any(data[found[-1].end if found else FRAMES :]), "an active segment is zero past its frames")
            if slot:
                demand(slot.size <= len(log.frames), "a watermark is not above the log")
                demand(slot.root == root_of(log.leaves[: slot.size]), "the root in a watermark slot")
                demand(not slot.end or slot.size == len(log.frames), "nothing follows an end mark")
    for frame in log.frames:
        demand(frame.cause is None or frame.cause < len(log.frames), "the cause of a stub is in the log")
    demand(listed.size <= len(log.frames) and listed.root == root_of(log.leaves[: listed.size]), "the head in the manifest")
    return log


def check_footer(data: bytes, footer: Footer, found: list[Frame], log: Log, keys: Keys) -> None:
    demand((footer.first, footer.count) == (found[0].index, len(found)), "what a footer says of its frames")
    offsets = struct.unpack_from(f"<{footer.count}I", data, footer.frames_end)
    demand([8 * each for each in offsets] == [frame.offset for frame in found], "the offset table of a footer")
    demand(footer.root == root_of(log.leaves), "the root in a footer")
    if footer.signature is not None:
        message = b"aegis-store/v0/footer\n" + data[-256:-112]
        demand(signed_by(keys.log, message, footer.signature), "the signature of a footer")


def read_groups(data: bytes, header: Header, first: int, end: int, secret: bytes | None) -> list[Frame]:
    """The frames of whole groups."""
    found: list[Frame] = []
    whole, at = 0, FRAMES
    while at + 48 <= end and data[at : at + 4] == b"AFR0":
        frame = read_frame(data, at, header, secret)
        demand(frame.index == first + len(found), "frames have consecutive indexes")
        found.append(frame)
        at = frame.end
        if frame.last:
            whole = len(found)
            at = (at + header.alignment - 1) // header.alignment * header.alignment
    return found[:whole]


# ---- the rest ---------------------------------------------------------------------------------------------------------------


def read_tiles(place: Path, leaves: list[bytes]) -> int:
    """Checks the full tiles of a tier against its leaves; how many there are."""
    count = 0
    for path in sorted(each for each in (place / "tiles").rglob("*") if each.is_file() and ".p" not in str(each)):
        level, *groups = path.relative_to(place / "tiles").parts
        number = int("".join(group.removeprefix("x") for group in groups))
        width = 256 ** int(level)
        hashes = [root_of(leaves[at : at + width]) for at in range(number * 256 * width, (number + 1) * 256 * width, width)]
        demand(path.read_bytes() == b"".join(hashes), "the hashes of a tile")
        count += 1
    return count


def read_lock(data: bytes) -> tuple[bool, dict[int, int], str]:
    """(poisoned, durable sizes, holder) of the file LOCK."""
    demand(data[:8] == b"AEGISLCK" and len(data) == 256, "not a lock file")
    sizes = {}
    for tier in range(1, 5):
        size, inverted = struct.unpack_from("<QQ", data, 16 * tier)
        demand(size ^ inverted == 2**64 - 1, "a size in the lock file")
        sizes[tier] = size
    return data[8:16] == b"POISONED", sizes, data[80:].split(b"\0")[0].decode()


def read_note(note: bytes, log_key: bytes) -> tuple[str, int, bytes]:
    """(origin, size, root) of a signed tree head."""
    text, _, signatures = note.decode().rpartition("\n\n")
    text += "\n"
    origin, size, root = text.split("\n")[:3]
    mark, name, blob = signatures.removesuffix("\n").split(" ")
    raw = base64.b64decode(blob, validate=True)
    demand((mark, name) == ("—", origin) and raw[:4] == key_id(origin, log_key), "who signed a head")
    demand(signed_by(log_key, text.encode(), raw[4:]), "the signature of a head")
    return origin, int(size), base64.b64decode(root, validate=True)
