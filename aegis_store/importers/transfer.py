"""From a source into a store: what is not there yet, parents first, each with the writes that wait beside it.

What is there is known by its checkpoint's id, and compared: so a transfer that was killed at any moment is run again, one that
is run twice doubles nothing, and a source that has grown goes on. A line that went on here is left alone, for what the source
has since is not what came after.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

import msgspec

from aegis_store.adapters.langgraph.lines import Lines
from aegis_store.adapters.langgraph.names import Line
from aegis_store.adapters.langgraph.rows import Pending, Row, pending_of
from aegis_store.errors import Gone, InvalidArgument, StateTooLarge
from aegis_store.importers.order import parents_first
from aegis_store.importers.source import Source, Step, Unfit
from aegis_store.lineage import Place
from aegis_store.schema.writes import Writes
from aegis_store.session import Session
from aegis_store.store import Store

#: Told now and then: how many rows of the source lie behind, checkpoints and writes, and how many bytes.
Progress = Callable[[int, int], None]


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """What was not taken, and why. Without `checkpoint` it is all that the line has, without `namespace` more than one line."""

    thread: str | None
    namespace: str | None
    why: str
    checkpoint: str | None = None
    task: str | None = None
    channel: str | None = None


class Outcome(msgspec.Struct, kw_only=True):
    """What a transfer did. `replaced` were there and had been put again in the source; `present` were there and are the same.

    `tasks` counts what tasks wrote, once for each task and checkpoint; `bytes` is what was read of the source.
    """

    threads: int = 0
    lines: int = 0
    checkpoints: int = 0
    present: int = 0
    replaced: int = 0
    tasks: int = 0
    bytes: int = 0
    #: Checkpoints that were pruned or erased here after an earlier import, and stay so.
    gone: int = 0
    refused: list[Refusal] = msgspec.field(default_factory=list)


class Transfer:
    """One run, into `store`. With `rehearse` nothing is written: everything is read and looked at, and counted as if it were;
    there need not be a store then."""

    def __init__(
        self, source: Source, store: Store | None, *, rehearse: bool = False, progress: Progress | None = None
    ) -> None:
        self.outcome: Final = Outcome()
        self._source = source
        self._progress = progress
        self._lines = None if store is None else Lines(store)
        self._rehearse = rehearse
        self._rows = 0
        self._bytes_max: int | None = None

    def run(self, threads: Sequence[str] = (), *, bytes_max: int | None = None) -> Outcome:
        """Take the lines of these threads, of all if none is named; stop after `bytes_max` bytes.

        SourceUnreadable, and errors as of `Session.checkpoint`: what was taken until then is there, and another run goes on.
        InvalidArgument: a thread that was named is not in the source, and nothing was taken.
        """
        self._bytes_max = bytes_max
        lines = list(self._source.lines(threads))
        there = {line.thread for line in lines if isinstance(line, Line)}
        missing = sorted(set(threads) - there)
        if missing:
            raise InvalidArgument(
                f"there is no thread {missing[0]!r} in it",
                op="import",
                path=self._source.name,
                hint="without --thread all are taken; how many there are: --dry-run",
            )
        for _, group in groupby(lines, key=lambda each: each.thread if isinstance(each, Line) else None):
            of_thread: list[Line] = []
            for each in group:
                if isinstance(each, Line):
                    of_thread.append(each)
                else:
                    self._refuse(None, each)
            if of_thread and not self._is_enough:
                self.outcome.lines += len(of_thread)
                self._take(of_thread)
        self.outcome.threads = len(there)
        return self.outcome

    @property
    def _is_enough(self) -> bool:
        return self._bytes_max is not None and self.outcome.bytes >= self._bytes_max

    def _take(self, lines: Sequence[Line]) -> None:
        """The lines of a thread, side by side as they came to be: a list of all of a thread gives them so."""
        plans = [plan for line in lines if (plan := self._planned(line)) is not None]
        for plan in plans:
            # Writes whose checkpoint is not there, or not yet, come first: it may be one of the oldest that were let go.
            for checkpoint_id in plan.early:
                self._take_writes(plan.here, checkpoint_id)
                self._tell()
        for step, plan in heapq.merge(*(plan.steps() for plan in plans), key=lambda each: each[0].id):
            if self._take_checkpoint(plan.here, step) and step.id in plan.waiting:
                self._take_writes(plan.here, step.id)
            self._rows += 1
            self._tell()
            if self._is_enough:
                break

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(self._rows, self.outcome.bytes)

    def _planned(self, line: Line) -> _Plan | None:
        """What is to be done for a line; None: it is left alone."""
        steps: list[Step] = []
        for each in self._source.steps(line):
            if isinstance(each, Unfit):
                self._refuse(line, each)
            else:
                steps.append(each)
        ordered, circular = parents_first(steps)
        for step in circular:
            self._refuse(line, Unfit("its parents lead back to it"), step.id)
        here, ids = _Here(self._lines, line, rehearse=self._rehearse), {step.id for step in ordered}
        if here.went_on(ids):
            self._refuse(line, Unfit("it has gone on in the store since it was imported, and in the source too"))
            return None
        waiting = frozenset(self._source.awaited(line)) - {step.id for step in circular}
        return _Plan(here, ordered, waiting, sorted(waiting - ids))

    def _take_checkpoint(self, here: _Here, step: Step) -> bool:
        """Whether it is there now; its writes go with it."""
        try:
            row = self._source.row(here.line, step)
        except Unfit as error:
            self._refuse(here.line, error, step.id)
            return False
        self.outcome.bytes += (
            len(row.checkpoint[1]) + len(row.metadata[1]) + sum(len(each) for _, each in row.channels.values())
        )
        try:
            found = here.row(step.id)
        except Gone:
            self.outcome.gone += 1
            return False
        if found is not None and row.says_the_same_as(found):
            self.outcome.present += 1
            return True
        if not self._put(here.line, step.id, partial(here.put, row, replace=found is not None)):
            return False
        if found is None:
            self.outcome.checkpoints += 1
        else:
            self.outcome.replaced += 1
        return True

    def _take_writes(self, here: _Here, checkpoint_id: str) -> None:
        taken, unfit = self._source.writes(here.line, checkpoint_id)
        for error in unfit:
            self._refuse(here.line, error, checkpoint_id)
        there = here.pending(checkpoint_id)
        for each in taken:
            self._rows += len(each.writes)
            self.outcome.bytes += sum(len(write.value) for write in each.writes)
            if pending_of([each]) != [known for known in there if (known.path, known.task) == (each.path, each.task)]:
                self.outcome.tasks += self._put(here.line, checkpoint_id, partial(here.write, each))

    def _put(self, line: Line, checkpoint_id: str, put: Callable[[], None]) -> bool:
        """Whether it was taken: a value that is too large for the store is refused, and the rest goes on."""
        try:
            put()
        except StateTooLarge as error:
            self._refuse(line, Unfit(error.message), checkpoint_id)
            return False
        return True

    def _refuse(self, line: Line | None, error: Unfit, checkpoint_id: str | None = None) -> None:
        self.outcome.refused.append(
            Refusal(
                thread=None if line is None else line.thread,
                namespace=None if line is None else line.namespace,
                checkpoint=checkpoint_id,
                task=error.task,
                channel=error.channel,
                why=error.why,
            )
        )


class _Plan(NamedTuple):
    """What is to be done for a line: its checkpoints in order; those that writes wait for, and of these which do not come."""

    here: _Here
    ordered: list[Step]
    waiting: frozenset[str]
    early: list[str]

    def steps(self) -> Iterator[tuple[Step, _Plan]]:
        """Its checkpoints, each with this."""
        return ((step, self) for step in self.ordered)


class _Here:
    """A line as the store has it, and is given what it lacks."""

    def __init__(self, lines: Lines | None, line: Line, *, rehearse: bool) -> None:
        self._lines = lines
        self.line: Final = line
        self._rehearse = rehearse
        self._session: Session | None = None if lines is None else lines.session(line)
        self._is_new = self._session is None or self._session.info() is None
        self._places: dict[str, Place] = {}

    def went_on(self, ids: Collection[str]) -> bool:
        """Whether its newest checkpoint is none of these, and one of these is not in it."""
        if self._is_new or self._session is None:
            return False
        places = {each: self._session.find(each) for each in ids}
        self._places = {each: place for each, place in places.items() if place is not None}
        newest = self._session.places(limit=1)
        ordinals = {place.ordinal for place in self._places.values()}
        return bool(newest) and newest[0].ordinal not in ordinals and len(self._places) < len(places)

    def row(self, checkpoint_id: str) -> Row | None:
        """The checkpoint of that id; None: it is not here. Gone: it was."""
        place = self._places.get(checkpoint_id)
        if place is None or self._lines is None or self._session is None:
            return None
        found = self._lines.find(self.line, checkpoint_id)
        if found is None:
            self._session.read(place)  # Gone; or another id with the same tag, as there is once in 2**64
        return None if found is None else found.row

    def pending(self, checkpoint_id: str) -> list[Pending]:
        """What waits beside a checkpoint."""
        return [] if self._is_new or self._lines is None else self._lines.pending(self.line, checkpoint_id)

    def put(self, row: Row, *, replace: bool) -> None:
        """Keep a checkpoint; with `replace` in the place of the one of its id."""
        if self._session is not None and not self._rehearse:
            given = msgspec.structs.replace(row, is_again=replace)
            self._session.land(self._session.submit_plain(**given.arguments(), replace=replace).ref.index)

    def write(self, writes: Writes) -> None:
        """Keep what a task wrote."""
        if self._session is not None and not self._rehearse:
            self._session.write(writes)
