"""What `aegis export` writes and `aegis import` reads: JSON lines, one a record, in the order of the log.

    {"kind":"export","format":1,"store_id":"…","name":"…","records":123,"root":"…"}           first, once
    {"kind":"begin","index":1,"time":"…Z","leaf":"…","session":"a","agent":"planner","role":null,"forked_from":null}
    {"kind":"checkpoint","index":2,"time":"…Z","leaf":"…","session":"a","ordinal":0,"agent":"planner","state":{…},"position":…,
     "claims":…,"memory_pointer":…,"approvals":…,"last_tool_call":…,"metadata":…,"request_id":…}
    {"kind":"end","index":9,"time":"…Z","leaf":"…","session":"a","agent":"planner","reason":null}
    {"kind":"gone","index":6,"session":"a","ordinal":4,"why":"…"}                              what was pruned or erased before
    {"kind":"lost","index":7,"session":"a","ordinal":5,"problem":"…"}                          what could not be read

A fork's begin has `forked_from`: {"session":"a","ordinal":3}; what it inherited stands in the lines of the other session.
Values that JSON lacks are written as `codec.tagged` says. Root and leaves are of the store that was exported, in hexadecimal:
whoever has a head of that store can tell by them where a line comes from.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from aegis_store.codec.registry import NO_TYPES, StateTypes
from aegis_store.codec.tagged import dumps, loads
from aegis_store.errors import InvalidArgument, NewerFormat

FORMAT: Final = 1


class Export(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="export"):
    """What was exported."""

    format: int
    store_id: str
    name: str
    records: int
    root: str


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint of a session."""

    session: str
    ordinal: int


class _Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    index: int
    time: str
    leaf: str
    session: str
    agent: str


class Begin(_Record, frozen=True, kw_only=True, tag="begin"):
    """A session begins."""

    role: str | None = None
    forked_from: Point | None = None


class Saved(_Record, frozen=True, kw_only=True, tag="checkpoint"):
    """A checkpoint, with all that was saved."""

    ordinal: int
    state: Any
    position: Any = None
    claims: Any = None
    memory_pointer: Any = None
    approvals: Any = None
    last_tool_call: Any = None
    metadata: Any = None
    request_id: str | None = None


class End(_Record, frozen=True, kw_only=True, tag="end"):
    """A session was ended."""

    reason: str | None = None


class Gone(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="gone"):
    """A record whose content had been pruned or erased. Of an erased session nobody knows the name."""

    index: int
    why: str
    session: str | None = None
    ordinal: int | None = None


class Lost(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", tag="lost"):
    """A record that could not be read, and what it was, as far as that can be told."""

    index: int
    problem: str
    session: str | None = None
    ordinal: int | None = None


Line = Export | Begin | Saved | End | Gone | Lost


def write(line: Line, *, types: StateTypes = NO_TYPES) -> bytes:
    """A line, with its newline. InvalidArgument for a value that has no form in JSON."""
    kind = line.__struct_config__.tag
    fields = {name: getattr(line, name) for name in line.__struct_fields__}
    if isinstance(line, Begin) and line.forked_from is not None:
        fields["forked_from"] = msgspec.structs.asdict(line.forked_from)
    return dumps({"kind": kind, **fields}, types=types) + b"\n"


def read(line: bytes, *, types: StateTypes = NO_TYPES) -> Line:
    """What a line says. InvalidArgument for anything that `write` could not have made; NewerFormat: by a later version."""
    value = loads(line, types=types)
    try:
        found: Line = msgspec.convert(value, Line)
    except msgspec.ValidationError as error:
        raise InvalidArgument(f"this is no line of an export: {error}", op="import") from None
    if isinstance(found, Export) and found.format > FORMAT:
        raise NewerFormat(
            f"an export of format {found.format}, and this package reads up to {FORMAT}",
            op="import",
            hint="use a later aegis-store: pip install --upgrade aegis-store",
        )
    return found


def kind_is(line: bytes, kind: str) -> bool:
    """Whether a line that `write` made is of a kind, without reading it."""
    return line.startswith(b'{"kind":"%s"' % kind.encode())
