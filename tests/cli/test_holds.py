from __future__ import annotations

import json

import pytest

import aegis_store

from ..stores import SMALL, snapshot
from .gone import EACH, kept, write


def hold(aegis, *options):
    return json.loads(aegis("hold", "state", *options, "--json").out)


def test_a_hold_is_placed_listed_heard_and_released(aegis, full):
    ended = aegis("hold", "state", "a", "--reason", "case 7", "--holder", "legal")
    assert (ended.code, ended.err) == (0, "")
    heading, following = ended.out.splitlines()
    number = heading.split()[1]
    assert heading == f"hold {number}   session a   legal: case 7"
    assert following == f"  to let it go: aegis release state {number} --reason …"
    aegis("retain", "state", "--keep-last", "1")
    assert len(kept(full, "a")) == EACH
    assert aegis("release", "state", number, "--reason", "settled").out == f"hold {number} is released\n"
    aegis("retain", "state", "--keep-last", "1")
    assert kept(full, "a") == [EACH - 1]


def test_the_list_has_a_line_for_each(aegis, full):
    assert aegis("holds", "state") == (0, "state   no hold stands\n", "")
    aegis("hold", "state", "a", "--reason", "case 7", "--holder", "legal")
    aegis("hold", "state", "b", "--reason", "audit", "--holder", "finance", "--ordinal", "3")
    ended = aegis("holds", "state")
    assert (ended.code, ended.err) == (0, "")
    heading, first, second = ended.out.splitlines()
    assert heading.split() == "hold session checkpoint holder since (UTC) reason".split()
    assert first.split()[1:4] == ["a", "all", "legal"] and first.endswith("  case 7")
    assert second.split()[1:4] == ["b", "3", "finance"] and second.endswith("  audit")


def test_json_says_the_same(aegis, full):
    placed = hold(aegis, "b", "--reason", "audit", "--holder", "finance", "--ordinal", "3")
    assert placed.pop("path") == "state"
    answer = json.loads(aegis("holds", "state", "--json").out)
    assert answer == {"path": "state", "holds": [placed]}
    assert {name: placed[name] for name in ("session", "ordinal", "holder", "reason")} == {
        "session": "b",
        "ordinal": 3,
        "holder": "finance",
        "reason": "audit",
    }
    assert placed["since"].endswith("Z")
    answer = json.loads(aegis("release", "state", str(placed["hold"]), "--reason", "done", "--by", "me", "--json").out)
    assert answer == {"path": "state", "released": placed["hold"]}
    assert json.loads(aegis("holds", "state", "--json").out)["holds"] == []


def test_who_let_it_go_and_why_stays_readable(aegis, full):
    from aegis_store.schema import gaps as schema
    from aegis_store.types import Kind

    number = hold(aegis, "a", "--reason", "case 7", "--holder", "legal")["hold"]
    aegis("release", "state", str(number), "--reason", "settled", "--by", "legal")
    with aegis_store.open(full, mode="r") as store:
        record = store.records.read(store.records.size() - 1)
    assert record.entry.kind is Kind.HOLD_RELEASE
    assert schema.decode_release(record.envelope) == schema.Release(hold=number, reason="settled", by="legal")


def test_listing_goes_on_beside_a_writer_and_changes_nothing(aegis, full):
    with aegis_store.open(full, config=SMALL) as store:
        store.session("a").hold(reason="case 7", holder="legal")
        assert "case 7" in aegis("holds", "state").out
    before = snapshot(full)
    assert "case 7" in aegis("holds", "state").out
    assert {name: facts[3] for name, facts in snapshot(full).items()} == {name: facts[3] for name, facts in before.items()}


def test_a_name_cannot_reach_the_terminal(aegis, tmp_path):
    odd = "odd \x1b[31m\nname"
    write(tmp_path / "work" / "odd", odd, each=2)
    placed = aegis("hold", "odd", odd, "--reason", "r\x1b[2J", "--holder", "h\r\n")
    listed = aegis("holds", "odd")
    for ended in (placed, listed):
        assert ended.code == 0
        assert "odd \\x1b[31m" in ended.out and "r\\x1b[2J" in ended.out
        assert "\x1b" not in ended.out and "\r" not in ended.out
    assert len(listed.out.splitlines()) == 2


# ---- mistakes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["hold", "state", "nope", "--reason", "r", "--holder", "h"], 1, "there is no session 'nope'\n  see which there are:"),
        (["hold", "state", "a", "--reason", " ", "--holder", "h"], 2, "a reason is a text"),
        (["hold", "state", "a", "--reason", "r", "--holder", ""], 2, "a holder is a text"),
        (["hold", "state", "a", "--reason", "r" * 5000, "--holder", "h"], 2, "a reason is a text"),
        (["hold", "state", "a", "--reason", "r"], 2, "--holder"),
        (["hold", "state", "a", "--holder", "h"], 2, "--reason"),
        (["hold", "state", "a", "--reason", "r", "--holder", "h", "--ordinal", "30"], 1, "its own are 0 to 29"),
        (["hold", "state", "a", "--reason", "r", "--holder", "h", "--ordinal", "-1"], 2, "greater than or equal to 0"),
        (["release", "state", "7", "--reason", "r"], 1, "no hold 7 stands\n  see which do: aegis holds state"),
        (["release", "state", "x", "--reason", "r"], 2, "a valid integer"),
        (["release", "state", "7"], 2, "--reason"),
    ],
)
def test_a_mistake_is_said_and_nothing_is_written(aegis, full, arguments, code, words):
    with aegis_store.open(full, mode="r") as store:
        size = store.records.size()
    ended = aegis(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert words in ended.err
    assert json.loads(aegis(*arguments, "--json").err)["exit_code"] == code
    with aegis_store.open(full, mode="r") as store:
        assert store.records.size() == size


def test_what_is_gone_cannot_be_held(aegis, full):
    aegis("retain", "state", "--keep-last", "1")
    ended = aegis("hold", "state", "a", "--reason", "r", "--holder", "h", "--ordinal", "3")
    assert (ended.code, ended.out) == (1, "")
    assert "was pruned (keep_last 1)" in ended.err


def test_a_hold_is_released_once(aegis, full):
    number = str(hold(aegis, "a", "--reason", "case 7", "--holder", "legal")["hold"])
    assert aegis("release", "state", number, "--reason", "settled").code == 0
    assert aegis("release", "state", number, "--reason", "settled").code == 1
