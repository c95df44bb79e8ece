from __future__ import annotations

import shutil

import pytest

from aegis_store.bench.rivals import programs

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("build", [programs.build_c_loop, programs.build_aegis_loop])
def test_a_program_compiles_runs_twice_and_reports_what_it_did(tmp_path, build, threads):
    program = build(tmp_path)
    for _ in range(2):
        sample = programs.run(program, tmp_path / "place", threads, 0.05)
        assert sample.operations >= threads
        assert sample.seconds == 0.05
        assert 0 < sample.median_us <= sample.p99_us
        assert (sample.thread_cpu_us is None) == (threads > 1)
