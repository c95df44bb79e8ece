"""Graphs that remember: a compiled graph with a long-term memory on a store, as LangGraph runs it."""

from __future__ import annotations

import asyncio
import operator
import re
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, TypedDict

import pytest

pytest.importorskip("langgraph.graph", exc_type=ImportError)

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.prebuilt import InjectedStore, ToolNode, create_react_agent
from langgraph.store.base import BaseStore
from langgraph.types import Send

import aegis_store
from aegis_store.adapters.langgraph import AegisSaver, AegisStore
from tests.memory.memories import SMALL


class State(TypedDict):
    user: str
    said: str
    known: Annotated[list[str], operator.add]


def remember(state: State, *, store: BaseStore) -> dict[str, Any]:
    namespace = ("users", state["user"])
    known = [each.value["said"] for each in store.search(namespace)]
    store.put(namespace, state["said"], {"said": state["said"]})
    return {"known": known}


async def aremember(state: State, *, store: BaseStore) -> dict[str, Any]:
    namespace = ("users", state["user"])
    known = [each.value["said"] for each in await store.asearch(namespace)]
    await store.aput(namespace, state["said"], {"said": state["said"]})
    return {"known": known}


def one_node(node):
    builder = StateGraph(State)
    builder.add_node("remember", node)
    builder.add_edge(START, "remember")
    builder.add_edge("remember", END)
    return builder


def thread(name):
    return {"configurable": {"thread_id": name}}


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def test_what_one_thread_said_another_knows_also_after_reopening(place):
    builder = one_node(remember)
    with aegis_store.open(place, config=SMALL) as store:
        graph = builder.compile(checkpointer=AegisSaver(store), store=AegisStore(store))
        assert graph.invoke({"user": "ann", "said": "I like tea"}, thread("1"))["known"] == []
        assert graph.invoke({"user": "ann", "said": "I live in Oslo"}, thread("2"))["known"] == ["I like tea"]
        assert graph.invoke({"user": "bob", "said": "hi"}, thread("3"))["known"] == []
    with aegis_store.open(place, config=SMALL) as store:
        graph = builder.compile(checkpointer=AegisSaver(store), store=AegisStore(store))
        # The thread's own state goes on where it was, and the memory is everybody's.
        assert graph.invoke({"user": "ann", "said": "bye"}, thread("1"))["known"] == ["I live in Oslo", "I like tea"]
        assert graph.get_state(thread("1")).values["said"] == "bye"
        assert store.verify().ok


def test_a_graph_of_coroutines(place):
    async def work():
        async with AegisStore.from_path(place, config=SMALL) as memory:
            graph = one_node(aremember).compile(store=memory)
            await asyncio.gather(*(graph.ainvoke({"user": f"u{n % 5}", "said": f"word {n}"}) for n in range(40)))
            last = await graph.ainvoke({"user": "u3", "said": "bye"})
            assert sorted(last["known"]) == sorted(f"word {n}" for n in range(3, 40, 5))
            # Nodes that are functions run in threads of the runtime, beside the loop.
            mixed = one_node(remember).compile(store=memory)
            known = await asyncio.gather(*(mixed.ainvoke({"user": f"u{n}", "said": "mixed"}) for n in range(5)))
            assert [len(each["known"]) for each in known] == [8, 8, 8, 9, 8]

    asyncio.run(work())


def test_many_nodes_at_once_share_a_memory(place):
    def split(state: State) -> list[Send]:
        return [Send("note", {"user": "ann", "said": f"part {n}", "known": []}) for n in range(20)]

    def note(state: State, *, store: BaseStore) -> dict[str, Any]:
        store.put(("notes", state["user"]), state["said"], {"said": state["said"]})
        store.put(("last",), "note", {"said": state["said"]})
        return {"known": [state["said"]]}

    def gather(state: State, *, store: BaseStore) -> dict[str, Any]:
        return {"known": [f"{len(store.search(('notes', 'ann'), limit=100))} in the memory"]}

    builder = StateGraph(State)
    builder.add_node("note", note)
    builder.add_node("gather", gather)
    builder.add_conditional_edges(START, split, ["note"])
    builder.add_edge("note", "gather")
    builder.add_edge("gather", END)
    with aegis_store.open(place, config=SMALL) as store:
        graph = builder.compile(store=AegisStore(store))
        known = graph.invoke({"user": "ann", "said": ""}, {"max_concurrency": 8})["known"]
        assert known[-1] == "20 in the memory"
        assert [each.version for each in store.memory.versions(("last",), "note")] == list(range(20, 0, -1))


class Told(BaseChatModel):
    """A model that says what it is told, in order."""

    says: list[AIMessage]

    @property
    def _llm_type(self) -> str:
        return "told"

    def bind_tools(self, tools, **options):
        return self

    def _generate(self, messages, stop=None, run_manager=None, **options) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self.says.pop(0))])


@tool
def save(fact: str, store: Annotated[BaseStore, InjectedStore()]) -> str:
    """Remember a fact."""
    store.put(("facts",), fact, {"fact": fact})
    return "saved"


@tool
def recall(store: Annotated[BaseStore, InjectedStore()]) -> str:
    """Say what is remembered."""
    return ", ".join(each.value["fact"] for each in store.search(("facts",)))


def calls(name, **arguments):
    return AIMessage("", tool_calls=[{"name": name, "args": arguments, "id": f"call-{name}"}])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_agents_tools_are_given_the_memory(place):
    done = AIMessage("done")
    with aegis_store.open(place, config=SMALL) as store:
        memory = AegisStore(store)
        first = create_react_agent(
            Told(says=[calls("save", fact="tea"), calls("save", fact="Oslo"), done]), ToolNode([save, recall]), store=memory
        )
        assert first.invoke({"messages": [("user", "remember this")]})["messages"][-1].content == "done"
        second = create_react_agent(Told(says=[calls("recall"), done]), ToolNode([save, recall]), store=memory)
        answers = second.invoke({"messages": [("user", "what do you know?")]})["messages"]
        assert [each.content for each in answers if isinstance(each, ToolMessage)] == ["Oslo, tea"]


GUIDE = Path(__file__).resolve().parents[3] / "docs" / "GUIDE.md"


def test_the_examples_of_the_guide_run(tmp_path):
    examples = re.findall(r"^```python langgraph\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.S | re.M)
    assert examples
    (tmp_path / "guide.py").write_text("\n".join(examples))
    done = subprocess.run(
        [sys.executable, "-P", "guide.py"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
