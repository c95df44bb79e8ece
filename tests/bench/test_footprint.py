from __future__ import annotations

from aegis_store.bench import footprint
from tests.bench.facts import tiny


def test_a_small_store_is_weighed_and_a_child_of_its_own_tells_its_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(footprint, "LOOKS_QUICK", (5, 10, 20))
    plain = footprint.run(tiny(tmp_path)).plain
    assert 0 < plain["bytes on disk with one checkpoint, store closed"] < 1 << 20
    assert plain["RssAnon at 20 checkpoints"] > 1 << 20
    assert plain["of those wanted"].endswith("met")


def test_a_system_that_does_not_tell_memory_has_its_disk_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(footprint, "STATUS", tmp_path / "no-such-file")
    found = footprint.run(tiny(tmp_path))
    assert [each.name for each in found.missing] == ["memory"]
    assert found.plain["of those wanted"].endswith("met")
