"""What the tests of tasks share: a place for a store, and a way to run tasks that says what is left over."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

#: Beyond anything that a test waits for: a wait that is forgotten fails, instead of lasting for ever.
LONG = 60


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def run():
    """Runs a coroutine in a loop of its own. What goes wrong in callbacks, where nobody hears it, fails the test."""

    def runner(work: Coroutine[Any, Any, object]) -> Any:
        unheard: list[dict[str, Any]] = []

        async def watched() -> object:
            asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))
            async with asyncio.timeout(LONG):
                return await work

        result = asyncio.run(watched())
        assert unheard == []
        return result

    return runner


@contextmanager
def writes_fail_beyond(limit: int) -> Iterator[None]:
    """Writes of this process to any file behind that many bytes fail, as on a disk that is full, or broken there."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
