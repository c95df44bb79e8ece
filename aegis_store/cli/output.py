"""Where words go: answers to stdout, problems and progress to stderr, with `--json` one object on stdout whatever happens."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


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
    console.print(text, style=style, soft_wrap=True)


def emit(value: object) -> None:
    """One JSON object on stdout, indented."""
    import msgspec

    encoded = msgspec.json.format(msgspec.json.encode(value), indent=2)
    sys.stdout.write(encoded.decode() + "\n")
    sys.stdout.flush()


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
