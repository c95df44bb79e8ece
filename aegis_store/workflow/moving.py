"""A workflow from one store to another: two lines of JSON, what it is and who says so.

    {"format": "aegis-workflow", "version": 0, "workflow": id, "type": …, "transitions": […], "checkpoints": […]}
    {"agent": …, "public_key": hex, "signature": hex}

The signature is over "aegis-store/v0/workflow-export" 0x0A and the first line without its end. Values are written as in
`codec.tagged`. The transitions are all there, for the audit tier keeps them; of the checkpoints those that still can be read.
Source: FORMAT.md, Transitions.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from aegis_store.codec import tagged
from aegis_store.errors import BadSignature, Conflict, Corrupt, InvalidArgument, NewerFormat
from aegis_store.store import Store
from aegis_store.trust.signer import verify_signature
from aegis_store.types import Tier
from aegis_store.workflow.links import NO_STATE, Entry, Link, entry_from_wire, entry_to_wire, fault, named
from aegis_store.workflow.moves import ENDED_REASON, Moves
from aegis_store.workflow.saved import name_of, saved_in
from aegis_store.workflow.standing import Standing, board_of
from aegis_store.workflow.steps import Steps, Wait
from aegis_store.workflow.trail import Trail

FORMAT: Final = "aegis-workflow"
VERSION: Final = 0
_DOMAIN: Final = b"aegis-store/v0/workflow-export\n"


class _Seal(msgspec.Struct, frozen=True, kw_only=True):
    agent: str
    public_key: str
    signature: str


class _Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    transition: int
    is_transition: bool
    state: str
    content: Any


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    format: str
    version: int
    workflow: str
    type: str
    transitions: list[tuple[str, dict[str, Any]]]
    checkpoints: list[_Checkpoint]


def export(store: Store, agent: str, workflow_id: str, type_: str) -> bytes:
    """A workflow, signed by an agent. Corrupt: the chain of its transitions does not hold."""
    transitions = [entry for entry, _ in Trail(store).entries(workflow_id)]
    _demand_chain(workflow_id, [each.link for each in transitions])
    checkpoints = []
    for each in reversed(list(store.session(name_of(workflow_id)).history())):
        saved = saved_in(each)
        checkpoints.append(
            {
                "transition": saved.entry.link.number,
                "is_transition": saved.is_transition,
                "state": saved.state,
                "content": each.state,
            }
        )
    body = tagged.dumps(
        {
            "format": FORMAT,
            "version": VERSION,
            "workflow": workflow_id,
            "type": type_,
            # Where they are recorded is another place in the store that takes them in.
            "transitions": [[each.link.actor, entry_to_wire(Entry(link=each.link))] for each in transitions],
            "checkpoints": checkpoints,
        },
        types=store.types,
    )
    signer = store.signer_for(agent)
    seal = _Seal(agent=agent, public_key=signer.public_key.hex(), signature=signer.sign(_DOMAIN + body).hex())
    return body + b"\n" + msgspec.json.encode(seal) + b"\n"


def import_(store: Store, moves: Moves, data: bytes, *, public_key: bytes | None) -> Steps[str]:
    """Take in an export, as steps; the workflow's id."""
    body, links = _opened(store, data, public_key)
    workflow_id = body.workflow
    asked = f"import/{sha256(data).hexdigest()}/"
    chain = store.chain_of(name_of(workflow_id))
    if chain.lineage.newest() is not None and chain.requested(f"{asked}0") is None:
        raise Conflict(f"there is a workflow {workflow_id!r} already", op="import", path=str(store.path))
    standing: Standing | None = None
    done = 0  # transitions that are in the store
    for number, each in enumerate(body.checkpoints):
        entries = [Entry(link=link) for link in links[done : each.transition + 1]]
        with board_of(store).locked(workflow_id):
            queued = moves.save(
                workflow_id,
                body.type,
                each.content,
                standing,
                entries,
                each.state,
                f"{asked}{number}",
                is_transition=each.is_transition,
            )
            standing = board_of(store).get(workflow_id)
        yield from moves.landing(queued)
        done = each.transition + 1
    if standing is not None and done < len(links):
        yield from moves.landing(moves.record(workflow_id, standing, [Entry(link=link) for link in links[done:]], NO_STATE))
    if body.checkpoints[-1].state == NO_STATE:
        session = store.session(name_of(workflow_id))
        ended = session.submit_end(reason=ENDED_REASON)
        if ended is not None:
            yield Wait(Tier.SESSION, ended, lambda: session.settle(ended))
    board_of(store).forget(workflow_id)  # a repeated import may have been of something that has gone on since
    return workflow_id


def _opened(store: Store, data: bytes, public_key: bytes | None) -> tuple[_Body, list[Link]]:
    """An export, checked whole."""
    lines = data.split(b"\n")
    if len(lines) != 3 or lines[2]:
        raise Corrupt("an exported workflow has two lines", op="import")
    try:
        seal = msgspec.json.decode(lines[1], type=_Seal)
        key, signature = bytes.fromhex(seal.public_key), bytes.fromhex(seal.signature)
    except (msgspec.DecodeError, ValueError) as error:
        raise Corrupt(f"the second line does not say who signed the first: {error}", op="import") from None
    if public_key is not None and key != public_key:
        raise BadSignature(f"it was signed by {seal.agent!r} with another key, {seal.public_key}", op="import")
    if not verify_signature(key, _DOMAIN + lines[0], signature):
        raise BadSignature(f"it is not what {seal.agent!r} signed", op="import")
    try:
        body = msgspec.convert(tagged.loads(lines[0], types=store.types), _Body)
        links = [entry_from_wire(wire, actor).link for actor, wire in body.transitions]
    except (msgspec.ValidationError, InvalidArgument, Corrupt) as error:
        raise Corrupt(f"this is no exported workflow: {error}", op="import") from None
    if (body.format, body.version) != (FORMAT, VERSION):
        raise NewerFormat(f"this is {body.format!r} of version {body.version}", op="import")
    _demand_chain(body.workflow, links)
    before = -1
    for each in body.checkpoints:
        is_next = before < each.transition if each.is_transition else before <= each.transition
        if not is_next or each.transition >= len(links) or links[each.transition].to_state != each.state:
            raise Corrupt(f"a checkpoint of transition {each.transition} is not where it can be", op="import")
        before = each.transition
    if not body.checkpoints:
        raise Corrupt("it has no checkpoint", op="import")
    return body, links


def _demand_chain(workflow_id: str, links: Sequence[Link]) -> None:
    """Corrupt: transitions that do not follow each other."""
    before = None
    for link in links:
        why = fault(workflow_id, before, link)
        if why is not None:
            raise Corrupt(f"workflow {workflow_id!r}: {named(link)}: {why}", op="workflow")
        before = link
