"""Salts: each is random, nobody's twice, and drawn with as few calls as may be."""

from __future__ import annotations

import itertools
import threading

from aegis_store.codec.payload import SALT_SIZE
from aegis_store.salts import DRAWN, Salts


class Counting:
    """Randomness that counts up, and how often it was asked."""

    def __init__(self):
        self.calls = 0
        self._numbers = itertools.count()

    def draw(self, count):
        self.calls += 1
        return b"".join(next(self._numbers).to_bytes(SALT_SIZE, "big") for _ in range(count // SALT_SIZE))


def test_no_two_are_the_same_and_few_calls_are_made():
    source = Counting()
    salts = Salts(source)
    taken = [salts.take() for _ in range(3 * DRAWN)]
    assert len(set(taken)) == len(taken) and {len(each) for each in taken} == {SALT_SIZE}
    assert source.calls == 3


def test_threads_get_each_their_own():
    salts, taken = Salts(Counting()), []

    def take():
        taken.extend([salts.take() for _ in range(500)])

    threads = [threading.Thread(target=take) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(taken)) == len(taken) == 4000
