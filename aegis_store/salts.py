"""Salts for commitments, drawn many at a time: a call of the kernel costs about half of what a signature does.

A salt is used once and by one process: whoever forks is refused its store, and with it the salts that are left.
Source: FORMAT.md, Payload.
"""

from __future__ import annotations

from typing import Final

from aegis_store.codec.payload import SALT_SIZE
from aegis_store.types import Randomness

#: Salts that are drawn at once.
DRAWN: Final = 64


class Salts:
    """Random salts [16], no two of them the same one. Any number of threads may take them."""

    __slots__ = ("_left", "_randomness")

    def __init__(self, randomness: Randomness) -> None:
        self._randomness = randomness
        self._left: list[bytes] = []

    def take(self) -> bytes:
        """One that nobody else gets."""
        try:
            # In one step: whoever is interrupted here, by a thread or a signal, has it or leaves it.
            return self._left.pop()
        except IndexError:
            drawn = self._randomness.draw(SALT_SIZE * DRAWN)
            self._left += [drawn[at : at + SALT_SIZE] for at in range(SALT_SIZE, len(drawn), SALT_SIZE)]
            return drawn[:SALT_SIZE]
