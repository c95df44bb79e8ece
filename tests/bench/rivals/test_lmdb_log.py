from __future__ import annotations

import pytest

from aegis_store.bench.measure import run_threads_for
from aegis_store.bench.rivals import lmdb_log
from aegis_store.bench.rivals.absent import NotHere
from aegis_store.bench.rivals.lmdb_log import LmdbLog


def test_every_append_is_there_and_is_synced(tmp_path):
    with LmdbLog(tmp_path / "log") as log:
        counted = run_threads_for([log.work(b"e", b"p")] * 3, 0.05).operations
        assert log.count() >= counted > 0
        assert log._environment.flags()["sync"] and log._environment.flags()["metasync"]


def test_without_the_package_it_says_so(tmp_path, monkeypatch):
    def absent(module: str, name: str, package: str) -> None:
        raise NotHere(name, package)

    monkeypatch.setattr(lmdb_log, "demand", absent)
    with pytest.raises(NotHere, match="LMDB"):
        LmdbLog(tmp_path / "log")
