"""Which records of a key of the memory hold a version that no later one holds as well.

A refresh repeats the put before it with a later expiry, so of a run of them the last says all that the others do. A version
ends when the next record of the key comes that is not such a refresh: a history window is counted from there, for until then
the version was the newest.

    put 1   refresh   refresh   put 2   delete          places 0 to 4
                      └ 1       └ 2     └ the delete    0 and 1 are superseded
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aegis_store.schema import memory as schema
from aegis_store.survey import Strand
from aegis_store.types import LogIndex


def last_of_each(strand: Strand, there: Sequence[int], envelope: Callable[[LogIndex], bytes]) -> list[int]:
    """Of the places in a strand `there`, ascending, those that hold a version as the last ones, ascending.

    `envelope` reads a record: one for each version, none where there is one place alone."""
    if len(there) <= 1:
        return list(there)
    found: list[int] = []
    begun = strand.ordinals[there[-1]] + 1  # the put of the version that the walk is in
    for place in reversed(there):
        if strand.ordinals[place] >= begun:
            continue
        found.append(place)
        op, put = schema.op_of(envelope(LogIndex(strand.indexes[place])))
        begun = put if op == "refresh" and put is not None else strand.ordinals[place]
    return found[::-1]
