"""A checkpoint as people hold it, made of a record that every check was made on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from aegis_store.codec.registry import StateTypes
from aegis_store.errors import Corrupt, UnknownType
from aegis_store.records import TrustedRecord
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.types import MemoryPointer, Ref, TimeMs

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
#: The end of the year 9999.
_MOMENT_MAX_MS: Final = 253_402_300_799_999


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A saved state and what was saved with it, every check made. `created_at` is the store's time, in UTC.

    In a fork, `ref.session` says which session the checkpoint was made in.
    """

    ref: Ref
    agent: str
    created_at: datetime
    state: Any
    position: Any = None
    claims: Any = None
    memory_pointer: MemoryPointer | None = None
    approvals: Any = None
    last_tool_call: Any = None
    metadata: Any = None
    request_id: str | None = None


def as_checkpoint(record: TrustedRecord, session_id: str, types: StateTypes) -> Checkpoint:
    """A believed record of kind checkpoint. UnknownType: it holds a value of a type that is not among `types`."""
    entry = record.entry
    try:
        saved = checkpoint_schema.decode(record.envelope, types=types)
    except (Corrupt, UnknownType) as error:
        raise type(error)(error.message, op="read", tier=entry.tier.label, index=record.index, hint=error.hint) from None
    ref = Ref(
        tier=entry.tier,
        index=record.index,
        leaf=record.leaf,
        ordinal=entry.ordinal,
        session=session_id,
        time_ms=entry.time_ms,
    )
    return Checkpoint(
        ref=ref,
        agent=record.agent,
        created_at=moment(entry.time_ms),
        state=saved.state,
        position=saved.position,
        claims=saved.claims,
        memory_pointer=saved.memory_pointer,
        approvals=saved.approvals,
        last_tool_call=saved.last_tool_call,
        metadata=saved.metadata,
        request_id=saved.request_id,
    )


def moment(time_ms: TimeMs) -> datetime:
    """The store's time as a datetime in UTC; what lies behind the last one that there is, as that one."""
    return _EPOCH + timedelta(milliseconds=min(time_ms, _MOMENT_MAX_MS))


def milliseconds(when: datetime) -> int:
    """An aware datetime as the store's time, rounded down."""
    return (when - _EPOCH) // timedelta(milliseconds=1)
