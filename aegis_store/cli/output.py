"""Where words go: answers to stdout, problems and progress to stderr; with `--json` an answer is JSON, and so is a problem.

Names come from agents, and agents may be told what to call things: whatever is shown goes through `printable`, so that no
session id moves the cursor, recolours a terminal or fakes a line.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

_COLUMN_GAP: Final = "  "


def answers() -> Console:
    """A console on stdout as it is now."""
    return _console(to_stderr=False)


def problems() -> Console:
    """A console on stderr as it is now."""
    return _console(to_stderr=True)


def _console(*, to_stderr: bool) -> Console:
    from rich import console

    class Console(console.Console):
        def on_broken_pipe(self) -> None:
            """Who read this has gone: an error like any other, for `outcome`."""
            raise BrokenPipeError

    # Paths and names are shown as they are: a bracket in them is no markup, a number no reason for colour.
    return Console(stderr=to_stderr, highlight=False, markup=False, emoji=False)


def line(console: Console, text: str = "", style: str | None = None) -> None:
    """One line, never wrapped: who pipes it gets it whole, and a terminal wraps by itself."""
    console.print(printable(text), style=style, soft_wrap=True)


def table(
    console: Console, headings: Sequence[str], rows: Sequence[Sequence[str | Text]], *, right: Sequence[str] = ()
) -> None:
    """Columns side by side, those named in `right` flush right. A terminal gets as much as fits, a pipe all of it."""
    from rich.cells import cell_len
    from rich.text import Text

    cells = [[each if isinstance(each, Text) else Text(printable(each, newline=False)) for each in row] for row in rows]
    widths = [max(cell_len(each.plain) for each in column) for column in zip(map(Text, headings), *cells, strict=True)]
    for row in (map(lambda heading: Text(heading, "bold"), headings), *cells):
        shown = Text()
        for name, width, cell in zip(headings, widths, row, strict=True):
            room = " " * (width - cell_len(cell.plain))
            shown.append_text(Text(room) + cell if name in right else cell + room)
            shown.append(_COLUMN_GAP)
        shown.rstrip()
        if console.is_terminal:
            console.print(shown, no_wrap=True, overflow="ellipsis")
        else:
            console.print(shown, soft_wrap=True)


class Advance(Protocol):
    """Tells a bar how much is done; and of how much, where that was not known before."""

    def __call__(self, done: int, total: int | None = None, /) -> None: ...


@contextmanager
def busy(text: str) -> Iterator[None]:
    """A word on a terminal's stderr while something takes its time."""
    console = problems()
    if not console.is_terminal:
        yield
        return
    with console.status(printable(text)):
        yield


@contextmanager
def bar(what: str, total: int | None, unit: str) -> Iterator[Advance]:
    """A progress bar on a terminal's stderr, told how much of `total` is done. `unit` is "bytes", or names what is counted."""
    console = problems()
    if not console.is_terminal:
        yield lambda done, total=None, /: None
        return
    from rich.progress import BarColumn, Progress, TextColumn

    from aegis_store.cli import figures

    def text(done: int, most: int | None) -> str:
        if most is None:
            return ""
        if unit == "bytes":
            return f"{figures.size(done)} of {figures.size(most)}"
        return f"{figures.count(done)} of {figures.count(most)} {unit}"

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[done]}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(printable(what), total=total, done=text(0, total))

        def advance(done: int, now: int | None = None, /) -> None:
            most = total if now is None else now
            progress.update(task, total=most, completed=done, done=text(done, most))

        yield advance


def printable(text: str, *, newline: bool = True) -> str:
    """The text with everything escaped that a terminal would not just show: control characters, changes of direction."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or (newline and each == "\n") else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")


def emit(value: object, *, to: TextIO | None = None, indent: int = 2) -> None:
    """One JSON object on stdout, indented; on one line with an indent of 0."""
    import msgspec

    stream = sys.stdout if to is None else to
    try:
        encoded = msgspec.json.encode(value)
    except UnicodeEncodeError:
        encoded = msgspec.json.encode(_encodable(msgspec.to_builtins(value)))
    stream.write((msgspec.json.format(encoded, indent=indent) if indent else encoded).decode() + "\n")
    stream.flush()


def command(verb: str, path: str | os.PathLike[str], *rest: str) -> str:
    """What to type next about a store, quoted for a shell."""
    return " ".join(["aegis", verb, shlex.quote(shown(path)), *map(shlex.quote, rest)])


def _encodable(value: Any) -> Any:
    """Names may hold lone surrogates, which UTF-8 cannot: they get the form that `codec.tagged` has for them."""
    from aegis_store.codec.tagged import to_json

    if isinstance(value, dict):
        return {key: _encodable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_encodable(each) for each in value]
    return to_json(value) if isinstance(value, str) else value


def shown(path: str | os.PathLike[str]) -> str:
    """A path as a person would type it here: relative if it lies below the working directory."""
    whole = os.path.abspath(path)
    try:
        here = os.path.join(os.getcwd(), "")
    except FileNotFoundError:
        return whole
    if here != os.sep and whole.startswith(here):
        return whole[len(here) :]
    return whole
