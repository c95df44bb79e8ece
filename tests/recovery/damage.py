"""Stores whose session `s` stands in each of the ways that a decision tells apart, each made by a forger, a bit or an owner."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

import aegis_store
from aegis_store.recovery import Failure, Status, recover
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.trust.signer import Signer
from aegis_store.types import Kind
from tests.stores import after, flip, forging, frame_of, noise


def saved(place: Path) -> list[aegis_store.Ref]:
    """Two sessions; `s` has three checkpoints."""
    with aegis_store.open(place) as store:
        store.session("other").checkpoint("untouched")
        session = store.session("s")
        return [
            session.checkpoint(state, position=f"plan/{number}", claims={"tools": ["search"]}, approvals=["refund"])
            for number, state in enumerate(["first", "second", "newest"])
        ]


def _none(place: Path) -> None:
    with aegis_store.open(place) as store:
        store.session("other").checkpoint("untouched")


def _not_included(place: Path) -> None:
    path, span = frame_of(place, saved(place)[-1].index)
    flip(path, span.payload)  # its link still proves which record it was; what stands there now is not that


class _Impostor:
    """A signer with an agent's name and key id, and another key."""

    def __init__(self, of: Signer, other: Signer) -> None:
        self.name, self.key_id, self.public_key, self.sign = of.name, of.key_id, other.public_key, other.sign


def _forged(place: Path, kind: Status) -> None:
    """One more checkpoint, which the engine takes for whoever holds the store secret; one thing is wrong with it."""
    last = saved(place)[-1]
    with aegis_store.open(place) as store:
        tag = store.records.entry_at(last.index).entry.session_tag
        agent = store.signer_for("agent")
    with forging(place) as forger:
        signers = {Status.BAD_KEY: forger.stranger, Status.BAD_SIGNATURE: _Impostor(agent, forger.stranger)}
        fields = after(last, tag)
        if kind is Status.BROKEN_CHAIN:
            fields["parent_leaf"] = noise(32)
        envelope = checkpoint_schema.encode(checkpoint_schema.Checkpoint(state="forged"))
        entry, payload = forger.sealed(Kind.CHECKPOINT, envelope, signers.get(kind, agent), **fields)
        if kind is Status.BAD_COMMITMENT:
            other = checkpoint_schema.encode(checkpoint_schema.Checkpoint(state="FORGED"))
            _, payload = forger.sealed(Kind.CHECKPOINT, other, agent, **fields)
        forger.append(Kind.CHECKPOINT, entry, payload)


def _gone(place: Path) -> None:
    saved(place)
    with aegis_store.open(place) as store:
        store.erase(session="s", ordinal=2, reason="case 7")


def _evidence(place: Path) -> None:
    saved(place)
    with aegis_store.open(place) as store:
        discarded = recover(store, "s", failure=Failure.SECURITY)
        store.incidents.close(discarded.incident, reason="seen", by="ana")


DAMAGE: Final[dict[Status, Callable[[Path], object]]] = {
    Status.NONE: _none,
    Status.VERIFIED: saved,
    Status.NOT_INCLUDED: _not_included,
    **{
        each: partial(_forged, kind=each)
        for each in (Status.BAD_SIGNATURE, Status.BAD_KEY, Status.BAD_COMMITMENT, Status.BROKEN_CHAIN)
    },
    Status.GONE: _gone,
    Status.EVIDENCE: _evidence,
}
