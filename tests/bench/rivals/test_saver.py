from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from aegis_store.bench.rivals.saver import Saver

pytest.importorskip("langgraph.checkpoint.sqlite", reason="not installed: pip install '.[bench]'")

STATES = [{"messages": ["a", "b"][: n + 1], "position": n, "scratchpad": ""} for n in range(2)]


@pytest.fixture(params=["sqlite", "in_memory"])
def opened(request, tmp_path):
    with Saver.sqlite(tmp_path / "s.sqlite") if request.param == "sqlite" else Saver.in_memory() as saver:
        yield saver


def test_each_state_is_put_as_the_child_of_the_one_before(opened):
    for work in opened.works("t", STATES):
        work()
    latest = opened.latest("t")
    assert latest.checkpoint["channel_values"] == STATES[1]
    assert [each[2] for each in latest.pending_writes] == [["b"], 1]
    first = opened.at("t", latest.parent_config["configurable"]["checkpoint_id"])
    assert first.checkpoint["channel_values"] == STATES[0] and first.parent_config is None


def test_it_is_set_up_as_its_users_have_it(tmp_path):
    with Saver.sqlite(tmp_path / "s.sqlite") as saver:
        assert saver.synchronous() == "wal, synchronous=FULL"
        for work in saver.works("t", STATES):
            work()
        assert saver.file_bytes() == (tmp_path / "s.sqlite").stat().st_size > 4096


def test_rows_filled_in_bulk_are_what_put_would_have_written(tmp_path):
    with Saver.sqlite(tmp_path / "s.sqlite") as saver:
        saver.fill([("t", "1", None, STATES[0]), ("t", "2", "1", STATES[1])])
        latest = saver.latest("t")
        assert latest.checkpoint["channel_values"] == STATES[1]
        assert latest.parent_config["configurable"]["checkpoint_id"] == "1"
        assert saver.at("t", "1").checkpoint["channel_values"] == STATES[0]
    with closing(sqlite3.connect(tmp_path / "s.sqlite")) as reader:
        assert reader.execute("SELECT count(*) FROM checkpoints").fetchone() == (2,)
