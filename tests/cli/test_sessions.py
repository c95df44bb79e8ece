from __future__ import annotations

import json

import pytest

import aegis_store


def ids(aegis, *options):
    return [each["id"] for each in json.loads(aegis("sessions", "state", *options, "--json").out)["sessions"]]


def test_a_line_for_each_session_oldest_first(aegis, story):
    ended = aegis("sessions", "state")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].split() == "session agent role checkpoints state began changed forked from".split()
    assert [line.split()[0] for line in lines[1:]] == ["ticket-4711", "ticket-4711-b", "odd"]
    assert lines[1].split()[1:5] == ["planner", "plans", "5", "ended"]
    assert lines[2].endswith("  ticket-4711")
    assert " days ago" in lines[1]


def test_a_name_cannot_reach_the_terminal(aegis, story):
    assert r"odd \x1b[31m\nname  other" in aegis("sessions", "state").out


def test_json_has_times_and_whole_names(aegis, story):
    answer = json.loads(aegis("sessions", "state", "--json").out)
    assert answer["path"] == "state"
    first, fork, odd = answer["sessions"]
    assert first == {
        "id": "ticket-4711",
        "agent": "planner",
        "role": "plans",
        "checkpoints": 5,
        "is_open": False,
        "created_at": first["created_at"],
        "changed_at": first["changed_at"],
        "forked_from": None,
    }
    assert first["created_at"].startswith("2023-11-14T22:13:20.") and first["created_at"].endswith("Z")
    assert (fork["forked_from"], fork["checkpoints"]) == ("ticket-4711", 4)
    assert odd["id"] == "odd \x1b[31m\nname"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--agent", "other"], ["odd \x1b[31m\nname"]),
        (["--agent", "nobody"], []),
        (["--ended"], ["ticket-4711"]),
        (["--open", "--prefix", "tick"], ["ticket-4711-b"]),
        (["--limit", "1"], ["ticket-4711"]),
        (["--limit", "1", "--after", "ticket-4711"], ["ticket-4711-b"]),
    ],
)
def test_they_can_be_chosen(aegis, story, options, expected):
    assert ids(aegis, *options) == expected


def test_where_the_list_was_cut_it_says_how_to_go_on(aegis, story):
    assert aegis("sessions", "state", "--limit", "2").out.endswith("aegis sessions state --limit 2 --after ticket-4711-b\n")


def test_no_sessions_is_no_error(aegis, tmp_path):
    aegis_store.open(tmp_path / "work" / "new").close()
    assert aegis("sessions", "new") == (0, "no sessions\n", "")


def test_a_name_that_utf_8_cannot_hold_is_json_all_the_same(aegis, tmp_path):
    with aegis_store.open(tmp_path / "work" / "state") as store:
        store.session("\ud800").checkpoint({})
    assert ids(aegis) == [{"$str": "7aCA"}]
    assert r"\ud800" in aegis("sessions", "state").out
