"""The envelope of a checkpoint: everything that was handed to `checkpoint()`.

    ["checkpoint", 0, position, claims, memory_pointer, approvals, last_tool_call, metadata, request_id, state]

Each may be nil. memory_pointer is [index, root]; of a memory without a record, index -1 and the root of the empty tree.
Source: FORMAT.md, Envelopes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from aegis_store.codec import canonical
from aegis_store.codec.canonical import decode_envelope, encode_envelope
from aegis_store.codec.registry import NO_TYPES, StateTypes
from aegis_store.errors import Corrupt, InvalidArgument
from aegis_store.types import HASH_SIZE, LogIndex, MemoryPointer

SCHEMA: Final = "checkpoint"
VERSION: Final = 0

NAMES: Final = (
    "schema",
    "version",
    "position",
    "claims",
    "memory_pointer",
    "approvals",
    "last_tool_call",
    "metadata",
    "request_id",
    "state",
)
_INDEX_MAX: Final = 2**64 - 1
#: Of a pointer to a memory without a record.
_INDEX_MIN: Final = -1
_fields: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_position: Final = msgspec.msgpack.Decoder(str)


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent saved. Fields typed `object` hold any value that `codec.canonical` stores."""

    position: object = None
    claims: object = None
    memory_pointer: MemoryPointer | None = None
    approvals: object = None
    last_tool_call: object = None
    metadata: object = None
    request_id: str | None = None
    state: object = None


def encode(checkpoint: Checkpoint, *, types: StateTypes = NO_TYPES) -> bytes:
    """The envelope. StateTypeError names what cannot be stored, as in `state["messages"][3]` or `metadata["user"]`."""
    pointer = checkpoint.memory_pointer
    request_id = checkpoint.request_id
    if request_id is not None and type(request_id) is not str:
        raise InvalidArgument(f"request_id is of type {type(request_id).__name__}, not str", op="encode")
    return encode_envelope(
        [
            SCHEMA,
            VERSION,
            checkpoint.position,
            checkpoint.claims,
            None if pointer is None else _pointer_to_wire(pointer),
            checkpoint.approvals,
            checkpoint.last_tool_call,
            checkpoint.metadata,
            request_id,
            checkpoint.state,
        ],
        NAMES,
        types=types,
    )


def encode_plain(position: str, metadata: dict[str, object], request_id: str, pieces: Sequence[bytes]) -> bytes:
    """The envelope of a checkpoint whose state is bytes, in pieces, for whoever has made all of it of plain values: see
    `codec.canonical.encode_plain`."""
    return canonical.encode_plain([SCHEMA, VERSION, position, None, None, None, None, metadata, request_id], pieces)


def position_of(data: bytes) -> str | None:
    """The position in the envelope of a checkpoint that the entry commits to, where that is a str, without a look at the
    rest."""
    try:
        found: str = _position.decode(_fields.decode(data)[NAMES.index("position")])
        return found
    except (msgspec.ValidationError, UnicodeDecodeError):
        return None
    except (msgspec.DecodeError, IndexError, RecursionError) as error:
        raise Corrupt(f"a checkpoint's envelope has no position: {error}", op="decode") from None


def decode(data: bytes, *, types: StateTypes = NO_TYPES) -> Checkpoint:
    """The checkpoint in an envelope. Corrupt if it is anything else; NewerFormat if a later version wrote it; UnknownType
    if it holds a named type that is not among `types`, or that has changed too much."""
    _, _, position, claims, pointer, approvals, last_tool_call, metadata, request_id, state = decode_envelope(
        data, schema=SCHEMA, version=VERSION, names=NAMES, types=types
    )
    if request_id is not None and type(request_id) is not str:
        raise Corrupt("the request id of a checkpoint is not a str", op="decode")
    return Checkpoint(
        position=position,
        claims=claims,
        memory_pointer=None if pointer is None else _pointer_from_wire(pointer),
        approvals=approvals,
        last_tool_call=last_tool_call,
        metadata=metadata,
        request_id=request_id,
        state=state,
    )


def _pointer_to_wire(pointer: MemoryPointer) -> list[object]:
    given: object = pointer  # whatever the caller's types say
    wire: list[object] = [given.index, given.root] if isinstance(given, MemoryPointer) else []
    if not _is_pointer(wire):
        raise InvalidArgument(f"a memory pointer is a MemoryPointer: an index, and a root of {HASH_SIZE} bytes", op="encode")
    return wire


def _pointer_from_wire(wire: object) -> MemoryPointer:
    if type(wire) is not list or not _is_pointer(wire):
        raise Corrupt(f"the memory pointer of a checkpoint is not an index and a root of {HASH_SIZE} bytes", op="decode")
    return MemoryPointer(index=LogIndex(wire[0]), root=wire[1])


def _is_pointer(wire: list[object]) -> bool:
    if len(wire) != 2:
        return False
    index, root = wire
    return type(index) is int and _INDEX_MIN <= index <= _INDEX_MAX and type(root) is bytes and len(root) == HASH_SIZE
