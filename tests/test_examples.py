"""The programs in examples/ do what they say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_a_workflow_is_killed_and_goes_on_where_it_was():
    done = subprocess.run(
        [sys.executable, "-P", EXAMPLES / "durable_workflow.py"], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[1:4] == ["  order-4711 is paid", "  order-4711 is packed", "resumed: order-4711 is packed"]
    assert lines[4] == "  order-4711 is sent"
    assert [line.split(" by ")[0].strip() for line in lines[5:10]] == [
        "None -> new",
        "new -> paid",
        "paid -> packed",
        "packed -> sent",
        "sent -> None",
    ]
    assert lines[10] == "every transition and checkpoint holds"
    actors = [line.split(" by ")[1].split(",")[0] for line in lines[6:10]]
    assert actors[0] == actors[1] != actors[2] == actors[3]
