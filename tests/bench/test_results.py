from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from aegis_store.bench import results
from aegis_store.bench.rivals.absent import Missing
from aegis_store.bench.workload import open_engine
from tests.bench.facts import made_figure, made_result


class Noon:
    def now_ms(self) -> int:
        return 1_000_000_000_000


@pytest.fixture
def found(tmp_path) -> results.Facts:
    with open_engine(tmp_path / "store") as engine:
        return results.facts(tmp_path, engine.describe(), 0.5, clock=Noon())


def test_a_result_comes_back_from_its_file_with_its_samples(tmp_path):
    written = made_result(made_figure([9.0, 11.0], [10.0, 10.0]), missing=(Missing("RocksDB", "pip install it"),))
    path = results.write(written, tmp_path / "results")
    assert path.name == "made-up.json"
    assert results.read(path) == written


def test_facts_say_where_a_figure_comes_from_but_name_no_path(found, tmp_path):
    assert found.at == "2001-09-09T01:46:40+00:00"
    assert found.crc_path and found.sha_path and found.file_system and found.compiler and found.cores >= 1
    assert "lmdb" in found.peers
    assert not [each for each in (found.commit, found.file_system, found.compiler) if str(tmp_path) in each]


@pytest.fixture
def checkout(tmp_path) -> Path:
    """A checkout with one commit, and its package as it would be installed."""
    top = tmp_path / "top"
    for folder in (top / "aegis_store", tmp_path / "installed" / "aegis_store"):
        folder.mkdir(parents=True)
        (folder / "__init__.py").write_text("x = 1\n")
    (top / "native").mkdir()
    git = ["git", "-C", str(top), "-c", "user.name=t", "-c", "user.email=t@example.com"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "t"]):
        subprocess.run([*git, *command], check=True)
    return top


def test_a_commit_is_told_only_where_it_is_what_is_installed(checkout, tmp_path):
    package = tmp_path / "installed" / "aegis_store"
    assert len(results.commit_of(package, checkout)) == 40
    (checkout / "aegis_store" / "__init__.py").write_text("x = 2\n")
    assert results.commit_of(package, checkout).startswith("unknown: what is installed is not")
    (package / "__init__.py").write_text("x = 2\n")
    assert results.commit_of(package, checkout).endswith(" and changes")


def test_somebody_elses_checkout_says_nothing(checkout, tmp_path):
    (checkout / "aegis_store" / "__init__.py").unlink()
    assert results.commit_of(tmp_path / "installed" / "aegis_store", checkout) == "unknown"


def test_memory_is_no_disk():
    assert results.keeps_nothing("tmpfs (rw,rw)")
    assert not results.keeps_nothing("ext4 (rw,rw)")
