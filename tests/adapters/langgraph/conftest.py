"""What the tests of this directory share. Without LangGraph each of their files is skipped, and says so."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

import aegis_store
from aegis_store import Config, TierDurability

REASON = "LangGraph is not installed: pip install '.[test]'"
#: Nothing here is about what survives a power cut.
UNSYNCED = Config(durability=TierDurability(session="write"))


class Absent(pytest.Module):
    """A file of tests that is not even imported."""

    def collect(self):
        pytest.skip(REASON, allow_module_level=True)


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    if find_spec("langgraph") is None or find_spec("langgraph.checkpoint") is None:
        return Absent.from_parent(parent, path=module_path)
    return None


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(place):
    with aegis_store.open(place, config=UNSYNCED) as opened:
        yield opened


@pytest.fixture
def saver(store):
    from aegis_store.adapters.langgraph import AegisSaver

    return AegisSaver(store)
