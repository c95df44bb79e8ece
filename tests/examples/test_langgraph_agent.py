"""examples/langgraph_agent.py: an agent that dies in the middle goes on, and makes no call twice."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "langgraph_agent.py"
CALLS = ["call-1: orders of north", "call-2: orders of south", "call-3: orders of east", "call-4: orders of west"]
ANSWER = "All orders together: 520"


def run(folder: Path, *options: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-P", str(EXAMPLE), "state", *options], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_nobody_dies(tmp_path):
    assert run(tmp_path) == (0, [*CALLS, ANSWER])
    assert run(tmp_path) == (0, [ANSWER])


@pytest.mark.parametrize("number", [1, 3])
def test_it_dies_and_goes_on_where_it_was(tmp_path, number):
    assert run(tmp_path, "--die-at", str(number)) == (-signal.SIGKILL, CALLS[: number - 1])
    code, said = run(tmp_path)
    assert (code, said) == (0, [f"goes on at tool, after {2 * number} messages", *CALLS[number - 1 :], ANSWER])
