"""A saver on a store of its own: open inside of `with`, closed after it, however it ends."""

from __future__ import annotations

import asyncio
import copy

import pytest

import aegis_store
from aegis_store.adapters.langgraph import AegisSaver
from aegis_store.errors import Closed, ReadOnly
from tests.adapters.langgraph.made_up import checkpoint, config


def test_the_store_is_made_and_closed(place):
    with AegisSaver.from_path(place, agent="graph") as saver:
        saver.put(config(), checkpoint(), {}, {})
        assert saver.store.agent == "graph"
    with pytest.raises(Closed):
        saver.get_tuple(config())
    with AegisSaver.from_path(place, mode="r") as saver:
        assert saver.get_tuple(config()) is not None
        with pytest.raises(ReadOnly):
            saver.put(config(), checkpoint(), {}, {})


def test_it_is_closed_after_an_error(place):
    with pytest.raises(ZeroDivisionError), AegisSaver.from_path(place) as saver:
        raise ZeroDivisionError
    with pytest.raises(Closed):
        saver.get_tuple(config())


def test_tasks_open_it_too(place):
    async def work():
        async with AegisSaver.from_path(place) as saver:
            await saver.aput(config(), checkpoint(), {}, {})
        return saver

    saver = asyncio.run(work())
    with pytest.raises(Closed):
        saver.get_tuple(config())
    aegis_store.open(place).close()


def test_whoever_opened_the_store_closes_it_and_copies_close_nothing(store):
    saver = AegisSaver(store)
    clone = copy.copy(saver)
    saver.put(config(), checkpoint(), {}, {})
    del saver
    assert clone.get_tuple(config()) is not None
    store.check_open()
