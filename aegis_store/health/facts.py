"""What is seen of a store when somebody asks whether it is well, and what there is to be said of it: plain values.

Sizes are in bytes, ages in seconds. None: there is none, or it can't be told.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from aegis_store._engine import Verdict
from aegis_store.types import LogIndex, Tier


class Aspect(StrEnum):
    """What a finding is about."""

    INTEGRITY = "integrity"
    AGE = "age"
    TARGETS = "targets"
    RECOVERY = "recovery"
    ERASURE = "erasure"
    SPACE = "space"
    POISON = "poison"


class Level(StrEnum):
    """Whether somebody should do something."""

    FINE = "fine"
    ATTENTION = "attention"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing about a store. `hint` is what to type, where something is to be done or can be."""

    aspect: Aspect
    level: Level
    what: str
    hint: str | None = None


class TierFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a tier that has records, or had: `verdict` is what opening found."""

    tier: Tier
    verdict: Verdict
    size: int
    segments_unsigned: int
    file_bytes: int = 0
    cut_bytes: int = 0
    saved: str | None = None
    #: Of its newest record.
    age_seconds: float | None = None
    #: Records under the highest head that was released; None if none ever was.
    released_size: int | None = None
    #: The age of the oldest record that is not under it; 0 where all are.
    lag_seconds: float | None = None
    #: What it is measured against, and whether the owner has set that or it is what is usual.
    rpo_seconds: int | None = None
    rto_seconds: int | None = None
    is_targeted: bool = False


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """Something that the audit tier says was begun and not that it is over: an incident that is open, or a session whose
    recovery was decided and is not done. `index` is the newest record that says so."""

    subject: str
    action: str
    index: LogIndex
    age_seconds: float

    @property
    def is_incident(self) -> bool:
        """Or a session."""
        return self.subject.startswith(INCIDENTS)


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """The last time that a whole store was verified, how deep, and how many findings that had."""

    age_seconds: float
    is_deep: bool
    findings: int
    #: Records that it covered, of all tiers.
    records: int


class Unsaved(msgspec.Struct, frozen=True, kw_only=True):
    """What timers keep: how many sessions, and how long ago the oldest of them was last known to be safe.

    `failing` counts sessions whose last save failed."""

    sessions: int
    oldest_seconds: float
    failing: int = 0


#: How the subjects of such events in the audit tier begin.
INCIDENTS = "incident/"
SESSIONS = "session/"


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a store looks like at one moment."""

    path: str
    tiers: tuple[TierFacts, ...]
    segment_bytes: int
    disk_bytes: int
    free_bytes: int
    total_bytes: int
    #: A failed write of the last writer, seen by this opening or in the one that is open now.
    is_poisoned: bool = False
    #: Records that could not be taken in: damaged, or not where they belong.
    suspects: int = 0
    #: Records that came after the last look of a writer at them one by one, and were not looked at now.
    records_unread: int = 0
    #: Erase records whose work is not done: a crash came in between, or somebody is at it.
    erasures_pending: int = 0
    #: Pruned or erased, and still in the files: payloads and their bytes. Beyond a certain number they are counted by a sample.
    payloads_to_compact: int = 0
    bytes_to_compact: int = 0
    checkpoint_age_seconds: float | None = None
    #: Since the key directory last took down a head.
    head_age_seconds: float | None = None
    age_seconds: float | None = None
    #: What the last opening for writing took.
    open_seconds: float | None = None
    verified: Verified | None = None
    unsaved: Unsaved | None = None
    troubles: tuple[Trouble, ...] = ()
