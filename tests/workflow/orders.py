"""A workflow for the tests, and a process that is killed while it moves one."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from pathlib import Path

import aegis_store
from aegis_store.workflow import DurableWorkflowEngine
from tests.crash import calls


class Order:
    """An order, with what was put into it."""

    def __init__(self, workflow_id: str, state: str = "new", lines: list[str] | None = None) -> None:
        self.workflow_id = workflow_id
        self.state = state
        self.lines = [] if lines is None else lines

    def to_dict(self) -> dict[str, object]:
        return {"id": self.workflow_id, "state": self.state, "lines": list(self.lines)}

    @classmethod
    def from_dict(cls, data: dict[str, object]) -> Order:
        return cls(data["id"], data["state"], data["lines"])


class Refund(Order):
    """Another kind."""


Work = Callable[[DurableWorkflowEngine], object]


def moved(store: aegis_store.Store, workflow_id: str = "o", *states: str, **options: object) -> Order:
    """A workflow that was created and brought through these states."""
    engine = DurableWorkflowEngine(store, **options)
    order = Order(workflow_id)
    engine.create(order, actor="shop")
    for state in states:
        engine.transition(order, state, actor="clerk")
    return order


def killed(place: Path, work: Work, nth: int, seed: int = 0, **options: object) -> calls.Death | None:
    """A process that opens the store, does this work, and is killed before the nth call of it that changes a file; None
    where it came to its end before."""

    def child(asking: socket.socket) -> None:
        store = aegis_store.open(place)
        engine = DurableWorkflowEngine(store, **options)
        calls.ask(asking)
        work(engine)
        os._exit(0)  # without a close: what was acknowledged is durable

    pid, answering = calls.fork(child)
    try:
        return calls.answer(answering, pid, nth, random.Random(seed))
    finally:
        answering.close()
        _, status = os.waitpid(pid, 0)
        assert status in (0, 9), "the process failed by itself"
