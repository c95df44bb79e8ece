"""A device that fails writes and reads: the kernel's own EIO, through a file system, at chosen moments.

The trap is shown first: after a write that failed in the background, `fdatasync` says so once, and says OK the second time,
while the page cache goes on showing bytes that the device does not have. Then that aegis does not step into it.
"""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

import aegis_store
from aegis_store import Config, Store
from aegis_store._engine.facts import Verdict
from aegis_store.errors import AegisError, OutcomeUnknown, Poisoned, ReadOnly, StorageError
from aegis_store.types import Tier
from tests.root.disks import FileSystem, mounted_device
from tests.stores import abandon, noise, segments, states

pytestmark = [pytest.mark.root, pytest.mark.long]

SMALL_SEGMENTS = Config(segment_bytes=64 << 10)
BLOCK = 4096
THREADS = 4
EACH = 60


class BrokenDisk(NamedTuple):
    """A file system whose device fails writes while `writes` exists, and reads while `reads` does."""

    fs: FileSystem
    writes: Path
    reads: Path

    @property
    def place(self) -> Path:
        return self.fs.place / "state"

    @contextmanager
    def failing(self, trigger: Path) -> Iterator[None]:
        trigger.touch()
        try:
            yield
        finally:
            trigger.unlink()

    def recover(self) -> bool:
        """Makes it writable again where its journal was hit, which empties the page cache; whether that was needed."""
        needed = self.fs.read_only
        if needed:
            self.fs.again()
        return needed


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[BrokenDisk]:
    # ext4: of the two it is the one that goes on after a failed write; XFS shuts down where its journal was hit.
    writes, reads = tmp_path / "fail writes", tmp_path / "fail reads"
    server = ["--filter=error", "memory", "320M", "error=EIO", "error-pwrite-rate=100%", f"error-pwrite-file={writes}"]
    server += ["error-pread-rate=100%", f"error-pread-file={reads}"]
    with mounted_device("ext4", tmp_path, *server) as (_, fs):
        try:
            yield BrokenDisk(fs, writes, reads)
        finally:
            writes.unlink(missing_ok=True)
            reads.unlink(missing_ok=True)


def on_device(path: Path, length: int) -> bytes:
    """The file's first bytes as the device has them, past the page cache."""
    file = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, length) as aligned:
            got = os.preadv(file, [aligned], 0)
            return aligned[:got]
    finally:
        os.close(file)


def forget_pages(path: Path) -> None:
    """Take the file's clean pages out of the page cache."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(file)


# ---- the trap ---------------------------------------------------------------------------------------------------------------


def test_the_kernel_says_once_that_a_write_was_lost_and_ok_the_second_time(disk):
    path = disk.fs.place / "file"
    file = os.open(path, os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(file, b"o" * BLOCK, 0)
        os.fdatasync(file)
        os.pwrite(file, b"n" * BLOCK, 0)
        with disk.failing(disk.writes), pytest.raises(OSError, match="Input/output error"):
            os.fdatasync(file)
        os.fdatasync(file)
        assert os.pread(file, BLOCK, 0) == b"n" * BLOCK
        assert on_device(path, BLOCK) == b"o" * BLOCK
    finally:
        os.close(file)
    disk.fs.again()
    assert path.read_bytes() == b"o" * BLOCK


# ---- writes that fail -------------------------------------------------------------------------------------------------------


def test_all_waiters_are_told_reads_go_on_and_nothing_later_is_accepted(disk):
    store = aegis_store.open(disk.place)
    session = store.session("s")
    for number in range(5):
        session.checkpoint(number)
    told: list[type[Exception]] = []
    ready = threading.Barrier(THREADS + 1)

    def save(number: int) -> None:
        ready.wait()
        try:
            store.session(f"of thread {number}").checkpoint(number)
        except AegisError as error:
            told.append(type(error))

    threads = [threading.Thread(target=save, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    with disk.failing(disk.writes):
        ready.wait()
        for thread in threads:
            thread.join()
    assert len(told) == THREADS and set(told) <= {OutcomeUnknown, Poisoned} and OutcomeUnknown in told
    # The kernel would say OK from here on. What was lost is lost: nothing is believed of it.
    for _ in range(3):
        with pytest.raises(Poisoned, match="open it again"):
            session.checkpoint("later")
    assert states(store, "s") == list(range(5))
    assert store.verify(deep=True).ok
    with pytest.raises((OutcomeUnknown, Poisoned)):
        store.close()
    with aegis_store.open(disk.place) as store:
        assert store.report.tiers[Tier.SESSION].verdict & Verdict.POISON
        assert states(store, "s") == list(range(5))
        store.session("s").checkpoint(5)
    disk.fs.again()
    with aegis_store.open(disk.place) as store:
        assert states(store, "s") == list(range(6))


def test_a_reopened_store_writes_again_what_only_the_page_cache_has(disk):
    store = aegis_store.open(disk.place)
    store.session("s").checkpoint("acknowledged")
    with disk.failing(disk.writes), pytest.raises(OutcomeUnknown):
        store.session("s").checkpoint(noise(20_000, "unknown"))
    abandon(store)
    (segment,) = segments(disk.place)
    shown = segment.read_bytes()
    # The scan of a recovery reads what the device does not have.
    assert on_device(segment, len(shown)) != shown
    with aegis_store.open(disk.place) as store:
        served = states(store, "s")
        cached = segment.read_bytes()
        assert on_device(segment, len(cached) // BLOCK * BLOCK) == cached[: len(cached) // BLOCK * BLOCK]
        store.session("s").checkpoint("after")
    assert served == ["acknowledged", noise(20_000, "unknown")]
    disk.fs.again()
    with aegis_store.open(disk.place) as store:
        assert states(store, "s") == [*served, "after"]
        assert store.verify(deep=True).ok


def test_a_store_is_not_opened_for_writing_while_the_tail_cannot_be_written_again(disk):
    store = aegis_store.open(disk.place)
    store.session("s").checkpoint("acknowledged")
    with disk.failing(disk.writes):
        with pytest.raises(OutcomeUnknown):
            store.session("s").checkpoint("unknown")
        abandon(store)
        for _ in range(3):
            with pytest.raises((StorageError, ReadOnly)):
                aegis_store.open(disk.place)
    disk.recover()
    with aegis_store.open(disk.place) as store:
        assert states(store, "s")[0] == "acknowledged"
        store.session("s").checkpoint("after")
    disk.fs.again()
    with aegis_store.open(disk.place) as store:
        assert states(store, "s")[0] == "acknowledged" and states(store, "s")[-1] == "after"


class Saver:
    """A thread that saves numbers into a session of its own until it is told no."""

    def __init__(self, store: Store, name: str) -> None:
        self.session = store.session(name)
        self.acknowledged = 0
        self.error: AegisError | None = None

    def run(self, moment: int, reached: threading.Semaphore) -> None:
        try:
            for number in range(EACH):
                if number == moment:
                    reached.release()
                self.session.checkpoint({"number": number, "noise": noise(1500, (self.session.id, number))})
                self.acknowledged += 1
        except AegisError as error:
            self.error = error


def save_until_it_fails(disk: BrokenDisk, name: str, moment: int) -> dict[str, Saver]:
    """Threads save; when one of them is at that number, writes begin to fail, and then work again before the store is left."""
    store = aegis_store.open(disk.place, config=SMALL_SEGMENTS)
    savers = {f"{name}/{number}": Saver(store, f"{name}/{number}") for number in range(THREADS)}
    reached = threading.Semaphore(0)
    threads = [threading.Thread(target=each.run, args=(moment, reached)) for each in savers.values()]
    try:
        for thread in threads:
            thread.start()
        reached.acquire()
        with disk.failing(disk.writes):
            for thread in threads:
                thread.join()
    finally:
        for thread in threads:
            thread.join()
        with suppress(AegisError):
            store.close()
    return savers


def test_what_was_acknowledged_survives_writes_that_fail_at_any_moment(disk, count):
    saved: dict[str, int] = {}
    errors: dict[str, int] = {}
    moments = range(0, EACH, 5)
    mounted_anew = 0
    for moment in moments:
        savers = save_until_it_fails(disk, f"moment {moment}", moment)
        for name, saver in savers.items():
            saved[name] = saver.acknowledged
            kind = type(saver.error).__name__
            errors[kind] = errors.get(kind, 0) + 1
        mounted_anew += disk.recover()
        # Through the page cache, and then from the device.
        found: list[dict[str, int]] = []
        for _ in range(2):
            with aegis_store.open(disk.place, config=SMALL_SEGMENTS) as store:
                assert store.verify(deep=True).ok
                found.append({})
                for info in store.sessions():
                    there = states(store, info.id)
                    assert [each["number"] for each in there] == list(range(len(there)))
                    assert all(each["noise"] == noise(1500, (info.id, each["number"])) for each in there)
                    found[-1][info.id] = len(there)
            disk.fs.again()
        assert found[0] == found[1]
        short = {name: number for name, number in saved.items() if found[0].get(name, 0) < number}
        assert short == {}
        saved |= found[0]
    # The last two where not even the space for the next records could be had: nothing of such a call is stored.
    assert set(errors) <= {"OutcomeUnknown", "Poisoned", "StorageError", "ReadOnly"}
    assert errors["OutcomeUnknown"] > 0
    assert mounted_anew < len(moments)
    count.update({"moments at which writes began to fail": len(moments), "after which ext4 was read-only": mounted_anew})
    count["checkpoints in the end"] = sum(saved.values())
    count.update({f"calls that ended in {name}": number for name, number in errors.items()})


# ---- reads that fail --------------------------------------------------------------------------------------------------------


def test_a_read_that_fails_is_no_damage_and_ends_with_the_fault(disk):
    with aegis_store.open(disk.place, config=SMALL_SEGMENTS) as store:
        session = store.session("s")
        for number in range(60):
            session.checkpoint(noise(3000, number))
        with disk.failing(disk.reads):
            for segment in segments(disk.place):
                forget_pages(segment)
            with pytest.raises(StorageError):
                states(store, "s")
        assert states(store, "s") == [noise(3000, number) for number in range(60)]
        session.checkpoint("and writing goes on")
    with disk.failing(disk.reads):
        for segment in segments(disk.place):
            forget_pages(segment)
        with pytest.raises(StorageError):
            aegis_store.open(disk.place, mode="r")
        with pytest.raises(StorageError):
            aegis_store.open(disk.place)
    with aegis_store.open(disk.place) as store:
        assert store.verify(deep=True).ok
        assert states(store, "s")[-1] == "and writing goes on"
