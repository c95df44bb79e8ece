"""A store in numbers: what it takes on the disk, and what its tiers hold."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import msgspec

from aegis_store._engine import Engine, TierStats
from aegis_store.catalog import Catalog
from aegis_store.types import Tier

CATALOG_FOLDER: Final = "catalog"


class StoreStats(msgspec.Struct, frozen=True, kw_only=True):
    """A store in numbers. `disk_bytes` is what its directory takes, everything in it counted."""

    path: str
    name: str
    store_id: str
    disk_bytes: int
    catalogue_bytes: int
    catalogue_problem: str | None
    tiers: dict[str, TierStats]


def stats_of(path: Path, engine: Engine, catalog: Catalog) -> StoreStats:
    """An open store as it is now."""
    about = engine.describe()
    return StoreStats(
        path=str(path),
        name=about.name,
        store_id=about.store_id.hex(),
        disk_bytes=disk_bytes(path),
        catalogue_bytes=disk_bytes(path / CATALOG_FOLDER),
        catalogue_problem=catalog.broken,
        tiers={tier.label: engine.stats(tier) for tier in Tier if engine.size(tier) > 0},
    )


def disk_bytes(folder: Path) -> int:
    """What a folder takes on its file system, everything in it counted: allocated blocks, as `du` counts them."""
    total = 0
    for root, folders, files in os.walk(folder):
        for each in (*folders, *files):
            try:
                total += os.lstat(os.path.join(root, each)).st_blocks * 512
            except FileNotFoundError:
                continue  # a file that was replaced while we looked
    return total
