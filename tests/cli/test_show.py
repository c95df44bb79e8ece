from __future__ import annotations

import json

import pytest

import aegis_store
from aegis_store.changes import compare
from aegis_store.cli import show
from aegis_store.cli.output import answers
from aegis_store.codec.registry import NO_TYPES

from .conftest import STATES
from .gone import prune

ODD = "odd \x1b[31m\nname"


def shown(aegis, *options):
    return json.loads(aegis("show", "state", "ticket-4711", *options, "--json").out)


def test_everything_about_the_newest(aegis, story):
    ended = aegis("show", "state", "ticket-4711")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    with aegis_store.open(story, mode="r") as store:
        latest, size = store.session("ticket-4711").latest(), store.records.size()
    assert lines[0] == "checkpoint 4 of session ticket-4711   (newest: 4)"
    assert lines[1].split() == ["made", "2023-11-14T22:13:20.008Z"]
    assert lines[3].split() == ["record", "session", str(latest.ref.index), "leaf", latest.ref.leaf.hex()]
    assert lines[4].startswith(f"  proven   in the tree of {size} records, root ")
    assert '  position   "plan/4"' in lines
    assert '  request id   "r4"' in lines
    assert json.loads(ended.out.split("  state\n")[1]) == STATES[-1]


def test_what_else_was_saved_is_shown_in_a_form_that_json_has(aegis, story):
    answer = json.loads(aegis("show", "state", ODD, "--json").out)
    assert answer["state"] == {"$map": [["bytes", {"$bytes": "AP8="}], [7, None], ["$tag", {"$float": "inf"}]]}
    assert answer["memory_pointer"] == {"index": 3, "root": "00" * 32}
    assert (answer["approvals"], answer["last_tool_call"]) == ([{"by": "me"}], {"tool": "search"})
    assert answer["agent"] == "other"
    assert "\x1b" not in aegis("show", "state", ODD).out


def test_the_proof_that_goes_out_can_be_checked(aegis, story):
    from aegis_store.trust.proofs import verify_inclusion

    answer = shown(aegis, "--at", "1")
    proof = answer["proof"]
    verify_inclusion(
        leaf=bytes.fromhex(answer["leaf"]),
        index=answer["index"],
        size=proof["size"],
        proof=[bytes.fromhex(each) for each in proof["hashes"]],
        root=bytes.fromhex(proof["root"]),
    )


@pytest.mark.parametrize(
    ("options", "ordinal"),
    [
        ([], 4),
        (["--at", "0"], 0),
        (["--time", "2099-01-01"], 4),
        (["--time", "2023-11-14T22:13:20.005Z"], 1),
        (["--time", "2023-11-14T23:13:20.005+01:00"], 1),
    ],
)
def test_one_is_chosen_by_number_or_time(aegis, story, options, ordinal):
    answer = shown(aegis, *options)
    assert (answer["ordinal"], answer["state"]) == (ordinal, STATES[ordinal])


def test_raw_is_the_state_alone_on_one_line(aegis, story):
    ended = aegis("show", "state", "ticket-4711", "--raw")
    assert ended.out.count("\n") == 1
    assert json.loads(ended.out) == STATES[-1]


@pytest.mark.parametrize("options", [["--at", "5"], ["--diff", "9"], ["--time", "2001-01-01"]])
def test_a_checkpoint_that_is_not_there_is_exit_code_1_and_a_hint(aegis, story, options):
    ended = aegis("show", "state", "ticket-4711", *options)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("aegis: ")


@pytest.mark.parametrize(
    "options", [["--at", "-1"], ["--at", "x"], ["--time", "yesterday"], ["--diff", "x"], ["--at", "1", "--time", "2099-01-01"]]
)
def test_what_cannot_be_meant_is_usage(aegis, story, options):
    ended = aegis("show", "state", "ticket-4711", *options)
    assert (ended.code, ended.out) == (2, "")
    assert "Usage: aegis show" in ended.err


# ---- differences -----------------------------------------------------------------------------------------------------------


def test_a_diff_has_a_line_for_what_was_and_one_for_what_is(aegis, story):
    lines = aegis("show", "state", "ticket-4711", "--diff", "prev").out.splitlines()
    assert lines == [
        "session ticket-4711: from checkpoint 3 to checkpoint 4",
        '- position  "plan/3"',
        '+ position  "plan/4"',
        '- request_id  "r3"',
        '+ request_id  "r4"',
        '- state.status  "open"',
        '+ state.status  "done"',
    ]


def test_a_diff_between_any_two_either_way(aegis, story):
    forth = shown(aegis, "--at", "3", "--diff", "1")
    assert (forth["from"], forth["to"], forth["is_rough"]) == (1, 3, False)
    assert [each["path"] for each in forth["changes"] if each["kind"] == "added"] == ["state.messages[2]", "state.messages[3]"]
    back = shown(aegis, "--at", "1", "--diff", "3")
    assert [each["old"] for each in back["changes"] if each["kind"] == "removed"] == ["message 2", "message 3"]


def test_before_the_first_there_is_nothing(aegis, story):
    lines = aegis("show", "state", "ticket-4711", "--at", "0", "--diff", "prev").out.splitlines()
    assert lines[0] == "session ticket-4711: from nothing to checkpoint 0"
    assert all(line.startswith("+ ") for line in lines[1:])


def test_no_difference_is_said(aegis, story):
    assert aegis("show", "state", "ticket-4711", "--diff", "4").out.splitlines()[1:] == ["  no difference"]


def test_long_values_and_lists_are_cut_unless_all_is_asked_for(capsys):
    found = compare([], list(range(100)))
    show.show_changes(answers(), found, NO_TYPES, full=False)
    assert capsys.readouterr().out.splitlines()[-1] == "… 40 more changes: --full"
    show.show_changes(answers(), compare("", "x" * 500), NO_TYPES, full=False)
    assert "… (502 characters)" in capsys.readouterr().out
    show.show_changes(answers(), compare("", "x" * 500), NO_TYPES, full=True)
    assert "x" * 500 in capsys.readouterr().out


def test_a_rough_comparison_is_called_one(capsys):
    show.show_changes(answers(), compare([1, 2], [2, 3], cells_max=1), NO_TYPES, full=True)
    assert "place by place" in capsys.readouterr().out


def test_on_a_terminal_a_state_is_in_colour_and_not_too_long(aegis, story, monkeypatch, capsys):
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    show.show_value(answers(), "state", list(range(100)), NO_TYPES, full=False)
    out = capsys.readouterr().out
    assert "\x1b[" in out
    assert "42 more lines: --full" in out
    show.show_value(answers(), "state", list(range(100)), NO_TYPES, full=True)
    assert "more lines" not in capsys.readouterr().out


# ---- what is gone -----------------------------------------------------------------------------------------------------------


def test_one_that_is_gone_says_why_and_what_to_type(aegis, full):
    prune(full, compact=True)
    ended = aegis("show", "state", "a", "--at", "3")
    assert (ended.code, ended.out) == (1, "")
    first, second = ended.err.splitlines()
    assert first.startswith("aegis: state/session: checkpoint 3 of session 'a' is gone: record ")
    assert "was pruned (keep_last 10), says record" in first
    assert second == "  see what is there: aegis log state a"
    assert json.loads(aegis("show", "state", "a", "--at", "3", "--json").err)["error"] == "Pruned"


def test_the_one_before_is_the_one_that_is_there(aegis, full):
    aegis("erase", "state", "a", "--ordinal", "28", "--reason", "request 17")
    heading = aegis("show", "state", "a", "--diff", "prev").out.splitlines()[0]
    assert heading == "session a: from checkpoint 27 to checkpoint 29"
    assert aegis("show", "state", "a", "--diff", "28").code == 1
    prune(full, keep_last=1)
    assert aegis("show", "state", "a", "--diff", "prev").out.startswith("session a: from nothing to checkpoint 29")
