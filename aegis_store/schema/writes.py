"""The envelopes of writes: what tasks have done towards the next checkpoint, kept so that it need not be done again.

    ["writes", 0, request id, part, parts, body (bin)]
    body: [task, path, [[place, channel, type, value (bin)] ...]]

They belong to the checkpoint that was made by the request of that id, and may come before it. A body that is too long for one
record is cut into `parts` of PART_BYTES, which follow each other in their session; without all of them it says nothing. Values
are what a serializer of the caller's made of type `type`: nothing here looks into them. Source: FORMAT.md, Envelopes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from aegis_store.codec.canonical import decode, decode_envelope, encode_plain, name_from_wire, name_to_wire
from aegis_store.errors import Corrupt, InvalidArgument

SCHEMA: Final = "writes"
VERSION: Final = 0
#: Of a body, what one record holds.
PART_BYTES: Final = 8 << 20

_NAMES: Final = ("schema", "version", "request_id", "part", "parts", "body")
_PLACES: Final = range(-(1 << 31), 1 << 31)


class Write(msgspec.Struct, frozen=True, gc=False):
    """A value for a channel. `place` is its place among those of its task; of `type` is what `value` is encoded in."""

    place: int
    channel: str
    type: str
    value: bytes


class Writes(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one task wrote at once. `path` is the task's own, by which the writes of many are put in order."""

    request_id: str
    task: str
    path: str
    writes: tuple[Write, ...]


class Part(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What one record holds of a body: the one of that number, from 0, of so many."""

    request_id: str
    part: int
    parts: int
    body: bytes


def parts_of(writes: Writes) -> list[Part]:
    """What is to be written, in that order. InvalidArgument for a name that is no str, a place that is no int or a value that
    is no bytes."""
    rows: list[object] = []
    for each in writes.writes:
        if type(each.place) is not int or each.place not in _PLACES or type(each.value) is not bytes:
            raise InvalidArgument(f"a write to channel {each.channel!r} has no place, or no bytes for a value", op="encode")
        rows.append([each.place, name_to_wire(each.channel, what="channel"), name_to_wire(each.type, what="type"), each.value])
    body = encode_plain([name_to_wire(writes.task, what="task"), name_to_wire(writes.path, what="path"), rows])
    if len(body) <= PART_BYTES:
        return [Part(request_id=writes.request_id, part=0, parts=1, body=body)]
    pieces = [body[at : at + PART_BYTES] for at in range(0, len(body), PART_BYTES)]
    return [Part(request_id=writes.request_id, part=part, parts=len(pieces), body=piece) for part, piece in enumerate(pieces)]


def encode_part(part: Part) -> bytes:
    """The envelope of a writes record."""
    request_id = name_to_wire(part.request_id, what="request id")
    return encode_plain([SCHEMA, VERSION, request_id, part.part, part.parts], (part.body,))


def decode_part(data: bytes) -> Part:
    """What one envelope holds. Corrupt if it is anything else; NewerFormat if a later version wrote it."""
    _, _, request_id, part, parts, body = decode_envelope(data, schema=SCHEMA, version=VERSION, names=_NAMES)
    if type(part) is not int or type(parts) is not int or not 0 <= part < parts or type(body) is not bytes:
        raise Corrupt("writes do not say which part of them they are", op="decode")
    return Part(request_id=name_from_wire(request_id, what="request id"), part=part, parts=parts, body=body)


def joined(parts: Iterable[Part]) -> Iterator[Writes]:
    """The writes whose parts come by, in order. Those that were cut short, by the end of their process, are left out."""
    held: list[Part] = []
    for each in parts:
        if each.part != len(held) or (held and held[0].parts != each.parts):
            held = []
            if each.part != 0:
                continue
        held.append(each)
        if len(held) == each.parts:
            yield _writes(each.request_id, b"".join(part.body for part in held))
            held = []


def _writes(request_id: str, body: bytes) -> Writes:
    fields = decode(body)
    if type(fields) is not list or len(fields) != 3 or type(fields[2]) is not list:
        raise Corrupt("writes are not a task, a path and what was written", op="decode")
    task, path, rows = fields
    return Writes(
        request_id=request_id,
        task=name_from_wire(task, what="task"),
        path=name_from_wire(path, what="path"),
        writes=tuple(_write(row) for row in rows),
    )


def _write(row: Sequence[object]) -> Write:
    if type(row) is not list or len(row) != 4:
        raise Corrupt("a write is not a place, a channel, a type and a value", op="decode")
    place, channel, kind, value = row
    if type(place) is not int or place not in _PLACES or type(value) is not bytes:
        raise Corrupt("a write has no place, or no value", op="decode")
    return Write(place, name_from_wire(channel, what="channel"), name_from_wire(kind, what="type"), value)
