"""What LangGraph's own savers wrote is in a store afterwards: all of it, once, and its threads go on."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

import aegis_store
from aegis_store import Rule
from aegis_store.adapters.langgraph import AegisSaver
from aegis_store.errors import InvalidArgument
from aegis_store.importers.langgraph_sqlite import SqliteSource
from aegis_store.importers.reading_back import compare
from aegis_store.importers.transfer import Transfer

from .conftest import opened, sqlite_origin
from .graphs import THREADS, answer, begin, branch, compiled, config, go_on, told, tuples

#: As the command line has it: durable at the end.
CONFIG = aegis_store.Config(durability=aegis_store.TierDurability(session=aegis_store.Durability.WRITE))
TOP = Path(__file__).resolve().parents[2]


def transferred(origin, path="state", threads=(), **options):
    with opened(origin) as source, aegis_store.open(path, config=CONFIG) as store:
        return Transfer(source, store, **options).run(threads)


def compared(origin, path="state"):
    with opened(origin) as source, aegis_store.open(path, mode="r") as store:
        return compare(source, store)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)


def test_everything_is_there_with_its_ids_parents_namespaces_metadata_and_writes(origin):
    done = transferred(origin)
    assert done.refused == [] and done.threads == len(THREADS)
    with origin.saver() as theirs, AegisSaver.from_path("state") as ours:
        there, here = tuples(theirs), tuples(ours)
        assert there.keys() == here.keys() and len(here) == done.checkpoints > 40
        for key in there:
            assert here[key] == there[key], key
        assert {namespace for _, namespace, _ in here} > {""}
        # Newest first, and the same one first.
        for thread in THREADS:
            assert [each.config for each in ours.list(config(thread))] == [each.config for each in theirs.list(config(thread))]
            assert (ours.get_tuple(config(thread)) is None) == (thread == "orphan")
    found = compared(origin)
    assert (found.equal, found.with_own_saver, found.different) == (done.checkpoints, done.checkpoints, 0)


def test_writes_without_a_checkpoint_are_there_when_it_comes(origin):
    transferred(origin)
    with AegisSaver.from_path("state") as saver:
        named = config("orphan")
        named["configurable"] |= {"checkpoint_ns": ""}
        checkpoint_id = "1f000000-0000-6000-8000-000000000000"
        put = {"v": 4, "id": checkpoint_id, "ts": "", "channel_values": {}, "channel_versions": {}, "versions_seen": {}}
        saver.put(named, put, {"source": "input", "step": -1}, {})
        assert saver.get_tuple(named).pending_writes == [("task-1", "log", ["early"]), ("task-1", "turn", 1)]


def test_threads_go_on_where_they_stopped(origin):
    transferred(origin)
    with AegisSaver.from_path("state") as ours, origin.saver() as theirs:
        assert told(ours) == told(theirs)
        go_on(ours)
        go_on(theirs)
        assert told(ours) == told(theirs)
        assert compiled(ours).get_state(config("asks")).values["log"][-1] == "asked yes"


def test_a_thread_can_be_gone_back_in_afterwards(origin):
    transferred(origin)
    with AegisSaver.from_path("state") as ours, origin.saver() as theirs:
        for saver in (ours, theirs):
            branch(compiled(saver), "long")
            answer(compiled(saver), "long", "another")
        assert told(ours)["long"] == told(theirs)["long"]


def test_a_channel_of_deltas_is_made_again_from_what_was_imported(origin):
    transferred(origin)
    with AegisSaver.from_path("state") as ours, origin.saver() as theirs:
        for each in list(theirs.list(config("delta"))):
            named = each.config
            assert ours.get_delta_channel_history(config=named, channels=["notes"]) == theirs.get_delta_channel_history(
                config=named, channels=["notes"]
            )


def test_a_second_run_changes_nothing(origin):
    first = transferred(origin)
    with aegis_store.open("state", mode="r") as store:
        size = store.records.size()
    again = transferred(origin)
    assert (again.checkpoints, again.tasks, again.replaced, again.present) == (0, 0, 0, first.checkpoints)
    with aegis_store.open("state", mode="r") as store:
        assert store.records.size() == size


def test_a_source_that_has_grown_is_gone_on_with(origin):
    first = transferred(origin)
    with origin.saver() as saver:
        go_on(saver)  # more checkpoints, and more writes beside one that was imported
        begin(compiled(saver), "new")
    again = transferred(origin)
    assert again.present == first.checkpoints and again.checkpoints > 20 and again.refused == []
    assert compared(origin).different == 0
    with AegisSaver.from_path("state") as ours, origin.saver() as theirs:
        assert tuples(ours) == tuples(theirs)


def test_a_checkpoint_that_was_put_again_in_the_source_is_put_again_here(origin):
    first = transferred(origin)
    with origin.saver() as saver:
        newest = saver.get_tuple(config("long"))
        newest.checkpoint["channel_values"]["asked"] = "said otherwise"
        before = newest.parent_config
        saver.put(before, newest.checkpoint, newest.metadata, {})
    again = transferred(origin)
    assert (again.replaced, again.present, again.checkpoints) == (1, first.checkpoints - 1, 0)
    assert transferred(origin).replaced == 0
    assert compared(origin).different == 0
    with AegisSaver.from_path("state") as ours:
        assert ours.get_tuple(config("long")).checkpoint["channel_values"]["asked"] == "said otherwise"


def test_a_thread_that_went_on_here_is_left_alone(origin):
    transferred(origin)
    with AegisSaver.from_path("state") as saver:
        answer(compiled(saver), "asks")
        before = told(saver)["asks"]
    assert transferred(origin).refused == []  # the source has nothing new
    with origin.saver() as saver:
        answer(compiled(saver), "asks", "no")
    done = transferred(origin)
    # The graph within went on here as well, in a line of its own.
    assert {(each.thread, each.checkpoint) for each in done.refused} == {("asks", None)}
    assert "gone on in the store" in done.refused[0].why
    with AegisSaver.from_path("state") as saver:
        assert told(saver)["asks"] == before


def test_what_was_pruned_or_erased_here_does_not_come_back(origin):
    transferred(origin)
    with aegis_store.open("state") as store:
        gone = store.retain([Rule(keep_last=2)]).decisions.gone
        store.compact()
    again = transferred(origin)
    assert again.gone == gone > 10 and again.checkpoints == 0
    assert compared(origin).different == 0


def test_only_the_threads_that_are_asked_for_are_taken(origin):
    done = transferred(origin, threads=["long", "orphan"])
    assert (done.threads, done.refused) == (2, [])
    with aegis_store.open("state", mode="r") as store:
        assert {info.id.split("/")[1] for info in store.sessions()} == {"long", "orphan"}
    with pytest.raises(InvalidArgument, match="there is no thread 'nobody' in it"):
        transferred(origin, "other", threads=["long", "nobody"])
    with aegis_store.open("other", mode="r") as store:
        assert list(store.sessions()) == []


def test_a_rehearsal_counts_the_same_and_writes_nothing(origin):
    with opened(origin) as source:
        said = Transfer(source, None, rehearse=True).run()
        assert list(Path().iterdir()) == []
    done = transferred(origin)
    assert said == done
    with opened(origin) as source, aegis_store.open("state", mode="r") as store:
        again = Transfer(source, store, rehearse=True).run()
    assert (again.checkpoints, again.present, again.tasks) == (0, done.checkpoints, 0)


def test_progress_ends_with_all_of_it(origin):
    steps = []
    done = transferred(origin, progress=lambda rows, bytes_: steps.append((rows, bytes_)))
    assert steps == sorted(steps)
    with opened(origin) as source:
        size = source.size([])
    assert steps[-1] == (size.checkpoints + size.writes, done.bytes)


def test_a_thousand_threads(tmp_path):
    origin = sqlite_origin(tmp_path / "many.db")
    with origin.saver() as saver:
        saver.setup()
        rows = [(f"thread {number}", f"{number:08}") for number in range(1000)]
        for thread, checkpoint_id in rows:
            put = {"v": 4, "id": checkpoint_id, "ts": "", "channel_values": {"n": thread}, "channel_versions": {"n": "1"}}
            saver.put(
                {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}, put | {"versions_seen": {}}, {"step": -1}, {}
            )
    done = transferred(origin)
    assert (done.threads, done.checkpoints, done.refused) == (1000, 1000, [])
    assert compared(origin).equal == 1000


# ---- killed ---------------------------------------------------------------------------------------------------------------

CHILD = """
import socket, sys
sys.path.append({top!r})
from tests.crash.calls import ask
from aegis_store.importers.langgraph_sqlite import SqliteSource
from aegis_store.importers.transfer import Transfer
import aegis_store
config = aegis_store.Config(durability=aegis_store.TierDurability(session=aegis_store.Durability.WRITE))
source = SqliteSource({file!r})
ask(socket.socket(fileno={descriptor}))
with aegis_store.open("state", config=config) as store:
    Transfer(source, store).run()
"""


def killed_before(file: Path, nth: int) -> bool:
    """An import by another process, killed before its nth call that changes a file, which may be torn; whether it was."""
    sys.path.append(str(TOP))
    from tests.crash.calls import answer

    answering, asking = socket.socketpair()
    code = CHILD.format(top=str(TOP), file=str(file), descriptor=asking.fileno())
    with answering, subprocess.Popen([sys.executable, "-P", "-c", code], pass_fds=[asking.fileno()]) as child:
        asking.close()
        death = answer(answering, child.pid, nth, random.Random(nth))
        status = child.wait()
    assert status == (0 if death is None else -signal.SIGKILL)
    return death is not None


@pytest.mark.skipif(sys.platform != "linux", reason="calls are stopped by the kernel of Linux")
def test_a_kill_at_any_moment_leaves_what_another_run_completes(filled):
    origin = sqlite_origin(filled)
    met = 0
    for place, nth in enumerate((3, 20, 47, 76, 120, 200)):
        folder = Path(f"killed-{place}")
        folder.mkdir()
        os.chdir(folder)
        met += killed_before(filled, nth)
        done = transferred(origin)
        with AegisSaver.from_path("state") as ours, origin.saver() as theirs:
            assert tuples(ours) == tuples(theirs)
            # None is there twice: as many records as checkpoints.
            infos = list(ours.store.sessions())
            assert sum(info.checkpoints for info in infos) == done.checkpoints + done.present == len(tuples(theirs))
            assert ours.store.verify(deep=True).ok
        os.chdir("..")
    assert met >= 5


# ---- what is not taken ----------------------------------------------------------------------------------------------------


def changed(file: Path, statement: str, *given: object) -> int:
    with closing(sqlite3.connect(file)) as base, base:
        return base.execute(statement, given).rowcount


def newest_of(file: Path, thread: str) -> str:
    with closing(sqlite3.connect(file)) as base:
        query = "SELECT MAX(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ''"
        return base.execute(query, [thread]).fetchone()[0]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("type = 'pickle'", "it is pickled, and nothing is unpickled"),
        ("type = 'msgpack+aes'", "it is encrypted (msgpack+aes)"),
        ("type = 'yaml'", "it is of a type that is not known (yaml)"),
        ("type = NULL", "its type is missing"),
        ("type = 'null'", "it is no checkpoint but null"),
        ("checkpoint = NULL", "its checkpoint is missing"),
        ("checkpoint = x''", "it is damaged: "),
        ("checkpoint = substr(checkpoint, 1, length(checkpoint) - 40)", "it is damaged: "),
        ("checkpoint = x'93010203'", "it is damaged: "),
        ("checkpoint = CAST(x'81a27631c3' AS BLOB)", "it is no checkpoint: it has no id"),
        ("checkpoint = (SELECT checkpoint FROM checkpoints WHERE thread_id = 'delta')", "it says that it is checkpoint '1f"),
        ("metadata = x'7b22'", "its metadata is damaged: "),
        ("metadata = x'ff'", "its metadata is damaged: "),
        ("parent_checkpoint_id = checkpoint_id", "its parents lead back to it"),
    ],
)
def test_a_row_that_cannot_be_taken_is_named_and_the_rest_is_there(file, change, why):
    newest = newest_of(file, "long")
    assert changed(file, f"UPDATE checkpoints SET {change} WHERE checkpoint_id = ?", newest) == 1
    done = transferred(sqlite_origin(file))
    (refused,) = done.refused
    assert (refused.thread, refused.namespace, refused.checkpoint) == ("long", "", newest)
    assert refused.why.startswith(why)
    found = compared(sqlite_origin(file))
    assert (found.equal, found.different) == (done.checkpoints, 0)
    with AegisSaver.from_path("state") as saver:
        assert len(tuples(saver)) == done.checkpoints > 40
        assert saver.get_tuple(config("long", newest)) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("type = 'pickle'", "it is pickled, and nothing is unpickled"),
        ("type = 'msgpack', value = x'c1'", "it is damaged: "),
        ("type = NULL", "its type is missing"),
        ("idx = 'first'", "its place is no number"),
        ("channel = CAST(x'ff' AS TEXT)", "its channel is no text"),
    ],
)
def test_a_task_with_a_write_that_cannot_be_taken_is_left_out_whole(file, change, why):
    changed(file, f"UPDATE writes SET {change} WHERE thread_id = 'orphan' AND channel = 'turn'")
    done = transferred(sqlite_origin(file))
    (refused,) = done.refused
    assert (refused.thread, refused.task) == ("orphan", "task-1") and refused.why.startswith(why)
    with aegis_store.open("state", mode="r") as store:
        assert not any("orphan" in info.id for info in store.sessions())


def test_a_thread_whose_name_is_no_text_is_said_to_be_there(file):
    changed(file, "UPDATE writes SET thread_id = CAST(x'ff00' AS TEXT) WHERE thread_id = 'orphan'")
    (refused,) = transferred(sqlite_origin(file)).refused
    assert (refused.thread, refused.why) == (None, "its thread's id is no text")


def test_a_value_that_nests_too_deep_is_refused_and_nothing_overflows(file):
    deep = b"\x91" * 100_000 + b"\x01"
    changed(file, "UPDATE writes SET type = 'msgpack', value = ? WHERE thread_id = 'orphan' AND channel = 'turn'", deep)
    (refused,) = transferred(sqlite_origin(file)).refused
    assert refused.why.startswith("it is damaged: ")


def test_no_class_is_looked_up_and_nothing_runs(file, tmp_path):
    """A checkpoint whose values would call something where they are made objects: the bytes are kept, and stay bytes."""
    import ormsgpack

    trap = tmp_path / "trap"
    inner = ormsgpack.packb(("pathlib", "Path", [str(trap)], "touch"))
    call = ormsgpack.packb(("os", "mkdir", str(trap)))
    with closing(sqlite3.connect(file)) as base, base:
        newest = newest_of(file, "long")
        for code, data in ((0, call), (3, inner)):
            value = ormsgpack.packb(ormsgpack.Ext(code, data))
            base.execute(
                "INSERT INTO writes (thread_id, checkpoint_ns, checkpoint_id, task_id, idx, channel, type, value)"
                " VALUES ('long', '', ?, ?, 0, 'log', 'msgpack', ?)",
                (newest, f"trap {code}", value),
            )
    assert transferred(sqlite_origin(file)).refused == []
    assert compared(sqlite_origin(file)).different == 0
    assert not trap.exists()


def test_values_that_are_not_equal_to_themselves_are_compared_all_the_same(tmp_path):
    origin = sqlite_origin(tmp_path / "nan.db")
    with origin.saver() as saver:
        named = {"configurable": {"thread_id": "t", "checkpoint_ns": ""}}
        put = {
            "v": 4,
            "id": "1",
            "ts": "",
            "channel_values": {"n": [float("nan")]},
            "channel_versions": {},
            "versions_seen": {},
        }
        saver.put(named, put, {"step": -1}, {})
    transferred(origin)
    assert compared(origin).with_own_saver == 1


def test_a_page_that_is_damaged_spoils_what_is_on_it_and_no_more(file):
    with closing(sqlite3.connect(file)) as base:
        (page_size,) = base.execute("PRAGMA page_size").fetchone()
    whole = file.read_bytes()
    page = whole.find(b"went back") // page_size * page_size  # of the branched thread's checkpoints
    file.write_bytes(whole[:page] + b"\xff" * 64 + whole[page + 64 :])
    done = transferred(sqlite_origin(file))
    assert done.refused and done.checkpoints > 40
    assert {each.thread for each in done.refused} <= {"branched", "delta", "done/100%"}
    assert {each.why for each in done.refused} == {"the file is damaged there: database disk image is malformed"}
    assert compared(sqlite_origin(file)).different == 0


def test_json_of_an_older_saver_is_taken_as_it_is(file):
    newest = newest_of(file, "long")
    text = {
        "v": 1,
        "id": newest,
        "ts": "",
        "channel_values": {"log": ["ü", None, 1.5]},
        "channel_versions": {},
        "versions_seen": {},
    }
    changed(
        file,
        "UPDATE checkpoints SET type = 'json', checkpoint = ? WHERE checkpoint_id = ?",
        json.dumps(text).encode(),
        newest,
    )
    assert transferred(sqlite_origin(file)).refused == []
    assert compared(sqlite_origin(file)).different == 0
    with AegisSaver.from_path("state") as saver:
        assert saver.get_tuple(config("long", newest)).checkpoint == text


def test_the_file_is_as_it_was(filled):
    before = filled.read_bytes(), sorted(filled.parent.iterdir())
    with closing(SqliteSource(filled)) as source:
        Transfer(source, None, rehearse=True).run()
        source.demand_unchanged()
    assert (filled.read_bytes(), sorted(filled.parent.iterdir())) == before
