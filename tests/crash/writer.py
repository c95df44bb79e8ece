"""A process that makes writers to be killed: it has imported everything, and forks one for each line that it reads.

    stdin   one JSON object a line: {"place": …, "seed": …, "quota": …, "durability": …}
    stdout  "child <pid>", then what the child says, then "gone <wait status>"

A child opens the store, says "open", and saves checkpoints from several threads into several sessions. After a checkpoint has
returned it says "<session> <ordinal> <digest of the state>". When its quota is done it closes the store and ends. A line is one
write of fewer bytes than a pipe takes at once, so that no line is ever half there.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import sys
import threading

import aegis_store

THREADS = 3
SESSIONS = 4
AGENTS = ("planner", "critic")
SEGMENT_BYTES = 64 << 10


def noise(size: int, seed: str) -> bytes:
    return hashlib.shake_256(seed.encode()).digest(size)


def state_of(seed: int, thread: int, number: int) -> dict[str, object]:
    """What a thread of the writer of that seed saves in its n-th checkpoint."""
    size = random.Random(f"{seed} {thread} {number}").choice((0, 50, 500, 3000, 9000))
    return {"seed": seed, "thread": thread, "number": number, "noise": noise(size, f"{seed} {thread} {number}")}


def digest_of(state: object) -> str:
    """Of a state's values and types, in the order in which they stand."""
    return hashlib.sha256(repr(state).encode()).hexdigest()


def config(durability: str) -> aegis_store.Config:
    tiers = aegis_store.TierDurability(session=durability)
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


def child(order: dict[str, object]) -> None:
    store = aegis_store.open(order["place"], config=config(order["durability"]))
    say("open")
    arguments = [(store, order["seed"], thread, order["quota"]) for thread in range(THREADS)]
    threads = [threading.Thread(target=work, args=each) for each in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    store.close()


def main() -> None:
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                child(json.loads(line))
                status = 0
            finally:
                sys.stderr.flush()
                os._exit(status)
        say(f"child {pid}")
        say(f"gone {os.waitpid(pid, 0)[1]}")


if __name__ == "__main__":
    main()
