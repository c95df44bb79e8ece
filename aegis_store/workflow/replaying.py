"""After a crash: the audit events that were about to be made.

Each record of a workflow says below which index of the session tier nothing was open when it was written. So the newest one
in the log that can be read says from where on to look; what comes behind that is read, and for each workflow that it is of,
what the newest checkpoint says should be there is made, which changes nothing where it is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from aegis_store._engine import Record
from aegis_store.checkpoint import as_checkpoint
from aegis_store.errors import AegisError, Corrupt, Gone, NewerFormat, UnknownType
from aegis_store.store import Store
from aegis_store.types import Kind, LogIndex, Tier
from aegis_store.workflow.moves import Moves
from aegis_store.workflow.saved import PREFIX, id_of, name_of, saved_in
from aegis_store.workflow.standing import board_of
from aegis_store.workflow.steps import Steps

#: Records that are looked at together, from the end of the log backwards.
PAGE: Final = 256


def replay_all(store: Store, moves: Moves) -> Steps[int]:
    """See to every workflow that a crash, or a call that failed, may have left without an event. How many those were."""
    board = board_of(store)
    failed = board.failed()  # before the log is looked at
    store.catch_up()
    size = store.records.size()
    names = sorted(_Looked(store, size).names_behind())
    for name in names:
        yield from replay(store, moves, id_of(name))
    store.audit.land()
    board.settle(failed)
    return len(names)


def replay(store: Store, moves: Moves, workflow_id: str) -> Steps[None]:
    """The same for one workflow. What cannot be believed is left to whoever reads it, and names it."""
    try:
        checkpoint = store.session(name_of(workflow_id)).latest()
        if checkpoint is None:
            return
        saved = saved_in(checkpoint)
    except (Corrupt, Gone, NewerFormat, UnknownType):
        return
    yield from moves.replay(workflow_id, saved)


class _Looked:
    """The records of workflows at the end of the session tier's log."""

    def __init__(self, store: Store, size: int) -> None:
        self._store = store
        self._size = size
        self._names: dict[bytes, str | None] = {}

    def names_behind(self) -> set[str]:
        """The sessions of the workflows that have a record behind the index from which on to look."""
        due = self._size
        found: set[str] = set()
        start: int | None = None
        while due > (start or 0):
            first = max(start or 0, due - PAGE)
            for record in reversed(self._page(first, due)):
                name = self._name(record)
                if name is None:
                    continue
                if start is None:
                    start = self._audited_below(record, name)
                if start is None or record.index >= start:
                    found.add(name)
            due = first
        return found

    def _page(self, first: int, end: int) -> list[Record]:
        engine = self._store.records.engine
        try:
            return engine.read_range(Tier.SESSION, first, end - first)
        except AegisError:
            return [record for index in range(first, end) for record in self._alone(index)]

    def _alone(self, index: int) -> Iterator[Record]:
        with suppress(AegisError):  # damage: verifying names it
            yield self._store.records.engine.read(Tier.SESSION, index)

    def _name(self, record: Record) -> str | None:
        if record.kind != Kind.CHECKPOINT:
            return None
        with suppress(AegisError):
            tag = self._store.records.entry_of(record).session_tag
            if tag not in self._names:
                session = self._store.catalog.session_by_tag(tag)
                is_one = session is not None and not session.is_erased and session.id.startswith(PREFIX)
                self._names[tag] = session.id if session is not None and is_one else None
            return self._names[tag]
        return None

    def _audited_below(self, record: Record, name: str) -> int | None:
        """What a record says; None where it cannot be believed, or is gone."""
        with suppress(AegisError):
            believed = self._store.records.read(LogIndex(record.index))
            return saved_in(as_checkpoint(believed, name, self._store.types)).audited_below
        return None
