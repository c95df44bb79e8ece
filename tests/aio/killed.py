"""A process to be killed: tasks checkpoint without end, and each says so on standard output when its checkpoint has returned.
Now and then one is cancelled on the way, and the same request made again.

killed.py PLACE SEED TASKS        prints "<session> <ordinal> <index> <digest>" a line, in one write
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import sys
from itertools import count

import aegis_store
from aegis_store import aio


def state_of(seed: str, session: str, number: int) -> dict[str, object]:
    """What the n-th checkpoint that a run of that seed makes in a session holds."""
    noise = hashlib.shake_256(f"{seed} {session} {number}".encode()).digest(number * 37 % 900)
    return {"seed": seed, "number": number, "noise": noise}


def digest_of(state: object) -> str:
    return hashlib.sha256(repr(state).encode()).hexdigest()


async def work(store: aio.Store, seed: str, name: str) -> None:
    session, dice = store.session(name), random.Random(f"{seed} {name}")
    for number in count():
        state = state_of(seed, name, number)
        while True:
            saving = asyncio.ensure_future(session.checkpoint(state, request_id=f"{seed} {number}"))
            if dice.random() < 0.2:
                for _ in range(dice.randrange(4)):
                    await asyncio.sleep(0)
                saving.cancel()
            try:
                ref = await saving
                break
            except asyncio.CancelledError:
                continue
        os.write(1, f"{name} {ref.ordinal} {ref.index} {digest_of(state)}\n".encode())


async def main(place: str, seed: str, tasks: int) -> None:
    async with aio.open(place, config=aegis_store.Config(segment_bytes=64 << 10)) as store:
        await asyncio.gather(*(work(store, seed, f"s{number}") for number in range(tasks)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
