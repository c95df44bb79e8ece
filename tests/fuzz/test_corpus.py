"""Every corpus through its fuzz target, built without a fuzzer: what was found once stays mended on every machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TARGETS = sorted(file.stem.removeprefix("fuzz_") for file in HERE.glob("fuzz_*.c"))
FILE_BYTES_MAX = 4096
FILES_MAX = 40


@pytest.fixture(scope="module")
def replayed(tmp_path_factory):
    """What `make replay` says, with nothing written into the tree."""
    if shutil.which("cc") is None or shutil.which("make") is None:
        pytest.fail("the fuzz targets need make and a C compiler: apt-get install make gcc")
    build = tmp_path_factory.mktemp("fuzz")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    command = ["make", "--no-print-directory", "-j2", "-C", str(HERE), f"BUILD={build}", "replay"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_there_are_targets():
    assert len(TARGETS) == 10


def test_each_input_of_each_corpus_is_answered_as_the_target_demands(replayed):
    assert replayed.returncode == 0, replayed.stdout[-2000:] + replayed.stderr[-2000:]
    replays = dict(re.findall(r"^(\w+): (\d+) files$", replayed.stdout, re.MULTILINE))
    assert replays == {target: str(len(list((HERE / "corpus" / target).iterdir()))) for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS)
def test_a_corpus_is_small(target):
    files = list((HERE / "corpus" / target).iterdir())
    assert 0 < len(files) <= FILES_MAX
    assert max(file.stat().st_size for file in files) <= FILE_BYTES_MAX


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_has_a_bug_of_its_own_to_find(target):
    """A safeguard that a build flag takes out (native/src/mutants.h); `make fuzz-planted` shows that it is found."""
    (name,) = re.findall(r"^FUZZ_WITHOUT\((\w+)\)$", (HERE / f"fuzz_{target}.c").read_text(encoding="utf-8"), re.MULTILINE)
    sources = [file.read_text(encoding="utf-8") for file in (HERE.parents[1] / "native" / "src").glob("*.[ch]")]
    assert sum(text.count(f"X({name},") for text in sources) == 1
    assert sum(text.count(f"MUTANT({name})") for text in sources) >= 1
