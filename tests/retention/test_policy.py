"""Every rule as a table: a session's checkpoints, what is to be kept, what stays and why."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store.errors import InvalidArgument
from aegis_store.retention import BudgetUse, Hold, Point, Policy, Rule, SessionView, decide
from aegis_store.types import Tier


def ms(text):
    """ "2026-11-28 12:00" in UTC -> milliseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1000


#: A Saturday, in week 48.
NOW = ms("2026-11-28 12:00")


def view(times, number=1, role=None, positions=(), sizes=(), first=0, **more):
    """A session with a checkpoint for each time."""
    points = [
        Point(
            ordinal=first + place,
            index=number + 1 + place,
            time_ms=ms(time) if isinstance(time, str) else time,
            bytes=sizes[place] if sizes else 100,
            position=positions[place] if positions else None,
        )
        for place, time in enumerate(times)
    ]
    return SessionView(number=number, id=f"s{number}", agent="a", role=role, is_open=True, points=points, **more)


def policy(*rules):
    return Policy(rules=[Rule(**rule) for rule in rules])


def reasons(rule, seen):
    """Why what stays does; what goes is what is left."""
    decisions = decide([seen], policy(rule), NOW)
    stays = decisions.reasons(seen)
    (decision,) = decisions.sessions
    assert sorted([*stays, *decision.goes]) == [point.ordinal for point in seen.points]
    assert list(stays) == sorted(stays) and list(decision.goes) == sorted(decision.goes)
    gone = [point for point in seen.points if point.ordinal in decision.goes]
    assert decision.indexes == tuple(point.index for point in gone)
    assert decision.freed_bytes == sum(point.bytes for point in gone)
    assert decision.kept == len(stays)
    return stays


# ---- versions of a key of the memory --------------------------------------------------------------------------------------


def versions(*spans):
    """Points that each were the newest from one time until another (None: it still is)."""
    points = [
        Point(ordinal=place, index=10 + place, time_ms=ms(begun), until_ms=None if until is None else ms(until), bytes=100)
        for place, (begun, until) in enumerate(spans)
    ]
    return SessionView(number=1, id="s", agent="a", role=None, is_open=True, points=points)


def test_an_age_counts_from_when_a_version_was_superseded():
    seen = versions(
        ("2026-01-01 00:00", "2026-11-20 00:00"), ("2026-11-20 00:00", "2026-11-27 13:00"), ("2026-11-27 13:00", None)
    )
    assert reasons({"keep_age": "1d"}, seen) == {1: "younger than 1 d", 2: "newest"}
    assert reasons({"keep_age": "9d"}, seen) == {0: "younger than 9 d", 1: "younger than 9 d", 2: "newest"}
    # Of a day what was put last stays, whenever it was superseded.
    assert reasons({"daily": 2}, seen) == {1: "daily 2026-11-20", 2: "newest"}


def test_what_is_superseded_goes_where_anything_may_and_is_not_held():
    old = [Point(ordinal=7 + each, index=30 + each, time_ms=NOW, bytes=10) for each in range(2)]
    seen = msgspec.structs.replace(view(["2026-11-28 01:00", "2026-11-28 02:00"]), superseded=old)
    for rule, goes, freed in (
        ({"keep_last": 5}, (7, 8), 20),
        ({"keep_last": 1}, (0, 7, 8), 120),
        ({"byte_budget": 100}, (0, 7, 8), 120),
        ({"byte_budget": 1000}, (7, 8), 20),
        ({}, (), 0),
        ({"role": "other", "keep_last": 1}, (), 0),
    ):
        (decision,) = decide([seen], policy(rule), NOW).sessions
        assert (decision.goes, decision.freed_bytes) == (goes, freed), rule
    held = msgspec.structs.replace(seen, holds=[Hold(name="case 7", ordinals=frozenset({8}))])
    assert decide([held], policy({"keep_last": 5}), NOW).sessions[0].goes == (7,)
    held = msgspec.structs.replace(seen, holds=[Hold(name="case 7")])
    assert decide([held], policy({"keep_last": 1}), NOW).sessions[0].goes == ()


# ---- counts ---------------------------------------------------------------------------------------------------------------

FIVE = ["2026-11-01 00:00", "2026-11-10 00:00", "2026-11-20 00:00", "2026-11-27 00:00", "2026-11-28 00:00"]


@pytest.mark.parametrize(
    ("count", "stays"),
    [
        (1, {4: "newest"}),
        (3, {2: "last 3", 3: "last 3", 4: "newest"}),
        (5, {0: "last 5", 1: "last 5", 2: "last 5", 3: "last 5", 4: "newest"}),
        (1000, {**{each: "last 1000" for each in range(4)}, 4: "newest"}),
    ],
)
def test_the_newest_few_stay(count, stays):
    assert reasons({"keep_last": count}, view(FIVE)) == stays


def test_the_newest_are_those_of_the_highest_ordinals_whatever_their_times():
    backwards = view(list(reversed(FIVE)))
    assert reasons({"keep_last": 2}, backwards) == {3: "last 2", 4: "newest"}
    assert reasons({"keep_last": 2}, view([NOW] * 4)) == {2: "last 2", 3: "newest"}


def test_a_count_is_of_those_that_are_left():
    thin = view(FIVE)
    thin = msgspec.structs.replace(thin, points=[thin.points[place] for place in (0, 1, 4)])
    assert reasons({"keep_last": 2}, thin) == {1: "last 2", 4: "newest"}


# ---- ages -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("age", "times", "stays"),
    [
        ("30d", ["2026-10-28 00:00", "2026-10-29 12:01", "2026-11-01 00:00"], {1: "younger than 30 d", 2: "newest"}),
        # To the millisecond: what is as old as that is not younger.
        ("12h", [NOW - 43_200_001, NOW - 43_200_000, NOW - 43_199_999, NOW], {2: "younger than 12 h", 3: "newest"}),
        ("90m", [NOW - 5_400_000, NOW - 5_000_000, NOW], {1: "younger than 90 min", 2: "newest"}),
        ("45s", [NOW - 45_000, NOW - 44_000, NOW], {1: "younger than 45 s", 2: "newest"}),
        (3600, [NOW - 3_600_000, NOW - 3_599_999, NOW], {1: "younger than 1 h", 2: "newest"}),
        # All are old: the newest stays all the same.
        ("1s", ["2020-01-01 00:00", "2020-01-02 00:00"], {1: "newest"}),
        # The future is young.
        ("1s", [NOW - 2_000, NOW + 10**12, NOW + 10**13], {1: "younger than 1 s", 2: "newest"}),
        # A clock that was set back: nothing behind something young is old.
        ("1d", ["2026-11-01 00:00", "2026-11-28 00:00", 5, 0], {1: "younger than 1 d", 2: "younger than 1 d", 3: "newest"}),
        # Equal times share their fate.
        ("1d", [NOW - 86_400_000] * 2 + [NOW - 1] * 2, {2: "younger than 1 d", 3: "newest"}),
    ],
)  # fmt: skip
def test_what_is_young_stays(age, times, stays):
    assert reasons({"keep_age": age}, view(times)) == stays


# ---- generations ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "times", "stays"),
    [
        (
            {"hourly": 2},
            ["2026-11-28 08:10", "2026-11-28 10:10", "2026-11-28 10:50", "2026-11-28 11:00", "2026-11-28 11:59"],
            {2: "hourly 2026-11-28 10:00", 4: "newest"},
        ),
        (  # a day is one of UTC, up to its last millisecond; days without any are not counted
            {"daily": 3},
            ["2026-11-20 00:00", "2026-11-25 23:59", ms("2026-11-26 00:00") - 1, "2026-11-26 00:00", "2026-11-28 01:00"],
            {2: "daily 2026-11-25", 3: "daily 2026-11-26", 4: "newest"},
        ),
        (  # Sunday belongs to the week before Monday
            {"weekly": 2},
            ["2026-11-15 12:00", "2026-11-16 12:00", "2026-11-22 23:00", "2026-11-23 00:00", "2026-11-28 00:00"],
            {2: "weekly 2026-W47", 4: "newest"},
        ),
        (  # the last days of 2026 are in week 53, and so are the first three of 2027
            {"weekly": 3},
            ["2026-12-27 00:00", "2026-12-28 00:00", "2027-01-01 00:00", "2027-01-03 00:00", "2027-01-04 00:00"],
            {0: "weekly 2026-W52", 3: "weekly 2026-W53", 4: "newest"},
        ),
        (
            {"monthly": 2},
            ["2025-11-30 00:00", "2026-10-01 00:00", "2026-10-31 23:59", "2026-11-01 00:00"],
            {2: "monthly 2026-10", 3: "newest"},
        ),
        (
            {"yearly": 2},
            ["2023-06-01 00:00", "2024-01-01 00:00", "2024-12-31 23:59", "2026-01-01 00:00"],
            {2: "yearly 2024", 3: "newest"},
        ),
        (  # all generations: the first that keeps one is its reason
            {"hourly": 1, "daily": 2, "weekly": 2, "monthly": 2, "yearly": 2},
            ["2025-12-31 00:00", "2026-10-05 00:00", "2026-11-18 00:00", "2026-11-27 00:00", "2026-11-28 00:00"],
            {
                0: "yearly 2025",
                1: "monthly 2026-10",
                2: "weekly 2026-W47",
                3: "daily 2026-11-27",
                4: "newest",
            },
        ),
        # More than there are.
        ({"daily": 400}, ["2026-11-26 00:00", "2026-11-26 01:00", "2026-11-27 00:00"], {1: "daily 2026-11-26", 2: "newest"}),
        # Equal times: the later ordinal is the newer one.
        ({"daily": 2}, ["2026-11-26 00:00"] * 3 + ["2026-11-27 00:00"] * 2, {2: "daily 2026-11-26", 4: "newest"}),
        # The clock was set back by five days after 2: the last days are those that come last in the line.
        (
            {"daily": 3},
            ["2026-11-08 00:00", "2026-11-09 00:00", "2026-11-10 00:00", "2026-11-05 00:00", "2026-11-06 00:00"],
            {2: "daily 2026-11-10", 3: "daily 2026-11-05", 4: "newest"},
        ),
        # A day that comes twice has its newest by ordinal.
        (
            {"daily": 2},
            ["2026-11-08 00:00", "2026-11-09 00:00", "2026-11-08 00:00", "2026-11-08 01:00"],
            {1: "daily 2026-11-09", 3: "newest"},
        ),
        # Before 1970, and far beyond any calendar.
        ({"yearly": 3}, [-1, 0, 1, 10**17], {0: "yearly 1969", 2: "yearly 1970", 3: "newest"}),
        ({"daily": 2}, [10**17, 10**17 + 86_400_000], {0: "daily 3170843-11-07", 1: "newest"}),
    ],
)
def test_the_newest_of_each_of_the_last_periods_stays(rule, times, stays):
    assert reasons(rule, view(times)) == stays


# ---- positions, holds, forks ----------------------------------------------------------------------------------------------

NAMED = ["plan/1", "approved/a", None, "Approved/b", "done"]


@pytest.mark.parametrize(
    ("patterns", "stays"),
    [
        (["approved/*"], {1: "position approved/*", 4: "newest"}),
        (["plan/?", "*/a"], {0: "position plan/?", 1: "position */a", 4: "newest"}),
        (["[aA]pproved/*", "approved/*"], {1: "position [aA]pproved/*", 3: "position [aA]pproved/*", 4: "newest"}),
        (["approved"], {4: "newest"}),
        (["*"], {0: "position *", 1: "position *", 3: "position *", 4: "newest"}),
        ([""], {4: "newest"}),
    ],
)
def test_what_is_at_a_named_position_stays(patterns, stays):
    assert reasons({"keep_positions": patterns}, view(FIVE, positions=NAMED)) == stays


@pytest.mark.parametrize(
    ("more", "stays"),
    [
        ({"holds": [Hold(name="legal-42")]}, {**{each: "held: legal-42" for each in range(4)}, 4: "newest"}),
        ({"holds": [Hold(name="legal-42", ordinals=frozenset({1}))]}, {1: "held: legal-42", 4: "newest"}),
        (
            {"holds": [Hold(name="a", ordinals=frozenset({1, 2})), Hold(name="b", ordinals=frozenset({2, 3}))]},
            {1: "held: a", 2: "held: a, b", 3: "held: b", 4: "newest"},
        ),
        # Of ordinals that are not there: those that went before there was the hold, those that are to come.
        ({"holds": [Hold(name="a", ordinals=frozenset({-1, 5, 99}))]}, {4: "newest"}),
        ({"holds": [Hold(name="a", ordinals=frozenset())]}, {4: "newest"}),
        ({"fork_starts": frozenset({0, 3, 7})}, {0: "a fork goes on from it", 3: "a fork goes on from it", 4: "newest"}),
        (
            {"holds": [Hold(name="a", ordinals=frozenset({3}))], "fork_starts": frozenset({3, 2})},
            {2: "a fork goes on from it", 3: "held: a", 4: "newest"},
        ),
    ],
)
@pytest.mark.parametrize("rule", [{"keep_last": 1}, {"keep_last": 1, "byte_budget": 1}, {"byte_budget": 1}])
def test_what_is_held_and_what_a_fork_goes_on_from_stays_whatever_the_rule(more, stays, rule):
    assert reasons(rule, view(FIVE, **more)) == stays


def test_ordinals_are_those_of_the_session_and_not_places():
    """A fork's own begin where it branched off."""
    seen = view(FIVE, first=7, holds=[Hold(name="a", ordinals=frozenset({8}))], fork_starts=frozenset({9}))
    assert reasons({"keep_last": 1}, seen) == {8: "held: a", 9: "a fork goes on from it", 11: "newest"}


# ---- several keys, several rules ------------------------------------------------------------------------------------------


def test_any_key_keeps_and_the_first_one_is_the_reason():
    rule = {"keep_last": 2, "keep_age": "9d", "monthly": 2, "keep_positions": ["plan/*"]}
    times = ["2026-09-01 00:00", "2026-10-02 00:00", "2026-11-20 00:00", "2026-11-27 00:00", "2026-11-28 00:00"]
    assert reasons(rule, view(times, positions=["plan/1", "x", "x", "plan/2", "x"])) == {
        0: "position plan/*",
        1: "monthly 2026-10",
        2: "younger than 9 d",
        3: "last 2",
        4: "newest",
    }


def test_without_a_rule_or_a_key_everything_stays():
    seen = view(FIVE)
    for rules, why in (
        ([], "no rule is for it"),
        ([{"role": "planner", "keep_last": 1}], "no rule is for it"),
        ([{"tier": "memory", "keep_last": 1}, {"tier": "telemetry", "keep_last": 1}], "no rule is for it"),
        ([{}], "its rule keeps everything"),
    ):
        decisions = decide([seen], policy(*rules), NOW)
        assert decisions.reasons(seen) == {**{each: why for each in range(4)}, 4: "newest"}
        assert (decisions.kept, decisions.gone, decisions.freed_bytes) == (5, 0, 0)


def test_the_first_rule_that_fits_is_the_sessions_own():
    rules = policy(
        {"tier": "memory", "keep_last": 1}, {"role": "planner", "keep_last": 2}, {"role": "tester"}, {"keep_last": 3}
    )
    roles = ["planner", "tester", "writer", None]
    decisions = decide([view(FIVE, number=10 * n, role=role) for n, role in enumerate(roles)], rules, NOW)
    assert [(each.rule, each.kept) for each in decisions.sessions] == [(2, 2), (3, 5), (4, 3), (4, 3)]
    memory = Policy(rules=rules.rules, tier=Tier.MEMORY)
    assert [memory.match(role)[0] for role in roles] == [1] * 4
    assert Policy(rules=rules.rules, tier=Tier.TELEMETRY).match("planner") is None


def test_a_policy_says_what_it_needs():
    for rules, needs in (
        ([], (True, False, False)),
        ([{}, {"tier": "telemetry", "keep_positions": ["x"], "byte_budget": 1}], (True, False, False)),
        ([{"role": "a"}, {"keep_last": 3}], (False, False, False)),
        ([{"keep_positions": ["x"]}], (False, True, False)),
        ([{"byte_budget": 1}], (False, False, True)),
        ([{"role": "a", "byte_budget": 1}, {"keep_positions": ["x"]}], (False, True, True)),
    ):
        found = policy(*rules)
        assert (found.keeps_everything, found.needs_positions, found.needs_bytes) == needs, rules
    for key in ("hourly", "daily", "weekly", "monthly", "yearly", "keep_last", "keep_age"):
        assert not policy({key: 1}).keeps_everything


def test_the_audit_tier_has_no_policy():
    with pytest.raises(InvalidArgument, match="the audit tier keeps everything"):
        Policy(tier=Tier.AUDIT)


# ---- budgets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "goes"),
    [(500, ()), (499, (0,)), (400, (0,)), (399, (0, 1)), (150, (0, 1, 2, 3)), (100, (0, 1, 2, 3)), (1, (0, 1, 2, 3))],
)
def test_the_oldest_go_until_what_stays_fits(budget, goes):
    decisions = decide([view(FIVE)], policy({"byte_budget": budget}), NOW)
    (decision,) = decisions.sessions
    assert decision.goes == goes and decision.over_budget == len(goes)
    assert decisions.budgets == (BudgetUse(rule=1, budget_bytes=budget, kept_bytes=500 - 100 * len(goes)),)
    assert set(decisions.reasons(view(FIVE)).values()) <= {"within the budget", "newest"}


def test_a_budget_is_over_all_sessions_of_its_rule_and_no_others():
    rules = policy({"role": "planner", "byte_budget": 400}, {"role": "writer"}, {"byte_budget": 200})
    sessions = [
        view(["2026-11-01 00:00", "2026-11-03 00:00", "2026-11-05 00:00"], number=10, role="planner"),
        view(["2026-11-02 00:00", "2026-11-04 00:00", "2026-11-06 00:00"], number=20, role="planner"),
        view(["2026-10-01 00:00", "2026-10-02 00:00"], number=30, role="writer"),
        view(["2026-10-01 00:00", "2026-10-02 00:00"], number=40),
    ]
    decisions = decide(sessions, rules, NOW)
    assert [each.goes for each in decisions.sessions] == [(0,), (0,), (), ()]
    assert decisions.budgets == (
        BudgetUse(rule=1, budget_bytes=400, kept_bytes=400),
        BudgetUse(rule=3, budget_bytes=200, kept_bytes=200),
    )


def test_of_one_time_those_of_the_older_session_go_first_then_the_lower_ordinals():
    sessions = [view([NOW] * 3, number=number) for number in (30, 10, 20)]
    for count, goes in enumerate([[(), (), ()], [(0,), (), ()], [(0, 1), (), ()], [(0, 1), (0,), ()]]):
        decisions = decide(sessions, policy({"byte_budget": 900 - 100 * count}), NOW)
        assert [each.number for each in decisions.sessions] == [10, 20, 30]
        assert [each.goes for each in decisions.sessions] == goes


def test_a_budget_takes_by_order_where_the_clock_was_set_back():
    back = ["2026-11-20 00:00", "2026-11-21 00:00", "2020-01-01 00:00", "2020-01-02 00:00"]
    assert list(reasons({"byte_budget": 200}, view(back))) == [2, 3]


def test_a_budget_comes_after_the_keys():
    rule = {"keep_last": 3, "byte_budget": 200}
    decisions = decide([view(FIVE)], policy(rule), NOW)
    (decision,) = decisions.sessions
    assert decision.goes == (0, 1, 2) and decision.over_budget == 1
    assert decisions.reasons(view(FIVE)) == {3: "last 3", 4: "newest"}


def test_a_budget_spares_named_positions_and_says_what_is_too_much():
    rule = {"keep_positions": ["approved/*"], "keep_age": "365d", "byte_budget": 150}
    seen = view(FIVE, positions=NAMED, holds=[Hold(name="h", ordinals=frozenset({0}))], fork_starts=frozenset({2}))
    assert list(reasons(rule, seen)) == [0, 1, 2, 4]
    decisions = decide([seen], policy(rule), NOW)
    assert decisions.budgets == (BudgetUse(rule=1, budget_bytes=150, kept_bytes=400),)


def test_what_nobody_knows_the_size_of_stays():
    assert list(reasons({"byte_budget": 250}, view(FIVE, sizes=[0, 100, 0, 100, 100]))) == [0, 2, 3, 4]


def test_no_more_goes_than_has_to():
    assert list(reasons({"byte_budget": 300}, view(FIVE, sizes=[10, 500, 100, 100, 100]))) == [2, 3, 4]


# ---- sessions -------------------------------------------------------------------------------------------------------------


def test_a_session_without_checkpoints_is_decided_on_too():
    empty = view([], holds=[Hold(name="a")], fork_starts=frozenset({0}))
    for rule in ({}, {"keep_last": 1, "keep_age": 1, "daily": 1, "yearly": 1, "keep_positions": ["*"], "byte_budget": 1}):
        assert reasons(rule, empty) == {}


def test_no_sessions_are_no_decisions():
    decisions = decide([], policy({"keep_last": 1, "byte_budget": 5}), NOW)
    assert (decisions.sessions, decisions.budgets, decisions.kept, decisions.gone, decisions.freed_bytes) == ((), (), 0, 0, 0)


def test_views_may_be_made_as_they_are_asked_for():
    decisions = decide((view(FIVE, number=10 * n) for n in range(3)), policy({"keep_last": 2}), NOW)
    assert (decisions.kept, decisions.gone, decisions.freed_bytes) == (6, 9, 900)


def test_views_that_cannot_be_are_refused():
    seen = view(FIVE)
    for points in ([*seen.points[1:], seen.points[0]], [seen.points[0], seen.points[0]]):
        with pytest.raises(InvalidArgument, match="points of session 's1' are not in the order"):
            decide([msgspec.structs.replace(seen, points=points)], Policy(), NOW)
    with pytest.raises(InvalidArgument, match="'s1' comes twice"):
        decide([seen, view(FIVE, number=2), seen], Policy(), NOW)
    with pytest.raises(InvalidArgument, match="'s2' is not among those"):
        decide([seen], Policy(), NOW).reasons(view(FIVE, number=2))


# ---- what holds whatever the rule -----------------------------------------------------------------------------------------

ORDINALS = st.frozensets(st.integers(-1, 13), max_size=4)
KEYS = st.fixed_dictionaries(
    {},
    optional={
        "keep_last": st.integers(1, 6),
        "keep_age": st.sampled_from([1, 3600, "1d", "9d", "400d"]),
        "hourly": st.integers(1, 4),
        "daily": st.integers(1, 4),
        "weekly": st.integers(1, 4),
        "monthly": st.integers(1, 4),
        "yearly": st.integers(1, 4),
        "keep_positions": st.lists(st.sampled_from(["a*", "b", "?", "zz"]), min_size=1, max_size=2),
    },
)
BUDGETS = st.fixed_dictionaries({}, optional={"byte_budget": st.integers(1, 3000)})
# Mostly near now and in no order; some far away.
TIMES = st.integers(-400 * 24, 24).map(lambda hours: NOW + hours * 1_800_000) | st.sampled_from([-1, 0, NOW, 10**17])


@st.composite
def views(draw, is_in_time=False):
    """Some sessions; in time: their clock never went back, as that of a store does not within a session."""
    found = []
    for number in draw(st.permutations(range(draw(st.integers(0, 4))))):
        times = draw(st.lists(TIMES, max_size=12).map(sorted if is_in_time else list))
        many = {"min_size": len(times), "max_size": len(times)}
        holds = st.builds(Hold, name=st.sampled_from("xy"), ordinals=st.none() | ORDINALS)
        found.append(
            view(
                times,
                number=100 * number,
                role=draw(st.sampled_from([None, "r"])),
                positions=draw(st.lists(st.sampled_from([None, "a", "ab", "b"]), **many)),
                sizes=draw(st.lists(st.integers(0, 300), **many)),
                first=draw(st.integers(0, 2)),
                holds=draw(st.lists(holds, max_size=1)),
                fork_starts=draw(ORDINALS),
            )
        )
    return found


def gone(decisions):
    return {(each.number, ordinal) for each in decisions.sessions for ordinal in each.goes}


@given(views(), KEYS, BUDGETS)
def test_the_newest_and_the_held_and_fork_starts_always_stay(sessions, keys, budget):
    lost = gone(decide(sessions, policy({**keys, **budget}), NOW))
    for seen in sessions:
        for point in seen.points:
            held = any(hold.ordinals is None or point.ordinal in hold.ordinals for hold in seen.holds)
            if point is seen.points[-1] or held or point.ordinal in seen.fork_starts:
                assert (seen.number, point.ordinal) not in lost


@given(views(), KEYS, BUDGETS, st.integers(0, 10**15))
def test_the_default_keeps_everything(sessions, keys, budget, now):
    for rules in ([], [{}], [{"role": "nobody", **keys, **budget}]):
        assert decide(sessions, policy(*rules), now).gone == 0


@given(views(), KEYS, KEYS)
def test_another_key_never_drops_more(sessions, keys, more):
    """But for the first key of a rule: one without any keeps everything."""
    if keys:
        assert gone(decide(sessions, policy({**more, **keys}), NOW)) <= gone(decide(sessions, policy(keys), NOW))


@given(views(), KEYS, BUDGETS)
def test_a_budget_drops_more_and_only_to_fit(sessions, keys, budget):
    free, within = (decide(sessions, policy({**keys, **each}), NOW) for each in ({}, budget))
    assert gone(free) <= gone(within)
    assert sum(each.over_budget for each in within.sessions) == within.gone - free.gone
    for use in within.budgets:
        assert use.kept_bytes == sum(point.bytes for seen in sessions for point in seen.points) - within.freed_bytes
        if use.kept_bytes > use.budget_bytes:  # nothing that could go is left
            stays = [
                (seen, point) for seen in sessions for point in seen.points if (seen.number, point.ordinal) not in gone(within)
            ]
            for seen, point in stays:
                why = decide([seen], policy({"keep_last": 1, "keep_positions": keys.get("keep_positions", ())}), NOW).reasons(
                    seen
                )
                assert point.ordinal in why or point.bytes == 0


@given(views(), KEYS, BUDGETS, st.randoms(use_true_random=False))
def test_the_same_views_make_the_same_decisions_in_any_order(sessions, keys, budget, chance):
    rules = policy({"role": "r", **keys}, budget)
    first = decide(sessions, rules, NOW)
    shuffled = list(sessions)
    chance.shuffle(shuffled)
    assert decide(iter(shuffled), rules, NOW) == first == decide(sessions, rules, NOW)
    assert [first.reasons(seen) for seen in sessions] == [decide(shuffled, rules, NOW).reasons(seen) for seen in sessions]


def without(sessions, lost):
    """The sessions when that is gone."""
    return [
        msgspec.structs.replace(seen, points=[each for each in seen.points if (seen.number, each.ordinal) not in lost])
        for seen in sessions
    ]


@given(views(is_in_time=True), KEYS, BUDGETS)
def test_what_was_swept_is_not_swept_further_at_the_same_time(sessions, keys, budget):
    rules = policy({**keys, **budget})
    assert decide(without(sessions, gone(decide(sessions, rules, NOW))), rules, NOW).gone == 0


@given(views(), KEYS, st.integers(0, 12), st.sampled_from([0, 1, 3600, 86_400, 40 * 86_400]))
def test_sweeping_often_comes_to_the_same_as_sweeping_once(sessions, keys, many, seconds):
    """Without a budget, whatever the clocks said: first when there were `many` checkpoints of each, then again."""
    rules = policy(keys)
    early = [msgspec.structs.replace(seen, points=seen.points[:many]) for seen in sessions]
    lost = gone(decide(early, rules, NOW - 1000 * seconds))
    assert lost | gone(decide(without(sessions, lost), rules, NOW)) == gone(decide(sessions, rules, NOW))


@given(views(), KEYS, BUDGETS)
def test_every_checkpoint_that_stays_has_a_reason_and_no_other_has(sessions, keys, budget):
    decisions = decide(sessions, policy({**keys, **budget}), NOW)
    for seen in sessions:
        stays = [point.ordinal for point in seen.points if point.ordinal not in decisions.of(seen).goes]
        assert list(decisions.reasons(seen)) == stays
        assert decisions.of(seen).kept == len(stays)


@given(views(), st.sampled_from(["1d", "9d", 3600]))
def test_by_age_nothing_goes_that_is_newer_than_what_stays_for_it(sessions, age):
    for seen in sessions:
        stays = decide([seen], policy({"keep_age": age}), NOW).reasons(seen)
        young = [ordinal for ordinal, why in stays.items() if why.startswith("younger")]
        if young:
            assert set(stays) >= {point.ordinal for point in seen.points if point.ordinal >= young[0]}
        bare = msgspec.structs.replace(seen, holds=(), fork_starts=frozenset())
        for point in bare.points:
            if point.time_ms > NOW:
                assert point.ordinal in decide([bare], policy({"keep_age": age}), NOW).reasons(bare)
