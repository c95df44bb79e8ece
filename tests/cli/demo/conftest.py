"""A small library of modules, in place of Python's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis_store.cli.demo.tasks import LibraryPlan, stdlib_plan


@pytest.fixture
def library(tmp_path) -> LibraryPlan:
    """24 modules in two folders."""
    top = tmp_path / "library"
    for number in range(24):
        file = top / ("even" if number % 2 == 0 else "odd") / f"m{number:02}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"import os\n\n\ndef f{number}():\n    return '{'x' * number}'\n" * (number + 1))
    return stdlib_plan(top)


class Steady:
    """Randomness that is always the same, so that the kill comes right after the acknowledgement."""

    def draw(self, count: int) -> bytes:
        return bytes(count)


@pytest.fixture
def place(tmp_path) -> Path:
    """Where a story may happen."""
    path = tmp_path / "place"
    path.mkdir()
    return path
