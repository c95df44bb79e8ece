from __future__ import annotations

import json

import pytest

import aegis_store
from aegis_store.cli import compact
from aegis_store.compaction import compactor
from aegis_store.errors import NoSpace

from ..stores import SMALL, snapshot
from .gone import EACH, kept, prune


def test_it_says_what_came_back(aegis, full):
    prune(full)
    size = sum(each.stat().st_size for each in full.glob("session/*.seg"))
    ended = aegis("compact", "state")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].startswith("state   ") and lines[0].endswith(" kB given back")
    assert lines[1].startswith("  compacted 4 segments: ")
    assert lines[2].startswith("  40 payloads gone, ")
    assert sum(each.stat().st_size for each in full.glob("session/*.seg")) < size - 35 * 3000
    assert kept(full, "a") == list(range(EACH - 10, EACH))
    assert aegis("verify", "state", "--deep").code == 0


def test_where_there_is_nothing_to_do_it_says_so(aegis, full):
    for _ in range(2):
        ended = aegis("compact", "state")
        assert (ended.code, ended.out, ended.err) == (0, "state   nothing to do: no payload waits to go\n", "")
        prune(full, compact=True)


def test_json_holds_what_was_done(aegis, full):
    prune(full)
    answer = json.loads(aegis("compact", "state", "--rate", "1GiB", "--json").out)
    assert answer.pop("seconds") > 0
    before, after = answer.pop("bytes_before"), answer.pop("bytes_after")
    assert before - after > 40 * 3000
    assert answer.pop("reencoded") >= 0
    assert answer == {"path": "state", "segments": 4, "payloads_gone": 40}


def test_what_is_interrupted_goes_on_at_the_next_call(aegis, full, monkeypatch):
    prune(full)
    real, done = compactor.compact_segment, []

    def interrupted(*arguments, **options):
        if len(done) == 2:
            raise KeyboardInterrupt
        real(*arguments, **options)
        done.append(1)

    monkeypatch.setattr(compactor, "compact_segment", interrupted)
    assert aegis("compact", "state") == (130, "", "aegis: interrupted\n")
    monkeypatch.undo()
    monkeypatch.chdir(full.parent)
    assert len(done) == 2
    assert kept(full, "a") == list(range(EACH - 10, EACH))
    answer = json.loads(aegis("compact", "state", "--json").out)
    assert 0 < answer["payloads_gone"] < 40
    assert "nothing to do" in aegis("compact", "state").out


def test_a_full_disk_is_one_line_and_nothing_is_lost(aegis, full, monkeypatch):
    prune(full)

    def refused(*arguments, **options):
        raise NoSpace("no space left", op="compact", path=str(full), hint="free some: df -h")

    monkeypatch.setattr(compactor, "compact_segment", refused)
    ended = aegis("compact", "state")
    assert (ended.code, ended.out) == (3, "")
    assert ended.err.startswith("aegis: state: no space left\n")
    assert kept(full, "a") == list(range(EACH - 10, EACH))


@pytest.mark.parametrize(
    ("rate", "words"), [("fast", "'fast' is no size"), ("0", "never end"), ("-5", "-5"), ("1.5MiB", "size")]
)
def test_a_pace_that_is_none(aegis, full, rate, words):
    prune(full)
    before = snapshot(full.parent)
    ended = aegis("compact", "state", "--rate", rate)
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err
    assert snapshot(full.parent) == before


def test_there_is_a_bar_on_a_terminal_and_none_in_a_pipe(full, capsys, monkeypatch):
    def work():
        prune(full, keep_last=10)
        with aegis_store.open(full, config=SMALL) as store:
            done = compact.compacted(store, None)
            store.session("a").checkpoint(len(kept(full, "a")))
        assert "old_files" not in done
        return capsys.readouterr()

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert work() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    out, err = work()
    assert out == ""
    assert "segment 1 of " in err
