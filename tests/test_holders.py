"""Who has a file open that was replaced."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aegis_store.holders import holders, wait_for_holders

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="who holds a file is known where there is /proc")


def place_of(path):
    found = os.stat(path)
    return found.st_dev, found.st_ino


def test_a_process_that_has_it_open_is_named_whether_it_has_a_name_or_not(tmp_path):
    path = tmp_path / "old"
    path.write_text("text")
    place = place_of(path)
    assert holders([place]) == []
    with path.open() as file:
        path.unlink()
        (found,) = holders([place, (1, 2)])
        assert found.pid == os.getpid()
        assert found.command == Path("/proc/self/comm").read_text().strip()
        assert wait_for_holders([place], 0) == [found]
        assert file.read() == "text"
    assert wait_for_holders([place], 60) == []


def test_nobody_holds_nothing(monkeypatch):
    monkeypatch.setattr("aegis_store.holders.holders", lambda files: pytest.fail("nobody asked"))
    assert wait_for_holders([], 60) == []
