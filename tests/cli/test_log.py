from __future__ import annotations

import json

import aegis_store

from ..stores import flip, frame_of
from .conftest import STATES


def test_the_newest_stands_first_with_what_it_changed(aegis, story):
    ended = aegis("log", "state", "ticket-4711")
    assert (ended.code, ended.err) == (0, "")
    heading, *lines = ended.out.splitlines()
    assert heading.split() == "# time (UTC) agent position state leaf changed".split()
    assert [line.split()[0] for line in lines] == ["4", "3", "2", "1", "0"]
    assert lines[0].endswith('  status "open" → "done"')
    assert lines[1].endswith("  messages +1")
    assert lines[-1].endswith("  begins")
    assert "2023-11-14 22:13:20  planner  plan/4 " in lines[0]


def test_limit_and_before_turn_pages(aegis, story):
    lines = aegis("log", "state", "ticket-4711", "--limit", "2", "--before", "4").out.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["3", "2"]
    assert lines[3] == "earlier: aegis log state ticket-4711 --before 2"
    assert lines[2].endswith("messages +1")  # compared with one that is not shown
    assert aegis("log", "state", "ticket-4711", "--before", "0").out == "no checkpoints\n"


def test_a_fork_shows_what_it_inherited(aegis, story):
    lines = aegis("log", "state", "ticket-4711-b").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["3", "2", "1", "0"]


def test_json_says_the_same(aegis, story):
    answer = json.loads(aegis("log", "state", "ticket-4711", "--json").out)
    newest = answer["checkpoints"][0]
    with aegis_store.open(story, mode="r") as store:
        latest = store.session("ticket-4711").latest()
    assert newest == {
        "ordinal": 4,
        "time": "2023-11-14T22:13:20.008Z",
        "agent": "planner",
        "position": "plan/4",
        "state_bytes": newest["state_bytes"],
        "leaf": latest.ref.leaf.hex(),
        "index": latest.ref.index,
        "changed": 'status "open" → "done"',
    }
    assert newest["state_bytes"] < len(json.dumps(STATES[-1]))


def test_one_that_cannot_be_read_is_a_row_and_a_finding(aegis, store):
    path, span = frame_of(store, 11)
    flip(path, span.payload + 5)
    ended = aegis("log", "state", "first", "--before", "12", "--limit", "5")
    assert ended.code == 1
    rows = {line.split()[0]: line for line in ended.out.splitlines()[1:]}
    assert rows["9"].endswith("can't be read")
    assert rows["10"].endswith("?")  # what it changed cannot be told
    assert "number 7 → 8" in rows["8"]
    assert ended.err.startswith("aegis: checkpoint 9: ")
    answer = json.loads(aegis("log", "state", "first", "--before", "12", "--limit", "5", "--json").out)
    assert answer["checkpoints"][2]["problem"]["error"] == "Corrupt"


def test_no_such_session_says_how_to_find_those_that_are(aegis, story):
    message = "aegis: state: there is no session 'nope'\n  see which there are: aegis sessions state\n"
    assert aegis("log", "state", "nope") == (1, "", message)
