from __future__ import annotations

import errno
import json
import os
import subprocess
import sys

import pytest
import typer

from aegis_store import errors
from aegis_store.cli import outcome


def ended(error: BaseException, **options: object) -> int:
    """The exit code of a verb that ends in this."""

    def verb(as_json: bool = False) -> None:
        raise error

    with pytest.raises(typer.Exit) as end:
        outcome.guarded(verb)(**options)
    return end.value.exit_code


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.Corrupt("x"), 1),
        (errors.RolledBack("x"), 1),
        (errors.InvalidArgument("x"), 2),
        (errors.NotAStore("x"), 3),
        (errors.KeysMissing("x"), 3),
        (errors.NoSpace("x"), 3),
        (errors.Locked("x"), 4),
        (OSError(errno.EACCES, "Permission denied", "/x"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_end_has_its_exit_code(error, code):
    assert ended(error) == code


def test_a_verb_that_ends_well_ends_well():
    done = []
    outcome.guarded(lambda: done.append(1))()
    assert done == [1]


def test_a_bug_is_not_dressed_up():
    with pytest.raises(ZeroDivisionError):
        outcome.guarded(lambda: 1 // 0)()


def test_an_error_says_where_what_and_what_to_do(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = str(tmp_path / "state")
    error = errors.Corrupt("record 7 is damaged", path=path, tier="session", hint=f"what is hit: aegis verify {path}\nor more")
    assert ended(error) == 1
    assert capsys.readouterr() == (
        "",
        "aegis: state/session: record 7 is damaged\n  what is hit: aegis verify state\n  or more\n",
    )


def test_an_error_without_a_place_or_a_hint_is_one_line(capsys):
    ended(errors.InvalidArgument("there is no tier 'x'"))
    assert capsys.readouterr().err == "aegis: there is no tier 'x'\n"


def test_a_locked_store_names_its_holder_and_a_way_to_look_inside(capsys):
    hint = 'wait for it or stop it; beside it, mode="r" reads: aegis head /data/a b'
    ended(errors.Locked("the store is open for writing in pid 7 on host", path="/data/a b", hint=hint))
    assert capsys.readouterr().err == (
        "aegis: /data/a b: the store is open for writing in pid 7 on host\n"
        "  wait for it or stop it; what it holds meanwhile: aegis head '/data/a b'\n"
    )


def test_hints_speak_of_options_not_of_python():
    missing = errors.KeysMissing("gone", hint="put it back from its backup, or say with keys= where it lies")
    assert outcome.hint_of(missing) == "put it back from its backup, or say with --keys where it lies"
    assert "mode=" not in str(outcome.hint_of(errors.NotAStore("x", hint='make one with mode="a"')))
    assert outcome.hint_of(errors.StorageError("x")) is None


def test_what_the_system_refuses_is_a_line_with_the_path(capsys):
    assert ended(OSError(errno.ENOSPC, "No space left on device", "/data/x")) == 3
    assert capsys.readouterr().err == "aegis: /data/x: No space left on device\n"


def test_with_json_the_error_is_an_object_on_stderr_and_there_is_no_answer(capsys):
    error = errors.Locked("held", op="open", path="/data/state", tier=None, index=None)
    assert ended(error, as_json=True) == 4
    out, err = capsys.readouterr()
    assert out == ""
    assert json.loads(err) == {
        "error": "Locked",
        "message": "held",
        "op": "open",
        "path": "/data/state",
        "tier": None,
        "index": None,
        "hint": "wait for it or stop it; what it holds meanwhile: aegis head /data/state",
        "can_retry": True,
        "exit_code": 4,
    }


def test_a_reader_that_has_gone_ends_it_quietly():
    code = "from aegis_store.cli import output, outcome; outcome.guarded(lambda: output.emit({}))()"
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run([sys.executable, "-P", "-c", code], stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    # What click does with an Exit is left out here: the exception itself is what is seen.
    assert ran.stderr.splitlines()[-1].endswith("Exit: 141") or ran.stderr.splitlines()[-1].endswith("Exit")
    assert "BrokenPipeError" not in ran.stderr
