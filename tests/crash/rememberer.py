"""A process that makes rememberers to be killed: each opens a store, changes its memory, and closes it.

    stdin   one JSON object a line: {"place": …, "what": "write" | "retain" | "erase", "nth": …}
    stdout  "done <n>" after each of its steps that came back, then "gone <wait status> <call>", the last a dash where it was
            not killed

It is killed before its nth call that changes a file, which may be torn on top; `calls` says how.
"""

from __future__ import annotations

import os
import socket

import aegis_store
from aegis_store import Delete, Put, Rule
from tests.crash import calls
from tests.stores import noise

NAMESPACE, ERASED = ("users", "ann"), ("users", "patient-Kowalczyk")
BEGIN = 1_700_000_000_000
#: Seconds after which the items with a ttl have expired, but for the one that is read in time.
TTL = 100
KEYS = 4
#: No waiting for the disk: what a kill leaves does not depend on it.
CONFIG = aegis_store.Config(segment_bytes=64 << 10, durability=aegis_store.TierDurability(memory="write"))

State = dict[str, object]


class At:
    """A clock that stands where it was put."""

    def __init__(self, seconds: float = 0) -> None:
        self.seconds = seconds

    def now_ms(self) -> int:
        return BEGIN + round(self.seconds * 1000)


def value_of(number: int) -> dict[str, object]:
    """A value with bytes of its own, and a page that it shares with the one before."""
    return {"number": number, "own": noise(120, ("own", number)), "page": noise(500, ("page", number // KEYS))}


def steps() -> list[list[Put | Delete]]:
    """What a rememberer does: puts, deletes and batches, one call each."""
    done: list[list[Put | Delete]] = []
    for number in range(100, 112):
        key = f"k{number % KEYS}"
        done.append([Put(namespace=NAMESPACE, key=key, value=value_of(number))])
        if number % 5 == 0:
            done.append([Delete(namespace=NAMESPACE, key=key)])
    done.append([Put(namespace=NAMESPACE, key=f"b{number}", value=value_of(number)) for number in range(3)])
    return done


def states() -> list[State]:
    """The values of the keys after each operation, from the beginning on; and how many operations each call ends after."""
    found: list[State] = [{}]
    for operation in [each for call in steps() for each in call]:
        now = dict(found[-1])
        if isinstance(operation, Put):
            now[operation.key] = operation.value
        else:
            now.pop(operation.key, None)
        found.append(now)
    return found


def child(order: dict[str, object], asking: socket.socket) -> None:
    calls.ask(asking)
    clock = At(TTL / 2)
    with aegis_store.open(order["place"], config=CONFIG, clock=clock) as store:
        if order["what"] == "erase":
            store.memory.erase(ERASED, reason="case 17", by="dpo")
        elif order["what"] == "retain":
            store.retain([Rule(tier="memory", keep_last=2)])
            store.compact()
        else:
            store.memory.get(NAMESPACE, "read")  # in time: it is there for longer
            for number, step in enumerate(steps(), 1):
                store.memory.batch(step)
                os.write(1, f"done {number}\n".encode())
            clock.seconds = TTL + 1
            store.memory.sweep()


if __name__ == "__main__":
    for status, death in calls.deaths(child):
        os.write(1, f"gone {status} {'-' if death is None else death[0]}\n".encode())
