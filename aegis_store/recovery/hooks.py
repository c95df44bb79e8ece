"""What a recovery asks of its caller: a token, a notice delivered, memory read. The defaults are safe: none, and it is said.

A hook may be called again where a process was killed, or the hook ran out of its time, before its outcome was recorded.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from aegis_store.memory import Memory, MemoryItem
from aegis_store.recovery.kinds import Notice
from aegis_store.types import MemoryPointer

log: Final = logging.getLogger("aegis_store.recovery")
Answer = TypeVar("Answer")


class TokenIssuer(Protocol):
    """Issues credentials for a session that is resumed."""

    def issue(self, session_id: str, agent: str, claims: Any) -> object:
        """A token for no more than `claims`, the snapshot that the checkpoint holds (None: it holds none)."""
        ...


class Notifier(Protocol):
    """Reaches whoever owns a session."""

    def notify(self, notice: Notice) -> str | None:
        """Deliver it, and say how; raise where that can't be done, and it is tried again."""
        ...


class MemoryReader(Protocol):
    """Reads what an agent begins with."""

    def read(self, session_id: str, agent: str | None, pointer: MemoryPointer | None) -> object:
        """The memory as of `pointer`; None: from the start of the context window."""
        ...


class NoToken:
    """Issues none: a runtime without credentials."""

    def issue(self, session_id: str, agent: str, claims: Any) -> object:
        return None


class LoggedNotice:
    """Says it in the log of the process, at level WARNING."""

    def notify(self, notice: Notice) -> str | None:
        log.warning("session %r is discarded: %s (incident %d)", notice.session, notice.reason, notice.incident)
        return "logged"


class NoMemory:
    """Reads none: the session begins with nothing."""

    def read(self, session_id: str, agent: str | None, pointer: MemoryPointer | None) -> object:
        return None


class StoredMemory:
    """Reads what the memory of a store holds below a namespace, as a tuple of items, each checked."""

    def __init__(self, memory: Memory, namespace: Callable[[str, str | None], Sequence[str]]) -> None:
        """`namespace` says, by session and agent, below which the agent's memory is."""
        self._memory: Final = memory
        self._namespace: Final = namespace

    def read(self, session_id: str, agent: str | None, pointer: MemoryPointer | None) -> tuple[MemoryItem, ...]:
        # Not a read that keeps anything longer: whether the agent uses it is for the agent to say.
        return tuple(self._memory.search(self._namespace(session_id, agent), at=pointer, refresh=False))


class Hooks(msgspec.Struct, frozen=True, kw_only=True):
    """The hooks of a recovery. One that has not returned after `timeout_seconds` has failed (None: it is waited for)."""

    token: TokenIssuer = msgspec.field(default_factory=NoToken)
    notifier: Notifier = msgspec.field(default_factory=LoggedNotice)
    memory: MemoryReader = msgspec.field(default_factory=NoMemory)
    timeout_seconds: float | None = 30.0


class HookFailed(Exception):
    """What a hook raised, or that it took too long, as a line."""


def ask(hook: Callable[[], Answer], timeout_seconds: float | None) -> Answer:
    """What a hook answers. HookFailed: it raised, or took too long; its thread is left alone then, and what it answers late is
    nobody's."""
    answers: queue.SimpleQueue[tuple[bool, Any]] = queue.SimpleQueue()

    def run() -> None:
        try:
            answers.put((True, hook()))
        except BaseException as error:
            answers.put((False, f"{type(error).__name__}: {error}"))

    threading.Thread(target=run, name="aegis-store hook", daemon=True).start()
    try:
        fine, answer = answers.get(timeout=timeout_seconds)
    except queue.Empty:
        raise HookFailed(f"it has not returned after {timeout_seconds} s") from None
    if not fine:
        raise HookFailed(answer)
    found: Answer = answer
    return found
