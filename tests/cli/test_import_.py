from __future__ import annotations

import json

import pytest

import aegis_store
from aegis_store.cli.import_ import IMPORTED

from .conftest import STATES

ODD = "odd \x1b[31m\nname"


@pytest.fixture
def exported(aegis, story, tmp_path):
    assert aegis("export", "state", "-o", "out.jsonl").code == 0
    return tmp_path / "work" / "out.jsonl"


def imported(aegis, *options):
    ended = aegis("import", "out.jsonl", "copy", *options, "--json")
    return ended.code, json.loads(ended.out)


def contents(path):
    """Everything in a store that does not depend on when and where it was written."""
    found = {}
    with aegis_store.open(path, mode="r") as store:
        for info in store.sessions():
            points = []
            for each in store.session(info.id).history():
                metadata = {key: value for key, value in (each.metadata or {}).items() if key != IMPORTED} or None
                points.append(
                    (each.ref.ordinal, each.agent, each.state, each.position, each.claims, each.memory_pointer,
                     each.approvals, each.last_tool_call, metadata)
                )  # fmt: skip
            found[info.id] = info.agent, info.role, info.is_open, info.forked_from, points
    return found


def test_what_was_exported_is_there_again(aegis, exported, story):
    code, answer = imported(aegis)
    assert (code, answer["created"]) == (0, True)
    assert {name: answer[name] for name in ("checkpoints", "present", "sessions", "ended", "lost", "orphans")} == {
        "checkpoints": 7,
        "present": 0,
        "sessions": 3,
        "ended": 1,
        "lost": 0,
        "orphans": 0,
    }
    assert contents(story.with_name("copy")) == contents(story)
    assert aegis("verify", "copy", "--deep").code == 0


def test_where_a_checkpoint_comes_from_is_in_its_metadata(aegis, exported, story):
    imported(aegis)
    with aegis_store.open(story, mode="r") as store:
        before, store_id = store.session(ODD).latest(), store.stats().store_id
    with aegis_store.open(story.with_name("copy"), mode="r") as store:
        after = store.session(ODD).latest()
        first = store.session("ticket-4711").get(0)
    assert after.metadata == {
        "note": "ü",
        IMPORTED: {
            "store_id": store_id,
            "time": "2023-11-14T22:13:20.014Z",
            "agent": "other",
            "index": before.ref.index,
            "ordinal": 0,
            "leaf": before.ref.leaf.hex(),
            "request_id": None,
        },
    }
    assert first.metadata[IMPORTED]["request_id"] == "r0"


def test_a_second_import_doubles_nothing(aegis, exported, story):
    imported(aegis)
    once = contents(story.with_name("copy"))
    code, answer = imported(aegis)
    assert (code, answer["checkpoints"], answer["present"], answer["sessions"], answer["ended"]) == (0, 0, 7, 0, 0)
    assert contents(story.with_name("copy")) == once
    assert "0 checkpoints imported, 7 were there already" in aegis("import", "out.jsonl", "copy").out


@pytest.mark.parametrize("count", [1, 2, 4, 7, 8, 9, 11])
def test_an_import_that_was_interrupted_goes_on(aegis, exported, story, tmp_path, count):
    part = tmp_path / "work" / "part.jsonl"
    part.write_text("".join(exported.read_text().splitlines(keepends=True)[:count]))
    assert aegis("import", "part.jsonl", "copy").code == 0
    assert imported(aegis)[0] == 0
    assert contents(story.with_name("copy")) == contents(story)


def test_a_later_export_of_the_same_store_adds_what_is_new(aegis, exported, story):
    imported(aegis)
    with aegis_store.open(story) as store:
        store.session("ticket-4711-b").checkpoint({"later": True})
    aegis("export", "state", "-o", "out.jsonl")
    code, answer = imported(aegis)
    assert (code, answer["checkpoints"], answer["present"]) == (0, 1, 7)
    assert contents(story.with_name("copy")) == contents(story)


def test_an_import_of_an_import_keeps_both_origins(aegis, exported, story):
    imported(aegis)
    assert aegis("export", "copy", "-o", "out.jsonl").code == 0
    assert aegis("import", "out.jsonl", "third").code == 0
    with aegis_store.open(story.with_name("third"), mode="r") as store:
        origin = store.session(ODD).latest().metadata[IMPORTED]
    assert origin["before"]["time"] == "2023-11-14T22:13:20.014Z"
    assert contents(story.with_name("third")) == contents(story)


def test_a_session_of_that_name_that_came_from_elsewhere_is_refused(aegis, exported, story):
    with aegis_store.open(story.with_name("copy")) as store:
        store.session("ticket-4711").checkpoint({"own": True})
    ended = aegis("import", "out.jsonl", "copy")
    assert ended.code == 3
    assert "there is a session 'ticket-4711' already" in ended.err
    assert aegis("import", "out.jsonl", "state").code == 3


def test_a_fork_without_its_origin_begins_for_itself_and_that_is_said(aegis, exported, story):
    assert aegis("export", "state", "--session", "ticket-4711-b", "-o", "out.jsonl").code == 0
    code, answer = imported(aegis)
    assert (code, answer["orphans"], answer["checkpoints"]) == (1, 1, 1)
    with aegis_store.open(story.with_name("copy"), mode="r") as store:
        info = store.session("ticket-4711-b").info()
        assert (info.checkpoints, info.forked_from) == (1, None)


def test_a_fork_of_what_a_fork_inherited_finds_its_origin(aegis, story):
    with aegis_store.open(story) as store:
        fork = store.session("ticket-4711-b")
        fork.fork("grandchild", at=fork.get(1).ref).checkpoint({"deep": True})
    aegis("export", "state", "-o", "out.jsonl")
    assert imported(aegis)[0] == 0
    assert contents(story.with_name("copy")) == contents(story)


def test_gaps_in_an_export_are_said_and_the_rest_comes_in(aegis, exported, story):
    text = exported.read_text().splitlines(keepends=True)
    text[3] = '{"kind":"lost","index":3,"problem":"damaged","session":"ticket-4711","ordinal":1}\n'
    exported.write_text("".join(text))
    code, answer = imported(aegis)
    assert (code, answer["lost"], answer["checkpoints"]) == (1, 1, 6)
    with aegis_store.open(story.with_name("copy"), mode="r") as store:
        states = [each.state for each in store.session("ticket-4711").history()][::-1]
    assert states == [STATES[0], *STATES[2:]]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "line 13: not JSON"),
        (b"[]", "line 13: this is no line of an export"),
        (b'{"kind":"nope"}', "line 13: this is no line of an export"),
        (b'{"kind":"checkpoint","index":1,"time":"","leaf":"","session":"a","agent":"b"}', "line 13: this is no line"),
        (
            b'{"kind":"checkpoint","index":1,"time":"","leaf":"","session":"a","agent":"b","ordinal":0,'
            b'"state":{"$type":"Ticket","fields":{}}}',
            "line 13: a value of type 'Ticket'",
        ),
    ],
)
def test_a_line_that_nobody_wrote_is_named(aegis, exported, line, words):
    exported.write_bytes(exported.read_bytes() + line + b"\n")
    ended = aegis("import", "out.jsonl", "copy")
    assert (ended.code, ended.out) == (2, "")
    assert words in ended.err


def test_what_is_no_export_makes_no_store(aegis, story, tmp_path):
    (tmp_path / "work" / "notes.txt").write_text("words")
    ended = aegis("import", "notes.txt", "copy")
    assert ended.code == 2
    assert ended.err.startswith("aegis: notes.txt: ")
    assert aegis("import", "missing", "copy").code == 3
    assert aegis("import", ".", "copy").code == 3
    assert not story.with_name("copy").exists()


def test_an_export_of_a_later_version_is_refused(aegis, exported):
    exported.write_bytes(exported.read_bytes().replace(b'"format":1', b'"format":2'))
    ended = aegis("import", "out.jsonl", "copy")
    assert ended.code == 3
    assert "later aegis-store" in ended.err


@pytest.mark.parametrize("index", ["-2", '"x"', '{"$float":"inf"}', '{"$float":"nan"}', "[]"])
def test_a_memory_pointer_that_is_none_is_a_mistake_in_words(aegis, exported, index):
    lines = exported.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if line.startswith(b'{"kind":"checkpoint"'))
    pointer = b'"memory_pointer":{"index":%s,"root":"%s"}' % (index.encode(), b"00" * 32)
    lines[at] = lines[at].replace(b'"memory_pointer":null', pointer)
    assert pointer in lines[at]
    exported.write_bytes(b"".join(lines))
    ended = aegis("import", "out.jsonl", "copy")
    assert (ended.code, ended.out) == (2, "")
    assert "memory pointer" in ended.err or "memory_pointer" in ended.err
