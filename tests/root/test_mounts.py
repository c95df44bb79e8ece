"""A file system that changes under a store: it becomes read-only, or is unmounted and lives on while somebody has it open."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import aegis_store
from aegis_store.errors import AegisError, ReadOnly
from tests.root.disks import MIB, FileSystem, memory_file_system, run
from tests.stores import SMALL, noise, snapshot, states

pytestmark = pytest.mark.root


@pytest.fixture
def fs(tmp_path: Path) -> Iterator[FileSystem]:
    with memory_file_system(tmp_path, 32 * MIB) as found:
        yield found


def saved_in(fs: FileSystem, count: int = 5) -> list[object]:
    with aegis_store.open(fs.place / "state", config=SMALL) as store:
        for number in range(count):
            store.session("s").checkpoint(noise(3000, number))
        return states(store, "s")


def test_a_store_on_a_read_only_mount_is_read_and_nothing_is_changed(fs):
    saved = saved_in(fs)
    run("mount", "-o", "remount,ro", fs.place)
    before = snapshot(fs.place)
    with aegis_store.open(fs.place / "state", mode="r") as store:
        assert states(store, "s") == saved
        assert store.verify(deep=True).ok
    with pytest.raises(ReadOnly):
        aegis_store.open(fs.place / "state")
    assert snapshot(fs.place) == before
    run("mount", "-o", "remount,rw", fs.place)
    with aegis_store.open(fs.place / "state") as store:
        store.session("s").checkpoint("writable again")


def test_a_file_system_that_a_writer_has_open_does_not_become_read_only(fs):
    with aegis_store.open(fs.place / "state") as store:
        with pytest.raises(AssertionError, match="busy"):
            run("mount", "-o", "remount,ro", fs.place)
        store.session("s").checkpoint("goes on")


def test_a_store_under_an_unmounted_path_is_whole_until_it_is_closed(fs):
    """`umount -l` takes the name away and leaves what is open. The writer goes on; who follows the path finds nothing."""
    other = fs.place.with_name("elsewhere")
    other.mkdir()
    run("mount", "--bind", fs.place, other)
    try:
        store = aegis_store.open(fs.place / "state", keys=fs.place.with_suffix(".keys"), config=SMALL)
        try:
            store.session("s").checkpoint("before")
            run("umount", "-l", fs.place)
            store.session("s").checkpoint("after")
            assert states(store, "s") == ["before", "after"]
            with pytest.raises(AegisError):
                aegis_store.open(fs.place / "state", keys=fs.place.with_suffix(".keys"), mode="r")
        finally:
            store.close()
        with aegis_store.open(other / "state", keys=fs.place.with_suffix(".keys")) as store:
            assert states(store, "s") == ["before", "after"]
    finally:
        run("umount", "-l", other)
