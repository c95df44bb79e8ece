"""What a writer keeps up for those who look: where its troubles stand, which targets are missed, and the outlook that it
leaves.

`turn` runs with the store's housekeeping, off every path that somebody waits on. A target that is missed is an audit event,
once, and another one when it is met again; a reader writes nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

from aegis_store._engine import Engine, entries
from aegis_store.audit import Audit
from aegis_store.catalog import Catalog
from aegis_store.config import Config
from aegis_store.errors import AegisError
from aegis_store.health import troubles
from aegis_store.health.facts import Facts, Unsaved
from aegis_store.health.outlook import Outlook, OutlookFile
from aegis_store.health.rules import loss_seconds, misses
from aegis_store.health.troubles import Told
from aegis_store.records import Records
from aegis_store.trust.keys import KeyDirectory
from aegis_store.types import Clock, Kind, Tier

#: Where the outlook lies: with the catalogue, which is a cache as well.
FOLDER: Final = "catalog"
#: What of the audit tier says that a target is missed, and that it is met again.
TARGETS: Final = "store/targets"
MISSED: Final = "target.missed"
MET: Final = "target.met"
#: Who says so.
ACTOR: Final = "aegis"
#: A store of fewer records is looked at record by record, which takes some milliseconds. In a larger one, what came after the
#: outlook is looked at by its entries, unless it is more than the second of these.
RECORDS_LOOKED_AT: Final = 20_000
RECORDS_BEHIND_MAX: Final = 200_000


class Timers(Protocol):
    """What saves sessions by a timer."""

    def unsaved(self) -> tuple[int, int, int] | None:
        """Sessions, those whose last save failed, and when (ms) the oldest was last known to be safe; None: there are none."""
        ...


class Owner(Protocol):
    """The store, as its lookout sees it."""

    @property
    def path(self) -> Path: ...
    @property
    def catalog(self) -> Catalog: ...
    @property
    def config(self) -> Config: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def keys(self) -> KeyDirectory: ...
    @property
    def audit(self) -> Audit: ...


class Seen(Protocol):
    """How facts are gathered: passed in, for that needs the lookout."""

    def __call__(self) -> Facts: ...


class Lookout:
    """The lookout of one open store. Any number of threads may use it."""

    def __init__(self, owner: Owner, engine: Engine, records: Mapping[Tier, Records], *, writes: bool, look: Seen) -> None:
        self.engine: Final = engine
        #: Of each tier.
        self.records: Final = records
        #: Whether the store is open for writing.
        self.writes: Final = writes
        self._owner = owner
        self._look = look
        self._file = OutlookFile(owner.path / FOLDER, secret=owner.keys.secret)
        self._lock = threading.RLock()
        self._troubles: dict[str, Told] = {}
        # Of the audit tier: how far `_troubles` goes; None: not looked at yet.
        self._told: int | None = None
        self._read: Outlook | None = None
        self._is_read = False
        # By tier and target: whether the audit tier says that it is missed; None: not looked at yet.
        self._missed: dict[tuple[str, str], bool] | None = None
        #: What the opening of this writer took.
        self.open_seconds: float | None = None
        self.timers: Timers | None = None

    # ---- what is known ----------------------------------------------------------------------------------------------------

    def outlook(self) -> Outlook | None:
        """That of the last writer, if this is a reader and the outlook is to be believed."""
        with self._lock:
            if not self._is_read:
                self._read, self._is_read = self._file.read(self._sizes(), self._root), True
            return self._read

    def look_again(self) -> None:
        """The writer may have left another outlook since."""
        with self._lock:
            self._is_read = False

    def troubles(self) -> list[Told]:
        """Incidents that are open and recoveries that are not done, oldest first."""
        with self._lock:
            size = self.engine.size(Tier.AUDIT)
            if self._told is None:
                known = self.outlook()
                covered = 0 if known is None else known.covers.get(Tier.AUDIT, (0, b""))[0]
                if known is not None and size - covered <= RECORDS_BEHIND_MAX:
                    found = (troubles.at(self.engine, index) for index in known.troubles)
                    self._troubles = {each.subject: each for each in found if each is not None}
                    self._told = covered
                else:
                    self._troubles = troubles.all_of(self.engine, self._owner.catalog) if size else {}
                    self._told = size
            for event in troubles.since(self.engine, self._told, size):
                troubles.follow(self._troubles, event)
            self._told = size
            return sorted(self._troubles.values(), key=lambda each: each.index)

    def gaps(self, tier: Tier) -> list[tuple[int, bool]] | None:
        """The prune and erase records of a tier that the files do not follow yet, and which is which; None: ask the
        catalogue."""
        known, size = self.outlook(), self.engine.size(tier)
        covered = 0 if known is None else known.covers.get(tier, (0, b""))[0]
        if known is None or size - covered > RECORDS_BEHIND_MAX:
            return None
        found = dict(known.gaps.get(tier, ()))  # one that came while it was written is in both
        for index, kind, *_ in entries(self.engine, tier, covered, size):
            if kind in (Kind.PRUNE, Kind.ERASE):
                found[index] = kind == Kind.ERASE
        swept = self.engine.stats(tier).swept
        return sorted(each for each in found.items() if each[0] >= swept)

    def behind(self) -> int:
        """Records that came after the outlook."""
        known = self.outlook()
        if known is None:
            return 0
        return sum(size - known.covers.get(tier, (0, b""))[0] for tier, size in self._sizes().items())

    def unsaved(self) -> Unsaved | None:
        """What timers keep: those of this process, or those that the last writer told of."""
        if self.writes:
            told = None if self.timers is None else self.timers.unsaved()
        else:
            known = self.outlook()
            told = None if known is None else known.unsaved
        if told is None:
            return None
        sessions, failing, safe_ms = told
        age = max(0.0, (self._owner.clock.now_ms() - safe_ms) / 1000)
        return Unsaved(sessions=sessions, failing=failing, oldest_seconds=age)

    # ---- a writer's turns -------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Record what is missed and met, and leave an outlook. What fails is tried again in the next turn."""
        if not self.writes:
            return
        with suppress(AegisError), self._lock:
            if self._owner.config.targets:
                self._judge(self._look())
            self._file.write(self._made())

    def finish(self) -> None:
        """The last outlook of a writer: nothing is kept by a timer any more."""
        self.timers = None
        if self.writes:
            with suppress(AegisError), self._lock:
                self._file.write(self._made())

    def _judge(self, facts: Facts) -> None:
        missed = self._known_misses()
        for tier in facts.tiers:
            if not tier.is_targeted:
                continue
            for target, measured, allowed in (
                ("rpo", loss_seconds(facts, tier), tier.rpo_seconds),
                ("rto", facts.open_seconds, tier.rto_seconds),
            ):
                key = tier.tier.label, target
                if measured is None or allowed is None or misses(measured, allowed) == missed.get(key, False):
                    continue
                is_missed = not missed.get(key, False)
                details = {"tier": key[0], "target": target, "allowed_seconds": allowed, "measured_seconds": round(measured, 3)}
                self._owner.audit.record(ACTOR, MISSED if is_missed else MET, TARGETS, details)
                missed[key] = is_missed

    def _known_misses(self) -> dict[tuple[str, str], bool]:
        if self._missed is None:
            found: dict[tuple[str, str], bool] = {}
            for event in self._owner.audit.events(TARGETS):
                if isinstance(event.details, dict):
                    key = str(event.details.get("tier")), str(event.details.get("target"))
                    found[key] = event.action == MISSED
            self._missed = found
        return self._missed

    def _made(self) -> Outlook:
        owner = self._owner
        # First: what comes while the rest is looked at is beyond what is covered, and will be looked at again.
        covers = {int(tier): (size, self._root(tier, size)) for tier, size in self._sizes().items() if size}
        return Outlook(
            covers=covers,
            gaps={
                int(tier): [(each.index, each.is_erasure) for each in records.gaps.pending()]
                for tier, records in self.records.items()
            },
            suspects=sum(len(records.suspects) for records in self.records.values()),
            troubles=[each.index for each in self.troubles()],
            targets={
                Tier.labelled(label): (each.rpo_seconds, each.rto_seconds) for label, each in owner.config.targets.items()
            },
            interval_seconds=int(owner.config.checkpoint_interval),
            open_seconds=self.open_seconds,
            unsaved=None if self.timers is None else self.timers.unsaved(),
        )

    def _sizes(self) -> dict[Tier, int]:
        return {tier: self.engine.size(tier) for tier in Tier}

    def _root(self, tier: Tier, size: int) -> bytes:
        return self.engine.head(tier, size).root
