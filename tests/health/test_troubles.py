from __future__ import annotations

import pytest

import aegis_store
from aegis_store.health.troubles import Told, all_of, follow, is_over, since
from aegis_store.types import Tier
from tests.stores import SMALL


def told(subject, action, outcome=None):
    return Told(index=0, time_ms=0, subject=subject, action=action, outcome=outcome)


@pytest.mark.parametrize(
    ("subject", "action", "outcome", "over"),
    [
        ("incident/1", "incident.opened", None, False),
        ("incident/1", "note.added", None, False),
        ("incident/1", "incident.closed", None, True),
        ("session/a", "recovery.decided", "done", False),
        ("session/a", "recovery.notice", "done", False),
        ("session/a", "recovery.act", "failed", False),
        ("session/a", "recovery.act", "done", True),
        ("session/a", "hold.placed", "done", None),
        ("workflow/a", "recovery.decided", None, None),
        ("store/heads", "head.recorded", None, None),
    ],
)
def test_what_an_event_does_to_its_subject(subject, action, outcome, over):
    assert is_over(told(subject, action, outcome)) is over


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
    audit("x", "recovery.act", "session/c", {"outcome": "done"})
    audit("x", "incident.opened", "incident/2")
    audit("x", "incident.closed", "incident/2")
    audit("x", "transition", "workflow/w")


def test_the_whole_tier_by_its_subjects_comes_to_the_same_as_event_by_event(tmp_path):
    with aegis_store.open(tmp_path / "state", config=SMALL) as store:
        record(store)
        folded = {}
        for event in since(store.lookout.engine, 0, store.lookout.engine.size(Tier.AUDIT)):
            follow(folded, event)
        assert sorted(folded) == ["incident/1", "session/a", "session/b"]
        assert all_of(store.lookout.engine, store.catalog) == folded


def test_an_event_that_cannot_be_read_is_left_out(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place, config=SMALL) as store:
        ref = store.audit.record("x", "incident.opened", "incident/1")
        store.audit.record("x", "incident.opened", "incident/2")
    from aegis_store._engine import Record
    from aegis_store.health.troubles import told as read

    with aegis_store.open(place, mode="r") as store:
        good = store.lookout.engine.read(Tier.AUDIT, ref.index)
        bad = Record(good.index, good.kind, good.flags, good.entry, good.payload[:-1] + b"\0", good.leaf)
        assert read(good).subject == "incident/1"
        assert read(bad) is None


def test_what_a_recovery_leaves_is_told_until_it_is_done_and_its_incident_until_it_is_closed(tmp_path):
    """By those who write these events."""

    class Deaf:
        def notify(self, notice):
            raise ConnectionError("no route")

    with aegis_store.open(tmp_path / "state", config=SMALL) as store:
        for name in ("good", "bad"):
            store.session(name).checkpoint({})
        aegis_store.recover(store, "good", failure=aegis_store.Failure.INFRASTRUCTURE)
        assert store.health().facts.troubles == ()
        hooks = aegis_store.Hooks(notifier=Deaf())
        aegis_store.recover(store, "bad", failure=aegis_store.Failure.SECURITY, hooks=hooks)
        assert [each.subject for each in store.health().facts.troubles] == ["incident/1", "session/bad"]
        aegis_store.recover(store, "bad", failure=aegis_store.Failure.SECURITY)
        assert [each.subject for each in store.health().facts.troubles] == ["incident/1"]
        store.incidents.close(1, reason="dealt with", by="ops")
        assert store.health().facts.troubles == ()
