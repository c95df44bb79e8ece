"""The checkpoints of one thread in one namespace: found, read once, and remembered.

What is the newest is the order in which they were put, for LangGraph's ids count up in one process only. One that was put again
keeps the place of the first of its id.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from operator import attrgetter
from typing import Final, NamedTuple

from aegis_store.adapters.langgraph.names import Line, line_of, session_id, thread_prefix
from aegis_store.adapters.langgraph.recall import Recall
from aegis_store.adapters.langgraph.rows import Pending, Row, pending_of, row_of
from aegis_store.catalog import SessionRecord
from aegis_store.chain import Stamp
from aegis_store.errors import Gone
from aegis_store.lineage import Place
from aegis_store.schema.writes import Part, Writes
from aegis_store.session import Session
from aegis_store.store import Store
from aegis_store.types import LogIndex

#: What is remembered of checkpoints, and of writes.
ROWS_BYTES: Final = 64 << 20
PARTS_BYTES: Final = 16 << 20
#: Checkpoints that are looked up at a time.
PAGE: Final = 64
#: Lines whose last row is known, if it is still remembered.
LAST_MAX: Final = 4096
#: Lines whose newest checkpoint is known.
SEEN_MAX: Final = 4096
#: Sessions that are looked up at a time.
SESSIONS_PAGE: Final = 256
_PART_OVERHEAD_BYTES: Final = 256


class Found(NamedTuple):
    """A row, and where it is; `others` are those of its id that it took the place of."""

    place: Place
    row: Row
    others: tuple[Place, ...] = ()

    @property
    def ordinals(self) -> Iterator[int]:
        """Of all checkpoints of the store that are this one."""
        yield self.place.ordinal
        yield from (other.ordinal for other in self.others)


class _Seen(NamedTuple):
    """What was found when the session stood so."""

    stamp: Stamp
    found: Found | None


class _Written(NamedTuple):
    """The pending writes of a checkpoint when its session had so many writes records."""

    writes: int
    pending: list[Pending]


class Lines:
    """What savers of one store share. Any number of threads may use it."""

    def __init__(self, store: Store) -> None:
        self.store: Final = store
        # Changes with everything that takes records away.
        self._age: Final = partial(attrgetter("gaps_version"), store.catalog)
        self._newest: Recall[int, _Seen] = Recall(SEEN_MAX, size_of=lambda seen: 1, age=self._age)
        self._pending: Recall[tuple[int, str], _Written] = Recall(
            PARTS_BYTES,
            size_of=lambda written: _PART_OVERHEAD_BYTES + sum(len(each.value[1]) for each in written.pending),
            age=self._age,
        )
        # Of a line, the record that was noted last.
        self._last: dict[Line, LogIndex] = {}
        self._rows: Recall[int, Row] = Recall(ROWS_BYTES, size_of=attrgetter("size"), age=self._age)
        self._parts: Recall[int, Part] = Recall(
            PARTS_BYTES, size_of=lambda part: len(part.body) + _PART_OVERHEAD_BYTES, age=self._age
        )

    def session(self, line: Line) -> Session:
        """The session that holds a line."""
        return self.store.session(session_id(line))

    # ---- which there are --------------------------------------------------------------------------------------------------

    def of_thread(self, thread: str) -> list[Line]:
        """The lines of a thread, the oldest first."""
        prefix = thread_prefix(thread)
        return [line for each in self._sessions() if each.id.startswith(prefix) and (line := line_of(each.id)) is not None]

    def all(self) -> list[Line]:
        """All lines, the oldest first."""
        return [line for each in self._sessions() if (line := line_of(each.id)) is not None]

    def _sessions(self) -> Iterator[SessionRecord]:
        self.store.check_open()
        self.store.catch_up()
        after: int | None = None
        while page := self.store.catalog.sessions(after=after, limit=SESSIONS_PAGE):
            yield from page
            after = page[-1].number

    # ---- rows -------------------------------------------------------------------------------------------------------------

    def note(self, line: Line, index: LogIndex, row: Row) -> None:
        """This process has put a row, and it is durable; or it has decoded one."""
        self._rows[index] = row
        self._last[line] = index
        if len(self._last) > LAST_MAX:
            self._last.pop(next(iter(self._last)), None)

    def recalled(self, line: Line, checkpoint_id: str) -> Row | None:
        """The row of that id, where it is the last one that was put or decoded: most are its successor's parent."""
        last = self._last.get(line)
        row = None if last is None else self._rows.known(last)
        return row if row is not None and row.id == checkpoint_id else None

    def find(self, line: Line, checkpoint_id: str) -> Found | None:
        """The checkpoint of that id, the newest that was put. None: there is none, or it went."""
        session = self.session(line)
        place = session.find(checkpoint_id)
        if place is None:
            return None
        with suppress(Gone):
            row = self._read(session, place)
            # Another id has the same tag once in 2**64.
            return Found(place, row) if row.id == checkpoint_id else None
        return None

    def latest(self, line: Line) -> Found | None:
        """The newest checkpoint of a line that is there."""
        stamp = self.session(line).stamp()
        if stamp is not None:
            row = self._rows.known(stamp.last)
            if row is not None and not row.is_again:
                return Found(Place(stamp.ordinal, stamp.last), row)
            seen = self._newest.known(stamp.number)
            if seen is not None and seen.stamp == stamp:
                return seen.found
        found = next(self.down(line, first_page=1), None)
        if stamp is not None:
            self._newest[stamp.number] = _Seen(stamp, found)
        return found

    def down(self, line: Line, *, before: int | None = None, first_page: int = PAGE) -> Iterator[Found]:
        """The checkpoints of a line that are there, newest first, looked up in pages as they are asked for; of ordinals below
        `before`."""
        session, again, limit = self.session(line), dict[str, Found](), first_page
        while page := session.places(before=before, limit=limit):
            for place in page:
                try:
                    row = self._read(session, place)
                except Gone:
                    continue
                newer = again.pop(row.id, None)
                found = Found(place, row) if newer is None else newer._replace(others=(*newer.others, place))
                if row.is_again:
                    again[row.id] = found
                else:
                    yield found
            before, limit = page[-1].ordinal, PAGE
            if before == 0:
                break
        # The first one went, as no caller of this adapter lets it, and what took its place is there.
        yield from again.values()

    def _read(self, session: Session, place: Place) -> Row:
        row = self._rows.known(place.index)
        if row is None:
            row = self._rows[place.index] = row_of(session.read(place))
        return row

    # ---- writes -----------------------------------------------------------------------------------------------------------

    @property
    def parts(self) -> Recall[int, Part]:
        """What is remembered of writes, for whoever writes."""
        return self._parts

    def writes(self, line: Line, checkpoint_id: str) -> list[Writes]:
        """What tasks wrote towards the successor of a checkpoint, in the order in which it came."""
        return self.session(line).writes(checkpoint_id, recall=self._parts)

    def pending(self, line: Line, checkpoint_id: str) -> list[Pending]:
        """The same as LangGraph wants it."""
        session = self.session(line)
        if session.has_no_writes(checkpoint_id):
            return []
        stamp = session.stamp()
        if stamp is None:
            return pending_of(self.writes(line, checkpoint_id))
        known = self._pending.known((stamp.number, checkpoint_id))
        if known is None or known.writes != stamp.writes:
            known = _Written(stamp.writes, pending_of(self.writes(line, checkpoint_id)))
            self._pending[stamp.number, checkpoint_id] = known
        return known.pending
