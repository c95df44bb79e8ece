from __future__ import annotations

from aegis_store.bench import overhead
from aegis_store.bench.rivals import programs
from tests.bench.facts import tiny


def test_a_whole_checkpoint_is_compared_with_the_bare_loop(tmp_path, monkeypatch):
    made = tmp_path / "loop"
    made.write_text(
        '#!/bin/sh\necho \'{"operations": 5, "seconds": 1, "median_us": 1, "p99_us": 1, "cpu_us": 1, "thread_cpu_us": 1}\'\n'
    )
    made.chmod(0o755)
    monkeypatch.setattr(programs, "build_c_loop", lambda folder: made)
    found = overhead.run(tiny(tmp_path))
    wall = next(each for each in found.figures if each.ours == overhead.TEXT)
    assert wall.comparison == "over" and wall.wanted == "<= 60"
    assert wall.compared.median == wall.ours_value.median - 1 > 0


def test_without_the_loop_there_is_nothing_to_compare_and_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("CC", "no-such-compiler")
    found = overhead.run(tiny(tmp_path))
    assert found.figures == [] and [each.name for each in found.missing] == [programs.C_LOOP]
    assert found.samples["1 thread"][overhead.TEXT][0].operations > 0
