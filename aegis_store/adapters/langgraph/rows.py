"""What a checkpoint of LangGraph is in a checkpoint of the store, and back.

    request_id   LangGraph's id of it
    position     its source and step, as "loop/3"
    metadata     {"langgraph": 0, "parent": id or None, "metadata": [type, bytes], "again": True or absent}
    state        u32 length of the index | index | values, one behind the other
                 index: msgpack [[name, type, length] ...]: first the checkpoint itself, named nil, then its channels

Whatever is the caller's is in the bytes that the serializer made of it, and nobody but that serializer ever looks into them.
The values of channels stand apart from the rest, so that one that did not change need not be serialized again; and all in one
piece, since nothing is faster to put together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

import msgspec
from langgraph.checkpoint.base import Checkpoint as GraphCheckpoint
from langgraph.checkpoint.base import CheckpointMetadata
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from aegis_store.checkpoint import Checkpoint
from aegis_store.errors import Corrupt, Foreign, InvalidArgument, NewerFormat
from aegis_store.schema.writes import Writes

VERSION: Final = 0
_OVERHEAD_BYTES: Final = 512
#: Between the type of a value and the name of the cipher that it is encrypted with.
_CIPHER: Final = "+"
#: Modules whose `loads` runs what it reads.
_RUNNING: Final = frozenset({"pickle", "_pickle", "dill", "cloudpickle", "marshal"})

_LENGTH: Final = 4
_encode_index: Final = msgspec.msgpack.Encoder().encode
_decode_index: Final = msgspec.msgpack.Decoder(list[tuple[str | None, str, int]]).decode

#: What it is encoded in, and the bytes.
Typed = tuple[str, bytes]


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A checkpoint of LangGraph, serialized. `is_again`: one of that id was there before, and this one takes its place."""

    id: str
    parent: str | None
    checkpoint: Typed
    metadata: Typed
    channels: dict[str, Typed]
    is_again: bool = False
    #: Where it stands: source and step. For people and for rules of retention; not read back.
    position: str | None = None
    #: Of the channels, where they are known: a value of the same version is the same value.
    versions: Mapping[str, Any] = {}

    @property
    def size(self) -> int:
        """Bytes that it takes in memory, about."""
        size = _OVERHEAD_BYTES + len(self.checkpoint[1])
        for _, value in self.channels.values():
            size += len(value)
        return size

    def arguments(self) -> dict[str, Any]:
        """What it is for `Session.submit_plain`."""
        about: dict[str, object] = {"langgraph": VERSION, "parent": self.parent, "metadata": list(self.metadata)}
        if self.is_again:
            about["again"] = True
        return {
            "pieces": _pieces(self.checkpoint, self.channels),
            "position": self.position,
            "metadata": about,
            "request_id": self.id,
        }

    def says_the_same_as(self, other: Row) -> bool:
        """Whether nobody could tell them apart."""
        return (self.parent, self.checkpoint, self.metadata, self.channels) == (
            other.parent,
            other.checkpoint,
            other.metadata,
            other.channels,
        )


def pack(
    serde: SerializerProtocol,
    checkpoint: GraphCheckpoint,
    metadata: CheckpointMetadata,
    *,
    parent: str | None,
    new_versions: Mapping[str, object],
    before: Row | None,
) -> Row:
    """The row of a checkpoint. What is of the same version in `before`, the parent's, is taken from there."""
    versions = checkpoint["channel_versions"]
    channels: dict[str, Typed] = {}
    for name, value in checkpoint["channel_values"].items():
        known = None
        if before is not None and name not in new_versions and name in versions:
            known = before.channels.get(name) if before.versions.get(name) == versions[name] else None
        channels[name] = serde.dumps_typed(value) if known is None else known
    rest = {name: value for name, value in checkpoint.items() if name != "channel_values"}
    return Row(
        id=checkpoint["id"],
        parent=parent,
        checkpoint=serde.dumps_typed(rest),
        metadata=serde.dumps_typed(metadata),
        channels=channels,
        versions=dict(versions),
        position=f"{metadata.get('source')}/{metadata.get('step')}",
    )


def row_of(saved: Checkpoint) -> Row:
    """The row in a believed checkpoint of the store. Foreign: something else made it."""
    about, state = saved.metadata, saved.state
    try:
        version = about["langgraph"]
        if version == VERSION:
            checkpoint, channels = _parted(state)
            return Row(
                id=_text(saved.request_id),
                parent=None if about["parent"] is None else _text(about["parent"]),
                checkpoint=checkpoint,
                metadata=_typed(about["metadata"]),
                channels=channels,
                is_again=about.get("again", False) is True,
                position=saved.position if type(saved.position) is str else None,
            )
    except (TypeError, KeyError, AttributeError, ValueError, msgspec.DecodeError):
        version = None
    where = f"record {saved.ref.index} in session {saved.ref.session!r}"
    if type(version) is int and version > VERSION:
        raise NewerFormat(
            f"{where} holds a checkpoint of LangGraph in a form of a later version, {version}",
            op="read",
            hint="read it with a later aegis-store: pip install --upgrade aegis-store",
        )
    raise Foreign(
        f"{where} holds no checkpoint of LangGraph: something else wrote it",
        op="read",
        tier=saved.ref.tier.label,
        index=saved.ref.index,
    )


def _pieces(checkpoint: Typed, channels: Mapping[str, Typed]) -> list[bytes]:
    """The state of a row, which whoever packs it puts together."""
    index: list[tuple[str | None, str, int]] = [(None, checkpoint[0], len(checkpoint[1]))]
    values = [checkpoint[1]]
    for name, (kind, value) in channels.items():
        index.append((name, kind, len(value)))
        values.append(value)
    packed = _encode_index(index)
    return [len(packed).to_bytes(_LENGTH, "little"), packed, *values]


def _parted(state: object) -> tuple[Typed, dict[str, Typed]]:
    """What `_pieces` were put together to. TypeError, ValueError, DecodeError: it did not."""
    if type(state) is not bytes:
        raise TypeError
    at = _LENGTH + int.from_bytes(state[:_LENGTH], "little")
    parts: list[tuple[str | None, Typed]] = []
    for name, kind, length in _decode_index(state[_LENGTH:at]):
        if length < 0 or length > len(state) - at:
            raise ValueError
        parts.append((name, (kind, state[at : at + length])))
        at += length
    (no_name, checkpoint), *channels = parts
    if at != len(state) or no_name is not None:
        raise ValueError
    return checkpoint, {_text(name): typed for name, typed in channels}


def _text(value: object) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _typed(value: Any) -> Typed:
    kind, data = value
    if type(kind) is not str or type(data) is not bytes:
        raise TypeError
    return kind, data


def demand_harmless(serde: SerializerProtocol) -> None:
    """InvalidArgument for a serializer that would run what it reads."""
    inner: Any = serde
    while inner is not None:
        if getattr(inner, "pickle_fallback", False) is True or getattr(inner, "__name__", "") in _RUNNING:
            raise InvalidArgument(
                "the serializer unpickles what it reads, which runs whatever somebody put there",
                op="langgraph",
                hint='leave pickle_fallback out, and name your types: saver.with_allowlist([("module", "Class")])',
            )
        inner = getattr(inner, "serde", None)


class Pending(NamedTuple):
    """A write that waits for its checkpoint's successor."""

    path: str
    task: str
    place: int
    channel: str
    value: Typed


def pending_of(written: Iterable[Writes]) -> list[Pending]:
    """What tasks wrote, in the order in which LangGraph applies it: path, task, place. A channel of the runtime's own, which
    has a negative place, holds what came last; all others what came first."""
    found: dict[tuple[str, int], Pending] = {}
    for each in written:
        for write in each.writes:
            key = each.task, write.place
            if write.place < 0 or key not in found:
                found[key] = Pending(each.path, each.task, write.place, write.channel, (write.type, write.value))
    return sorted(found.values(), key=lambda each: each[:3])


class Opener:
    """Turns bytes into values again, with a serializer, and refuses those that it must not see."""

    def __init__(self, serde: SerializerProtocol) -> None:
        self.serde: Final = serde
        self._encrypts = isinstance(serde, EncryptedSerializer)

    def value(self, typed: Typed) -> Any:
        """The value. Corrupt: it is encrypted and the serializer does not decrypt, or the other way round; or it is in a form
        that the serializer does not take."""
        kind = typed[0]
        if (_CIPHER in kind) is not self._encrypts:
            raise Corrupt(
                "a value is encrypted, and the saver has no cipher"
                if not self._encrypts
                else "a value is not encrypted, and the saver takes none that is not",
                op="read",
                hint="open it with the serializer that it was written with: AegisSaver(store, serde=…)",
            )
        try:
            return self.serde.loads_typed(typed)
        except NotImplementedError:  # what LangGraph's serializer raises for a form that it does not know, or unpickles
            raise Corrupt(
                f"a value is stored as {kind!r}, which the saver does not read: nothing is unpickled",
                op="read",
                hint="open it with the serializer that it was written with: AegisSaver(store, serde=…)",
            ) from None

    def metadata(self, row: Row) -> CheckpointMetadata:
        """What was said of a checkpoint."""
        found: CheckpointMetadata = self.value(row.metadata)
        return found

    def checkpoint(self, row: Row) -> GraphCheckpoint:
        """A checkpoint with the values of its channels."""
        found = self.value(row.checkpoint)
        found["channel_values"] = {name: self.value(typed) for name, typed in row.channels.items()}
        whole: GraphCheckpoint = found
        return whole
