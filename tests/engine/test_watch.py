"""Requests and watchers: what a loop is told, and that it is told at every end there is."""

from __future__ import annotations

import gc
import os
import select

import pytest

from aegis_store import errors
from aegis_store._engine import Watcher
from aegis_store.types import Tier
from tests.engine.test_calls import in_child

LONG_MS = 60_000


def readable(watcher: Watcher, timeout_ms: int = 0) -> bool:
    ear = select.poll()
    ear.register(watcher.fd, select.POLLIN)
    return bool(ear.poll(timeout_ms))


@pytest.fixture
def watching(opened):
    """An engine that leads only when it is told to, and a watcher."""
    engine = opened(background=False)
    watcher = Watcher(engine)
    yield engine, watcher
    watcher.close()


def test_a_request_is_answered_when_its_group_lands(watching):
    engine, watcher = watching
    for number in range(10):
        index = engine.append(Tier.SESSION, 1, b"e", b"p")
        assert not readable(watcher)
        watcher.request(Tier.SESSION, index)
        assert not readable(watcher) and engine.size(Tier.SESSION) == number
        engine.run_background()
        assert readable(watcher)
        landed = watcher.look()
        assert landed.answers(Tier.SESSION, index) and not landed.answers(Tier.SESSION, index + 1)
        assert not landed.answers(Tier.AUDIT, 0) and not landed.closed
        assert watcher.result(Tier.SESSION, index) is None
        assert not readable(watcher)


def test_the_background_thread_leads_for_those_who_only_ask(opened):
    engine = opened()
    watcher = Watcher(engine)
    first = engine.append(Tier.SESSION, 1, b"e")
    for index in range(first, first + 300):
        watcher.request(Tier.SESSION, index)
        engine.append(Tier.SESSION, 1, b"e")
    while not watcher.look().answers(Tier.SESSION, first + 299):
        assert readable(watcher, LONG_MS)
    assert engine.size(Tier.SESSION) >= 300
    watcher.close()


def test_what_has_no_answer_says_so(watching):
    engine, watcher = watching
    index = engine.append(Tier.SESSION, 1, b"e")
    watcher.request(Tier.SESSION, index)
    assert isinstance(watcher.result(Tier.SESSION, index), errors.InvalidArgument)
    with pytest.raises(errors.NotFound):
        watcher.request(Tier.SESSION, index + 1)
    with pytest.raises(errors.InvalidArgument):
        watcher.request(Tier.SESSION, -1)


def test_a_close_answers_everything_and_the_watcher_lives_on(watching):
    engine, watcher = watching
    index = engine.append(Tier.SESSION, 1, b"e")
    watcher.request(Tier.SESSION, index)
    engine.close()
    assert readable(watcher)
    landed = watcher.look()
    assert landed.closed and landed.sizes[Tier.SESSION] == index + 1
    assert watcher.result(Tier.SESSION, index) is None
    with pytest.raises(errors.Closed):
        watcher.request(Tier.SESSION, index)
    with pytest.raises(errors.Closed):
        Watcher(engine)


def test_a_store_that_is_given_up_leaves_the_outcome_unknown(watching):
    engine, watcher = watching
    index = engine.append(Tier.SESSION, 1, b"e")
    watcher.request(Tier.SESSION, index)
    engine.abandon()
    assert readable(watcher) and watcher.look().answers(Tier.SESSION, index)
    error = watcher.result(Tier.SESSION, index)
    assert isinstance(error, errors.OutcomeUnknown)
    assert (error.tier, error.index, error.path) == ("session", index, engine.path)


def test_a_reader_has_nothing_to_ask_for(opened, fill):
    engine = opened()
    fill(engine, Tier.SESSION, 1)
    with pytest.raises(errors.ReadOnly):
        Watcher(opened("r"))


def test_a_watcher_that_is_closed_or_forgotten_gives_its_descriptor_back(watching):
    engine, watcher = watching
    other = Watcher(engine)
    fd = other.fd
    os.fstat(fd)
    other.close()
    other.close()
    assert other.closed and not watcher.closed
    for use in (other.look, lambda: other.request(Tier.SESSION, 0), lambda: other.result(Tier.SESSION, 0)):
        with pytest.raises(errors.Closed):
            use()
    with pytest.raises(OSError):
        os.fstat(fd)
    forgotten = Watcher(engine)
    fd = forgotten.fd
    del forgotten
    gc.collect()
    with pytest.raises(OSError):
        os.fstat(fd)


def test_a_child_hears_nothing(watching):
    engine, watcher = watching
    index = engine.append(Tier.SESSION, 1, b"e")
    assert in_child(watcher.look) == "UsedAfterFork"
    assert in_child(lambda: watcher.request(Tier.SESSION, index)) == "UsedAfterFork"
    assert in_child(lambda: os.fstat(watcher.fd)) == "OSError"
    assert in_child(watcher.close) == "None"
    watcher.request(Tier.SESSION, index)
    engine.run_background()
    assert readable(watcher)
