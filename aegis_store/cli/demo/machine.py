"""The machine that the demo runs on: whose figures these are."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final

#: File systems that are memory: a sync costs nothing there, and a power cut takes everything.
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})
_PROBES: Final = 20
_PROBE_BYTES: Final = 4096


def file_system(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """The type of the file system that a path lies on, such as ext4; None where the system does not say."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    place = os.path.realpath(path)
    best, kind = "", None
    for each in lines:
        left, _, right = each.partition(" - ")
        fields = left.split()
        if len(fields) < 5 or not right:
            continue
        mount = fields[4].encode("utf-8", "surrogateescape").decode("unicode_escape")
        inside = place == mount or place.startswith(mount.rstrip("/") + "/")
        # Of several mounts on one point the last one is seen.
        if inside and len(mount) >= len(best):
            best, kind = mount, right.split()[0]
    return kind


def sync_us(folder: Path) -> list[float]:
    """What the disk itself takes, in µs, some times over: 4 KiB over zeros that are there already, and a sync."""
    sync = getattr(os, "fdatasync", os.fsync)
    place = folder / "probe"
    took = []
    opened = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(opened, bytes(_PROBES * _PROBE_BYTES))
        os.fsync(opened)
        for number in range(_PROBES):
            before = time.perf_counter()
            os.pwrite(opened, b"x" * _PROBE_BYTES, number * _PROBE_BYTES)
            sync(opened)
            took.append((time.perf_counter() - before) * 1e6)
    finally:
        os.close(opened)
        os.unlink(place)
    return took
