"""Recovering from a task: the same results, while other tasks go on."""

from __future__ import annotations

import asyncio

import pytest

from aegis_store import aio
from aegis_store.aio.recovery import recover, recover_all
from aegis_store.errors import IncidentOpen
from aegis_store.recovery import Discard, Failure, Resume


def test_one_and_all(place):
    async def run():
        async with await aio.open(place) as store:
            for name in ("s", "t"):
                await store.session(name).checkpoint(name, position="plan")
            result = await recover(store, "s", failure=Failure.INFRASTRUCTURE)
            assert isinstance(result, Resume)
            assert result.checkpoint.state == "s"
            found = await recover_all(store, failure=Failure.UNKNOWN)
            assert [type(each.result) for each in found] == [Discard, Discard]
            with pytest.raises(IncidentOpen):
                await store.session(result.session.id).checkpoint("more")

    asyncio.run(run())
