"""Graphs, savers and made-up checkpoints for the tests of this directory."""

from __future__ import annotations

from pathlib import Path

import pytest

REASON = "LangGraph is not installed: pip install '.[test]'"

pytest.importorskip("langgraph.checkpoint.base", reason=REASON)

import aegis_store  # noqa: E402
from aegis_store import Config, TierDurability  # noqa: E402
from aegis_store.adapters.langgraph import AegisSaver  # noqa: E402

#: Nothing here is about what survives a power cut.
UNSYNCED = Config(durability=TierDurability(session="write"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(place):
    with aegis_store.open(place, config=UNSYNCED) as opened:
        yield opened


@pytest.fixture
def saver(store):
    return AegisSaver(store)
