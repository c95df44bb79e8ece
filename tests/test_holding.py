"""Holds: nothing overrides one but its release, and nobody who decides meanwhile overlooks it."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store.rules import Rule
from tests.keeping import kept_of
from tests.stores import SMALL
from tests.test_delta_chains import growing, save


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def test_a_hold_keeps_what_no_rule_would_until_it_is_released(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(10))
        save(store, "t", growing(10))
        whole = store.session("s").hold(reason="litigation 7", holder="legal")
        one = store.session("t").hold(reason="audit", holder="finance", ordinal=2)
        assert [(hold.number, hold.session, hold.ordinal, hold.holder) for hold in store.holds()] == [
            (whole.number, "s", None, "legal"),
            (one.number, "t", 2, "finance"),
        ]
        found = store.retain([Rule(keep_last=1)], dry_run=True)
        assert found.decisions.reasons(found.views[1]) == {2: "held: audit", 9: "newest"}
        store.retain([Rule(keep_last=1)])
        store.compact()
        assert sorted(kept_of(store, "s")) == list(range(10))
        assert sorted(kept_of(store, "t")) == [2, 9]
    with aegis_store.open(place, config=SMALL) as store:
        assert store.session("s").holds() == [whole]
        store.release(whole.number, reason="settled", by="legal")
        assert store.holds() == [one]
        store.retain([Rule(keep_last=1)])
        assert sorted(kept_of(store, "s")) == [9]
    with aegis_store.open(place, mode="r", config=SMALL) as store:
        assert store.holds() == [one]


def test_a_hold_on_a_fork_keeps_what_it_inherited(place):
    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", growing(10))
        fork = store.session("s").fork("f", at=refs[4])
        fork.checkpoint("own")
        fork.hold(reason="litigation", holder="legal")
        store.retain([Rule(keep_last=1)])
        assert sorted(kept_of(store, "s")) == [0, 1, 2, 3, 4, 9]


def test_a_hold_that_comes_while_it_is_decided_keeps_too(place, monkeypatch):
    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", growing(10))
        sweeper = store.keeping.sweeper
        decided = type(sweeper)._spared_since

        def late(self, found):
            store.session("s").hold(reason="late", holder="legal", ordinal=3)
            store.session("s").fork("f", at=refs[5])
            return decided(self, found)

        monkeypatch.setattr(type(sweeper), "_spared_since", late)
        store.retain([Rule(keep_last=1)])
        store.compact()
        assert sorted(kept_of(store, "s")) == [3, 5, 9]
        assert store.session("f").latest().ref.ordinal == 5
