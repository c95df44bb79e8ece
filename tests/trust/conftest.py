"""Key directories to test with."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from aegis_store.trust.keys import KeyDirectory


class Counting:
    """Randomness that a test can foretell: each draw is the next byte, repeated. Drawn bytes are kept in `drawn`."""

    def __init__(self) -> None:
        self.drawn: list[bytes] = []

    def draw(self, count: int) -> bytes:
        self.drawn.append(bytes([len(self.drawn) + 1]) * count)
        return self.drawn[-1]


@pytest.fixture(scope="session")
def make() -> Callable[..., KeyDirectory]:
    """Makes the key directory `s.keys` in a place, of the store 000102…0f unless told otherwise."""

    def make_keys(place: Path, **changed: object) -> KeyDirectory:
        return KeyDirectory.create(
            place / "s.keys", **{"store_id": bytes(range(16)), "name": "prod", "randomness": Counting(), **changed}
        )

    return make_keys


@pytest.fixture
def counting() -> Counting:
    return Counting()


@pytest.fixture
def keys(tmp_path: Path, make: Callable[..., KeyDirectory]) -> KeyDirectory:
    return make(tmp_path)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], list[str]]:
    """Starts a list of what is synced and renamed from now on, in order; the path is that of the directory in question."""

    def trace(path: Path) -> list[str]:
        events: list[str] = []
        fsync, rename = os.fsync, os.rename

        def tracing_fsync(descriptor: int) -> None:
            fsync(descriptor)
            status = os.fstat(descriptor)
            is_that = os.path.samestat(status, os.stat(path))
            events.append("sync file" if stat.S_ISREG(status.st_mode) else "sync directory" if is_that else "sync another")

        def tracing_rename(source: str, target: str, **where: int) -> None:
            rename(source, target, **where)
            events.append(f"rename to {target}")

        monkeypatch.setattr(os, "fsync", tracing_fsync)
        monkeypatch.setattr(os, "rename", tracing_rename)
        return events

    return trace
