"""Is what a store has what the source had? Each checkpoint is read back through our saver, with every check, and compared.

With what: the bytes that the source gives now, value by value, with their order, types, parents and metadata; and, where the
package of the source's own saver is installed, the tuple that that one gives: configuration, checkpoint, metadata, parent
and pending writes. Both savers read with the same strict serializer, so that neither makes an object of a class that is not
known to be harmless. Values that are not equal to themselves (NaN, arrays) are compared as that serializer writes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from aegis_store.adapters.langgraph import AegisSaver
from aegis_store.adapters.langgraph.lines import Lines
from aegis_store.adapters.langgraph.names import Line
from aegis_store.adapters.langgraph.rows import pending_of
from aegis_store.importers.order import parents_first
from aegis_store.importers.source import Source, Step, Unfit
from aegis_store.importers.transfer import Progress
from aegis_store.store import Store

#: Differences that are named; the rest is counted.
NAMED_MAX: Final = 20


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A checkpoint that is not here as it is there. `what`: which part of it."""

    thread: str
    namespace: str
    checkpoint: str
    what: str


class Comparison(msgspec.Struct, kw_only=True):
    """What reading back found. `with_own_saver`: how many were compared with the tuple of the source's saver as well.

    `unread`: those that the source's own saver fails to read, which are compared as bytes alone.
    """

    equal: int = 0
    with_own_saver: int = 0
    unread: int = 0
    different: int = 0
    differences: list[Difference] = msgspec.field(default_factory=list)


def compare(source: Source, store: Store, threads: Sequence[str] = (), *, progress: Progress | None = None) -> Comparison:
    """Compare what is in both; what the source has and a transfer refuses, or what went here since, is left out."""
    return _Reader(source, store, progress).run(threads)


class _Reader:
    def __init__(self, source: Source, store: Store, progress: Progress | None) -> None:
        self.found: Final = Comparison()
        self._source = source
        self._lines = Lines(store)
        self._serde = JsonPlusSerializer(allowed_msgpack_modules=None)
        self._saver = AegisSaver(store, serde=self._serde)
        self._own = source.own_reader(self._serde)
        self._progress = progress
        self._rows = self._bytes = 0

    def run(self, threads: Sequence[str]) -> Comparison:
        for line in self._source.lines(threads):
            if isinstance(line, Line):
                self._line(line)
        return self.found

    def _line(self, line: Line) -> None:
        ordered, _ = parents_first(each for each in self._source.steps(line) if isinstance(each, Step))
        newest = None
        for step in ordered:
            try:
                found = self._step(line, step)
            except Unfit:
                continue
            newest = step.id if found is not None else newest
            if found:
                self._note(line, step.id, found)
            elif found is not None:
                self.found.equal += 1
        if newest is not None:
            latest = self._lines.latest(line)
            if latest is None or (latest.row.id != newest and latest.row.id in {step.id for step in ordered}):
                self._note(line, newest, "it is not the newest here")

    def _step(self, line: Line, step: Step) -> str | None:
        """What differs, "" if nothing does; None: it is not here."""
        row = self._source.row(line, step)
        writes, unfit = self._source.writes(line, step.id)
        here = self._lines.find(line, step.id)
        self._rows += 1 + sum(len(each.writes) for each in writes)
        self._bytes += row.size
        if self._progress is not None:
            self._progress(self._rows, self._bytes)
        if here is None:
            return None
        if not row.says_the_same_as(here.row):
            return "its bytes"
        if pending_of(writes) != self._lines.pending(line, step.id):
            return "its pending writes"
        return self._tuples(line, step, whole=not unfit)

    def _tuples(self, line: Line, step: Step, *, whole: bool) -> str:
        """The same with the tuples of both savers. Pending writes are left out where some of them were refused."""
        if self._own is None:
            return ""
        config: RunnableConfig = {
            "configurable": {"thread_id": line.thread, "checkpoint_ns": line.namespace, "checkpoint_id": step.id}
        }
        try:
            theirs = self._own(config)
        except Exception:  # whatever a foreign saver makes of a damaged value
            self.found.unread += 1
            return ""
        ours = self._saver.get_tuple(config)
        if ours is None or theirs is None:
            return "the whole of it"
        for name in ("config", "checkpoint", "metadata", "parent_config", "pending_writes"):
            if name == "pending_writes" and not whole:
                continue
            if not self._is_equal(getattr(ours, name), getattr(theirs, name)):
                return f"its {name}"
        self.found.with_own_saver += 1
        return ""

    def _is_equal(self, ours: Any, theirs: Any) -> bool:
        if isinstance(ours, dict) and isinstance(theirs, dict):
            return ours.keys() == theirs.keys() and all(self._is_equal(ours[key], theirs[key]) for key in ours)
        try:
            if bool(ours == theirs):
                return True
        except Exception:  # what an array says to that
            pass
        return self._serde.dumps_typed(ours) == self._serde.dumps_typed(theirs)

    def _note(self, line: Line, checkpoint_id: str, what: str) -> None:
        self.found.different += 1
        if len(self.found.differences) < NAMED_MAX:
            self.found.differences.append(
                Difference(thread=line.thread, namespace=line.namespace, checkpoint=checkpoint_id, what=what)
            )
