"""A store and its keys: what is refused without them, and what they remember of it."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

import aegis_store
from aegis_store import Head, Tier
from aegis_store.errors import (
    InvalidArgument,
    KeysMissing,
    KeysWrong,
    NotAStore,
    RolledBack,
)
from aegis_store.trust.heads import open_head, verifier_key
from aegis_store.trust.keys import KeyDirectory
from tests.stores import Dice, abandon, make, snapshot, states


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "state.keys"


# ---- keys -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["a", "r", "x"])
@pytest.mark.parametrize("gone", ["", "secret", "log.key", "enrolment.key", "store.json", "heads.json"])
def test_without_its_keys_a_store_is_not_opened_and_no_new_ones_are_drawn(place, keys, gone, mode):
    make(place)
    (shutil.rmtree if not gone else Path.unlink)(keys / gone)
    before = snapshot(keys) if gone else None
    with pytest.raises(KeysMissing):
        aegis_store.open(place, mode=mode)
    assert (snapshot(keys) if keys.exists() else None) == before


@pytest.mark.parametrize("mode", ["a", "r"])
def test_keys_of_another_store_are_refused(place, tmp_path, mode):
    make(place)
    make(tmp_path / "other")
    before = snapshot(place)
    with pytest.raises(KeysWrong, match="this store secret"):
        aegis_store.open(place, mode=mode, keys=tmp_path / "other.keys")
    assert snapshot(place) == before


@pytest.mark.parametrize("mode", ["a", "r"])
@pytest.mark.parametrize("name", ["log.key", "enrolment.key", "secret"])
def test_a_single_key_of_another_store_is_refused(place, keys, name, mode):
    """Of the same store id, so that nothing but the store itself can tell."""
    make(place)
    other = keys.with_name("other.keys")
    KeyDirectory.create(other, store_id=KeyDirectory.load(keys).store_id, name="state", randomness=Dice())
    shutil.copy(other / name, keys / name)
    with pytest.raises(KeysWrong):
        aegis_store.open(place, mode=mode)


def test_keys_that_others_may_read_are_refused(place, keys):
    make(place)
    (keys / "secret").chmod(0o644)
    with pytest.raises(KeysWrong, match="open to others") as caught:
        aegis_store.open(place)
    assert "chmod 600" in caught.value.hint
    (keys / "secret").chmod(0o600)
    aegis_store.open(place).close()


# ---- what the keys remember -------------------------------------------------------------------------------------------------


def test_closing_remembers_the_heads(place, keys):
    head = make(place, 1, 2, 3)
    assert KeyDirectory.load(keys).released() == {Tier.SESSION: head}


@pytest.mark.parametrize("mode", ["a", "x", "r"])
@pytest.mark.parametrize("left", ["nothing", "an empty folder", "LOCK"])
def test_a_store_that_is_gone_is_not_begun_anew_under_its_keys(place, keys, mode, left):
    make(place)
    shutil.rmtree(place)
    if left != "nothing":
        place.mkdir()
    if left == "LOCK":
        (place / "LOCK").touch()
    before = snapshot(keys)
    with pytest.raises(NotAStore if mode == "r" else RolledBack) as caught:
        aegis_store.open(place, mode=mode)
    assert mode == "r" or "remembers 3 records of tier session" in str(caught.value)
    assert snapshot(keys) == before
    assert left != "nothing" or not place.exists()
    shutil.move(keys, keys.with_name("moved away"))
    if mode != "r":
        make(place, "a new one")


@pytest.mark.parametrize("mode", ["a", "r"])
def test_a_store_that_was_put_back_from_an_older_copy_is_refused(place, mode):
    make(place, 1, 2)
    copy = place.with_name("copy")
    shutil.copytree(place, copy)
    newer = make(place, 3)
    shutil.rmtree(place)
    shutil.copytree(copy, place)
    before = snapshot(place)
    with pytest.raises(RolledBack, match=f"says {newer.size}") as caught:
        aegis_store.open(place, mode=mode)
    assert caught.value.tier == "session"
    assert snapshot(place) == before


def test_a_store_that_was_put_back_and_went_on_otherwise_is_refused(place, keys):
    """With the keys of that time: what the key directory does not remember, an anchor does."""
    make(place, 1)
    for source in (place, keys):
        shutil.copytree(source, source.with_name(f"old {source.name}"))
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(2)
        anchor = store.head()
    for source in (place, keys):
        shutil.rmtree(source)
        shutil.move(source.with_name(f"old {source.name}"), source)
    with pytest.raises(RolledBack, match="says 4"):
        aegis_store.open(place, anchor=[anchor])
    make(place, "another two")
    with pytest.raises(RolledBack, match="the first 4 records"):
        aegis_store.open(place, anchor=[anchor])
    assert make(place, "and three").size == 5
    with pytest.raises(RolledBack, match="the first 4 records"):
        aegis_store.open(place, mode="r", anchor=[anchor.head])


@pytest.mark.parametrize("mode", ["a", "r"])
def test_anchors_of_the_past_are_met(place, mode):
    anchors = []
    for number in range(4):
        with aegis_store.open(place, anchor=anchors) as store:
            store.session("s").checkpoint(number)
            anchors.append(store.head() if number % 2 else store.head().head)
    with aegis_store.open(place, mode=mode, anchor=anchors) as store:
        assert states(store, "s") == [0, 1, 2, 3]
    wrong = msgspec.structs.replace(anchors[0], root=bytes(32))
    with pytest.raises(RolledBack):
        aegis_store.open(place, mode=mode, anchor=[*anchors, wrong])
    with pytest.raises(RolledBack, match="tier audit"):
        aegis_store.open(place, mode=mode, anchor=[Head(tier=Tier.AUDIT, size=1, root=bytes(32))])


def test_an_anchor_that_says_it_is_another_stores_is_refused(place, tmp_path):
    make(place)
    with aegis_store.open(tmp_path / "other") as store:
        foreign = store.head()
    with pytest.raises(InvalidArgument, match="a head of store"):
        aegis_store.open(place, anchor=[foreign])


def test_a_head_is_signed_and_remembered_before_it_is_given_out(place, keys):
    with aegis_store.open(place) as store:
        assert store.head().head.size == 0
        store.session("s").checkpoint(0)
        signed = store.head("session")
        assert KeyDirectory.load(keys).released()[Tier.SESSION] == signed.head
        assert signed.head == store.records.engine.head(Tier.SESSION)
        key = verifier_key(store.keys.store_id, Tier.SESSION, store.keys.log.public_key)
        assert open_head(signed.format(), log_key=key).head == signed.head
        store.session("s").checkpoint(1)
        assert store.head(Tier.SESSION).head.size == signed.head.size + 1
        with pytest.raises(InvalidArgument, match="audit, memory, session, telemetry"):
            store.head("sessions")


def test_a_crash_is_no_rollback(place):
    make(place, 0)
    for number in range(1, 4):
        store = aegis_store.open(place)
        store.session("s").checkpoint(number)
        store.head()
        abandon(store)
    with aegis_store.open(place) as store:
        assert states(store, "s") == [0, 1, 2, 3]
