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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ü – words", "plain ü – words"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\rb\x07", r"a\rb\x07"),
        ("a\u202eb\u200f", r"a\u202eb\u200f"),
        ("\x9b31m", r"\x9b31m"),
        ("\ud800", r"\ud800"),
    ],
)
def test_nothing_that_is_shown_can_drive_a_terminal(capsys, text, shown):
    assert output.printable(text) == shown
    output.line(output.answers(), text)
    assert capsys.readouterr().out == shown + "\n"


def test_a_new_line_may_part_lines_but_not_cells():
    assert output.printable("a\nb") == "a\nb"
    assert output.printable("a\nb", newline=False) == r"a\nb"


def test_columns_stand_below_each_other_and_a_pipe_gets_them_whole(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    output.table(output.answers(), ["name", "n", "what"], [["a", "1", "x" * 40], ["ワイド", "10", "[b]y[/b]\n"]], right=["n"])
    assert capsys.readouterr().out.splitlines() == [
        "name     n  what",
        "a        1  " + "x" * 40,
        "ワイド  10  [b]y[/b]" + r"\n",
    ]


def test_a_terminal_gets_as_much_of_a_row_as_fits(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    output.table(output.answers(), ["name", "what"], [["a", "x" * 40]])
    row = capsys.readouterr().out.splitlines()[1]
    assert row == "a     " + "x" * 13 + "…"


def test_a_bar_is_for_terminals_alone(capsys, monkeypatch):
    with output.bar("work", 10, "records") as advance:
        advance(5)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with output.bar("work", 2000, "bytes") as advance:
        advance(1000)
    out, err = capsys.readouterr()
    assert out == ""
    assert "1.00 kB of 2.00 kB" in err


def test_a_bar_may_learn_later_of_how_much(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    with output.bar("work", None, "records") as advance:
        advance(3, 12)
    err = capsys.readouterr().err
    assert "3 of 12 records" in err and "None" not in err


def test_a_word_while_it_takes_its_time_is_for_terminals_alone(capsys, monkeypatch):
    with output.busy("work"):
        pass
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with output.busy("work \x1b[31m"):
        pass
    out, err = capsys.readouterr()
    assert out == ""
    assert r"work \x1b[31m" in err


def test_json_may_be_one_line_and_names_may_hold_anything(capsys):
    output.emit({"a": ["\ud800", 1]}, indent=0)
    assert capsys.readouterr().out == '{"a":[{"$str":"7aCA"},1]}\n'


def test_a_command_to_type_is_quoted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert output.command("log", tmp_path / "my state", "a b", "c") == "aegis log 'my state' 'a b' c"
