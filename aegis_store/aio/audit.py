"""The audit tier for tasks: `aegis_store.Audit` as coroutines."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from functools import partial
from typing import Final

from aegis_store.aio.landing import Landings
from aegis_store.aio.turns import in_thread_to_its_end, turn_by_turn
from aegis_store.audit import Audit as SyncAudit
from aegis_store.audit_chain import Checked, Event
from aegis_store.types import Ref


class Audit:
    """The audit tier of an open store, as `Store.audit`, for any number of tasks, loops and threads.

    Everything is as in `aegis_store.Audit`, but for what is said here. An event costs no thread: it is queued in the loop, as a
    checkpoint is, and tasks that record at the same time share syncs.
    """

    def __init__(self, landings: Landings, audit: SyncAudit) -> None:
        self._landings: Final = landings
        self._audit: Final = audit

    @property
    def agent(self) -> str:
        """Whose key signs, where nobody else is named."""
        return self._audit.agent

    async def landed(self) -> None:
        """Return when what the running loop has on its way has landed, or failed."""
        await self._landings.landed()

    # ---- writing ----------------------------------------------------------------------------------------------------------

    async def record(
        self,
        actor: str,
        action: str,
        subject: str,
        details: object = None,
        *,
        expect: Ref | None = None,
        request_id: str | None = None,
        agent: str | None = None,
    ) -> Ref:
        """Write an event down; it is durable when this returns.

        A task that is cancelled in here has recorded it once or not at all; a `request_id` tells, when it is given again.
        """
        await self._landings.enrolled(self._audit.agent if agent is None else agent)
        landing = self._landings.here()
        pending = self._audit.submit(actor, action, subject, details, expect=expect, request_id=request_id, agent=agent)
        await landing.wait_for(pending.ref.index, partial(self._audit.settle, pending.ref))
        return pending.ref

    # ---- reading ----------------------------------------------------------------------------------------------------------

    def events(
        self,
        subject: str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        action: str | None = None,
    ) -> AsyncIterator[Event]:
        """Events in the order in which they were written, those of a subject, or all; other tasks have a turn between two."""
        return turn_by_turn(self._audit.events(subject, since=since, until=until, action=action))

    async def latest(self, subject: str) -> Event | None:
        """The newest event of a subject; None if there is none."""
        return self._audit.latest(subject)

    def newest_first(self, subject: str) -> AsyncIterator[Event]:
        """The events of a subject, from its newest back to its first; other tasks have a turn between two."""
        return turn_by_turn(self._audit.newest_first(subject))

    def subjects(self) -> AsyncIterator[str]:
        """The subjects of which something was recorded; other tasks have a turn between two."""
        return turn_by_turn(self._audit.subjects())

    async def since(self, record: int) -> tuple[list[Event], int]:
        """The events from that record on, and the record to go on from; in a thread."""
        return await in_thread_to_its_end(partial(self._audit.since, record))

    async def size(self) -> int:
        """How many records the tier has, those that begin subjects and enrol keys counted."""
        return self._audit.size()

    # ---- checking: in a thread --------------------------------------------------------------------------------------------

    async def verify_chain(self, subject: str) -> tuple[bool, str | None]:
        """Whether every event of a subject is what was recorded and follows the one before it; and if not, where and why."""
        return await in_thread_to_its_end(partial(self._audit.verify_chain, subject))

    async def verify_chains(self, subjects: Iterable[str] | None = None) -> list[Checked]:
        """The same of several subjects, or of all."""
        return await in_thread_to_its_end(lambda: list(self._audit.verify_chains(subjects)))
