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
