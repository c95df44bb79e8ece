"""A log's entries, folded by the engine: what it tells of them, and when it will not."""

from __future__ import annotations

import struct

import pytest

import aegis_store
from aegis_store import Tier
from aegis_store._engine import REQUEST_SIZE, WRITES_SIZE, Chains
from aegis_store._engine.chains import POINT_SIZE
from aegis_store.errors import Closed, Corrupt, InvalidArgument
from aegis_store.schema.writes import Write, Writes
from aegis_store.types import Kind
from tests.stores import SMALL, noise

TOLD = (Kind.SESSION_BEGIN, Kind.KEY_ADD, Kind.KEY_REVOKE)


def test_sessions_points_and_requests_are_those_that_were_written(tmp_path):
    with aegis_store.open(tmp_path / "state", config=SMALL) as store:
        refs = [store.session("s").checkpoint(number, request_id=f"r{number}") for number in range(300)]
        for _ in range(2):
            store.session("s").write(Writes(request_id="r7", task="t", path="", writes=(Write(0, "c", "bytes", b""),)))
        fork = store.session("s").fork("f")
        forked = [fork.checkpoint(number) for number in range(3)]
        store.session("s").end()
        chains, told, taken = Chains(store._engine, Tier.SESSION, payloads_of=TOLD), [], []
        size = store.records.size()
        for stop in (1, 100, size):
            while chains.next < stop:
                told += chains.add(stop)
            taken.append(chains.take())
        assert told == [store._engine.read(Tier.SESSION, record.index) for record in told]
        assert [record.kind for record in told] == [Kind.KEY_ADD, Kind.SESSION_BEGIN, Kind.SESSION_BEGIN]
        assert [(each.first, each.end) for each in taken] == [(0, 1), (1, 100), (100, size)]
        assert [len(list(each.chains())) for each in taken] == [0, 1, 2]
        points = b"".join(each.points for each in taken)
        assert len(points) == POINT_SIZE * 303
        expected = [(ref.index, ref.time_ms) for ref in (*refs, *forked)]
        found = [struct.unpack("<IHIH", points[at : at + POINT_SIZE]) for at in range(0, len(points), POINT_SIZE)]
        assert [(low | high << 32, ms | more << 32) for low, high, ms, more in found] == expected
        requests = b"".join(each.requests for each in taken)
        assert len(requests) == REQUEST_SIZE * 300
        (tag, number, at, count, ordinal, head), (_, other, after, more, first, _) = taken[2].chains()
        session, forking = store.catalog.session("s"), store.catalog.session("f")
        assert (tag, number, other) == (session.tag, session.number, forking.number)
        assert (at, count, ordinal) == (0, 300 - (100 - 2), 98)
        assert (after, more, first) == (count, 3, 300)
        last = refs[-1]
        assert struct.unpack("<IQQQ32sI", head) == (299, last.index, last.time_ms, session.ended, last.leaf, 2)
        writes = b"".join(each.writes for each in taken)
        assert len(writes) == WRITES_SIZE * 2
        tag = store.records.request_tag(session.tag, "r7")
        assert writes[:18] == session.number.to_bytes(6, "big") + tag + bytes(4)
        index = int.from_bytes(writes[18:WRITES_SIZE], "little")
        assert store._engine.read(Tier.SESSION, index).kind == Kind.WRITES
        assert chains.take().chains().__length_hint__() == 0


def test_a_record_that_is_larger_than_the_buffer_is_told_whole(tmp_path):
    """A session's id may have a million characters."""
    drawn = noise(2_000_000)
    name = "".join(chr(0x4E00 + int.from_bytes(drawn[at : at + 2], "big") % 20_000) for at in range(0, len(drawn), 2))
    with aegis_store.open(tmp_path / "state") as store:
        store.session(name).checkpoint(1)
        chains, told = Chains(store._engine, Tier.SESSION, payloads_of=TOLD), []
        while chains.next < store.records.size():
            told += chains.add(store.records.size())
        assert [record.kind for record in told] == [Kind.KEY_ADD, Kind.SESSION_BEGIN]
        assert len(told[1].payload) > 1 << 20
        assert told[1] == store._engine.read(Tier.SESSION, told[1].index)


def test_a_log_of_something_else_is_refused_at_its_first_record(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 3)
    chains = Chains(engine, Tier.SESSION, payloads_of=TOLD)
    with pytest.raises(Corrupt) as caught:
        chains.add(3)
    assert (caught.value.index, caught.value.tier, chains.next) == (0, "session", 0)


def test_an_engine_that_is_closed_is_not_read(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 3)
    chains = Chains(engine, Tier.SESSION, payloads_of=TOLD)
    engine.close()
    with pytest.raises(Closed):
        chains.add(3)
    with pytest.raises(InvalidArgument):
        Chains(engine, 9, payloads_of=TOLD)
