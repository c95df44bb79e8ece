"""What verification of a workflow says of each way in which it was tampered with, and that it names the transition."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

import aegis_store
from aegis_store import Config, Rule, TierDurability
from aegis_store.errors import Corrupt
from aegis_store.trust.keys import KeyDirectory
from aegis_store.workflow import DurableWorkflowEngine, checking
from aegis_store.workflow.links import Entry, entry_to_wire, follow
from aegis_store.workflow.trail import Trail
from tests.stores import edit, frames, segments
from tests.test_edits import Target
from tests.workflow.orders import Order, moved

WRITE = Config(durability=TierDurability(session="write", audit="write"))
STATES = ("paid", "packed", "sent", "back")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Two workflows of five transitions each, the second a twin of the first."""
    place = tmp_path / "state"
    with aegis_store.open(place, config=WRITE) as store:
        moved(store, "o", *STATES)
        moved(store, "p", *STATES)
    return place


class AuditTarget(Target):
    """The files of the audit tier. Records of workflow `o` are by the number of their transition."""

    def where(self, index: int):
        return next((path, span) for path in segments(self.place, "audit") for span in frames(path) if span.index == index)


def target_of(place: Path, *, secret: bool) -> AuditTarget:
    with aegis_store.open(place, mode="r") as store:
        indexes = {name: [each.event.index for each in DurableWorkflowEngine(store).history(name)] for name in ("o", "p")}
    known = KeyDirectory.load(place.with_name("state.keys")).secret if secret else None
    return AuditTarget(place=place, secret=known, saved={}, indexes=indexes, ordinal=2)


def verdicts(store: aegis_store.Store) -> list[tuple[bool, str | None]]:
    """What both checks say of `o`."""
    engine = DurableWorkflowEngine(store)
    return [engine.verify_audit_chain("o"), engine.verify_integrity("o")]


def test_what_was_not_touched_holds(place):
    with aegis_store.open(place, mode="r") as store:
        assert verdicts(store) == [(True, None)] * 2


@pytest.mark.parametrize("secret", [False, True])
@pytest.mark.parametrize("way", ["content", "entry", "missing", "swapped", "replayed"])
def test_an_edit_of_the_audit_tiers_file_is_named_by_its_transition(place, way, secret):
    """By a store that was open before the edit; one that is opened after it mostly refuses to."""
    target = target_of(place, secret=secret)
    with aegis_store.open(place, mode="r") as store:
        tamper(target, way)
        demand_named(store, target)
    with suppress(Corrupt), aegis_store.open(place, mode="r") as store:
        demand_named(store, target)


def demand_named(store: aegis_store.Store, target: AuditTarget) -> None:
    for holds, why in verdicts(store):
        assert not holds
        assert "transition 2" in why
        assert f"record {target.indexes['o'][2]} " in why


def tamper(target: AuditTarget, way: str) -> None:
    indexes = target.indexes["o"]
    entry, payload = target.contents(indexes[2])
    if way == "content":
        target.put(indexes[2], entry, payload[:-3] + bytes([payload[-3] ^ 1]) + payload[-2:])
    elif way == "entry":
        target.put(indexes[2], entry[:28] + bytes([entry[28] ^ 1]) + entry[29:], payload)
    elif way == "missing":
        path, span = target.where(indexes[2])
        edit(path, lambda data: data.__setitem__(slice(span.start + 8, span.end), bytes(span.end - span.start - 8)))
    elif way == "swapped":
        other = target.contents(indexes[3])
        if len(other[0]) + len(other[1]) != len(entry) + len(payload):
            other = other[0], other[1].ljust(len(entry) + len(payload) - len(other[0]), b"\0")[: len(payload)]
        target.put(indexes[2], *other)
    else:
        other_entry, other_payload = target.contents(target.indexes["p"][2])
        target.put(indexes[2], other_entry, other_payload.ljust(len(payload), b"\0")[: len(payload)])


def forge(store: aegis_store.Store, entry: Entry, *, actor: str = "shop", action: str | None = None) -> None:
    """An event that bears the agent's signature: made by somebody who has every key."""
    link = entry.link
    store.audit.record(actor, action or link.action, "workflow/o", entry_to_wire(entry))


def newest(store: aegis_store.Store, name: str = "o") -> Entry:
    return list(Trail(store).entries(name))[-1][0]


def said(store: aegis_store.Store) -> str:
    results = checking.audit_chain(store, "o"), checking.integrity(store, "o")
    assert [holds for holds, _ in results] == [False, False]
    assert results[0][1] == results[1][1]
    return results[0][1]


def altered(link, **fields):
    return Entry(link=msgspec.structs.replace(link, **fields))


def test_whoever_has_all_keys_still_has_to_make_a_chain_that_holds(tmp_path):
    cases = {
        "its hash is not that of what it says": lambda link: altered(link, actor="shop", hash=bytes(32)),
        "it starts from 'paid'": lambda link: altered(link, from_state="paid"),
        "it is numbered 9 where 5 comes": lambda link: altered(link, number=9),
        "names another transition as the one before": lambda link: altered(link, previous=bytes(32)),
        "it is older than the one before it": lambda link: altered(link, time_ms=1),
        "it is called 'workflow.created'": lambda link: altered(link, action="workflow.created"),
    }
    for number, (why, change) in enumerate(cases.items()):
        with aegis_store.open(tmp_path / f"state {number}", config=WRITE) as store:
            moved(store, "o", *STATES)
            link = follow("o", newest(store).link, action="transition", to_state="x", actor="shop", now_ms=1 << 41)
            forge(store, change(link))
            assert why in said(store)
            assert "transition 9" in said(store) or "transition 5" in said(store)


def test_a_transition_of_another_workflow_is_not_taken_for_one_of_this(tmp_path):
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        moved(store, "o", "paid")
        moved(store, "p", "paid", "sent")
        forge(store, newest(store, "p"), actor="clerk")
        assert "transition 2 (paid -> sent)" in said(store)
        assert "names another transition as the one before it" in said(store)


def test_a_transition_that_is_said_twice_is_named(tmp_path):
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        moved(store, "o", "paid")
        forge(store, newest(store), actor="clerk")
        assert "transition 1 (new -> paid)" in said(store)
        assert "it is numbered 1 where 2 comes" in said(store)


def test_an_event_of_a_transition_that_the_session_tier_does_not_have_is_named(tmp_path):
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        moved(store, "o", "paid")
        link = follow("o", newest(store).link, action="transition", to_state="x", actor="shop", now_ms=1 << 41)
        forge(store, Entry(link=link, record=store.records.size() + 7, leaf=bytes(32)))
        assert checking.audit_chain(store, "o") == (True, None)
        holds, why = checking.integrity(store, "o")
        assert not holds
        assert "transition 2 (paid -> x)" in why


def test_a_checkpoint_that_says_what_no_event_says_is_named(tmp_path):
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        order = moved(store, "o", "paid")
        session = store.session("workflow/o")
        forged = session.latest().metadata
        forged["workflow"]["transition"]["to"] = "sent"
        session.checkpoint(order.to_dict(), metadata=forged)
        holds, why = checking.integrity(store, "o")
        assert not holds
        assert "transition 1 (new -> sent)" in why
        assert "the audit tier has another transition of that number" in why


def test_a_checkpoint_of_another_state_than_its_transition_is_named(tmp_path):
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        order = moved(store, "o", "paid")
        session = store.session("workflow/o")
        forged = session.latest().metadata
        forged["workflow"] |= {"state": "sent", "is_transition": False}
        session.checkpoint(order.to_dict(), metadata=forged)
        assert "it was saved in state 'sent'" in checking.integrity(store, "o")[1]


def test_an_older_transition_behind_a_newer_one_is_named(tmp_path):
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        order = moved(store, "o", "paid", "sent")
        session = store.session("workflow/o")
        forged = session.get(1).metadata
        forged["workflow"]["is_transition"] = False
        session.checkpoint(order.to_dict(), metadata=forged)
        assert "a later one of transition 1" in checking.integrity(store, "o")[1]


def test_damage_to_a_checkpoint_is_named_and_the_audit_chain_holds(place):
    with aegis_store.open(place, mode="r") as store:
        index = store.session("workflow/o").get(2).ref.index
        head = store.head("session")
    path, span = next((path, span) for path in segments(place) for span in frames(path) if span.index == index)
    edit(path, lambda data: data.__setitem__(span.payload + 30, data[span.payload + 30] ^ 1))
    with aegis_store.open(place, mode="r", anchor=head) as store:
        assert checking.audit_chain(store, "o") == (True, None)
        holds, why = checking.integrity(store, "o")
        assert not holds
        assert str(index) in why


def test_what_was_pruned_is_no_damage_and_its_entry_still_proves_the_transition(place):
    with aegis_store.open(place) as store:
        store.retain([Rule(keep_last=1)])
        store.compact()
        assert checking.integrity(store, "o") == (True, None)


def test_a_workflow_that_was_erased_is_said_to_be_gone(place):
    with aegis_store.open(place) as store:
        store.erase(session="workflow/o", reason="request 1")
        holds, why = checking.audit_chain(store, "o")
        assert not holds
        assert "no checkpoint" in why


def test_a_missing_event_is_named_where_it_cannot_be_made_and_made_where_it_can(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place) as store:
        order = moved(store, "o", "paid")
        engine = DurableWorkflowEngine(store)
        steps = engine._moves.transition(order, "sent", actor="clerk", request_id=None, is_saved=True)
        wait = next(steps)
        store.records.commit(wait.record)
        wait.settle()
        steps.close()  # as a crash would
        assert "transition 2 (paid -> sent) is in the session tier and has no event" in said(store)
    with aegis_store.open(place, mode="r") as store:
        assert "transition 2 (paid -> sent)" in said(store)
        assert DurableWorkflowEngine(store).verify_audit_chain("o")[0] is False
    with aegis_store.open(place) as store:
        assert DurableWorkflowEngine(store).verify_integrity("o") == (True, None)
        assert [each.to_state for each in Trail(store).transitions("o")] == ["new", "paid", "sent"]


def test_of_a_workflow_that_there_is_not_nothing_is_broken(tmp_path):
    with aegis_store.open(tmp_path / "state") as store:
        assert checking.audit_chain(store, "none") == (True, None)
        assert checking.integrity(store, "none") == (True, None)
        engine = DurableWorkflowEngine(store)
        engine.create(Order("x"))
        assert engine.verify_integrity("x") == (True, None)
