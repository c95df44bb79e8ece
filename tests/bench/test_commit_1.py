from __future__ import annotations

import pytest

from aegis_store.bench import commit_1
from aegis_store.bench.commit_1 import C_LOOP, FROM_C, FROM_PYTHON, LMDB, SQLITE
from aegis_store.bench.rivals import programs
from tests.bench.facts import tiny


@pytest.mark.skipif(programs.compiler() is None, reason="no C compiler")
def test_the_peers_that_are_there_append_in_every_round_and_are_compared(tmp_path, monkeypatch):
    # The engine takes seconds to build, and is built in test_programs.
    monkeypatch.setattr(programs, "build_aegis_loop", programs.build_c_loop)
    found = commit_1.run(tiny(tmp_path))
    samples = found.samples["1 thread"]
    assert {C_LOOP, FROM_C, FROM_PYTHON, SQLITE, LMDB} <= set(samples)
    assert all(len(each) == 1 and each[0].operations > 0 for each in samples.values())
    assert {(each.ours, each.peer) for each in found.figures} >= {
        (FROM_C, C_LOOP),
        (FROM_PYTHON, C_LOOP),
        (FROM_PYTHON, SQLITE),
        (FROM_PYTHON, LMDB),
    }
    assert all(each.durability == "commit" for each in found.figures)


def test_without_a_c_compiler_its_rows_are_left_out_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    found = commit_1.run(tiny(tmp_path))
    assert not {C_LOOP, FROM_C} & set(found.samples["1 thread"])
    remedies = {each.name: each.remedy for each in found.missing}
    assert "install gcc or clang" in remedies[C_LOOP] and FROM_C in remedies
    assert (FROM_PYTHON, SQLITE) in {(each.ours, each.peer) for each in found.figures}
