"""Options are refused by name when they cannot be meant, and are as documented when they are left out."""

from __future__ import annotations

import re

import msgspec
import pytest

from aegis_store.config import GIB, KIB, MIB, Align, Config, Durability, TierDurability
from aegis_store.errors import InvalidArgument
from aegis_store.rules import Rule
from aegis_store.types import Tier


def test_the_defaults_are_safe():
    config = Config()
    assert [config.durability.of(tier) for tier in Tier] == [Durability.COMMIT] * 3 + [Durability.WRITE]
    assert config.align is Align.PACKED
    assert (config.segment_bytes, config.cache_bytes, config.state_limit_bytes) == (32 * MIB, 4 * MIB, 256 * MIB)
    assert config.allow_network is False


def test_plain_strings_are_enough():
    config = Config(align="block", durability=TierDurability(session="write"))
    assert config.align is Align.BLOCK
    assert config.durability.of(Tier.SESSION) is Durability.WRITE
    assert config == Config(align=Align.BLOCK, durability=TierDurability(session=Durability.WRITE))


def test_alignment_is_in_bytes_of_the_format():
    assert (Align.PACKED.bytes, Align.BLOCK.bytes) == (8, 4096)


def test_a_config_cannot_be_changed():
    with pytest.raises(AttributeError):
        Config().segment_bytes = 1
    assert hash(Config()) == hash(Config())


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [("segment_bytes", 64 * KIB, GIB), ("cache_bytes", 64 * KIB, 64 * GIB), ("state_limit_bytes", 1, (1 << 32) - 1)],
)
def test_sizes_have_bounds(field, low, high):
    for value in (low, high):
        assert getattr(Config(**{field: value}), field) == value
    for value in (low - 1, high + 1, -1, 0 if low else -2, 1.5, "1", None, True):
        with pytest.raises(InvalidArgument, match=field):
            Config(**{field: value})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"align": "page"}, "align is 'page', not 'packed' or 'block'"),
        ({"align": 8}, "align is 8"),
        ({"align": ["block"]}, "align is"),
        ({"allow_network": 1}, "allow_network is 1, not True or False"),
        ({"durability": {"session": "write"}}, "not a TierDurability"),
        ({"retention": [{"keep_last": 3}]}, r"retention rule 1 is \{'keep_last': 3\}, not a Rule"),
    ],
)
def test_other_options_are_refused_by_name(options, said):
    with pytest.raises(InvalidArgument, match=said):
        Config(**options)


def test_a_durability_is_refused_by_name():
    with pytest.raises(InvalidArgument, match=r"durability\.audit is 'never', not 'commit' or 'write'"):
        TierDurability(audit="never")


def test_it_can_come_from_a_table():
    table = {"align": "block", "durability": {"memory": "write"}, "retention": [{"keep_age": "1h"}]}
    assert msgspec.convert(table, Config) == Config(
        align="block", durability=TierDurability(memory="write"), retention=[Rule(keep_age=3600)]
    )
    with pytest.raises(msgspec.ValidationError, match="segment_byte"):
        msgspec.convert({"segment_byte": 1}, Config)


# ---- retention ------------------------------------------------------------------------------------------------------------


def loaded(tmp_path, text):
    """The options in a file of that text."""
    file = tmp_path / "aegis.toml"
    file.write_text(text)
    return Config.load(file)


def test_rules_of_retention_come_from_a_file(tmp_path):
    config = loaded(
        tmp_path,
        """
        align = "block"

        [[retention]]
        role = "planner"
        keep_last = 10
        keep_age = "30d"
        hourly = 24
        daily = 7
        weekly = 4
        monthly = 12
        yearly = 5
        keep_positions = ["approved/*", "done"]
        byte_budget = "2GiB"

        [[retention]]
        keep_age = 3600

        [[retention]]
        tier = "telemetry"
        byte_budget = 500_000_000
        """,
    )
    assert config == Config(
        align="block",
        retention=[
            Rule(
                role="planner",
                keep_last=10,
                keep_age="30d",
                hourly=24,
                daily=7,
                weekly=4,
                monthly=12,
                yearly=5,
                keep_positions=["approved/*", "done"],
                byte_budget=2 * GIB,
            ),
            Rule(keep_age="1h"),
            Rule(tier="telemetry", byte_budget="500MB"),
        ],
    )
    assert hash(config) == hash(msgspec.structs.replace(config)) != hash(Config(align="block"))
    assert isinstance(config.retention, tuple)


def test_without_rules_there_are_none(tmp_path):
    assert Config().retention == loaded(tmp_path, "").retention == loaded(tmp_path, "retention = []").retention == ()


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        (
            "keep_lats = 3",
            "retention rule 2: there is no key keep_lats",
            "the keys are tier, role, keep_last, keep_age, hourly",
        ),
        ("keep_last = -3", "retention rule 2: keep_last is -3, not a whole number from 1", None),
        ("daily = 0", "retention rule 2: daily is 0, not a whole number from 1", None),
        ("yearly = true", "retention rule 2: yearly is True, not a whole number from 1", None),
        (
            'keep_age = "30 days"',
            "retention rule 2: keep_age is '30 days', not whole seconds from 1, or text such as '30d'",
            None,
        ),
        ("keep_age = 2026-11-28", r"retention rule 2: keep_age is datetime\.date\(2026, 11, 28\), not whole seconds", None),
        ('byte_budget = "2G"', "retention rule 2: byte_budget is '2G', not whole bytes from 1, or text such as '2GiB'", None),
        ("byte_budget = 2e9", r"retention rule 2: byte_budget is 2000000000\.0, not whole bytes from 1", None),
        ('keep_positions = "a*"', r"retention rule 2: keep_positions is 'a\*', not a list of names", None),
        ("role = 7", "retention rule 2: role is 7, not the name of a role", None),
        ('tier = "audit"', "retention rule 2: tier is 'audit', which keeps everything for ever", None),
        ('tier = "audits"', "retention rule 2: tier is 'audits', not 'session' or 'memory' or 'telemetry'", None),
        (
            'role = "planner"',
            "retention rule 2 is never reached: rule 1 takes all sessions of role 'planner'",
            "the first rule",
        ),
    ],
)
def test_a_rule_in_a_file_is_refused_by_number_and_key_with_what_is_allowed(tmp_path, text, said, hint):
    with pytest.raises(InvalidArgument) as caught:
        loaded(tmp_path, f'[[retention]]\nrole = "planner"\n\n[[retention]]\n{text}\n')
    assert re.match(said, caught.value.message)
    assert caught.value.path == str(tmp_path / "aegis.toml")
    assert (caught.value.hint or "").startswith(hint or "")


@pytest.mark.parametrize("text", ["[retention]\nkeep_last = 3", "retention = 3", "retention = [3]"])
def test_rules_in_a_file_are_tables_with_two_brackets(tmp_path, text):
    with pytest.raises(InvalidArgument, match=r"retention is not a list of tables") as caught:
        loaded(tmp_path, text)
    assert "[[retention]]" in caught.value.hint


def test_targets_and_intervals_come_from_a_file(tmp_path):
    file = tmp_path / "aegis.toml"
    file.write_text('checkpoint_interval = "2m"\n[intervals]\nplanner = "1m"\n[targets.audit]\nrpo = "1h"\nrto = "4h"\n')
    config = Config.load(file)
    assert (config.interval_seconds("planner"), config.interval_seconds("critic"), config.interval_seconds(None)) == (
        60,
        120,
        120,
    )
    assert config.target(Tier.AUDIT).rpo_seconds == 3600
    assert config.target(Tier.SESSION).rpo_seconds == 120  # the interval, where nothing was set
    assert list(config.targets) == ["audit"]
    assert hash(config) == hash(Config.load(file)) != hash(Config())
    for text, said in (
        ("checkpoint_interval = 0", "checkpoint_interval is 0"),
        ("[targets.nowhere]", "there is no tier 'nowhere'"),
        ('[intervals]\nplanner = "soon"', "intervals.planner is 'soon'"),
    ):
        file.write_text(text)
        with pytest.raises(InvalidArgument, match=said):
            Config.load(file)
