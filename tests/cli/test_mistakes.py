"""What a user can get wrong, verb by verb: the exit code, one line that says what, and never a traceback."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

import aegis_store
from aegis_store.cli import main

from ..stores import snapshot

NOBODY = 65534
AEGIS = [sys.executable, "-P", "-m", "aegis_store"]
#: Each verb that opens a store, with what it needs after the path.
READING = {
    "sessions": [],
    "log": ["ticket-4711"],
    "show": ["ticket-4711"],
    "verify": [],
    "head": [],
    "stats": [],
    "health": [],
    "export": [],
}
VERBS = pytest.mark.parametrize("verb", READING)


def run(aegis, verb, path="state", *options):
    """The verb, once in words and once as JSON: both end the same way. Gives the code, the words and the error's fields."""
    plain = aegis(verb, path, *READING[verb], *options)
    fields = aegis(verb, path, *READING[verb], *options, "--json")
    assert (plain.code, plain.out) == (fields.code, fields.out) == (plain.code, "")
    assert plain.err.startswith("aegis: ")
    error = json.loads(fields.err)
    assert set(error) == {"error", "message", "op", "path", "tier", "index", "hint", "can_retry", "exit_code"}
    assert error["exit_code"] == plain.code
    assert error["message"] in plain.err
    return plain.code, plain.err, error["error"]


@VERBS
def test_no_such_path(aegis, verb):
    code, words, kind = run(aegis, verb, "nothing")
    assert (code, kind) == (3, "NotAStore")
    assert words.startswith("aegis: nothing: there is no store here\n")


@VERBS
def test_something_else_than_a_store(aegis, tmp_path, verb):
    (tmp_path / "work" / "notes").write_text("words")
    assert run(aegis, verb, "notes")[::2] == (3, "NotAStore")
    (tmp_path / "work" / "folder").mkdir()
    (tmp_path / "work" / "folder" / "notes").write_text("words")
    assert run(aegis, verb, "folder")[::2] == (3, "NotAStore")


@VERBS
def test_keys_that_are_missing(aegis, story, verb):
    story.with_name("state.keys").rename(story.with_name("elsewhere"))
    code, words, kind = run(aegis, verb)
    assert (code, kind) == (3, "KeysMissing")
    assert "--keys" in words
    assert aegis(verb, "state", *READING[verb], "--keys", "elsewhere").code in (0, 1)


@VERBS
def test_keys_of_another_store(aegis, story, verb):
    aegis_store.open(story.with_name("other")).close()
    assert run(aegis, verb, "state", "--keys", "other.keys")[::2] == (3, "KeysWrong")


@VERBS
def test_an_option_that_there_is_not(aegis, story, verb):
    ended = aegis(verb, "state", *READING[verb], "--frobnicate")
    assert (ended.code, ended.out) == (2, "")
    assert f"Usage: aegis {verb}" in ended.err
    assert aegis(verb).code == 2


@pytest.mark.parametrize("verb", ["log", "show"])
def test_no_such_session(aegis, story, verb):
    ended = aegis(verb, "state", "nope", "--json")
    assert (ended.code, ended.out, json.loads(ended.err)["error"]) == (1, "", "NotFound")


def test_no_such_tier(aegis, story):
    assert aegis("head", "state", "attic").code == 2
    assert aegis("verify", "state", "--tier", "attic").code == 2


def test_no_such_class(aegis, story):
    for verb in ("log", "show"):
        ended = aegis(verb, "state", "ticket-4711", "--types", "no_such_module:Ticket")
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("aegis: --types no_such_module:Ticket: ")


def test_a_store_that_another_process_writes_to(aegis, story):
    (story.parent / "out.jsonl").write_text(aegis("export", "state").out)
    with aegis_store.open(story):
        ended = aegis("import", "out.jsonl", "state")
        assert (ended.code, ended.out) == (4, "")
        assert "aegis head state" in ended.err
        assert json.loads(aegis("import", "out.jsonl", "state", "--json").err)["error"] == "Locked"
        assert aegis("init", "state").code == 3


def as_nobody(arguments) -> tuple[int, str]:
    """The exit code and stderr of `aegis` as a user who is not root, in a forked child: root may read and write everything."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        code: object = 99
        try:
            os.dup2(into, 2)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            sys.argv = ["aegis", *arguments]
            main()
        except SystemExit as end:
            code = end.code
        finally:
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 0)
    os.close(into)
    with os.fdopen(out) as pipe:
        words = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), words


def test_what_may_not_be_read_or_written(aegis, story, monkeypatch):
    assert aegis("import", "nothing", "copy").code == 3  # so that the child need not import anything
    for verb, needed in READING.items():
        aegis(verb, "state", *needed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "work")
        shutil.copytree(story.parent, place)
        (place / "secret.jsonl").touch(mode=0)
        for path in (Path(folder), place, *place.rglob("*")):
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)
        monkeypatch.chdir(place)
        place.chmod(0o555)
        for arguments in (["init", "new"], ["export", "state", "-o", "out.jsonl"], ["import", "secret.jsonl", "state"]):
            code, words = as_nobody(arguments)
            assert (code, "Traceback" in words) == (3, False), words
            assert words.startswith("aegis: ")
        (place / "state").chmod(0)
        for verb, needed in READING.items():
            code, words = as_nobody([verb, "state", *needed])
            assert (code, "Traceback" in words) == (3, False), words
            assert words.startswith("aegis: state: ")
        monkeypatch.chdir(story.parent)
        for path in (place, place / "state"):
            path.chmod(0o755)


@pytest.mark.parametrize("verb", [each for each in READING if each != "head"])  # a head is remembered before it leaves
def test_a_place_that_cannot_be_written_to_is_read_all_the_same(aegis, story, verb):
    for root, folders, files in os.walk(story):
        for each in files:
            os.chmod(os.path.join(root, each), 0o444)
        for each in folders:
            os.chmod(os.path.join(root, each), 0o555)
    before = snapshot(story.parent)
    assert aegis(verb, "state", *READING[verb]).code in (0, 1)
    # When it was last verified is taken down in the key directory, where that takes it.
    assert without_the_note(snapshot(story.parent)) == without_the_note(before)


def without_the_note(found):
    return {name: facts for name, facts in found.items() if name not in ("state.keys", "state.keys/verified.json")}


# ---- pipes and signals ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["sessions", "log", "show", "stats", "export", "verify"])
def test_a_reader_that_has_seen_enough_ends_it_quietly(story, verb):
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run(
        [*AEGIS, verb, "state", *READING[verb]], stdout=write, stderr=subprocess.PIPE, text=True, check=False, cwd=story.parent
    )
    os.close(write)
    assert ran.stderr == ""
    assert ran.returncode in (141, -signal.SIGPIPE)


@pytest.mark.parametrize("verb", [each for each in READING if each != "head"])
def test_a_pipe_gets_plain_text(story, verb):
    environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    environment["TERM"] = "xterm"
    command = [*AEGIS, verb, "state", *READING[verb]]
    ran = subprocess.run(command, capture_output=True, check=False, cwd=story.parent, env=environment)
    assert ran.returncode in (0, 1)
    assert b"\x1b" not in ran.stdout
    assert ran.stderr == b""
    assert all(mark not in ran.stdout.decode() for mark in "─│┃━┏")


def test_on_a_terminal_no_color_is_heard(story):
    for settings, colour in (({"NO_COLOR": "1"}, False), ({}, True)):
        leader, follower = os.openpty()
        environment = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
        process = subprocess.Popen(
            [*AEGIS, "show", "state", "ticket-4711"],
            stdout=follower,
            stderr=subprocess.PIPE,
            cwd=story.parent,
            env={**environment, "TERM": "xterm-256color", **settings},
        )
        os.close(follower)
        out = b""
        while True:
            try:
                piece = os.read(leader, 65536)
            except OSError:
                break
            if not piece:
                break
            out += piece
        os.close(leader)
        with process:
            assert process.wait() == 0
        assert b"messages" in out
        assert (b"\x1b[3" in out) is colour


@VERBS
def test_ctrl_c_is_one_line(aegis, monkeypatch, verb):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(aegis_store, "open", interrupted)
    assert aegis(verb, "state", *READING[verb]) == (130, "", "aegis: interrupted\n")


def test_an_import_that_is_interrupted_keeps_what_it_has_and_goes_on(aegis, story, monkeypatch):
    from aegis_store.cli import import_

    assert aegis("export", "state", "-o", "out.jsonl").code == 0
    real, taken = import_._Import.take, []

    def take(self, each):
        taken.append(each)
        if len(taken) == 5:
            raise KeyboardInterrupt
        real(self, each)

    monkeypatch.setattr(import_._Import, "take", take)
    assert aegis("import", "out.jsonl", "copy") == (130, "", "aegis: interrupted\n")
    monkeypatch.setattr(import_._Import, "take", real)
    answer = json.loads(aegis("import", "out.jsonl", "copy", "--json").out)
    assert (answer["present"], answer["checkpoints"]) == (2, 5)
