"""A process that makes recoverers to be killed: each opens a store, recovers a session or makes a tool call, and closes it.

    stdin   one JSON object a line: {"place": …, "what": "resume" | "restart" | "discard" | "call", "nth": …}
    stdout  "<wait status> <call> <file>", the last two dashes where it was not killed

What hooks and tools did is in the file `<place>.told`, a line each: the world outside, which no store can take back.
"""

from __future__ import annotations

import socket
from pathlib import Path

import aegis_store
from aegis_store.recovery import Failure, Hooks, Notice, recover
from tests.crash import calls

FAILURES = {"resume": Failure.INFRASTRUCTURE, "restart": Failure.INFRASTRUCTURE, "discard": Failure.SECURITY}
#: No waiting for the disk: what a kill leaves does not depend on it.
WRITE = aegis_store.Durability.WRITE
CONFIG = aegis_store.Config(durability=aegis_store.TierDurability(session=WRITE, audit=WRITE))


class World:
    """What is told to it stays told."""

    def __init__(self, place: Path) -> None:
        self._told = place.with_name(place.name + ".told")

    def tell(self, word: str) -> str:
        with self._told.open("a") as file:
            file.write(f"{word}\n")
        return word

    def told(self) -> list[str]:
        return self._told.read_text().split() if self._told.exists() else []

    def issue(self, session_id: str, agent: str, claims: object) -> object:
        return self.tell("token")

    def notify(self, notice: Notice) -> str | None:
        return self.tell("notice")

    def read(self, session_id: str, agent: str | None, pointer: object) -> object:
        return self.tell("memory")

    def hooks(self) -> Hooks:
        return Hooks(token=self, notifier=self, memory=self, timeout_seconds=None)


def child(order: dict[str, object], asking: socket.socket) -> None:
    calls.ask(asking)
    place = Path(str(order["place"]))
    world = World(place)
    with aegis_store.open(place, config=CONFIG) as store:
        if order["what"] == "call":
            store.session("s").calls.once("charge", lambda: world.tell("charge"), {"order": 17}, id="charge/17")
        else:
            recover(store, "s", failure=FAILURES[str(order["what"])], hooks=world.hooks())


if __name__ == "__main__":
    calls.serve(child)
