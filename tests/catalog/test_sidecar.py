"""The sidecar's conditions, by their numbers. Everything here is done with no LMDB at all: the file is any file."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from aegis_store.catalog import sidecar
from aegis_store.catalog.sidecar import Seal
from aegis_store.types import Head, Tier

COVERS = [Head(tier=Tier.AUDIT, size=7, root=b"a" * 32), Head(tier=Tier.SESSION, size=70_000_000_000, root=b"s" * 32)]


@pytest.fixture
def seal(kit) -> Seal:
    return Seal(mac_key=kit.MAC_KEY, store_id=kit.STORE_ID)


@pytest.fixture
def directory(tmp_path: Path, seal: Seal) -> Iterator[int]:
    (tmp_path / "data.mdb").write_bytes(os.urandom(700))
    descriptor = os.open(tmp_path, os.O_RDONLY)
    seal.write(descriptor, COVERS)
    yield descriptor
    os.close(descriptor)


def test_what_was_written_is_read_back(directory: int, seal: Seal, tmp_path: Path) -> None:
    assert seal.read(directory) == COVERS
    assert sorted(os.listdir(tmp_path)) == ["data.mdb", "sidecar"]
    seal.write(directory, [])
    assert seal.read(directory) == []


def test_it_is_laid_out_as_the_module_says(directory: int, tmp_path: Path, kit) -> None:
    raw = (tmp_path / "sidecar").read_bytes()
    assert len(raw) == 72 + 2 * 48 + 32
    assert struct.unpack_from("<8sII16sQ", raw) == (b"AEGISCAT", 4, 2, kit.STORE_ID, 700)
    assert struct.unpack_from("<IIQ32s", raw, 72 + 48) == (3, 0, 70_000_000_000, b"s" * 32)


def test_1_another_store_is_refused(directory: int, seal: Seal, kit) -> None:
    assert Seal(mac_key=kit.MAC_KEY, store_id=bytes(16)).read(directory) is None


@pytest.mark.parametrize(("at", "size"), [(0, 8), (8, 4), (12, 4)])
def test_1_magic_version_and_length_count_even_under_a_good_code(
    directory: int, seal: Seal, tmp_path: Path, at: int, size: int
) -> None:
    raw = (tmp_path / "sidecar").read_bytes()
    body = raw[:at] + b"\x05" + b"\x00" * (size - 1) + raw[at + size : -32]
    (tmp_path / "sidecar").write_bytes(body + seal._mac(body))
    assert seal.read(directory) is None


def flipped(file: Path) -> Iterator[int]:
    """Each bit of the file in turn, flipped while the caller looks."""
    with file.open("r+b", buffering=0) as raw:
        for bit, byte in ((bit, byte) for byte in range(file.stat().st_size) for bit in range(8)):
            good = os.pread(raw.fileno(), 1, byte)
            os.pwrite(raw.fileno(), bytes([good[0] ^ 1 << bit]), byte)
            yield byte * 8 + bit
            os.pwrite(raw.fileno(), good, byte)


def test_2_every_flipped_bit_is_refused(directory: int, seal: Seal, tmp_path: Path) -> None:
    tried = [seal.read(directory) for _ in flipped(tmp_path / "sidecar")]
    assert tried == [None] * 200 * 8
    assert seal.read(directory) == COVERS


def test_2_every_truncation_and_anything_appended_is_refused(directory: int, seal: Seal, tmp_path: Path) -> None:
    file = tmp_path / "sidecar"
    raw = file.read_bytes()
    for size in range(len(raw)):
        file.write_bytes(raw[:size])
        assert seal.read(directory) is None, size
    for more in (b"\x00", raw, bytes(1 << 20)):
        file.write_bytes(raw + more)
        assert seal.read(directory) is None


def test_2_another_key_is_refused(directory: int, kit) -> None:
    assert Seal(mac_key=b"x" * 32, store_id=kit.STORE_ID).read(directory) is None


def test_2_a_missing_sidecar_vouches_for_nothing(directory: int, seal: Seal) -> None:
    sidecar.remove(directory)
    assert seal.read(directory) is None
    sidecar.remove(directory)


@pytest.mark.parametrize("instead", [699, 701, 0])
def test_3_another_size_is_refused(directory: int, seal: Seal, tmp_path: Path, instead: int) -> None:
    os.truncate(tmp_path / "data.mdb", instead)
    assert seal.read(directory) is None


def test_3_a_missing_file_is_refused(directory: int, seal: Seal, tmp_path: Path) -> None:
    (tmp_path / "data.mdb").unlink()
    assert seal.read(directory) is None
    with pytest.raises(FileNotFoundError):
        seal.write(directory, COVERS)


@pytest.mark.parametrize("name", ["data.mdb", "sidecar"])
def test_3_a_symbolic_link_to_the_very_file_is_refused(directory: int, seal: Seal, tmp_path: Path, name: str) -> None:
    (tmp_path / name).rename(tmp_path / "elsewhere")
    (tmp_path / name).symlink_to("elsewhere")
    assert seal.read(directory) is None


@pytest.mark.parametrize("name", ["data.mdb", "sidecar"])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_3_a_directory_or_a_pipe_is_refused_and_waits_for_nobody(
    directory: int, seal: Seal, tmp_path: Path, name: str, make
) -> None:
    (tmp_path / name).unlink()
    make(tmp_path / name)
    descriptors = len(os.listdir("/proc/self/fd"))
    assert seal.read(directory) is None
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_3_a_second_name_is_refused(directory: int, seal: Seal, tmp_path: Path) -> None:
    os.link(tmp_path / "data.mdb", tmp_path / "another")
    assert seal.read(directory) is None
    (tmp_path / "another").unlink()
    assert seal.read(directory) == COVERS


def test_4_every_flipped_bit_of_the_file_is_refused(directory: int, seal: Seal, tmp_path: Path) -> None:
    tried = [seal.read(directory) for _ in flipped(tmp_path / "data.mdb")]
    assert tried == [None] * 700 * 8
    assert seal.read(directory) == COVERS


def test_writing_is_all_or_nothing(directory: int, seal: Seal, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "rename", lambda *_, **__: (_ for _ in ()).throw(OSError("power")))
    with pytest.raises(OSError, match="power"):
        seal.write(directory, [])
    monkeypatch.undo()
    assert seal.read(directory) == COVERS
    seal.write(directory, [])  # over what the attempt left
    assert seal.read(directory) == []


def test_it_is_synced_before_it_has_its_name_and_the_name_after(directory: int, seal: Seal, monkeypatch) -> None:
    calls = []
    sync, rename = os.fsync, os.rename
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append("directory" if fd == directory else "file") or sync(fd))
    monkeypatch.setattr(os, "rename", lambda *a, **k: calls.append("rename") or rename(*a, **k))
    seal.write(directory, COVERS)
    assert calls == ["file", "rename", "directory"]


def test_removal_takes_what_is_ours_and_nothing_else(directory: int, tmp_path: Path) -> None:
    for name in ("lock.mdb", "sidecar.new", "notes.txt"):
        (tmp_path / name).write_text("x")
    sidecar.remove_all(directory)
    assert os.listdir(tmp_path) == ["notes.txt"]
