"""Sets of record indexes as runs: what a prune or erase record covers.

Indexes that go together lie together, so a set is kept as the ends of its runs: [first, end, first, end …], ascending, where no
run touches the next. On the wire they are the differences between neighbours, u64 little-endian each, which compress to a byte
or two. Source: FORMAT.md, Envelopes, prune and erase."""

from __future__ import annotations

import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate, pairwise
from typing import Final, Self

from aegis_store.errors import Corrupt, InvalidArgument

#: Runs that one record may have: 1 MiB before compression.
RUNS_MAX: Final = 64 << 10
_WORD: Final = 8
_INDEX_MAX: Final = (1 << 48) - 1


class Runs:
    """A set of indexes, which does not change."""

    __slots__ = ("_ends",)

    def __init__(self, ends: array[int]) -> None:
        self._ends = ends

    @classmethod
    def of(cls, indexes: Iterable[int]) -> Self:
        """The set of these indexes, which are ascending; one may be given again."""
        ends = array("Q")
        last = -2
        for index in indexes:
            if index == last + 1:
                ends[-1] = index + 1
            elif index > last:
                ends.extend((index, index + 1))
            elif index < last:
                raise InvalidArgument(f"index {index} comes after {last}", op="cover")
            last = index
        if last > _INDEX_MAX:
            raise InvalidArgument(f"{last} is no index", op="cover")
        return cls(ends)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """The set in these bytes. Corrupt for what `encode` does not give."""
        if len(data) % (2 * _WORD) or len(data) > 2 * _WORD * RUNS_MAX:
            raise Corrupt(f"{len(data)} bytes are no set of records", op="decode")
        steps = _swapped(array("Q", data))
        # A step of 0 at the start alone: the set begins with record 0.
        if 0 in steps[1:]:
            raise Corrupt("the runs of a set touch each other, or are empty", op="decode")
        total = sum(steps)
        if total > _INDEX_MAX + 1:
            raise Corrupt(f"a set of records ends at {total}", op="decode")
        return cls(array("Q", accumulate(steps)))

    def encode(self) -> bytes:
        """The set in bytes."""
        ends = self._ends
        return _swapped(array("Q", (ends[0], *(b - a for a, b in pairwise(ends))))).tobytes() if ends else b""

    def split(self, most: int = RUNS_MAX) -> Iterator[Runs]:
        """The same set in parts of at most so many runs."""
        for at in range(0, len(self._ends), 2 * most):
            yield Runs(self._ends[at : at + 2 * most])

    def __contains__(self, index: int) -> bool:
        return bisect_right(self._ends, index) % 2 == 1

    def holds(self, first: int, end: int) -> bool:
        """Whether every index from `first` to `end - 1` is in the set."""
        at = bisect_right(self._ends, first)
        return first >= end or (at % 2 == 1 and end <= self._ends[at])

    def runs(self) -> Iterator[tuple[int, int]]:
        """(first, end) of each run, ascending."""
        ends = iter(self._ends)
        return zip(ends, ends, strict=True)

    def __iter__(self) -> Iterator[int]:
        for first, end in self.runs():
            yield from range(first, end)

    def __len__(self) -> int:
        return sum(end - first for first, end in self.runs())

    def __bool__(self) -> bool:
        return bool(self._ends)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Runs) and self._ends == other._ends

    def __hash__(self) -> int:
        return hash(self._ends.tobytes())

    @property
    def last(self) -> int:
        """The highest index; -1 of none."""
        return self._ends[-1] - 1 if self._ends else -1


def union(sets: Iterable[Runs]) -> Runs:
    """What is in any of the sets."""
    ends = array("Q")
    for first, end in sorted(run for each in sets for run in each.runs()):
        if ends and first <= ends[-1]:
            ends[-1] = max(ends[-1], end)
        else:
            ends.extend((first, end))
    return Runs(ends)


def _swapped(words: array[int]) -> array[int]:
    """Between the machine's order of bytes and little-endian."""
    if sys.byteorder == "big":
        words.byteswap()
    return words
