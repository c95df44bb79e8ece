"""Which checkpoints stay.

A pure function: views of sessions, a policy and a time go in, decisions with reasons come out. Nothing here touches a file, a
clock or chance, so every rule is a table in tests/retention/test_policy.py.

A session is a line of points in the order of their ordinals, and that order is what is newer and older. Times only advise:

- by age a point is as young as the youngest one up to it, so a clock that was set back makes nothing old that is behind
  something young; a time in the future is young;
- of an hour, a day and so on the last point stays, and the last periods are those that come last in the line.

    keys of the rule, and what always stays  ->  what may stay  ->  the rule's budget  ->  what stays
"""

from __future__ import annotations

import fnmatch
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final, Protocol

import msgspec

from aegis_store.errors import InvalidArgument, WriteOnce
from aegis_store.retention.periods import PERIODS, Period
from aegis_store.rules import Rule, in_order
from aegis_store.types import LogIndex, Ordinal, Tier, TimeMs

# ---- what is looked at ----------------------------------------------------------------------------------------------------


class Point(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A checkpoint that has a payload. `bytes` is what that takes in the log, 0 where nobody looked.

    `until_ms` is when the next one came, where a history window is counted from there: a version in the memory tier. `position`
    is only looked at where the policy `needs_positions`, and None stands for one that is not a str as well.
    """

    ordinal: Ordinal
    index: LogIndex
    time_ms: TimeMs
    bytes: int = 0
    position: str | None = None
    until_ms: TimeMs | None = None


class Hold(msgspec.Struct, frozen=True, kw_only=True):
    """A reason why checkpoints must not go: those of `ordinals`, or the whole session (None), later ones too."""

    name: str
    ordinals: frozenset[Ordinal] | None = None


class SessionView(msgspec.Struct, frozen=True, kw_only=True):
    """A session as retention sees it. `points` are its own checkpoints that still have a payload, by ascending ordinal.

    `fork_starts` are those that forks without checkpoints of their own go on from. A hold of a fork that is to cover what it
    inherited is a hold of the session that has it, too. `superseded` say nothing that a later point does not say as well, and
    go where anything may that is not held.
    """

    number: LogIndex
    id: str
    agent: str
    role: str | None
    is_open: bool
    points: Sequence[Point]
    holds: Sequence[Hold] = ()
    fork_starts: frozenset[Ordinal] = frozenset()
    superseded: Sequence[Point] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The rules of one tier. `rules` are those of all tiers, as in `Config.retention`: their numbers count from 1 there."""

    rules: Sequence[Rule] = ()
    tier: Tier = Tier.SESSION

    def __post_init__(self) -> None:
        object.__setattr__(self, "rules", in_order(self.rules))
        if self.tier is Tier.AUDIT:
            raise WriteOnce("the audit tier keeps everything for ever; there is no policy for it")

    def match(self, role: str | None) -> tuple[int, Rule] | None:
        """The rule for sessions of that role and its number; None: everything stays."""
        return next((each for each in self._own() if each[1].role in (None, role)), None)

    @property
    def rules_of_tier(self) -> int:
        """How many of the rules are for it."""
        return len(self._own())

    @property
    def keeps_everything(self) -> bool:
        """Whether nothing can go, so that nobody need look."""
        return all(_keeps_all(rule) and rule.byte_budget is None for _, rule in self._own())

    @property
    def needs_positions(self) -> bool:
        """Whether positions decide anything. Those of a session do if its rule (`match`) has `keep_positions`."""
        return any(rule.keep_positions for _, rule in self._own())

    @property
    def needs_bytes(self) -> bool:
        """Whether sizes decide anything. Without them the bytes that would be freed are not known either."""
        return any(rule.byte_budget is not None for _, rule in self._own())

    def _own(self) -> list[tuple[int, Rule]]:
        return [(number, rule) for number, rule in enumerate(self.rules, 1) if rule.tier == self.tier.label]


# ---- what keeps -----------------------------------------------------------------------------------------------------------


class _Line:
    """A session's points with what is worked out of them. A place counts them from 0."""

    __slots__ = ("now", "points", "times_ms", "view")

    def __init__(self, view: SessionView, now: TimeMs) -> None:
        self.view: Final = view
        self.points: Final = view.points
        self.now: Final = now
        self.times_ms: Final = [point.time_ms for point in view.points]

    def youth_ms(self) -> list[int]:
        """The times from which age is counted, as they never go back: each the latest so far."""
        times = (point.time_ms if point.until_ms is None else point.until_ms for point in self.points)
        return list(accumulate(times, max))

    def places(self, ordinals: frozenset[Ordinal]) -> Iterable[int]:
        """Where these are, those of them that are there."""
        for ordinal in ordinals:
            place = bisect_left(self.points, ordinal, key=lambda point: point.ordinal)
            if place < len(self.points) and self.points[place].ordinal == ordinal:
                yield place


class _Keeper(Protocol):
    """One reason for points to stay."""

    def keeps(self, line: _Line) -> Iterable[int]:
        """The places of those that stay for it."""
        ...

    def reason(self, line: _Line, place: int) -> str:
        """Why one of them does, in a few words."""
        ...


@dataclass(frozen=True, slots=True)
class _Newest:
    def keeps(self, line: _Line) -> Iterable[int]:
        return range(len(line.points))[-1:]

    def reason(self, line: _Line, place: int) -> str:
        return "newest"


@dataclass(frozen=True, slots=True)
class _Held:
    def keeps(self, line: _Line) -> Iterable[int]:
        for hold in line.view.holds:
            yield from range(len(line.points)) if hold.ordinals is None else line.places(hold.ordinals)

    def reason(self, line: _Line, place: int) -> str:
        ordinal = line.points[place].ordinal
        names = [hold.name for hold in line.view.holds if hold.ordinals is None or ordinal in hold.ordinals]
        return f"held: {', '.join(names)}"


@dataclass(frozen=True, slots=True)
class _ForkStart:
    def keeps(self, line: _Line) -> Iterable[int]:
        return line.places(line.view.fork_starts)

    def reason(self, line: _Line, place: int) -> str:
        return "a fork goes on from it"


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeepLast:
    count: int

    def keeps(self, line: _Line) -> Iterable[int]:
        return range(max(0, len(line.points) - self.count), len(line.points))

    def reason(self, line: _Line, place: int) -> str:
        return f"last {self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeepAge:
    seconds: int

    def keeps(self, line: _Line) -> Iterable[int]:
        return range(bisect_right(line.youth_ms(), line.now - self.seconds * 1000), len(line.points))

    def reason(self, line: _Line, place: int) -> str:
        size, unit = next(each for each in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")) if self.seconds % each[0] == 0)
        return f"younger than {self.seconds // size} {unit}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeepPeriods:
    """One generation of grandfather, father and son."""

    period: Period
    count: int

    def keeps(self, line: _Line) -> Iterable[int]:
        return self.period.newest(line.times_ms, self.count)

    def reason(self, line: _Line, place: int) -> str:
        return self.period.named(line.times_ms[place])


@lru_cache(maxsize=1024)
def _matcher(pattern: str) -> Callable[[str], object]:
    """fnmatchcase, without the search for the compiled pattern each time."""
    return re.compile(fnmatch.translate(pattern)).match


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeepPositions:
    patterns: Sequence[str]

    def keeps(self, line: _Line) -> Iterable[int]:
        matchers = [_matcher(pattern) for pattern in self.patterns]
        for place, point in enumerate(line.points):
            position = point.position
            if position is not None and any(matches(position) for matches in matchers):
                yield place

    def reason(self, line: _Line, place: int) -> str:
        position = line.points[place].position or ""
        return f"position {next(each for each in self.patterns if _matcher(each)(position))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class _KeepAll:
    why: str

    def keeps(self, line: _Line) -> Iterable[int]:
        return range(len(line.points))

    def reason(self, line: _Line, place: int) -> str:
        return self.why


#: Nothing overrides these.
_ALWAYS: Final[tuple[_Keeper, ...]] = (_Newest(), _Held(), _ForkStart())


def _counts(rule: Rule) -> Iterable[tuple[Period, int]]:
    """The generations that a rule keeps of."""
    for period in PERIODS:
        count: int | None = getattr(rule, period.name)
        if count is not None:
            yield period, count


def _keeps_all(rule: Rule) -> bool:
    """Whether no key says what stays, so that everything does."""
    return not (rule.keep_last or rule.keep_age or rule.keep_positions or any(_counts(rule)))


class _Terms:
    """A rule as what keeps: `keepers` in the order in which they give their reason, `firm` those that no budget overrides."""

    __slots__ = ("budget", "firm", "keepers", "keeps_all", "number")

    def __init__(self, match: tuple[int, Rule] | None) -> None:
        self.number: Final = None if match is None else match[0]
        self.budget: Final = None if match is None else match[1].budget_bytes
        self.keeps_all: Final = match is None or (_keeps_all(match[1]) and self.budget is None)
        named: list[_Keeper] = []
        own: list[_Keeper] = []
        if match is None:
            own.append(_KeepAll(why="no rule is for it"))
        elif _keeps_all(match[1]):
            own.append(_KeepAll(why="its rule keeps everything" if self.budget is None else "within the budget"))
        else:
            rule = match[1]
            if rule.keep_last is not None:
                own.append(_KeepLast(count=rule.keep_last))
            if rule.age_seconds is not None:
                own.append(_KeepAge(seconds=rule.age_seconds))
            own += [_KeepPeriods(period=period, count=count) for period, count in _counts(rule)]
            if rule.keep_positions:
                named.append(_KeepPositions(patterns=rule.keep_positions))
        self.firm: Final[tuple[_Keeper, ...]] = (*_ALWAYS, *named)
        self.keepers: Final[tuple[_Keeper, ...]] = (*_ALWAYS, *own, *named)


def _kept(keepers: Iterable[_Keeper], line: _Line) -> set[int]:
    kept: set[int] = set()
    for keeper in keepers:
        kept.update(keeper.keeps(line))
    return kept


# ---- what is decided ------------------------------------------------------------------------------------------------------


class SessionDecision(msgspec.Struct, frozen=True, kw_only=True):
    """What goes of a session: `goes` and `indexes` name the same checkpoints, ascending. `kept` counts those that stay."""

    number: LogIndex
    id: str
    #: Number of the session's rule, from 1; None: none is for it, and everything stays.
    rule: int | None
    kept: int
    goes: tuple[Ordinal, ...]
    indexes: tuple[LogIndex, ...]
    freed_bytes: int
    #: How many of `goes` would stay if it were not for the budget.
    over_budget: int = 0


class BudgetUse(msgspec.Struct, frozen=True, kw_only=True):
    """What the sessions of a rule with a budget take once everything that goes is gone. It may still be too much: what always
    stays is counted, and what is at a named position."""

    rule: int
    budget_bytes: int
    kept_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What goes and what stays. `sessions` are all that were looked at, by their numbers, which is oldest first."""

    policy: Policy
    now: TimeMs
    sessions: tuple[SessionDecision, ...]
    budgets: tuple[BudgetUse, ...]
    kept: int = field(init=False)
    gone: int = field(init=False)
    freed_bytes: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kept", sum(each.kept for each in self.sessions))
        object.__setattr__(self, "gone", sum(len(each.goes) for each in self.sessions))
        object.__setattr__(self, "freed_bytes", sum(each.freed_bytes for each in self.sessions))

    def of(self, view: SessionView) -> SessionDecision:
        """The decision on a session. InvalidArgument: there is none."""
        place = bisect_left(self.sessions, view.number, key=lambda each: each.number)
        if place == len(self.sessions) or self.sessions[place].number != view.number:
            raise InvalidArgument(f"session {view.id!r} is not among those that were decided on")
        return self.sessions[place]

    def reasons(self, view: SessionView) -> dict[Ordinal, str]:
        """Why each checkpoint stays that does, by ascending ordinal: the first reason of several.

        Worked out when asked for, from the view that the decision was made on: a dry run shows few of many.
        """
        goes = set(self.of(view).goes)
        line = _Line(view, self.now)
        found: dict[int, str] = {}
        for keeper in _Terms(self.policy.match(view.role)).keepers:
            for place in keeper.keeps(line):
                if place not in found:
                    found[place] = keeper.reason(line, place)
        ordinals = {place: view.points[place].ordinal for place in sorted(found)}
        return {ordinal: found[place] for place, ordinal in ordinals.items() if ordinal not in goes}


def decide(sessions: Iterable[SessionView], policy: Policy, now: TimeMs) -> Decisions:
    """What of these sessions, all of the policy's tier, goes at the time `now`.

    The order of the sessions does not matter. Over a budget the oldest checkpoints of all sessions of its rule go first, by
    time, those of one time by number of session and ordinal, until what stays fits. One whose size is not known stays:
    nothing would be known to be gained. Where all views are made as they are asked for, few are in memory at a time, unless
    there is a budget.

    InvalidArgument: the points of a session are not in order, or a session comes twice.
    """
    terms_of: dict[str | None, _Terms] = {}
    budgets: dict[int, _Budget] = {}
    decided: list[SessionDecision] = []
    seen: set[int] = set()
    for view in sessions:
        if view.number in seen:
            raise InvalidArgument(f"session {view.id!r} comes twice, or shares its number {view.number} with another one")
        seen.add(view.number)
        if not all(a < b for a, b in pairwise([point.ordinal for point in view.points])):
            raise InvalidArgument(f"the points of session {view.id!r} are not in the order of their ordinals")
        terms = terms_of.get(view.role)
        if terms is None:
            terms = terms_of[view.role] = _Terms(policy.match(view.role))
        line = _Line(view, now)
        kept = _kept(terms.keepers, line)
        if terms.number is None or terms.budget is None:
            decided.append(_decision(view, terms.number, kept, () if terms.keeps_all else _let_go(view)))
        else:
            budgets.setdefault(terms.number, _Budget(terms.number, terms.budget)).take(line, kept, _kept(terms.firm, line))
    uses = []
    for _, budget in sorted(budgets.items()):
        fitting, use = budget.fit()
        decided += fitting
        uses.append(use)
    decided.sort(key=lambda each: each.number)
    return Decisions(policy=policy, now=now, sessions=tuple(decided), budgets=tuple(uses))


def _let_go(view: SessionView) -> list[Point]:
    """What is superseded and not held."""
    return [
        point
        for point in view.superseded
        if not any(hold.ordinals is None or point.ordinal in hold.ordinals for hold in view.holds)
    ]


def _decision(
    view: SessionView, rule: int | None, kept: set[int], let_go: Sequence[Point] = (), over_budget: int = 0
) -> SessionDecision:
    points = view.points
    goes = [] if len(kept) == len(points) else [point for place, point in enumerate(points) if place not in kept]
    if let_go:
        goes = sorted([*goes, *let_go], key=lambda point: point.ordinal)
    return SessionDecision(
        number=view.number,
        id=view.id,
        rule=rule,
        kept=len(kept),
        goes=tuple([point.ordinal for point in goes]),
        indexes=tuple([point.index for point in goes]),
        freed_bytes=sum([point.bytes for point in goes]),
        over_budget=over_budget,
    )


class _Budget:
    """The sessions of a rule, and which of their checkpoints go so that the others fit."""

    __slots__ = ("bytes", "limit", "lines", "loose", "rule")

    def __init__(self, rule: int, limit: int) -> None:
        self.rule: Final = rule
        self.limit: Final = limit
        #: By number of session: its line, and the places that its rule's keys keep.
        self.lines: Final[dict[int, tuple[_Line, set[int]]]] = {}
        self.bytes = 0
        #: Time, number of session, place: in the order in which they may go.
        self.loose: Final[list[tuple[int, int, int]]] = []

    def take(self, line: _Line, kept: set[int], firm: set[int]) -> None:
        """Count a session in. The budget may have of `kept` what is not in `firm`."""
        points, youth_ms, number = line.points, line.youth_ms(), line.view.number
        self.bytes += sum([points[place].bytes for place in kept])
        self.loose.extend((youth_ms[place], number, place) for place in sorted(kept - firm) if points[place].bytes)
        self.lines[number] = line, kept

    def fit(self) -> tuple[list[SessionDecision], BudgetUse]:
        """The decisions on all sessions, and what is left."""
        over: dict[int, set[int]] = {number: set() for number in self.lines}
        left = self.bytes
        if left > self.limit:
            for _, number, place in sorted(self.loose):
                if left <= self.limit:
                    break
                over[number].add(place)
                left -= self.lines[number][0].points[place].bytes
        decided = [
            _decision(line.view, self.rule, kept - over[number], _let_go(line.view), len(over[number]))
            for number, (line, kept) in self.lines.items()
        ]
        return decided, BudgetUse(rule=self.rule, budget_bytes=self.limit, kept_bytes=left)
