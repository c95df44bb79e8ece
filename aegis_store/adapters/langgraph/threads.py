"""What is done to whole threads: erased, copied, or let go but for what is needed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from aegis_store.adapters.langgraph.lines import PAGE, Found, Lines
from aegis_store.adapters.langgraph.names import Line, session_id
from aegis_store.adapters.langgraph.pruning import ancestors_needed
from aegis_store.adapters.langgraph.rows import Opener, Row, row_of
from aegis_store.errors import Gone, NotFound
from aegis_store.lineage import Place
from aegis_store.session import Session
from aegis_store.types import LogIndex

#: Records of a copy that are queued before it waits for them.
COPIED_AT_ONCE: Final = 64
_DELETED: Final = "deleted in LangGraph"
_KEEP_LATEST: Final = "pruned in LangGraph: keep_latest"
_FOR_RUNS: Final = "deleted in LangGraph for its run"


# ---- what goes --------------------------------------------------------------------------------------------------------------


def delete(lines: Lines, threads: Sequence[str]) -> None:
    """Erase all that the store has of threads, at once. Held: something of them is held, and nothing was erased."""
    store = lines.store
    while sessions := [session_id(line) for thread in threads for line in lines.of_thread(thread)]:
        with suppress(NotFound):  # somebody else erased one of them meanwhile
            store.keeping.eraser.sessions(sessions, reason=_DELETED, by=store.agent)
            return


def keep_latest(lines: Lines, threads: Sequence[str], opener: Opener) -> None:
    """Let go of all but the newest of each line, what that needs, and what is held."""
    going: dict[str, set[int]] = {}
    for thread in threads:
        for line in lines.of_thread(thread):
            newest = lines.latest(line)
            if newest is not None:
                going[session_id(line)] = _all_but(lines, line, opener, {newest.row.id}.__contains__)
    lines.store.keeping.sweeper.prune(going, reason=_KEEP_LATEST)


def delete_runs(lines: Lines, runs: Collection[str], opener: Opener) -> None:
    """Let go of what runs made, in all threads, but for what others need. Held: some of it is held, and nothing went."""
    going: dict[str, set[int]] = {}
    for line in lines.all() if runs else ():
        made = {found.row.id for found in lines.down(line) if opener.metadata(found.row).get("run_id") in runs}
        if made:
            going[session_id(line)] = _all_but(lines, line, opener, partial(_is_none_of, made))
    keeping, catalog = lines.store.keeping, lines.store.catalog
    if keeping.holds.standing():
        for session, ordinals in going.items():
            found = catalog.session(session)
            for ordinal in ordinals:
                if found is not None:
                    keeping.holds.demand_none(found, ordinal, op="delete_for_runs")
    keeping.sweeper.prune(going, reason=_FOR_RUNS)


def _is_none_of(made: Collection[str], checkpoint_id: str) -> bool:
    return checkpoint_id not in made


def _all_but(lines: Lines, line: Line, opener: Opener, is_kept: Callable[[str], bool]) -> set[int]:
    """The ordinals of what is neither kept nor needed by what is."""
    needed: set[str] = set()
    others: list[Found] = []

    def find(checkpoint_id: str) -> Row | None:
        found = lines.find(line, checkpoint_id)
        return None if found is None else found.row

    for found in lines.down(line):
        if is_kept(found.row.id):
            needed.update(row.id for row in ancestors_needed(found.row, find, opener))
        else:
            others.append(found)
    return {ordinal for found in others if found.row.id not in needed for ordinal in found.ordinals}


# ---- copies -----------------------------------------------------------------------------------------------------------------


def copy(lines: Lines, source: str, target: str) -> None:
    """Copy the checkpoints of a thread, oldest first, each with its writes. Nothing is shared: the one can be erased and the
    other not."""
    for line in lines.of_thread(source):
        copying = _Copying(lines.session(line._replace(thread=target)))
        try:
            for place in _oldest_first(lines.session(line)):
                with suppress(Gone):
                    row = row_of(lines.session(line).read(place))
                    copying.checkpoint(row)
                    copying.writes(lines, line, row.id)
            copying.land()
        except BaseException:
            lines.store.lost_track()  # of what is on its way: whoever copies again is to find it
            raise


def _oldest_first(session: Session) -> list[Place]:
    places: list[Place] = []
    while page := session.places(before=places[-1].ordinal if places else None, limit=PAGE):
        places += page
        if page[-1].ordinal == 0:
            break
    return places[::-1]


class _Copying:
    """Records on their way to a session. What it has already is left out."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._last: LogIndex | None = None
        self._queued = 0

    def checkpoint(self, row: Row) -> None:
        if row.is_again or self._session.find(row.id) is None:
            self._queue(self._session.submit_plain(**row.arguments(), replace=row.is_again).ref.index)

    def writes(self, lines: Lines, line: Line, checkpoint_id: str) -> None:
        written = lines.writes(line, checkpoint_id)
        there = self._session.writes(checkpoint_id) if written else []
        for each in written:
            if each not in there:
                self._queue(self._session.submit_write(each))

    def _queue(self, index: LogIndex) -> None:
        self._last, self._queued = index, self._queued + 1
        if self._queued >= COPIED_AT_ONCE:
            self.land()

    def land(self) -> None:
        """Wait for what is on its way."""
        if self._last is not None:
            self._session.land(self._last)
            self._last, self._queued = None, 0
