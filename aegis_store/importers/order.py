"""Parents before children, and otherwise by id.

LangGraph's ids count up in one process only: after a clock was set back a child may have a smaller id than its parent. Our
saver takes for the newest what was put last, so the order in which an import puts is what decides where a thread goes on.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable

from aegis_store.importers.source import Step


def parents_first(steps: Iterable[Step]) -> tuple[list[Step], list[Step]]:
    """The steps in order, and those whose parents lead in a circle. A parent that is not among them is none."""
    by_id = {step.id: step for step in steps}
    children: dict[str, list[Step]] = {}
    ready: list[Step] = []
    for step in by_id.values():
        if step.parent is None or step.parent not in by_id:
            ready.append(step)
        else:
            children.setdefault(step.parent, []).append(step)
    heapq.heapify(ready)  # by id: no two have the same
    ordered = []
    while ready:
        step = heapq.heappop(ready)
        ordered.append(step)
        for child in children.pop(step.id, ()):
            heapq.heappush(ready, child)
    # What is left waits for itself, or for one that does.
    return ordered, sorted(step for waiting in children.values() for step in waiting)
