"""Options are refused by name when they cannot be meant, and are as documented when they are left out."""

from __future__ import annotations

import msgspec
import pytest

from aegis_store.config import GIB, KIB, MIB, Align, Config, Durability, TierDurability
from aegis_store.errors import InvalidArgument
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
    ],
)
def test_other_options_are_refused_by_name(options, said):
    with pytest.raises(InvalidArgument, match=said):
        Config(**options)


def test_a_durability_is_refused_by_name():
    with pytest.raises(InvalidArgument, match=r"durability\.audit is 'never', not 'commit' or 'write'"):
        TierDurability(audit="never")


def test_it_can_come_from_a_table():
    table = {"align": "block", "durability": {"memory": "write"}}
    assert msgspec.convert(table, Config) == Config(align="block", durability=TierDurability(memory="write"))
    with pytest.raises(msgspec.ValidationError, match="segment_byte"):
        msgspec.convert({"segment_byte": 1}, Config)
