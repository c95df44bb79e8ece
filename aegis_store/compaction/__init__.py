"""Compaction: what prune and erase records took away is taken out of the files, and what stays is given another form where it
was made from that.

`plan` says what has to be done, and touches nothing; `reencode` gives a checkpoint another form under the same commitment;
`compactor` does it, segment by segment, newest first, at a `pace` that leaves threads which append their
share. How a segment is rewritten: native/src/compact.h.
"""

from __future__ import annotations

from aegis_store.compaction.compactor import NOTHING, Compacted, Compactor, Stage

__all__ = ["NOTHING", "Compacted", "Compactor", "Stage"]
