from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from aegis_store.bench.rivals import programs
from aegis_store.bench.rivals.absent import NotHere

needs_compiler = pytest.mark.skipif(programs.compiler() is None, reason="no C compiler")


@pytest.fixture(scope="module", params=[programs.build_c_loop, programs.build_aegis_loop])
def program(request, tmp_path_factory) -> Path:
    build: Callable[[Path], Path] = request.param
    return build(tmp_path_factory.mktemp("built"))


@needs_compiler
@pytest.mark.parametrize("threads", [1, 3])
def test_a_program_compiles_runs_twice_and_reports_what_it_did(program, tmp_path, threads):
    for _ in range(2):
        sample = programs.run(program, tmp_path / "place", threads, 0.05)
        assert sample.operations >= threads
        assert sample.seconds == 0.05
        assert 0 < sample.median_us <= sample.p99_us
        assert (sample.thread_cpu_us is None) == (threads > 1)


@needs_compiler
def test_what_was_built_is_not_built_again(tmp_path):
    first = programs.build_c_loop(tmp_path)
    built = first.stat().st_mtime_ns
    assert programs.build_c_loop(tmp_path).stat().st_mtime_ns == built


@needs_compiler
def test_sources_that_do_not_compile_are_named_with_the_first_error(tmp_path):
    (tmp_path / "bad.c").write_text("int main(void) { return nothing; }\n")
    with pytest.raises(NotHere, match=r"cannot build it: .*nothing"):
        programs._compile("bad", tmp_path / "bad", [tmp_path / "bad.c"], [])


def test_the_users_compiler_is_taken_with_its_options(monkeypatch):
    monkeypatch.setenv("CC", "sh -x")
    assert programs.compiler() == ["sh", "-x"]
    monkeypatch.setenv("CC", "no-such-compiler")
    assert programs.compiler() is None


def test_without_a_compiler_or_sources_it_is_said_what_is_needed(tmp_path, monkeypatch):
    with pytest.raises(NotHere, match="sources are not here"):
        programs.build_aegis_loop(tmp_path, native=None)
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(NotHere, match="install gcc or clang"):
        programs.build_c_loop(tmp_path)


def test_the_engines_sources_come_with_the_package():
    assert programs.NATIVE is not None
    assert (programs.NATIVE / "src" / "api.c").is_file()
    assert (programs.NATIVE / "src" / "x86" / "crc32c_sse42.c").is_file()
