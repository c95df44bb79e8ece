"""Opening: which head must be found, which options hold, what is made and what is refused."""

from __future__ import annotations

import msgspec
import pytest

import aegis_store
from aegis_store import Align, Config, Durability
from aegis_store.errors import (
    AegisError,
    BadProof,
    BadSignature,
    InvalidArgument,
    Locked,
    NotAStore,
    RolledBack,
    StorageError,
    StoreExists,
)
from tests.stores import snapshot


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


FORMS = {
    "head": lambda signed: signed.head,
    "signed head": lambda signed: signed,
    "note": lambda signed: signed.format(),
    "text of a note": lambda signed: signed.format().decode(),
    "list": lambda signed: [signed, signed.head, signed.format()],
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", ["a", "r"])
def test_an_anchor_is_a_head_in_any_form_and_a_store_without_it_is_refused(place, tmp_path, form, mode):
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(1)
        old = FORMS[form](store.head())
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(2)
        new = FORMS[form](store.head())
    for anchor in (old, new):
        aegis_store.open(place, mode=mode, anchor=anchor).close()
    # The same place and keys, and less in it.
    (place.with_name("state.keys") / "heads.json").write_text("{}")
    other = tmp_path / "other"
    aegis_store.open(other, keys=place.with_name("state.keys"), mode="x").close()
    with aegis_store.open(other, keys=place.with_name("state.keys")) as store:
        store.session("s").checkpoint(1)
    with pytest.raises(RolledBack):
        aegis_store.open(other, keys=place.with_name("state.keys"), mode=mode, anchor=new)


def test_a_note_that_the_log_did_not_sign_is_no_anchor(place, tmp_path):
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(1)
        note = store.head().format().decode()
    text, signature = note.split("\n\n")
    size = text.split("\n")[1]
    forged = note.replace(f"\n{size}\n", f"\n{int(size) + 1}\n")
    with pytest.raises(BadSignature):
        aegis_store.open(place, anchor=forged)
    for broken in (text, "", b"\xff", signature):
        with pytest.raises(AegisError) as caught:
            aegis_store.open(place, anchor=broken)
        assert isinstance(caught.value, BadProof | BadSignature | InvalidArgument)
    with aegis_store.open(tmp_path / "foreign") as store:
        store.session("s").checkpoint(1)
        foreign = store.head().format()
    with pytest.raises(InvalidArgument, match="head of store"):
        aegis_store.open(place, anchor=foreign)
    with pytest.raises(InvalidArgument, match="not int"):
        aegis_store.open(place, anchor=[7])


def test_a_store_that_must_be_new_is_refused_where_there_is_one_and_nothing_changes(place):
    aegis_store.open(place, mode="x").close()
    before = snapshot(place.parent)
    with pytest.raises(StoreExists) as caught:
        aegis_store.open(place, mode="x")
    assert 'mode="a"' in caught.value.hint
    assert snapshot(place.parent) == before


def test_a_store_that_is_not_there_is_not_read(place):
    with pytest.raises(NotAStore, match="no store here"):
        aegis_store.open(place, mode="r")
    assert not place.exists()
    assert not place.with_name("state.keys").exists()


def test_options_come_from_a_file(place, tmp_path):
    file = tmp_path / "aegis.toml"
    file.write_text(
        'align = "block"\nsegment_bytes = 131072\nstate_limit_bytes = 5000\n'
        '[durability]\nsession = "write"\n[roles]\nplanner = "plans"\n'
    )
    with aegis_store.open(place, agent="planner", config=file) as store:
        assert store.config == Config(
            align=Align.BLOCK,
            segment_bytes=131072,
            state_limit_bytes=5000,
            durability=aegis_store.TierDurability(session=Durability.WRITE),
            roles={"planner": "plans"},
        )
        store.session("s").checkpoint(1)
        assert store.session("s").info().role == "plans"
        assert store._engine.describe().segment_bytes == 131072


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("segment_bytes = 1", "segment_bytes is 1"),
        ("segment_byte = 65536", "no option segment_byte"),
        ('[durability]\nsession = "maybe"', "durability.session is 'maybe'"),
        ("[durability]\nsessions = 'write'", "no option durability.sessions"),
        ("durability = 3", "durability is 3"),
        ("[roles]\nplanner = 3", "roles is"),
        ("align = ", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        ("cache_bytes = " + "9" * 5000, "not TOML"),
        ("roles = " + "[" * 5000, "not TOML"),
    ],
)
def test_an_option_that_cannot_be_meant_is_named_with_its_file_and_nothing_is_made(place, tmp_path, text, says):
    file = tmp_path / "aegis.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InvalidArgument, match=says) as caught:
        aegis_store.open(place, config=file)
    assert caught.value.path == str(file)
    assert not place.exists()


def test_a_file_of_options_that_is_not_there_is_an_error_of_its_own(place, tmp_path):
    with pytest.raises(StorageError, match="cannot be read"):
        aegis_store.open(place, config=tmp_path / "none.toml")


def test_options_are_what_they_were_told_and_nobody_changes_them():
    config = Config(roles={"a": "b"})
    with pytest.raises(TypeError):
        config.roles["a"] = "c"
    assert hash(config) == hash(msgspec.structs.replace(config))
    assert hash(config) != hash(Config())


def test_whoever_finds_the_keys_made_meanwhile_opens_the_store_with_them(place, monkeypatch):
    """Two make one store at once: both look, and one is first."""
    with aegis_store.open(place) as store:
        store.session("s").checkpoint("first")
        monkeypatch.setattr("aegis_store.opening._exists", lambda path: False)
        monkeypatch.setattr("aegis_store.opening._store_at", lambda path: False)
        with pytest.raises(Locked):
            aegis_store.open(place)
    with aegis_store.open(place) as store:
        assert store.session("s").latest().state == "first"
