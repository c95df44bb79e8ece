"""Engines to play with: opened in a folder of the test's own, closed when it ends."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis_store._engine import Engine

SECRET = bytes(range(32))
STORE_ID = b"sixteen byte ids"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def opened(place):
    """Opens the store, with its secret and identity unless told otherwise."""
    engines = []

    def opener(mode="a", **options):
        options = {"secret": SECRET, "store_id": STORE_ID, **options}
        engine = Engine.open(options.pop("path", place), mode=mode, **options)
        engines.append(engine)
        return engine

    yield opener
    for engine in engines:
        engine.close()


@pytest.fixture
def fill():
    """Appends `count` records and commits them; returns what they hold, as (entry, payload)."""

    def filler(engine, tier, count, payload_bytes=100):
        first = engine.size(tier)
        records = [
            (b"entry %d of %d" % (index, tier), index.to_bytes(4, "big") * (payload_bytes // 4))
            for index in range(first, first + count)
        ]
        for index, (entry, payload) in enumerate(records, first):
            assert engine.append(tier, 1 + index % 255, entry, payload) == index
        if records:
            engine.commit(tier, first + count - 1)
        return records

    return filler
