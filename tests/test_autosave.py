from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

import aegis_store
from aegis_store import Config, Snapshot
from aegis_store.autosave import Autosaver
from aegis_store.errors import Closed, InvalidArgument, StateTypeError, UsedAfterFork

from .stores import SMALL, states


class Seconds:
    """A clock of its own time."""

    def __init__(self) -> None:
        self.at = 1000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def store(tmp_path):
    with aegis_store.open(tmp_path / "state", config=SMALL) as store:
        yield store


@pytest.fixture
def seconds():
    return Seconds()


@pytest.fixture
def saver(store, seconds):
    """One without a thread, whose time is told."""
    store.autosaver.finish()
    store.autosaver = store.lookout.timers = Autosaver(store, told=store._housekeeping.due, now=seconds, runs_itself=False)
    return store.autosaver


def test_what_has_changed_is_saved_each_interval(store, saver, seconds):
    state = {"n": 0}
    with store.session("s").every(lambda: state, interval="1m") as saving:
        assert saver.run_due() == 60
        assert states(store, "s") == []
        seconds.at += 60
        assert saver.run_due() == 60
        assert states(store, "s") == [{"n": 0}]
        seconds.at += 59
        state["n"] = 1
        assert saver.run_due() == 1
        seconds.at += 1
        saver.run_due()
        assert states(store, "s") == [{"n": 0}, {"n": 1}]
        assert saving.info().error is None


def test_what_has_not_changed_is_not_written_and_is_as_safe(store, saver, seconds):
    with store.session("s").every(lambda: {"n": 0}, interval=60) as saving:
        for _ in range(5):
            seconds.at += 60
            saver.run_due()
            assert saving.info().unsaved_seconds == 0
        seconds.at += 17
        assert saving.info().unsaved_seconds == 17
        size = store.records.size()
    assert store.records.size() == size
    assert len(states(store, "s")) == 1


def test_the_last_state_is_saved_at_the_end_and_none_after_it(store, saver, seconds):
    state = {"n": 0}
    with store.session("s").every(lambda: state) as saving:
        state["n"] = 7
    assert states(store, "s") == [{"n": 7}]
    seconds.at += 10_000
    state["n"] = 8
    assert saver.run_due() is None
    saving.stop()
    assert states(store, "s") == [{"n": 7}]
    assert saver.watches() == []
    assert saver.unsaved() is None


def test_a_state_that_comes_back_after_another_checkpoint_is_saved_again(store, saver, seconds):
    """Else the newest one would be that other one."""
    session = store.session("s")
    with session.every(lambda: {"n": 0}, interval=60):
        seconds.at += 60
        saver.run_due()
        session.checkpoint({"n": "by hand"})
        seconds.at += 60
        saver.run_due()
        assert states(store, "s") == [{"n": 0}, {"n": "by hand"}, {"n": 0}]


def test_an_interval_is_the_roles_unless_it_is_given(tmp_path):
    config = Config(roles={"planner-1": "planner"}, checkpoint_interval="2m", intervals={"planner": "10s"})
    with aegis_store.open(tmp_path / "state", config=config) as store:
        for agent, given, expected in (("planner-1", None, 10), ("other", None, 120), ("planner-1", "3s", 3)):
            with store.session("s", agent=agent).every(dict, interval=given) as saving:
                assert saving.info().interval_seconds == expected
        with pytest.raises(InvalidArgument, match="interval is 0"):
            store.session("s").every(dict, interval=0)
        assert store.autosaver.watches() == []


def test_all_that_belongs_to_a_state_is_saved_with_it(store, saver, seconds):
    said = [Snapshot(state={"n": 0}, position="plan", claims={"may": "read"}, approvals=["a"])]
    with store.session("s").every(lambda: said[-1], interval=1):
        seconds.at += 1
        saver.run_due()
        said.append(Snapshot(state={"n": 0}, position="act"))
        seconds.at += 1
        saver.run_due()
    first, second = [store.session("s").get(ordinal) for ordinal in (0, 1)]
    assert (first.position, first.claims, list(first.approvals)) == ("plan", {"may": "read"}, ["a"])
    assert (second.state, second.position) == ({"n": 0}, "act")


def test_a_failure_is_kept_and_told_and_tried_again(store, saver, seconds):
    broken = True

    def get_state():
        if broken:
            raise LookupError("no state")
        return {"n": 1}

    with store.session("s").every(get_state, interval=60) as saving, store.session("t").every(dict, interval=60):
        seconds.at += 60
        saver.run_due()
        assert saving.info().error == "LookupError: no state"
        assert saving.info().unsaved_seconds == 60
        assert saver.unsaved()[:2] == (2, 1)
        assert states(store, "t") == [{}]  # one does not keep the other
        assert any("the timer could not save 1 session" in each.what for each in store.health().findings)
        broken = False
        seconds.at += 60
        saver.run_due()
        assert saving.info().error is None
        assert states(store, "s") == [{"n": 1}]


def test_a_last_save_that_fails_raises_and_it_is_over(store, saver):
    with pytest.raises(StateTypeError), store.session("s").every(lambda: object()):
        pass
    assert saver.watches() == []


def test_save_is_at_once_and_raises(store, saver):
    state = {"n": 0}
    with store.session("s").every(lambda: state) as saving:
        assert saving.save().ordinal == 0
        assert saving.save() is None
        state["n"] = object()
        with pytest.raises(StateTypeError):
            saving.save()
        state["n"] = 1


def test_a_session_that_says_it_has_changed_is_due_now(store, saver, seconds):
    state = {"n": 0}
    with store.session("s").every(lambda: state, interval=60) as saving:
        seconds.at += 10
        saving.changed()
        assert saver.run_due() == 60
        assert states(store, "s") == [{"n": 0}]
        seconds.at += 50  # when it would have been due
        assert saver.run_due() == 10


def test_the_oldest_is_what_a_tier_may_lose(store, saver, seconds):
    with store.session("a").every(dict, interval=100), store.session("b").every(dict, interval=10):
        seconds.at += 50
        saver.run_due()
        facts = store.health().facts
        assert (facts.unsaved.sessions, facts.unsaved.failing) == (2, 0)
        assert facts.unsaved.oldest_seconds == pytest.approx(50, abs=5)
        assert [each.session for each in saver.watches()] == ["a", "b"]


# ---- by itself -------------------------------------------------------------------------------------------------------------


def test_its_thread_saves_and_is_gone_when_nothing_is_kept(store):
    called = threading.Event()
    saved = threading.Event()
    store.session("s").checkpoint({})

    def get_state():
        if called.is_set():
            saved.set()
        called.set()
        return {"n": 1}

    with store.session("s").every(get_state, interval=3600) as saving:
        thread = store.autosaver._thread
        assert thread.is_alive()
        saving.changed()
        assert called.wait(60)
        saving.changed()
        assert saved.wait(60)
    thread.join(60)
    assert not thread.is_alive()
    assert states(store, "s") == [{}, {"n": 1}]


def test_a_store_that_is_closed_saves_first(tmp_path):
    store = aegis_store.open(tmp_path / "state", config=SMALL)
    saving = store.session("s").every(lambda: {"n": 1})
    store.close()
    saving.stop()
    with pytest.raises(Closed):
        saving.changed()
    with aegis_store.open(tmp_path / "state", mode="r") as store:
        assert states(store, "s") == [{"n": 1}]


def test_a_store_is_closed_even_where_a_last_save_fails(tmp_path):
    store = aegis_store.open(tmp_path / "state", config=SMALL)
    store.session("s").every(lambda: object())
    with pytest.raises(StateTypeError):
        store.close()
    aegis_store.open(tmp_path / "state").close()


def test_what_nobody_stopped_is_saved_when_the_interpreter_ends(tmp_path):
    code = f"""
import aegis_store
store = aegis_store.open({str(tmp_path / "state")!r})
saving = store.session("s").every(lambda: {{"n": 1}})
"""
    subprocess.run([sys.executable, "-P", "-c", code], check=True, timeout=120, capture_output=True)
    with aegis_store.open(tmp_path / "state", mode="r") as store:
        assert states(store, "s") == [{"n": 1}]


def test_a_forked_child_saves_nothing(tmp_path):
    store = aegis_store.open(tmp_path / "state", config=SMALL)
    saving = store.session("s").every(lambda: {"pid": os.getpid()})
    child = os.fork()
    if child == 0:
        code = 1
        try:
            saving.stop()
            try:
                saving.changed()
            except UsedAfterFork:
                code = 0
            store.close()
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    store.close()
    with aegis_store.open(tmp_path / "state", mode="r") as store:
        assert states(store, "s") == [{"pid": os.getpid()}]


def test_many_threads_start_and_stop(store):
    def work(number):
        for each in range(5):
            with store.session(f"{number}").every(lambda each=each: {"n": each}, interval=3600) as saving:
                saving.changed()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert store.autosaver.watches() == []
    for number in range(6):
        assert states(store, f"{number}") == [{"n": each} for each in range(5)]
