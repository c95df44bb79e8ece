"""Who still has a file open that was replaced: on Linux, by what the kernel shows of each process.

A file that has no name any more lives on for those who have it open. After an erasure they are the ones who can still read what
it held."""

from __future__ import annotations

import os
import threading
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Final

import msgspec

_PROC: Final = Path("/proc")
#: Between two looks.
LOOK_SECONDS: Final = 0.05


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """A process that has a replaced file open. `command` is what it is called; "" where that may not be seen."""

    pid: int
    command: str


def holders(files: Collection[tuple[int, int]]) -> list[Holder]:
    """The processes that have any of these files, (device, inode), open. Other users' processes show only to root."""
    wanted = set(files)
    found = []
    for process in _PROC.glob("[0-9]*"):
        with suppress(OSError), os.scandir(process / "fd") as links:
            if any(_place(link) in wanted for link in links):
                found.append(Holder(pid=int(process.name), command=_command(process)))
    return sorted(found, key=lambda each: each.pid)


def wait_for_holders(files: Collection[tuple[int, int]], seconds: float) -> list[Holder]:
    """Wait until nobody has any of these files open, at most so long; who has still."""
    if not files:
        return []
    until, nothing = monotonic() + seconds, threading.Event()
    while (left := holders(files)) and monotonic() < until:
        nothing.wait(LOOK_SECONDS)
    return left


def _place(link: os.DirEntry[str]) -> tuple[int, int] | None:
    with suppress(OSError):
        found = link.stat()
        # With a name it is another file: the number of one that was freed is given to the next.
        return (found.st_dev, found.st_ino) if found.st_nlink == 0 else None
    return None


def _command(process: Path) -> str:
    with suppress(OSError):
        return (process / "comm").read_text(errors="replace").strip()
    return ""
