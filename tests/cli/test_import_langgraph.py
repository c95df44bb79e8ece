"""`aegis import langgraph-sqlite` and `langgraph-postgres` as they are typed."""

from __future__ import annotations

import json
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from langgraph.checkpoint.sqlite import SqliteSaver

import aegis_store
from aegis_store.cli import import_langgraph
from aegis_store.cli.completion import complete_form
from tests.stores import snapshot

THREADS = ("ticket-1", "ticket-2", "odd \x1b[31mthread")


@pytest.fixture
def file(tmp_path) -> Path:
    """Three threads of four checkpoints, each with a task's writes beside it."""
    path = tmp_path / "work" / "threads.db"
    with SqliteSaver.from_conn_string(str(path)) as saver:
        for thread in THREADS:
            parent = {}
            for number in range(4):
                checkpoint_id = f"{number:08}"
                named = {"configurable": {"thread_id": thread, "checkpoint_ns": "", **parent}}
                values = {"n": number, "text": "x" * 500}
                put = {"v": 4, "id": checkpoint_id, "ts": "", "channel_values": values, "channel_versions": {"n": str(number)}}
                saver.put(named, {**put, "versions_seen": {}}, {"source": "loop", "step": number}, {})
                parent = {"checkpoint_id": checkpoint_id}
                named = {"configurable": {"thread_id": thread, "checkpoint_ns": "", **parent}}
                saver.put_writes(named, [("n", number + 1)], "task")
    return path


def spoil(file: Path, thread: str = "ticket-2", number: int = 3) -> None:
    with closing(sqlite3.connect(file)) as base, base:
        base.execute(
            "UPDATE checkpoints SET type = 'pickle' WHERE thread_id = ? AND checkpoint_id = ?", [thread, f"{number:08}"]
        )


def test_threads_are_imported_and_read_back(aegis, file):
    ended = aegis("import", "langgraph-sqlite", "threads.db", "state")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "state: 12 checkpoints imported",
        "  of 3 threads in 3 namespaces, with what 12 tasks wrote",
        ended.out.splitlines()[2],
        "  read back: 12 checkpoints are byte for byte what the source has, and equal to what SqliteSaver reads",
        "  the store is new; its keys are in state.keys: copy them to where the store is not",
    ]
    assert aegis("verify", "state", "--deep").code == 0
    again = aegis("import", "langgraph-sqlite", "threads.db", "state", "--thread", "ticket-1", "--no-verify")
    assert again.out.splitlines()[:2] == [
        "state: 0 checkpoints imported, 4 are there already",
        "  of 1 thread in 1 namespace, with what 0 tasks wrote",
    ]
    assert "read back" not in again.out and "keys" not in again.out


def test_the_answer_as_json(aegis, file):
    ended = aegis("import", "langgraph-sqlite", "threads.db", "state", "--json")
    answer = json.loads(ended.out)
    assert (ended.code, ended.err) == (0, "")
    assert answer["outcome"] | {"bytes": 0} == {
        "threads": 3, "lines": 3, "checkpoints": 12, "present": 0, "replaced": 0, "tasks": 12, "bytes": 0, "gone": 0,
        "refused": [],
    }  # fmt: skip
    assert answer["size"]["checkpoints"] == answer["read_back"]["equal"] == answer["read_back"]["with_own_saver"] == 12
    assert (answer["created"], answer["dry_run"], answer["own_saver"]) == (True, False, "SqliteSaver")


def test_a_dry_run_says_what_it_would_take_and_changes_nothing(aegis, file):
    before = snapshot(file.parent)
    ended = aegis("import", "langgraph-sqlite", "threads.db", "state", "--dry-run")
    assert ended.out.startswith("state: 12 checkpoints would be imported\n")
    assert "the store would take about " in ended.out
    assert snapshot(file.parent) == before
    aegis("import", "langgraph-sqlite", "threads.db", "state")
    before = snapshot(file.parent)
    answer = json.loads(aegis("import", "langgraph-sqlite", "threads.db", "state", "--dry-run", "--json").out)
    assert (answer["outcome"]["checkpoints"], answer["outcome"]["present"]) == (0, 12)
    assert answer["estimate"]["store_bytes"] > 0
    assert snapshot(file.parent) == before


def test_what_is_refused_is_named_on_stderr_and_is_exit_code_1(aegis, file):
    spoil(file)
    spoil(file, THREADS[2], 1)
    ended = aegis("import", "langgraph-sqlite", "threads.db", "state")
    assert ended.code == 1
    assert ended.out.startswith("state: 10 checkpoints imported\n")
    assert ended.err.splitlines() == [
        "aegis: threads.db: 2 rows refused, and the rest is taken",
        "  thread 'odd \\x1b[31mthread', checkpoint '00000001': it is pickled, and nothing is unpickled",
        "  thread 'ticket-2', checkpoint '00000003': it is pickled, and nothing is unpickled",
    ]
    fields = json.loads(aegis("import", "langgraph-sqlite", "threads.db", "state", "--json").out)
    assert [each["checkpoint"] for each in fields["outcome"]["refused"]] == ["00000001", "00000003"]


def test_many_that_are_refused_are_counted(aegis, file, monkeypatch):
    monkeypatch.setattr(import_langgraph, "SHOWN_MAX", 1)
    spoil(file)
    spoil(file, "ticket-1", 1)
    ended = aegis("import", "langgraph-sqlite", "threads.db", "state")
    assert ended.err.splitlines()[-1] == "  and 1 more; all of them: --json"


def test_what_reads_back_differently_is_named_and_is_exit_code_1(aegis, file, monkeypatch):
    from aegis_store.importers import reading_back

    monkeypatch.setattr(reading_back._Reader, "_tuples", lambda self, line, step, whole: "its metadata")
    ended = aegis("import", "langgraph-sqlite", "threads.db", "state")
    assert ended.code == 1
    lines = ended.err.splitlines()
    assert lines[0] == "aegis: state: 12 checkpoints are not what the source has"
    assert "  thread 'ticket-1', checkpoint '00000000': its metadata" in lines
    assert lines[-1] == "  is the store well? aegis verify state --deep"


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["langgraph-sqlite", "nothing.db", "state"], 3, "SourceUnreadable"),
        (["langgraph-sqlite", "notes", "state"], 3, "SourceUnreadable"),
        (["langgraph-sqlite", "threads.db", "notes"], 3, "NotAStore"),
        (["langgraph-sqlite", "threads.db", "state", "--thread", "nobody"], 2, "InvalidArgument"),
        (["langgraph-sqlite", "threads.db", "state", "--keys", "elsewhere"], 3, "KeysMissing"),
        (["langgraph-postgres", "no address", "state"], 2, "InvalidArgument"),
        (["langgraph-postgres", "postgresql://me:secret@127.0.0.1:1/mine", "state"], 3, "SourceUnreadable"),
    ],
)
def test_a_mistake_is_one_line_and_no_traceback(aegis, file, arguments, code, kind):
    (file.parent / "notes").write_text("words\n" * 100)
    if "--keys" in arguments:
        aegis("init", "state")
    plain, fields = aegis("import", *arguments), aegis("import", *arguments, "--json")
    assert (plain.code, plain.out, fields.code, fields.out) == (code, "", code, "")
    assert plain.err.startswith("aegis: ") and "secret" not in plain.err + fields.err
    error = json.loads(fields.err)
    assert (error["error"], error["exit_code"]) == (kind, code)
    assert error["message"] in plain.err


def test_a_store_that_another_process_writes_to_is_locked(aegis, file):
    with aegis_store.open(file.with_name("state")):
        assert aegis("import", "langgraph-sqlite", "threads.db", "state").code == 4


def test_langgraph_that_is_missing_is_said_with_what_to_install(aegis, file, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(("aegis_store.adapters", "aegis_store.importers"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    ended = aegis("import", "langgraph-sqlite", "threads.db", "state")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("aegis: LangGraph is not installed")
    assert ended.err.splitlines()[1] == "  pip install 'aegis-store[langgraph]'"


def test_psycopg_that_is_missing_is_said_with_what_to_install(aegis, monkeypatch):
    monkeypatch.delitem(sys.modules, "aegis_store.importers.langgraph_postgres", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    ended = aegis("import", "langgraph-postgres", "postgresql://127.0.0.1:1/x", "state")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.splitlines()[1] == "  pip install 'aegis-store[langgraph-postgres]'"


def test_the_second_word_is_a_verb_of_its_own(aegis, file):
    ended = aegis("import", "langgraph-sqlite", "--help")
    assert ended.out.splitlines()[0].startswith("Usage: aegis import langgraph-sqlite ")
    assert aegis("import", "langgraph-sqlite").code == 2
    assert aegis("import", "threads.db", "state").code == 2  # a file that is no export, as ever
    assert "aegis import langgraph-sqlite, aegis import langgraph-postgres" in " ".join(aegis("import", "-h").out.split())


def test_a_shell_is_offered_the_second_word():
    assert complete_form("lang") == ["langgraph-sqlite", "langgraph-postgres"]
    assert complete_form("langgraph-p") == ["langgraph-postgres"]
    assert complete_form("") == complete_form("x") == []
