"""Tables in LMDB."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import lmdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store.catalog import disk, sidecar
from aegis_store.catalog.disk import DiskTables
from aegis_store.catalog.memory import MemoryTables
from aegis_store.catalog.sidecar import Seal
from aegis_store.catalog.tables import Table, no_updates, number_key
from aegis_store.errors import Locked
from aegis_store.types import Head, Tier

HEAD = Head(tier=Tier.SESSION, size=5, root=bytes(32))


@pytest.fixture
def open_tables(kit, place: Path):
    """Open them in one place; close what a test leaves open."""
    opened = []

    def open_tables(directory: Path = place, *, vouch=lambda covers: True, map_bytes: int = 1 << 24) -> DiskTables:
        seal = Seal(mac_key=kit.MAC_KEY, store_id=kit.STORE_ID)
        opened.append(DiskTables(directory, seal=seal, vouch=vouch, map_bytes=map_bytes))
        return opened[-1]

    yield open_tables
    for tables in opened:
        tables.close()


def put(tables, items: dict[bytes, bytes], table: Table = Table.IDS) -> None:
    tables.write(no_updates() | {table: items})


def test_what_was_vouched_for_is_there_again(open_tables) -> None:
    tables = open_tables()
    assert tables.covers == []
    put(tables, {b"k": b"v"})
    tables.vouch([HEAD])
    again = open_tables()
    assert again.covers == [HEAD]
    assert again.get(Table.IDS, b"k") == b"v"
    assert again.get(Table.TAGS, b"k") is None


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("synced", [True, False])
def test_the_file_is_synced_before_it_is_vouched_for(open_tables, place: Path, monkeypatch, synced: bool, packed: bool) -> None:
    calls = []
    if not packed:
        monkeypatch.setattr(disk, "PACKED_MAX", 0)
    tables = open_tables()
    write = tables._seal.write

    class Spy:
        def __init__(self, env: lmdb.Environment) -> None:
            self.env = env

        def __getattr__(self, name: str):
            if name not in ("stat", "info"):
                calls.append(name)
            return getattr(self.env, name)

    if synced:
        put(tables, {b"k": b"v"})
    else:
        tables.vouch([])
        tables = open_tables()
    tables._env = Spy(tables._env)
    monkeypatch.setattr(Seal, "write", lambda *a: calls.append("sidecar") or write(*a[1:]))
    fsync, rename = os.fsync, os.rename
    named = {os.stat(place).st_ino: "folder"}
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(f"fsync {named.get(os.fstat(fd).st_ino, 'file')}") or fsync(fd))
    monkeypatch.setattr(os, "rename", lambda *a, **k: calls.append(f"rename {a[1]}") or rename(*a, **k))
    tables.vouch([HEAD])
    to_disk = ["copyfd", "fsync file", "close", "rename data.mdb"] if packed else ["sync", "close"]
    # The folder's own sync comes with the sidecar's: both names are there, or the sidecar is not.
    assert calls == [*(to_disk if synced else ["close"]), "sidecar", "fsync file", "rename sidecar", "fsync folder"]


def test_a_close_without_vouching_leaves_nothing_to_open(open_tables) -> None:
    tables = open_tables()
    put(tables, {b"k": b"v"})
    tables.close()
    again = open_tables()
    assert again.covers == []
    assert again.get(Table.IDS, b"k") is None


def test_the_sidecar_goes_before_the_first_transaction_and_durably(open_tables, place: Path, monkeypatch) -> None:
    open_tables().vouch([HEAD])
    tables = open_tables()
    assert tables.get(Table.IDS, b"k") is None
    assert (place / "sidecar").exists()  # looking things up leaves it
    seen = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: seen.append(((place / "sidecar").exists(), os.fstat(fd).st_ino)) or sync(fd))
    monkeypatch.setattr(DiskTables, "_put", staticmethod(lambda *_: seen.append("put")))
    put(tables, {b"k": b"v"})
    assert seen[:2] == [(False, place.stat().st_ino), "put"]


def test_to_open_a_file_and_look_things_up_changes_no_byte_of_it(open_tables, place: Path) -> None:
    tables = open_tables()
    put(tables, {b"k": b"v"})
    tables.vouch([HEAD])
    before = (place / "data.mdb").read_bytes(), (place / "data.mdb").stat().st_mtime_ns
    tables = open_tables()
    assert tables.get(Table.IDS, b"k") == b"v"
    tables.close()
    assert ((place / "data.mdb").read_bytes(), (place / "data.mdb").stat().st_mtime_ns) == before
    assert open_tables().covers == [HEAD]


def test_nothing_written_means_nothing_to_vouch_for_again(open_tables, place: Path) -> None:
    open_tables().vouch([HEAD])
    before = (place / "sidecar").stat()
    open_tables().vouch([HEAD])
    assert (place / "sidecar").stat().st_ino == before.st_ino
    open_tables().vouch([Head(tier=Tier.SESSION, size=6, root=bytes(32))])
    assert [cover.size for cover in open_tables().covers] == [6]


def test_a_cover_that_does_not_fit_the_log_starts_empty(open_tables) -> None:
    tables = open_tables()
    put(tables, {b"k": b"v"})
    tables.vouch([HEAD])
    asked = []
    again = open_tables(vouch=lambda covers: asked.append(covers))
    assert asked == [[HEAD]]
    assert again.covers == []
    assert again.get(Table.IDS, b"k") is None


def test_a_file_that_lmdb_refuses_starts_empty_though_vouched_for(open_tables, kit, place: Path) -> None:
    place.mkdir()
    (place / "data.mdb").write_bytes(b"of another machine" * 1_000)
    descriptor = os.open(place, os.O_RDONLY)
    Seal(mac_key=kit.MAC_KEY, store_id=kit.STORE_ID).write(descriptor, [HEAD])
    os.close(descriptor)
    tables = open_tables()
    assert tables.covers == []
    put(tables, {b"k": b"v"})
    tables.vouch([HEAD])
    assert open_tables().get(Table.IDS, b"k") == b"v"


def test_the_map_grows_when_it_is_full(open_tables) -> None:
    tables = open_tables(map_bytes=65_536)
    items = {b"%06d" % number: os.urandom(500) for number in range(3_000)}
    put(tables, {b"first": b"kept"})
    put(tables, items)
    assert tables._live().info()["map_size"] >= 3_000 * 500
    assert all(tables.get(Table.IDS, key) == value for key, value in items.items())
    assert tables.get(Table.IDS, b"first") == b"kept"
    tables.vouch([HEAD])
    again = open_tables(map_bytes=65_536)
    assert again.covers == [HEAD]
    put(again, {key + b"x": value for key, value in items.items()})
    assert again.get(Table.IDS, b"000000x") == items[b"000000"]


def test_any_other_failure_writes_nothing_and_is_not_retried(open_tables, monkeypatch) -> None:
    tables = open_tables()
    put(tables, {b"a": b"1"})
    monkeypatch.setattr(DiskTables, "_put", staticmethod(lambda *_: (_ for _ in ()).throw(lmdb.DiskError("no space"))))
    with pytest.raises(lmdb.DiskError):
        put(tables, {b"a": b"2"})
    assert tables.get(Table.IDS, b"a") == b"1"


def test_one_environment_a_process(open_tables, place: Path, tmp_path: Path) -> None:
    first = open_tables()
    (tmp_path / "alias").symlink_to(tmp_path)
    for way in (place, tmp_path / "alias" / "catalog"):
        with pytest.raises(Locked, match="open in this process already"):
            open_tables(way)
    put(first, {b"k": b"v"})  # and is none the worse for it
    first.vouch([HEAD])
    second = open_tables()
    assert second.get(Table.IDS, b"k") == b"v"
    first.close()  # again: must not free the place of the second
    with pytest.raises(Locked):
        open_tables()


def test_an_environment_that_was_dropped_is_open_no_more(kit, place: Path) -> None:
    seal = Seal(mac_key=kit.MAC_KEY, store_id=kit.STORE_ID)
    descriptors = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        tables = DiskTables(place, seal=seal, vouch=lambda covers: True, map_bytes=1 << 20)
        del tables
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert not disk._here


def test_a_forked_child_inherits_no_claim(kit, open_tables) -> None:
    open_tables()
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with disk._here_lock:
            held.set()
            done.wait()

    def child() -> None:
        assert disk._here_lock.acquire(blocking=False)
        assert not disk._here

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    kit.in_child(child)
    done.set()
    thread.join()
    assert len(disk._here) == 1


def test_a_failed_open_leaves_no_descriptor_and_no_claim(kit, place: Path, monkeypatch) -> None:
    seal = Seal(mac_key=kit.MAC_KEY, store_id=kit.STORE_ID)
    descriptors = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(lmdb, "open", lambda *_, **__: (_ for _ in ()).throw(lmdb.Error("no")))
    with pytest.raises(lmdb.Error):
        DiskTables(place, seal=seal, vouch=lambda covers: True, map_bytes=1 << 20)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    assert not disk._here


def test_a_symbolic_link_in_the_directory_s_place_is_not_followed(open_tables, place: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "data.mdb").write_text("precious")
    place.symlink_to("victim")
    with pytest.raises(OSError):
        open_tables()
    assert (tmp_path / "victim" / "data.mdb").read_text() == "precious"


def test_a_copy_made_of_hard_links_gets_a_file_of_its_own(open_tables, place: Path, tmp_path: Path) -> None:
    tables = open_tables()
    put(tables, {b"k": b"v"})
    tables.vouch([HEAD])
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("data.mdb", "sidecar"):
        os.link(place / name, copy / name)
    before = (place / "data.mdb").read_bytes()
    put(open_tables(copy), {b"k": b"of the copy"})
    assert (place / "data.mdb").read_bytes() == before


def test_a_discarded_file_is_gone(open_tables, place: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    tables = open_tables()
    put(tables, {b"k": b"v"})
    tables.discard()
    assert os.listdir(place) == []
    assert len(os.listdir("/proc/self/fd")) == descriptors
    with pytest.raises(lmdb.Error):
        tables.get(Table.IDS, b"k")


def test_nobody_else_can_read_it(open_tables, place: Path) -> None:
    open_tables().vouch([])
    assert place.stat().st_mode & 0o077 == 0
    assert [file.stat().st_mode & 0o077 for file in place.iterdir()] == [0, 0]


keys = st.binary(min_size=1, max_size=6)


@given(
    st.lists(st.dictionaries(keys, st.binary(max_size=2_000), max_size=8), max_size=6), st.integers(0, 40), st.integers(1, 5)
)
def test_it_holds_what_memory_would(kit, tmp_path_factory, batches, after: int, limit: int) -> None:
    seal = Seal(mac_key=kit.MAC_KEY, store_id=kit.STORE_ID)
    tables = DiskTables(tmp_path_factory.mktemp("d") / "c", seal=seal, vouch=lambda covers: True, map_bytes=1 << 16)
    memory = MemoryTables()
    for batch in batches:
        for each in (tables, memory):
            put(each, batch)
            put(each, {number_key(len(key) * 7): value for key, value in batch.items()}, Table.SESSIONS)
    for key in {key for batch in batches for key in batch} | {b"absent"}:
        assert tables.get(Table.IDS, key) == memory.get(Table.IDS, key)
    for start in (number_key(after), b""):
        assert tables.sessions_after(start, limit) == memory.sessions_after(start, limit)
    tables.close()


def test_the_sidecar_s_names_are_lmdb_s(open_tables, place: Path) -> None:
    open_tables()
    assert os.listdir(place) == [sidecar.DATA]


def test_a_small_file_loses_its_free_pages_at_a_clean_close(open_tables, place: Path, monkeypatch) -> None:
    sizes, items = [], {number_key(number): bytes(300) for number in range(400)}
    for most in (0, disk.PACKED_MAX):
        monkeypatch.setattr(disk, "PACKED_MAX", most)
        tables = open_tables()
        for _ in range(3):
            put(tables, items)
        tables.vouch([HEAD])
        sizes.append((place / "data.mdb").stat().st_size)
        assert sorted(os.listdir(place)) == ["data.mdb", "sidecar"]
        again = open_tables()
        assert again.covers == [HEAD]
        assert all(again.get(Table.IDS, key) == value for key, value in items.items())
        again.close()
    assert sizes[1] < 0.6 * sizes[0]


@pytest.mark.parametrize("failing", ["copy", "sync"])
def test_a_file_that_cannot_be_written_anew_stays_as_it_is(open_tables, place: Path, monkeypatch, failing: str) -> None:
    tables = open_tables()
    put(tables, {b"k": b"v"})

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "no space")

    if failing == "copy":
        (place / sidecar.PACKED).symlink_to(place / "elsewhere")
        tables.vouch([HEAD])
    else:
        with monkeypatch.context() as patch:
            patch.setattr(disk.os, "fsync", lambda fd: fail() if os.readlink(f"/proc/self/fd/{fd}").endswith("new") else None)
            assert tables._pack(tables._live()) is False
        tables.vouch([HEAD])
    assert not (place / "elsewhere").exists()
    assert sorted(os.listdir(place)) == ["data.mdb", "sidecar"]
    again = open_tables()
    assert again.covers == [HEAD] and again.get(Table.IDS, b"k") == b"v"


def test_a_crash_between_the_copy_and_its_place_leaves_nothing_that_is_vouched_for(open_tables, monkeypatch) -> None:
    tables = open_tables()
    put(tables, {b"k": b"v"})
    with monkeypatch.context() as patch:
        patch.setattr(disk.os, "rename", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tables.vouch([HEAD])
    tables.close()
    assert open_tables().covers == []
