"""The envelopes of a session's first and last record.

    ["session-begin", 0, session id, agent, role or nil, forked-from session id or nil]
    ["session-end", 0, reason or nil]

Session ids, agents, roles and reasons may be any str: one with lone surrogates, which UTF-8 cannot hold, is stored as a bin of
its UTF-8 with the surrogates passed through. Names stand here and nowhere else, so that dropping the payload drops them.
Source: FORMAT.md, Envelopes.
"""

from __future__ import annotations

from typing import Final

import msgspec

from aegis_store.codec.canonical import decode_envelope, encode_envelope, name_from_wire, name_to_wire

BEGIN: Final = "session-begin"
END: Final = "session-end"
VERSION: Final = 0

_BEGIN_NAMES: Final = ("schema", "version", "session", "agent", "role", "forked_from")
_END_NAMES: Final = ("schema", "version", "reason")


class SessionBegin(msgspec.Struct, frozen=True, kw_only=True):
    """Who began which session. `forked_from` is the id of the session that it branched off."""

    session: str
    agent: str
    role: str | None = None
    forked_from: str | None = None


class SessionEnd(msgspec.Struct, frozen=True, kw_only=True):
    """Why a session was ended."""

    reason: str | None = None


def encode_begin(begin: SessionBegin) -> bytes:
    """The envelope of a session-begin record. InvalidArgument if a name is not a str."""
    return encode_envelope(
        [
            BEGIN,
            VERSION,
            name_to_wire(begin.session, what="session"),
            name_to_wire(begin.agent, what="agent"),
            None if begin.role is None else name_to_wire(begin.role, what="role"),
            None if begin.forked_from is None else name_to_wire(begin.forked_from, what="forked_from"),
        ],
        _BEGIN_NAMES,
    )


def decode_begin(data: bytes) -> SessionBegin:
    """The names in a session-begin record. Corrupt if it is anything else; NewerFormat if a later version wrote it."""
    _, _, session, agent, role, forked_from = decode_envelope(data, schema=BEGIN, version=VERSION, names=_BEGIN_NAMES)
    return SessionBegin(
        session=name_from_wire(session, what="session"),
        agent=name_from_wire(agent, what="agent"),
        role=None if role is None else name_from_wire(role, what="role"),
        forked_from=None if forked_from is None else name_from_wire(forked_from, what="forked_from"),
    )


def encode_end(end: SessionEnd) -> bytes:
    """The envelope of a session-end record. InvalidArgument if the reason is not a str."""
    return encode_envelope([END, VERSION, None if end.reason is None else name_to_wire(end.reason, what="reason")], _END_NAMES)


def decode_end(data: bytes) -> SessionEnd:
    """The reason in a session-end record. Corrupt if it is anything else; NewerFormat if a later version wrote it."""
    _, _, reason = decode_envelope(data, schema=END, version=VERSION, names=_END_NAMES)
    return SessionEnd(reason=None if reason is None else name_from_wire(reason, what="reason"))
