from __future__ import annotations

from itertools import islice, pairwise

import ormsgpack
import pytest

from aegis_store._engine import make_delta
from aegis_store.bench import large
from aegis_store.bench.large import FILES, OURS, SIZES, SQLITE, edited
from tests.bench.facts import tiny


@pytest.mark.parametrize("size", [100_000, 1_000_000])
def test_states_are_as_large_as_said_and_change_little(size):
    states = [ormsgpack.packb(state) for state in islice(edited(size), 4)]
    assert all(0.7 * size < len(state) < 1.3 * size for state in states)
    for before, after in pairwise(states):
        delta = make_delta(before, after, size)
        assert 1_000 < len(delta) < 10_000
    assert [ormsgpack.packb(state) for state in islice(edited(size), 4)] == states


def test_all_sides_save_the_same(tmp_path):
    pytest.importorskip("langgraph.checkpoint.sqlite", reason="not installed: pip install '.[bench]'")
    found = large.run(tiny(tmp_path))
    for title in SIZES:
        assert set(found.samples[title]) == {OURS, SQLITE, FILES}
        assert all(each.operations == large.STEPS_QUICK for samples in found.samples[title].values() for each in samples)
        assert found.plain[f"{title}: bytes a checkpoint, {OURS}"] < found.plain[f"{title}: bytes a checkpoint, {FILES}"]
    files = sorted((tmp_path / "1-MB" / "files").iterdir())
    assert [path.name for path in files] == [f"{number:06}" for number in range(len(files))]
    assert ormsgpack.unpackb(files[-1].read_bytes())["position"] == len(files) - 1
