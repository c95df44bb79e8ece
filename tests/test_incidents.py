"""Incidents: while one is open nothing of its session starts or goes on, in this process and after the next open."""

from __future__ import annotations

import asyncio
import threading

import pytest

import aegis_store
from aegis_store import aio
from aegis_store.errors import IncidentOpen, InvalidArgument, NotFound
from aegis_store.incidents import family, restart_id
from aegis_store.recovery import Failure, recover, recovery_of
from tests.stores import blot, frames, segments


@pytest.fixture
def place(tmp_path):
    return tmp_path / "store"


def refused(store: aegis_store.Store, *names: str) -> list[str]:
    found = []
    for name in names:
        try:
            store.session(name).checkpoint("more")
        except IncidentOpen as error:
            assert error.incident is not None
            found.append(name)
    return found


def test_a_session_that_stands_is_refused_at_once_and_another_is_not(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        session.checkpoint(1)
        incident = store.incidents.open("s", reason="a token leaked", by="soc")
        assert (incident.number, incident.session, incident.reason, incident.is_open) == (1, "s", "a token leaked", True)
        with pytest.raises(IncidentOpen, match="number 1") as caught:
            session.checkpoint(2)
        assert f"aegis incident close {place} 1 --reason" in caught.value.hint
        assert refused(store, "s", "s~2", "s~17", "t", "s~x", "s2") == ["s", "s~2", "s~17"]
        assert session.latest().state == 1


def test_it_is_refused_after_the_next_open_and_goes_on_once_it_is_closed(place):
    with aegis_store.open(place) as store:
        store.session("s~2").checkpoint(1)
        store.incidents.open("s~2", reason="why", by="soc")
    with aegis_store.open(place) as store:
        assert refused(store, "s", "s~2", "s~3", "t") == ["s", "s~2", "s~3"]
        closed = store.incidents.close(1, reason="keys changed", by="ana")
        assert (closed.is_open, closed.closed_by, closed.closed_why) == (False, "ana", "keys changed")
        assert refused(store, "s", "s~2", "s~3") == []
        with pytest.raises(NotFound, match="closed before"):
            store.incidents.close(1, reason="again", by="ana")
        with pytest.raises(NotFound, match="no incident 2"):
            store.incidents.close(2, reason="x", by="ana")
    with aegis_store.open(place) as store:
        assert refused(store, "s~2") == []
        assert [each.is_open for each in store.incidents.list()] == [False]
        assert store.incidents.of("s") is None


def test_one_incident_a_session_and_numbers_without_gaps(place):
    with aegis_store.open(place) as store:
        assert store.incidents.list() == []
        first = store.incidents.open("s", reason="one", by="soc")
        assert store.incidents.open("s~2", reason="two", by="soc") == first
        assert store.incidents.open("t", reason="three", by="soc", details={"case": 7}).details == {"case": 7}
        store.incidents.close(1, reason="done", by="soc")
        assert store.incidents.open("s", reason="four", by="soc").number == 3
        assert [each.number for each in store.incidents.list(open=True)] == [2, 3]
        with pytest.raises(InvalidArgument):
            store.incidents.open("u", reason=" ", by="soc")


def test_a_reader_sees_what_a_writer_opens_and_closes(place):
    with aegis_store.open(place) as store, aegis_store.open(place, mode="r") as reader:
        assert reader.incidents.of("s") is None
        store.incidents.open("s", reason="why", by="soc")
        assert reader.incidents.of("s~2").number == 1
        store.incidents.close(1, reason="done", by="soc")
        assert reader.incidents.of("s") is None
        assert not reader.incidents.get(1).is_open


def test_nothing_forks_from_it(place):
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(1)
        store.incidents.open("s", reason="why", by="soc")
        with pytest.raises(IncidentOpen):
            store.session("s").fork("f")
        assert store.session("f").info() is None


def test_what_was_on_its_way_is_not_lost_track_of(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        session.checkpoint(0)
        pending = session.submit(1)
        store.incidents.open("s", reason="why", by="soc")
        store.incidents.close(1, reason="done", by="soc")
        assert session.checkpoint(2).ordinal == 2
        session.settle(pending.ref.index)
        assert [each.state for each in session.history()] == [2, 1, 0]
    with aegis_store.open(place, mode="r") as store:
        assert store.verify(deep=True).ok


def test_threads_that_write_are_stopped(place):
    with aegis_store.open(place) as store:
        begun, stopped = threading.Barrier(5), []

        def write() -> None:
            session = store.session("s")
            session.checkpoint("first")
            begun.wait()
            try:
                while True:
                    session.checkpoint("more")
            except IncidentOpen as error:
                stopped.append(error.incident)

        threads = [threading.Thread(target=write) for _ in range(4)]
        for each in threads:
            each.start()
        begun.wait()
        store.incidents.open("s", reason="why", by="soc")
        for each in threads:
            each.join(60)
        assert stopped == [1] * 4


def test_tasks_are_stopped(place):
    async def run() -> None:
        async with await aio.open(place) as store:
            session = store.session("s")
            await session.checkpoint(1)
            store.sync.incidents.open("s", reason="why", by="soc")
            with pytest.raises(IncidentOpen):
                await session.checkpoint(2)

    asyncio.run(run())


@pytest.mark.parametrize("ordinal", [0, 1])
def test_an_incident_that_cannot_be_read_refuses_every_session_until_it_is_closed(place, ordinal):
    with aegis_store.open(place) as store:
        store.session("t").checkpoint(1)
        opened = store.incidents.open("s", reason="why", by="soc")
        where = next(store.audit.events("incident/1")).ref.index
        assert opened.is_open
        if ordinal:
            where = store.audit.record("soc", "note", "incident/1").index
    path, span = next((path, span) for path in segments(place, "audit") for span in frames(path) if span.index == where)
    blot(path, span.payload, 16)
    with aegis_store.open(place) as store:
        expected = ["s", "t"] if ordinal == 0 else ["s"]
        assert refused(store, "s", "t") == expected
        if ordinal == 0:
            with pytest.raises(IncidentOpen, match="cannot be read"):
                recover(store, "t", failure=Failure.INFRASTRUCTURE)
            assert recovery_of(store, "t") is None
        store.incidents.close(1, reason="seen", by="ana")
        assert refused(store, "s", "t") == []


@pytest.mark.parametrize(
    ("name", "root"),
    [
        ("s", "s"),
        ("s~2", "s"),
        ("s~12", "s"),
        ("s~02", "s~02"),
        ("~2", "~2"),
        ("a~2~3", "a~2"),
        ("s~", "s~"),
        ("a\nb~2", "a\nb"),
    ],
)
def test_what_a_session_is_a_restart_of(name, root):
    assert family(name) == root


def test_a_restart_is_of_the_first(place):
    assert restart_id("s", 2) == "s~2"
    assert restart_id("s~2", 3) == "s~3"
