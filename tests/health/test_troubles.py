from __future__ import annotations

import pytest

import aegis_store
from aegis_store.health.troubles import Told, all_of, follow, is_over, since
from aegis_store.types import Tier
from tests.stores import SMALL


def told(subject, action, index=0):
    return Told(index=index, time_ms=0, subject=subject, action=action)


@pytest.mark.parametrize(
    ("subject", "action", "over"),
    [
        ("incident/1", "incident.opened", False),
        ("incident/1", "note.added", False),
        ("incident/1", "incident.closed", True),
        ("session/a", "recovery.decided", False),
        ("session/a", "recovery.act", False),
        ("session/a", "recovery.done", True),
        ("session/a", "hold.placed", None),
        ("workflow/a", "recovery.decided", None),
        ("store/heads", "head.recorded", None),
    ],
)
def test_what_an_event_does_to_its_subject(subject, action, over):
    assert is_over(told(subject, action)) is over


def test_the_newest_event_of_a_subject_counts():
    troubles = {}
    for subject, action in (
        ("incident/1", "incident.opened"),
        ("session/a", "recovery.decided"),
        ("incident/2", "incident.opened"),
        ("incident/1", "incident.closed"),
        ("session/a", "hold.placed"),
    ):
        follow(troubles, told(subject, action))
    assert sorted(troubles) == ["incident/2", "session/a"]
    assert troubles["session/a"].action == "recovery.decided"


def record(store):
    audit = store.audit.record
    audit("x", "incident.opened", "incident/1")
    audit("x", "recovery.decided", "session/a", {"why": "disk"})
    audit("x", "recovery.decided", "session/b")
    audit("x", "hold.placed", "session/b")
    audit("x", "recovery.decided", "session/c")
    audit("x", "recovery.done", "session/c")
    audit("x", "incident.opened", "incident/2")
    audit("x", "incident.closed", "incident/2")
    audit("x", "transition", "workflow/w")


def test_the_whole_tier_by_its_subjects_comes_to_the_same_as_event_by_event(tmp_path):
    with aegis_store.open(tmp_path / "state", config=SMALL) as store:
        record(store)
        folded = {}
        for event in since(store.engine, 0, store.engine.size(Tier.AUDIT)):
            follow(folded, event)
        assert sorted(folded) == ["incident/1", "session/a", "session/b"]
        assert all_of(store.engine, store.catalog) == folded


def test_an_event_that_cannot_be_read_is_left_out(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place, config=SMALL) as store:
        ref = store.audit.record("x", "incident.opened", "incident/1")
        store.audit.record("x", "incident.opened", "incident/2")
    from aegis_store._engine import Record
    from aegis_store.health.troubles import told as read

    with aegis_store.open(place, mode="r") as store:
        good = store.engine.read(Tier.AUDIT, ref.index)
        bad = Record(good.index, good.kind, good.flags, good.entry, good.payload[:-1] + b"\0", good.leaf)
        assert read(good).subject == "incident/1"
        assert read(bad) is None
