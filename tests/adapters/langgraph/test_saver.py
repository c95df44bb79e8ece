"""The saver, method by method: what LangGraph's own suite does not ask."""

from __future__ import annotations

import asyncio
import copy
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from langgraph.checkpoint.base import WRITES_IDX_MAP
from langgraph.checkpoint.serde.types import ERROR, INTERRUPT, RESUME

import aegis_store
from aegis_store.adapters.langgraph import AegisSaver
from aegis_store.adapters.langgraph import saver as saver_module
from aegis_store.errors import InvalidArgument, StateTooLarge
from tests.adapters.langgraph.made_up import checkpoint, config, ids, line_of


def of(found) -> str:
    return found.config["configurable"]["checkpoint_id"]


# ---- put --------------------------------------------------------------------------------------------------------------------


def test_the_same_put_again_stores_nothing(saver, store):
    made = checkpoint({"a": 1})
    first = saver.put(config(), made, {"step": 1}, {"a": "1"})
    size = store.records.size()
    assert saver.put(config(), made, {"step": 1}, {"a": "1"}) == first
    assert asyncio.run(saver.aput(config(), made, {"step": 1}, {"a": "1"})) == first
    assert store.records.size() == size


def test_a_checkpoint_is_never_its_own_parent(saver):
    first = saver.put(config(), checkpoint({"a": 1}), {}, {})
    second = saver.put(first, checkpoint({"a": 2}), {}, {})
    for value in (3, 4):
        again = checkpoint({"a": value}, checkpoint_id=second["configurable"]["checkpoint_id"])
        assert saver.put(second, again, {}, {}) == second
        found = saver.get_tuple(second)
        assert found.checkpoint["channel_values"] == {"a": value}
        assert found.parent_config == first
    alone = checkpoint({"a": 1})
    saver.put(config(checkpoint_id=alone["id"]), alone, {}, {})
    assert saver.get_tuple(config(checkpoint_id=alone["id"])).parent_config is None


def test_tasks_put_again_too(saver):
    async def work():
        first = await saver.aput(config(), checkpoint({"a": 1}), {}, {})
        again = checkpoint({"a": 2}, checkpoint_id=first["configurable"]["checkpoint_id"])
        assert await saver.aput(config(), again, {}, {}) == first
        return await saver.aget_tuple(config())

    assert asyncio.run(work()).checkpoint["channel_values"] == {"a": 2}


def test_a_thread_may_be_called_by_a_number(saver):
    made = saver.put({"configurable": {"thread_id": 7, "checkpoint_ns": ""}}, checkpoint(), {}, {})
    assert made["configurable"]["thread_id"] == 7
    assert saver.get_tuple({"configurable": {"thread_id": "7"}}) is not None


@pytest.mark.parametrize("call", ["put", "get_tuple", "put_writes"])
def test_a_configuration_that_names_no_thread_is_told(saver, call):
    arguments = {"put": (checkpoint(), {}, {}), "get_tuple": (), "put_writes": ([("c", 1)], "t")}[call]
    with pytest.raises(InvalidArgument, match="the configuration names"):
        getattr(saver, call)({"configurable": {"checkpoint_id": "x"}}, *arguments)


def test_writes_without_a_checkpoint_are_told(saver):
    with pytest.raises(InvalidArgument, match="the configuration names none"):
        saver.put_writes(config(), [("c", 1)], "t")


def test_a_state_above_the_limit_is_refused_and_nothing_is_stored(place):
    options = aegis_store.Config(state_limit_bytes=1 << 20)
    with AegisSaver.from_path(place, config=options) as saver:
        with pytest.raises(StateTooLarge):
            saver.put(config(), checkpoint({"a": bytes(3 << 20)}), {}, {})
        with pytest.raises(StateTooLarge):
            saver.put_writes(config(checkpoint_id="x"), [("a", bytes(3 << 20))], "t")
        assert saver.get_tuple(config()) is None


def test_a_large_state_is_put_beside_the_loop(saver, monkeypatch):
    monkeypatch.setattr(saver_module, "IN_LOOP_BYTES", 1000)
    threads = []
    put = AegisSaver.put
    monkeypatch.setattr(AegisSaver, "put", lambda *arguments: threads.append(threading.get_ident()) or put(*arguments))

    async def work():
        first = await saver.aput(config(), checkpoint({"a": b"x" * 5000}), {}, {"a": "1"})
        assert threads == []
        await saver.aput(first, checkpoint({"a": b"y" * 5000}, version="2"), {}, {"a": "2"})

    asyncio.run(work())
    assert threads and threads[0] != threading.get_ident()
    assert saver.get_tuple(config()).checkpoint["channel_values"] == {"a": b"y" * 5000}


# ---- writes -----------------------------------------------------------------------------------------------------------------


def test_writes_may_come_before_their_checkpoint(saver, place, store):
    made = checkpoint({"a": 1})
    saver.put_writes(config(checkpoint_id=made["id"]), [("a", "early")], "task", "~path")
    assert saver.get_tuple(config()) is None
    saver.put(config(), made, {}, {})
    assert saver.get_tuple(config()).pending_writes == [("task", "a", "early")]
    assert AegisSaver(store).get_tuple(config()).pending_writes == [("task", "a", "early")]


def test_writes_come_by_path_then_task_then_place(saver):
    made = saver.put(config(), checkpoint(), {}, {})
    saver.put_writes(made, [("a", 1), ("b", 2)], "2", "~2")
    saver.put_writes(made, [("a", 3)], "9", "~1")
    saver.put_writes(made, [("a", 4)], "1", "~3")
    saver.put_writes(made, [("a", 5)], "5")
    assert [(task, value) for task, _, value in saver.get_tuple(made).pending_writes] == [
        ("5", 5), ("9", 3), ("2", 1), ("2", 2), ("1", 4),
    ]  # fmt: skip


def test_special_channels_are_replaced_and_others_are_kept(saver):
    made = saver.put(config(), checkpoint(), {}, {})
    for turn in range(3):
        saver.put_writes(made, [("a", turn), (RESUME, turn), (INTERRUPT, turn), (ERROR, turn)], "task")
    found = {channel: value for _, channel, value in saver.get_tuple(made).pending_writes}
    assert found == {"a": 0, RESUME: 2, INTERRUPT: 2, ERROR: 2}
    assert all(WRITES_IDX_MAP[channel] < 0 for channel in found if channel != "a")


def test_no_writes_are_no_record(saver, store):
    made = saver.put(config(), checkpoint(), {}, {})
    size = store.records.size()
    saver.put_writes(made, [], "task")
    asyncio.run(saver.aput_writes(made, [], "task"))
    assert store.records.size() == size


def test_writes_larger_than_a_record_come_back(saver, store):
    made = saver.put(config(), checkpoint(), {}, {})
    value = bytes(range(256)) * (100 << 10)
    saver.put_writes(made, [("a", value), ("b", 1)], "task")
    assert AegisSaver(store).get_tuple(made).pending_writes == [("task", "a", value), ("task", "b", 1)]


# ---- list -------------------------------------------------------------------------------------------------------------------


def test_the_order_is_that_of_the_puts_and_not_of_the_ids(saver):
    """Ids of two processes, one of whose clocks is wrong, are in no order."""
    names = [str(uuid.UUID(int=number)) for number in (9, 3, 7, 1)]
    before = config()
    for name in names:
        before = saver.put(before, checkpoint(checkpoint_id=name), {}, {})
    assert ids(saver.list(config())) == names[::-1]
    assert of(saver.get_tuple(config())) == names[-1]
    assert ids(saver.list(config(), before=config(checkpoint_id=names[2]))) == names[1::-1]


def test_before_what_went_is_told_by_ids(saver):
    made = [each["configurable"]["checkpoint_id"] for each in line_of(saver, 4)]
    assert ids(saver.list(config(), before=config(checkpoint_id=made[3][:-1]))) == made[2::-1]


def test_lists_of_several_namespaces_and_threads_are_in_one_order(saver):
    made = []
    for _ in range(3):
        for thread in "tu":
            for namespace in ("", "child"):
                made.append(of_config(saver.put(config(thread, namespace=namespace), checkpoint(), {}, {})))
    assert ids(saver.list(None)) == made[::-1]
    assert ids(saver.list(config("t", namespace=None))) == [each for at, each in enumerate(made) if at % 4 < 2][::-1]
    before = config("u", made[6])
    assert ids(saver.list(None, before=before, limit=2)) == [made[5], made[4]]


def of_config(made) -> str:
    return made["configurable"]["checkpoint_id"]


def test_a_list_by_id_has_that_one(saver):
    made = line_of(saver, 3)
    assert ids(saver.list(made[1])) == [of_config(made[1])]
    assert ids(saver.list(config(checkpoint_id="no such id"))) == []


def test_a_filter_compares_what_is_there(saver):
    saver.put(config(), checkpoint(), {"source": "loop", "tags": ["x"], "none": None}, {})
    for wanted in ({"source": "loop"}, {"tags": ["x"]}, {"none": None}, {"source": "loop", "tags": ["x"]}, {}):
        assert len(list(saver.list(config(), filter=wanted))) == 1, wanted
    for wanted in ({"other": None}, {"step": 0}, {"source": "loop", "tags": []}):
        assert list(saver.list(config(), filter=wanted)) == [], wanted
    assert list(saver.list(config(), limit=0)) == []


def test_a_list_that_is_not_read_on_keeps_nobody_waiting(saver):
    line_of(saver, 200)
    paused = saver.list(config())
    first = of(next(paused))
    later = line_of(saver, 3, thread="u")
    saver.put(config(checkpoint_id=first), checkpoint(), {}, {})
    saver.delete_thread("u")
    saver.prune(["t"])
    assert len(later) == 3
    assert len(list(paused)) <= 199  # what went in between is left out, and nothing breaks


def test_tasks_list_while_others_write(saver):
    line_of(saver, 50)

    async def work():
        seen, written = [], []

        async def read():
            async for each in saver.alist(config()):
                seen.append(of(each))
                await asyncio.sleep(0)

        async def write():
            while not seen:
                await asyncio.sleep(0)
            for _ in range(5):
                written.append(await saver.aput(config("u"), checkpoint(), {}, {}))

        await asyncio.gather(read(), write())
        return seen, written

    seen, written = asyncio.run(work())
    assert len(seen) == 50 and len(written) == 5


# ---- copies, loops, threads -------------------------------------------------------------------------------------------------


def test_copies_share_the_store(saver):
    clone = copy.copy(saver)
    derived = saver.with_allowlist([("tests.adapters.langgraph.types", "Kept")])
    assert derived is not saver and derived.serde is not saver.serde
    made = clone.put(config(), checkpoint({"a": 1}), {}, {})
    derived.put_writes(made, [("a", 2)], "task")
    del clone
    assert saver.get_tuple(made).pending_writes == [("task", "a", 2)]


def test_twenty_threads_at_once(saver, store):
    def run(thread: str) -> list[str]:
        before, made = config(thread), []
        for step in range(30):
            saver.put_writes(before | {}, [("a", step)], "task") if made else None
            before = saver.put(before, checkpoint({"a": [thread, step]}, version=str(step)), {"step": step}, {"a": str(step)})
            made.append(of_config(before))
        return made

    threads = [f"t{number // 2}" for number in range(20)]  # two at a time on one thread
    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(run, threads))
    for number in range(10):
        found = ids(saver.list(config(f"t{number}")))
        assert sorted(found) == sorted(made[2 * number] + made[2 * number + 1])
        for own in made[2 * number : 2 * number + 2]:
            assert [each for each in found if each in own] == own[::-1]
    assert store.verify(deep=True).findings == ()


def test_loops_one_after_the_other_and_side_by_side(saver):
    async def work(thread: str) -> None:
        made = [await saver.aput(config(f"{thread} {n}"), checkpoint(), {}, {}) for n in range(5)]
        await asyncio.gather(*(saver.aput_writes(each, [("a", 1)], "task") for each in made))
        assert all([(await saver.aget_tuple(each)).pending_writes for each in made])

    for turn in range(3):
        asyncio.run(work(f"after {turn}"))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: asyncio.run(work(f"beside {number}")), range(4)))


def test_a_task_that_is_cancelled_has_put_once_or_not_at_all(saver):
    made = checkpoint({"a": 1})

    async def work():
        putting = asyncio.ensure_future(saver.aput(config(), made, {}, {}))
        await asyncio.sleep(0)
        putting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await putting
        await saver.aput(config(), made, {}, {})

    asyncio.run(work())
    assert len(list(saver.list(config()))) == 1


def test_versions_count_up_and_are_never_the_same(saver):
    first = saver.get_next_version(None, None)
    others = {saver.get_next_version(first, None) for _ in range(50)}
    assert len(others) == 50 and all(other > first for other in others)
    assert saver.get_next_version(8, None).startswith(f"{9:032}.")
    assert first.startswith(f"{1:032}.0.") and saver.get_next_version(first, None).startswith(f"{2:032}.")


def test_one_thousand_threads_are_told_apart(saver):
    for number in range(1000):
        saver.put(config(f"t{number}"), checkpoint({"n": number}), {"number": number}, {})
    for number in range(0, 1000, 37):
        assert saver.get_tuple(config(f"t{number}")).checkpoint["channel_values"] == {"n": number}
    assert len(list(saver.list(None, filter={"number": 700}))) == 1
    assert len(ids(saver.list(config("t500", namespace=None)))) == 1
