"""A disk that is full to the last byte, at every moment of a store's life: what is refused was not stored, what was stored is
read, and when there is space again it goes on.

`Ballast` takes all the space at once and gives it back. Quick on a tmpfs; the file systems that journal take longer.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import aegis_store
from aegis_store import Config, Store
from aegis_store.errors import AegisError, NoSpace
from tests.root.disks import MIB, FileSystem, file_system, memory_file_system
from tests.stores import abandon, noise, states

pytestmark = pytest.mark.root

SMALL_SEGMENTS = Config(segment_bytes=64 << 10)
STATE_BYTES = 4000
#: Checkpoints that fill some segments, so that each thing that takes space comes up.
EACH = 40
#: Each finds another place in a segment, or between two.
MOMENTS = 20


class Ballast:
    """All the free space of a file system."""

    def __init__(self, fs: FileSystem) -> None:
        self._path = fs.place / "ballast"

    def fill(self) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        try:
            # Large pieces, then the rest in small ones. What a file system kept back it may free with the sync.
            for size in (MIB, 4096, 4096, 1):
                with _until_full():
                    while True:
                        os.write(file, bytes(size))
                with _until_full():
                    os.fsync(file)
        finally:
            os.close(file)

    def empty(self) -> None:
        self._path.unlink()

    @contextmanager
    def full(self) -> Iterator[None]:
        self.fill()
        try:
            yield
        finally:
            self.empty()


@contextmanager
def _until_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise


@pytest.fixture(params=["tmpfs", pytest.param("xfs", marks=pytest.mark.long), pytest.param("ext4", marks=pytest.mark.long)])
def fs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FileSystem]:
    made = memory_file_system(tmp_path, 16 * MIB) if request.param == "tmpfs" else file_system(request.param, tmp_path)
    with made as found:
        yield found


def state_of(number: int) -> bytes:
    return noise(STATE_BYTES, number)


def opened(fs: FileSystem) -> Store:
    # The keys lie elsewhere: what is full is the store's disk.
    return aegis_store.open(fs.place / "state", keys=fs.place.with_suffix(".keys"), config=SMALL_SEGMENTS)


def save(store: Store, count: int, saved: list[bytes]) -> AegisError | None:
    """Up to that many checkpoints more; what ended it."""
    for _ in range(count):
        state = state_of(len(saved))
        try:
            store.session("s").checkpoint(state)
        except AegisError as error:
            return error
        saved.append(state)
    return None


def test_a_full_disk_refuses_and_works_again_at_every_moment(fs, count):
    """Also while a segment is full, the manifest is swapped, the catalogue grows: nothing of it poisons the store."""
    ballast, saved = Ballast(fs), []
    with opened(fs) as store:
        for moment in range(MOMENTS):
            assert save(store, moment % 7, saved) is None
            with ballast.full():
                ended = save(store, 4 * EACH, saved)
                assert isinstance(ended, NoSpace), ended
                # And again the same, as long as there is none.
                for _ in range(3):
                    with pytest.raises(NoSpace, match="df -h"):
                        store.session("s").checkpoint(state_of(len(saved)))
                assert states(store, "s") == saved
                assert store.verify().ok
            assert save(store, 1, saved) is None
        assert store.verify(deep=True).ok
        rotations = store.stats().tiers["session"].rotations
    assert rotations > MOMENTS // 2
    with opened(fs) as store:
        assert states(store, "s") == saved
    count.update({"times the disk was full": MOMENTS, "rotations": rotations, "checkpoints in the end": len(saved)})


def test_a_store_that_was_left_is_read_and_recovered_on_a_full_disk(fs):
    ballast, saved = Ballast(fs), []
    store = opened(fs)
    assert save(store, EACH, saved) is None
    abandon(store)
    with ballast.full():
        with aegis_store.open(fs.place / "state", keys=fs.place.with_suffix(".keys"), mode="r") as store:
            # Without a writer nobody knows yet whether the last group is durable: it is served once one has written it again.
            assert states(store, "s") in (saved, saved[:-1])
        # A recovery writes again what is there; the catalogue is a cache, and none is missed.
        store = opened(fs)
        try:
            assert states(store, "s") == saved
            assert store.verify(deep=True).ok
            with pytest.raises(NoSpace):
                raise save(store, 2000, saved) or AssertionError("the disk was not full")
        finally:
            abandon(store)
    with opened(fs) as store:
        assert states(store, "s") == saved
        assert save(store, EACH, saved) is None
        assert states(store, "s") == saved


@pytest.mark.parametrize("number", [1, 12, 30])
def test_a_store_is_closed_on_a_full_disk_and_holds_everything_afterwards(fs, number):
    ballast, saved = Ballast(fs), []
    store = opened(fs)
    assert save(store, number, saved) is None
    with ballast.full():
        # What closing writes is for a quick start; without it the next open reads more.
        try:
            store.close()
        except NoSpace as error:
            assert "df -h" in str(error)
        with pytest.raises(aegis_store.errors.Closed):
            store.session("s").checkpoint("closed it is")
    with opened(fs) as store:
        assert states(store, "s") == saved
        assert save(store, EACH, saved) is None
        assert store.verify(deep=True).ok


def test_a_store_is_not_made_on_a_full_disk_and_then_it_is(fs):
    with Ballast(fs).full(), pytest.raises(NoSpace):
        opened(fs).session("s").checkpoint("nowhere")
    with opened(fs) as store:
        store.session("s").checkpoint("somewhere")
        assert states(store, "s") == ["somewhere"]
