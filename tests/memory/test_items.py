"""A version of a key as people hold it."""

from __future__ import annotations

from datetime import UTC, datetime

import aegis_store
from aegis_store.memory.items import as_item
from aegis_store.memory.reading import View
from aegis_store.schema import names
from tests.memory.memories import SMALL, Standing


def test_an_item_has_the_times_of_its_put_whatever_record_it_is_read_from(tmp_path):
    clock = Standing()
    with aegis_store.open(tmp_path / "s", config=SMALL, clock=clock) as store:
        memory = store.memory
        memory.put(("a",), "k", 1, ttl=10)
        clock.pass_seconds(2)
        put = memory.put(("a",), "k", 2, ttl=10, agent="other")
        clock.pass_seconds(6)
        memory.get(("a",), "k")
        memory._refreshes._write()
        stored = memory._reader.newest(names.name_of(("a",), "k"), View(now=clock.now))
        assert stored.item.op == "refresh" and stored.put == 1 == put.ref.ordinal and stored.ref.ordinal == 2
        item = as_item(stored, stored.item.expires_ms)
        assert (item.version, item.value, item.created_at, item.changed_at) == (2, 2, put.created_at, put.changed_at)
        assert item.created_at == datetime.fromtimestamp(1_700_000_000, UTC)
        assert (item.expires_at - item.changed_at).total_seconds() == 16
        assert as_item(stored, None).expires_at is None
        assert (put.agent, item.agent) == ("other", "agent")
