"""`aegis` run as people run it, in this process: the arguments, then the exit code and what was printed."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from hashlib import shake_256
from pathlib import Path
from typing import NamedTuple

import pytest

import aegis_store
from aegis_store.cli import main
from aegis_store.config import Config

from ..stores import Told
from .gone import write


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def aegis(monkeypatch, capsys, tmp_path) -> Callable[..., Ended]:
    """Runs `aegis` in 80 columns, in an empty directory of its own; `Traceback` on stderr fails the test."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)

    def run(*arguments: str | os.PathLike[str]) -> Ended:
        monkeypatch.setattr(sys, "argv", ["aegis", *map(os.fspath, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return Ended(end.value.code or 0, out, err)

    return run


#: Checkpoints of each of the two sessions of `store`: "first", then "second".
CHECKPOINTS = 60


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    """A store with some sealed segments, not to be changed.

    Record 0 is the agent's key; 1 begins the session "first", 62 the session "second".
    """
    path = tmp_path_factory.mktemp("made") / "state"
    with aegis_store.open(path, agent="planner", config=Config(segment_bytes=64 * 1024)) as store:
        for name in ("first", "second"):
            session = store.session(name)
            for number in range(CHECKPOINTS):
                noise = shake_256(f"{name} {number}".encode()).digest(3000)
                session.checkpoint({"number": number, "noise": noise}, position=f"step/{number}")
    return path


@pytest.fixture
def store(made, tmp_path) -> Path:
    """A copy of that store, with its keys, to be changed."""
    path = tmp_path / "work" / "state" if (tmp_path / "work").is_dir() else tmp_path / "state"
    shutil.copytree(made, path)
    shutil.copytree(made.with_name("state.keys"), path.with_name("state.keys"))
    return path


#: What the session "ticket-4711" of `story` saves, oldest first.
STATES = [{"messages": [f"message {each}" for each in range(count + 1)], "status": "open"} for count in range(4)]
STATES.append({"messages": STATES[-1]["messages"], "status": "done"})


@pytest.fixture(scope="session")
def told(tmp_path_factory) -> Path:
    """A store with a session that was ended, a fork of it and one of another agent, not to be changed."""
    path = tmp_path_factory.mktemp("told") / "state"
    config = Config(roles={"planner": "plans", "other": "watches"})
    with aegis_store.open(path, agent="planner", config=config, clock=Told()) as store:
        ticket = store.session("ticket-4711")
        for number, state in enumerate(STATES):
            ref = ticket.checkpoint(state, position=f"plan/{number}", request_id=f"r{number}")
            if number == 2:
                middle = ref
        ticket.fork("ticket-4711-b", at=middle).checkpoint({"forked": True}, claims={"sub": "u"})
        ticket.end(reason="done")
        odd = {"bytes": b"\x00\xff", 7: None, "$tag": float("inf")}
        store.session("odd \x1b[31m\nname", agent="other").checkpoint(
            odd,
            memory_pointer=aegis_store.MemoryPointer(index=3, root=bytes(32)),
            approvals=[{"by": "me"}],
            last_tool_call={"tool": "search"},
            metadata={"note": "ü"},
        )
    return path


@pytest.fixture
def story(told, tmp_path) -> Path:
    """A copy of that store, with its keys, to be changed, as `state` in the working directory."""
    path = tmp_path / "work" / "state"
    shutil.copytree(told, path)
    shutil.copytree(told.with_name("state.keys"), path.with_name("state.keys"))
    return path


@pytest.fixture(scope="session")
def written(tmp_path_factory) -> Path:
    """The sessions "a" and "b" of `gone.EACH` checkpoints in some segments, not to be changed."""
    path = tmp_path_factory.mktemp("written") / "state"
    write(path, "a", "b")
    return path


@pytest.fixture
def full(written, tmp_path) -> Path:
    """A copy of that store, with its keys, to be changed, as `state` in the working directory."""
    path = tmp_path / "work" / "state"
    shutil.copytree(written, path)
    shutil.copytree(written.with_name("state.keys"), path.with_name("state.keys"))
    return path
