"""The small nouns: numbers as FORMAT.md has them."""

import time

import msgspec
import pytest

from aegis_store.types import LINKS, OF_THE_STORE, WRITTEN, Head, Kind, LogIndex, MemoryPointer, Ordinal, Ref, SystemClock, Tier


def test_tiers_have_the_numbers_and_names_of_the_format():
    assert {tier.label: tier.value for tier in Tier} == {"audit": 1, "memory": 2, "session": 3, "telemetry": 4}


@pytest.mark.parametrize("tier", Tier)
def test_a_tier_is_found_by_its_label(tier):
    assert Tier.labelled(tier.label) is tier


@pytest.mark.parametrize("label", ["", "SESSION", "sessions", "1"])
def test_an_unknown_label_is_no_tier(label):
    with pytest.raises(KeyError):
        Tier.labelled(label)


def test_kinds_have_the_numbers_and_names_of_the_format():
    assert [(kind.value, kind.label) for kind in Kind] == [
        (1, "session-begin"),
        (2, "checkpoint"),
        (3, "session-end"),
        (4, "key-add"),
        (5, "key-revoke"),
        (6, "writes"),
        (7, "chunk"),
        (8, "dictionary"),
        (9, "audit-event"),
        (10, "memory-item"),
        (11, "telemetry"),
        (12, "hold"),
        (13, "hold-release"),
        (14, "prune"),
        (15, "erase"),
        (16, "fence"),
        (17, "head"),
    ]
    assert sorted(WRITTEN) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 13, 14, 15]
    assert sorted(LINKS) == [2, 9, 10]
    assert sorted(OF_THE_STORE) == [8, 12, 13, 14, 15]
    assert OF_THE_STORE <= WRITTEN


def test_a_reference_is_a_value():
    made = [
        Ref(tier=Tier.SESSION, index=LogIndex(5), leaf=b"l" * 32, ordinal=Ordinal(2), session="s", time_ms=time_ms)
        for time_ms in (None, None, 1)
    ]
    assert made[0] == made[1]
    assert hash(made[0]) == hash(made[1])
    assert made[0] != made[2]


@pytest.mark.parametrize(
    "made",
    [
        Ref(tier=Tier.SESSION, index=LogIndex(5), leaf=b"l" * 32, ordinal=Ordinal(2), session="s"),
        Head(tier=Tier.SESSION, size=5, root=b"r" * 32),
        MemoryPointer(index=LogIndex(5), root=b"r" * 32),
    ],
)
def test_nouns_do_not_change(made):
    for field in msgspec.structs.fields(type(made)):
        with pytest.raises(AttributeError):
            setattr(made, field.name, None)


@pytest.mark.parametrize("noun", [Ref, Head, MemoryPointer])
def test_fields_are_given_by_name(noun):
    with pytest.raises(TypeError):
        noun(*range(len(msgspec.structs.fields(noun))))


def test_the_system_clock_counts_milliseconds(monkeypatch):
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_123_999_999)
    assert SystemClock().now_ms() == 1_700_000_000_123
