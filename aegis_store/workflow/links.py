"""The transitions of a workflow as a chain, each with the hash of the one before it. Nothing here touches a store.

    hash = SHA-256 of
        "aegis-store/v0/transition" 0x0A
        workflow id, from, to, actor: of each the length u32 of its UTF-8, then the UTF-8, lone surrogates passed through
        time in ms u64
        hash [32] of the transition before; zero of the first one

Integers are little-endian. A workflow begins with a transition from no state, written as the empty text, and is completed
by one to no state. One is *rewound* where it was loaded as it had last been saved, and had gone on since without being
saved: the chain then goes back to the saved state, so that every transition starts where the one before it ended. Source:
FORMAT.md, Transitions.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Any, Final

import msgspec

from aegis_store.checkpoint import moment
from aegis_store.errors import Corrupt
from aegis_store.types import HASH_SIZE, LogIndex, Ref, TimeMs

CREATED: Final = "workflow.created"
TRANSITION: Final = "transition"
REWOUND: Final = "workflow.rewound"
COMPLETED: Final = "workflow.completed"
#: What an audit event of a workflow may be called.
ACTIONS: Final = frozenset({CREATED, TRANSITION, REWOUND, COMPLETED})

#: The state that a workflow has before it is created and after it is completed.
NO_STATE: Final = ""
NO_HASH: Final = bytes(HASH_SIZE)
_DOMAIN: Final = b"aegis-store/v0/transition\n"


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A transition as it is stored. `number` counts those of its workflow, from 0."""

    number: int
    action: str
    from_state: str
    to_state: str
    actor: str
    time_ms: int
    previous: bytes
    hash: bytes


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """A transition, and the record of the session tier [index, leaf hash] that it is one with; None: it was not saved. Then
    `request` is what its caller named it, if he did."""

    link: Link
    record: LogIndex | None = None
    leaf: bytes | None = None
    request: str | None = None


class Transition(msgspec.Struct, frozen=True, kw_only=True):
    """A transition of a workflow, as the audit tier has it. `event` is that record, `record` the index of the checkpoint in
    the session tier that was made with it, None where it was not saved. The first has no `from_state`, a completion no
    `to_state`.
    """

    workflow_id: str
    number: int
    action: str
    from_state: str | None
    to_state: str | None
    actor: str
    at: datetime
    previous: bytes
    hash: bytes
    event: Ref
    record: LogIndex | None


def transition_hash(
    workflow_id: str, *, from_state: str, to_state: str, actor: str, time_ms: int, previous: bytes = NO_HASH
) -> bytes:
    """The hash [32] of a transition; see above."""
    digest = sha256(_DOMAIN)
    for text in (workflow_id, from_state, to_state, actor):
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(4, "little") + data)
    digest.update(time_ms.to_bytes(8, "little") + previous)
    return digest.digest()


def follow(workflow_id: str, before: Link | None, *, action: str, to_state: str, actor: str, now_ms: int) -> Link:
    """The transition that comes after `before`, the first one after None. Its time is never below that of the one before."""
    from_state, previous = (NO_STATE, NO_HASH) if before is None else (before.to_state, before.hash)
    time_ms = now_ms if before is None else max(now_ms, before.time_ms)
    return Link(
        number=0 if before is None else before.number + 1,
        action=action,
        from_state=from_state,
        to_state=to_state,
        actor=actor,
        time_ms=time_ms,
        previous=previous,
        hash=transition_hash(
            workflow_id, from_state=from_state, to_state=to_state, actor=actor, time_ms=time_ms, previous=previous
        ),
    )


def fault(workflow_id: str, before: Link | None, link: Link) -> str | None:
    """Why a transition is not the one that comes after `before`; None if it is."""
    number = 0 if before is None else before.number + 1
    if link.number != number:
        return f"it is numbered {link.number} where {number} comes"
    if before is not None and before.action == COMPLETED:
        return "it comes after the workflow was completed"
    if (before is None, link.to_state == NO_STATE) != (link.action == CREATED, link.action == COMPLETED):
        return f"it is called {link.action!r}"
    if link.from_state != (NO_STATE if before is None else before.to_state):
        came = NO_STATE if before is None else before.to_state
        return f"it starts from {link.from_state!r}, and the workflow was in {came!r}"
    if link.previous != (NO_HASH if before is None else before.hash):
        return "it names another transition as the one before it"
    if before is not None and link.time_ms < before.time_ms:
        return "it is older than the one before it"
    wanted = transition_hash(
        workflow_id,
        from_state=link.from_state,
        to_state=link.to_state,
        actor=link.actor,
        time_ms=link.time_ms,
        previous=link.previous,
    )
    return None if link.hash == wanted else "its hash is not that of what it says"


def named(link: Link) -> str:
    """A transition as people call it."""
    return f"transition {link.number} ({link.from_state or 'none'} -> {link.to_state or 'none'})"


# ---- as values of an envelope
# -----------------------------------------------------------------------------------------------


def entry_to_wire(entry: Entry) -> dict[str, Any]:
    """The details of an audit event, and what a checkpoint carries."""
    link = entry.link
    return {
        "number": link.number,
        "action": link.action,
        "from": link.from_state,
        "to": link.to_state,
        "time_ms": link.time_ms,
        "previous": link.previous,
        "hash": link.hash,
        "record": entry.record,
        "leaf": entry.leaf,
        "request": entry.request,
    }


def entry_from_wire(wire: object, actor: str) -> Entry:
    """The entry again. Corrupt for anything that `entry_to_wire` does not make."""
    try:
        found = msgspec.convert(wire, _Wire)
    except msgspec.ValidationError as error:
        raise Corrupt(f"this is no transition: {error}", op="workflow") from None
    link = Link(
        number=found.number,
        action=found.action,
        from_state=found.from_state,
        to_state=found.to_state,
        actor=actor,
        time_ms=found.time_ms,
        previous=found.previous,
        hash=found.hash,
    )
    if link.action not in ACTIONS:
        raise Corrupt(f"a transition is called {link.action!r}", op="workflow")
    record = None if found.record is None else LogIndex(found.record)
    return Entry(link=link, record=record, leaf=found.leaf, request=found.request)


class _Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    number: int
    action: str
    from_state: str = msgspec.field(name="from")
    to_state: str = msgspec.field(name="to")
    time_ms: int
    previous: bytes
    hash: bytes
    record: int | None
    leaf: bytes | None
    request: str | None


def public(workflow_id: str, entry: Entry, event: Ref) -> Transition:
    """A transition as it is handed out."""
    link = entry.link
    return Transition(
        workflow_id=workflow_id,
        number=link.number,
        action=link.action,
        from_state=link.from_state or None,
        to_state=link.to_state or None,
        actor=link.actor,
        at=moment(TimeMs(link.time_ms)),
        previous=link.previous,
        hash=link.hash,
        event=event,
        record=entry.record,
    )
