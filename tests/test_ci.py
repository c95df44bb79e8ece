"""What CI does is what README.md says, and it skips nothing that nobody has named."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[1]


def test_ci_runs_the_two_commands_of_the_readme():
    readme = (TOP / "README.md").read_text(encoding="utf-8")
    script = (TOP / ".ci" / "run").read_text(encoding="utf-8")
    for name in ("set-up", "test"):
        assert len(re.findall(rf"^<!-- command: {name} -->\n```sh\n.+\n```$", readme, re.MULTILINE)) == 1
        assert re.search(rf"readme {name}$", script, re.MULTILINE)
    assert readme.count("<!-- command: ") == 2


@pytest.fixture
def run_with_skips(tmp_path):
    """Runs two tests that are skipped, under this project's conftest.py and a list of skips: the exit code and the output."""

    def run(listing: str, *, ci: bool = True) -> tuple[int, str]:
        tests = tmp_path / "tests"
        tests.mkdir(exist_ok=True)
        shutil.copy(TOP / "tests" / "conftest.py", tests)
        (tests / "skips.txt").write_text(listing)
        (tests / "test_a.py").write_text(
            "import pytest\n@pytest.mark.parametrize('n', [1, 2])\ndef test_b(n):\n    pytest.skip('no such device')\n"
        )
        (tmp_path / "pytest.ini").touch()
        environment = {name: value for name, value in os.environ.items() if name != "CI"} | ({"CI": "true"} if ci else {})
        command = [sys.executable, "-P", "-m", "pytest", "--import-mode=importlib", "-p", "no:cacheprovider", "tests"]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    return run


def test_a_skip_that_is_not_listed_fails_ci(run_with_skips):
    code, said = run_with_skips("# none\n")
    assert code == 1
    assert "tests/test_a.py::test_b[2]: Skipped: no such device" in said
    assert run_with_skips("tests/test_a.py::test_b[1]  needs a device\n")[0] == 1


@pytest.mark.parametrize("line", ["tests/test_a.py::test_b", "tests/test_a.py", "tests/"])
def test_listed_skips_pass_ci(run_with_skips, line):
    assert run_with_skips(f"{line}  needs a device\n")[0] == 0


def test_skips_are_free_outside_of_ci(run_with_skips):
    assert run_with_skips("", ci=False)[0] == 0
