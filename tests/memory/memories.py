"""Stores for tests of the memory tier: a clock that stands still until it is told, and what a memory holds in a few words."""

from __future__ import annotations

from aegis_store import Config, TierDurability

#: Segments as small as they may be, and no waiting for the disk.
SMALL = Config(segment_bytes=64 << 10, durability=TierDurability(memory="write", session="write"))


class Standing:
    """A clock that stands still until a test moves it."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.now = now_ms

    def now_ms(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += round(seconds * 1000)


def held(memory, prefix=(), at=None):
    """What can be read: (namespace, key) -> value."""
    return {(each.namespace, each.key): each.value for each in memory.search(prefix, at=at, refresh=False)}
