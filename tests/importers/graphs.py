"""Graphs that do the same every time, and what their threads came to: run on the savers that an import reads, and on ours."""

from __future__ import annotations

import operator
from datetime import UTC, datetime
from typing import Annotated, Any, TypedDict
from uuid import UUID

from langchain_core.messages import AIMessage, HumanMessage
from langgraph.channels import DeltaChannel
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.types import Command, Send, interrupt


class Asking(TypedDict, total=False):
    asked: str
    steps: Annotated[list[str], operator.add]


class State(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]
    log: Annotated[list[str], operator.add]
    turn: int
    asked: str
    odd: dict[str, Any]


#: Values of the types that a state usually holds beside plain ones; a number that is in no 64 bits stays a float here.
ODD = {
    "when": datetime(2026, 11, 28, 9, 30, tzinfo=UTC),
    "id": UUID(int=4711),
    "bytes": b"\x00\xff",
    "none": None,
    "ratio": 0.1,
    "pair": [1, {"deep": ["ü", True]}],
}


def _plan(state: State) -> dict[str, Any]:
    turn = state.get("turn", 0) + 1
    said = AIMessage(content=f"plan {turn}", id=f"plan-{turn}")
    return {"turn": turn, "messages": [said], "log": [f"plan {turn}"], "odd": ODD}


def _fan_out(state: State) -> list[Send]:
    return [Send("work", {"part": part, "turn": state["turn"]}) for part in ("a", "b", "c")]


def _work(given: dict[str, Any]) -> dict[str, Any]:
    return {"log": [f"work {given['turn']}{given['part']}"]}


def _look(state: Asking) -> dict[str, Any]:
    return {"steps": ["look"]}


def _ask(state: Asking) -> dict[str, Any]:
    return {"asked": interrupt("may I?"), "steps": ["ask"]}


def _close(state: State) -> dict[str, Any]:
    return {"log": [f"asked {state['asked']}"]}


def compiled(saver: Any) -> Any:
    """Plans, works in three parts at once, asks in a graph within, whose namespace it is then in, and notes the answer."""
    asking = StateGraph(Asking)
    asking.add_node("look", _look)
    asking.add_node("ask", _ask)
    asking.add_edge(START, "look")
    asking.add_edge("look", "ask")
    whole = StateGraph(State)
    whole.add_node("plan", _plan)
    whole.add_node("work", _work)
    whole.add_node("asking", asking.compile())
    whole.add_node("close", _close)
    whole.add_edge(START, "plan")
    whole.add_conditional_edges("plan", _fan_out, ["work"])
    whole.add_edge("work", "asking")
    whole.add_edge("asking", "close")
    return whole.compile(checkpointer=saver)


def _appended(before: list[str], batches: Any) -> list[str]:
    return [*before, *(each for batch in batches for each in batch)]


class Delta(TypedDict, total=False):
    notes: Annotated[list[str], DeltaChannel(_appended, list, snapshot_frequency=3)]


def delta(saver: Any) -> Any:
    """A graph whose channel is made again from what its tasks wrote, back to a snapshot."""
    graph = StateGraph(Delta)
    graph.add_node("note", lambda state: {"notes": [f"note {len(state['notes'])}"]})
    graph.add_edge(START, "note")
    return graph.compile(checkpointer=saver)


def config(thread: str, checkpoint: str | None = None) -> dict[str, Any]:
    named = {} if checkpoint is None else {"checkpoint_id": checkpoint}
    return {"configurable": {"thread_id": thread, **named}}


def begin(graph: Any, thread: str) -> None:
    """Up to the question."""
    graph.invoke({"messages": [HumanMessage(content="hello", id="human")]}, config(thread))


def answer(graph: Any, thread: str, word: str = "yes") -> None:
    graph.invoke(Command(resume=word), config(thread))


def branch(graph: Any, thread: str) -> None:
    """Go back to before the first work was done, say that it was another turn, and go on from there."""
    past = [each for each in graph.get_state_history(config(thread)) if each.metadata["step"] == 1][-1]
    forked = graph.update_state(past.config, {"turn": 40, "log": ["went back"]}, as_node="plan")
    graph.invoke(None, forked)


def fill(saver: Any) -> None:
    """Threads in each situation that a thread can be in."""
    graph = compiled(saver)
    begin(graph, "asks")  # interrupted, in a namespace of its own
    begin(graph, "done/100%")
    answer(graph, "done/100%")
    for turn in range(3):
        begin(graph, "long")
        answer(graph, "long", f"yes {turn}")
    begin(graph, "branched")
    answer(graph, "branched")
    branch(graph, "branched")
    notes = delta(saver)
    for turn in range(5):
        notes.invoke({"notes": [f"turn {turn}"]}, config("delta"))
    # What a task wrote before its checkpoint was put, and the process died.
    orphan = {
        "configurable": {"thread_id": "orphan", "checkpoint_ns": "", "checkpoint_id": "1f000000-0000-6000-8000-000000000000"}
    }
    saver.put_writes(orphan, [("log", ["early"]), ("turn", 1)], "task-1", "path")


THREADS = ["asks", "branched", "delta", "done/100%", "long", "orphan"]


def go_on(saver: Any) -> None:
    """One step further with each thread that can."""
    graph = compiled(saver)
    answer(graph, "asks")
    begin(graph, "done/100%")
    answer(graph, "branched", "after the branch")
    begin(graph, "long")
    delta(saver).invoke({"notes": ["another turn"]}, config("delta"))


def told(saver: Any) -> dict[str, list[Any]]:
    """The threads as their graphs tell them, without what is drawn anew on each run: ids and times."""
    graph, notes = compiled(saver), delta(saver)
    return {
        thread: [
            (
                each.values,
                each.next,
                each.metadata["source"],
                each.metadata["step"],
                [(task.name, [one.value for one in task.interrupts]) for task in each.tasks],
            )
            for each in (notes if thread == "delta" else graph).get_state_history(config(thread))
        ]
        for thread in THREADS
    }


def tuples(saver: Any) -> dict[tuple[str, str, str], Any]:
    """All that a saver has, by thread, namespace and id."""
    return {tuple(each.config["configurable"][name] for name in ("thread_id", "checkpoint_ns", "checkpoint_id")): each
            for each in saver.list(None)}  # fmt: skip
