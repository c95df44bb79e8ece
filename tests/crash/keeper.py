"""A process that makes keepers to be killed: each opens a store, lets something of it go, and closes it.

    stdin   one JSON object a line: {"place": …, "what": "retain" | "erase" | "checkpoint", "nth": …}
    stdout  "<wait status> <call> <file>", the last two dashes where it was not killed

It is watched from its start on, and killed before its nth call that changes a file, which may be torn on top; `calls` says how.
"""

from __future__ import annotations

import json
import os
import random
import socket
import sys
from functools import partial

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


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pid, answering = calls.fork(partial(child, order))
        death = calls.answer(answering, pid, order["nth"], random.Random(order["nth"]))
        answering.close()
        status = os.waitpid(pid, 0)[1]
        call, file = ("-", "-") if death is None else death[:2]
        os.write(1, f"{status} {call} {file}\n".encode())


if __name__ == "__main__":
    main()
