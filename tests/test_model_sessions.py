"""Random work in sessions against a dict: forks, ends, expectations, repeated requests, a reader in another process, and
writers that are killed.

The writer lives in this process, or for some steps in a child that is killed with SIGKILL where it stands. The reader lives in
a child of its own all the time, and is asked beside. What both must say is in `Line`: a session's states from its first one on.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import aegis_store
from aegis_store import NO_CHECKPOINT, Ref
from aegis_store.cli import main
from aegis_store.errors import Conflict, Ended, NotFound
from tests.stores import SMALL, Told, abandon, dump, noise

NAMES = ["a", "b", "c", "", "é"]
#: What a child that is killed has queued without waiting for it.
QUEUED_MAX = 5
QUICK = settings(max_examples=20, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
LONG = settings(QUICK, max_examples=500, stateful_step_count=60)


@dataclass
class Line:
    """A session: its states, inherited ones first; who asked for which; the reference of each."""

    states: list[object] = field(default_factory=list)
    refs: list[Ref] = field(default_factory=list)
    requests: dict[str, int] = field(default_factory=dict)
    forked_from: str | None = None
    ended: bool = False


def read_for(place: str, calls) -> None:
    """A reader in a process of its own: for each line, how many checkpoints it has and the digests of its states."""
    store = aegis_store.open(place, mode="r")
    while (name := calls.recv()) is not None:
        if name == "":
            calls.send({info.id: (info.checkpoints, info.is_open, info.forked_from) for info in store.sessions()})
            continue
        calls.send([each.state for each in store.session(name[1:]).history()][::-1])
    store.close()


class SessionsMachine(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.place = self.folder / "state"
        self.clock = Told()
        self.lines: dict[str, Line] = {}
        self.number = 0
        self.exported = False
        self.reader = None
        self.open()

    def open(self) -> None:
        self.store = aegis_store.open(self.place, agent="planner", config=SMALL, clock=self.clock)

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.end_reader()
            abandon(self.store)
            shutil.rmtree(self.folder)

    def state(self, size: int) -> dict[str, object]:
        self.number += 1
        return {"number": self.number, "noise": noise(size, self.number)}

    # ---- writing

    @rule(
        name=st.sampled_from(NAMES),
        size=st.sampled_from([0, 300, 9000]),
        request=st.none() | st.integers(0, 5),
        count=st.integers(1, 6),
    )
    def checkpoint(self, name: str, size: int, request: int | None, count: int) -> None:
        for _ in range(count):
            line = self.lines.get(name, Line())
            request_id = None if request is None else f"request {request}"
            known = line.requests.get(request_id)
            state = self.state(size)
            session = self.store.session(name)
            if known is not None:  # also where the session has ended
                assert session.checkpoint(state, request_id=request_id) == line.refs[known]
            elif line.ended:
                with pytest.raises(Ended):
                    session.checkpoint(state, request_id=request_id)
            else:
                self.adds(name, state, session.checkpoint(state, request_id=request_id), request_id)

    def adds(self, name: str, state: object, ref: Ref, request_id: str | None = None) -> None:
        line = self.lines.setdefault(name, Line())
        assert ref.ordinal == len(line.states)
        if request_id is not None:
            line.requests[request_id] = ref.ordinal
        line.states.append(state)
        line.refs.append(ref)

    @rule(name=st.sampled_from(NAMES), data=st.data())
    def checkpoint_with_an_expectation(self, name: str, data: st.DataObject) -> None:
        line = self.lines.get(name, Line())
        expected = data.draw(st.sampled_from([NO_CHECKPOINT, *line.refs]))
        state, session = self.state(100), self.store.session(name)
        newest = line.refs[-1] if line.refs else NO_CHECKPOINT
        if line.ended or expected != newest:
            with pytest.raises(Ended if line.ended else Conflict):
                session.checkpoint(state, expect=expected)
        else:
            self.adds(name, state, session.checkpoint(state, expect=expected))

    @precondition(lambda self: any(line.states for line in self.lines.values()))
    @rule(data=st.data(), into=st.sampled_from([*NAMES, "fork 1", "fork 2", "fork 3"]))
    def fork(self, data: st.DataObject, into: str) -> None:
        name = data.draw(st.sampled_from(sorted(name for name, line in self.lines.items() if line.states)))
        line = self.lines[name]
        at = data.draw(st.sampled_from(line.refs))
        if into in self.lines:
            with pytest.raises(Conflict):
                self.store.session(name).fork(into, at=at)
            return
        self.store.session(name).fork(into, at=at)
        self.lines[into] = Line(line.states[: at.ordinal + 1], line.refs[: at.ordinal + 1], forked_from=name)

    @rule(name=st.sampled_from([*NAMES, "fork 1"]))
    def end(self, name: str) -> None:
        if name not in self.lines:
            with pytest.raises(NotFound):
                self.store.session(name).end()
            return
        self.store.session(name).end(reason="enough")
        self.lines[name].ended = True

    # ---- ends of the process

    @rule(how=st.sampled_from(["close", "crash", "lose the catalogue"]))
    def reopen(self, how: str) -> None:
        if how == "crash":
            abandon(self.store)
        else:
            self.store.close()
        if how == "lose the catalogue":
            shutil.rmtree(self.place / "catalog")
        self.open()

    @rule(name=st.sampled_from(NAMES), waits=st.integers(0, 8), queued=st.integers(0, QUEUED_MAX), at_close=st.booleans())
    def another_writer_is_killed(self, name: str, waits: int, queued: int, at_close: bool) -> None:
        """It is told of some checkpoints, has queued more, and dies, perhaps behind its close."""
        self.store.close()
        line = self.lines.get(name, Line())
        states = [] if line.ended else [self.state(2000) for _ in range(waits + queued)]
        out, into = os.pipe()
        child = os.fork()
        if child == 0:
            store = aegis_store.open(self.place, agent="planner", config=SMALL)
            session = store.session(name)
            for number, state in enumerate(states):
                if number < waits:
                    session.checkpoint(state)
                    os.write(into, b".")
                else:
                    session.submit(state)
            if at_close:
                store.close()
            os.kill(os.getpid(), signal.SIGKILL)
        os.close(into)
        with os.fdopen(out, "rb") as pipe:
            told = len(pipe.read())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        assert told == min(waits, len(states))
        self.open()
        found = [each for each in self.store.session(name).history()][::-1][len(line.states) :]
        assert [each.state for each in found] == states[: len(found)]
        assert told <= len(found) and not (at_close and len(found) < len(states))
        for each in found:
            self.adds(name, each.state, each.ref)

    # ---- reading

    def sees(self, states: list[object], name: str) -> None:
        assert states == self.lines.get(name, Line()).states

    @rule(name=st.sampled_from([*NAMES, "fork 1"]), before=st.none() | st.integers(0, 12), limit=st.none() | st.integers(0, 5))
    def history(self, name: str, before: int | None, limit: int | None) -> None:
        found = [each.state for each in self.store.session(name).history(before=before, limit=limit)]
        assert found == self.lines.get(name, Line()).states[:before][::-1][:limit]

    @precondition(lambda self: self.lines)
    @rule(data=st.data())
    def get_and_at(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.lines)))
        line, session = self.lines[name], self.store.session(name)
        with pytest.raises(NotFound):
            session.get(len(line.states))
        if line.states:
            ordinal = data.draw(st.integers(0, len(line.states) - 1))
            found = session.get(ordinal)
            assert (found.state, found.ref) == (line.states[ordinal], line.refs[ordinal])
            newest = max(n for n, ref in enumerate(line.refs) if ref.time_ms <= found.ref.time_ms)
            assert session.at(found.created_at).ref == line.refs[newest]

    @rule()
    def verify(self) -> None:
        assert self.store.verify(deep=True).findings == ()
        self.store.catalog.flush()
        with aegis_store.open(self.place, mode="r") as reader:
            assert reader.session("nobody's").info() is None  # a reader reads the log when it is first asked
            assert dump(reader.catalog._tables) == dump(self.store.catalog._tables)

    @rule()
    def a_reader_comes_or_goes(self) -> None:
        if self.reader is not None:
            self.end_reader()
            return
        self.calls, theirs = multiprocessing.Pipe()
        self.reader = multiprocessing.get_context("fork").Process(target=read_for, args=(str(self.place), theirs))
        self.reader.start()
        theirs.close()

    def end_reader(self) -> None:
        if self.reader is not None:
            self.calls.send(None)
            self.reader.join()
            self.calls.close()
            assert self.reader.exitcode == 0
            self.reader = None

    @precondition(lambda self: self.reader is not None)
    @rule(name=st.sampled_from([*NAMES, "fork 1"]))
    def the_reader_agrees(self, name: str) -> None:
        self.calls.send(":" + name)
        self.sees(self.calls.recv(), name)
        self.calls.send("")
        assert self.calls.recv() == {
            name: (len(line.states), not line.ended, line.forked_from) for name, line in self.lines.items()
        }

    @precondition(lambda self: self.lines and not self.exported)
    @rule()
    def export_and_import(self) -> None:
        self.exported = True  # once is enough: it takes as long as all the rest
        lines, copy = self.folder / "out.jsonl", self.folder / "copy"
        for command in (["export", str(self.place), "-o", str(lines)], ["import", str(lines), str(copy)]):
            silent = io.StringIO()
            with (
                patch.object(sys, "argv", ["aegis", *command]),
                contextlib.redirect_stdout(silent),
                contextlib.redirect_stderr(silent),
                pytest.raises(SystemExit) as ended,
            ):
                main()
            assert ended.value.code in (0, None)
        with aegis_store.open(copy, mode="r") as store:
            assert {info.id: (info.is_open, info.forked_from) for info in store.sessions()} == {
                name: (not line.ended, line.forked_from) for name, line in self.lines.items()
            }
            for name in self.lines:
                self.sees([each.state for each in store.session(name).history()][::-1], name)

    @invariant()
    def sessions_agree(self) -> None:
        found = {info.id: (info.checkpoints, info.is_open) for info in self.store.sessions()}
        assert found == {name: (len(line.states), not line.ended) for name, line in self.lines.items()}


def machine(cls: type[RuleBasedStateMachine], chosen: settings) -> type:
    case = cls.TestCase
    case.settings = chosen
    return case


TestSessions = machine(SessionsMachine, QUICK)


@pytest.mark.long
class TestSessionsLong(machine(type("SessionsLong", (SessionsMachine,), {}), LONG)):
    pass
