"""The store that docs/FORMAT.md shows in hexadecimal: made the same way each time, and written down byte by byte.

    python -P -m pytest tests/test_format.py        compares the document with a store made now
    python -P tests/golden/small.py                 prints the section anew, where the format has changed on purpose

The clock and the dice are told what to say. What differs from run to run is the nonce that the engine draws for a segment, with
all that depends on it, and how often a watermark was written.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[2]))

import aegis_store
from tests.golden import reader
from tests.stores import Dice, Told

HEAD = "## A store in hexadecimal"
#: What depends on the nonce, or on how long the machine took.
VARIES = {"nonce", "checksum of the header", "link", "sequence", "checksum of the slot", "MAC"}


@dataclass
class Field:
    """Some bytes of a file, and what they are."""

    offset: int
    data: bytes
    meaning: str

    def lines(self) -> list[str]:
        """As the document shows them."""
        if len(self.data) > 64 and not any(self.data):
            return [f"{self.offset:8}  {f'00 … 00, {len(self.data)} bytes':47}  {self.meaning}"]
        found = []
        for at in range(0, len(self.data), 16):
            meaning = self.meaning if at == 0 else ""
            found.append(f"{self.offset + at:8}  {self.data[at : at + 16].hex(' '):47}  {meaning}".rstrip())
        return found


@dataclass
class Block:
    """A structure, field by field."""

    title: str
    fields: list[Field]

    @property
    def data(self) -> bytes:
        return b"".join(field.data for field in self.fields)


def make(place: Path) -> None:
    """The store: one agent, one session, one checkpoint."""
    clock, dice = Told(start=1_700_000_000_000), Dice("golden")
    with aegis_store.open(place, agent="planner", name="example", clock=clock, randomness=dice) as store:
        store.session("ticket-4711").checkpoint({"todo": ["call", "write"]}, position="plan/1")


def block(title: str, data: bytes, offset: int, *parts: tuple[int, str]) -> Block:
    """Bytes cut into fields of these lengths; a length of 0 is left out."""
    fields, at = [], 0
    for length, meaning in parts:
        if length:
            fields.append(Field(offset + at, data[at : at + length], meaning))
        at += length
    if at != len(data):
        raise ValueError(f"{title}: {len(data)} bytes and {at} described")
    return Block(title, fields)


def blocks(place: Path) -> list[Block]:
    """The structures that the document shows."""
    keys = reader.read_keys(place.with_name(place.name + ".keys"))
    data = (place / "MANIFEST").read_bytes()
    copy = data[: int.from_bytes(data[12:16], "little")]
    names = int.from_bytes(copy[64:66], "little"), int.from_bytes(copy[66:68], "little")
    manifest = block(
        "MANIFEST, a copy", copy, 0, (8, "magic"), (4, "format version"), (4, "length of the copy"), (16, "store id"),
        (8, "generation"), (8, "shipping epoch"), (4, "flags"), (4, "alignment"), (8, "segment size"),
        (2, "length of the name"), (2, "length of the meta block"), (4, "count of tiers"), (names[0], "name"),
        (names[1], "meta block"), (-sum(names) % 8, "zeros"), (4, "tier"), (4, "count of segments"), (8, "size"),
        (32, "root"), (8, "swept"), (8, "segment: number"), (8, "segment: generation"), (8, "segment: first index"),
        (32, "HMAC"), (4, "checksum"), (4, "reserved"),
    )  # fmt: skip
    file = (place / "session" / "00000000.seg").read_bytes()
    header = block(
        "session/00000000.seg, its header", file[:512], 0, (8, "magic"), (4, "format version"), (4, "tier"), (16, "store id"),
        (8, "number"), (8, "generation"), (16, "nonce"), (4, "alignment"), (440, "reserved"), (4, "checksum of the header"),
    )  # fmt: skip
    nonce = reader.read_header(file).nonce
    slots = {at: reader.read_slot(file[at : at + 96], at, nonce, keys.secret) for at in reader.SLOTS}
    at = max((at for at in slots if slots[at]), key=lambda at: slots[at].sequence)
    slot = block(
        "session/00000000.seg, a watermark slot", file[at : at + 96], at, (8, "magic"), (8, "sequence"), (8, "size"),
        (8, "offset"), (32, "root"), (4, "flags: end mark"), (4, "checksum of the slot"), (16, "MAC"), (8, "reserved"),
    )  # fmt: skip
    last = reader.read_groups(file, reader.read_header(file), 0, len(file), keys.secret)[-1]
    frame = block(
        "session/00000000.seg, the frame of record 2", file[last.offset : last.end], last.offset,
        (4, "magic"), (1, "kind: checkpoint"), (1, "flags: last of its group"), (2, "length of the entry"),
        (4, "length of the payload"), (4, "body checksum"), (8, "index"), (8, "watermark"), (16, "link"),
        (1, "entry: version"), (1, "kind"), (1, "tier"), (1, "flags"), (4, "writer epoch"), (16, "session tag"), (4, "ordinal"),
        (6, "time in ms"), (6, "index of the parent"), (32, "leaf hash of the parent"), (32, "commitment"),
        (4, "length of the envelope"), (4, "key id"), (64, "signature"),
        (1, "payload: codec"), (1, "flags"), (16, "salt"), (len(last.payload) - 18, "envelope"),
        (last.end - last.offset - 48 - 176 - len(last.payload), "zeros"),
    )  # fmt: skip
    return [manifest, header, slot, frame]


def facts(place: Path) -> dict[str, bytes]:
    """What is needed to check the structures, and what comes out."""
    keys = reader.read_keys(place.with_name(place.name + ".keys"))
    manifest = reader.read_manifest((place / "MANIFEST").read_bytes(), keys.secret)
    leaves = reader.read_log(place, "session", manifest, keys).leaves
    return {
        "store id": keys.store_id,
        "store secret": keys.secret,
        "public log key": keys.log,
        "public enrolment key": keys.enrolment,
        "public key of agent planner": keys.agents["planner"],
        "leaf hash of record 0, a key-add": leaves[0],
        "leaf hash of record 1, a session-begin": leaves[1],
        "leaf hash of record 2, the checkpoint": leaves[2],
        "root of the three": reader.root_of(leaves),
    }


def section(place: Path) -> str:
    """The section of docs/FORMAT.md, from its heading on."""
    text = [
        HEAD,
        "",
        "A store `example` in which agent `planner` has saved one checkpoint of session `ticket-4711`: the state",
        '`{"todo": ["call", "write"]}` at position `"plan/1"`. It has three records: the agent\'s key, the beginning of the',
        "session, the checkpoint. Left: the offset in the file, in decimal. tests/test_format.py decodes what stands here with",
        "a reader that was written from this page alone, and compares it with a store that is made anew",
        "(tests/golden/small.py prints this section).",
        "",
        "```",
        *(f"{name:38}  {value.hex()}" for name, value in facts(place).items()),
        "```",
    ]
    for each in blocks(place):
        text += ["", f"### {each.title}", "", "```", *(line for field in each.fields for line in field.lines()), "```"]
    return "\n".join(text) + "\n"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder, "example"))
        sys.stdout.write(section(Path(folder, "example")))


if __name__ == "__main__":
    main()
