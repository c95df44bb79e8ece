"""How a verb ends: exit codes, and errors as a person reads them at three in the morning.

    aegis: state/session: record 48112 is damaged (checksum of segment 00000003.seg at byte 20971840)
      what it means, what to do next

What, where, and what to type next. A user's mistake, a damaged store and a full disk never show a traceback; a bug does.
With `--json` the same stands on stderr as one object, and nothing on stdout that could be taken for an answer.
"""

from __future__ import annotations

import functools
import os
import shlex
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, ParamSpec

import typer

from aegis_store.cli.output import emit, line, problems, shown

if TYPE_CHECKING:
    from rich.console import Console

    from aegis_store.errors import AegisError

FINDING: Final = 1
#: 128 + SIGINT and 128 + SIGPIPE, as shells count. Who sees the first one says that it was interrupted.
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141

#: The next step where the library's own hint speaks to somebody who writes Python. {path} comes quoted for a shell.
_HINTS: Final = {
    "NotAStore": "give the directory of a store: the one that holds MANIFEST; to make a new one: aegis init PATH",
    "StoreExists": "what it holds: aegis stats {path}",
    "Locked": "wait for it or stop it; what it holds meanwhile: aegis head {path}",
    "ReadOnly": "see who may write there: ls -ld {path}",
    "NetworkFileSystem": "use a directory on a local disk",
    "UnknownType": "say which class that is: --types module:Class",
}

Arguments = ParamSpec("Arguments")


def guarded(verb: Callable[Arguments, None]) -> Callable[Arguments, None]:
    """The verb, with whatever ends it turned into words and an exit code. A parameter `as_json` asks for JSON."""

    @functools.wraps(verb)
    def run(*args: Arguments.args, **kwargs: Arguments.kwargs) -> None:
        try:
            verb(*args, **kwargs)
            sys.stdout.flush()
        except BrokenPipeError:
            # Who read our output has gone; the interpreter's last flush needs a place that takes it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(PIPE_CLOSED) from None
        except OSError as error:
            _end(from_system(error), as_json=bool(kwargs.get("as_json")))
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None
        except Exception as error:
            from aegis_store.errors import AegisError

            if not isinstance(error, AegisError):
                raise
            _end(error, as_json=bool(kwargs.get("as_json")))

    return run


def _end(error: AegisError, *, as_json: bool) -> None:
    if as_json:
        emit(as_fields(error), to=sys.stderr)
    else:
        say(error)
    raise typer.Exit(error.exit_code) from None


def from_system(error: OSError) -> AegisError:
    """What the operating system refused, outside of the store's own files."""
    from aegis_store.errors import StorageError

    path = error.filename if isinstance(error.filename, str) else None
    return StorageError(error.strerror or str(error), op="cli", path=path)


def say(error: AegisError, console: Console | None = None) -> None:
    """The error in its lines."""
    to = problems() if console is None else console
    first, *rest = lines_of(error)
    line(to, first, "bold red")
    for each in rest:
        line(to, each)


def lines_of(error: AegisError) -> list[str]:
    """`aegis: place: what is wrong`, then the next steps, indented."""
    place = "/".join(part for part in (shown(error.path) if error.path else None, error.tier) if part)
    head = f"{place}: {error.message}" if place else error.message
    return [f"aegis: {head}", *(f"  {each}" for each in (hint_of(error) or "").splitlines())]


def hint_of(error: AegisError) -> str | None:
    """The next step for somebody at a command line."""
    path = error.path or "PATH"
    spoken = _HINTS.get(type(error).__name__)
    if spoken is not None:
        return spoken.format(path=shlex.quote(shown(path)))
    if error.hint is None:
        return None
    return error.hint.replace(" keys= ", " --keys ").replace(shlex.quote(path), shlex.quote(shown(path)))


def as_fields(error: AegisError) -> dict[str, object]:
    """The error for machines."""
    return {
        "error": type(error).__name__,
        "message": error.message,
        "op": error.op,
        "path": error.path,
        "tier": error.tier,
        "index": error.index,
        "hint": hint_of(error),
        "can_retry": error.can_retry,
        "exit_code": error.exit_code,
    }
