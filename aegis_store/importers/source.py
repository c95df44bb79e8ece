"""What the databases of LangGraph's own savers have in common, whichever keeps them.

A source says which lines it has (a thread in one namespace), which checkpoints a line has, and gives each of them as the row
that our saver stores, with the writes that wait beside it. Values stay the bytes that they are: nothing is unpickled, and no
class is looked up. What cannot be taken so is Unfit, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import CheckpointTuple
from langgraph.checkpoint.serde.base import SerializerProtocol

from aegis_store.adapters.langgraph.names import Line
from aegis_store.adapters.langgraph.rows import Row, Typed
from aegis_store.schema.writes import Write, Writes

#: In what values may be encoded. Anything else is somebody's own serializer, and only that one could say what it is.
TAKEN: Final = frozenset({"null", "bytes", "bytearray", "json", "msgpack"})
#: A saver's `get_tuple`.
OwnReader = Callable[[RunnableConfig], CheckpointTuple | None]
#: Between the type of a value and the name of the cipher that it is encrypted with.
_CIPHER: Final = "+"


class Unfit(Exception):
    """A row that is not taken. `channel`, `task`: which of a checkpoint's it is, where it is one of them."""

    def __init__(self, why: str, *, channel: str | None = None, task: str | None = None) -> None:
        super().__init__(why)
        self.why: Final = why
        self.channel: Final = channel
        self.task: Final = task


class Step(NamedTuple):
    """A checkpoint as a source lists it: by its id, with that of its parent."""

    id: str
    parent: str | None


class Size(msgspec.Struct, frozen=True, kw_only=True):
    """How much a source holds, or the wanted threads of it. `writes` are rows; `bytes` those of values, without indexes."""

    checkpoints: int = 0
    writes: int = 0
    bytes: int = 0


class Source(Protocol):
    """A database that one of LangGraph's savers wrote, open for reading, as it was when it was opened."""

    @property
    def name(self) -> str:
        """What it is called in messages; no password is in it."""
        ...

    def size(self, threads: Sequence[str]) -> Size | None:
        """How much there is of these threads, of all if none is named; None where damage hides it."""
        ...

    def lines(self, threads: Sequence[str]) -> Iterator[Line | Unfit]:
        """The lines that have a checkpoint or a write."""
        ...

    def steps(self, line: Line) -> list[Step | Unfit]:
        """The checkpoints of a line, in no order that means something."""
        ...

    def row(self, line: Line, step: Step) -> Row:
        """One of them. Unfit."""
        ...

    def awaited(self, line: Line) -> list[str]:
        """Ids of checkpoints that writes belong to, whether they are there or not."""
        ...

    def writes(self, line: Line, checkpoint_id: str) -> tuple[list[Writes], list[Unfit]]:
        """What tasks wrote towards the successor of a checkpoint, a task each, in LangGraph's order; and what is not taken."""
        ...

    def own_reader(self, serde: SerializerProtocol) -> OwnReader | None:
        """`get_tuple` of the saver that wrote it, for the same moment; None: its package is not here."""
        ...

    def demand_unchanged(self) -> None:
        """SourceUnreadable if what was read may have changed meanwhile."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


def demand_taken(kind: str, *, channel: str | None = None, task: str | None = None) -> None:
    """Unfit for a value of a type that would run what it holds, or that nobody here can read."""
    if kind in TAKEN:
        return
    if kind == "pickle":
        why = "it is pickled, and nothing is unpickled"
    elif _CIPHER in kind:
        why = f"it is encrypted ({kind})"
    else:
        why = f"it is of a type that is not known ({kind})"
    raise Unfit(why, channel=channel, task=task)


def demand_whole(typed: Typed, *, channel: str | None = None, task: str | None = None) -> None:
    """Unfit for a value of a type that is not taken, or bytes that are not of the type that they are said to be."""
    kind, _ = typed
    demand_taken(kind, channel=channel, task=task)
    if kind in {"json", "msgpack"}:
        outlined(msgspec.Raw, typed, channel=channel, task=task)


def outlined(shape: Any, typed: Typed, *, channel: str | None = None, task: str | None = None) -> Any:
    """A value to the depth of `shape`, and what lies below it as bytes. Unfit: it has another shape, or is damaged."""
    kind, data = typed
    read: Callable[..., Any] = msgspec.json.decode if kind == "json" else msgspec.msgpack.decode
    try:
        return read(data, type=shape)
    # Damage in the key of a map comes as a TypeError.
    except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
        raise Unfit(f"it is damaged: {error}", channel=channel, task=task) from None


def split(typed: Typed) -> tuple[Typed, dict[str, Typed], dict[str, Any]]:
    """A checkpoint in one piece, as its channels and the rest, byte for byte; and of the rest, what is plain: id and version.

    Only the two maps around the values are looked into. Unfit: it is none, or it is damaged.
    """
    kind, _ = typed
    demand_taken(kind)
    if kind not in {"json", "msgpack"}:
        raise Unfit(f"it is no checkpoint but {kind}")
    rest: dict[str, Any] = outlined(dict[str, msgspec.Raw], typed)
    held = rest.pop("channel_values", None)
    channels = {} if held is None else outlined(dict[str, msgspec.Raw], (kind, bytes(held)), channel="channel_values")
    write = msgspec.json.encode if kind == "json" else msgspec.msgpack.encode
    plain: dict[str, Any] = {name: outlined(Any, (kind, bytes(rest[name]))) for name in ("id", "v") if name in rest}
    return (kind, write(rest)), {name: (kind, bytes(value)) for name, value in channels.items()}, plain


def demand_id(said: object, checkpoint_id: str) -> None:
    """Unfit for a checkpoint that says that it is another one: it was moved, or is none."""
    if said != checkpoint_id:
        raise Unfit(f"it says that it is checkpoint {said!r}" if isinstance(said, str) else "it is no checkpoint: it has no id")


def plain_json(text: bytes | str, what: str) -> Any:
    """Any JSON as plain values, as LangGraph's savers read it. Unfit."""
    import json  # keeps integers and floats of any size, as those savers do

    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unfit(f"its {what} is damaged: {error}") from None


def grouped(rows: Sequence[tuple[str, str, int, str, str, bytes]], checkpoint_id: str) -> tuple[list[Writes], list[Unfit]]:
    """Rows of (path, task, place, channel, type, value) as what each task wrote, in LangGraph's order.

    A task of which one write is not taken is left out whole: with half of its writes it would count as done.
    """
    found: dict[tuple[str, str], list[Write]] = {}
    unfit: list[Unfit] = []
    for path, task, place, channel, kind, value in sorted(rows, key=lambda row: row[:3]):
        try:
            demand_whole((kind, value), channel=channel, task=task)
        except Unfit as error:
            unfit.append(error)
        found.setdefault((path, task), []).append(Write(place, channel, kind, value))
    spoilt = {error.task for error in unfit}
    taken = [
        Writes(request_id=checkpoint_id, task=task, path=path, writes=tuple(writes))
        for (path, task), writes in found.items()
        if task not in spoilt
    ]
    return taken, unfit


def position_of(metadata: Any) -> str | None:
    """Where a checkpoint stands, as our saver says it."""
    return f"{metadata.get('source')}/{metadata.get('step')}" if isinstance(metadata, dict) else None
