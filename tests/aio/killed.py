"""A process to be killed: tasks checkpoint without end, and each says so on standard output when its checkpoint has returned.

killed.py PLACE SEED TASKS        prints "<session> <ordinal> <index> <digest>" a line, in one write
"""

from __future__ import annotations

import asyncio
import hashlib
import os
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
    session = store.session(name)
    for number in count():
        state = state_of(seed, name, number)
        ref = await session.checkpoint(state)
        os.write(1, f"{name} {ref.ordinal} {ref.index} {digest_of(state)}\n".encode())


async def main(place: str, seed: str, tasks: int) -> None:
    async with aio.open(place, config=aegis_store.Config(segment_bytes=64 << 10)) as store:
        await asyncio.gather(*(work(store, seed, f"s{number}") for number in range(tasks)))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
