"""The file of a SqliteSaver: opened so that it is left as it was, and what is none is said to be none."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing

import pytest

from aegis_store.errors import SourceBusy, SourceUnreadable
from aegis_store.importers import langgraph_sqlite
from aegis_store.importers.langgraph_sqlite import SqliteSource
from aegis_store.importers.source import Step

from .conftest import sqlite_origin
from .graphs import THREADS, begin, compiled, config


def everything(path) -> tuple[int, int]:
    with closing(SqliteSource(path)) as source:
        size = source.size([])
        assert sorted({line.thread for line in source.lines([])}) == THREADS
        source.demand_unchanged()
        return size.checkpoints, size.writes


def test_a_file_that_nobody_has_open_gets_no_neighbours(filled):
    everything(filled)
    assert sorted(each.name for each in filled.parent.iterdir()) == ["checkpoints.db"]


def test_a_file_that_is_open_is_read_with_what_is_in_its_log(file):
    before = everything(file)
    with sqlite_origin(file).saver() as saver:
        begin(compiled(saver), "asks")
        assert os.path.getsize(f"{file}-wal") > 0
        assert everything(file) > before


def test_a_file_that_a_killed_process_left_with_its_log_is_read_whole(file, tmp_path):
    left = tmp_path / "left.db"
    with sqlite_origin(file).saver() as saver:
        begin(compiled(saver), "asks")
        for ending in ("", "-wal"):
            shutil.copy(f"{file}{ending}", f"{left}{ending}")
        there = len(list(saver.list(config("asks"))))
    with closing(SqliteSource(left)) as source:
        assert source.size(["asks"]).checkpoints == there


def test_what_is_read_is_of_one_moment(file):
    with sqlite_origin(file).saver() as saver:
        begin(compiled(saver), "asks")  # so that there is a log
        with closing(SqliteSource(file)) as source:
            before = source.size([])
            begin(compiled(saver), "asks")
            assert source.size([]) == before
            source.demand_unchanged()


def test_a_file_that_is_written_to_while_it_is_read_as_a_still_one_is_noticed(file):
    with closing(SqliteSource(file)) as source:
        with sqlite_origin(file).saver() as saver:
            begin(compiled(saver), "asks")
        with pytest.raises(SourceBusy, match="another process wrote to it") as caught:
            source.demand_unchanged()
        assert caught.value.can_retry


def test_a_file_that_is_locked_says_so(file, monkeypatch):
    monkeypatch.setattr(langgraph_sqlite, "BUSY_SECONDS", 0)
    with closing(sqlite3.connect(file, isolation_level=None)) as base:
        base.execute("PRAGMA journal_mode = DELETE")
        base.execute("BEGIN EXCLUSIVE")
        with pytest.raises(SourceBusy, match="another process has it locked"):
            SqliteSource(file)


def test_there_is_no_such_file(tmp_path):
    with pytest.raises(SourceUnreadable, match="there is no such file"):
        SqliteSource(tmp_path / "nothing.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"words\n" * 100, b"SQLite format 3\0" + bytes(84)])
def test_a_file_that_is_no_database_of_langgraph_s(tmp_path, content):
    path = tmp_path / "other.db"
    path.write_bytes(content)
    with pytest.raises(SourceUnreadable) as caught:
        SqliteSource(path)
    assert caught.value.path == str(path) and caught.value.hint


@pytest.mark.parametrize("table", ["checkpoints", "writes"])
def test_a_database_without_the_tables_is_another_s(file, table):
    with closing(sqlite3.connect(file)) as base, base:
        base.execute(f"DROP TABLE {table}")
    with pytest.raises(SourceUnreadable, match=f"it has no table '{table}'"):
        SqliteSource(file)
    with closing(sqlite3.connect(file)) as base, base:
        base.execute(f"CREATE TABLE {table} (thread_id TEXT)")
    with pytest.raises(SourceUnreadable, match=f"table '{table}' is not as"):
        SqliteSource(file)


def test_writes_of_before_version_3_have_no_path(file):
    with closing(sqlite3.connect(file)) as base, base:
        base.execute("ALTER TABLE writes DROP COLUMN task_path")
    with closing(SqliteSource(file)) as source:
        (line,) = source.lines(["orphan"])
        (written,), unfit = source.writes(line, source.awaited(line)[0])
        assert (written.task, written.path, len(written.writes), unfit) == ("task-1", "", 2, [])
        read = source.own_reader(source._serde)
        (asks,) = (each for each in source.lines(["asks"]) if each.namespace == "")
        newest = max(step for step in source.steps(asks) if isinstance(step, Step))
        assert read({"configurable": {"thread_id": "asks", "checkpoint_ns": "", "checkpoint_id": newest.id}}).pending_writes


def test_a_path_with_signs_that_a_uri_knows_is_just_a_path(file, tmp_path):
    odd = tmp_path / "what? 100%#1.db"
    file.rename(odd)
    everything(odd)
