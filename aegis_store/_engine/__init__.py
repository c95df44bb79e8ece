"""The C engine, from Python: the only package that touches the extension.

What it adds to native/include/aegis.h, whose caveats hold here too:

- every failure is an exception of `aegis_store.errors`, with the place that the engine named and the next command to type;
- any thread may close an engine at any time: close waits for calls that are under way, and later ones raise `Closed`;
- in a forked child every call raises `UsedAfterFork`, and nothing that the child does reaches the files;
- what is read is copied out, so a record stays what it was whatever happens to the engine.

The interpreter's lock is not held while the engine works, so a thread that waits for a sync holds nobody up.
"""

from aegis_store._engine.chains import REQUEST_SIZE, WRITES_SIZE, Chains, Folded
from aegis_store._engine.compaction import Change, Gap, Replacement, compact_segment
from aegis_store._engine.deltas import literals_of, make_delta, restore
from aegis_store._engine.engine import ENTRY_MAX, META_MAX, NAME_MAX, PAYLOAD_MAX, Engine, Mode
from aegis_store._engine.entries import entries
from aegis_store._engine.facts import (
    GAP,
    Description,
    Footer,
    GapRun,
    Progress,
    Record,
    Report,
    TierReport,
    TierStats,
    Verdict,
)
from aegis_store._engine.proofs import check_consistency, check_inclusion, leaf_hash
from aegis_store._engine.signatures import SignFunction, open_all, sign_function
from aegis_store._engine.watch import Landed, Watcher

__all__ = [
    "ENTRY_MAX",
    "GAP",
    "META_MAX",
    "NAME_MAX",
    "PAYLOAD_MAX",
    "REQUEST_SIZE",
    "WRITES_SIZE",
    "Chains",
    "Change",
    "Description",
    "Engine",
    "Folded",
    "Footer",
    "Gap",
    "GapRun",
    "Landed",
    "Mode",
    "Progress",
    "Record",
    "Replacement",
    "Report",
    "SignFunction",
    "TierReport",
    "TierStats",
    "Verdict",
    "Watcher",
    "check_consistency",
    "check_inclusion",
    "compact_segment",
    "entries",
    "leaf_hash",
    "literals_of",
    "make_delta",
    "open_all",
    "restore",
    "sign_function",
]
