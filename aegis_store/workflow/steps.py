"""What a call does, up to each wait: the same for threads, which wait in the engine, and for tasks, which wait in their loop.

A call is a generator. It yields what must be durable before it goes on, and returns its result; whoever runs it waits in
his own way, tells the catalogue (`settle`), and goes on. A wait that fails is thrown into it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import NamedTuple, TypeAlias, TypeVar

from aegis_store.store import Store
from aegis_store.types import LogIndex, Tier

_Result = TypeVar("_Result")


class Wait(NamedTuple):
    """A record that is to be durable; then `settle` is to be called, whatever becomes of the caller."""

    tier: Tier
    record: LogIndex
    settle: Callable[[], None]


Steps: TypeAlias = Generator[Wait, None, _Result]


def run(store: Store, steps: Steps[_Result]) -> _Result:
    """Do a call in this thread."""
    try:
        wait = next(steps)
        while True:
            try:
                store.records.engine.commit(wait.tier, wait.record)
                wait.settle()
            except BaseException as error:
                store.lost_track()
                wait = steps.throw(error)
            else:
                wait = steps.send(None)
    except StopIteration as done:
        result: _Result = done.value
        return result
