"""The checkpoints of a thread: found by id, newest first, and those that took another's place."""

from __future__ import annotations

import gc

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from aegis_store.adapters.langgraph import AegisSaver
from aegis_store.adapters.langgraph.lines import PAGE, Lines
from aegis_store.adapters.langgraph.names import Line, session_id
from aegis_store.errors import Foreign
from aegis_store.schema.writes import Write, Writes
from tests.adapters.langgraph.made_up import checkpoint, config, ids, line_of

T = Line("t", "")


def names_of(configs) -> list[str]:
    return [each["configurable"]["checkpoint_id"] for each in configs]


@pytest.mark.parametrize("count", [1, 2, PAGE, PAGE + 1, 2 * PAGE + 3])
def test_all_come_newest_first_whatever_the_pages(saver, store, count):
    made = names_of(line_of(saver, count))
    for lines in (saver._lines, Lines(store)):
        assert [found.row.id for found in lines.down(T)] == made[::-1]
        assert lines.latest(T).row.id == made[-1]
        assert [lines.find(T, each).row.id for each in made] == made
    assert [found.row.id for found in Lines(store).down(T, before=1)] == made[:1]


def test_there_is_none_of_a_line_or_an_id_that_never_was(saver):
    line_of(saver, 1)
    lines = saver._lines
    assert lines.latest(Line("other", "")) is None
    assert lines.find(T, "no such id") is None
    assert lines.find(Line("other", ""), "no such id") is None
    assert lines.of_thread("other") == []


def test_what_is_put_again_keeps_its_place(saver, store):
    made = line_of(saver, 3)
    names = names_of(made)
    before = config(checkpoint_id=names[0])
    for value in ("again", "and again"):
        saver.put(before, checkpoint({"step": value}, checkpoint_id=names[1]), {"step": 1}, {"step": "x"})
    for lines in (saver._lines, Lines(store)):
        found = list(lines.down(T))
        assert [each.row.id for each in found] == names[::-1]
        assert list(found[1].ordinals) == [4, 3, 1]
        assert lines.find(T, names[1]).place == found[1].place
        assert lines.latest(T).row.id == names[2]
    assert saver.get_tuple(made[1]).checkpoint["channel_values"] == {"step": "and again"}


def test_the_newest_may_be_put_again(saver):
    made = line_of(saver, 2)
    saver.put(made[0], checkpoint({"step": "again"}, checkpoint_id=names_of(made)[1]), {}, {})
    assert saver.get_tuple(config()).checkpoint["channel_values"] == {"step": "again"}
    assert ids(saver.list(config())) == names_of(made)[::-1]


def test_what_took_the_place_of_one_that_went_is_found(saver, store):
    names = names_of(line_of(saver, 2))
    saver.put(config(), checkpoint({"step": "again"}, checkpoint_id=names[0]), {}, {})
    store.keeping.sweeper.prune({session_id(T): [0]}, reason="the first of its id")
    assert [found.row.id for found in Lines(store).down(T)] == [names[1], names[0]]


def test_what_went_is_not_remembered(saver, store):
    names = names_of(line_of(saver, 3))
    assert saver._lines.recalled(T, names[2]).id == names[2]
    store.keeping.sweeper.prune({session_id(T): [0, 2]}, reason="some")
    assert saver._lines.recalled(T, names[2]) is None
    assert [found.row.id for found in saver._lines.down(T)] == [names[1]]
    assert saver._lines.find(T, names[2]) is None
    assert saver._lines.latest(T).row.id == names[1]


def test_a_checkpoint_that_something_else_put_in_is_named(saver, store):
    line_of(saver, 1)
    store.session(session_id(T)).checkpoint("something else")
    with pytest.raises(Foreign, match="something else wrote it"):
        saver.get_tuple(config())


def test_writes_come_back_in_their_order_and_are_read_once(saver, store):
    made = line_of(saver, 1)[0]
    for task in "abc":
        saver.put_writes(made, [("channel", task)], task)
    name = names_of([made])[0]
    fresh = Lines(store)
    for _ in range(2):
        assert [each.task for each in fresh.writes(T, name)] == list("abc")
    assert len(fresh.parts) == 3
    assert [each.channel for each in fresh.pending(T, name)] == ["channel"] * 3


def test_lines_of_a_thread_are_found_without_those_of_others(saver):
    for thread in ("t", "t/", "tt"):
        for namespace in ("", "child"):
            line_of(saver, 1, thread=thread, namespace=namespace)
    assert saver._lines.of_thread("t") == [Line("t", ""), Line("t", "child")]
    assert len(saver._lines.all()) == 6


def test_sessions_of_others_are_no_lines(saver, store):
    store.session("plain").checkpoint("a state")
    line_of(saver, 1)
    assert saver._lines.all() == [T]
    assert len(list(saver.list(None))) == 1


def test_values_that_were_decoded_once_are_not_serialized_again(saver, store):
    made = line_of(saver, 1)[0]
    del saver
    gc.collect()
    counted = []

    class Counting(JsonPlusSerializer):
        def dumps_typed(self, obj):
            counted.append(obj)
            return super().dumps_typed(obj)

    later = AegisSaver(store, serde=Counting(allowed_msgpack_modules=None))
    found = later.get_tuple(made)
    following = checkpoint(found.checkpoint["channel_values"] | {"new": 1}, version="0")
    later.put(found.config, following, {}, {"new": "0"})
    assert 0 not in counted and 1 in counted
    assert later.get_tuple(config()).checkpoint["channel_values"] == {"step": 0, "new": 1}


def test_a_write_of_nobody_is_left_alone(saver, store):
    """The session begins with it, and has no checkpoint."""
    session = store.session(session_id(Line("early", "")))
    session.write(Writes(request_id="to come", task="t", path="", writes=(Write(0, "c", "null", b""),)))
    assert saver.get_tuple(config("early")) is None
    assert list(saver.list(config("early"))) == []
