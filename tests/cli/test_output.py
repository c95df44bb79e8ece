from __future__ import annotations

import json

import msgspec
import pytest

from aegis_store.cli import output


def test_a_path_below_the_working_directory_is_shown_relative_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert output.shown(tmp_path / "state") == "state"
    assert output.shown("a/../b") == "b"
    assert output.shown(tmp_path) == str(tmp_path)
    assert output.shown(str(tmp_path) + "x/state") == str(tmp_path) + "x/state"


def test_a_path_is_whole_at_the_root_and_where_the_working_directory_is_gone(tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    assert output.shown("/etc/passwd") == "/etc/passwd"
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert output.shown("/etc/passwd") == "/etc/passwd"


def test_a_line_is_neither_wrapped_nor_read_as_markup(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    text = "a path with [brackets] and :smile: that is longer than the terminal is wide"
    output.line(output.answers(), text)
    output.line(output.problems(), text.upper())
    out, err = capsys.readouterr()
    assert out == text + "\n"
    assert err == text.upper() + "\n"


def test_json_is_one_object(capsys):
    class Inner(msgspec.Struct):
        number: int

    output.emit({"a": [Inner(3)], "b": None, "c": "ü"})
    assert json.loads(capsys.readouterr().out) == {"a": [{"number": 3}], "b": None, "c": "ü"}


def test_who_has_stopped_reading_is_an_error(monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

        def isatty(self):
            return False

    monkeypatch.setattr("sys.stdout", Closed())
    with pytest.raises(BrokenPipeError):
        output.line(output.answers(), "words")
