"""Agent sessions to be saved step by step: recorded ones from a file, or made up in the same shape.

The state after message i is {"messages": messages up to i, "position": i, "scratchpad": the start of message i}. Of a file that
has the two families that figures are told for (by how `source` begins), a fixed choice is taken, so that figures of different
days are of the same sessions.

Made-up sessions follow what was counted in the recorded ones: how many messages, how long each role's are, how well it all
compresses. They need no data beside the package, and are the same on every machine.
"""

from __future__ import annotations

import io
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import zstandard

from aegis_store.errors import InvalidArgument

SCRATCHPAD_CHARACTERS: Final = 300
#: By how a session's source begins: which of the family's sessions are measured, once they are shuffled.
MEASURED: Final = {"tau-bench": slice(100, 160), "mini-swe-agent": slice(150, 180)}
#: Those on which nothing was chosen: neither parameters of deltas nor of dictionaries.
HELD_OUT: Final = {"tau-bench": slice(160, 220), "mini-swe-agent": slice(180, 210)}
SHUFFLE_SEED: Final = 7
#: Of a family that is in no table.
SESSIONS_MAX: Final = 60
DIALOGUE, CODING = "dialogue, made up", "coding, made up"
MADE_UP: Final = {DIALOGUE: 60, CODING: 30}
#: How much there is to say, and how much of it is new, so that states compress as recorded ones do: to 1/3.2 and 1/3.7.
PHRASES, NAMES, NEW_SHARE = 260, 120, 0.4


class Session(msgspec.Struct, frozen=True):
    """One line of the file."""

    source: str
    session_id: str
    messages: list[Any]

    def states(self) -> list[dict[str, Any]]:
        """The state after each message."""
        states = []
        for at, message in enumerate(self.messages):
            content = message.get("content") if isinstance(message, dict) else None
            scratchpad = content[:SCRATCHPAD_CHARACTERS] if isinstance(content, str) else ""
            states.append({"messages": self.messages[: at + 1], "position": at, "scratchpad": scratchpad})
        return states


def read(path: Path) -> Iterator[Session]:
    """JSON lines, compressed by zstd where the name ends in .zst. InvalidArgument names the line that is something else."""
    decoder = msgspec.json.Decoder(Session)
    with path.open("rb") as raw:
        stream = zstandard.ZstdDecompressor(max_window_size=1 << 28).stream_reader(raw) if path.suffix == ".zst" else raw
        with io.TextIOWrapper(stream, encoding="utf-8") as text:
            for number, line in enumerate(text, 1):
                if not line.strip():
                    continue
                try:
                    yield decoder.decode(line)
                except (msgspec.DecodeError, msgspec.ValidationError) as error:
                    raise InvalidArgument(
                        f"line {number} is no session: {error}",
                        op="bench",
                        path=str(path),
                        hint='each line is {"source": "…", "session_id": "…", "messages": […]}',
                    ) from None


def families(path: Path | None, *, held_out: bool = False) -> dict[str, list[Session]]:
    """The sessions to be measured, by family: of a file, or made up where there is none; or as many others of the same."""
    if path is None:
        first = 1 if held_out else 0
        return {name: made_up(name, (first + 1) * count)[first * count :] for name, count in MADE_UP.items()}
    by_family: dict[str, list[Session]] = defaultdict(list)
    for session in read(path):
        if session.messages:
            by_family[next((name for name in MEASURED if session.source.startswith(name)), session.source)].append(session)
    shuffled = random.Random(SHUFFLE_SEED)
    chosen: dict[str, list[Session]] = {}
    for name in (*MEASURED, *sorted(by_family.keys() - MEASURED.keys())):
        found = by_family.get(name, [])
        shuffled.shuffle(found)
        usual, others = slice(SESSIONS_MAX), slice(SESSIONS_MAX, 2 * SESSIONS_MAX)
        part, rest = MEASURED.get(name, usual), HELD_OUT.get(name, others)
        if len(found) < part.stop:
            part, rest = usual, others
        taken = found[rest] if held_out else found[part]
        if taken:
            chosen[name] = taken
    return chosen


# ---- made up ----------------------------------------------------------------------------------------------------------------


def made_up(family: str, count: int) -> list[Session]:
    """`count` sessions of one of the two shapes, always the same."""
    source = random.Random(family)
    words = _Words(source)
    make = _dialogue if family == DIALOGUE else _coding
    return [Session(family, f"{number:04}", make(source, words)) for number in range(count)]


def _length(source: random.Random, median: int, spread: float, most: int) -> int:
    """Characters of a message: log-normal, as lengths of messages are."""
    return min(most, int(source.lognormvariate(0, spread) * median))


def _dialogue(source: random.Random, words: _Words) -> list[dict[str, Any]]:
    """A support agent with tools: a long policy first, then some 25 short messages."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": words.policy}]
    for turn in range(max(9, min(61, int(source.gauss(25, 10))))):
        kind = turn % 4
        if kind == 0:
            messages.append({"role": "user", "content": words.text(_length(source, 110, 0.5, 340))})
        elif kind == 3:
            content = words.fields(_length(source, 700, 0.6, 8000))
            messages.append({"role": "tool", "tool_call_id": words.token(24), "name": "get_details", "content": content})
        else:
            said: dict[str, Any] = {"content": words.text(_length(source, 200, 0.5, 1200)), "role": "assistant"}
            if kind == 2:
                call = {"name": "get_details", "arguments": words.fields(60)}
                said["tool_calls"] = [{"id": words.token(24), "type": "function", "function": call}]
            messages.append(said)
    return messages


def _coding(source: random.Random, words: _Words) -> list[dict[str, Any]]:
    """A coding agent: a task, then thoughts with commands and what these print, some 70 messages."""
    task = words.text(5800)
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": words.policy[:540]},
        {"role": "user", "content": task},
    ]
    for turn in range(max(36, min(180, int(source.lognormvariate(0, 0.4) * 64)))):
        if turn % 2 == 0:
            thought = words.text(_length(source, 560, 0.9, 18000))
            tokens = source.randint(2000, 60000)
            usage = {
                "prompt_tokens": tokens,
                "completion_tokens": len(thought) // 4,
                "total_tokens": tokens + len(thought) // 4,
            }
            messages.append(
                {
                    "role": "assistant",
                    "content": f"THOUGHT: {thought}\n\n```bash\n{words.code(60)}```",
                    "id": f"gen-{words.token(20)}",
                    "response_metadata": {
                        "provider": "made up", "object": "chat.completion", "finish_reason": "stop", "created": tokens * 31,
                    },
                    "usage": {**usage, "cost": tokens / 1e6, "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0}},
                }
            )  # fmt: skip
        else:
            printed = words.code(_length(source, 400, 1.3, 14000))
            messages.append({"role": "user", "content": f"<returncode>0</returncode>\n<output>\n{printed}</output>"})
    return messages


class _Words:
    """Text that compresses as people's and programs' does: words by Zipf's law, phrases that come back, numbers that do not."""

    def __init__(self, source: random.Random) -> None:
        self._source = source
        syllables = [start + vowel for start in "bcdfglmnprstv" for vowel in ("a", "e", "i", "o", "u", "en", "or")]
        self._words = ["".join(source.choices(syllables, k=1 + rank // 300)) for rank in range(1200)]
        self._word_weights = [1 / (rank + 3) for rank in range(len(self._words))]
        self._phrases = [" ".join(self._some(source.randint(5, 12))) for _ in range(PHRASES)]
        self._phrase_weights = [1 / (rank + 10) for rank in range(PHRASES)]
        self._names = ["_".join(self._some(2)) for _ in range(NAMES)]
        self.policy: Final = self.text(6100)

    def _some(self, count: int) -> list[str]:
        return self._source.choices(self._words, self._word_weights, k=count)

    def token(self, characters: int) -> str:
        """An identifier."""
        return "".join(self._source.choices("0123456789abcdef", k=characters))

    def text(self, characters: int) -> str:
        """Sentences: most of them of phrases that were used before."""
        return self._until(characters, self._sentence)

    def fields(self, characters: int) -> str:
        """JSON, as tools answer."""
        return "{" + self._until(characters, self._field).rstrip(", ") + "}"

    def code(self, characters: int) -> str:
        """Lines of a program, or of what one prints."""
        return self._until(characters, self._line)

    def _until(self, characters: int, make: Callable[[], str]) -> str:
        parts: list[str] = []
        have = 0
        while have < characters:
            parts.append(make())
            have += len(parts[-1])
        return "".join(parts)

    def _sentence(self) -> str:
        said = self._source.choices(self._phrases, self._phrase_weights, k=2)
        if self._source.random() < NEW_SHARE:
            said[1] = " ".join(self._some(6))
        whole = " ".join(said)
        return f"{whole[:1].upper()}{whole[1:]}. "

    def _field(self) -> str:
        name = self._source.choice(self._names)
        value = self._source.choice(self._names) if self._source.random() < 0.6 else str(self._source.randint(100, 99999))
        return f'"{name}": "{value}", '

    def _line(self) -> str:
        first, second = self._source.choices(self._names, k=2)
        indent = "    " * self._source.randint(0, 3)
        return self._source.choice(
            (
                f"{indent}self.{first} = {second}({self._source.randint(0, 99)})\n",
                f"{indent}if {first}.{second}():\n",
                f"{indent}return {first}[{second}]\n",
                f"{self._source.randint(1, 999)}:    def {first}(self, {second}):\n",
                f"src/{first}/{second}.py\n",
                f"{indent}# {self._source.choices(self._phrases, self._phrase_weights)[0]}\n",
            )
        )
