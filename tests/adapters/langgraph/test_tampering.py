"""Rows that somebody put into the files: refused before a serializer sees one byte of them."""

from __future__ import annotations

import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

import aegis_store
from aegis_store.adapters.langgraph import AegisSaver
from aegis_store.adapters.langgraph.names import Line, session_id
from aegis_store.errors import BadSignature, Corrupt, Foreign
from aegis_store.schema.writes import Write, Writes, encode_part, parts_of
from aegis_store.session import Session
from aegis_store.types import Kind
from tests.adapters.langgraph.made_up import config, line_of
from tests.stores import flip, forging, frame_of


class Watched(JsonPlusSerializer):
    """Says what it was given to decode."""

    def __init__(self) -> None:
        super().__init__(allowed_msgpack_modules=None)
        self.seen: list[tuple[str, bytes]] = []

    def loads_typed(self, data):
        self.seen.append(data)
        return super().loads_typed(data)


@pytest.fixture
def made(place):
    """A store with a thread of three checkpoints, each with writes, the last one with more, and another thread; the indexes of
    both kinds of records, and the thread's tag."""
    with aegis_store.open(place) as store:
        saver = AegisSaver(store)
        for each in line_of(saver, 3):
            saver.put_writes(each, [("__resume__", "first")], "task")
        saver.put_writes(each, [("__resume__", "second")], "task")
        line_of(saver, 1, thread="other")
        records = list(store.records.scan(0, store.records.size()))
        tag = store.catalog.session(session_id(Line("t", ""))).tag
        return (*([each.index for each in records if each.kind == kind] for kind in (Kind.CHECKPOINT, Kind.WRITES)), tag)


def refused(place, error: type[Exception], match: str) -> None:
    """Reading the thread is refused, nothing was decoded, and the other thread is as it was."""
    serde = Watched()
    with aegis_store.open(place) as store:
        saver = AegisSaver(store, serde=serde)
        with pytest.raises(error, match=match):
            saver.get_tuple(config())
        assert serde.seen == []
        assert saver.get_tuple(config("other")) is not None
        assert not store.verify(deep=True).ok


def test_an_old_checkpoint_put_at_the_end_again_is_not_the_newest(place, made):
    with forging(place) as forger:
        forger.again(made[0][0])
    refused(place, Foreign, "does not follow")


def test_old_writes_put_at_the_end_again_do_not_replace_newer_ones(place, made):
    with forging(place) as forger:
        forger.again(made[1][2])
    refused(place, Foreign, "is writes 2 of its session, as record")


def test_writes_of_a_stranger_are_refused(place, made):
    body = Writes(request_id="r", task="t", path="", writes=(Write(-4, "__resume__", "pickle", b"hostile"),))
    (envelope,) = [encode_part(part) for part in parts_of(body)]
    with forging(place) as forger:
        theirs = forger.engine.read
        tag = theirs(3, made[1][-1]).entry[112:120]
        fields = {"session_tag": made[2], "ordinal": 4, "request_tag": tag}
        forger.append(Kind.WRITES, *forger.sealed(Kind.WRITES, envelope, forger.stranger, **fields))
    refused(place, BadSignature, "no key with id")


@pytest.mark.parametrize("kind", [0, 1], ids=["checkpoint", "writes"])
def test_a_flipped_byte_is_named(place, made, kind):
    index = made[kind][-1 if kind else 2]
    path, span = frame_of(place, index)
    flip(path, span.payload + 25)
    serde = Watched()
    with aegis_store.open(place) as store:
        with pytest.raises(Corrupt) as caught:
            AegisSaver(store, serde=serde).get_tuple(config())
        assert caught.value.index == index
    assert serde.seen == []


def test_a_flipped_byte_while_the_store_is_open_is_found_by_whoever_has_not_read_it(place, made):
    with aegis_store.open(place) as store:
        knows = AegisSaver(store)
        known = knows.get_tuple(config())
        path, span = frame_of(place, made[1][-1])
        flip(path, span.payload + 25)
        with pytest.raises(Corrupt):
            AegisSaver(store).get_tuple(config())
        assert knows.get_tuple(config()) == known


def test_a_record_of_another_thread_is_found_out(place, made, monkeypatch):
    """The catalogue is a cache: what it says is compared with what the record says."""
    with aegis_store.open(place) as store:
        others = store.session(session_id(Line("other", ""))).places()
        monkeypatch.setattr(Session, "places", lambda self, **options: others)
        serde = Watched()
        with pytest.raises(Foreign, match="is not checkpoint"):
            AegisSaver(store, serde=serde).get_tuple(config())
        assert serde.seen == []
