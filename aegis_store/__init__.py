"""aegis-store: an embedded checkpoint store for agent runtimes.

    import aegis_store

    with aegis_store.open("state", agent="planner") as store:
        session = store.session("ticket-4711")
        ref = session.checkpoint({"messages": []}, position="plan/1")    # durable when it returns
        session.latest().state                                           # every check made, or an exception

What it keeps survives kill -9 and power cuts, and proves that nobody touched it. docs/ARCHITECTURE.md shows how.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from aegis_store import errors
from aegis_store.audit import Audit
from aegis_store.audit_chain import Checked, Event
from aegis_store.autosave import Autosave, Snapshot
from aegis_store.calls import Call, CallInfo
from aegis_store.chain import NO_CHECKPOINT
from aegis_store.checkpoint import Checkpoint
from aegis_store.compaction import Compacted
from aegis_store.config import Align, Config, Durability, TierDurability
from aegis_store.enrolment import KeyInfo, Revoked
from aegis_store.erasure import Erasure
from aegis_store.errors import AegisError
from aegis_store.health import Health
from aegis_store.holding import HoldInfo
from aegis_store.incidents import Incident
from aegis_store.keeping import Compaction
from aegis_store.lifetimes import Lifetime
from aegis_store.lineage import GapInfo
from aegis_store.memory import DEFAULT, Delete, Memory, MemoryErasure, MemoryHold, MemoryItem, Put, Swept
from aegis_store.opening import Anchor, Mode
from aegis_store.recovery import Discard, Failure, Hooks, Restart, Resume, recover, recover_all
from aegis_store.retention.sweeper import Retained
from aegis_store.rules import Rule
from aegis_store.session import Session, SessionInfo
from aegis_store.stats import StoreStats
from aegis_store.store import Store
from aegis_store.targets import Target
from aegis_store.trust.heads import SignedHead
from aegis_store.types import Clock, Head, MemoryPointer, Randomness, Ref, Tier
from aegis_store.verification import Finding, Result

__version__ = "0.1.0"

__all__ = [
    "DEFAULT",
    "NO_CHECKPOINT",
    "AegisError",
    "Align",
    "Audit",
    "Autosave",
    "Call",
    "CallInfo",
    "Checked",
    "Checkpoint",
    "Compacted",
    "Compaction",
    "Config",
    "Delete",
    "Discard",
    "Durability",
    "Erasure",
    "Event",
    "Failure",
    "Finding",
    "GapInfo",
    "Head",
    "Health",
    "HoldInfo",
    "Hooks",
    "Incident",
    "KeyInfo",
    "Lifetime",
    "Memory",
    "MemoryErasure",
    "MemoryHold",
    "MemoryItem",
    "MemoryPointer",
    "Put",
    "Ref",
    "Restart",
    "Result",
    "Resume",
    "Retained",
    "Revoked",
    "Rule",
    "Session",
    "SessionInfo",
    "SignedHead",
    "Snapshot",
    "Store",
    "StoreStats",
    "Swept",
    "Target",
    "Tier",
    "TierDurability",
    "errors",
    "open",
    "recover",
    "recover_all",
]


def open(  # as in `gzip.open`: always used with its module's name
    path: str | os.PathLike[str],
    *,
    agent: str = "agent",
    mode: Mode = "a",
    keys: str | os.PathLike[str] | None = None,
    name: str | None = None,
    anchor: Anchor | Iterable[Anchor] | None = None,
    config: Config | str | os.PathLike[str] | None = None,
    types: Iterable[type] | Mapping[str, type] = (),
    clock: Clock | None = None,
    randomness: Randomness | None = None,
) -> Store:
    """Open the store at `path`, a directory, and make it where it is missing.

    `agent` names who signs what is written. `mode` is "a" to write (default), "x" for a store that must not exist yet, "r" to
    read, which changes nothing and follows a writer. `keys` is the key directory, beside the store as `<path>.keys` by default;
    keep a copy of it elsewhere: without it nothing can be read. `name` is a new store's. `anchor` is a tree head, or several,
    that you kept outside (as `Store.head` gave it, or the text of its note): a store that is older, or different, is refused.
    `config` has the options, or is a TOML file of them. `types` are classes of yours that states may hold: enums, dataclasses,
    msgspec Structs and NamedTuples, or a mapping of the names under which they are stored; stored names never import anything.
    `clock` and `randomness` stand in for the machine's.

    Raises NotAStore, StoreExists, KeysMissing, KeysWrong, Locked (names the holder), Corrupt, RolledBack, NewerFormat,
    ReadOnly, NetworkFileSystem, NoSpace; all of them are `aegis_store.AegisError`.
    """
    return Store.open(
        path,
        agent=agent,
        mode=mode,
        keys=keys,
        name=name,
        anchor=anchor,
        config=config,
        types=types,
        clock=clock,
        randomness=randomness,
    )
