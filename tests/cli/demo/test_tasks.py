from __future__ import annotations

import copy
import hashlib
import json

import msgspec
import pytest
import zstandard

from aegis_store.cli.demo import tasks
from aegis_store.codec import canonical
from aegis_store.errors import InvalidArgument

# ---- the library -----------------------------------------------------------------------------------------------------------


def plant(top, *names):
    for name in names:
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text("import os\n")


def test_a_library_is_its_modules_in_order_without_tests_and_packages_of_others(tmp_path):
    plant(tmp_path, "b.py", "a.py", "json/x.py", "json/tests/t.py", "site-packages/p.py", "test/q.py", "__pycache__/r.py")
    (tmp_path / "words.txt").write_text("no module")
    plan = tasks.stdlib_plan(tmp_path)
    assert plan.files == ["a.py", "b.py", "json/x.py"]
    assert plan.root == str(tmp_path)


def test_a_large_library_is_cut(tmp_path):
    plant(tmp_path, *(f"m{number}.py" for number in range(9)), "z/m.py")
    assert tasks.stdlib_plan(tmp_path, limit=4).files == ["m0.py", "m1.py", "m2.py", "m3.py"]


def test_this_python_has_a_library():
    plan = tasks.stdlib_plan()
    assert 2 <= len(plan.files) <= tasks.FILES_MAX
    (task,) = plan.tasks()
    assert task.advance(task.begin(), 1).last_tool_call["result"]["lines"] > 0


def test_a_python_without_files_is_told_of_recorded_sessions(tmp_path):
    with pytest.raises(InvalidArgument) as error:
        tasks.stdlib_plan(tmp_path)
    assert "--sessions" in error.value.hint


def test_a_module_in_numbers():
    source = "import os\nfrom sys import path\n\nclass C:\n    async def f(self):\n        pass\n\n    def g(self): ...\n"
    assert tasks.measure(source.encode()) == {"lines": 8, "functions": 2, "imports": 2, "longest": 22}
    assert tasks.measure(b"") == {"lines": 0, "functions": 0, "imports": 0, "longest": 0}
    assert tasks.measure(b"\xff\xfe")["longest"] == 2


def test_the_reader_keeps_totals_notes_and_messages(library):
    (task,) = library.tasks()
    assert task.steps == 24
    state = task.begin()
    contexts = [task.advance(state, step) for step in range(1, 25)]
    assert state["totals"] == {"files": 24, "lines": 5 * 300, "functions": 300, "imports": 300}
    assert state["longest_line"] == {"file": "odd/m23.py", "length": 36}
    assert state["folders"] == {"even": 12, "odd": 12}
    assert len(state["messages"]) == 1 + 2 * 24
    assert contexts[4].position == "file/5"
    assert contexts[4].claims == {"files": 5, "lines": 5 * (1 + 3 + 5 + 7 + 9)}
    assert contexts[4].approvals == ["read even"]
    assert contexts[4].last_tool_call["arguments"] == {"path": "even/m08.py"}


def test_a_reader_goes_on_from_a_stored_state_as_if_nothing_had_been(library):
    (whole,), (first,), (second,) = library.tasks(), library.tasks(), library.tasks()
    uninterrupted = whole.begin()
    for step in range(1, 25):
        expected = whole.advance(uninterrupted, step)
    state = first.begin()
    for step in range(1, 12):
        first.advance(state, step)
    state = canonical.decode(canonical.encode(state))
    for step in range(12, 25):
        found = second.advance(state, step)
    assert (state, found) == (uninterrupted, expected)


# ---- recorded sessions -----------------------------------------------------------------------------------------------------


def line(source, session, count):
    messages = [{"role": "user", "content": f"{session} {number} " + "x" * 400} for number in range(count)]
    return json.dumps({"source": source, "session_id": session, "messages": messages}) + "\n"


def test_a_recorded_session_is_the_conversation_until_then():
    messages = [{"role": "user", "content": "a" * 400}, {"role": "assistant", "content": None}, {"role": "user"}]
    task = tasks.RecordedTask(tasks.Recording(source="x", session_id="s", messages=messages))
    state = task.begin()
    seen = []
    for step in (1, 2, 3):
        context = task.advance(state, step)
        seen.append(copy.deepcopy(state))
        assert context.position == f"message/{step}"
    assert seen == [
        {"messages": messages[:1], "position": 0, "scratchpad": "a" * 300},
        {"messages": messages[:2], "position": 1, "scratchpad": ""},
        {"messages": messages[:3], "position": 2, "scratchpad": ""},
    ]


def test_sources_take_turns_and_messages_are_bounded(tmp_path):
    recorded = tmp_path / "recorded.jsonl"
    lines = [line("a", f"a{number}", 4) for number in range(5)] + [line("b", f"b{number}", 10) for number in range(5)]
    recorded.write_text("".join([*lines, "\n", line("a", "a0", 9)]))
    plan = tasks.recorded_plan(recorded, tmp_path / "chosen", limit=20)
    assert [(task.session, task.source, task.steps) for task in plan.tasks()] == [
        ("a0", "a", 4),
        ("b0", "b", 10),
        ("a1", "a", 4),
        ("b1", "b", 10),
    ]


@pytest.mark.parametrize("frames", [1, 2])
def test_a_file_may_be_compressed(tmp_path, frames):
    recorded = tmp_path / "recorded"
    text = (line("a", "one", 3) + line("a", "two", 2)).encode()
    size = -(-len(text) // frames)
    parts = [text[at : at + size] for at in range(0, len(text), size)]
    recorded.write_bytes(b"".join(zstandard.compress(part) for part in parts))
    plan = tasks.recorded_plan(recorded, tmp_path / "chosen")
    assert [task.session for task in plan.tasks()] == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (line("a", "one", 3) + "{}\n", "line 2 is no session"),
        ("\nwords\n", "line 2 is no session"),
        (line("a", "one", 3) + '{"source": "a", "session_id": "b", "messages": 5}\n', "line 2 is no session"),
        (line("a", "one", 1), "fewer than two messages"),
        ("", "fewer than two messages"),
    ],
)
def test_a_file_of_something_else_is_named_with_its_line_and_the_shape_it_should_have(tmp_path, text, said):
    recorded = tmp_path / "recorded"
    recorded.write_text(text)
    with pytest.raises(InvalidArgument, match=said) as error:
        tasks.recorded_plan(recorded, tmp_path / "chosen")
    assert error.value.path == str(recorded)
    assert '"session_id"' in error.value.hint


def test_a_broken_archive_is_a_mistake_not_a_traceback(tmp_path):
    recorded = tmp_path / "recorded"
    recorded.write_bytes(zstandard.compress(line("a", "one", 300).encode())[:-40] + b"x" * 40)
    with pytest.raises(InvalidArgument):
        tasks.recorded_plan(recorded, tmp_path / "chosen")


def test_recorded_sessions_of_real_agents_are_read(recorded_sessions, tmp_path):
    plan = tasks.recorded_plan(recorded_sessions, tmp_path / "chosen", limit=200)
    chosen = plan.tasks()
    assert sum(task.steps for task in chosen) >= 200
    assert len({task.source for task in chosen}) == 2


# ---- what must come out ----------------------------------------------------------------------------------------------------


def test_a_position_names_its_step():
    assert [tasks.step_of(position) for position in ("file/17", "message/3", "file/0")] == [17, 3, 0]
    assert [tasks.step_of(position) for position in (None, 5, "file", "file/x", "other/3", "file/-1")] == [0] * 6


def test_the_reference_is_the_same_work_done_here(library):
    (task,), (again,) = library.tasks(), library.tasks()
    reference = tasks.Reference(task)
    later = reference.after(9)
    state = again.begin()
    for step in range(1, 10):
        context = again.advance(state, step)
        if step == 4:
            assert reference.after(4) == tasks.fingerprint(state, context)
    assert later == tasks.fingerprint(state, context)
    encoded = msgspec.msgpack.encode(state)
    assert later.state_bytes == len(encoded)
    assert later.digest == hashlib.sha256(encoded + msgspec.msgpack.encode(context)).digest()


def test_whatever_differs_in_a_checkpoint_shows(library):
    (task,) = library.tasks()
    state = task.begin()
    context = task.advance(state, 1)
    usual = tasks.fingerprint(state, context).digest
    replace = msgspec.structs.replace
    others = [
        tasks.fingerprint({**state, "notes": []}, context),
        tasks.fingerprint(state, replace(context, position="file/2")),
        tasks.fingerprint(state, replace(context, claims={"files": 1})),
        tasks.fingerprint(state, replace(context, approvals=None)),
        tasks.fingerprint(state, replace(context, last_tool_call=None)),
    ]
    assert usual not in {other.digest for other in others}
    assert len({other.digest for other in others}) == len(others)
