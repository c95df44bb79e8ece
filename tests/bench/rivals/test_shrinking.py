from __future__ import annotations

import pytest

from aegis_store.bench.rivals import shrinking

ROWS = [(name, ordinal, bytes([ordinal]) * 5000) for name in ("a", "b") for ordinal in range(20)]


def bytes_in(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def test_sqlite_keeps_the_newest_and_gives_the_space_back(tmp_path):
    shrinking.fill_sqlite(tmp_path / "db", iter(ROWS))
    before = bytes_in(tmp_path / "db")
    assert shrinking.count_sqlite(tmp_path / "db") == 40
    shrinking.shrink_sqlite(tmp_path / "db", 3)
    assert shrinking.count_sqlite(tmp_path / "db") == 6
    assert bytes_in(tmp_path / "db") < before / 3


def test_rocksdb_lets_go_what_it_is_told_and_gives_the_space_back(tmp_path):
    pytest.importorskip("rocksdict")
    shrinking.fill_rocksdb(tmp_path / "db", iter(ROWS))
    assert shrinking.count_rocksdb(tmp_path / "db") == 40
    shrinking.shrink_rocksdb(tmp_path / "db", [(name, ordinal) for name, ordinal, _ in ROWS if ordinal < 17])
    assert shrinking.count_rocksdb(tmp_path / "db") == 6
