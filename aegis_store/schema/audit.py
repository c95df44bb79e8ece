"""The envelope of an audit event: who did what to which subject, and what else is to be known.

    ["audit-event", 0, subject, actor, action, details, request_id]

Subject, actor and action may be any str (schema.session); details are nil or any value that a state may hold. When it
happened is the time of its entry. Source: FORMAT.md, Envelopes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from aegis_store.codec.canonical import decode_envelope, encode_envelope, name_from_wire, name_to_wire
from aegis_store.codec.registry import NO_TYPES, StateTypes
from aegis_store.errors import Corrupt, InvalidArgument

SCHEMA: Final = "audit-event"
VERSION: Final = 0
NAMES: Final = ("schema", "version", "subject", "actor", "action", "details", "request_id")


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What happened. `details` holds any value that `codec.canonical` stores."""

    subject: str
    actor: str
    action: str
    details: object = None
    request_id: str | None = None


def encode(event: Event, *, types: StateTypes = NO_TYPES) -> bytes:
    """The envelope. StateTypeError names what cannot be stored, as in `details["amount"]`."""
    if event.request_id is not None and type(event.request_id) is not str:
        raise InvalidArgument(f"request_id is of type {type(event.request_id).__name__}, not str", op="encode")
    return encode_envelope(
        [
            SCHEMA,
            VERSION,
            name_to_wire(event.subject, what="subject"),
            name_to_wire(event.actor, what="actor"),
            name_to_wire(event.action, what="action"),
            event.details,
            event.request_id,
        ],
        NAMES,
        types=types,
    )


def decode(data: bytes, *, types: StateTypes = NO_TYPES) -> Event:
    """The event in an envelope. Corrupt if it is anything else; NewerFormat if a later version wrote it; UnknownType if it
    holds a named type that is not among `types`."""
    _, _, subject, actor, action, details, request_id = decode_envelope(
        data, schema=SCHEMA, version=VERSION, names=NAMES, types=types
    )
    if request_id is not None and type(request_id) is not str:
        raise Corrupt("the request id of an audit event is not a str", op="decode")
    return Event(
        subject=name_from_wire(subject, what="subject"),
        actor=name_from_wire(actor, what="actor"),
        action=name_from_wire(action, what="action"),
        details=details,
        request_id=request_id,
    )
