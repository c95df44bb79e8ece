from __future__ import annotations

import pytest

from aegis_store.errors import InvalidArgument
from aegis_store.targets import USUAL, Target, from_tables, intervals_from, usual
from aegis_store.types import Tier


def test_targets_are_kept_as_seconds():
    target = Target(rpo="5m", rto="30m")
    assert (target.rpo, target.rto, target.rpo_seconds, target.rto_seconds) == (300, 1800, 300, 1800)
    assert (Target().rpo_seconds, Target().rto_seconds) == (None, None)
    assert Target(rpo=0).rpo_seconds == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [({"rpo": -1}, "rpo is -1, not whole seconds from 0"), ({"rto": 0}, "rto is 0, not whole seconds from 1")],
)
def test_what_cannot_be_meant_is_refused_by_name(given, said):
    with pytest.raises(InvalidArgument, match=said):
        Target(**given)


def test_the_usual_ones_cover_every_tier_and_the_sessions_follow_the_interval():
    assert set(USUAL) == set(Tier)
    assert usual(Tier.SESSION, 60) == Target(rpo=60, rto="30m")
    assert usual(Tier.AUDIT, 60) == Target(rpo=0, rto="4h")


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"sesion": {}}, "there is no tier 'sesion'"),
        ({"session": 5}, "targets.session is 5, not a table"),
        ({"session": {"rpa": 1}}, "there is no option targets.session.rpa"),
        ({"session": {"rpo": "soon"}}, "targets.session.rpo is 'soon'"),
        ([], "not a table of tiers"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_by_name(tables, said):
    with pytest.raises(InvalidArgument, match=said):
        from_tables(tables)


def test_tables_become_targets():
    made = Target(rpo=1)
    assert from_tables({"session": {"rpo": "5m"}, "audit": made}) == {"session": Target(rpo=300), "audit": made}


def test_intervals_are_by_role():
    assert intervals_from({"planner": "1m", "critic": 5}) == {"planner": 60, "critic": 5}
    for wrong in ([], {1: 1}):
        with pytest.raises(InvalidArgument, match="intervals is"):
            intervals_from(wrong)
    with pytest.raises(InvalidArgument, match=r"intervals\.planner is 0"):
        intervals_from({"planner": 0})
