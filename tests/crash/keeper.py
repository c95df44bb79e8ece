"""A process that makes keepers to be killed: each opens a store, lets something of it go, and closes it.

    stdin   one JSON object a line: {"place": …, "what": "retain" | "erase" | "checkpoint", "nth": …}
    stdout  "<wait status> <call> <file>", the last two dashes where it was not killed

It is watched from its start on, and killed before its nth call that changes a file, which may be torn on top; `calls` says how.
"""

from __future__ import annotations

import socket

import aegis_store
from aegis_store.rules import Rule
from tests.crash import calls

NAME = "patient-Kowalczyk"
OTHER = "other"
KEPT = 4
ERASED_ORDINAL = 9
#: No waiting for the disk: what a kill leaves does not depend on it.
CONFIG = aegis_store.Config(segment_bytes=64 << 10, durability=aegis_store.TierDurability(session="write"))


def child(order: dict[str, object], asking: socket.socket) -> None:
    calls.ask(asking)
    with aegis_store.open(order["place"], config=CONFIG) as store:
        if order["what"] == "retain":
            store.retain([Rule(keep_last=KEPT)])
            store.compact()
        elif order["what"] == "erase":
            store.erase(session=NAME, reason="case 17", by="dpo")
        else:
            store.erase(session=NAME, ordinal=ERASED_ORDINAL, reason="case 17", by="dpo")


if __name__ == "__main__":
    calls.serve(child)
