"""The audit events of workflows: one a transition, in the chain of the subject that has the workflow's name.

An event is made from a record of the session tier, or stands alone where a transition was not saved. It is asked for by
what it is made from, so that it is there once however often it is made.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Final

from aegis_store.audit import Event
from aegis_store.chain import Pending
from aegis_store.errors import Corrupt
from aegis_store.store import Store
from aegis_store.types import Ref
from aegis_store.workflow.links import ACTIONS, Entry, Transition, entry_from_wire, entry_to_wire, public
from aegis_store.workflow.saved import name_of
from aegis_store.workflow.steps import Wait


class Trail:
    """The audit trail of a store's workflows."""

    def __init__(self, store: Store) -> None:
        self._store: Final = store

    def submit(self, workflow_id: str, entry: Entry, agent: str, *, expect: Ref | None = None) -> Pending:
        """Queue the event of a transition, or find it where it was made before."""
        return self._store.audit.submit(
            entry.link.actor,
            entry.link.action,
            name_of(workflow_id),
            entry_to_wire(entry),
            expect=expect,
            request_id=made_from(entry),
            agent=agent,
        )

    def wait(self, ref: Ref) -> Wait:
        """For an event that is queued."""
        return Wait(ref.tier, ref.index, partial(self._store.audit.settle, ref))

    def requested(self, workflow_id: str, request_id: str) -> Ref | None:
        """The event of a transition that was asked for by that name and was not saved."""
        return self._store.audit.requested(name_of(workflow_id), asked_by(request_id))

    def newest(self, workflow_id: str) -> tuple[Entry, Ref] | None:
        """The newest transition that the audit tier has, and its event; None if it has none. Damage raises."""
        event = self._store.audit.latest(name_of(workflow_id))
        if event is None:
            return None
        if event.action in ACTIONS:
            return entry_of(event), event.ref
        # Somebody has said something else of the workflow since: what came before that is asked for.
        found = None
        for entry, ref in self.entries(workflow_id):
            found = entry, ref
        return found

    def entries(self, workflow_id: str) -> Iterator[tuple[Entry, Ref]]:
        """The transitions of a workflow, oldest first, each with its event. Damage raises where it lies."""
        for event in self._store.audit.events(name_of(workflow_id)):
            if event.action in ACTIONS:
                yield entry_of(event), event.ref

    def transitions(self, workflow_id: str) -> Iterator[Transition]:
        """The same as they are handed out."""
        for entry, ref in self.entries(workflow_id):
            yield public(workflow_id, entry, ref)


def made_from(entry: Entry) -> str:
    """The request id of the event of a transition: the record that it is one with, what its caller called it, its number."""
    if entry.record is not None:
        return f"session/{entry.record}"
    return f"transition/{entry.link.number}" if entry.request is None else asked_by(entry.request)


def asked_by(request_id: str) -> str:
    """The request id of the event of a transition that was not saved, by that of its caller."""
    return f"request/{request_id}"


def entry_of(event: Event) -> Entry:
    """The transition of an event. Corrupt: it says none."""
    try:
        return entry_from_wire(event.details, event.actor)
    except Corrupt as error:
        raise Corrupt(error.message, op="workflow", tier=event.ref.tier.label, index=event.ref.index) from None
