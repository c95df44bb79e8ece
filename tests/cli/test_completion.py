from __future__ import annotations

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

import aegis_store
from aegis_store.cli import completion
from aegis_store.cli.completion import complete_hold, complete_session, complete_tier

from ..stores import blot, frame_of, snapshot


def context(**params):
    return SimpleNamespace(params=params)


def test_sessions_that_begin_so_are_offered_and_none_that_a_shell_would_mangle(story):
    assert complete_session(context(path=story), "") == ["ticket-4711", "ticket-4711-b"]
    assert complete_session(context(path=story), "ticket-4711-") == ["ticket-4711-b"]
    assert complete_session(context(path=story), "x") == []


def test_keys_on_the_line_count(story):
    story.with_name("state.keys").rename(story.with_name("elsewhere"))
    assert complete_session(context(path=story), "") == []
    assert complete_session(context(path=story, keys=story.with_name("elsewhere")), "x") == []
    assert complete_session(context(path=str(story), keys=story.with_name("elsewhere")), "")[:1] == ["ticket-4711"]


def test_tiers_are_those_that_hold_something(story):
    assert complete_tier(context(path=story), "") == ["session"]
    assert complete_tier(context(path=None), "") == ["audit", "memory", "session", "telemetry"]
    assert complete_tier(context(path=None), "m") == ["memory"]


def test_holds_that_stand_are_offered_by_their_number(story):
    with aegis_store.open(story) as store:
        first, second = (store.session("ticket-4711").hold(reason="r", holder="h").number for _ in range(2))
        store.release(first, reason="r")
    assert complete_hold(context(path=story), "") == [str(second)]
    assert complete_hold(context(path=story), "x") == complete_hold(context(path=None), "") == []
    assert complete_hold(context(path=story.with_name("nothing")), "") == []


def test_nothing_is_written(story):
    before = snapshot(story.parent)
    complete_hold(context(path=story), "")
    complete_session(context(path=story), "")
    complete_tier(context(path=story), "")
    assert snapshot(story.parent) == before


@pytest.mark.parametrize("path", ["missing", "file", "\0", ""])
def test_where_there_is_no_store_there_is_nothing_to_offer(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("words")
    assert complete_session(context(path=path), "") == []
    assert complete_tier(context(path=path), "") == []
    assert complete_session(context(), "") == []


def test_a_damaged_store_is_no_traceback(story):
    path, span = frame_of(story, 5)
    blot(path, span.start)
    assert complete_session(context(path=story), "") == []


def test_a_large_store_is_left_alone(story, monkeypatch):
    monkeypatch.setattr(completion, "STORE_BYTES_MAX", 100)
    assert complete_session(context(path=story), "") == []


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("aegis log state tick", "ticket-4711"),
        ("aegis he", "health"),
        ("aegis erase state tick", "ticket-4711"),
        ("aegis ret", "retain"),
        ("aegis log nope x", ""),
    ],
)
def test_bash_gets_it_through_the_entry_point(story, words, offered):
    asked = {"_AEGIS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    command = [sys.executable, "-P", "-m", "aegis_store"]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **asked}, cwd=story.parent)
    assert ran.stderr == ""
    assert offered in ran.stdout.splitlines() or (not offered and not ran.stdout.strip())


def test_a_shell_can_be_told_how():
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "aegis_store", "--show-completion", "bash"], capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    assert "_AEGIS_COMPLETE=complete_bash" in ran.stdout
