"""The power is cut under a writer on a real file system, again and again: what was acknowledged is there after the replay.

Two ways to cut it. The file system is shut down: nothing of the page cache nor of the journal reaches the disk from then on. Or
the device is one with a volatile cache, which forgets all that no flush has asked for: this one notices a sync that ends in the
file system. Which moments are hit depends on the machine; what each writer does depends on a seed alone.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.root import writer
from tests.root.disks import LOG_FLUSHED, LOG_LOST, MIB, FileSystem, file_system, mounted_device
from tests.root.listener import Listener, Writers
from tests.stores import abandon

pytestmark = [pytest.mark.root, pytest.mark.long]

QUOTA = 40
#: A store is given up after that many writers, so that to look at all of it stays cheap.
WRITERS_EACH = 6


class Shutdown:
    """The power of a file system that is shut down."""

    def __init__(self, fs: FileSystem, dice: random.Random) -> None:
        self.fs = fs
        self.dice = dice

    def cut(self) -> None:
        self.fs.cut(self.dice.choice((LOG_LOST, LOG_LOST, LOG_FLUSHED)))

    def back(self) -> None:
        self.fs.again()


@contextmanager
def shut_down(kind: str, folder: Path, dice: random.Random) -> Iterator[Shutdown]:
    with file_system(kind, folder) as fs:
        yield Shutdown(fs, dice)


class VolatileCache:
    """The power of a device that forgets what was not flushed."""

    def __init__(self, disk, fs: FileSystem) -> None:
        self.disk = disk
        self.fs = fs

    def cut(self) -> None:
        self.disk.lose_power()

    def back(self) -> None:
        self.fs.forget()
        self.disk.stop()
        self.disk.start()
        self.fs.source = self.disk.path
        self.fs.mount()


@contextmanager
def volatile_cache(kind: str, folder: Path, dice: random.Random) -> Iterator[VolatileCache]:
    image = folder / "device.img"
    with image.open("wb") as file:
        file.truncate(320 * MIB)
    with mounted_device(kind, folder, "--filter=cache", "file", str(image), "cache=writeback") as (disk, fs):
        yield VolatileCache(disk, fs)


Power = Shutdown | VolatileCache


def cutter(power: Power, dice: random.Random) -> Callable[[int, list[str]], bool]:
    """Cuts the power under a writer: while it opens and recovers, right then, or after some acknowledgements."""
    after = dice.choice((None, 0, 1, dice.randrange(writer.THREADS * QUOTA), dice.randrange(writer.THREADS * QUOTA)))
    delay = dice.expovariate(200)
    heard = 0

    def cut(pid: int, words: list[str]) -> bool:
        nonlocal heard
        heard += words[0] == "ack"
        if words[0] == "child":
            now = after is None
        elif words[0] == "open":
            now = after == 0
        else:
            now = words[0] in ("ack", "closed") and after is not None and heard >= after > 0
        if not now and words[0] != "closed":
            return False
        # Not a wait for anything: the moment is to be a different one each time.
        time.sleep(delay)
        power.cut()
        return True

    return cut


def look(listener: Listener, power: Power, dice: random.Random, count: dict[str, int]) -> int:
    """Opens what a cut has left and checks it; then leaves it in order, or cuts the power over the recovered store, which must
    still hold all that it has shown. How many acknowledged checkpoints are gone."""
    store = listener.open()
    try:
        lost = listener.missing(store)
    except BaseException:
        store.close()
        raise
    if lost or dice.random() < 0.4:
        store.close()
        return len(lost)
    power.cut()
    count["cuts right after a recovery"] = count.get("cuts right after a recovery", 0) + 1
    abandon(store)
    power.back()
    with listener.open() as store:
        assert listener.missing(store) == set()
    return 0


def cut_loop(
    writers: Writers, power: Power, place: Path, *, cuts: int, durability: str, seed: int, count: dict[str, int]
) -> int:
    """Cut the power under that many writers; how many acknowledged checkpoints were lost."""
    dice = random.Random(seed)
    lost = acknowledged = bus = 0
    for turn in range(cuts):
        if turn % WRITERS_EACH == 0:
            listener = Listener(place / f"store {turn}", durability)
        order = {"place": str(listener.place), "seed": turn, "quota": QUOTA, "durability": durability}
        said, status = writers.run(cutter(power, dice), **order)
        # The catalogue is mapped memory: a page that cannot be read any more ends the process, and nothing else does.
        assert status == 0 or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGBUS), status
        bus += status != 0
        power.back()
        acknowledged += listener.hears(turn, said)
        gone = look(listener, power, dice, count)
        lost += gone
        if gone:
            listener = Listener(place / f"store {turn} and on", durability)
        elif turn % WRITERS_EACH == WRITERS_EACH - 1:
            listener.catalogue_is_that_of_the_log()
    count.update({"seed": seed, "cuts under a writer": cuts, "acknowledged": acknowledged, "acknowledged and lost": lost})
    if bus:
        count["writers ended by a page of the catalogue that could not be read"] = bus
    return lost


@pytest.mark.parametrize("kind", ["xfs", "ext4"])
def test_what_was_acknowledged_survives_a_shut_down_file_system(writers, tmp_path, kind, count):
    dice = random.Random(f"shutdown {kind}")
    with shut_down(kind, tmp_path, dice) as power:
        assert cut_loop(writers, power, power.fs.place, cuts=48, durability="commit", seed=1, count=count) == 0
    assert count["acknowledged"] > 500


@pytest.mark.parametrize("kind", ["xfs", "ext4"])
def test_what_was_acknowledged_survives_a_device_that_forgets_what_was_not_flushed(writers, tmp_path, kind, count):
    with volatile_cache(kind, tmp_path, random.Random(kind)) as power:
        assert cut_loop(writers, power, power.fs.place, cuts=36, durability="commit", seed=2, count=count) == 0
    assert count["acknowledged"] > 300


@pytest.mark.parametrize("way", [shut_down, volatile_cache])
@pytest.mark.parametrize("kind", ["xfs", "ext4"])
def test_the_same_cuts_lose_what_was_written_without_a_sync(writers, tmp_path, way, kind, count):
    """That this is found shows that the tests above can fail; and it is what durability `write` says."""
    with way(kind, tmp_path, random.Random(kind)) as power:
        assert cut_loop(writers, power, power.fs.place, cuts=12, durability="write", seed=3, count=count) > 0
