"""Whether what stands of a workflow is what happened: its transitions, one after the other, and its checkpoints beside them.

The audit tier's own chain shows that no event was changed, left out, moved or put twice by somebody without the agents'
keys. Here each transition is hashed again and has to start where the one before it ended, so that somebody who has the keys
has to have forged all that follows, too; and the two tiers have to agree, which are signed and anchored apart. The first
transition that does not hold is named. Nothing here writes.
"""

from __future__ import annotations

from contextlib import suppress

from aegis_store.checkpoint import as_checkpoint
from aegis_store.errors import AegisError
from aegis_store.store import Store
from aegis_store.types import LogIndex
from aegis_store.workflow.links import Entry, fault, named
from aegis_store.workflow.saved import Saved, name_of, saved_in
from aegis_store.workflow.trail import Trail

Verdict = tuple[bool, str | None]


def audit_chain(store: Store, workflow_id: str) -> Verdict:
    """Whether every transition of a workflow is in the audit tier and follows the one before it; else which is the first
    that does not, and why. A workflow that there is not has a chain of none, which holds."""
    entries, problem = _entries(store, workflow_id)
    if problem is None:
        with suppress(AegisError):  # what cannot be read of its checkpoints is `integrity`'s to say
            problem = _missing(store, workflow_id, entries)
    return problem is None, None if problem is None else f"workflow {workflow_id!r}: {problem}"


def integrity(store: Store, workflow_id: str) -> Verdict:
    """The same, and every checkpoint that was neither pruned nor erased: that it is believed, follows the one before it,
    and was saved in the state that the transition says that the audit tier has; and that each transition that was saved has
    its record.
    """
    entries, problem = _entries(store, workflow_id)
    try:
        if problem is None:
            problem = _missing(store, workflow_id, entries)
        if problem is None:
            problem = _checkpoints_problem(store, workflow_id, entries) or _records_problem(store, workflow_id, entries)
    except AegisError as error:
        problem = error.message
    return problem is None, None if problem is None else f"workflow {workflow_id!r}: {problem}"


def _entries(store: Store, workflow_id: str) -> tuple[list[Entry], str | None]:
    """The transitions in the audit tier up to the first that does not hold, and why that does not."""
    entries: list[Entry] = []
    try:
        for entry, ref in Trail(store).entries(workflow_id):
            why = fault(workflow_id, entries[-1].link if entries else None, entry.link)
            if why is not None:
                return entries, f"{named(entry.link)}, at record {ref.index} of the audit tier: {why}"
            entries.append(entry)
        holds, why = store.audit.verify_chain(name_of(workflow_id))
        return entries, None if holds else why
    except AegisError as error:
        return entries, f"transition {len(entries)}: {error.message}"


def _missing(store: Store, workflow_id: str, entries: list[Entry]) -> str | None:
    """What the newest checkpoint knows of, and the audit tier does not."""
    checkpoint = store.session(name_of(workflow_id)).latest()
    saved = None if checkpoint is None else saved_in(checkpoint)
    if saved is None:
        if entries:
            return "it has transitions in the audit tier and no checkpoint: its session is gone, or was erased"
        return None
    for each in (*saved.unaudited, saved.entry):
        if each.link.number >= len(entries):
            return f"{named(each.link)} is in the session tier and has no event in the audit tier"
    return None


def _checkpoints_problem(store: Store, workflow_id: str, entries: list[Entry]) -> str | None:
    session_id = name_of(workflow_id)
    lineage = store.chain_of(session_id).lineage
    found = lineage.newest()
    if found is None or found.last_ordinal is None:
        return None
    above: tuple[int, int | None, bytes] | None = None  # ordinal, and what it names as its parent
    number = len(entries)
    for _, record in lineage.records_down(found, found.last_ordinal):
        where = f"checkpoint {record.entry.ordinal}, at record {record.index}"
        if above is not None and above[0] == record.entry.ordinal + 1 and above[1:] != (record.index, record.leaf):
            return f"checkpoint {above[0]} does not follow {where}"
        above = record.entry.ordinal, record.entry.parent, record.entry.parent_leaf
        saved = saved_in(as_checkpoint(record, session_id, store.types))
        if saved.entry.link.number > number:
            return f"{where}, is of {named(saved.entry.link)}, and a later one of transition {number}"
        number = saved.entry.link.number
        why = _disagreement(saved, entries[number]) if number < len(entries) else "no event is of its transition"
        if why is not None:
            return f"{named(saved.entry.link)}: {where}: {why}"
    return None


def _disagreement(saved: Saved, entry: Entry) -> str | None:
    if saved.entry.link != entry.link:
        return "the audit tier has another transition of that number"
    if saved.is_transition and (saved.entry.record, saved.entry.leaf) != (entry.record, entry.leaf):
        return f"the audit tier says that it was saved with record {entry.record}"
    if saved.state != entry.link.to_state:
        return f"it was saved in state {saved.state!r}"
    return None


def _records_problem(store: Store, workflow_id: str, entries: list[Entry]) -> str | None:
    """Of each transition that was saved there is the record, also where what it held is gone."""
    for each in entries:
        if each.record is None:
            continue
        if each.record >= store.records.size() or store.records.entry_at(LogIndex(each.record)).leaf != each.leaf:
            return f"{named(each.link)}: the session tier has another record at {each.record}, or none"
    return None
