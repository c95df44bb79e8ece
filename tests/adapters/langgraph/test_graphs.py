"""Compiled graphs on the saver: what LangGraph's own suite for savers leaves out, and what breaks savers in the field."""

from __future__ import annotations

import asyncio
import dataclasses
import operator
import shutil
import threading
from typing import Annotated, Any, TypedDict

import pytest
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, Send, interrupt

import aegis_store
from aegis_store.adapters.langgraph import AegisSaver
from aegis_store.errors import Corrupt
from tests.adapters.langgraph.made_up import Messages, config, ids, talk
from tests.adapters.langgraph.test_rows import Reversed


def said(number: int) -> dict[str, list[str]]:
    return {"messages": [f"question {number}"]}


def history(app, thread: str = "t") -> list[tuple[Any, Any]]:
    """Values and what comes next, newest first."""
    return [(each.values, each.next) for each in app.get_state_history(config(thread))]


def same_as_in_memory(make, use, saver) -> None:
    """`use(app)` sees with our saver what it sees with LangGraph's own."""
    assert use(make(saver)) == use(make(InMemorySaver()))


# ---- turns ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("durability", ["async", "sync", "exit"])
def test_a_conversation_is_what_it_is_in_memory(saver, durability):
    def use(app):
        for number in range(4):
            app.invoke(said(number), config(), durability=durability)
        return history(app)

    same_as_in_memory(talk, use, saver)


def test_a_conversation_of_tasks(saver):
    def use(app):
        async def work():
            for number in range(4):
                await app.ainvoke(said(number), config())
            return [(each.values, each.next) async for each in app.aget_state_history(config())]

        return asyncio.run(work())

    same_as_in_memory(talk, use, saver)


def test_a_conversation_goes_on_in_another_process(place):
    for turn in range(3):
        with AegisSaver.from_path(place) as saver:
            app = talk(saver)
            app.invoke(said(turn), config())
            assert len(app.get_state(config()).values["messages"]) == 2 * (turn + 1)
        if turn == 1:
            shutil.rmtree(place / "catalog")
    with aegis_store.open(place) as store:
        assert store.verify(deep=True).findings == ()


def test_twenty_conversations_at_once(saver):
    app = talk(saver)

    async def work():
        for number in range(3):
            await asyncio.gather(*(app.ainvoke(said(number), config(f"t{thread}")) for thread in range(20)))

    asyncio.run(work())
    for thread in range(20):
        messages = app.get_state(config(f"t{thread}")).values["messages"]
        assert messages == ["question 0", "answer 1", "question 1", "answer 3", "question 2", "answer 5"]


# ---- branches ---------------------------------------------------------------------------------------------------------------


class Branches(TypedDict):
    found: Annotated[list, operator.add]


def fan_out(saver, *, width: int = 8, fails: Any = None):
    """A graph that sends to so many branches at once, each of which finds something."""

    def branch(state):
        if fails is not None:
            fails(state["number"])
        return {"found": [state["number"]]}

    graph = StateGraph(Branches)
    graph.add_node("branch", branch)
    graph.add_conditional_edges(START, lambda state: [Send("branch", {"number": number}) for number in range(width)])
    graph.add_edge("branch", END)
    return graph.compile(checkpointer=saver)


def test_branches_that_write_at_once_come_in_order(saver):
    def use(app):
        return app.invoke({"found": []}, config())["found"], history(app)

    same_as_in_memory(fan_out, use, saver)


def test_what_branches_did_before_one_failed_is_not_done_again(store):
    stored = threading.Semaphore(0)

    class Telling(AegisSaver):
        def put_writes(self, config, writes, task_id, task_path=""):
            super().put_writes(config, writes, task_id, task_path)
            stored.release()

    saver, failing = Telling(store), [3]
    done: list[int] = []

    def fails(number: int) -> None:
        if number in failing:
            for _ in range(7):
                stored.acquire()  # the others first
            raise RuntimeError("this one fails")
        done.append(number)

    app = fan_out(saver, fails=fails)
    with pytest.raises(RuntimeError):
        app.invoke({"found": []}, config())
    pending = [value for _, channel, value in saver.get_tuple(config()).pending_writes if channel == "found"]
    assert pending == [[0], [1], [2], [4], [5], [6], [7]]
    failing.clear()
    assert app.invoke(None, config())["found"] == list(range(8))
    assert sorted(done) == list(range(8))  # each once


# ---- interrupts -------------------------------------------------------------------------------------------------------------


def approval(saver):
    """A graph that asks two people before it acts."""

    def ask(state):
        first = interrupt({"ask": "first"})
        return {"messages": [first, interrupt({"ask": "second"})]}

    graph = StateGraph(Messages)
    graph.add_node("ask", ask)
    graph.add_node("act", lambda state: {"messages": ["acted"]})
    graph.add_edge(START, "ask")
    graph.add_edge("ask", "act")
    graph.add_edge("act", END)
    return graph.compile(checkpointer=saver)


def test_approvals_survive_each_restart(place):
    def step(given):
        with AegisSaver.from_path(place) as saver:
            app = approval(saver)
            app.invoke(given, config())
            state = app.get_state(config())
            return [each.value for each in state.interrupts], state.values.get("messages")

    assert step({"messages": ["please"]}) == ([{"ask": "first"}], ["please"])
    assert step(Command(resume="yes")) == ([{"ask": "second"}], ["please"])
    assert step(Command(resume="and yes")) == ([], ["please", "yes", "and yes", "acted"])


def test_interrupts_are_what_they_are_in_memory(saver):
    def use(app):
        seen = [app.invoke({"messages": ["please"]}, config())["messages"]]
        for word in ("yes", "no"):
            app.invoke(Command(resume=word), config())
            seen.append(app.get_state(config()).values)
        return seen, history(app)

    same_as_in_memory(approval, use, saver)


def test_a_stop_before_a_node_is_gone_on_from(saver):
    graph = StateGraph(Messages)
    graph.add_node("act", lambda state: {"messages": ["acted"]})
    graph.add_edge(START, "act")
    app = graph.compile(checkpointer=saver, interrupt_before=["act"])
    app.invoke(said(1), config())
    assert app.get_state(config()).next == ("act",)
    app.update_state(config(), {"messages": ["approved"]})
    assert app.invoke(None, config())["messages"] == ["question 1", "approved", "acted"]


# ---- time travel ------------------------------------------------------------------------------------------------------------


def test_a_run_from_the_past_is_a_branch_and_the_newest(saver):
    def use(app):
        for number in range(3):
            app.invoke(said(number), config())
        past = [each for each in app.get_state_history(config()) if each.next == ("answer",)][1]
        app.invoke(None, past.config)
        newest = app.get_state(config()).values["messages"]
        forked = app.update_state(past.config, {"messages": ["instead"]})
        app.invoke(None, forked)
        return newest, app.get_state(config()).values["messages"], len(history(app))

    same_as_in_memory(talk, use, saver)


def nested(saver):
    """A graph with a graph inside, which stops before its second node."""
    inner = StateGraph(Messages)
    inner.add_node("one", lambda state: {"messages": ["inner one"]})
    inner.add_node("two", lambda state: {"messages": [f"inner {interrupt('which?')}"]})
    inner.add_edge(START, "one")
    inner.add_edge("one", "two")
    outer = StateGraph(Messages)
    outer.add_node("inner", inner.compile())
    outer.add_node("last", lambda state: {"messages": ["last"]})
    outer.add_edge(START, "inner")
    outer.add_edge("inner", "last")
    return outer.compile(checkpointer=saver)


def test_time_travel_leads_into_a_subgraph(saver):
    def use(app):
        app.invoke(said(1), config())
        inside = app.get_state(config(), subgraphs=True).tasks[0].state
        before = [each for each in app.get_state_history(inside.config) if each.next == ("one",)]
        app.update_state(inside.config, {"messages": ["told"]})
        app.invoke(Command(resume="two"), config())
        return inside.values, inside.next, [each.values for each in before], app.get_state(config()).values, history(app)

    same_as_in_memory(nested, use, saver)


def test_all_namespaces_of_a_thread_go_with_it(saver, store):
    app = nested(saver)
    app.invoke(said(1), config())
    assert len({each.config["configurable"]["checkpoint_ns"] for each in saver.list(config(namespace=None))}) == 2
    app.invoke(said(1), config("other"))
    saver.delete_thread("t")
    assert list(saver.list(config(namespace=None))) == []
    assert app.invoke(Command(resume="two"), config("other"))["messages"][-1] == "last"
    assert store.verify(deep=True).findings == ()


# ---- delta channels ---------------------------------------------------------------------------------------------------------


def extended(state: list, writes: list) -> list:
    return [*state, *(each for write in writes for each in (write if isinstance(write, list) else [write]))]


def counting(saver, *, frequency: int = 5):
    """A conversation whose messages are in a delta channel that is stored whole every so many updates."""

    channel = DeltaChannel(extended, snapshot_frequency=frequency)
    graph = StateGraph(TypedDict("State", {"messages": Annotated[list, channel]}))
    graph.add_node("answer", lambda state: {"messages": [f"answer {len(state['messages'])}"]})
    graph.add_edge(START, "answer")
    return graph.compile(checkpointer=saver)


@pytest.mark.parametrize("turns", [1, 2, 3, 7, 13])
@pytest.mark.parametrize("frequency", [1, 5, 1000])
def test_a_delta_channel_is_whole_after_a_thread_was_pruned(saver, store, turns, frequency):
    app = counting(saver, frequency=frequency)
    for number in range(turns):
        app.invoke(said(number), config())
    expected = app.get_state(config()).values
    assert len(expected["messages"]) == 2 * turns
    before = len(list(saver.list(config())))
    saver.prune(["t"])
    store.compact()
    assert app.get_state(config()).values == expected
    left = len(list(saver.list(config())))
    assert left == 1 if frequency == 1 else left <= before
    app.invoke(said(turns), config())
    assert app.get_state(config()).values["messages"][: 2 * turns] == expected["messages"]
    assert store.verify(deep=True).findings == ()


def test_pruning_a_delta_channel_takes_what_it_does_not_need(saver):
    app = counting(saver, frequency=5)
    for number in range(20):
        app.invoke(said(number), config())
    saver.prune(["t"])
    assert len(list(saver.list(config()))) < 12  # of 60


def test_a_run_that_others_are_made_of_stays_and_others_go(saver):
    app = counting(saver, frequency=1000)
    runs = []
    for number in range(3):
        run = {**config(), "metadata": {"run_id": f"run {number}"}}
        app.invoke(said(number), run)
        runs.append(f"run {number}")
    expected = app.get_state(config()).values
    saver.delete_for_runs(runs[:2])
    assert app.get_state(config()).values == expected
    plain = talk(saver)
    for number in range(3):
        plain.invoke(said(number), {**config("plain"), "metadata": {"run_id": f"run {number}"}})
    saver.delete_for_runs(runs[:2])
    assert {each.metadata["run_id"] for each in saver.list(config("plain"))} == {"run 2"}
    assert app.get_state(config()).values == expected


@pytest.mark.parametrize("frequency", [1, 3, 1000])
def test_the_history_of_a_delta_channel_is_what_it_is_in_memory(saver, frequency):
    def use(app):
        for number in range(5):
            app.invoke(said(number), config())
        found = app.checkpointer
        newest = found.get_tuple(config()).config
        both = (
            found.get_delta_channel_history(config=newest, channels=["messages", "no such"]),
            asyncio.run(found.aget_delta_channel_history(config=newest, channels=["messages", "no such"])),
        )
        without_tasks = [
            {name: {**each, "writes": [write[1:] for write in each["writes"]]} for name, each in one.items()} for one in both
        ]
        assert found.get_delta_channel_history(config=newest, channels=[]) == {}
        return without_tasks

    same_as_in_memory(lambda saver: counting(saver, frequency=frequency), use, saver)


def test_the_history_of_a_delta_channel_is_that_of_the_base_class(saver):
    """Which asks for one checkpoint after another, and decodes all of each."""
    app = counting(saver, frequency=4)
    for number in range(6):
        app.invoke(said(number), config())
    for each in saver.list(config()):
        ours = saver.get_delta_channel_history(config=each.config, channels=["messages"])
        base = super(AegisSaver, saver)
        assert ours == base.get_delta_channel_history(config=each.config, channels=["messages"])
        assert ours == asyncio.run(base.aget_delta_channel_history(config=each.config, channels=["messages"]))


def test_a_copied_thread_has_its_delta_channels(saver):
    app = counting(saver, frequency=3)
    for number in range(5):
        app.invoke(said(number), config())
    saver.copy_thread("t", "copy")
    saver.delete_thread("t")
    assert len(app.get_state(config("copy")).values["messages"]) == 10


# ---- types ------------------------------------------------------------------------------------------------------------------


@dataclasses.dataclass
class Ticket:
    number: int


def tickets(saver):
    graph = StateGraph(Messages)
    graph.add_node("answer", lambda state: {"messages": [Ticket(len(state["messages"]))]})
    graph.add_edge(START, "answer")
    return graph.compile(checkpointer=saver)


def test_a_type_comes_back_only_where_it_was_named(saver):
    app = tickets(saver)
    app.invoke(said(1), config())
    assert app.get_state(config()).values["messages"] == ["question 1", {"number": 1}]
    allowed = saver.with_allowlist([(Ticket.__module__, Ticket.__name__)])
    assert tickets(allowed).get_state(config()).values["messages"] == ["question 1", Ticket(1)]
    assert app.get_state(config()).values["messages"] == ["question 1", {"number": 1}]


def test_encrypted_conversations_are_bound_to_their_thread(place):
    serde = EncryptedSerializer(Reversed(), JsonPlusSerializer(allowed_msgpack_modules=None))
    with AegisSaver.from_path(place, serde=serde) as saver:
        app = talk(saver)
        app.invoke(said(1), config())
        assert len(app.get_state(config()).values["messages"]) == 2
        with pytest.raises(Corrupt, match="has no cipher"):
            AegisSaver(saver.store).get_tuple(config())
        AegisSaver(saver.store).put(config("plain"), saver.get_tuple(config()).checkpoint, {}, {})
        with pytest.raises(Corrupt, match="is not encrypted"):
            saver.get_tuple(config("plain"))
        # What one thread's session holds is no other's: there is no way to put it there but to sign it anew.
        assert saver.get_tuple(config("other")) is None


def test_ids_come_newest_first_from_a_graph(saver):
    app = talk(saver)
    for number in range(3):
        app.invoke(said(number), config())
    names = ids(saver.list(config()))
    assert names == sorted(names, reverse=True)
    assert [each.config["configurable"]["checkpoint_id"] for each in app.get_state_history(config())] == names
