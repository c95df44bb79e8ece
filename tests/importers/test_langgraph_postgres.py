"""The database of a PostgresSaver: values joined to their checkpoints as it does, and no password said aloud."""

from __future__ import annotations

from contextlib import closing

import psycopg
import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

import aegis_store
from aegis_store.adapters.langgraph import AegisSaver
from aegis_store.errors import InvalidArgument, SourceUnreadable
from aegis_store.importers.langgraph_postgres import PostgresSource
from aegis_store.importers.reading_back import compare
from aegis_store.importers.transfer import Transfer

from .conftest import database
from .graphs import config

THREAD = {"configurable": {"thread_id": "long", "checkpoint_ns": ""}}


def run(url, statement, *given):
    with closing(psycopg.connect(url, autocommit=True)) as base:
        return base.execute(statement, given).rowcount


def newest_of(url, thread="long"):
    with closing(psycopg.connect(url)) as base:
        query = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = %s AND checkpoint_ns = ''"
        return base.execute(query, [thread]).fetchone()[0]


def imported(url, path):
    with closing(PostgresSource(url)) as source:
        with aegis_store.open(path) as store:
            done = Transfer(source, store).run(["long"])
        with aegis_store.open(path, mode="r") as store:
            return done, compare(source, store, ["long"])


def test_a_value_that_is_pickled_spoils_the_checkpoints_that_have_it_and_is_named(url, tmp_path):
    newest = newest_of(url)
    spoilt = run(
        url,
        "UPDATE checkpoint_blobs SET type = 'pickle' WHERE thread_id = 'long' AND channel = 'messages' AND version ="
        " (SELECT checkpoint -> 'channel_versions' ->> 'messages' FROM checkpoints WHERE checkpoint_id = %s)",
        newest,
    )
    assert spoilt == 1
    done, found = imported(url, tmp_path / "state")
    assert {(each.channel, each.why) for each in done.refused} == {("messages", "it is pickled, and nothing is unpickled")}
    assert newest in {each.checkpoint for each in done.refused}
    assert (found.equal, found.different) == (done.checkpoints, 0) and found.equal > 10


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("checkpoint = '[]'", "it is no checkpoint"),
        ("checkpoint = checkpoint - 'channel_versions'", "it is no checkpoint"),
        ("checkpoint = jsonb_set(checkpoint, '{id}', '\"another\"')", "it says that it is checkpoint 'another'"),
        ("checkpoint = jsonb_set(checkpoint, '{channel_values}', '3')", "it is damaged: the values of its channels are none"),
        ("parent_checkpoint_id = checkpoint_id", "its parents lead back to it"),
    ],
)
def test_a_row_that_cannot_be_taken_is_named_and_the_rest_is_there(url, tmp_path, change, why):
    newest = newest_of(url)
    assert run(url, f"UPDATE checkpoints SET {change} WHERE checkpoint_id = %s", newest) == 1
    done, found = imported(url, tmp_path / "state")
    assert [(each.checkpoint, each.why) for each in done.refused] == [(newest, why)]
    assert (found.equal, found.different) == (done.checkpoints, 0)


def test_a_number_of_any_size_comes_back_as_it_was(url, tmp_path):
    newest = newest_of(url)
    text = '{"turn": 1000000000000000000000000000000, "asked": 1.0}'
    run(
        url,
        "UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{channel_values}', %s::jsonb) WHERE checkpoint_id = %s",
        text,
        newest,
    )
    _, found = imported(url, tmp_path / "state")
    assert found.different == found.unread == 0
    with AegisSaver.from_path(tmp_path / "state") as saver:
        values = saver.get_tuple(config("long")).checkpoint["channel_values"]
        assert values["turn"] == 10**30 and type(values["asked"]) is float


def test_what_tasks_sent_before_version_4_is_where_langgraph_looks_for_it_since(url, tmp_path):
    """As its own saver reads it: `compare` has both."""
    newest = newest_of(url)
    serde = JsonPlusSerializer()
    with closing(psycopg.connect(url, autocommit=True)) as base:
        base.execute("UPDATE checkpoints SET checkpoint = jsonb_set(checkpoint, '{v}', '1') WHERE checkpoint_id = %s", [newest])
        query = "SELECT parent_checkpoint_id FROM checkpoints WHERE checkpoint_id = %s"
        (parent,) = base.execute(query, [newest]).fetchone()
        for place, value in enumerate(["second", {"sent": 1}]):
            base.execute(
                "INSERT INTO checkpoint_writes (thread_id, checkpoint_ns, checkpoint_id, task_id, task_path, idx, channel,"
                " type, blob) VALUES ('long', '', %s, %s, %s, %s, '__pregel_tasks', %s, %s)",
                [parent, "sender", f"{9 - place}", place, *serde.dumps_typed(value)],
            )
    done, found = imported(url, tmp_path / "state")
    assert (done.refused, found.different, found.unread) == ([], 0, 0)
    assert found.with_own_saver == done.checkpoints
    with AegisSaver.from_path(tmp_path / "state") as saver:
        assert saver.get_tuple(config("long")).checkpoint["channel_values"]["__pregel_tasks"] == [{"sent": 1}, "second"]


def test_what_is_read_is_of_one_moment_and_nothing_can_be_written(url):
    with closing(PostgresSource(url)) as source:
        before = source.size([])
        run(url, "DELETE FROM checkpoint_writes")
        assert source.size([]) == before
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            source._base.execute("DELETE FROM checkpoints")


@pytest.mark.parametrize(
    "url", ["postgresql://me:secret@host:port:1/", "nothing like it secret", "host='secret", "postgresql://me:se@cret@host/x"]
)
def test_an_address_that_is_none_is_not_repeated_for_it_may_hold_a_password(url):
    with pytest.raises(InvalidArgument, match="this is no address of a PostgreSQL database") as caught:
        PostgresSource(url)
    assert "secret" not in str(caught.value) and "cret" not in str(caught.value)


def test_a_server_that_is_not_there_is_named_without_its_password():
    with pytest.raises(SourceUnreadable) as caught:
        PostgresSource("postgresql://me:secret@127.0.0.1:1/mine")
    assert caught.value.path == "postgresql://127.0.0.1:1/mine"
    assert "secret" not in str(caught.value)


def test_a_database_of_somebody_else_s_is_none(postgres):
    url = database(postgres, "empty")
    with pytest.raises(SourceUnreadable, match="it has no table 'checkpoints'"):
        PostgresSource(url)
    run(url, "CREATE TABLE checkpoints (thread_id text)")
    with pytest.raises(SourceUnreadable, match="is not as LangGraph's PostgresSaver makes it"):
        PostgresSource(url)


def test_writes_of_an_older_version_have_no_path(url):
    run(url, "ALTER TABLE checkpoint_writes DROP COLUMN task_path")
    with closing(PostgresSource(url)) as source:
        (line,) = source.lines(["orphan"])
        (written,), unfit = source.writes(line, source.awaited(line)[0])
        assert (written.task, written.path, len(written.writes), unfit) == ("task-1", "", 2, [])
