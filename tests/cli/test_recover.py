"""`aegis recover`: one session or all, with a table, JSON and exit codes that a script can use."""

from __future__ import annotations

import json

import pytest

import aegis_store

from ..recovery.damage import DAMAGE, saved


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "state")
    return tmp_path / "state"


def test_a_session_is_resumed(aegis, state):
    ended = aegis("recover", "state", "s", "--failure", "infrastructure")
    assert (ended.code, ended.err) == (0, "")
    heading, row = ended.out.splitlines()
    assert heading.split() == "session decision reason steps".split()
    assert row.startswith("s        resume")
    assert row.endswith("decided done, act done")


def test_all_are_discarded_and_the_next_command_is_said(aegis, state):
    ended = aegis("recover", "state", "--all", "--failure", "unknown")
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert [each.split()[0] for each in lines[1:3]] == ["other", "s"]
    assert "discard, incident 2" in lines[2]
    assert lines[3:] == [f"  once it is dealt with: aegis incident close state {each} --reason …" for each in (1, 2)]
    assert aegis("recover", "state", "--all", "--failure", "infrastructure").out == "state   no session is to be recovered\n"


def test_json_says_the_same(aegis, state):
    ended = aegis("recover", "state", "s", "--failure", "security", "--json")
    answer = json.loads(ended.out)
    assert ended.code == 1
    (row,) = answer["sessions"]
    assert (row["decision"], row["status"], row["failure"], row["incident"]) == ("discard", "verified", "security", 1)
    assert row["steps"] == {"decided": True, "held": True, "notice": True, "act": True}
    with aegis_store.open(state, mode="r") as store:
        assert row["checkpoint"]["leaf"] == store.session("s").latest().ref.leaf.hex()
        assert [each.number for each in store.holds()] == [row["hold"]]


@pytest.mark.parametrize("status", list(DAMAGE), ids=lambda each: each.value)
def test_every_status_is_shown(aegis, tmp_path, monkeypatch, status):
    monkeypatch.chdir(tmp_path)
    DAMAGE[status](tmp_path / "state")
    answer = json.loads(aegis("recover", "state", "--all", "--failure", "infrastructure", "--json").out)
    rows = {each["session"]: each for each in answer["sessions"]}
    if status.value in ("none", "evidence"):
        assert "s" not in rows
    else:
        assert rows["s"]["status"] == status.value
        assert rows["s"]["decision"] == ("resume" if status.value == "verified" else "restart")


def test_mistakes_are_usage(aegis, state):
    assert aegis("recover", "state", "--failure", "unknown").code == 2
    assert aegis("recover", "state", "s", "--all", "--failure", "unknown").code == 2
    assert aegis("recover", "state", "s", "--failure", "fire").code == 2
    missing = aegis("recover", "state", "t", "--failure", "unknown")
    assert missing.code == 1
    assert "there is no session 't'" in missing.err
    assert "aegis sessions state" in missing.err


def test_an_ended_session_is_an_error(aegis, state):
    with aegis_store.open(state) as store:
        store.session("s").end()
    ended = aegis("recover", "state", "s", "--failure", "infrastructure")
    assert ended.code == 3
    assert "nothing to recover" in ended.err
