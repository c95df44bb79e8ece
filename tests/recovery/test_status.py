"""How the newest checkpoint stands: each check has its name, with the record that it is about."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store.errors import Closed
from aegis_store.recovery import Status, look
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.types import Kind
from tests.keeping import LAST_3
from tests.recovery.damage import DAMAGE, saved
from tests.stores import after, flip, forging, frame_of, noise


@pytest.fixture
def place(tmp_path):
    return tmp_path / "store"


SEEN = {each: make for each, make in DAMAGE.items() if each is not Status.EVIDENCE}


@pytest.mark.parametrize("status", SEEN, ids=lambda each: each.value)
@pytest.mark.parametrize("mode", ["a", "r"])
def test_each_is_told_apart_by_writers_and_readers(place, status, mode):
    SEEN[status](place)
    with aegis_store.open(place, mode=mode) as store:
        looked = look(store, "s")
        assert looked.status is status
        assert (looked.error is None) == (status in (Status.NONE, Status.VERIFIED))
        assert look(store, "other").status is Status.VERIFIED
        if status in (Status.NOT_INCLUDED, Status.GONE):
            assert looked.ref.ordinal == 2
            assert f"record {looked.ref.index}" in looked.error
        if status is Status.VERIFIED:
            assert looked.ref == store.session("s").latest().ref
        assert (looked.has_begun, looked.is_ended) == (status is not Status.NONE, False)


WRONG = {
    "parent's leaf": {"parent_leaf": noise(32)},
    "ordinal": {"ordinal": 7},
    "first record as its parent": None,
}


@pytest.mark.parametrize("what", WRONG)
def test_a_chain_is_broken_by_any_link(place, what):
    refs = saved(place)
    with aegis_store.open(place) as store:
        tag = store.records.entry_at(refs[-1].index).entry.session_tag
        agent = store.signer_for("agent")
    changed = WRONG[what] or {"parent": refs[0].index, "parent_leaf": refs[0].leaf}
    with forging(place) as forger:
        envelope = checkpoint_schema.encode(checkpoint_schema.Checkpoint(state="forged"))
        fields = {**after(refs[-1], tag), **changed}
        forger.append(Kind.CHECKPOINT, *forger.sealed(Kind.CHECKPOINT, envelope, agent, **fields))
    with aegis_store.open(place) as store:
        assert look(store, "s").status is Status.BROKEN_CHAIN


def test_the_chain_is_walked_over_a_fork_and_what_was_pruned(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        for number in range(9):
            session.checkpoint(number)
        fork = session.fork("f")
        fork.checkpoint("own")
        store.retain(LAST_3)
        store.compact()
        assert look(store, "s").status is look(store, "f").status is Status.VERIFIED
        session.end()
        assert look(store, "s").is_ended


def test_a_damaged_record_before_it_breaks_the_chain(place):
    with aegis_store.open(place) as store:
        refs = [store.session("s").checkpoint(noise(3000, number)) for number in range(4)]
    path, span = frame_of(place, refs[1].index)
    flip(path, span.payload + 8)
    with aegis_store.open(place) as store:
        assert store.session("s").latest().state == noise(3000, 3)  # what it holds itself is whole
        looked = look(store, "s")
        assert (looked.status, looked.ref) == (Status.BROKEN_CHAIN, refs[3])
        assert f"record {refs[1].index}" in looked.error


def test_an_erased_session_has_none(place):
    saved(place)
    with aegis_store.open(place) as store:
        store.erase(session="s", reason="case 7")
        assert look(store, "s").status is Status.NONE
    with pytest.raises(Closed):
        look(store, "s")
