"""Housekeeping: once for many times due, in one thread, and over when it is said to be."""

from __future__ import annotations

import threading

import pytest

import aegis_store
from aegis_store.catalog import catalog
from aegis_store.housekeeping import Housekeeping
from tests.stores import SMALL, Crash, states

WAIT_SECONDS = 30


def test_what_becomes_due_while_it_runs_is_done_once_more_in_the_same_thread():
    started, go, ran = threading.Semaphore(0), threading.Semaphore(0), []

    def work() -> None:
        ran.append(threading.get_ident())
        started.release()
        assert go.acquire(timeout=WAIT_SECONDS)

    house = Housekeeping(work)
    house.due()
    assert started.acquire(timeout=WAIT_SECONDS)
    for _ in range(5):
        house.due()
    go.release(2)
    house.finish()
    assert len(ran) == 2
    assert len({threading.get_ident(), *ran}) == 2
    house.due()
    assert len(ran) == 2


def test_no_thread_is_left_when_nothing_is_due():
    done = threading.Event()
    house = Housekeeping(done.set)
    begun: set[threading.Thread] = set()
    for _ in range(3):
        done.clear()
        house.due()
        begun |= {each for each in threading.enumerate() if "housekeeping" in each.name}
        assert done.wait(WAIT_SECONDS)
    house.finish()
    for each in begun:
        each.join(WAIT_SECONDS)  # which has nothing more to do, but may still be on its way out
        assert not each.is_alive()


def test_where_no_thread_can_be_started_nothing_fails(monkeypatch):
    house = Housekeeping(lambda: pytest.fail("there is no thread to do this"))

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    house.due()
    house.finish()


def test_an_interrupt_while_it_is_waited_for_closes_the_store_all_the_same(tmp_path, monkeypatch):
    store = aegis_store.open(tmp_path / "state")
    store.session("s").checkpoint(1)

    def interrupted(house: Housekeeping) -> None:
        raise Crash

    monkeypatch.setattr(Housekeeping, "finish", interrupted)
    with pytest.raises(Crash):
        store.close()
    monkeypatch.undo()
    with aegis_store.open(tmp_path / "state") as again:
        assert states(again, "s") == [1]


def test_pending_rows_are_written_by_nobody_who_waits_for_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "PENDING_ROWS", 16)
    wrote, flushed = set(), threading.Event()
    real = catalog.Catalog.flush

    def flush(self) -> None:
        wrote.add(threading.get_ident())
        real(self)
        flushed.set()

    monkeypatch.setattr(catalog.Catalog, "flush", flush)
    with aegis_store.open(tmp_path / "state", config=SMALL) as store:
        for number in range(100):
            store.session("s").checkpoint(number)
        assert flushed.wait(WAIT_SECONDS)
        assert threading.get_ident() not in wrote
        assert states(store, "s") == list(range(100))
