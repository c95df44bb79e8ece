"""Holds: reasons why nothing of a session, or of one checkpoint, may go. Nothing overrides one but its release.

A hold is a record that the log key signs, so it comes back with the log, and who had what held, and when it was let go, stays
readable whatever goes. Retention leaves out what is held; erasure refuses.
"""

from __future__ import annotations

import shlex
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Final, Protocol

import msgspec

from aegis_store.catalog import Catalog, HoldPlaced, HoldRecord, HoldReleased, Row, SessionRecord
from aegis_store.checkpoint import moment
from aegis_store.errors import Held, InvalidArgument, NotFound
from aegis_store.lineage import last_ordinal
from aegis_store.records import Records
from aegis_store.schema import gaps as schema
from aegis_store.schema.names import called
from aegis_store.trust.signer import Signer
from aegis_store.types import Kind, LogIndex, Ordinal, Tier

#: Of a reason, and of who says so.
TEXT_CHARACTERS_MAX: Final = 4096
#: Above every ordinal.
ORDINAL_END: Final = 1 << 32


class HoldInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A hold that stands. `number` is what releases it. `ordinal`: of one checkpoint; None: of the whole session."""

    number: LogIndex
    session: str
    ordinal: Ordinal | None
    reason: str
    holder: str
    since: datetime


class Owner(Protocol):
    """What holds need of their store."""

    @property
    def records(self) -> Records: ...
    @property
    def catalog(self) -> Catalog: ...
    def catch_up(self) -> None: ...
    def store_signer(self, op: str) -> Signer:
        """The log key. ReadOnly: the store is open for reading."""
        ...

    def note(self, row: Row) -> None: ...
    def lost_track(self) -> None: ...


class Holds:
    """The holds of a store. Any number of threads may use it."""

    def __init__(self, owner: Owner, going: AbstractContextManager[object]) -> None:
        self._owner = owner
        #: Held by whoever decides what goes, and by whoever says what must not.
        self.going: Final = going

    def place(self, found: SessionRecord, *, reason: str, holder: str, ordinal: int | None) -> HoldInfo:
        """Hold a session, or one checkpoint of it; durable when this returns."""
        demand_text(reason, "reason", op="hold")
        demand_text(holder, "holder", op="hold")
        records = self._owner.records
        if ordinal is not None and not found.first_ordinal <= ordinal <= last_ordinal(found):
            raise NotFound(
                f"{called(records.tier, found.id)} has made no checkpoint {ordinal}: {own_ordinals(found)}",
                op="hold",
                path=records.engine.path,
                hint="what a fork inherited is held in the session that made it",
            )
        at = None if ordinal is None else Ordinal(ordinal)
        with self.going:
            if at is not None:
                self._demand_there(found, at)
            return self._write(found, reason, holder, at)

    def _write(self, found: SessionRecord, reason: str, holder: str, at: Ordinal | None) -> HoldInfo:
        records = self._owner.records
        envelope = schema.encode_hold(schema.Hold(reason=reason, holder=holder, ordinal=at))
        signer = self._owner.store_signer("hold")
        try:
            here = records.append(Kind.HOLD, records.seal(envelope), signer, tag=found.tag, ordinal=at or 0)
            records.commit(here.index)
            row = HoldPlaced(
                tier=records.tier,
                index=here.index,
                time_ms=here.time_ms,
                tag=found.tag,
                ordinal=at,
                reason=reason,
                holder=holder,
            )
            self._owner.note(row)
        except BaseException:
            self._owner.lost_track()
            raise
        return HoldInfo(
            number=here.index, session=found.id, ordinal=at, reason=reason, holder=holder, since=moment(here.time_ms)
        )

    def _demand_there(self, found: SessionRecord, ordinal: Ordinal) -> None:
        """Pruned, Erased: there is nothing to be held any more."""
        point = self._owner.catalog.checkpoint(found.number, ordinal)
        if point is not None:
            self._owner.records.read(point.index)

    def release(self, number: int, *, reason: str, by: str) -> None:
        """Let a hold go; durable when this returns. NotFound: none of that number stands."""
        demand_text(reason, "reason", op="release")
        demand_text(by, "name", op="release")
        records = self._owner.records
        hold = next((each for each in self.standing() if each.number == number), None)
        if hold is None:
            raise NotFound(
                f"no hold {number} stands",
                op="release",
                path=records.engine.path,
                hint=f"see which do: aegis holds {shlex.quote(records.engine.path)}",
            )
        envelope = schema.encode_release(schema.Release(hold=hold.number, reason=reason, by=by))
        signer = self._owner.store_signer("release")
        try:
            here = records.append(Kind.HOLD_RELEASE, records.seal(envelope), signer, tag=hold.tag, ordinal=hold.ordinal or 0)
            records.commit(here.index)
            self._owner.note(HoldReleased(tier=records.tier, index=here.index, hold=hold.number))
        except BaseException:
            self._owner.lost_track()
            raise

    def standing(self) -> list[HoldRecord]:
        """The holds that stand, oldest first."""
        self._owner.catch_up()
        return self._owner.catalog.holds(self._owner.records.tier)

    def reach(self, hold: HoldRecord) -> dict[bytes, range]:
        """What a hold keeps: ordinals of sessions, by their tags. One on a whole fork keeps what that inherited, too."""
        if hold.ordinal is not None:
            return {hold.tag: range(hold.ordinal, hold.ordinal + 1)}
        kept = {hold.tag: range(ORDINAL_END)}
        session = self._owner.catalog.session_by_tag(hold.tag)
        while session is not None and session.parent is not None:
            start = self._owner.records.entry_at(session.parent).entry
            kept[start.session_tag] = range(start.ordinal + 1)
            session = self._owner.catalog.session_by_tag(start.session_tag)
        return kept

    def infos(self, session_id: str | None = None) -> list[HoldInfo]:
        """The same, as people read them: all, or those of one session."""
        found = []
        for hold in self.standing():
            session = self._owner.catalog.session_by_tag(hold.tag)
            if session is None or session_id not in (None, session.id):
                continue
            found.append(
                HoldInfo(
                    number=hold.number,
                    session=session.id,
                    ordinal=hold.ordinal,
                    reason=hold.reason,
                    holder=hold.holder,
                    since=moment(hold.time_ms),
                )
            )
        return found

    def demand_none(self, found: SessionRecord, ordinal: int | None, *, op: str) -> None:
        """Held: a session, or the checkpoint that is to go, is held; or a fork is that has it in its history."""
        records = self._owner.records
        for hold in self.standing():
            if _touches(self.reach(hold).get(found.tag, ()), ordinal):
                what = "is" if hold.ordinal is None else f"has checkpoint {hold.ordinal}"
                if hold.tag != found.tag:
                    what = "is in the history of a session that is"
                raise Held(
                    f"{called(records.tier, found.id)} {what} held by {hold.holder} ({hold.reason})",
                    op=op,
                    path=records.engine.path,
                    hint=f"to let it go: aegis release {shlex.quote(records.engine.path)} {hold.number}{_in(records.tier)} "
                    "--reason …",
                )


def _in(tier: Tier) -> str:
    """Which holds a number is of, on a command line."""
    return "" if tier is Tier.SESSION else f" --tier {tier.label}"


def own_ordinals(found: SessionRecord) -> str:
    """Which checkpoints a session has made itself."""
    if found.last_ordinal is None:
        return "it has none of its own"
    return f"its own are {found.first_ordinal} to {found.last_ordinal}"


def _touches(ordinals: range | tuple[()], ordinal: int | None) -> bool:
    """Whether anything is kept, or this checkpoint."""
    return len(ordinals) > 0 if ordinal is None else ordinal in ordinals


def demand_text(text: str, what: str, *, op: str) -> None:
    """InvalidArgument for what tells nobody anything."""
    if type(text) is not str or not text.strip() or len(text) > TEXT_CHARACTERS_MAX:
        raise InvalidArgument(f"a {what} is a text of 1 to {TEXT_CHARACTERS_MAX:,} characters", op=op)
