"""A checkpoint in another form: nothing that does not give back its every byte is put in its place."""

from __future__ import annotations

import msgspec
import pytest

import aegis_store
from aegis_store.codec import payload as codec
from aegis_store.compaction import reencode
from aegis_store.compaction.plan import Touched
from aegis_store.compaction.reencode import Reencoder
from aegis_store.errors import Corrupt, EngineBug
from tests.stores import SMALL
from tests.test_delta_chains import growing, save


@pytest.fixture
def store(tmp_path):
    with aegis_store.open(tmp_path / "state", config=SMALL) as opened:
        save(opened, "s", growing(12))
        yield opened


def coder(store):
    return Reencoder(store.records, store.keys.log, store.note, going=())


def indexes(store):
    return [each.index for each in store.catalog.checkpoints(store.catalog.session("s").number, limit=100)][::-1]


def opened(store, index, payload):
    """The envelope in a payload that stands for that of record `index`, believed by the entry's commitment alone."""
    entry = store.records.entry_at(index).entry
    body = codec.body_of(payload, length=entry.length, limit=entry.length, dictionary=store.records.dictionaries.get)
    base = None if body.base is None else store.records.read(body.base).envelope
    made = body.data if base is None else reencode.restore(base, [body.data], length=entry.length, limit=entry.length)
    assert codec.commit(made, payload[2 : codec.HEADER_SIZE]) == entry.commitment
    return made


@pytest.mark.parametrize("base", [0, 3, None])
def test_it_is_made_from_what_it_was_told_and_holds_what_its_entry_commits_to(store, base):
    own = indexes(store)
    payload = coder(store).payload(Touched(own[7], None if base is None else own[base]))
    assert codec.is_delta(payload) is (base is not None)
    assert opened(store, own[7], payload) == store.records.read(own[7]).envelope


def test_one_that_was_made_from_nothing_stays_as_it_is(store):
    assert coder(store).payload(Touched(indexes(store)[0], None)) is None
    assert coder(store).payload(Touched(indexes(store)[0], None, is_recoded=True)) is not None


@pytest.mark.parametrize("base", [0, None])
def test_a_form_that_gives_back_other_bytes_is_never_put_in_its_place(store, monkeypatch, base):
    own = indexes(store)
    other = store.records.read(own[6]).envelope
    real = codec.recode if base is None else codec.recode_delta
    length = len(store.records.read(own[7]).envelope)
    wrong = other.ljust(length, b"\0")[:length]
    if base is not None:
        wrong = reencode.make_delta(store.records.read(own[base]).envelope, wrong, length)
    name = "recode" if base is None else "recode_delta"
    monkeypatch.setattr(codec, name, lambda data, *rest, **named: real(wrong, *rest, **named))
    with pytest.raises(EngineBug, match="does not hold what was put into it"):
        coder(store).payload(Touched(own[7], None if base is None else own[base]))


def test_a_checkpoint_that_is_not_what_its_entry_commits_to_is_refused(store):
    own = indexes(store)
    made, record = coder(store), store.records.engine.read(store.records.tier, own[7])
    other = store.records.engine.read(store.records.tier, own[6])
    made.known = {own[7]: msgspec.structs.replace(record, payload=record.payload[:18] + other.payload[18:])}
    with pytest.raises(Corrupt):
        made.payload(Touched(own[7], own[0]))
