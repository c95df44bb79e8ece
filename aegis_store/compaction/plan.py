"""What a compaction has to do: which payloads go, and which checkpoints were made from one that goes.

A pure function of what lies on the disk and of the causes that are pending. A checkpoint is stored as a delta to the one before
it that is there, so only whose base goes needs another form: a delta to the nearest one that stays, or a keyframe. The first of
a run (`states`) may be a delta to the first of an earlier run: what that is its payload says, and it is asked for.

    on the disk    0 ── 1 ── 2 ── 3 ── 4 ── 5
    goes                1    2         4
    made anew                     3 to 0    5 to 3

A new base is taken only where it is nearer to its keyframe than the old one was; else the checkpoint becomes a keyframe itself.
So no chain of deltas ever grows, of the session or of a fork that hangs on it, whatever is done in which order. How near it is
shows when it is read
(`reencode`).

Segments are rewritten newest first. A record is made only from records before it, so at every moment, and after a crash at any,
all that stays can be read: what was made from something that goes has its new form before that goes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import msgspec

from aegis_store.gaps import Cause
from aegis_store.states import RUN
from aegis_store.survey import Strand, Survey
from aegis_store.types import LogIndex

_INDEX_MAX = (1 << 48) - 1


class Touched(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint whose base goes, and the nearest before it that stays; None: there is none. `is_recoded`: it keeps its base,
    and must not stay as it is even without one."""

    index: LogIndex
    base: LogIndex | None
    is_recoded: bool = False


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`gaps`: the payloads that go, by index, with the index of the cause. `touched`: by index, ascending.

    `dictionaries` are among the gaps: whatever was compressed with one of them is to be found, and compressed anew. `late` are
    payloads that go when all others have: pieces that compaction put behind their checkpoint, which others may still be made
    from until then.
    """

    gaps: dict[int, LogIndex]
    late: dict[int, LogIndex]
    touched: list[Touched]
    dictionaries: frozenset[int]

    def first_and_last(self) -> tuple[int, int] | None:
        """The lowest and the highest index that is changed; None: nothing is."""
        changed = [*self.gaps, *self.late, *(each.index for each in self.touched)]
        return (min(changed), max(changed)) if changed else None


def plan(
    found: Survey,
    causes: Sequence[Cause],
    step: Callable[[], object] = lambda: None,
    base_of: Callable[[LogIndex], int | None] = lambda index: None,
) -> Plan:
    """What the pending causes ask for. `step` is called after each little piece of the work, which may be long; `base_of` gives
    the base that the payload of a checkpoint names."""
    gaps: dict[int, LogIndex] = {}
    late: dict[int, LogIndex] = {}
    touched: list[Touched] = []
    covered = _covered(causes)
    for index in found.dictionaries:
        cause = covered(index)
        if cause is not None:
            gaps[index] = cause
    dictionaries = frozenset(gaps)
    for strand in found.strands.values():
        going = _gaps_of(strand, covered, gaps, late, step)
        if any(going) or (strand.parent is not None and covered(strand.parent) is not None):
            touched.extend(_touched(strand, going, covered, base_of))
    touched.sort(key=lambda each: each.index)
    return Plan(gaps=gaps, late=late, touched=touched, dictionaries=dictionaries)


def _covered(causes: Sequence[Cause]) -> Callable[[int], LogIndex | None]:
    """Which cause covers an index: the newest one."""
    newest = list(reversed(causes))

    def cause(index: int) -> LogIndex | None:
        for each in newest:
            if index in each.runs:
                return each.index
        return None

    return cause


def _gaps_of(
    strand: Strand,
    covered: Callable[[int], LogIndex | None],
    gaps: dict[int, LogIndex],
    late: dict[int, LogIndex],
    step: Callable[[], object],
) -> bytearray:
    """Notes what goes of a session; a mark for each of its checkpoints that does."""
    going = bytearray(len(strand.indexes))
    for at, index in enumerate(strand.indexes):
        cause = None if strand.gaps[at] else covered(index)
        if cause is not None:
            gaps[index] = cause
            going[at] = 1
        step()
    ends = [strand.number] if not strand.is_erased else []
    if strand.ended is not None:
        ends.append(strand.ended)
    for index in ends:
        if (cause := covered(index)) is not None:
            gaps[index] = cause
    for writes in strand.writes.values():
        for index, size in writes:
            if size and (cause := covered(index)) is not None:
                gaps[index] = cause
    for ordinal, pieces in strand.chunks.items():
        at = ordinal - strand.first_ordinal
        whose = strand.indexes[at] if at < len(strand.indexes) else _INDEX_MAX
        for index, size in pieces:
            if size and (cause := covered(index)) is not None:
                (late if index > whose else gaps)[index] = cause
    return going


def _touched(
    strand: Strand,
    going: bytearray,
    covered: Callable[[int], LogIndex | None],
    base_of: Callable[[LogIndex], int | None],
) -> Iterable[Touched]:
    """The checkpoints of a session that stay and whose base goes."""
    nearest: LogIndex | None = None  # the newest that stays
    first_of_run: LogIndex | None = None  # the newest that stays and may begin a run
    is_broken = strand.parent is not None and covered(strand.parent) is not None  # whether the one before, which is there, goes
    for at, index in enumerate(strand.indexes):
        if strand.gaps[at]:
            continue
        if going[at]:
            is_broken = True
            continue
        may_begin_run = strand.ordinals[at] % RUN == 0
        named = base_of(LogIndex(index)) if may_begin_run else None
        if named is not None:
            if covered(named) is not None:
                yield Touched(LogIndex(index), first_of_run)
        elif is_broken:
            yield Touched(LogIndex(index), nearest)
        nearest, is_broken = LogIndex(index), False
        if may_begin_run:
            first_of_run = nearest
