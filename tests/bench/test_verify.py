from __future__ import annotations

import shutil

import pytest

import aegis_store
from aegis_store.bench import verify
from aegis_store.bench.rivals import programs
from aegis_store.bench.verify import DEEP, DEEP_SMALL, HASH_LOOP, OURS, SHA256
from tests.bench.facts import tiny


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_store_is_verified_beside_loops_that_hash_the_same(tmp_path):
    found = verify.run(tiny(tmp_path, records=300))
    assert found.missing == []
    assert set(found.samples["all"]) == {OURS, HASH_LOOP, SHA256}
    # Keys and session-begins are records too.
    assert {each[0].operations for each in found.samples["all"].values()} == {found.plain["records"]}
    assert found.plain["records"] > 300
    wanted = {(each.ours, each.wanted) for each in found.figures if each.wanted}
    assert wanted == {(OURS, ">= 0.8"), (DEEP, ">= 0.8"), (DEEP_SMALL, ">= 0.8")}


def test_damage_ends_the_run(tmp_path):
    verify._build(tmp_path / "store", 20, ["a state"])
    path = next((tmp_path / "store" / "session").glob("*.seg"))
    raw = bytearray(path.read_bytes())
    with aegis_store.open(tmp_path / "store", mode="r") as store:
        raw[12288 + 60] ^= 1
        path.write_bytes(raw)
        with pytest.raises(RuntimeError, match="is damaged"):
            verify._verify(store, deep=False)


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_loop_that_saw_other_records_is_not_compared_with(tmp_path):
    verify._build(tmp_path / "store", 20, ["a state"])
    run_round = verify._hash_loop(tiny(tmp_path), sorted((tmp_path / "store" / "session").glob("*.seg")), 0, 999)
    with pytest.raises(RuntimeError, match="where the store has 999"):
        run_round()
    assert (tmp_path / "hash_loop").is_file() and programs.compiler() is not None
