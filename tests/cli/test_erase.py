from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import aegis_store
from aegis_store.cli import erase

from ..stores import SMALL, noise, snapshot
from .gone import EACH, kept, write

READER = """
import sys, aegis_store
store = aegis_store.open(sys.argv[1], mode="r")
store.session("a").latest()
print("open", flush=True)
sys.stdin.readline()
"""


def holds(folder, *needles):
    return [path for path in folder.rglob("*") if path.is_file() for needle in needles if needle in path.read_bytes()]


def test_a_session_is_in_no_file_afterwards(aegis, full):
    needles = [noise(3000, ("a", number))[64:128] for number in range(EACH)]
    assert holds(full, *needles)
    ended = aegis("erase", "state", "a", "--reason", "request 17", "--by", "dpo")
    assert (ended.code, ended.err) == (0, "")
    heading, following = ended.out.splitlines()
    assert heading == f"state   1 session erased: {EACH + 1} payloads gone"
    assert following.startswith("  record 6")
    assert following.endswith(" says so; whether the rest is whole: aegis verify state --deep")
    assert holds(full, *needles) == []
    assert kept(full, "b") == list(range(EACH))
    assert aegis("verify", "state", "--deep").code == 0
    ended = aegis("log", "state", "a")
    assert (ended.code, ended.out) == (1, "")


def test_json_says_what_was_done(aegis, full):
    answer = json.loads(aegis("erase", "state", "a", "--reason", "request 17", "--json").out)
    (record,) = answer.pop("records")
    assert answer.pop("bytes_before") - answer.pop("bytes_after") > EACH * 3000
    assert answer == {"path": "state", "sessions": ["a"], "ordinal": None, "forks": [], "holders": []}
    with aegis_store.open(full, mode="r") as store:
        assert store.records.read(record).entry.kind.label == "erase"


def test_one_checkpoint(aegis, full):
    ended = aegis("erase", "state", "a", "--reason", "leaked secret", "--ordinal", "7")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[0] == "state   checkpoint 7 erased: 1 payload gone"
    assert holds(full, noise(3000, ("a", 7))[64:128]) == []
    assert kept(full, "a") == [each for each in range(EACH) if each != 7]


def test_forks_are_named_with_what_to_type_or_go_with_it(aegis, full):
    with aegis_store.open(full, config=SMALL) as store:
        for number in range(erase.FORKS_SHOWN + 2):
            store.session("a").fork(f"fork \x1b[3{number}m")
    ended = aegis("erase", "state", "a", "--reason", "request 17")
    assert ended.code == 1
    assert ended.out.startswith("state   1 session erased")
    lines = ended.err.splitlines()
    assert lines[0] == r"  a fork still holds it: fork \x1b[30m   aegis erase state 'fork \x1b[30m' --reason …"
    assert lines[-1] == "  and 2 more forks"
    assert len(lines) == erase.FORKS_SHOWN + 1 and "\x1b" not in ended.err
    with aegis_store.open(full, config=SMALL) as store:
        store.session("b").fork("g").checkpoint("own")
    answer = json.loads(aegis("erase", "state", "b", "--reason", "request 17", "--forks", "--json").out)
    assert (answer["sessions"], answer["forks"], len(answer["records"])) == (["b", "g"], [], 2)


def test_a_process_that_has_an_old_file_open_is_named(aegis, full):
    if not Path("/proc/self/fd").exists():
        pytest.skip("who holds a file is known where there is /proc")
    child = subprocess.Popen(
        [sys.executable, "-P", "-c", READER, str(full)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "open\n"
        ended = aegis("erase", "state", "a", "--reason", "request 17", "--wait", "0")
        assert ended.code == 1
        assert ended.err.startswith(f"  process {child.pid} (")
        assert ended.err.endswith(") still has an old file open, and can read it: stop it\n")
    finally:
        child.communicate("\n")


# ---- mistakes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nope", "--reason", "r"], 1, "there is no session 'nope' to erase\n  see which there are: aegis sessions state"),
        (["a"], 2, "--reason"),
        (["a", "--reason", ""], 2, "a reason is a text"),
        (["a", "--reason", "r", "--by", " "], 2, "a name is a text"),
        (["a", "--reason", "the case of a"], 2, "names the session"),
        (["a", "--reason", "r", "--ordinal", "30"], 1, "has made no checkpoint 30: its own are 0 to 29"),
        (["a", "--reason", "r", "--ordinal", "-1"], 2, "greater than or equal to 0"),
        (["a", "--reason", "r", "--ordinal", "1", "--forks"], 2, "forks go with a whole session"),
        (["a", "--reason", "r", "--wait", "-1"], 2, "greater than or equal to 0"),
        (["b", "--reason", "r"], 3, "held by legal (case 7)\n  to let it go: aegis release state 6"),
        (["b", "--reason", "r", "--ordinal", "3"], 3, "held by legal"),
    ],
)
def test_a_mistake_is_said_and_nothing_is_erased(aegis, full, arguments, code, words):
    with aegis_store.open(full, config=SMALL) as store:
        store.session("b").hold(reason="case 7", holder="legal")
        size = store.records.size()
    ended = aegis("erase", "state", *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert words in ended.err
    assert json.loads(aegis("erase", "state", *arguments, "--json").err)["exit_code"] == code
    with aegis_store.open(full, mode="r") as store:
        assert store.records.size() == size
    assert kept(full, "a") == kept(full, "b") == list(range(EACH))


def test_twice_is_an_error_the_second_time(aegis, full):
    assert aegis("erase", "state", "a", "--reason", "r").code == 0
    assert aegis("erase", "state", "a", "--reason", "r").code == 1


def test_a_terminal_is_told_that_it_takes_a_while(aegis, tmp_path, monkeypatch):
    write(tmp_path / "work" / "few", "a", each=2)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    ended = aegis("erase", "few", "a", "--reason", "r")
    assert "erasing" in ended.err
    assert ended.code == 0


# ---- of all verbs that change a store ----------------------------------------------------------------------------------------

CHANGING = {
    "retain": ["--keep-last", "1"],
    "compact": [],
    "hold": ["a", "--reason", "r", "--holder", "h"],
    "release": ["7", "--reason", "r"],
    "erase": ["a", "--reason", "r"],
}
VERBS = pytest.mark.parametrize("verb", CHANGING)


@VERBS
def test_where_there_is_no_store_none_is_made(aegis, tmp_path, verb):
    work = tmp_path / "work"
    (work / "folder").mkdir()
    (work / "file").write_text("words")
    before = snapshot(work)
    for path in ("nothing", "folder", "file"):
        ended = aegis(verb, path, *CHANGING[verb])
        assert (ended.code, ended.out) == (3, "")
        assert ended.err.startswith(f"aegis: {path}: ")
        assert json.loads(aegis(verb, path, *CHANGING[verb], "--json").err)["error"] == "NotAStore"
    assert snapshot(work) == before


@VERBS
def test_another_writer_is_named(aegis, full, verb):
    with aegis_store.open(full, config=SMALL):
        ended = aegis(verb, "state", *CHANGING[verb])
        assert (ended.code, ended.out) == (4, "")
        assert "aegis head state" in ended.err
        assert json.loads(aegis(verb, "state", *CHANGING[verb], "--json").err)["error"] == "Locked"


@VERBS
def test_keys_that_are_missing_are_not_made(aegis, full, verb):
    full.with_name("state.keys").rename(full.with_name("elsewhere"))
    ended = aegis(verb, "state", *CHANGING[verb])
    assert (ended.code, ended.out) == (3, "")
    assert "--keys" in ended.err
    assert not full.with_name("state.keys").exists()
    assert aegis(verb, "state", *CHANGING[verb], "--keys", "elsewhere").code in (0, 1)


@VERBS
def test_ctrl_c_is_one_line(aegis, full, monkeypatch, verb):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(aegis_store, "open", interrupted)
    assert aegis(verb, "state", *CHANGING[verb]) == (130, "", "aegis: interrupted\n")
