"""What is said where somebody wants to change what is written once."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store.errors import InvalidArgument, WriteOnce
from aegis_store.write_once import demand_no_subject, refused


def test_the_refusal_says_what_why_and_how_to_see_what_is_there():
    error = refused("no", op="erase", path="/a b/state", subject="it's")
    assert isinstance(error, WriteOnce) and isinstance(error, InvalidArgument)
    assert error.message == "no: the audit tier is written once and keeps everything"
    assert (error.tier, error.op, error.exit_code) == ("audit", "erase", 2)
    assert error.hint == """see what stands there: aegis audit list '/a b/state' --subject 'it'"'"'s'"""
    assert refused("no", op="erase", path="state").hint == "see what stands there: aegis audit list state"


def test_a_subject_is_refused_and_any_other_name_is_not(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:
        store.audit.record("ana", "a.b", "case/7")
        with pytest.raises(WriteOnce, match="'case/7' is a subject of the audit tier, and no session"):
            demand_no_subject(store.catalog, "case/7", op="erase", path="state")
        demand_no_subject(store.catalog, "case/8", op="erase", path="state")
