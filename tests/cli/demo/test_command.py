from __future__ import annotations

import json
import signal
import subprocess
import sys
import time

import pytest

import aegis_store
from aegis_store.cli.demo import command, story
from aegis_store.cli.demo.checks import BrokenPromise

from ..conftest import Ended
from .test_tasks import line

AEGIS = [sys.executable, "-P", "-c", "from aegis_store.cli import main; main()"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Where temporary directories are made: empty."""
    path = tmp_path / "temporary"
    path.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(path))
    return path


@pytest.fixture
def sessions(tmp_path):
    path = tmp_path / "sessions.jsonl"
    path.write_text(line("a", "one", 12) + line("b", "two", 9))
    return path


def test_the_demo_ends_well_says_so_and_leaves_nothing(aegis, here, sessions):
    ended = aegis("demo", "--sessions", sessions)
    assert (ended.code, ended.err) == (0, "")
    text = " ".join(ended.out.split())
    assert "nothing that was acknowledged is lost" in text
    assert "21 checkpoints of 2 sessions read back: each is what it must be." in text
    assert ended.out.splitlines()[-1].startswith("Nothing is left behind")
    assert list(here.iterdir()) == []


def test_without_sessions_it_reads_the_library(aegis, here):
    ended = aegis("demo", "--seconds", "0.2", "--json")
    assert ended.code == 0
    answer = json.loads(ended.out)
    assert answer["ok"] is True
    assert answer["cost"]["sources"][0]["name"] == "standard library"
    assert answer["checkpoints_compared"] == answer["cost"]["checkpoints"] >= len(answer["runs"])
    assert list(here.iterdir()) == []


def test_json_holds_all_that_came_out(aegis, here, sessions):
    ended = aegis("demo", "--sessions", sessions, "--json")
    answer = json.loads(ended.out)
    assert (ended.code, ended.err) == (0, "")
    assert (answer["ok"], answer["kept"], answer["checkpoints_compared"], answer["records"]) == (True, None, 21, 24)
    assert answer["damage"]["victim"] in answer["damage"]["refused"]
    assert answer["runs"][0]["resumed"] == {"number": 1, "session": "one", "step": 1}


def test_both_stores_are_kept_where_they_are_asked_for(aegis, here, sessions, tmp_path):
    ended = aegis("demo", "--sessions", sessions, "--keep", "kept")
    kept = tmp_path / "work" / "kept"
    assert ended.code == 0
    assert sorted(path.name for path in kept.iterdir()) == ["damaged", "damaged.keys", "state", "state.keys"]
    assert ended.out.splitlines()[-2:] == ["  aegis verify kept/state", "  aegis verify kept/damaged"]
    assert aegis("verify", "kept/state", "--deep").code == 0
    assert aegis("verify", "kept/damaged", "--deep").code == 1
    assert list(here.iterdir()) == []


@pytest.mark.parametrize("what", ["full", "file", "below a file"])
def test_a_place_that_cannot_be_used_is_a_usage_error(aegis, here, tmp_path, what):
    work = tmp_path / "work"
    (work / "file").write_text("words")
    keep = {"full": work, "file": work / "file", "below a file": work / "file" / "x"}[what]
    ended = aegis("demo", "--keep", keep)
    assert ended.code == 2
    assert ended.err.startswith("aegis: ")
    assert (work / "file").read_text() == "words"


@pytest.mark.parametrize(("text", "code"), [("words\n", 2), ("", 2), (None, 3)])
def test_a_file_that_holds_no_sessions_is_named(aegis, here, tmp_path, text, code):
    if text is not None:
        (tmp_path / "work" / "sessions").write_text(text)
    ended = aegis("demo", "--sessions", "sessions")
    assert ended.code == code
    assert ended.err.startswith("aegis: sessions: ")
    assert list(here.iterdir()) == []


def test_no_time_at_all_is_a_usage_error(aegis):
    assert aegis("demo", "--seconds", "0").code == 2


def break_promise(monkeypatch):
    def after_kill(session, *, acknowledged, latest):
        raise BrokenPromise("an acknowledged checkpoint is gone")

    monkeypatch.setattr(story.checks, "after_kill", after_kill)


def test_a_broken_promise_is_loud_and_its_evidence_is_kept(aegis, here, sessions, monkeypatch):
    break_promise(monkeypatch)
    ended = aegis("demo", "--sessions", sessions)
    assert ended.code == 1
    (kept,) = here.iterdir()
    assert ended.err.startswith("aegis: BROKEN PROMISE: an acknowledged checkpoint is gone\n")
    assert str(kept) in ended.err
    assert (kept / "state" / "MANIFEST").is_file()
    assert "is lost" not in ended.out


def test_a_broken_promise_is_json_too(aegis, here, sessions, monkeypatch):
    break_promise(monkeypatch)
    ended = aegis("demo", "--sessions", sessions, "--json")
    answer = json.loads(ended.err)
    assert (ended.code, ended.out, answer["error"]) == (1, "", "BrokenPromise")


def test_damage_that_nobody_has_done_is_evidence_too(here):
    with pytest.raises(aegis_store.errors.Corrupt) as error, command.workplace(None) as place:
        raise aegis_store.errors.Corrupt("record 3 is damaged")
    assert str(place) in error.value.hint
    assert place.is_dir()


@pytest.mark.parametrize("error", [aegis_store.errors.NoSpace("full"), OSError("x"), KeyboardInterrupt(), SystemExit(143)])
def test_whatever_else_ends_it_leaves_nothing(here, error):
    with pytest.raises(type(error)), command.workplace(None) as place:
        (place / "state").mkdir()
        raise error
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_that_asks_it_to_end_leaves_nothing_and_no_agent(tmp_path, number, code):
    process = subprocess.Popen(
        [*AEGIS, "demo"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env={"TMPDIR": str(tmp_path)}
    )
    assert process.stderr is not None
    with process:
        while not list(tmp_path.glob("aegis-demo-*/state/session")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(number)
        # The agent holds this pipe open for as long as it lives: reading to the end waits for it too.
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == code
    assert list(tmp_path.iterdir()) == []


def test_the_fixture_runs_the_command_that_people_run(aegis):
    assert isinstance(aegis("--version"), Ended)
