"""A peer that is not on this machine: named, with what would bring it, and left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Final

import msgspec

#: What the extra installs: all peers at once.
EXTRA: Final = 'pip install "aegis-store[bench]"'


class Missing(msgspec.Struct, frozen=True):
    """Who could not take part, and what to do about it."""

    name: str
    remedy: str


class NotHere(Exception):
    """Raised where a peer is set up that cannot take part."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"{name}: {remedy}")
        self.missing: Final = Missing(name, remedy)


def demand(module: str, name: str, package: str) -> ModuleType:
    """The module that a peer is made of. NotHere says which package has it."""
    try:
        return import_module(module)
    except ImportError:
        raise NotHere(name, f"not installed: pip install {package}, or all peers: {EXTRA}") from None


@contextmanager
def noted(missing: list[Missing]) -> Iterator[None]:
    """Whatever is set up within may be missing: it is put on the list once, and the rest goes on."""
    try:
        yield
    except NotHere as error:
        if error.missing not in missing:
            missing.append(error.missing)
