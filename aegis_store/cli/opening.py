"""What most verbs begin with: the options that name a store, and the store, open for reading.

Reading changes nothing on disk and goes on beside a writer. A session that is not there is an error with the next command.
"""

from __future__ import annotations

import importlib
import os
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from aegis_store.cli.completion import complete_session
from aegis_store.cli.output import busy, shown

if TYPE_CHECKING:
    from aegis_store import Session, SessionInfo, Store

# `readable=False`: what may not be read is said by those who try, as any other refusal of the system's, and is no usage error.
StorePath = Annotated[Path, typer.Argument(metavar="PATH", help="The store's directory.", readable=False)]
SessionId = Annotated[str, typer.Argument(metavar="SESSION", help="The session's id.", autocompletion=complete_session)]
Keys = Annotated[
    Path | None,
    typer.Option("--keys", metavar="DIR", help="The key directory, where it is not PATH.keys.", readable=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="The answer as JSON.")]
Types = Annotated[
    list[str] | None,
    typer.Option("--types", metavar="MODULE:NAME", help="A class that states hold; its module is imported. May be repeated."),
]


_AS_TYPED: Final = "give it as module:Class, or as name=module:Class if it is stored under another name"


@contextmanager
def reading(path: Path, *, keys: Path | None, types: Mapping[str, type] | None = None) -> Iterator[Store]:
    """The store for reading; on a terminal it says that it opens, for that reads through a large store once."""
    import aegis_store

    with opening(shown(path)):
        store = aegis_store.open(path, mode="r", keys=keys, types={} if types is None else types)
    with store:
        yield store


@contextmanager
def writing(path: Path, *, keys: Path | None) -> Iterator[Store]:
    """The store for writing. NotAStore where there is none: a verb that changes one makes none."""
    import aegis_store

    if not (path / "MANIFEST").exists():
        aegis_store.open(path, mode="r", keys=keys).close()  # says what is wrong
    with opening(shown(path)):
        store = aegis_store.open(path, mode="a", keys=keys)
    with store:
        yield store


@contextmanager
def opening(name: str) -> Iterator[None]:
    """A word on the terminal while a store is opened."""
    with busy(f"opening {name}"):
        yield


def session_of(store: Store, session_id: str) -> tuple[Session, SessionInfo]:
    """A session that is there. NotFound if it is not."""
    from aegis_store.errors import NotFound

    session = store.session(session_id)
    info = session.info()
    if info is None:
        raise NotFound(
            f"there is no session {session_id!r}",
            op="session",
            path=str(store.path),
            hint=f"see which there are: aegis sessions {shlex.quote(shown(store.path))}",
        )
    return session, info


def named_types(given: list[str] | None) -> dict[str, type]:
    """Classes that states hold, by the name under which they are stored, from `module:Class` or `name=module:Class`.

    Only what the user has typed is imported; it is looked for where Python looks, and at last in the working directory, so that
    a file there replaces nothing. InvalidArgument if there is no such thing.
    """
    from aegis_store.errors import InvalidArgument

    here = os.getcwd()
    if given and here not in sys.path:
        sys.path.append(here)
    found: dict[str, type] = {}
    for each in given or ():
        name, _, place = each.rpartition("=")
        module, _, attributes = place.partition(":")
        try:
            value: Any = importlib.import_module(module)
            for attribute in attributes.split("."):
                value = getattr(value, attribute)
        except (ImportError, AttributeError, ValueError) as error:
            raise InvalidArgument(f"--types {each}: {error}", op="types", hint=_AS_TYPED) from None
        if not isinstance(value, type):
            raise InvalidArgument(f"--types {each}: that is not a class", op="types", hint=_AS_TYPED)
        found[name or value.__qualname__] = value
    return found


def moment_of(text: str, option: str) -> datetime:
    """An ISO 8601 time; one without a zone is local time."""
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone() if moment.tzinfo is None else moment
    except (ValueError, OverflowError):
        raise typer.BadParameter(f"{text!r} is no time like 2026-01-31T12:00:00Z", param_hint=option) from None
