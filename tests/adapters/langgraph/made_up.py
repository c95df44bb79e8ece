"""Checkpoints and configurations as LangGraph makes them, and small graphs."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

from langgraph.checkpoint.base import Checkpoint, empty_checkpoint
from langgraph.graph import END, START, StateGraph


def config(thread: str = "t", checkpoint_id: str | None = None, namespace: str | None = "") -> dict[str, Any]:
    named: dict[str, Any] = {"thread_id": thread}
    if namespace is not None:
        named["checkpoint_ns"] = namespace
    if checkpoint_id is not None:
        named["checkpoint_id"] = checkpoint_id
    return {"configurable": named}


def checkpoint(values: dict[str, Any] | None = None, *, version: str = "1", checkpoint_id: str | None = None) -> Checkpoint:
    made = empty_checkpoint()
    if checkpoint_id is not None:
        made["id"] = checkpoint_id
    made["channel_values"] = dict(values or {})
    made["channel_versions"] = dict.fromkeys(made["channel_values"], version)
    return made


def line_of(saver, count: int, *, thread: str = "t", namespace: str = "", **metadata: Any) -> list[dict[str, Any]]:
    """So many checkpoints, each the parent of the next: their configurations."""
    made, before = [], config(thread, namespace=namespace)
    for step in range(count):
        about = {"source": "loop", "step": step, "parents": {}, **metadata}
        before = saver.put(before, checkpoint({"step": step}, version=str(step)), about, {"step": str(step)})
        made.append(before)
    return made


def ids(tuples) -> list[str]:
    return [each.config["configurable"]["checkpoint_id"] for each in tuples]


class Messages(TypedDict):
    messages: Annotated[list, operator.add]


def talk(saver, *, answer=lambda state: {"messages": [f"answer {len(state['messages'])}"]}, **options: Any):
    """A graph of one node that answers."""
    graph = StateGraph(Messages)
    graph.add_node("answer", answer)
    graph.add_edge(START, "answer")
    graph.add_edge("answer", END)
    return graph.compile(checkpointer=saver, **options)
