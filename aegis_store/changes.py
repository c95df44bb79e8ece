"""What is different between two values, as a list of edits a person can read.

A pure function over the values that a checkpoint holds: containers are walked side by side, and each place where they differ is
one `Change`, in the order of the document. Lists are matched as diff matches lines, so that an insert in front is one addition
and not a change of everything after it.

The work is bounded. What two lists have in common at their beginning and end is set aside first, which leaves nothing to match
for a list that was appended to; of the middles, at most CELLS_MAX pairs of items are compared. Above that items are paired by
their place, and `Changes.is_rough` says so: every difference is still named, only not as the shortest list of edits.

Values are the same if nobody could tell them apart: 1, 1.0 and True differ, 0.0 and -0.0 too, NaN is NaN. The order of a dict's
keys is no difference.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from enum import Enum, StrEnum
from typing import Final

import msgspec

#: Pairs of items that the search for inserts in one list compares at most.
CELLS_MAX: Final = 40_000
#: Characters of a value in a summary.
BRIEF_CHARACTERS: Final = 24
_ELLIPSIS: Final = "…"


class Kind(StrEnum):
    """What happened at a place."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"


class Index(msgspec.Struct, frozen=True):
    """A step into a list or tuple. Where something was removed it counts in the old list, else in the new one."""

    at: int


class Field(msgspec.Struct, frozen=True):
    """A step into a dataclass or Struct."""

    name: str


#: A step is an Index, a Field, or the key of a dict as it is.
Step = object


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One difference. `old` means nothing where something was added, `new` where it was removed."""

    steps: tuple[Step, ...]
    kind: Kind
    old: object = None
    new: object = None

    @property
    def path(self) -> str:
        """The place, as `messages[3].tool` or `["odd key"]`; empty for the value as a whole."""
        return path_of(self.steps)


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """All differences, in the order of the document. `is_rough`: some list was too long to look for inserts in."""

    items: tuple[Change, ...]
    is_rough: bool = False


def compare(old: object, new: object, *, cells_max: int = CELLS_MAX) -> Changes:
    """The edits that lead from `old` to `new`."""
    found: list[Change] = []
    is_rough = False
    # What is still to be compared, the first in the document on top; a finished Change waits there for its turn.
    pending: list[Change | tuple[tuple[Step, ...], object, object]] = [((), old, new)]
    while pending:
        top = pending.pop()
        if isinstance(top, Change):
            found.append(top)
            continue
        steps, before, after = top
        if before is after:
            continue
        below: list[Change | tuple[tuple[Step, ...], object, object]] = []
        if type(before) is type(after) and isinstance(before, list | tuple):
            assert isinstance(after, list | tuple)
            pairs, rough = _match(before, after, cells_max)
            is_rough = is_rough or rough
            for was, now in pairs:
                if was is None and now is not None:
                    below.append(Change(steps=(*steps, Index(now)), kind=Kind.ADDED, new=after[now]))
                elif now is None and was is not None:
                    below.append(Change(steps=(*steps, Index(was)), kind=Kind.REMOVED, old=before[was]))
                elif was is not None and now is not None:
                    below.append(((*steps, Index(now)), before[was], after[now]))
        elif type(before) is type(after) and (parts := _parts(before)) is not None:
            others = _parts(after) or {}
            for key, (step, value) in parts.items():
                if key in others:
                    below.append(((*steps, step), value, others[key][1]))
                else:
                    below.append(Change(steps=(*steps, step), kind=Kind.REMOVED, old=value))
            below.extend(
                Change(steps=(*steps, step), kind=Kind.ADDED, new=value)
                for key, (step, value) in others.items()
                if key not in parts
            )
        elif not same(before, after):
            found.append(Change(steps=steps, kind=Kind.CHANGED, old=before, new=after))
        below.reverse()
        pending += below
    return Changes(items=tuple(found), is_rough=is_rough)


def same(old: object, new: object) -> bool:
    """Whether nobody could tell the two apart, but for the order of a dict's keys."""
    pending = [(old, new)]
    while pending:
        before, after = pending.pop()
        if before is after:
            continue
        if type(before) is not type(after):
            return False
        if isinstance(before, list | tuple):
            assert isinstance(after, list | tuple)
            if len(before) != len(after):
                return False
            pending += zip(before, after, strict=True)
        elif (parts := _parts(before)) is not None:
            others = _parts(after) or {}
            if parts.keys() != others.keys():
                return False
            pending += [(value, others[key][1]) for key, (_, value) in parts.items()]
        elif not _same_scalar(before, after):
            return False
    return True


def _same_scalar(old: object, new: object) -> bool:
    if isinstance(old, set | frozenset):
        assert isinstance(new, set | frozenset)
        return {_mark(each) for each in old} == {_mark(each) for each in new}
    if isinstance(old, int | str | bytes | bytearray):
        return old == new
    # What is written differently is different: 0.0 and -0.0, Decimal("1.0") and Decimal("1.00"). NaN is written one way.
    return repr(old) == repr(new)


def _mark(key: object) -> tuple[type, object]:
    """A key by which 1, 1.0 and True are three."""
    return type(key), repr(key) if isinstance(key, float) else key


def _parts(value: object) -> dict[tuple[type, object], tuple[Step, object]] | None:
    """What a dict, dataclass or Struct consists of, by mark of the key; None for anything else."""
    if isinstance(value, dict):
        return {_mark(key): (key, each) for key, each in value.items()}
    if isinstance(value, msgspec.Struct):
        return {(Field, name): (Field(name), getattr(value, name)) for name in value.__struct_fields__}
    if is_dataclass(value) and not isinstance(value, type):
        return {(Field, each.name): (Field(each.name), getattr(value, each.name)) for each in fields(value)}
    return None


# ---- lists ----------------------------------------------------------------------------------------------------------------


def _match(old: Sequence[object], new: Sequence[object], cells_max: int) -> tuple[list[tuple[int | None, int | None]], bool]:
    """Which items belong together, as pairs of indices that both increase; None where one has no partner."""
    start, shorter = 0, min(len(old), len(new))
    while start < shorter and same(old[start], new[start]):
        start += 1
    end = 0
    while end < shorter - start and same(old[-1 - end], new[-1 - end]):
        end += 1
    rows, columns = len(old) - end - start, len(new) - end - start
    if rows * columns > cells_max:
        return _side_by_side(start, len(old) - end, start, len(new) - end), True
    pairs: list[tuple[int | None, int | None]] = []
    was, now = start, start
    for row, column in [*_common(old[start : start + rows], new[start : start + columns]), (rows, columns)]:
        pairs += _side_by_side(was, start + row, now, start + column)
        was, now = start + row + 1, start + column + 1
    return pairs, False


def _side_by_side(was: int, was_end: int, now: int, now_end: int) -> list[tuple[int | None, int | None]]:
    """Items between two matches: changed while both sides have one, then removed or added."""
    paired = min(was_end - was, now_end - now)
    pairs: list[tuple[int | None, int | None]] = [(was + step, now + step) for step in range(paired)]
    pairs += [(index, None) for index in range(was + paired, was_end)]
    pairs += [(None, index) for index in range(now + paired, now_end)]
    return pairs


def _common(old: Sequence[object], new: Sequence[object]) -> list[tuple[int, int]]:
    """A longest common subsequence, as pairs of indices: the textbook table, filled from the end."""
    if not old or not new or len(old) == len(new) == 1:
        return []  # the caller has seen that the first ones differ
    equal = [[same(one, other) for other in new] for one in old]
    longest = [[0] * (len(new) + 1) for _ in range(len(old) + 1)]
    for row in range(len(old) - 1, -1, -1):
        for column in range(len(new) - 1, -1, -1):
            if equal[row][column]:
                longest[row][column] = longest[row + 1][column + 1] + 1
            else:
                longest[row][column] = max(longest[row + 1][column], longest[row][column + 1])
    pairs, row, column = [], 0, 0
    while row < len(old) and column < len(new):
        if equal[row][column]:
            pairs.append((row, column))
            row, column = row + 1, column + 1
        elif longest[row + 1][column] >= longest[row][column + 1]:
            row += 1
        else:
            column += 1
    return pairs


# ---- in words -------------------------------------------------------------------------------------------------------------


def path_of(steps: Sequence[Step]) -> str:
    """Steps as people write them: `messages[3].tool`, `["odd key"]`; a key that is no str as `{7}`."""
    text = ""
    for step in steps:
        match step:
            case Index(at):
                text += f"[{at}]"
            case Field(name):
                text += f".{name}" if text else name
            case str() if step.isidentifier():
                text += f".{step}" if text else step
            case str():
                text += f"[{json.dumps(step, ensure_ascii=not step.isprintable())}]"
            case _:
                text += f"{{{brief(step)}}}"
    return text


def summary(changes: Changes, *, parts_max: int = 4) -> str:
    """A line: `messages +1, status "open" → "done"`. What is more than `parts_max` is counted."""
    parts: list[str] = []
    grown: Counter[tuple[str, Kind]] = Counter()
    for change in changes.items:
        in_list = bool(change.steps) and isinstance(change.steps[-1], Index)
        if change.kind is Kind.CHANGED:
            parts.append(f"{change.path or 'all of it'} {brief(change.old)} → {brief(change.new)}")
        elif in_list:
            key = path_of(change.steps[:-1]) or "list", change.kind
            if not grown[key]:
                parts.append("")  # filled in when all are counted
            grown[key] += 1
        else:
            parts.append(f"{'+' if change.kind is Kind.ADDED else '-'}{change.path}")
    counts = iter(f"{path} {'+' if kind is Kind.ADDED else '-'}{count}" for (path, kind), count in grown.items())
    parts = [part or next(counts) for part in parts]
    if len(parts) > parts_max:
        parts = [*parts[:parts_max], f"{_ELLIPSIS} {len(parts) - parts_max} more"]
    return ", ".join(parts)


def brief(value: object, limit: int = BRIEF_CHARACTERS) -> str:
    """A value in a few characters: a short scalar as it is, a container by its size."""
    if isinstance(value, str):
        cut = value if len(value) <= limit else value[:limit] + _ELLIPSIS
        return json.dumps(cut, ensure_ascii=not cut.isprintable())
    if isinstance(value, bytes | bytearray):
        return f"{len(value)} bytes"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Enum):
        return f"{type(value).__name__}.{value.name}"
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{len(value)}]"
    if isinstance(value, dict):
        return f"{{{len(value)}}}"
    if isinstance(value, int) and value.bit_length() > 4 * limit:
        return f"an int of {value.bit_length()} bits"  # str() of a very long one is refused
    text = str(value) if isinstance(value, int | float) else repr(value)
    return text if len(text) <= limit else text[:limit] + _ELLIPSIS
