from __future__ import annotations

import aegis_store
from aegis_store.health.verified import NAME, last_verified
from tests.stores import SMALL, Told, fill, flip, frame_of


def test_whoever_verifies_leaves_a_note_in_the_key_directory_and_nothing_in_the_store(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place, config=SMALL, clock=Told(1000, start=1000)) as store:
        fill(store, "a", each=3)
        assert last_verified(store.keys, 0) is None
        size = store.records.size()
    with aegis_store.open(place, mode="r", clock=Told(50_000)) as store:
        store.verify(deep=True)
        found = last_verified(store.keys, 60_000)
        assert (round(found.age_seconds), found.is_deep, found.findings, found.records) == (10, True, 0, size)
        store.verify(tiers=["session"])  # not the whole
        assert last_verified(store.keys, 60_000) == found
        assert store.health().facts.verified.is_deep


def test_what_was_found_is_told(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "a", each=3)
    file, span = frame_of(place, 2)
    flip(file, span.payload + 3)
    with aegis_store.open(place, mode="r") as store:
        findings = len(store.verify().findings)
        assert findings
        assert last_verified(store.keys, 0).findings == findings


def test_a_note_that_somebody_else_made_is_none(tmp_path):
    for name in ("state", "other"):
        with aegis_store.open(tmp_path / name, config=SMALL) as store:
            fill(store, "a", each=1)
            store.verify()
    here, there = tmp_path / "state.keys" / NAME, tmp_path / "other.keys" / NAME
    note = here.read_bytes()
    for wrong in (there.read_bytes(), note.replace(b'"deep":false', b'"deep":true'), b"{", b""):
        here.write_bytes(wrong)
        with aegis_store.open(tmp_path / "state", mode="r") as store:
            assert last_verified(store.keys, 0) is None
            assert store.health().facts.verified is None


def test_a_key_directory_that_takes_nothing_fails_no_verification(tmp_path, monkeypatch):
    from aegis_store.errors import ReadOnly
    from aegis_store.trust.keys import KeyDirectory

    def refuse(self, name, data):
        raise ReadOnly("no")

    monkeypatch.setattr(KeyDirectory, "keep_note", refuse)
    with aegis_store.open(tmp_path / "state", config=SMALL) as store:
        fill(store, "a", each=1)
        assert store.verify().ok
