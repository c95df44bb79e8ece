"""Durable workflows: state machines that are resumed after a crash where they were, with every transition on record.

    from aegis_store.workflow import DurableWorkflowEngine

    engine = DurableWorkflowEngine(store)
    engine.create(order, actor="shop")
    engine.transition(order, "paid", actor="bank")

For tasks of an event loop: `aegis_store.aio.workflow`.
"""

from __future__ import annotations

from aegis_store.workflow.classes import Workflow
from aegis_store.workflow.engine import DurableWorkflowEngine
from aegis_store.workflow.links import Transition, transition_hash

__all__ = ["DurableWorkflowEngine", "Transition", "Workflow", "transition_hash"]
