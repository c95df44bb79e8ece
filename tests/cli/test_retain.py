from __future__ import annotations

import json

import pytest

import aegis_store
from aegis_store.cli import retain

from ..stores import SMALL, snapshot
from .gone import EACH, kept, write

RULES = """
[[retention]]
role = "planner"
keep_last = 3

[[retention]]
keep_positions = ["step/7"]
"""


def test_what_no_rule_keeps_goes_and_it_is_said_how_to_have_the_space_back(aegis, full):
    ended = aegis("retain", "state", "--keep-last", "10")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].startswith(f"state   {2 * (EACH - 10)} checkpoints went, 20 stay   ")
    assert lines[1].split() == "session goes frees stay the oldest that stays".split()
    assert {line.split()[0] for line in lines[2:4]} == {"a", "b"}
    assert all(line.endswith("20: last 10") for line in lines[2:4])
    assert lines[4:] == ["  to give the space back: aegis compact state"]
    assert kept(full, "a") == kept(full, "b") == list(range(EACH - 10, EACH))


def test_a_dry_run_says_the_same_and_changes_nothing(aegis, full):
    before = snapshot(full.parent)
    ended = aegis("retain", "state", "--keep-last", "10", "--dry-run")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0].startswith("state   40 checkpoints would go, 20 stay   ")
    assert "compact" not in ended.out
    answer = json.loads(aegis("retain", "state", "--keep-last", "2", "--dry-run", "--json").out)
    assert (answer["dry_run"], answer["checkpoints_gone"], answer["records"]) == (True, 2 * (EACH - 2), [])
    assert answer["sessions"][0]["session"] == "a"
    assert answer["sessions"][0]["goes"] == list(range(EACH - 2))
    assert answer["sessions"][0]["stays"] == {str(EACH - 2): "last 2", str(EACH - 1): "newest"}
    assert snapshot(full.parent) == before


def test_a_dry_run_goes_on_beside_a_writer(aegis, full):
    with aegis_store.open(full) as store:
        store.session("c").checkpoint(1)
        ended = aegis("retain", "state", "--keep-last", "1", "--dry-run")
    assert ended.code == 0
    assert "58 checkpoints would go, 3 stay" in ended.out


def test_json_names_the_prune_records_and_no_reasons(aegis, full):
    answer = json.loads(aegis("retain", "state", "--keep-last", "10", "--json").out)
    assert (answer["path"], answer["dry_run"], answer["checkpoints_gone"], answer["checkpoints_kept"]) == (
        "state",
        False,
        40,
        20,
    )
    assert "stays" not in answer["sessions"][0] and "compaction" not in answer
    with aegis_store.open(full, mode="r") as store:
        (record,) = answer["records"]
        assert store.records.read(record).entry.kind.label == "prune"


def test_with_compact_the_space_comes_back_at_once(aegis, full):
    size = sum(each.stat().st_size for each in full.glob("session/*.seg"))
    ended = aegis("retain", "state", "--keep-last", "3", "--compact", "--rate", "1GiB")
    assert (ended.code, ended.err) == (0, "")
    assert "  compacted 4 segments: " in ended.out
    assert f"  {2 * (EACH - 3)} payloads gone, " in ended.out
    assert "aegis compact" not in ended.out
    assert sum(each.stat().st_size for each in full.glob("session/*.seg")) < size - 50 * 3000
    answer = json.loads(aegis("retain", "state", "--keep-last", "1", "--compact", "--json").out)
    assert answer["compaction"]["payloads_gone"] == answer["checkpoints_gone"] == 4


def test_a_file_has_the_rules(aegis, full):
    (full.parent / "rules.toml").write_text(RULES)
    ended = aegis("retain", "state", "--config", "rules.toml")
    assert ended.code == 0
    assert "7: position step/7" in ended.out
    assert kept(full, "a") == [7, EACH - 1]


def test_what_is_young_stays(aegis, full):
    assert "60 stay" in aegis("retain", "state", "--keep-age", "9999d").out
    assert "58 checkpoints went, 2 stay" in aegis("retain", "state", "--keep-age", "1s").out


def test_a_budget_says_how_much_of_it_is_taken(aegis, full):
    (full.parent / "rules.toml").write_text('[[retention]]\nbyte_budget = "30kB"\n')
    ended = aegis("retain", "state", "--config", "rules.toml")
    assert ended.out.splitlines()[-2].startswith("  rule 1: 2")
    assert ended.out.splitlines()[-2].endswith(" kB of its 30.0 kB")
    (full.parent / "rules.toml").write_text('[[retention]]\nbyte_budget = "1kB"\n')
    ended = aegis("retain", "state", "--config", "rules.toml", "--dry-run")
    assert ended.out.splitlines()[-1].endswith(": what always stays takes more")


def test_of_many_sessions_those_are_shown_that_free_most(aegis, tmp_path):
    path = tmp_path / "work" / "many"
    write(path, *[f"s{number:02}" for number in range(25)], each=2)
    write(path, "large", each=9)
    lines = aegis("retain", "many", "--keep-last", "1").out.splitlines()
    assert lines[2].split()[:2] == ["large", "8"]
    assert len(lines) == 1 + 1 + retain.SESSIONS_SHOWN + 1 + 1
    assert lines[-2] == "  and 6 more sessions; all of them: --json"
    assert len(json.loads(aegis("retain", "many", "--keep-last", "1", "--json").out)["sessions"]) == 0


def test_where_nothing_goes_there_is_no_table(aegis, full):
    ended = aegis("retain", "state", "--keep-last", "99")
    assert (ended.code, ended.out) == (0, "state   0 checkpoints went, 60 stay   0 B of payload\n")


def test_what_is_held_stays_and_says_so(aegis, full):
    with aegis_store.open(full, config=SMALL) as store:
        store.session("a").hold(reason="case \x1b[31m7", holder="legal")
    ended = aegis("retain", "state", "--keep-last", "1", "--dry-run")
    assert ended.out.splitlines()[0].startswith("state   29 checkpoints would go, 31 stay")
    aegis("retain", "state", "--keep-last", "1")
    assert len(kept(full, "a")) == EACH


def test_a_name_cannot_reach_the_terminal(aegis, tmp_path):
    write(tmp_path / "work" / "odd", "odd \x1b[31m\nname", each=3)
    ended = aegis("retain", "odd", "--keep-last", "1")
    assert "odd \\x1b[31m\\nname" in ended.out
    assert "\x1b" not in ended.out


# ---- mistakes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "there is no rule, so everything stays"),
        (["--config", "empty.toml"], "there is no rule, so everything stays"),
        (["--config", "missing.toml"], "missing.toml"),
        (["--config", "bad.toml"], "retention rule 1: keep_last is 0"),
        (["--keep-last", "0"], "keep_last is 0"),
        (["--keep-last", "many"], "a valid integer"),
        (["--keep-age", "a while"], "keep_age is 'a while'"),
        (["--keep-last", "1", "--config", "bad.toml"], "give one of --config"),
        (["--keep-last", "1", "--rate", "1MiB"], "--compact"),
        (["--keep-last", "1", "--compact", "--rate", "fast"], "'fast' is no size"),
        (["--keep-last", "1", "--compact", "--rate", "0"], "never end"),
        (["--keep-last", "1", "--compact", "--dry-run"], "--dry-run"),
    ],
)
def test_a_mistake_is_said_before_anything_goes(aegis, full, options, words):
    (full.parent / "empty.toml").write_text("segment_bytes = 65536\n")
    (full.parent / "bad.toml").write_text("[[retention]]\nkeep_last = 0\n")
    before = snapshot(full.parent)
    ended = aegis("retain", "state", *options)
    assert (ended.code, ended.out) == (3 if "missing.toml" in options else 2, "")
    assert words in ended.err
    fields = json.loads(aegis("retain", "state", *options, "--json").err)
    assert fields["exit_code"] == ended.code
    assert snapshot(full.parent) == before


# ---- while it works ---------------------------------------------------------------------------------------------------------


def test_there_is_a_bar_on_a_terminal(aegis, full, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR")
    ended = aegis("retain", "state", "--keep-last", "1", "--compact")
    assert "0 of 2 sessions" in ended.err
    assert "segment 4 of 4" in ended.err
    assert "\x1b[2K" in ended.err  # and it is gone afterwards
