"""Which checkpoints of a line must stay so that one of them still means what it meant. Pure.

The value of a DeltaChannel is not in every checkpoint: it is made of the writes of its ancestors, back to one that has it. What
LangGraph counts for such a channel since then (`counters_since_delta_snapshot`) says which they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from aegis_store.adapters.langgraph.rows import Opener, Row

#: Where metadata counts, by channel, what came since its value was stored.
COUNTERS: Final = "counters_since_delta_snapshot"


def ancestors_needed(row: Row, find: Callable[[str], Row | None], opener: Opener) -> Iterator[Row]:
    """The ancestors whose writes, or values, the delta channels of a checkpoint are made of, nearest first."""
    missing = _incomplete(row, opener)
    seen = {row.id}
    while missing and row.parent is not None and row.parent not in seen:
        parent = find(row.parent)
        if parent is None:
            return
        yield parent
        seen.add(parent.id)
        missing -= parent.channels.keys()
        row = parent


def _incomplete(row: Row, opener: Opener) -> set[str]:
    """The delta channels that have a value, and not in this row."""
    counters = opener.metadata(row).get(COUNTERS)
    if not counters:
        return set()
    written = opener.value(row.checkpoint)["channel_versions"]
    return {channel for channel in counters if channel in written and channel not in row.channels}
