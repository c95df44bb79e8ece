"""A subject's chain, held against the log: what the catalogue leaves out, what is there twice, what is said in whose words."""

from __future__ import annotations

from contextlib import contextmanager

import msgspec
import pytest

import aegis_store
from aegis_store import Tier
from aegis_store._engine import Engine
from aegis_store.audit_chain import Break, Chains
from aegis_store.catalog import Catalog
from aegis_store.errors import Conflict, Corrupt, Foreign
from aegis_store.schema.audit import Event, encode
from aegis_store.trust.keys import KeyDirectory
from aegis_store.types import Kind
from tests.stores import Forger, flip, frames, segments


@pytest.fixture
def place(tmp_path):
    """Three events of "s" at records 2 to 4, and one of "t" at 6. Record 0 is the agent's key."""
    place = tmp_path / "state"
    with aegis_store.open(place, agent="planner") as store:
        for number in range(3):
            store.audit.record("planner", "a.b", "s", {"number": number})
        store.audit.record("planner", "a.b", "t")
    return place


@contextmanager
def forging(place):
    """Somebody with the store secret at work in the audit tier."""
    keys = KeyDirectory.load(place.with_name("state.keys"))
    with Engine.open(place, mode="w", secret=keys.secret, store_id=keys.store_id) as engine:
        yield engine, Forger(engine, keys)


def append(engine, kind, entry, payload):
    index = engine.append(Tier.AUDIT, kind, entry, payload)
    engine.commit(Tier.AUDIT, index)
    return index


def broken(store, subject="s"):
    return next(store.audit.verify_chains([subject])).broken


@pytest.mark.parametrize("catalogue", ["kept", "lost"])
@pytest.mark.parametrize(("again", "event"), [(2, 0), (3, 1), (4, 2)])
def test_an_event_that_is_there_twice_is_named(place, again, event, catalogue):
    with forging(place) as (engine, _):
        record = engine.read(Tier.AUDIT, again)
        append(engine, record.kind, record.entry, record.payload)
    if catalogue == "lost":
        for file in (place / "catalog").iterdir():
            file.unlink()
    for mode in ("r", "a"):
        with aegis_store.open(place, mode=mode) as store:
            found = broken(store)
            assert (found.event, found.record) in {(event, 7), (3, 7)}
            assert broken(store, "t") is None


@pytest.mark.parametrize("follows", [True, False])
def test_an_event_without_an_agents_signature_is_named(place, follows):
    with aegis_store.open(place, mode="r") as store:
        newest, tag = store.audit.latest("s").ref, store.catalog.session("s", Tier.AUDIT).tag
    before = newest if follows else msgspec.structs.replace(newest, index=2)
    with forging(place) as (engine, forger):
        fields = {"session_tag": tag, "ordinal": 3, "parent": before.index, "parent_leaf": before.leaf, "tier": Tier.AUDIT}
        envelope = encode(Event(subject="s", actor="planner", action="a.b"))
        for signer in (forger.stranger, forger.keys.log):
            append(engine, Kind.AUDIT_EVENT, *forger.sealed(Kind.AUDIT_EVENT, envelope, signer, **fields))
    for mode in ("r", "a"):
        with aegis_store.open(place, mode=mode) as store:
            found = broken(store)
            assert (found.event, found.record) == (3, 7) and "to sign it" in found.why
            assert broken(store, "t") is None


def test_a_tail_that_the_catalogue_leaves_out_is_missed(place, monkeypatch):
    whole = Catalog.session

    def shorter(self, name, tier=Tier.SESSION):
        found = whole(self, name, tier)
        return msgspec.structs.replace(found, last_ordinal=1, last_index=self.checkpoint(found.number, 1).index)

    with aegis_store.open(place, mode="r") as store:
        monkeypatch.setattr(Catalog, "session", shorter)
        assert broken(store) == Break(event=2, record=4, why="the log has an event there that the chain does not lead to")


def test_a_chain_that_the_catalogue_does_not_know_of_is_missed(place, monkeypatch):
    with aegis_store.open(place, mode="r") as store:
        monkeypatch.setattr(Catalog, "session", lambda self, name, tier=Tier.SESSION: None)
        monkeypatch.setattr(Catalog, "session_by_tag", lambda self, tag: None)
        assert (broken(store, "t").event, broken(store, "t").record) == (0, 5)
        assert broken(store, "nobody") is None


def test_each_link_is_checked(place, monkeypatch):
    """What a reader is given that takes the signature for granted: the parent's index, its leaf, the time, the subject."""
    with aegis_store.open(place, mode="r") as store:
        lineage = store.audit._tier.chain_of("s").lineage
        read = lineage.record

        def with_entry(**fields):
            def changed(self, found, ordinal):
                record = read(found, ordinal)
                if ordinal < 2:
                    return record
                return msgspec.structs.replace(record, entry=msgspec.structs.replace(record.entry, **fields))

            return changed

        for fields, why in (
            ({"parent": 2}, "it follows record 2, and not record 3"),
            ({"parent_leaf": b"x" * 32}, "it follows another record 3 than the one that is there"),
            ({"time_ms": 1}, "it is older than the one before it"),
        ):
            monkeypatch.setattr(type(lineage), "record", with_entry(**fields))
            assert broken(store) == Break(event=2, record=4, why=why)
        other = msgspec.structs.replace(
            read(lineage.newest(), 1), envelope=encode(Event(subject="u", actor="planner", action="a.b"))
        )
        monkeypatch.setattr(
            type(lineage), "record", lambda self, found, ordinal: other if ordinal == 1 else read(found, ordinal)
        )
        assert broken(store) == Break(event=1, record=3, why="record 3 is about 'u' and stands in the chain of 's'")
        with pytest.raises(Foreign, match="is about 'u'"):
            list(store.audit.events("s"))


@pytest.mark.parametrize("part", ["entry", "payload"])
def test_damage_to_one_subject_breaks_no_other(place, part):
    with aegis_store.open(place, agent="planner") as store:
        for number in range(300):
            store.audit.record("planner", "a.b", "t", {"number": number})
    path = segments(place, "audit")[0]
    span = frames(path)[3]
    flip(path, getattr(span, part) + 20)
    with aegis_store.open(place, mode="r") as store:
        assert (broken(store).event, broken(store).record) == (1, 3)
        assert broken(store, "t") is None
        assert store.audit.verify_chain("s")[1].startswith("the chain of 's' breaks at event 1 at record 3: ")
        # The pass over the entries goes on around it.
        known = [index for events in Chains(store.audit._tier)._events.values() for index in events]
        assert sorted(known) == [index for index in (2, 3, 4, *range(6, 307)) if part == "payload" or index != 3]


def test_errors_speak_of_subjects_and_events(place):
    with aegis_store.open(place) as store:
        first = next(store.audit.events("s")).ref
        with pytest.raises(
            Conflict, match="subject 's' has moved on: event 0 at record 2 was expected to be its newest, and event 2"
        ):
            store.audit.record("planner", "a.b", "s", expect=first)
        with pytest.raises(Conflict, match="no event was expected"):
            store.audit.record("planner", "a.b", "s", expect=aegis_store.NO_CHECKPOINT)
        lineage = store.audit._tier.chain_of("s").lineage
        missing = lineage.missing(lineage.newest(), 9)
        assert missing.message == "subject 's' has no event 9: it has 0 to 2"
        assert f"aegis audit list {store.path} --subject s" in missing.hint
        of = store.catalog.checkpoint
        other = store.catalog.session("t", Tier.AUDIT)
        store.catalog.checkpoint = lambda number, ordinal: of(other.number, 0)
        assert broken(store) == Break(event=0, record=6, why="record 6 is not event 0 of subject 's'")
        with pytest.raises(Corrupt, match="record 6 is not event 0 of subject 's'"):
            list(store.audit.events("s"))


def test_a_pass_over_the_log_serves_all_subjects(place, monkeypatch):
    with aegis_store.open(place, mode="r") as store:
        passes = []
        whole = Chains._look
        monkeypatch.setattr(Chains, "_look", lambda self, first, end: (passes.append((first, end)), whole(self, first, end)))
        found = list(store.audit.verify_chains())
        assert [(each.subject, each.events, each.broken) for each in found] == [("s", 3, None), ("t", 1, None)]
        assert passes == [(0, 7)]


def test_a_break_without_a_record_says_so_too():
    assert Break(event=3, record=None, why="it is gone").text("s") == "the chain of 's' breaks at event 3: it is gone"
