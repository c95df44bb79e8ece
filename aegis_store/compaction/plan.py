"""What a compaction has to do: which payloads go, and which checkpoints were made from one that goes.

A pure function of what lies on the disk and of the causes that are pending. A checkpoint is stored as a delta to the one before it
that is there, so only whose base goes needs another form: a delta to the nearest one that stays, or a keyframe.

    on the disk    0 ── 1 ── 2 ── 3 ── 4 ── 5
    goes                1    2         4
    made anew                     3 to 0    5 to 3

How many deltas lie between a checkpoint and its keyframe is not known here, but bounds on it are. Whose new base would let a chain grow
too long becomes a keyframe. Those behind it that are not touched hang on it with chains that are no longer than they were, or
follow it within the bound; forks hang anywhere, so where one does, nothing before it in the session grows. What the new base's own chain
is while the segments before have not had their turn is known when it is read, and asked then (`Touched.may_hang`).

Segments are rewritten newest first. A record is made only from records before it, so at every moment, and after a crash at any, all
that stays can be read: what was made from something that goes has its new form before that goes.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence

import msgspec

from aegis_store.gaps import Cause
from aegis_store.states import LINKS_MAX
from aegis_store.survey import Strand, Survey
from aegis_store.types import LogIndex

#: Deltas in a row that compaction makes: whatever it puts between two that stay is larger than what was there.
NEW_LINKS_MAX = 16


class Touched(msgspec.Struct, frozen=True, gc=False):
    """A checkpoint whose base goes, and what it is to be made from now; None: from nothing. `run`: how many may hang on it.
    `is_recoded`: it keeps its base, and must not stay as it is even without one."""

    index: LogIndex
    base: LogIndex | None
    run: int = 0
    is_recoded: bool = False

    def may_hang(self, links: int) -> bool:
        """Whether its new base may have so many deltas between it and its keyframe now; later it has no more."""
        return self.is_recoded or links + 1 + self.run <= LINKS_MAX


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """`gaps`: the payloads that go, by index, with the index of the cause. `touched`: by index, ascending.

    `dictionaries` are among the gaps: whatever was compressed with one of them is to be found, and compressed anew.
    """

    gaps: dict[int, LogIndex]
    touched: list[Touched]
    dictionaries: frozenset[int]

    def first_and_last(self) -> tuple[int, int] | None:
        """The lowest and the highest index that is changed; None: nothing is."""
        changed = [*self.gaps, *(each.index for each in self.touched)]
        return (min(changed), max(changed)) if changed else None


def plan(found: Survey, causes: Sequence[Cause]) -> Plan:
    """What the pending causes ask for."""
    gaps: dict[int, LogIndex] = {}
    touched: list[Touched] = []
    forks = found.forks()
    covered = _covered(causes)
    for index in found.dictionaries:
        cause = covered(index)
        if cause is not None:
            gaps[index] = cause
    dictionaries = frozenset(gaps)
    for strand in found.strands.values():
        going = _gaps_of(strand, covered, gaps)
        if any(going) or (strand.parent is not None and covered(strand.parent) is not None):
            touched.extend(_touched(strand, going, forks, covered))
    touched.sort(key=lambda each: each.index)
    return Plan(gaps=gaps, touched=touched, dictionaries=dictionaries)


def _covered(causes: Sequence[Cause]) -> Callable[[int], LogIndex | None]:
    """Which cause covers an index: the newest one."""
    newest = list(reversed(causes))

    def cause(index: int) -> LogIndex | None:
        for each in newest:
            if index in each.runs:
                return each.index
        return None

    return cause


def _gaps_of(strand: Strand, covered: Callable[[int], LogIndex | None], gaps: dict[int, LogIndex]) -> bytearray:
    """Notes what goes of a session; a mark for each of its checkpoints that does."""
    going = bytearray(len(strand.indexes))
    for at, index in enumerate(strand.indexes):
        cause = None if strand.gaps[at] else covered(index)
        if cause is not None:
            gaps[index] = cause
            going[at] = 1
    others: Iterable[tuple[int, bool]] = (
        (strand.number, strand.is_erased),
        *((index, size == 0) for pieces in strand.chunks.values() for index, size in pieces),
        *(() if strand.ended is None else ((strand.ended, False),)),
    )
    for index, is_gone in others:
        cause = None if is_gone else covered(index)
        if cause is not None:
            gaps[index] = cause
    return going


def _touched(
    strand: Strand, going: bytearray, forks: dict[int, list[Strand]], covered: Callable[[int], LogIndex | None]
) -> Iterable[Touched]:
    """The checkpoints of a session that stay and whose base goes."""
    last_fork = max((at for at, index in enumerate(strand.indexes) if index in forks), default=-1) if forks else -1
    runs = _runs(strand, going)
    nearest: LogIndex | None = None  # the newest that stays
    bound = 0  # on the deltas between that one and its keyframe
    is_broken = False  # whether the one before, which is there, goes
    if strand.parent is not None:
        bound, is_broken = LINKS_MAX, covered(strand.parent) is not None
    for at, index in enumerate(strand.indexes):
        if strand.gaps[at]:
            continue
        if going[at]:
            is_broken = True
            continue
        if is_broken:
            grows = nearest is not None and bound < NEW_LINKS_MAX and bound + 1 + runs[at] <= LINKS_MAX and at > last_fork
            yield Touched(LogIndex(index), nearest if grows else None, runs[at])
            bound = bound + 1 if grows else 0
        else:
            bound = min(LINKS_MAX, bound + 1) if nearest is not None else bound
        nearest, is_broken = LogIndex(index), False


def _runs(strand: Strand, going: bytearray) -> array[int]:
    """For each checkpoint how many follow it that stay and hang on one another, up to the next that goes."""
    runs = array("I", bytes(4 * len(going)))
    run = 0
    for at in range(len(going) - 1, -1, -1):
        if strand.gaps[at]:
            continue
        runs[at] = run
        run = 0 if going[at] else run + 1
    return runs
