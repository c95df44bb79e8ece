"""Whole threads: erased, copied, pruned; and what a hold says to it."""

from __future__ import annotations

import shutil

import pytest

import aegis_store
from aegis_store.adapters.langgraph import AegisSaver
from aegis_store.adapters.langgraph.names import Line, session_id
from aegis_store.errors import Held, InvalidArgument
from tests.adapters.langgraph.made_up import checkpoint, config, ids, line_of

ID = "checkpoint_id"
SECRET = "what nobody is to read any more"


def bytes_of(place) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(place.rglob("*")) if path.is_file())


# ---- erasure ----------------------------------------------------------------------------------------------------------------


def test_a_thread_that_was_deleted_is_in_no_file(saver, store, place):
    for thread in ("ticket of somebody", "other"):
        made = saver.put(config(thread), checkpoint({"text": SECRET if thread != "other" else "kept"}), {}, {})
        saver.put_writes(made, [("text", SECRET if thread != "other" else "kept")], "task")
        saver.put(config(thread, namespace="child"), checkpoint({"text": SECRET if thread != "other" else "kept"}), {}, {})
    store.catalog.flush()
    assert b"ticket of somebody" in bytes_of(place)
    saver.delete_thread("ticket of somebody")
    store.catalog.flush()
    left = bytes_of(place)
    assert SECRET.encode() not in left
    assert b"ticket of somebody" not in left and b"ticket%20of" not in left
    assert saver.get_tuple(config("ticket of somebody")) is None
    assert list(saver.list(config("ticket of somebody", namespace=None))) == []
    assert saver.get_tuple(config("other")).pending_writes == [("task", "text", "kept")]
    assert store.verify(deep=True).findings == ()


def test_a_thread_begins_anew_after_it_was_deleted(saver):
    line_of(saver, 2)
    saver.delete_thread("t")
    names = [each["configurable"]["checkpoint_id"] for each in line_of(saver, 2)]
    assert ids(saver.list(config())) == names[::-1]


def test_many_threads_go_at_once(saver, store):
    for number in range(20):
        line_of(saver, 2, thread=f"t{number}")
    rewritten = []
    real = store.keeping.compactor.run
    store.keeping.compactor.run = lambda **options: rewritten.append(1) or real(**options)
    saver.prune([f"t{number}" for number in range(15)], strategy="delete")
    assert rewritten == [1]
    assert sorted({each.config["configurable"]["thread_id"] for each in saver.list(None)}) == sorted(
        f"t{n}" for n in range(15, 20)
    )


def test_what_is_not_there_is_deleted_without_a_word(saver):
    saver.delete_thread("never was")
    saver.prune(["never was"])
    saver.prune(["never was"], strategy="delete")
    saver.delete_for_runs(["never was"])
    saver.copy_thread("never was", "nor this")
    assert saver.get_tuple(config("nor this")) is None


def test_what_is_held_is_not_deleted(saver, store):
    made = line_of(saver, 3, run_id="r")
    store.session(session_id(Line("t", ""))).hold(reason="case 7", holder="legal", ordinal=1)
    for delete in (
        lambda: saver.delete_thread("t"),
        lambda: saver.prune(["t"], strategy="delete"),
        lambda: saver.delete_for_runs(["r"]),
    ):
        with pytest.raises(Held, match="case 7"):
            delete()
        assert len(list(saver.list(config()))) == 3
    saver.prune(["t"])
    assert ids(saver.list(config())) == [made[n]["configurable"]["checkpoint_id"] for n in (2, 1)]


# ---- what is let go ---------------------------------------------------------------------------------------------------------


def test_writes_go_with_their_checkpoint_and_the_space_comes_back(saver, store, place):
    made = line_of(saver, 3)
    for each in made:
        saver.put_writes(each, [("text", f"written after {each['configurable']['checkpoint_id']}")], "task")
    saver.prune(["t"])
    assert ids(saver.list(config())) == [made[-1]["configurable"]["checkpoint_id"]]
    assert len(saver.get_tuple(config()).pending_writes) == 1
    before = store.compact()
    assert before.payloads_gone == 4
    assert f"written after {made[0]['configurable']['checkpoint_id']}".encode() not in bytes_of(place)
    assert len(saver.get_tuple(config()).pending_writes) == 1
    assert store.verify(deep=True).findings == ()


def test_a_checkpoint_that_was_put_again_goes_whole(saver, store):
    names = [each["configurable"]["checkpoint_id"] for each in line_of(saver, 3)]
    saver.put(config(), checkpoint({"step": "again"}, checkpoint_id=names[0]), {}, {})
    saver.put(config(checkpoint_id=names[1]), checkpoint({"step": "again"}, checkpoint_id=names[2]), {}, {})
    saver.prune(["t"])
    assert ids(saver.list(config())) == names[2:]
    assert saver.get_tuple(config()).checkpoint["channel_values"] == {"step": "again"}


def test_runs_are_told_apart(saver):
    for run in "ab":
        line_of(saver, 3, thread="t", run_id=run)
        line_of(saver, 1, thread="u", namespace="child", run_id=run)
    saver.delete_for_runs(["a"])
    assert [each.metadata["run_id"] for each in saver.list(None)] == ["b"] * 4


def test_pruning_survives_a_new_catalogue(saver, store, place):
    line_of(saver, 5)
    saver.prune(["t"])
    names = ids(saver.list(config()))
    store.close()
    shutil.rmtree(place / "catalog")
    with aegis_store.open(place) as again:
        assert ids(AegisSaver(again).list(config())) == names
        assert again.verify(deep=True).findings == ()


def test_there_are_two_strategies(saver):
    with pytest.raises(InvalidArgument, match='"keep_latest" and "delete" are'):
        saver.prune(["t"], strategy="keep_none")


# ---- copies -----------------------------------------------------------------------------------------------------------------


def all_of(saver, thread: str) -> list[object]:
    """What is said of a thread's checkpoints, but for its name."""
    return [
        (
            each.checkpoint,
            each.metadata,
            each.pending_writes,
            each.parent_config and ids([each._replace(config=each.parent_config)]),
        )
        for each in saver.list(config(thread, namespace=None))
    ]


def same(saver, source: str, target: str) -> None:
    assert all_of(saver, source) == all_of(saver, target) != []


def test_a_copy_is_whole_and_its_own(saver, store):
    made = line_of(saver, 70)
    saver.put(made[0], checkpoint({"step": "again"}, checkpoint_id=made[1]["configurable"]["checkpoint_id"]), {}, {})
    for each in made[::9]:
        saver.put_writes(each, [("channel", 1), ("__interrupt__", 2)], "task", "~path")
    saver.copy_thread("t", "copy")
    same(saver, "t", "copy")
    saver.delete_thread("t")
    assert len(list(saver.list(config("copy")))) == 70
    assert store.verify(deep=True).findings == ()


def test_a_copy_that_was_cut_short_is_done_again(saver, monkeypatch):
    made = line_of(saver, 10)
    for each in made:
        saver.put_writes(each, [("channel", 1)], "task")
    writes, calls = saver._lines.writes, []

    def dies(line, checkpoint_id):
        calls.append(checkpoint_id)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return writes(line, checkpoint_id)

    monkeypatch.setattr(saver._lines, "writes", dies)
    with pytest.raises(KeyboardInterrupt):
        saver.copy_thread("t", "copy")
    monkeypatch.undo()
    saver.copy_thread("t", "copy")
    saver.copy_thread("t", "copy")
    same(saver, "t", "copy")
    session = saver.store.session(session_id(Line("copy", "")))
    assert session.info().checkpoints == 10
    assert all(len(session.writes(each["configurable"]["checkpoint_id"])) == 1 for each in made)


def test_a_pruned_thread_is_copied_without_what_went(saver):
    line_of(saver, 5)
    saver.prune(["t"])
    saver.copy_thread("t", "copy")
    same(saver, "t", "copy")
