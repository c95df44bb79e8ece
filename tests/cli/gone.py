"""Stores in which something goes, for the verbs that let it go and those that show what is left."""

from __future__ import annotations

from pathlib import Path

import aegis_store
from aegis_store.rules import Rule

from ..stores import SMALL, Told, noise

#: Checkpoints of each of the sessions "a" and "b" of the fixture `full`.
EACH = 30


def write(path: Path, *names: str, each: int = EACH) -> None:
    """Sessions whose states no compression makes smaller, at positions step/0, step/1 …"""
    with aegis_store.open(path, config=SMALL, clock=Told()) as store:
        for name in names:
            for number in range(each):
                state = {"number": number, "noise": noise(3000, (name, number))}
                store.session(name).checkpoint(state, position=f"step/{number}")


def prune(path: Path, *, keep_last: int = 10, compact: bool = False) -> None:
    """Lets go all but the newest."""
    with aegis_store.open(path, config=SMALL) as store:
        store.retain([Rule(keep_last=keep_last)])
        if compact:
            store.compact()


def kept(path: Path, name: str) -> list[int]:
    """The ordinals that are there, ascending."""
    with aegis_store.open(path, mode="r") as store:
        return [each.ref.ordinal for each in store.session(name).history()][::-1]
