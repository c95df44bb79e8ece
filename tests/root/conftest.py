"""What the tests with disks share: writers to be hit, and the record of what was done, for docs/evidence."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.root.witness import Writers

TOP = Path(__file__).resolve().parents[2]
COUNTS: pytest.StashKey[dict[str, dict[str, int]]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--evidence", type=Path, help="write what the tests on real disks have counted to this file")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[COUNTS] = {}


@pytest.fixture
def count(request: pytest.FixtureRequest) -> Iterator[dict[str, int]]:
    """Numbers by name, which are shown at the end of the run."""
    numbers: dict[str, int] = {}
    yield numbers
    request.config.stash[COUNTS][request.node.nodeid] = numbers


@pytest.fixture(scope="session")
def writers() -> Iterator[Writers]:
    made = Writers()
    yield made
    made.close()


def pytest_sessionfinish(session: pytest.Session) -> None:
    path = session.config.getoption("--evidence", default=None)
    if path is None:
        return
    passed = session.testscollected - session.testsfailed
    path.write_text(report(session.config.stash[COUNTS], f"{passed} of {session.testscollected}"), encoding="utf-8")


def report(counted: dict[str, dict[str, int]], passed: str) -> str:
    """The text of docs/evidence/root.txt."""
    commit = subprocess.run(["git", "-C", TOP, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    lines = [
        "Tests on file systems of the real kernel: make root",
        "",
        f"commit {commit.stdout.strip() or 'unknown'} · {platform.system()} {os.uname().release} {platform.machine()} · "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC · {passed} tests done, none failed or the table says so",
        "",
    ]
    for test, numbers in counted.items():
        lines.append(test)
        lines += [f"  {number:>8,}  {name}" for name, number in numbers.items()]
    return "\n".join(lines) + "\n"
