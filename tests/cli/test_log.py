from __future__ import annotations

import json

import aegis_store
from aegis_store.rules import Rule

from ..stores import SMALL, flip, frame_of
from .conftest import STATES
from .gone import EACH, prune


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


# ---- what is gone -----------------------------------------------------------------------------------------------------------


def test_what_was_pruned_or_erased_is_one_line_and_no_finding(aegis, full):
    for compact in (False, True):
        prune(full, compact=compact)
        ended = aegis("log", "state", "a")
        assert (ended.code, ended.err) == (0, "")
        lines = ended.out.splitlines()
        assert [line.split()[0] for line in lines[1:11]] == [str(each) for each in range(EACH - 1, EACH - 11, -1)]
        assert lines[10].endswith("the oldest that is there")
        assert lines[11:] == [f"gone: {EACH - 10} pruned (keep_last 10)"]
    assert aegis("erase", "state", "a", "--ordinal", "25", "--reason", "case \x1b7", "--by", "legal").code == 0
    lines = aegis("log", "state", "a").out.splitlines()
    assert lines[-1] == f"gone: {EACH - 10} pruned (keep_last 10), 1 erased by legal (case \\x1b7)"
    above = next(line for line in lines if line.split()[0] == "26")
    assert above.endswith(" since 24")


def test_a_page_counts_those_that_are_there(aegis, full):
    prune(full)
    lines = aegis("log", "state", "a", "--limit", "3", "--before", "23").out.splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["22", "21", "20"]
    assert not any(line.startswith("earlier") for line in lines)
    lines = aegis("log", "state", "a", "--limit", "3").out.splitlines()
    assert lines[-1] == "earlier: aegis log state a --before 27"
    assert aegis("log", "state", "a", "--before", "5").out == "no checkpoints\ngone: 20 pruned (keep_last 10)\n"


def test_json_has_the_gaps_as_runs(aegis, full):
    with aegis_store.open(full, config=SMALL) as store:
        (record,) = store.retain([Rule(keep_positions=["step/1?", "step/5"])]).records
    answer = json.loads(aegis("log", "state", "a", "--json").out)
    assert [each["ordinal"] for each in answer["checkpoints"]] == [29, *range(19, 9, -1), 5]
    assert answer["gone"][0].pop("since").endswith("Z")
    assert answer["gone"][0] == {
        "first": 0,
        "last": 4,
        "checkpoints": 5,
        "kind": "pruned",
        "reason": "keep_positions step/1?, step/5",
        "by": None,
        "record": record,
    }
    assert [(each["first"], each["last"]) for each in answer["gone"]] == [(0, 4), (6, 9), (20, 28)]


def test_what_a_fork_inherited_may_be_gone_too(aegis, full):
    with aegis_store.open(full, config=SMALL) as store:
        store.session("a").fork("f", at=store.session("a").get(12).ref).checkpoint("own")
    prune(full, keep_last=5)
    ended = aegis("log", "state", "f")
    assert [line.split()[0] for line in ended.out.splitlines()[1:]] == ["13", "gone:"]
    assert ended.out.splitlines()[-1] == "gone: 13 pruned (keep_last 5)"


def test_damage_is_a_finding_beside_what_is_gone(aegis, full):
    prune(full, compact=True)
    with aegis_store.open(full, mode="r") as store:
        index = store.session("a").get(25).ref.index
    path, span = frame_of(full, index)
    flip(path, span.payload + 20)
    ended = aegis("log", "state", "a")
    assert ended.code == 1
    assert ended.err.startswith("aegis: checkpoint 25: ")
    assert "gone: 20 pruned" in ended.out
