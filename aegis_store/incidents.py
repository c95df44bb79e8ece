"""Security incidents: while one is open, nothing of its session starts or goes on.

An incident is a chain of the audit tier, "incident/<number>", whose first event opens it and whose closing says who and why.
What is open is asked for once, and then known, for one process writes. The gate stands where a session is looked up for
writing, so that a checkpoint of a session whose standing is known pays nothing for it.

Where it cannot be read whose incident one is, every session is refused until it is closed: who can damage an audit trail must
not be able to let a session go on by that.
"""

from __future__ import annotations

import re
import shlex
import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import msgspec

from aegis_store.audit import Audit, Event
from aegis_store.catalog import Catalog
from aegis_store.chain import NO_CHECKPOINT, Chain
from aegis_store.errors import AegisError, Corrupt, IncidentOpen, NotFound
from aegis_store.holding import demand_text
from aegis_store.types import Tier

OPENED: Final = "incident.opened"
CLOSED: Final = "incident.closed"
#: Between a session's id and the number of its restart, from 2: such ids are of one family, and one incident is all's.
RESTART_MARK: Final = "~"
_restart: Final = re.compile(rf"(?s)(.+?){RESTART_MARK}[1-9][0-9]*")


class Incident(msgspec.Struct, frozen=True, kw_only=True):
    """A security incident of a session. `session` is None where that can no longer be read, `details` what was said when it
    was opened. `closed_at`, `closed_by` and `closed_why` are None while it is open."""

    number: int
    session: str | None
    opened_at: datetime | None
    reason: str | None
    details: Mapping[str, object]
    closed_at: datetime | None = None
    closed_by: str | None = None
    closed_why: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether its session is refused."""
        return self.closed_at is None


class Owner(Protocol):
    """What incidents need of their store."""

    @property
    def path(self) -> Path: ...
    @property
    def audit(self) -> Audit: ...
    @property
    def catalog(self) -> Catalog: ...
    def check_open(self) -> None: ...
    def catch_up(self) -> None: ...
    def chains(self) -> Sequence[Chain]:
        """What is held of sessions."""
        ...


class Incidents:
    """The incidents of an open store, as `Store.incidents`. Any number of threads may use it."""

    def __init__(self, owner: Owner, *, writes: bool) -> None:
        self._owner = owner
        self._writes = writes
        # How many there are at least: they never go.
        self._counted = 0
        self._lock = threading.Lock()
        # Number -> the family whose incident it is, of those that are open. None: any. Not read yet: None.
        self._open: dict[int, str | None] | None = None

    # ---- what there is ----------------------------------------------------------------------------------------------------

    def list(self, *, open: bool | None = None) -> list[Incident]:
        """All of them in the order in which they were opened; with `open` only those that are, or are not."""
        self._owner.check_open()
        found = (self._read(number) for number in range(1, self._count() + 1))
        return [each for each in found if open in (None, each.is_open)]

    def get(self, number: int) -> Incident:
        """One of them. NotFound: none has that number."""
        self._owner.check_open()
        if not 1 <= number <= self._count():
            raise NotFound(
                f"there is no incident {number}",
                op="incident",
                path=str(self._owner.path),
                hint=f"see which there are: aegis incident list {self._path()}",
            )
        return self._read(number)

    def of(self, session_id: str) -> Incident | None:
        """The open incident of a session, or of a session that it is a restart of, or that is one of it; None if there is none.
        The oldest of several."""
        self._owner.check_open()
        if not self._writes:  # somebody else opens and closes them
            return next((each for each in self.list(open=True) if each.session and _are_one(each.session, session_id)), None)
        with self._lock:
            return self._of(session_id)

    def _of(self, session_id: str) -> Incident | None:
        """The same in a writer. The lock is held."""
        number = min((number for number, whose in self._known().items() if whose == family(session_id)), default=None)
        return None if number is None else self._read(number)

    # ---- opening and closing ----------------------------------------------------------------------------------------------

    def open(self, session_id: str, *, reason: str, by: str, details: Mapping[str, object] | None = None) -> Incident:
        """Open one; durable when this returns, and from then on the session is refused. The session's own, if it has one."""
        demand_text(reason, "reason", op="incident")
        self._owner.check_open()
        with self._lock:
            standing = self._known()
            found = self._of(session_id)
            if found is None:
                number = self._count() + 1
                said = {"session": session_id, "reason": reason, **(details or {})}
                self._owner.audit.record(by, OPENED, subject_of(number), said, expect=NO_CHECKPOINT)
                standing[number] = family(session_id)
                found = self._read(number)
        self._ask_again(session_id)
        return found

    def close(self, number: int, *, reason: str, by: str) -> Incident:
        """Close one; durable when this returns. A clean session may start; holds stay until they are released. NotFound: none
        of that number is open."""
        demand_text(reason, "reason", op="incident")
        demand_text(by, "name", op="incident")
        with self._lock:
            standing = self._known()
            if not self.get(number).is_open:
                raise NotFound(f"incident {number} was closed before", op="incident", path=str(self._owner.path))
            self._owner.audit.record(by, CLOSED, subject_of(number), {"reason": reason}, request_id="closed")
            standing.pop(number, None)
            return self._read(number)

    def demand_none(self, session_id: str) -> None:
        """IncidentOpen: one of the session is open, or one of which nobody can read whose it is."""
        standing = self._open
        if standing is None:
            with self._lock:
                standing = self._known()
        if not standing:
            return
        name = family(session_id)
        for number, whose in list(standing.items()):
            if whose in (None, name):
                what = "an incident is open whose session cannot be read" if whose is None else "its security incident is open"
                error = IncidentOpen(
                    f"session {session_id!r} can't start or go on: {what} (number {number})",
                    op="checkpoint",
                    path=str(self._owner.path),
                    hint=f"once it is dealt with: aegis incident close {self._path()} {number} --reason …",
                )
                error.incident = number
                raise error

    # ---- within -----------------------------------------------------------------------------------------------------------

    def _known(self) -> dict[int, str | None]:
        """Those that are open, read once. The lock is held."""
        if self._open is None:
            found = (self._read(number) for number in range(1, self._count() + 1))
            self._open = {each.number: None if each.session is None else family(each.session) for each in found if each.is_open}
        return self._open

    def _count(self) -> int:
        """How many there are: their numbers have no gaps. Raises where damage may hide one."""
        self._owner.catch_up()
        while self._owner.catalog.session(subject_of(self._counted + 1), Tier.AUDIT) is not None:
            self._counted += 1
        self._owner.audit.latest(subject_of(self._counted + 1))  # None, or what hides it
        return self._counted

    def _read(self, number: int) -> Incident:
        opened, closed = self._first(number), self._closing(number)
        details = {} if opened is None else opened.details
        if not isinstance(details, dict):
            details = {}
        session, reason = details.pop("session", None), details.pop("reason", None)
        return Incident(
            number=number,
            session=session if isinstance(session, str) else None,
            opened_at=None if opened is None else opened.created_at,
            reason=reason if isinstance(reason, str) else None,
            details=details,
            closed_at=None if closed is None else closed.created_at,
            closed_by=None if closed is None else closed.actor,
            closed_why=_reason(closed),
        )

    def _first(self, number: int) -> Event | None:
        """What opened it; None where that cannot be read."""
        try:
            event = next(self._owner.audit.events(subject_of(number)), None)
            return event if event is not None and event.action == OPENED else None
        except Corrupt:
            return None

    def _closing(self, number: int) -> Event | None:
        """What closed it; None while it is open, and where that cannot be read."""
        try:
            event = self._owner.audit.latest(subject_of(number))
        except AegisError:
            return None
        return event if event is not None and event.action == CLOSED else None

    def _ask_again(self, session_id: str) -> None:
        """The sessions that are held look again whether they may go on."""
        for chain in self._owner.chains():
            if _are_one(chain.id, session_id):
                chain.look_again()

    def _path(self) -> str:
        return shlex.quote(str(self._owner.path))


def subject_of(number: int) -> str:
    """What the audit tier calls an incident."""
    return f"incident/{number}"


def family(session_id: str) -> str:
    """The id of the session that this one is a restart of, or its own."""
    found = _restart.fullmatch(session_id)
    return session_id if found is None else found[1]


def _are_one(one: str, other: str) -> bool:
    return family(one) == family(other)


def restart_id(session_id: str, number: int) -> str:
    """The id of a session's restart of that number, from 2."""
    return f"{family(session_id)}{RESTART_MARK}{number}"


def _reason(event: Event | None) -> str | None:
    reason = event.details.get("reason") if event is not None and isinstance(event.details, dict) else None
    return reason if isinstance(reason, str) else None
