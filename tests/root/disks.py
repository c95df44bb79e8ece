"""Disks of the real kernel: file systems on loop devices, and two devices that are made to misbehave.

`FileSystem` is mounted from an image, and its power can be cut: from then on the kernel writes nothing more to it, neither data
nor journal, and the next mount replays the journal as after a power cut. `Device` is a block device served by nbdkit: one that
fails writes or reads while a file of that name exists, or one with a volatile cache, which forgets what was not flushed.

Everything is undone by its own name, and only what was made here is touched.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import pytest

#: XFS_IOC_GOINGDOWN and EXT4_IOC_SHUTDOWN are one number: _IOR('X', 125, __u32).
GOING_DOWN: Final = 0x8004587D
#: With the journal written out first, so that names and sizes are newer than data; and without, as a power cut has it.
LOG_FLUSHED, LOG_LOST = 1, 2

MIB: Final = 1 << 20
#: The smallest that mkfs.xfs makes; the image is sparse.
IMAGE_BYTES: Final = {"xfs": 320 * MIB, "ext4": 96 * MIB}
#: What has to be installed for each, on Debian.
PACKAGE_OF: Final = {
    "mkfs.xfs": "xfsprogs",
    "mkfs.ext4": "e2fsprogs",
    "nbdkit": "nbdkit",
    "nbdfuse": "libnbd-bin",
    "losetup": "mount",
    "fusermount3": "fuse3",
}


def need(*commands: str) -> None:
    """Skip the test, and say what to install, where one of the commands is not there."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    missing = [PACKAGE_OF[command] for command in commands if shutil.which(command, path=path) is None]
    if missing:
        pytest.skip(f"not installed here: apt-get install {' '.join(missing)}")


def run(*command: str | Path) -> str:
    """What the command says. AssertionError with its words where it fails."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr.strip()}"
    return done.stdout


def mount(*words: str | Path) -> None:
    """Mount, or skip where this machine does not let even root do it, as in most containers."""
    try:
        run("mount", *words)
    except AssertionError as error:
        pytest.skip(f"cannot be mounted here: {error}")


def is_mounted(place: Path) -> bool:
    """By the kernel's list: a mount whose server has died cannot even be looked at."""
    mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines()
    return any(line.split()[4] == str(place) for line in mounts)


class FileSystem:
    """A file system that is mounted at `place` from a device or an image, and can be taken away and come back."""

    def __init__(self, kind: str, source: Path, place: Path) -> None:
        self.kind: Final = kind
        self.source = source
        self.place: Final = place
        place.mkdir(exist_ok=True)

    def mount(self) -> None:
        assert not is_mounted(self.place)
        # A loop device that mount makes goes away with the mount.
        options = [] if self.source.is_block_device() else ["-o", "loop"]
        mount("-t", self.kind, *options, self.source, self.place)

    def unmount(self) -> None:
        run("umount", self.place)

    def cut(self, how: int = LOG_LOST) -> None:
        """Nothing more reaches the disk. Whoever still writes gets EIO."""
        folder = os.open(self.place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(folder, GOING_DOWN, struct.pack("=I", how))
        finally:
            os.close(folder)

    @property
    def read_only(self) -> bool:
        """Whether it refuses changes by now, as ext4 does once a write to its journal has failed; statfs need not say so."""
        probe = self.place / "probe"
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EIO):
                raise
            return True
        return False

    def again(self) -> None:
        """Unmounted and mounted: the page cache is gone, the journal replayed."""
        self.unmount()
        self.mount()

    def forget(self) -> None:
        """For the end of a test, whatever state this is in."""
        if is_mounted(self.place):
            with suppress(AssertionError):
                run("umount", self.place)
        if is_mounted(self.place):
            run("umount", "-l", self.place)


def format_disk(kind: str, disk: Path) -> None:
    """Make a file system of that kind."""
    run(f"mkfs.{kind}", *(("-q", "-f") if kind == "xfs" else ("-q", "-F")), disk)


@contextmanager
def file_system(kind: str, folder: Path) -> Iterator[FileSystem]:
    """A new one in an image of its own, mounted."""
    need(f"mkfs.{kind}")
    image = folder / f"{kind}.img"
    with image.open("wb") as file:
        file.truncate(IMAGE_BYTES[kind])
    format_disk(kind, image)
    made = FileSystem(kind, image, folder / f"{kind}.mounted")
    try:
        made.mount()
        yield made
    finally:
        made.forget()
        image.unlink()


@contextmanager
def memory_file_system(folder: Path, size: int) -> Iterator[FileSystem]:
    """A tmpfs of that many bytes."""
    place = folder / "tmpfs.mounted"
    made = FileSystem("tmpfs", Path("tmpfs"), place)
    mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", place)
    try:
        yield made
    finally:
        made.forget()


# ---- devices that misbehave -------------------------------------------------------------------------------------------------


class Device:
    """A block device: nbdkit, whose disk nbdfuse shows as a file, under a loop device. `path` is the loop device's."""

    def __init__(self, folder: Path, *server: str) -> None:
        need("nbdkit", "nbdfuse", "fusermount3", "losetup")
        if not os.path.exists("/dev/fuse"):
            pytest.skip("there is no /dev/fuse here")
        self._folder = folder
        self._server: Sequence[str] = server
        self._running: ExitStack | None = None
        self.path = Path()

    def start(self) -> None:
        """What the server keeps in a file is there again; the rest is new."""
        socket, shown = self._folder / "nbd.sock", self._folder / "nbd"
        shown.touch()
        with ExitStack() as stack:
            self._nbdkit = self._process(stack, "nbdkit", "-f", "-U", str(socket), *self._server)
            stack.callback(socket.unlink, missing_ok=True)
            # They say that they are ready by showing a file: a socket, a mount.
            self._until(socket.exists, self._nbdkit)
            shows = self._process(stack, "nbdfuse", str(shown), "--unix", str(socket))
            stack.callback(self._hide, shown)
            self._until(lambda: is_mounted(shown), shows)
            self.path = Path(run("losetup", "--find", "--show", shown).strip())
            stack.callback(run, "losetup", "--detach", self.path)
            self._running = stack.pop_all()

    def stop(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None

    def lose_power(self) -> None:
        """What the server holds in memory is gone. The loop device gives nothing but errors from here on, until `stop`."""
        self._nbdkit.kill()
        self._nbdkit.wait()

    def _process(self, stack: ExitStack, *command: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        stack.callback(self._end, process)
        return process

    @staticmethod
    def _end(process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @staticmethod
    def _hide(shown: Path) -> None:
        # nbdfuse ends, and takes its mount away, where its server has gone: perhaps while we look.
        with suppress(AssertionError):
            run("umount", "-l", shown)
        assert not is_mounted(shown)

    @staticmethod
    def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
        while not ready():
            with suppress(subprocess.TimeoutExpired):
                pytest.fail(f"{process.args} has ended by itself: {process.wait(timeout=0.005)}")


@contextmanager
def device(folder: Path, *server: str) -> Iterator[Device]:
    """A device that this nbdkit command line serves, started."""
    made = Device(folder, *server)
    try:
        made.start()
        yield made
    finally:
        made.stop()


@contextmanager
def mounted_device(kind: str, folder: Path, *server: str) -> Iterator[tuple[Device, FileSystem]]:
    """A new file system on such a device."""
    need(f"mkfs.{kind}")
    with device(folder, *server) as disk:
        format_disk(kind, disk.path)
        made = FileSystem(kind, disk.path, folder / f"{kind}.mounted")
        try:
            made.mount()
            yield disk, made
        finally:
            made.forget()
