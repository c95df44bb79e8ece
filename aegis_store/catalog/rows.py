"""What the catalogue is told, and what it answers.

A row says what one record of a log means for lookups. The order of rows does not matter, and telling one twice changes
nothing, but for this: a session's begin comes before anything else of that session. So threads may note what they have
committed in the order in which they come back from the commit.

A session is numbered by its tier and the index of its session-begin record: unique, in order of creation within its tier,
and the same in every rebuild. In the session tier the number is the index. What is called a session here is in the audit tier
a subject, and in the memory tier a key: a chain of records under one tag, with a name.
"""

from __future__ import annotations

from typing import Final

import msgspec

from aegis_store.types import LogIndex, Ordinal, Tier, TimeMs

#: Bits of a number that are the index; above them stands the tier, 0 for the session tier.
INDEX_BITS: Final = 44
_TIER_PLACES: Final = {Tier.SESSION: 0, Tier.AUDIT: 1, Tier.MEMORY: 2, Tier.TELEMETRY: 3}


def number_of(tier: Tier, index: int) -> int:
    """The number of the session that the record at `index` of a tier begins."""
    return _TIER_PLACES[tier] << INDEX_BITS | index


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A record of a log, by its tier and its index there."""

    tier: Tier
    index: LogIndex


class Other(Row, frozen=True, kw_only=True, gc=False):
    """A record that no lookup asks for; it counts as covered."""


class SessionBegan(Row, frozen=True, kw_only=True, gc=False):
    """A session-begin record. Names are any str, lone surrogates too; None: the session was erased, names and all. What
    concerns forks: see `SessionRecord`."""

    time_ms: TimeMs
    leaf: bytes
    tag: bytes
    id: str | None
    agent: str
    role: str | None = None
    forked_from: str | None = None
    parent: LogIndex | None = None
    first_ordinal: Ordinal = Ordinal(0)


class CheckpointMade(Row, frozen=True, kw_only=True, gc=False):
    """A checkpoint record. The ordinals of a session count up from its first."""

    time_ms: TimeMs
    leaf: bytes
    tag: bytes
    ordinal: Ordinal
    request_tag: bytes | None = None


class WritesMade(Row, frozen=True, kw_only=True, gc=False):
    """A writes record: what tasks wrote towards the checkpoint after that of a request. Those of a session count up from 0."""

    tag: bytes
    request_tag: bytes
    ordinal: Ordinal


class SessionEnded(Row, frozen=True, kw_only=True, gc=False):
    """A session-end record."""

    tag: bytes


class KeyAdded(Row, frozen=True, kw_only=True, gc=False):
    """A key-add record. `key_id` is the four bytes by which entries name their signer."""

    key_id: bytes
    public_key: bytes
    agent: str


class KeyRevoked(Row, frozen=True, kw_only=True, gc=False):
    """A key-revoke record."""

    key_id: bytes
    public_key: bytes


class HoldPlaced(Row, frozen=True, kw_only=True, gc=False):
    """A hold record: on the session of that tag, or one checkpoint of it."""

    time_ms: TimeMs
    tag: bytes
    ordinal: Ordinal | None
    reason: str
    holder: str


class HoldReleased(Row, frozen=True, kw_only=True, gc=False):
    """A hold-release record, of the hold at record `hold`."""

    hold: LogIndex


class PayloadsGone(Row, frozen=True, kw_only=True, gc=False):
    """A prune or an erase record: what it covers it says itself."""

    is_erasure: bool


class DictionaryMade(Row, frozen=True, kw_only=True, gc=False):
    """A dictionary record, and the bytes of its envelope."""

    size: int


class DictionaryRetired(Row, frozen=True, kw_only=True, gc=False):
    """The dictionary at `index` is used for nothing new. It stays one: what was compressed with it may still be read."""


class HoldRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A hold that stands: the index of its record is its number. `ordinal`: of one checkpoint; None: of the whole session."""

    number: LogIndex
    tag: bytes
    ordinal: Ordinal | None
    reason: str
    holder: str
    time_ms: TimeMs


class SessionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A session. The `last_` fields are those of its newest checkpoint, or of its session-begin while it has none.

    A fork has a `parent`, the index of the checkpoint that it goes on from, and `forked_from`, the id of the session that it
    was made from. Its own checkpoints begin with `first_ordinal`: those below are its parent's.
    """

    number: int
    id: str
    tag: bytes
    agent: str
    role: str | None
    forked_from: str | None
    parent: LogIndex | None
    first_ordinal: Ordinal
    created_ms: TimeMs
    last_ordinal: Ordinal | None
    last_index: LogIndex
    last_leaf: bytes
    last_ms: TimeMs
    #: Index of the session-end record; None while the session is open.
    ended: LogIndex | None
    #: How many writes records it has.
    writes: int = 0
    #: Then it has no names, and no lookup by id finds it; forks of it still do.
    is_erased: bool = False

    @property
    def begun(self) -> LogIndex:
        """Index of its session-begin record."""
        return LogIndex(self.number & (1 << INDEX_BITS) - 1)


class CheckpointRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a checkpoint is in the log, and its time."""

    number: int
    ordinal: Ordinal
    index: LogIndex
    time_ms: TimeMs


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A key may sign the records between index `added` and index `revoked` (None: still allowed) of its tier."""

    tier: Tier
    key_id: bytes
    agent: str
    public_key: bytes
    added: LogIndex
    revoked: LogIndex | None


class DictionaryRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A dictionary, by the index of its record; the bytes of its envelope, 0 where only its retirement is known."""

    index: LogIndex
    size: int
    is_retired: bool
