from __future__ import annotations

import os
from pathlib import Path

import pytest

from aegis_store.holders import holders, wait_for_holders

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="who holds a file is known where there is /proc")


def place(path):
    found = path.stat()
    return found.st_dev, found.st_ino


def test_who_has_a_file_open_that_has_no_name_any_more_is_named(tmp_path):
    path = tmp_path / "file"
    path.write_text("words")
    with path.open() as file:
        was = place(path)
        path.unlink()
        (found,) = holders([was])
        assert found.pid == os.getpid() and found.command
        assert wait_for_holders([was], 0) == [found]
        file.read()
    assert wait_for_holders([was], 60) == []


def test_a_file_that_got_the_number_of_one_that_was_freed_is_another_one(tmp_path):
    """A file system gives the number of a removed file to the next: a new catalogue, say, that the eraser itself has open."""
    path = tmp_path / "file"
    path.write_text("words")
    with path.open():
        assert holders([place(path)]) == []


def test_of_no_files_nobody_is_asked(monkeypatch):
    monkeypatch.setattr("aegis_store.holders.holders", None)
    assert wait_for_holders([], 60) == []
