"""What the demo's agent works on, and what its state must be after each step.

A task is one session: a number of steps, each of which changes the state and ends in a checkpoint. Steps count from 1, and a
checkpoint's position names its step, as in "file/17". A task depends on nothing but its plan and the state, so the same steps
give the same states in any process, with a store or without one: that is what the demo compares.
"""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

import msgspec

from aegis_store.errors import InvalidArgument

State: TypeAlias = dict[str, Any]

#: Files that the agent reads at the most, and steps of recorded sessions: each is read back twice, and that takes time too.
FILES_MAX: Final = 500
STEPS_MAX: Final = 2_000
#: Of a recorded message, what goes into the state's scratchpad, in characters.
SCRATCHPAD_MAX: Final = 300
#: Below folders of these names lies no module of the standard library.
_NOT_MODULES: Final = frozenset({"site-packages", "dist-packages", "test", "tests", "__pycache__", "idle_test", "lib2to3"})
#: A zstd frame may ask for this much memory, in bytes.
_WINDOW_MAX: Final = 1 << 28


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint holds beside its state."""

    position: str
    claims: dict[str, int]
    approvals: list[str] | None = None
    last_tool_call: dict[str, Any] | None = None


class Task(Protocol):
    """One session's work."""

    steps: int

    @property
    def session(self) -> str: ...

    @property
    def source(self) -> str: ...

    def begin(self) -> State:
        """The state before the first step."""
        ...

    def advance(self, state: State, step: int) -> Context:
        """Do a step: change the state, and say what else its checkpoint holds."""
        ...


# ---- plans: what to do, small enough to be handed to another process ------------------------------------------------------


class LibraryPlan(msgspec.Struct, frozen=True, kw_only=True, tag="library"):
    """Read files, given by their paths below `root`, one a step."""

    root: str
    files: list[str]

    def tasks(self) -> list[Task]:
        return [LibraryTask(Path(self.root), self.files)]


class RecordedPlan(msgspec.Struct, frozen=True, kw_only=True, tag="recorded"):
    """Live through recorded sessions again, one message a step. `path` holds those that were chosen, a JSON line each."""

    path: str

    def tasks(self) -> list[Task]:
        decoder = msgspec.json.Decoder(Recording)
        with open(self.path, "rb") as file:
            return [RecordedTask(decoder.decode(each)) for each in file]


Plan: TypeAlias = LibraryPlan | RecordedPlan


def stdlib_plan(root: Path | None = None, *, limit: int = FILES_MAX) -> LibraryPlan:
    """The modules of the running Python's standard library, in order. InvalidArgument where they are no files."""
    top = Path(sysconfig.get_path("stdlib")) if root is None else root
    files = []
    for folder, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name not in _NOT_MODULES)
        here = Path(folder)
        files += [(here / name).relative_to(top).as_posix() for name in sorted(names) if name.endswith(".py")]
        if len(files) >= limit:
            break
    files = [name for name in files if os.access(top / name, os.R_OK)][:limit]
    if len(files) < 2:
        raise InvalidArgument(
            "the standard library of this Python is not there as files",
            op="demo",
            path=str(top),
            hint="let the agent live through recorded sessions instead: aegis demo --sessions FILE.jsonl",
        )
    return LibraryPlan(root=str(top), files=files)


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a file of recorded sessions."""

    source: str
    session_id: str
    messages: list[dict[str, Any]]


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """The same, for as long as nobody wants its messages."""

    source: str
    session_id: str
    messages: msgspec.Raw


def recorded_plan(recorded: Path, chosen: Path, *, limit: int = STEPS_MAX) -> RecordedPlan:
    """Choose sessions of a file, its sources in turn, up to `limit` messages in all, and write them to `chosen`.

    InvalidArgument names the line that is not a session.
    """
    by_source: dict[str, list[Recording]] = {}
    taken: set[str] = set()
    for recording in read_recordings(recorded, limit=limit):
        if recording.session_id not in taken and recording.messages:
            by_source.setdefault(recording.source, []).append(recording)
            taken.add(recording.session_id)
    left = limit
    with open(chosen, "wb") as file:
        for row in zip_longest(*by_source.values()):
            for recording in row:
                if recording is not None and left > 0:
                    file.write(msgspec.json.encode(recording) + b"\n")
                    left -= len(recording.messages)
    if limit - left < 2:
        raise InvalidArgument("the file holds fewer than two messages", op="demo", path=str(recorded), hint=_SHAPE)
    return RecordedPlan(path=str(chosen))


_SHAPE: Final = 'a line for each session: {"source": …, "session_id": …, "messages": [{"role": …, "content": …}, …]}'


def read_recordings(path: Path, *, limit: int) -> Iterator[Recording]:
    """The sessions in a file of JSON lines, compressed by zstd or not: of each source the first, up to `limit` messages."""
    import zstandard

    outlines, recordings = msgspec.json.Decoder(Outline), msgspec.json.Decoder(Recording)
    steps: Counter[str] = Counter()
    with open(path, "rb") as file:
        is_zstd = file.peek(4)[:4] == zstandard.FRAME_HEADER
        decompressor = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX)
        stream = decompressor.stream_reader(file, read_across_frames=True) if is_zstd else file
        number = 0
        try:
            for text in _lines(stream):
                number += 1
                if not text.strip():
                    continue
                outline = outlines.decode(text)
                if steps[outline.source] < limit:
                    recording = recordings.decode(text)
                    steps[outline.source] += len(recording.messages)
                    yield recording
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise InvalidArgument(f"line {number} is no session: {error}", op="demo", path=str(path), hint=_SHAPE) from None
        except zstandard.ZstdError as error:
            raise InvalidArgument(f"after line {number}: {error}", op="demo", path=str(path)) from None


def _lines(stream: Any) -> Iterator[bytes]:
    """Lines of a stream that can only read."""
    rest = b""
    while piece := stream.read(1 << 20):
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
    if rest:
        yield rest


# ---- the tasks ------------------------------------------------------------------------------------------------------------


class LibraryTask:
    """Read a library file by file; keep totals, notes, and the messages of an agent that does so."""

    session: Final = "read-the-library"
    source: Final = "standard library"

    def __init__(self, root: Path, files: list[str]) -> None:
        self._root = root
        self._files = files
        self.steps = len(files)

    def begin(self) -> State:
        goal = "Read every module of the library. Count lines, functions and imports; note what is longest."
        return {
            "messages": [{"role": "system", "content": goal}],
            "totals": {"files": 0, "lines": 0, "functions": 0, "imports": 0},
            "longest_line": {"file": None, "length": 0},
            "folders": {},
            "notes": [],
        }

    def advance(self, state: State, step: int) -> Context:
        file = self._files[step - 1]
        found = measure((self._root / file).read_bytes())
        folder = file.rpartition("/")[0] or "."
        totals, folders, notes = state["totals"], state["folders"], state["notes"]
        totals["files"] += 1
        for key in ("lines", "functions", "imports"):
            totals[key] += found[key]
        folders[folder] = folders.get(folder, 0) + 1
        if folders[folder] == 1:
            notes.append(f"step {step}: began with {folder}")
        if found["longest"] > state["longest_line"]["length"]:
            state["longest_line"] = {"file": file, "length": found["longest"]}
            notes.append(f"step {step}: longest line so far, {found['longest']} characters, in {file}")
        call = {"id": f"call_{step}", "name": "read_file", "arguments": {"path": file}}
        state["messages"] += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": msgspec.json.encode(found).decode()},
        ]
        return Context(
            position=f"file/{step}",
            claims={"files": step, "lines": totals["lines"]},
            approvals=[f"read {folder}"],
            last_tool_call={**call, "result": found},
        )


def measure(source: bytes) -> dict[str, int]:
    """A Python file in numbers: lines, functions, imports, and the characters of its longest line."""
    lines = source.decode("utf-8", "replace").splitlines()
    stripped = [line.lstrip() for line in lines]
    return {
        "lines": len(lines),
        "functions": sum(line.startswith(("def ", "async def ")) for line in stripped),
        "imports": sum(line.startswith(("import ", "from ")) for line in stripped),
        "longest": max(map(len, lines), default=0),
    }


class RecordedTask:
    """Live through a recorded session: after message i the state holds the messages up to it."""

    def __init__(self, recording: Recording) -> None:
        self.session = recording.session_id
        self.source = recording.source
        self._messages = recording.messages
        self.steps = len(recording.messages)

    def begin(self) -> State:
        return {"messages": [], "position": -1, "scratchpad": ""}

    def advance(self, state: State, step: int) -> Context:
        message = self._messages[step - 1]
        content = message.get("content")
        state["messages"].append(message)
        state["position"] = step - 1
        state["scratchpad"] = content[:SCRATCHPAD_MAX] if isinstance(content, str) else ""
        return Context(position=f"message/{step}", claims={"messages": step})


def step_of(position: object) -> int:
    """The step that a checkpoint's position names; 0 if it names none."""
    kind, _, number = position.partition("/") if isinstance(position, str) else ("", "", "")
    return int(number) if kind in ("file", "message") and number.isdecimal() else 0


# ---- the same without a store ---------------------------------------------------------------------------------------------


class Expected(msgspec.Struct, frozen=True, gc=False):
    """A step's result in short: a digest [32] of everything that its checkpoint holds, and the state's size in bytes."""

    digest: bytes
    state_bytes: int


class Reference:
    """A task done in this process, without a store, as far as somebody asks."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._state = task.begin()
        self._steps: list[Expected] = []

    def after(self, step: int) -> Expected:
        """What a checkpoint after a step (from 1) must be."""
        while len(self._steps) < step:
            context = self._task.advance(self._state, len(self._steps) + 1)
            self._steps.append(fingerprint(self._state, context))
        return self._steps[step - 1]


def fingerprint(state: object, context: Context) -> Expected:
    """A state and its context in short. The encoding is not the store's own."""
    encoded = msgspec.msgpack.encode(state)
    digest = hashlib.sha256(encoded)
    digest.update(msgspec.msgpack.encode(context))
    return Expected(digest.digest(), len(encoded))
