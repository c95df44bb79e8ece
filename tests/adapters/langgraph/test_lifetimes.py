"""Minutes of LangGraph, and what the memory tier is told."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("langgraph.store.base", exc_type=ImportError)

from aegis_store import DEFAULT
from aegis_store.adapters.langgraph.lifetimes import NEVER, demand_config, memory_refresh, memory_ttl, sweep_seconds
from aegis_store.errors import InvalidArgument


def test_minutes_become_seconds_and_nothing_is_what_the_options_say():
    assert memory_ttl(1) == 60
    assert memory_ttl(0.5) == 30
    assert memory_ttl(None) is DEFAULT
    assert memory_ttl(NEVER) is None


@pytest.mark.parametrize("minutes", [0, -1, math.nan, -math.inf, True, "5", 1e12])
def test_what_is_no_time_from_now_on_is_refused(minutes):
    with pytest.raises(InvalidArgument, match="ttl"):
        memory_ttl(minutes)


@pytest.mark.parametrize(
    "config",
    [
        None,
        {},
        {"default_ttl": None, "sweep_interval_minutes": None},
        {"default_ttl": 0.01, "refresh_on_read": False, "omit_expired": True, "sweep_interval_minutes": 60},
    ],
)
def test_a_configuration(config):
    demand_config(config)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ([], "not a dict"),
        (5, "not a dict"),
        ({"ttl": 5}, "no option 'ttl'"),
        ({"default_ttl": 0}, "ttl is 0"),
        ({"default_ttl": "5"}, "ttl is '5'"),
        ({"sweep_interval_minutes": 0}, "interval is 0"),
        ({"omit_expired": False}, "omit_expired"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(config, said):
    with pytest.raises(InvalidArgument, match=said):
        demand_config(config)


def test_a_read_that_is_not_told_otherwise_refreshes_as_the_options_say():
    assert memory_refresh(None, True) is None
    assert memory_refresh({}, True) is None
    assert memory_refresh({"refresh_on_read": True}, True) is True
    assert memory_refresh({"refresh_on_read": True}, False) is False
    assert memory_refresh({"refresh_on_read": False}, True) is True  # then it was the call that said so
    assert memory_refresh(None, False) is False


def test_an_interval():
    assert sweep_seconds(2) == 120
    assert 0 < sweep_seconds(1e300) < 10_000_000
    for minutes in (0, -1, math.inf, math.nan, True, None, "5"):
        with pytest.raises(InvalidArgument, match="interval"):
            sweep_seconds(minutes)
