"""Hooks: what they answer, raise, or never answer; and defaults that do nothing and say so."""

from __future__ import annotations

import logging
import sys
import threading

import pytest

import aegis_store
from aegis_store.recovery import Hooks, Notice, StoredMemory
from aegis_store.recovery.hooks import HookFailed, ask


def test_an_answer_comes_back_and_what_is_raised_is_a_line():
    assert ask(lambda: 5, 60) == 5
    assert ask(lambda: None, None) is None
    with pytest.raises(HookFailed, match=r"^KeyError: 'gone'$"):
        ask(lambda: {}["gone"], 60)
    with pytest.raises(HookFailed, match="SystemExit"):
        ask(lambda: sys.exit(3), 60)


def test_one_that_does_not_return_has_failed_and_its_late_answer_is_nobodys():
    gate, late = threading.Event(), []
    with pytest.raises(HookFailed, match=r"0\.01 s"):
        ask(lambda: (gate.wait(60), late.append(1)), 0.01)
    gate.set()
    assert ask(lambda: 2, 60) == 2


def test_the_defaults_do_nothing_and_say_so(caplog):
    hooks = Hooks()
    assert hooks.token.issue("s", "agent", {}) is None
    assert hooks.memory.read("s", "agent", None) is None
    notice = Notice(key="s/1", session="s", agent="agent", incident=3, reason="why", checkpoint=None)
    with caplog.at_level(logging.WARNING, logger="aegis_store.recovery"):
        assert hooks.notifier.notify(notice) == "logged"
    assert [each.getMessage() for each in caplog.records] == ["session 's' is discarded: why (incident 3)"]
    assert hooks.timeout_seconds == 30


def test_the_memory_of_the_store_is_read_below_a_namespace_now_or_at_a_pointer(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:
        store.memory.put(("agents", "planner"), "name", "Ann")
        store.memory.put(("agents", "other"), "name", "Bob")
        then = store.memory.pointer()
        store.memory.put(("agents", "planner", "deep"), "mood", "good", ttl=60)
        reader = StoredMemory(store.memory, lambda session, agent: ("agents", agent or ""))
        assert [(item.key, item.value) for item in reader.read("s", "planner", None)] == [("name", "Ann"), ("mood", "good")]
        assert [(item.key, item.value) for item in reader.read("s", "planner", then)] == [("name", "Ann")]
        assert reader.read("s", None, None) == ()
