"""Beside a writer: readers, who change nothing, and forked children, who may not use what their parent has open."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from contextlib import contextmanager
from pathlib import Path

import pytest

import aegis_store
from aegis_store import Tier
from aegis_store._engine import Verdict
from aegis_store.errors import AegisError, Corrupt, NotAStore, ReadOnly, UsedAfterFork
from tests.stores import SMALL, abandon, fill, flip, noise, segments, snapshot, states

#: A child that does not end by itself is ended, and the test fails.
CHILD_SECONDS = 60
NOBODY = 65534


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


# ---- readers ----------------------------------------------------------------------------------------------------------------


def test_a_reader_sees_what_was_acknowledged_when_it_asks(place):
    with aegis_store.open(place) as writer, aegis_store.open(place, mode="r") as reader:
        session = reader.session("s")
        assert session.latest() is None
        for number in range(5):
            ref = writer.session("s").checkpoint(number)
            assert session.latest() == writer.session("s").latest()
            assert session.latest().ref == ref
        writer.session("t", agent="other").checkpoint("new")
        assert [info.id for info in reader.sessions()] == ["s", "t"]
        assert states(reader, "s") == [0, 1, 2, 3, 4]
        assert reader.session("t").latest().agent == "other"
        assert reader.head().head == writer.head().head


def test_a_reader_follows_through_segments_and_after_the_writer_changed(place):
    with aegis_store.open(place, config=SMALL) as writer:
        fill(writer, "s", each=5)
        reader = aegis_store.open(place, mode="r")
        saved = fill(writer, "s", each=70)
        assert len(segments(place)) > 2
        assert states(reader, "s")[5:] == saved["s"]
    with aegis_store.open(place, config=SMALL) as writer:
        fill(writer, "s", each=40)
        assert len(states(reader, "s")) == 115
        assert reader.verify(deep=True).ok
    assert len(states(reader, "s")) == 115
    reader.close()


def test_readers_in_threads_beside_a_writer_in_a_thread_see_a_growing_prefix(place):
    with aegis_store.open(place, config=SMALL) as writer, aegis_store.open(place, mode="r") as reader:
        writer.session("s").checkpoint(0)
        done = threading.Event()
        problems: list[str] = []

        def read() -> None:
            last = -1
            try:
                while not done.is_set():
                    now = reader.session("s").latest().state
                    assert now >= last
                    last = now
                    found = states(reader, "s")
                    assert found[: now + 1] == list(range(now + 1))
            except BaseException:
                problems.append(traceback.format_exc())

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        for number in range(1, 150):
            writer.session("s").checkpoint(number)
        done.set()
        for thread in threads:
            thread.join()
        assert problems == []
        assert reader.session("s").latest().state == 149


#: A writer of its own, that can be stopped in the middle of whatever its upkeep does.
WRITER = """
import sys, aegis_store
store = aegis_store.open(sys.argv[1], config=aegis_store.Config(segment_bytes=64 << 10))
for number in range(15):
    for name in ("s", "t"):
        store.session(name).checkpoint(number)
print("ready", flush=True)
sys.stdin.readline()
store.session("s").checkpoint("goes on")
store.close()
"""


@contextmanager
def ended(process):
    """Where a test fails, what it has stopped must not be waited for."""
    try:
        yield
    except BaseException:
        process.kill()
        raise


@pytest.mark.parametrize("live", [True, False], ids=["beside a writer", "alone"])
def test_a_reader_writes_nothing(place, live):
    command = [sys.executable, "-P", "-c", WRITER, str(place)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer, ended(writer):
        assert writer.stdout.readline() == b"ready\n"
        if live:
            writer.send_signal(signal.SIGSTOP)
            os.waitid(os.P_PID, writer.pid, os.WSTOPPED)
        else:
            writer.communicate(b"\n")
        keys = place.with_name("state.keys")
        before = snapshot(place), snapshot(keys)
        with aegis_store.open(place, mode="r", agent="somebody new") as reader:
            count = 15 if live else 16
            assert len(states(reader, "s")) == count
            assert [info.checkpoints for info in reader.sessions()] == [count, 15]
            assert reader.verify(deep=True).ok
            assert reader.stats().tiers["session"].size == 18 + count
            for name in ("s", "new"):
                with pytest.raises(ReadOnly):
                    reader.session(name).checkpoint("refused")
            with pytest.raises(ReadOnly):
                reader.session("s", agent="agent").checkpoint("refused")
        after = snapshot(keys)
        after.pop("verified.json")  # of a verification it is noted when it was, with the keys
        after["."] = before[1]["."]
        assert [snapshot(place) == before[0], after == before[1]] == [True, True]
        if live:
            writer.send_signal(signal.SIGCONT)
            writer.communicate(b"\n")
    assert writer.returncode == 0


def test_a_reader_leaves_alone_what_only_a_writer_may_mend(place):
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "s", each=50)
    shutil.rmtree(place / "catalog")
    shutil.rmtree(place / "session" / "tiles")
    flip(place / "MANIFEST", 20)
    with segments(place)[-1].open("ab") as file:
        file.write(b"AFR0 a torn tail" * 10)
    before = snapshot(place)
    with aegis_store.open(place, mode="r") as reader:
        assert len(states(reader, "s")) == 50
        assert Verdict.MANIFEST_COPY in reader.report.tiers[Tier.SESSION].verdict
        assert reader.verify(deep=True).ok
    assert snapshot(place) == before


def test_a_directory_that_cannot_be_written_is_read():
    """By a user who is not root, for root may write everywhere; in a folder that this user can get to."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "state")
        with aegis_store.open(place, agent="planner") as store:
            for number in range(3):
                store.session("s").checkpoint(number)
        for path in (Path(folder), *Path(folder).rglob("*")):
            if os.geteuid() == 0:
                os.chown(path, NOBODY, NOBODY)
            if path.is_relative_to(place):
                path.chmod(0o555 if path.is_dir() else 0o444)
        before = snapshot(place)

        def child() -> list[object]:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            with pytest.raises(PermissionError):
                (place / "probe").touch()
            with aegis_store.open(place, mode="r") as reader:
                found = [states(reader, "s"), reader.verify(deep=True).ok]
            with pytest.raises(ReadOnly):
                aegis_store.open(place)
            return found

        assert in_child(child) == "[[0, 1, 2], True]"
        assert snapshot(place) == before
        for path in (place, *place.rglob("*")):
            path.chmod(0o755)


def test_a_reader_needs_a_store(place):
    with pytest.raises(NotAStore):
        aegis_store.open(place, mode="r")
    assert not place.exists()
    assert not place.with_name("state.keys").exists()


def test_a_reader_after_a_crash_of_the_writer_sees_a_prefix(place):
    writer = aegis_store.open(place)
    for number in range(20):
        writer.session("s").checkpoint(number)
    abandon(writer)
    before = snapshot(place)
    with aegis_store.open(place, mode="r") as reader:
        found = states(reader, "s")
        assert found == list(range(len(found)))
        assert Verdict.UNCLEAN in reader.report.tiers[Tier.SESSION].verdict
    assert snapshot(place) == before


def test_a_reader_after_a_crash_of_the_writer_sees_at_least_what_was_released(place):
    """The released head says that its records were durable: the store is not older than it only because the writer is gone."""
    writer = aegis_store.open(place)
    for number in range(5):
        writer.session("s").checkpoint(number)
    writer.head()
    abandon(writer)
    with aegis_store.open(place, mode="r") as reader:
        assert states(reader, "s") == [0, 1, 2, 3, 4]


def test_a_reader_is_told_of_damage_that_came_while_it_was_open(place):
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "s", each=40)
    with aegis_store.open(place, mode="r") as reader:
        path = segments(place)[0]
        flip(path, 20_000)
        with pytest.raises(Corrupt):
            states(reader, "s")
        flip(path, 20_000)
        assert len(states(reader, "s")) == 40


# ---- forks ------------------------------------------------------------------------------------------------------------------


def in_child(work) -> str:
    """Run `work` in a forked child; what it returned, or raised, as text."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(CHILD_SECONDS)
        try:
            said = str(work())
        except BaseException:
            said = traceback.format_exc()
        os.write(into, said.encode())
        os._exit(0)
    os.close(into)
    with os.fdopen(out) as pipe:
        said = pipe.read()
    assert os.waitpid(child, 0)[1] == 0, "the child did not end by itself"
    return said


def refusals(store, session, ref) -> str:
    """What every use of the store raises."""
    uses = {
        "checkpoint": lambda: session.checkpoint("from the child"),
        "latest": session.latest,
        "history": lambda: list(session.history()),
        "session": lambda: store.session("s"),
        "new session": lambda: store.session("another"),
        "sessions": store.sessions,
        "head": store.head,
        "verify": store.verify,
        "stats": store.stats,
        "inclusion": lambda: store.inclusion(ref),
    }
    said = []
    for name, use in uses.items():
        try:
            use()
            said.append(f"{name} did not raise")
        except UsedAfterFork:
            pass
        except BaseException as error:
            said.append(f"{name} raised {error!r}")
    return "; ".join(said)


def test_a_child_may_not_use_what_its_parent_has_open_and_the_parent_goes_on(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        ref = session.checkpoint(1)
        files = snapshot(place)

        def child() -> str:
            said = refusals(store, session, ref)
            store.close()
            store.close()
            return said

        assert in_child(child) == ""
        assert snapshot(place) == files
        assert session.checkpoint(2).ordinal == 1
        assert states(store, "s") == [1, 2]
        assert store.verify(deep=True).ok
    with aegis_store.open(place) as store:
        assert store.report.tiers[Tier.SESSION].verdict == Verdict.CLEAN
        assert states(store, "s") == [1, 2]


def test_a_child_that_leaves_the_with_block_changes_nothing_and_keeps_its_own_error(place):
    def child() -> str:
        try:
            with store:
                raise KeyError("mine")
        except KeyError as error:
            return repr(error)

    with aegis_store.open(place) as store:
        store.session("s").checkpoint(1)
        files = snapshot(place), snapshot(place.with_name("state.keys"))
        assert in_child(child) == "KeyError('mine')"
        assert (snapshot(place), snapshot(place.with_name("state.keys"))) == files
        store.session("s").checkpoint(2)


def test_a_child_of_a_busy_parent_is_refused_at_once_whatever_lock_somebody_held(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        ref = session.checkpoint(0)
        locks = [session._chain.lock, store._lock, store.catalog._lock, store.catalog._pend, store.records._lock]
        for lock in locks:
            with lock:
                assert in_child(lambda: refusals(store, session, ref)) == ""
                assert in_child(store.close) == "None"
        session.checkpoint(1)


def test_children_that_are_forked_while_threads_write(place):
    with aegis_store.open(place, config=SMALL) as store:
        done = threading.Event()
        counts = [0] * 4
        refs = [store.session(f"s{number}").checkpoint(0) for number in range(4)]

        def write(number: int) -> None:
            session = store.session(f"s{number}")
            while not done.is_set():
                counts[number] = session.checkpoint(counts[number] + 1).ordinal

        threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        held = [store.session(f"s{number}") for number in range(4)]
        for turn in range(10):
            assert in_child(lambda turn=turn: refusals(store, held[turn % 4], refs[turn % 4])) == ""
        done.set()
        for thread in threads:
            thread.join()
        for number in range(4):
            assert states(store, f"s{number}") == list(range(counts[number] + 1))
        assert store.verify(deep=True).ok


def test_a_child_may_open_the_store_for_reading(place):
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(noise(100))

        def child() -> str:
            with aegis_store.open(place, mode="r") as mine:
                return mine.session("s").latest().state.hex()

        assert in_child(child) == noise(100).hex()

        def write() -> str:
            try:
                aegis_store.open(place)
            except AegisError as error:
                return type(error).__name__
            return "opened"

        assert in_child(write) == "Locked"
