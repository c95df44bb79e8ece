"""A checkpoint is cut into its channels without a look at their values."""

from __future__ import annotations

import ormsgpack
import pytest

from aegis_store.importers.source import Unfit, demand_taken, demand_whole, grouped, position_of, split

CHECKPOINT = {
    "v": 4,
    "id": "1f",
    "channel_values": {"list": [1, None, "ü"], "ext": ormsgpack.Ext(3, b"\xc1 not looked into"), "long": "x" * 70_000},
    "channel_versions": {"list": "1"},
}


def test_the_parts_are_the_bytes_of_the_whole():
    whole = ormsgpack.packb(CHECKPOINT)
    (kind, rest), channels, plain = split(("msgpack", whole))
    assert (kind, plain) == ("msgpack", {"v": 4, "id": "1f"})
    assert ormsgpack.unpackb(rest) == {name: CHECKPOINT[name] for name in ("v", "id", "channel_versions")}
    assert list(channels) == ["list", "ext", "long"]
    assert all(kind == "msgpack" and value in whole for kind, value in channels.values())
    assert channels["ext"][1] == ormsgpack.packb(CHECKPOINT["channel_values"]["ext"])


def test_json_is_cut_the_same_way():
    text = b'{"id":"1","channel_values":{"a":{"b":[1.0, 100000000000000000000000000]}}}'
    rest, channels, plain = split(("json", text))
    assert (rest, plain) == (("json", b'{"id":"1"}'), {"id": "1"})
    assert channels == {"a": ("json", b'{"b":[1.0, 100000000000000000000000000]}')}


def test_a_checkpoint_without_values_has_no_channels():
    assert split(("msgpack", ormsgpack.packb({"id": "1"})))[1] == {}
    with pytest.raises(Unfit, match="it is damaged") as caught:
        split(("msgpack", ormsgpack.packb({"id": "1", "channel_values": None})))
    assert caught.value.channel == "channel_values"


@pytest.mark.parametrize("cut", range(0, 50, 7))
def test_bytes_that_are_cut_short_are_damaged(cut):
    whole = ormsgpack.packb({**CHECKPOINT, "channel_values": {"a": 1}})
    with pytest.raises(Unfit, match="it is damaged"):
        split(("msgpack", whole[:cut]))


@pytest.mark.parametrize("data", [b"\xc1", b"\x92\x01", b"\x91" * 100_000 + b"\x01", b"\x01\x01"])
def test_a_value_that_is_not_what_it_is_said_to_be(data):
    with pytest.raises(Unfit, match="it is damaged") as caught:
        demand_whole(("msgpack", data), channel="c", task="t")
    assert (caught.value.channel, caught.value.task) == ("c", "t")


@pytest.mark.parametrize("kind", ["pickle", "msgpack+aes", "", "Pickle", "cloudpickle"])
def test_other_types_are_not_taken(kind):
    with pytest.raises(Unfit):
        demand_taken(kind)


def test_a_task_is_taken_whole_or_not_at_all_and_the_others_are_in_order():
    nil = b"\xc0"
    rows = [
        ("b", "t2", 1, "x", "msgpack", nil),
        ("b", "t2", 0, "y", "msgpack", nil),
        ("a", "t3", 0, "z", "pickle", nil),
        ("a", "t3", 1, "z", "msgpack", nil),
        ("a", "t1", -1, "__error__", "null", b""),
    ]
    taken, unfit = grouped(rows, "1f")
    assert [(each.task, [write.channel for write in each.writes]) for each in taken] == [
        ("t1", ["__error__"]),
        ("t2", ["y", "x"]),
    ]
    assert [(error.task, error.channel) for error in unfit] == [("t3", "z")]


def test_where_it_stands_is_told_as_our_saver_tells_it():
    assert position_of({"source": "loop", "step": 3}) == "loop/3"
    assert position_of([]) is None
