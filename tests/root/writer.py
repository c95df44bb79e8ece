"""A process that makes writers for disks that fail: it has imported everything, and forks one for each line that it reads.

    stdin   one JSON object a line: {"place": …, "seed": …, "quota": …, "durability": …}
    stdout  "child <pid>", then what the child says, then "gone <wait status>"

A child opens the store and says "open"; its threads save checkpoints and say "ack <thread> <number> <index> <leaf>" once each
has returned. A call that raises is said as "failed <error>", and ends its thread. Then the store is closed: "closed", or once
more "failed <error>". A line is one write of fewer bytes than a pipe takes at once, so that none is ever half there.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import threading
import traceback

import aegis_store
from aegis_store.errors import AegisError

THREADS = 3
SESSIONS = 4
SEGMENT_BYTES = 64 << 10


def state_of(seed: int, thread: int, number: int) -> dict[str, object]:
    """What a thread of the writer of that seed saves in its n-th checkpoint."""
    name = f"{seed} {thread} {number}"
    size = random.Random(name).choice((0, 50, 500, 3000, 9000))
    return {"seed": seed, "thread": thread, "number": number, "noise": hashlib.shake_256(name.encode()).digest(size)}


def config(durability: str) -> aegis_store.Config:
    tiers = aegis_store.TierDurability(session=aegis_store.Durability(durability))
    return aegis_store.Config(segment_bytes=SEGMENT_BYTES, durability=tiers)


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def work(store: aegis_store.Store, seed: int, thread: int, quota: int) -> None:
    """Checkpoints of one thread."""
    dice = random.Random(f"{seed} {thread}")
    try:
        for number in range(quota):
            session = store.session(f"session {dice.randrange(SESSIONS)}")
            ref = session.checkpoint(state_of(seed, thread, number))
            say(f"ack {thread} {number} {ref.index} {ref.leaf.hex()}")
    except AegisError as error:
        say(f"failed {type(error).__name__}")


def child(order: dict[str, object]) -> None:
    try:
        store = aegis_store.open(order["place"], config=config(order["durability"]))
        say("open")
        arguments = [(store, order["seed"], thread, order["quota"]) for thread in range(THREADS)]
        threads = [threading.Thread(target=work, args=each) for each in arguments]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.close()
        say("closed")
    except AegisError as error:
        say(f"failed {type(error).__name__}")


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                child(json.loads(line))
                status = 0
            except BaseException:
                # Anything but an AegisError is a mistake of ours, and the test is to show which.
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        say(f"child {pid}")
        say(f"gone {os.waitpid(pid, 0)[1]}")


if __name__ == "__main__":
    main()
