"""What is done beside the loop, and what the loop is given turns in between."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TypeVar

_Result = TypeVar("_Result")


async def in_thread_to_its_end(work: Callable[[], _Result]) -> _Result:
    """Runs `work` in a thread. A task that is cancelled meanwhile still waits for the end of it."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


async def turn_by_turn(items: Iterator[_Result]) -> AsyncIterator[_Result]:
    """The items, each made in the loop, with a turn for other tasks in between."""
    for each in items:
        yield each
        await asyncio.sleep(0)
