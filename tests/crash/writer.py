"""A process that makes writers to be killed: it has imported everything, and forks one for each line that it reads.

    stdin   one JSON object a line: {"place": …, "seed": …, "quota": …, "durability": …, "ask": …, "nth": …}
    stdout  "child <pid>", then what the child says, then "gone <wait status> <call> <file> <bytes torn>"

A child opens the store, says "open", saves checkpoints from several threads into several sessions and, from one more thread,
plain records into two other tiers. After a checkpoint has returned it says "<session> <ordinal> <digest of the state>", after a
record "<tier> <index> <digest>". When its quota is done it says "closing", closes the store and ends. A line is one write of
fewer bytes than a pipe takes at once, so that no line is ever half there.

With "ask", "open" or "close", it is watched from that step on, and killed before its nth call that changes a file; `calls` says
how. What it was killed at is in the last line, dashes where it was killed by somebody else or not at all.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import sys
import threading
from functools import partial

import aegis_store
from aegis_store.types import Tier
from tests.crash import calls

THREADS = 3
SESSIONS = 4
AGENTS = ("planner", "critic")
#: Nothing is made of the records of this tier, so any bytes will do.
PLAIN_TIERS = (Tier.TELEMETRY,)
SEGMENT_BYTES = 64 << 10


def noise(size: int, seed: str) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(size)


def state_of(seed: int, thread: int, number: int) -> dict[str, object]:
    """What a thread of the writer of that seed saves in its n-th checkpoint."""
    size = random.Random(f"{seed} {thread} {number}").choice((0, 50, 500, 3000, 9000))
    return {"seed": seed, "thread": thread, "number": number, "noise": noise(size, f"{seed} {thread} {number}")}


def plain_of(seed: int, number: int) -> tuple[Tier, bytes, bytes]:
    """Tier, entry and payload of the n-th plain record of the writer of that seed."""
    dice = random.Random(f"{seed} plain {number}")
    entry = f"{seed} {number}".encode()
    return dice.choice(PLAIN_TIERS), entry, noise(dice.choice((0, 700, 9000)), f"{seed} plain {number}")


def digest_of(state: object) -> str:
    """Of a state's values and types, in the order in which they stand."""
    return hashlib.sha256(repr(state).encode()).hexdigest()


def config(durability: str) -> aegis_store.Config:
    tiers = aegis_store.TierDurability(session=durability, telemetry=durability)
    return aegis_store.Config(segment_bytes=SEGMENT_BYTES, durability=tiers)


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def work(store: aegis_store.Store, seed: int, thread: int, quota: int) -> None:
    """Checkpoints of one thread."""
    dice = random.Random(f"{seed} {thread}")
    for number in range(quota):
        session = store.session(f"session {dice.randrange(SESSIONS)}", agent=dice.choice(AGENTS))
        state = state_of(seed, thread, number)
        ref = session.checkpoint(state, position=[seed, thread, number])
        say(f"{session.id.split()[1]} {ref.ordinal} {digest_of(state)}")


def work_beside(store: aegis_store.Store, seed: int, quota: int) -> None:
    """Plain records of one thread."""
    engine = store.records.engine
    for number in range(quota):
        tier, *record = plain_of(seed, number)
        index = engine.append(tier, 1, *record)
        engine.commit(tier, index)
        say(f"{tier.label} {index} {digest_of(record)}")


def child(order: dict[str, object], asking: socket.socket) -> None:
    if order["ask"] == "open":
        calls.ask(asking)
    store = aegis_store.open(order["place"], config=config(order["durability"]))
    say("open")
    seed, quota = order["seed"], order["quota"]
    threads = [threading.Thread(target=work, args=(store, seed, thread, quota)) for thread in range(THREADS)]
    threads.append(threading.Thread(target=work_beside, args=(store, seed, quota)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    say("closing")
    if order["ask"] == "close":
        calls.ask(asking)
    store.close()


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        pid, answering = calls.fork(partial(child, order))
        say(f"child {pid}")
        death = None
        if order["ask"]:
            death = calls.answer(answering, pid, order["nth"], random.Random(order["seed"]))
        answering.close()
        status = os.waitpid(pid, 0)[1]
        call, file, torn = death or (None, None, None)
        say(f"gone {status} {call or '-'} {file or '-'} {'-' if torn is None else torn}")


if __name__ == "__main__":
    main()
