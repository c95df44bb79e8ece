"""Every call to the system that is made in Python fails, and the limits of a process: nothing acknowledged fails or is lost.

This mirrors no module: it lives a life of a store (open, checkpoints over two segments, a head, reading, a close, a second
open) and fails one call of it after another. The engine's own calls fail in tests/native/test_every_call.c, on a machine whose
power can be cut, and LMDB alone in tests/catalog/test_failures.py.
"""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import lmdb
import pytest

import aegis_store
from aegis_store import Config, TierDurability
from aegis_store._engine.facts import Verdict
from aegis_store.catalog.disk import DiskTables
from aegis_store.errors import AegisError, NotAStore, OutcomeUnknown, OutOfResources, Poisoned
from tests.stores import noise, states

#: A segment holds about eight of the states below.
CONFIG = Config(segment_bytes=64 << 10, durability=TierDurability(session="write"))
STATES = 12

#: Calls that the package makes in Python, by the name under which it finds them.
CALLS = ("open", "fsync", "rename", "unlink", "mkdir", "listdir", "fstat", "stat", "scandir", "fchmod", "chmod", "urandom")


class Failing:
    """Stands before functions of `os` and those of LMDB's tables; fails the nth call, and all later ones if told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls = self.hits = self.nth = 0
        self.code, self.is_for_ever = errno.EIO, False
        for name in CALLS:
            monkeypatch.setattr(os, name, self._before(getattr(os, name), lambda: OSError(self.code, os.strerror(self.code))))
        for name in ("get", "write", "load", "sessions_after"):
            monkeypatch.setattr(
                DiskTables, name, self._before(getattr(DiskTables, name), lambda: lmdb.DiskError("told to fail"))
            )
        for kind in (lmdb.MapFullError, lmdb.CorruptedError):
            monkeypatch.setattr(DiskTables, "write", self._before(DiskTables.write, lambda kind=kind: kind("told to fail")))

    def _before(self, real: Callable[..., object], error: Callable[[], Exception]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if self.nth:
                self.calls += 1
                if self.calls == self.nth or (self.is_for_ever and self.calls > self.nth):
                    self.hits += 1
                    raise error()
            return real(*arguments, **options)

        return call

    def at(self, nth: int, code: int, *, for_ever: bool) -> None:
        self.calls = self.hits = 0
        self.nth, self.code, self.is_for_ever = nth, code, for_ever

    def over(self) -> None:
        self.nth = 0


class Life:
    """A life of a store: what was acknowledged, and what was said instead."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.acknowledged: list[object] = []
        self.submitted: list[object] = []
        self.refusals: list[AegisError] = []

    def live(self) -> None:
        """Anything that is raised and is not an AegisError is a failure of the test, wherever it comes from."""
        self._once(self._write)
        self._once(self._read)

    def _once(self, step: Callable[[], None]) -> None:
        try:
            step()
        except AegisError as error:
            self.refusals.append(error)

    def _write(self) -> None:
        with aegis_store.open(self.place, config=CONFIG) as store:
            for number in range(STATES):
                self._once(lambda number=number: self._checkpoint(store, {"number": number, "noise": noise(7000, number)}))
            self._once(lambda: store.head())
            self._once(lambda: store.session("s").latest())

    def _checkpoint(self, store: aegis_store.Store, state: object) -> None:
        self.submitted.append(state)
        store.session("s").checkpoint(state)
        self.acknowledged.append(state)

    def _read(self) -> None:
        with aegis_store.open(self.place, mode="r") as store:
            store.session("s").latest()

    def reckon(self) -> None:
        """What was acknowledged is there, in order; each refusal said what, where and what next; the store works."""
        with aegis_store.open(self.place, config=CONFIG) as store:
            store.session("s").checkpoint("and on")
            found = states(store, "s")[:-1]
            assert [each for each in found if each in self.acknowledged] == self.acknowledged
            assert [each for each in self.submitted if each in found] == found
            assert store.verify().ok
        for error in self.refusals:
            assert str(error)
            assert error.hint
            assert error.path is None or "state" in error.path


def open_files(place: Path) -> list[str]:
    """The descriptors of this process that lead to the place."""
    found = []
    for each in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.append(os.readlink(each))
    return [each for each in found if each.startswith(str(place))]


@pytest.mark.parametrize(
    ("code", "for_ever"),
    [(errno.EIO, False), (errno.EIO, True), (errno.ENOSPC, False), (errno.EMFILE, True)],
    ids=["EIO once", "EIO for ever", "ENOSPC once", "EMFILE for ever"],
)
def test_every_call_made_in_python_may_fail_and_nothing_acknowledged_does(tmp_path, monkeypatch, code, for_ever):
    failing, outcomes = Failing(monkeypatch), Counter()
    nth, hits = 1, 1
    while hits:
        folder = tmp_path / str(nth)
        folder.mkdir()
        life = Life(folder / "state")
        failing.at(nth, code, for_ever=for_ever)
        life.live()
        failing.over()
        hits = failing.hits
        assert open_files(folder) == [], f"call {nth}"
        life.reckon()
        outcomes["refused" if life.refusals else "went on"] += 1
        shutil.rmtree(folder)
        nth += 1
    print(f"{nth - 2} calls of Python, {errno.errorcode[code]}: {dict(outcomes)}")
    assert nth > 60
    assert outcomes["refused"] > 10
    assert for_ever or outcomes["went on"] > 10


# ---- limits of a process ----------------------------------------------------------------------------------------------------


def in_child(work: Callable[[], None], place: Path, *, allowed: tuple[int, ...] = (0,)) -> str:
    """In a process of its own, whose limits nobody else has: what it printed. What is raised there fails here."""
    top = str(Path(__file__).parents[1])
    code = f"import sys; sys.path.append({top!r}); from tests.test_failed_calls import {work.__name__} as work; work()"
    command = [sys.executable, "-P", "-c", code, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd="/")
    assert done.returncode in allowed, done.stdout + done.stderr
    return done.stdout


def limited(what: int, most: int) -> None:
    resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def _few_descriptors() -> None:
    outcomes: Counter[str] = Counter()
    before = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    work = Path(sys.argv[1])
    warm = Life(work / "warm" / "state")  # modules that are imported at first use have been, then
    warm.place.parent.mkdir()
    warm.live()
    for most in range(3, 40):
        folder = work / str(most)
        folder.mkdir()
        life = Life(folder / "state")
        limited(resource.RLIMIT_NOFILE, most)
        try:
            life.live()
        finally:
            limited(resource.RLIMIT_NOFILE, before)
        assert not open_files(folder), most
        life.reckon()
        for error in life.refusals:
            # A rotation that cannot open its manifest is a write that failed.
            assert isinstance(error, OutOfResources | OutcomeUnknown | Poisoned | NotAStore), repr(error)
        outcomes["refused" if life.refusals else "all went well"] += 1
    print(dict(outcomes))
    assert min(outcomes.values()) > 5


def test_with_any_number_of_descriptors_it_works_or_says_so(tmp_path):
    in_child(_few_descriptors, tmp_path)


def _descriptors_run_out() -> None:
    """While a session runs: zeroing ahead needs one, and so does a rotation, which this does not come to."""
    life = Life(Path(sys.argv[1]) / "state")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    with aegis_store.open(life.place) as store:
        session = store.session("s")
        session.checkpoint("first")
        taken = []
        limited(resource.RLIMIT_NOFILE, 64)
        with suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        for number in range(60):
            try:
                state = {"number": number, "noise": noise(20_000, number)}
                life.submitted.append(state)
                session.checkpoint(state)
                life.acknowledged.append(state)
            except AegisError as error:
                life.refusals.append(error)
        assert session.latest().state == life.acknowledged[-1]  # reading needs none
        for descriptor in taken:
            os.close(descriptor)
        limited(resource.RLIMIT_NOFILE, before)
        session.checkpoint("there are some again")
    assert life.refusals
    assert {type(each) for each in life.refusals} == {OutOfResources}
    with aegis_store.open(life.place) as store:
        assert states(store, "s") == ["first", *life.acknowledged, "there are some again"]
    print(f"{len(life.acknowledged)} acknowledged, {len(life.refusals)} refused")


def test_descriptors_that_run_out_while_a_session_runs_refuse_and_break_nothing(tmp_path):
    in_child(_descriptors_run_out, tmp_path)


# ---- poison, as others see it -----------------------------------------------------------------------------------------------


def _poison() -> None:
    """A group's own write fails: the file may not grow, and its zeroed space is cut off behind the engine's back."""
    place = Path(sys.argv[1]) / "state"
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    store = aegis_store.open(place)
    session = store.session("s")
    for number in range(3):
        session.checkpoint(number)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    for kind in (OutcomeUnknown, Poisoned):
        with pytest.raises(kind, match=r"write session/00000000\.seg: File too large") as caught:
            session.checkpoint("lost")
        assert "close the store and open it again" in str(caught.value)
        assert "aegis head" in caught.value.hint
    assert session.latest().state == 2
    os._exit(0)  # killed, as it were: nothing is closed


def test_the_next_process_is_told_of_a_failed_write_and_finds_what_was_acknowledged(tmp_path):
    in_child(_poison, tmp_path)
    place = tmp_path / "state"
    with aegis_store.open(place, mode="r") as store:
        assert [each for each in store.report.tiers.values() if Verdict.POISON in each.verdict]
        # A reader serves what it can show to be durable, which the newest records of a killed writer are not.
        assert states(store, "s") == [0, 1, 2][: len(states(store, "s"))] != []
    with aegis_store.open(place) as store:
        assert [each for each in store.report.tiers.values() if Verdict.POISON in each.verdict]
        assert states(store, "s")[:3] == [0, 1, 2]
        store.session("s").checkpoint("and on")
    with aegis_store.open(place) as store:
        assert not [each for each in store.report.tiers.values() if Verdict.POISON in each.verdict]
        assert states(store, "s")[-1] == "and on"


# ---- keys -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EACCES, errno.EROFS, errno.EIO, errno.EMFILE], ids=errno.errorcode.get)
def test_keys_that_cannot_be_written_stop_what_needs_them_and_nothing_else(tmp_path, monkeypatch, code):
    place, real = tmp_path / "state", os.open

    def refusing(path: object, flags: int, *arguments: object, **options: object) -> int:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise OSError(code, os.strerror(code))
        return real(path, flags, *arguments, **options)

    with aegis_store.open(place) as store:
        session = store.session("s")
        session.checkpoint(1)
        monkeypatch.setattr(os, "open", refusing)
        session.checkpoint(2)
        with pytest.raises(AegisError, match=os.strerror(code)) as caught:
            store.head()  # it would have to be remembered before it is shown
        assert caught.value.hint
        with pytest.raises(AegisError, match=os.strerror(code)):
            store.session("s", agent="a new one").checkpoint(3)
        monkeypatch.undo()
        session.checkpoint(4)
        assert store.head().head.size > 0
    with aegis_store.open(place) as store:
        assert states(store, "s") == [1, 2, 4]
