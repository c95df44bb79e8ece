"""`aegis incident`: which are open, what one is about, and its end."""

from __future__ import annotations

import json

import pytest

import aegis_store

from ..recovery.damage import saved


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "state")
    return tmp_path / "state"


def test_one_is_listed_shown_and_closed(aegis, state):
    assert aegis("incident", "list", "state") == (0, "state   no incident is open\n", "")
    assert aegis("recover", "state", "s", "--failure", "security").code == 1
    listed = aegis("incident", "list", "state")
    assert listed.code == 1
    assert listed.out.splitlines()[1].split()[:3] == ["1", "s", "open"]
    shown = aegis("incident", "show", "state", "1")
    assert shown.code == 0
    lines = shown.out.splitlines()
    assert lines[0] == "incident 1   session s   open"
    assert "the failure was a security event" in lines[1]
    assert "keeps checkpoint 2" in lines[2]
    assert lines[3] == "  to close it: aegis incident close state 1 --reason …"
    with aegis_store.open(state) as store, pytest.raises(aegis_store.errors.IncidentOpen):
        store.session("s").checkpoint("more")
    closed = aegis("incident", "close", "state", "1", "--reason", "keys changed", "--by", "ana")
    assert closed.out.splitlines() == ["incident 1 is closed", "  what is held stays: aegis holds state"]
    assert aegis("incident", "list", "state").code == 0
    assert "closed" in aegis("incident", "list", "state", "--all").out
    assert "by ana: keys changed" in aegis("incident", "show", "state", "1").out
    with aegis_store.open(state) as store:
        assert len(store.holds()) == 1


def test_json_says_the_same(aegis, state):
    aegis("recover", "state", "s", "--failure", "unknown")
    (row,) = json.loads(aegis("incident", "list", "state", "--json").out)["incidents"]
    answer = json.loads(aegis("incident", "show", "state", "1", "--json").out)
    assert answer.pop("path") == "state"
    assert len(answer.pop("holds")) == 1
    assert answer == row
    assert (row["incident"], row["session"], row["is_open"], row["closed"]) == (1, "s", True, None)
    answer = json.loads(aegis("incident", "close", "state", "1", "--reason", "x", "--json").out)
    assert (answer["is_open"], answer["closed_why"]) == (False, "x")


def test_one_that_is_not_there_is_named(aegis, state):
    for verb in (["show", "state", "4"], ["close", "state", "4", "--reason", "x"]):
        ended = aegis("incident", *verb)
        assert ended.code == 1
        assert "there is no incident 4" in ended.err
        assert "aegis incident list state" in ended.err
    assert aegis("incident", "close", "state", "1").code == 2
    assert aegis("incident", "show", "state", "0").code == 2
