"""An agent in LangGraph that is killed in the middle of its work, and goes on where it was when it is started again.

    python examples/langgraph_agent.py state --die-at 3   # killed with SIGKILL inside its third tool call
    python examples/langgraph_agent.py state              # goes on: the first two calls are not made again

It needs no network and no key: its model is a function that reads the messages and asks for the next tool, the same each time.
Needs: pip install 'aegis-store[langgraph]'
"""

from __future__ import annotations

import argparse
import os
import signal
from typing import Any

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langgraph.graph import END, START, MessagesState, StateGraph

from aegis_store.adapters.langgraph import AegisSaver

ORDERS = {"north": [120, 80], "south": [45], "east": [200, 10, 5], "west": [60]}


def model(state: MessagesState) -> dict[str, Any]:
    """Asks for one region after the other, then adds up what it was told."""
    told = [message for message in state["messages"] if isinstance(message, ToolMessage)]
    if len(told) < len(ORDERS):
        region = list(ORDERS)[len(told)]
        call = {"name": "orders_of", "args": {"region": region}, "id": f"call-{len(told) + 1}"}
        return {"messages": [AIMessage(content="", tool_calls=[call])]}
    return {"messages": [AIMessage(content=f"All orders together: {sum(int(each.content) for each in told)}")]}


def tool(die_at: int | None) -> Any:
    """The tool's node. It leaves a line for each call that it makes."""

    def orders_of(state: MessagesState) -> dict[str, Any]:
        (call,) = state["messages"][-1].tool_calls
        if call["id"] == f"call-{die_at}":
            os.kill(os.getpid(), signal.SIGKILL)
        print(f"{call['id']}: orders of {call['args']['region']}", flush=True)
        total = sum(ORDERS[call["args"]["region"]])
        return {"messages": [ToolMessage(content=str(total), tool_call_id=call["id"])]}

    return orders_of


def main() -> None:
    parser = argparse.ArgumentParser(description="A LangGraph agent that is killed and goes on.")
    parser.add_argument("store", help="the store's directory; made if it is not there")
    parser.add_argument("--die-at", type=int, metavar="N", help="SIGKILL inside the tool call of this number")
    options = parser.parse_args()

    graph = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tool", tool(options.die_at))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", lambda state: "tool" if state["messages"][-1].tool_calls else END)
    graph.add_edge("tool", "model")

    with AegisSaver.from_path(options.store) as saver:
        agent = graph.compile(checkpointer=saver)
        config = {"configurable": {"thread_id": "quarter"}}
        begun = agent.get_state(config)
        if begun.next:
            print(f"goes on at {begun.next[0]}, after {len(begun.values['messages'])} messages", flush=True)
        question = None if begun.values else {"messages": [HumanMessage("How much was ordered?")]}
        # "sync": a step is on the disk before the next one begins.
        done = agent.invoke(question, config, durability="sync")
        print(done["messages"][-1].content)


if __name__ == "__main__":
    main()
