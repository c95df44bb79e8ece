"""A comparison finds what differs: each of these changes one thing in a source after it was imported."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

import aegis_store
from aegis_store.importers.langgraph_sqlite import SqliteSource
from aegis_store.importers.reading_back import NAMED_MAX, compare
from aegis_store.importers.transfer import Transfer


def imported(file, path):
    with closing(SqliteSource(file)) as source, aegis_store.open(path) as store:
        return Transfer(source, store).run()


def compared(file, path):
    with closing(SqliteSource(file)) as source, aegis_store.open(path, mode="r") as store:
        return compare(source, store)


def change(file, statement, *given):
    with closing(sqlite3.connect(file)) as base, base:
        return base.execute(statement, given).rowcount


@pytest.mark.parametrize(
    ("statement", "what"),
    [
        ("UPDATE checkpoints SET metadata = '{}' WHERE thread_id = 'delta'", "its bytes"),
        ("UPDATE checkpoints SET parent_checkpoint_id = NULL WHERE thread_id = 'delta'", "its bytes"),
        ("DELETE FROM writes WHERE thread_id = 'delta'", "its pending writes"),
        ("UPDATE writes SET channel = 'other' WHERE thread_id = 'delta'", "its pending writes"),
        ("UPDATE writes SET task_path = task_path || 'x' WHERE thread_id = 'delta'", "its pending writes"),
    ],
)
def test_what_differs_is_named(file, tmp_path, statement, what):
    imported(file, tmp_path / "state")
    assert change(file, statement) > 0
    found = compared(file, tmp_path / "state")
    assert found.different > 0 and {each.what for each in found.differences} == {what}
    assert {each.thread for each in found.differences} == {"delta"}
    assert len(found.differences) <= NAMED_MAX


def test_what_the_source_s_own_saver_cannot_read_is_compared_as_bytes(file, tmp_path):
    # Whole as far as its outline goes, and its text is no UTF-8.
    change(file, "UPDATE writes SET type = 'msgpack', value = x'91a1ff' WHERE thread_id = 'delta'")
    done = imported(file, tmp_path / "state")
    found = compared(file, tmp_path / "state")
    assert (found.different, found.equal) == (0, done.checkpoints) and found.unread > 0


@pytest.mark.parametrize("said", [{"source": "elsewhere"}, {"more": 1}])
def test_tuples_are_compared_as_well_as_bytes(file, tmp_path, monkeypatch, said):
    imported(file, tmp_path / "state")
    read = SqliteSource.own_reader

    def other(self, serde):
        real = read(self, serde)

        def told(config):
            found = real(config)
            return found._replace(metadata=found.metadata | said)

        return told

    monkeypatch.setattr(SqliteSource, "own_reader", other)
    found = compared(file, tmp_path / "state")
    assert found.equal == 0 and {each.what for each in found.differences} == {"its metadata"}
    monkeypatch.setattr(SqliteSource, "own_reader", lambda self, serde: None)
    found = compared(file, tmp_path / "state")
    assert (found.different, found.with_own_saver) == (0, 0) and found.equal > 40


def test_the_newest_is_to_be_the_newest_here(file, tmp_path, monkeypatch):
    from aegis_store.importers import transfer

    real = transfer.parents_first
    monkeypatch.setattr(transfer, "parents_first", lambda steps: (real(steps)[0][::-1], []))
    monkeypatch.setattr(transfer.heapq, "merge", lambda *streams, key: (each for stream in streams for each in stream))
    imported(file, tmp_path / "state")
    assert {each.what for each in compared(file, tmp_path / "state").differences} == {"it is not the newest here"}
