"""docs/GUIDE.md: what stands there works, and its tables are true."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from aegis_store import Config, errors

GUIDE = (Path(__file__).resolve().parent.parent / "docs" / "GUIDE.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.S | re.M)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the examples were run, in order, as one program."""
    folder = tmp_path_factory.mktemp("guide")
    (folder / "guide.py").write_text("\n".join(blocks("python")))
    done = subprocess.run(
        [sys.executable, "-P", "guide.py"], cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return folder


def test_the_examples_run_in_order(folder):
    assert len(blocks("python")) > 10
    assert (folder / "state" / "MANIFEST").exists()


COMMANDS = [line for block in blocks("sh") for line in block.splitlines()]


def test_the_commands_run_in_order(folder):
    # The types are imported from a module without the examples' effects.
    code = blocks("python")
    (folder / "guide.py").write_text(next(block for block in code if "class Ticket" in block).partition("\n\nstore.close()")[0])
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    aegis = Path(sys.executable).with_name("aegis")
    assert len(COMMANDS) > 8
    for line in COMMANDS:
        words = shlex.split(line)
        assert words[0] == "aegis"
        done = subprocess.run(
            [aegis, *words[1:]], cwd=folder, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        # Health may have something to say about a store that nobody looks after.
        assert done.returncode == 0 or (words[1] == "health" and done.returncode == 1), (line, done.stdout, done.stderr)
        assert done.stdout.strip() or done.stderr.strip(), line


def test_every_option_stands_in_the_table_with_its_default():
    table = GUIDE.partition("<!-- options:")[2].partition("```")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", table, re.M))
    assert list(rows) == list(Config.__struct_fields__)
    defaults = Config()
    for name in ("align", "segment_bytes", "cache_bytes", "state_limit_bytes", "allow_network"):
        stands = rows[name].strip('`"')
        assert stands == str(getattr(defaults, name)).lower(), name
    durability = msgspec.structs.asdict(defaults.durability)
    for part in rows["durability"].split(";"):
        tiers, _, value = part.partition(":")
        for tier in re.findall(r"\w+", tiers):
            assert durability.pop(tier) == re.findall(r"\w+", value)[0]
    assert durability == {}


def test_every_error_that_is_named_is_there():
    table = GUIDE.partition("| error | what it means |")[2].partition("##")[0]
    named = set(re.findall(r"`([A-Z]\w+)`", table)) - {"TypeError", "ValueError"}
    assert len(named) > 20
    for name in named:
        assert issubclass(getattr(errors, name), errors.AegisError)
