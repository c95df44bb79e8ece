"""How much of each log is known.

A tier is covered up to the first record that was not noted. Threads note out of order, so what lies beyond a gap is remembered
until the gap closes. Of a gap that stays open only a bounded part is remembered: to cover less than is known is never wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

AHEAD_MAX: Final = 65_536


class Coverage:
    """Sizes by tier. Not locked: its owner does that."""

    def __init__(self, sizes: Mapping[int, int] | None = None) -> None:
        self.sizes: dict[int, int] = dict(sizes or {})
        self._ahead: dict[int, set[int]] = {}

    def note(self, tier: int, index: int) -> None:
        """The record at `index` is known."""
        size = self.sizes.get(tier, 0)
        if index == size:
            if self._ahead:
                self.cover(tier, size + 1)
            else:
                self.sizes[tier] = size + 1
        elif index > size:
            ahead = self._ahead.setdefault(tier, set())
            if len(ahead) < AHEAD_MAX:
                ahead.add(index)

    def cover(self, tier: int, size: int) -> None:
        """Every record below `size` is known."""
        if size <= self.sizes.get(tier, 0):
            return
        if ahead := self._ahead.get(tier):
            while size in ahead:
                size += 1
            if rest := {index for index in ahead if index > size}:
                self._ahead[tier] = rest
            else:
                del self._ahead[tier]
        self.sizes[tier] = size
