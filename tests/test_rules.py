"""Rules of retention as data: what they allow, and what they say of what they don't."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store.config import Config
from aegis_store.errors import InvalidArgument
from aegis_store.rules import Rule, from_tables, in_order
from aegis_store.types import Tier

COUNTS = ["keep_last", "hourly", "daily", "weekly", "monthly", "yearly"]


def test_a_rule_is_a_value():
    rule = Rule(keep_last=3, keep_age="30d", keep_positions=["a", "b"], byte_budget="2GiB")
    assert rule == Rule(keep_last=3, keep_age=2_592_000, keep_positions=("a", "b"), byte_budget=2 << 30)
    assert hash(rule) == hash(msgspec.structs.replace(rule)) != hash(Rule())
    assert (rule.age_seconds, rule.budget_bytes) == (2_592_000, 2 << 30)
    assert (Rule().age_seconds, Rule().budget_bytes) == (None, None)
    with pytest.raises(AttributeError):
        rule.keep_last = 4


def test_a_rule_that_says_nothing_is_for_every_session_and_drops_none():
    assert msgspec.structs.asdict(Rule()) == {"tier": "session", "keep_positions": ()} | dict.fromkeys(
        ["role", *COUNTS, "keep_age", "byte_budget"]
    )


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("45s", 45), ("90m", 5400), ("12h", 43_200), ("30d", 2_592_000), ("30 d", 2_592_000), (1, 1), ("001s", 1)],
)
def test_an_age_has_a_unit_or_is_in_seconds(text, seconds):
    assert Rule(keep_age=text).age_seconds == seconds


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1B", 1),
        ("7kB", 7000),
        ("7KB", 7000),
        ("500MB", 500_000_000),
        ("2GB", 2 * 10**9),
        ("1TB", 10**12),
        ("1KiB", 1 << 10),
        ("1kiB", 1 << 10),
        ("3MiB", 3 << 20),
        ("2GiB", 2 << 30),
        ("1TiB", 1 << 40),
        ("2 GiB", 2 << 30),
        (12345, 12345),
    ],
)
def test_a_budget_has_a_unit_or_is_in_bytes(text, size):
    assert Rule(byte_budget=text).budget_bytes == size


@pytest.mark.parametrize("key", COUNTS)
@pytest.mark.parametrize("value", [0, -1, 1.0, "3", True, [3]])
def test_a_count_is_a_whole_number_from_1(key, value):
    with pytest.raises(InvalidArgument, match=rf"^{key} is .*, not a whole number from 1; leave it out"):
        Rule(**{key: value})


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        *[
            ("keep_age", value, "keep_age is .*, not whole seconds from 1, or text such as '30d', '12h', '90m', '45s'")
            for value in (
                0,
                -1,
                1.5,
                True,
                "",
                "d",
                "0d",
                "-3d",
                "1.5h",
                "30",
                "30w",
                "30D",
                "3d 4h",
                "٣d",
                "1" * 19 + "d",
                [1],
            )
        ],
        *[
            ("byte_budget", value, "byte_budget is .*, not whole bytes from 1, or text such as '2GiB', '500MB'")
            for value in (0, -1, 1e9, False, "", "GB", "0GB", "-1MB", "1.5GiB", "500", "2G", "2gib", "2mb", "2 Gi", "1\nGB", {})
        ],
        *[
            ("keep_positions", value, "keep_positions is .*, not a list of names")
            for value in ("a*", [1], None, {"a"}, ["a", None])
        ],
        ("role", 3, "role is 3, not the name of a role"),
        ("tier", "audit", "tier is 'audit', which keeps everything for ever"),
        ("tier", "sessions", "tier is 'sessions', not 'session' or 'memory' or 'telemetry'"),
        ("tier", 3, "tier is 3, not"),
        ("tier", Tier.SESSION, "tier is .*, not 'session'"),
        ("tier", ["session"], "tier is "),
        ("tier", None, "tier is None"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_key_with_what_is_allowed(field, value, said):
    with pytest.raises(InvalidArgument, match=f"^{said}"):
        Rule(**{field: value})


TEXTS = st.text(st.sampled_from("0123456789 .-+eEdhmsBkKMGTi\n٣"), max_size=8) | st.text(max_size=4)


@given(TEXTS, st.sampled_from(["keep_age", "byte_budget"]))
def test_any_text_is_a_number_or_refused(text, key):
    try:
        rule = Rule(**{key: text})
    except InvalidArgument as error:
        assert key in error.message
    else:
        assert getattr(rule, key) >= 1


# ---- several --------------------------------------------------------------------------------------------------------------


def test_rules_stand_for_roles_first_then_for_all():
    rules = [
        Rule(role="a"),
        Rule(role="b"),
        Rule(),
        Rule(tier="memory"),
        Rule(tier="telemetry", role="a"),
        Rule(tier="telemetry"),
    ]
    assert in_order(rules) == tuple(rules)
    assert in_order([]) == ()


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([Rule(), Rule(role="a")], "rule 2 is never reached: rule 1 takes all sessions of any role"),
        (
            [Rule(role="b"), Rule(), Rule(tier="memory"), Rule()],
            "rule 4 is never reached: rule 2 takes all sessions of any role",
        ),
        ([Rule(role="a"), Rule(role="a")], "rule 2 is never reached: rule 1 takes all sessions of role 'a'"),
        ([Rule(), {"keep_last": 1}], "rule 2 is {'keep_last': 1}, not a Rule"),
        (Rule(), "retention is Rule.*, not a list of rules"),
        ("rules", "retention is 'rules', not a list of rules"),
        (None, "retention is None, not a list"),
    ],
)
def test_a_rule_that_no_session_reaches_is_refused(rules, said):
    for made in (in_order, lambda rules: Config(retention=rules)):
        with pytest.raises(InvalidArgument, match=said):
            made(rules)


def test_rules_come_from_tables():
    tables = [{"role": "a", "keep_age": "12h"}, {"byte_budget": "1GB", "keep_positions": ["x"]}]
    assert from_tables(tables) == (Rule(role="a", keep_age=43_200), Rule(byte_budget=10**9, keep_positions=["x"]))
    assert from_tables([{}]) == (Rule(),)
    with pytest.raises(InvalidArgument, match="retention rule 2: keep_last is -1"):
        from_tables([{}, {"keep_last": -1}])
    for tables in ({}, [1], "x", [{}, []]):
        with pytest.raises(InvalidArgument, match="retention is not a list of tables") as caught:
            from_tables(tables)
        assert "[[retention]]" in caught.value.hint
