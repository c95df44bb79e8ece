"""A workflow's checkpoint: what its record says beside the state, as the metadata of the checkpoint.

    {"workflow": {"version": 0,
                  "transition":    the newest one of the workflow when it was saved
                  "actor":         whose it was
                  "state":         the state that was saved
                  "is_transition": whether this checkpoint and that transition are one
                  "unaudited":     [[actor, transition]…], those before it whose audit events were not known to be durable
                  "audited_below": the audit tier has all transitions of the store that are one with a record below this}}

So from the newest checkpoint alone every audit event can be made that a crash may have kept from being written.
Source: FORMAT.md, Transitions.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from aegis_store.checkpoint import Checkpoint
from aegis_store.errors import Corrupt, NewerFormat
from aegis_store.types import Ref
from aegis_store.workflow.links import NO_STATE, Entry, entry_from_wire, entry_to_wire

PREFIX: Final = "workflow/"
_KEY: Final = "workflow"
_VERSION: Final = 0


class Saved(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint says of its workflow. `entry` is its newest transition, one with the checkpoint or with an older one.

    The record of an entry that is one with the checkpoint is not in it: nobody knows it before it is written.
    """

    entry: Entry
    state: str
    is_transition: bool
    unaudited: tuple[Entry, ...]
    audited_below: int

    @property
    def is_completed(self) -> bool:
        """Whether nothing comes after it."""
        return self.state == NO_STATE

    @property
    def due(self) -> tuple[Entry, ...]:
        """The transitions whose audit events may be missing."""
        return (*self.unaudited, self.entry) if self.is_transition else self.unaudited


def name_of(workflow_id: str) -> str:
    """The session of a workflow, and what the audit tier calls it."""
    return PREFIX + workflow_id


def id_of(name: str) -> str:
    """The workflow of a session that is one's."""
    return name.removeprefix(PREFIX)


def to_metadata(saved: Saved) -> dict[str, Any]:
    """The metadata of a checkpoint."""
    return {
        _KEY: {
            "version": _VERSION,
            "transition": entry_to_wire(saved.entry),
            "actor": saved.entry.link.actor,
            "state": saved.state,
            "is_transition": saved.is_transition,
            "unaudited": [[each.link.actor, entry_to_wire(each)] for each in saved.unaudited],
            "audited_below": saved.audited_below,
        }
    }


class _Wire(msgspec.Struct, frozen=True, kw_only=True):
    version: int
    transition: object
    actor: str
    state: str
    is_transition: bool
    unaudited: list[tuple[str, object]]
    audited_below: int


def saved_in(checkpoint: Checkpoint) -> Saved:
    """What a checkpoint says of its workflow. Corrupt: it is no workflow's."""
    metadata = checkpoint.metadata
    wire = metadata.get(_KEY) if isinstance(metadata, dict) else None
    try:
        found = msgspec.convert(wire, _Wire)
    except msgspec.ValidationError:
        raise Corrupt(
            f"record {checkpoint.ref.index} is no workflow's: its metadata says nothing of one",
            op="workflow",
            tier=checkpoint.ref.tier.label,
            index=checkpoint.ref.index,
        ) from None
    if found.version > _VERSION:
        raise NewerFormat(
            f"record {checkpoint.ref.index} is of version {found.version} of workflows",
            op="workflow",
            hint="read it with a later aegis-store: pip install --upgrade aegis-store",
        )
    entry = entry_from_wire(found.transition, found.actor)
    if found.is_transition:
        entry = placed(entry, checkpoint.ref)
    unaudited = tuple(entry_from_wire(each, actor) for actor, each in found.unaudited)
    return Saved(
        entry=entry,
        state=found.state,
        is_transition=found.is_transition,
        unaudited=unaudited,
        audited_below=found.audited_below,
    )


def placed(entry: Entry, ref: Ref) -> Entry:
    """The entry with the record that it is one with."""
    return Entry(link=entry.link, record=ref.index, leaf=ref.leaf)
