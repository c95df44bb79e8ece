"""An order that survives the death of the program that handles it.

    python examples/durable_workflow.py

starts itself as a second process, which takes an order from state to state and is killed with SIGKILL between two of them; then
resumes the order where it was, from what the dead process left, and brings it to its end. The folder is removed afterwards.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aegis_store
from aegis_store.workflow import DurableWorkflowEngine

STEPS = {"new": "paid", "paid": "packed", "packed": "sent"}
KILLED_IN = "packed"


@dataclass
class Order:
    """A state machine as the engine needs it: an id, a state, and a way to a dict and back."""

    workflow_id: str
    state: str = "new"
    done: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Order:
        return cls(**data)


def handle(engine: DurableWorkflowEngine, order: Order, *, is_killed: bool = False) -> None:
    """Bring an order to its end, one durable step after the other."""
    while (following := STEPS.get(order.state)) is not None:
        order.done.append(f"{following} by process {os.getpid()}")
        engine.transition(order, following, actor=f"process {os.getpid()}")
        sys.stdout.write(f"  {order.workflow_id} is {order.state}\n")
        sys.stdout.flush()
        if is_killed and order.state == KILLED_IN:
            os.kill(os.getpid(), signal.SIGKILL)
    engine.complete(order, actor=f"process {os.getpid()}")


def first_process(place: Path) -> None:
    with aegis_store.open(place, agent="shop") as store:
        engine = DurableWorkflowEngine(store)
        order = Order("order-4711")
        engine.create(order, actor="customer")
        handle(engine, order, is_killed=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "state")
        sys.stdout.write("a process handles an order, and is killed:\n")
        sys.stdout.flush()
        ended = subprocess.run([sys.executable, __file__, str(place)], check=False).returncode
        assert ended == -signal.SIGKILL, "it should have been killed"
        with aegis_store.open(place, agent="shop") as store:
            engine = DurableWorkflowEngine(store)
            for order in engine.resume_all_pending(Order):
                sys.stdout.write(f"resumed: {order.workflow_id} is {order.state}\n")
                handle(engine, order)
            for each in engine.history("order-4711"):
                sys.stdout.write(f"  {each.from_state} -> {each.to_state} by {each.actor}, {each.hash.hex()[:16]}\n")
            holds, why = engine.verify_integrity("order-4711")
            sys.stdout.write("every transition and checkpoint holds\n" if holds else f"{why}\n")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        first_process(Path(sys.argv[1]))
    else:
        main()
