"""What the tests with disks share: writers to be hit, and the record of what was done, for docs/evidence."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.root.listener import Writers

TOP = Path(__file__).resolve().parents[2]
COUNTS: pytest.StashKey[dict[str, dict[str, int]]] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--evidence", type=Path, help="--evidence=FILE: write what the tests on real disks have counted there")


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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    path = config.getoption("--evidence", default=None)
    if path is None:
        return
    outcomes = ((name, len(terminalreporter.stats.get(name, []))) for name in ("passed", "failed", "error", "skipped"))
    said = ", ".join(f"{number} {name}" for name, number in outcomes if number)
    for name in ("failed", "error"):
        said += "".join(f"\n{name}: {each.nodeid}" for each in terminalreporter.stats.get(name, []))
    path.parent.mkdir(exist_ok=True)
    path.write_text(report(config.stash[COUNTS], said), encoding="utf-8")


def report(counted: dict[str, dict[str, int]], outcome: str) -> str:
    """The text of docs/evidence/root.txt."""
    commit = subprocess.run(["git", "-C", TOP, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    lines = [
        "Tests on file systems of the real kernel: make root",
        "",
        f"commit {commit.stdout.strip() or 'unknown'} · {platform.system()} {os.uname().release} {platform.machine()} · "
        f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC · {outcome}",
        "",
    ]
    for test, numbers in ((test, numbers) for test, numbers in counted.items() if numbers):
        lines.append(test)
        lines += [f"  {number:>8,}  {name}" for name, number in numbers.items()]
    return "\n".join(lines) + "\n"
