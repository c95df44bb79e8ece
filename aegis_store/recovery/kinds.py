"""What a decision is made of, as data: how it failed, how its checkpoint stands, what is decided, what is told to whom."""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from aegis_store.checkpoint import Checkpoint
from aegis_store.session import Session
from aegis_store.types import MemoryPointer, Ref


class Failure(Enum):
    """What kind of failure it was."""

    INFRASTRUCTURE = "infrastructure"
    SECURITY = "security"
    UNKNOWN = "unknown"


class Status(Enum):
    """How a session's newest checkpoint stands: `VERIFIED`, or the first check that it fails. `NONE`: there is no checkpoint.
    `GONE`: it was pruned or erased. `EVIDENCE`: it verifies, and a recovery has discarded it before."""

    NONE = "none"
    VERIFIED = "verified"
    NOT_INCLUDED = "not included"
    BAD_SIGNATURE = "bad signature"
    BAD_KEY = "bad key"
    BAD_COMMITMENT = "bad commitment"
    BROKEN_CHAIN = "broken chain"
    GONE = "gone"
    EVIDENCE = "evidence"


class Decision(Enum):
    """What becomes of a session after a failure."""

    RESUME = "resume"
    RESTART = "restart"
    DISCARD = "discard"


class Step(Enum):
    """What a recovery does, in this order, each durable before the next one."""

    DECIDED = "recovery.decided"
    HELD = "recovery.held"
    NOTICE = "recovery.notice"
    ACT = "recovery.act"


class Looked(msgspec.Struct, frozen=True, kw_only=True):
    """How a session's newest checkpoint stands, and which it is, as far as that can be told. `error` says what is wrong."""

    status: Status
    ref: Ref | None = None
    error: str | None = None
    #: Who signed the checkpoint, or began the session.
    agent: str | None = None
    has_begun: bool = False
    is_ended: bool = False


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """A recovery as the audit tier has it. `done` are its steps that came to their end, `problem` is what the last try of the
    one that did not has met with. `number` counts a session's recoveries, from 1."""

    session: str
    number: int
    failure: Failure
    status: Status
    decision: Decision
    reason: str
    checkpoint: Ref | None
    error: str | None
    agent: str | None
    incident: int | None
    restart: str | None
    hold: int | None = None
    done: tuple[Step, ...] = ()
    problem: str | None = None

    @property
    def steps(self) -> tuple[Step, ...]:
        """Those that it has."""
        return tuple(Step) if self.decision is Decision.DISCARD else (Step.DECIDED, Step.ACT)

    @property
    def due(self) -> Step | None:
        """The next one; None: it is finished."""
        return next((each for each in self.steps if each not in self.done), None)

    @property
    def is_finished(self) -> bool:
        """Whether every step is done."""
        return self.due is None


class Resume(msgspec.Struct, frozen=True, kw_only=True):
    """Go on from `checkpoint` at its position, with `token`. `approvals` are pending still. Calls that are done have their
    results in `session.calls`; those in `calls_unknown` may have happened, and are not made again unasked."""

    recovery: Recovery
    session: Session
    checkpoint: Checkpoint
    token: object
    approvals: tuple[Any, ...]
    memory_pointer: MemoryPointer | None
    calls_done: tuple[str, ...]
    calls_unknown: tuple[str, ...]


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """Begin anew in `session`, with `memory` as it was at the start. The session that failed is ended, kept and named by
    `recovery`. `calls_unknown` are calls of that one which may have happened."""

    recovery: Recovery
    session: Session
    memory: object
    calls_done: tuple[str, ...]
    calls_unknown: tuple[str, ...]


class Discard(msgspec.Struct, frozen=True, kw_only=True):
    """Don't go on. The checkpoint is held as evidence, and nothing of the session starts before `incident` is closed. Where
    `recovery` is not finished, its notice could not be delivered: the next `recover` tries again."""

    recovery: Recovery
    incident: int
    hold: int | None


Recovered = Resume | Restart | Discard


class Notice(msgspec.Struct, frozen=True, kw_only=True):
    """What a session's owner is told when it is discarded. The same `key` is the same notice: it may come twice where a process
    was killed just after it was delivered. `claims` are those of the checkpoint, where it verifies."""

    key: str
    session: str
    agent: str | None
    incident: int
    reason: str
    checkpoint: Ref | None
    claims: Any = None
