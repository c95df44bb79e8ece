"""A store in numbers."""

from __future__ import annotations

import aegis_store
from aegis_store import Config
from aegis_store.stats import disk_bytes


def test_a_store_in_numbers(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place, config=Config(align="block")) as store:
        assert store.stats().tiers == {}
        for number in range(5):
            store.session("s").checkpoint(number)
        before = disk_bytes(place)
        stats = store.stats()
        assert (list(stats.tiers), stats.tiers["session"].size) == (["session"], 7)
        assert before <= stats.disk_bytes <= disk_bytes(place)  # space is zeroed ahead meanwhile
        assert disk_bytes(place) >= stats.tiers["session"].file_bytes
        assert 0 < stats.catalogue_bytes < stats.disk_bytes
        assert stats.store_id == store.keys.store_id.hex()
    (place / "ghost").symlink_to(place / "nowhere")
    assert disk_bytes(place) < 1 << 20
