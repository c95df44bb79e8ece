"""Small nouns that all floors share: numbers with a meaning, tiers, kinds, references, and what is passed in from outside.

Nothing here opens a file. `SystemClock` is the only place in the package that asks for the time of day.
"""

from __future__ import annotations

import time
from enum import IntEnum
from typing import Final, NamedTuple, NewType, Protocol

import msgspec

#: Number of a record in its log, which is its leaf index in the tree. From 0.
LogIndex = NewType("LogIndex", int)
#: Place of a record within its session. From 0.
Ordinal = NewType("Ordinal", int)
#: Milliseconds since 1970-01-01 UTC.
TimeMs = NewType("TimeMs", int)

#: Bytes of a leaf hash, a tree root, a commitment, a public key.
HASH_SIZE: Final = 32


class Tier(IntEnum):
    """One log of a store. The number is what the format stores, the label is the directory's name."""

    AUDIT = 1
    MEMORY = 2
    SESSION = 3
    TELEMETRY = 4

    @property
    def label(self) -> str:
        """The tier's name in paths, origins and messages, such as `session`."""
        return self.name.lower()

    @classmethod
    def labelled(cls, label: str) -> Tier:
        """The tier of that label. KeyError if there is none."""
        return _TIER_OF_LABEL[label]


_TIER_OF_LABEL: Final = {tier.label: tier for tier in Tier}


class Kind(IntEnum):
    """What a record is (FORMAT.md, Entry). `WRITTEN` are the kinds of this version; the others are reserved by name."""

    SESSION_BEGIN = 1
    CHECKPOINT = 2
    SESSION_END = 3
    KEY_ADD = 4
    KEY_REVOKE = 5
    WRITES = 6
    CHUNK = 7
    DICTIONARY = 8
    AUDIT_EVENT = 9
    MEMORY_ITEM = 10
    TELEMETRY = 11
    HOLD = 12
    HOLD_RELEASE = 13
    PRUNE = 14
    ERASE = 15
    FENCE = 16
    HEAD = 17

    @property
    def label(self) -> str:
        """The kind's name in FORMAT.md and in messages, such as `session-begin`."""
        return self.name.lower().replace("_", "-")


#: The kinds that this version writes and understands.
WRITTEN: Final = frozenset(
    {
        Kind.SESSION_BEGIN,
        Kind.CHECKPOINT,
        Kind.SESSION_END,
        Kind.KEY_ADD,
        Kind.KEY_REVOKE,
        Kind.WRITES,
        Kind.CHUNK,
        Kind.DICTIONARY,
        Kind.AUDIT_EVENT,
        Kind.MEMORY_ITEM,
        Kind.HOLD,
        Kind.HOLD_RELEASE,
        Kind.PRUNE,
        Kind.ERASE,
    }
)
#: What the chains of a tier are made of, one kind a tier: what a session, a subject or a key of the memory has saved.
LINK_OF: Final = {Tier.SESSION: Kind.CHECKPOINT, Tier.AUDIT: Kind.AUDIT_EVENT, Tier.MEMORY: Kind.MEMORY_ITEM}
LINKS: Final = frozenset(LINK_OF.values())


class Nouns(NamedTuple):
    """What the chains of a tier and their links are called where a person reads it; `listing`: the command that shows a chain,
    with {path} and {name} quoted for a shell."""

    chain: str
    link: str
    listing: str | None


#: The one home of these words. Of chains that nobody has named otherwise, those of a session are used.
NOUNS: Final = {
    Tier.SESSION: Nouns("session", "checkpoint", "aegis log {path} {name}"),
    Tier.AUDIT: Nouns("subject", "event", "aegis audit list {path} --subject {name}"),
    Tier.MEMORY: Nouns("key", "version", None),
}
#: Those that the store itself signs, with its log key, and no agent.
OF_THE_STORE: Final = frozenset({Kind.DICTIONARY, Kind.HOLD, Kind.HOLD_RELEASE, Kind.PRUNE, Kind.ERASE})
#: Those that belong to a session and are what it says, so that they go when it is erased.
OF_A_SESSION: Final = LINKS | {Kind.SESSION_BEGIN, Kind.SESSION_END, Kind.WRITES, Kind.CHUNK}


class Ref(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Which record, so precisely that another in its place is noticed: `leaf` is the SHA-256 leaf hash of its entry [32]."""

    tier: Tier
    index: LogIndex
    leaf: bytes
    ordinal: Ordinal
    session: str
    time_ms: TimeMs | None = None


class Head(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The state of a log: its first `size` records have the RFC 6962 root `root` [32]."""

    tier: Tier
    size: int
    root: bytes


class MemoryPointer(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What of the memory tier an agent had read: up to record `index` (-1: there was none yet), under the root `root` [32]."""

    index: LogIndex
    root: bytes


class Clock(Protocol):
    """The time of day, passed in, so that a rule about time is tested without waiting for it."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC. May go backwards."""
        ...


class SystemClock:
    """The machine's clock."""

    __slots__ = ()

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000


class Randomness(Protocol):
    """Unpredictable bytes, passed in. The system's are `aegis_store.trust.keys.SystemRandomness`."""

    def draw(self, count: int) -> bytes:
        """`count` bytes that nobody can guess."""
        ...
