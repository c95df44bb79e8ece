from __future__ import annotations

import pytest

from aegis_store.bench.measure import run_threads_for
from aegis_store.bench.rivals.rocksdb_log import RocksLog


def test_every_append_is_there_and_is_synced(tmp_path):
    pytest.importorskip("rocksdict", reason="not installed: pip install '.[bench]'")
    with RocksLog(tmp_path / "log") as log:
        counted = run_threads_for([log.work(b"e", b"p")] * 3, 0.05).operations
        assert log.count() >= counted > 0
        assert log._synced.sync is True
