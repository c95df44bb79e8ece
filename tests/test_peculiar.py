"""Dictionaries after an erasure: one that holds what too few sessions have now goes, what was compressed with it stays."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store import Tier
from aegis_store.codec import payload as payload_codec
from aegis_store.errors import Erased
from aegis_store.peculiar import peculiar
from aegis_store.survey import survey
from tests.stores import SMALL, noise, states
from tests.test_erasure import holds

PROMPT = " ".join(f"You may call tool number {number} of kind {number % 7};" for number in range(150))
#: Bytes that no compression hides from whoever searches the files.
SECRET = noise(4000, "secret")
NEEDLE = SECRET[200:240]


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def begun(store, *names, **more):
    """Sessions that begin alike; their first states."""
    saved = {}
    for name in names:
        saved[name] = [{"prompt": PROMPT, **more, "name": noise(40, name).hex(), "n": n} for n in range(3)]
        for state in saved[name]:
            store.session(name).checkpoint(state)
    return saved


def dictionaries(store):
    return survey(store.records.engine, Tier.SESSION).dictionaries


def used(store):
    """The dictionaries that payloads name."""
    found = (
        payload_codec.dictionary_of(record.payload)
        for record in store.records.scan(0, store.records.size())
        if record.kind == 2
    )
    return {index for index in found if index is not None}


def test_what_everybody_has_stays(place):
    with aegis_store.open(place, config=SMALL) as store:
        saved = begun(store, "a", "b", "c", "d", "e", "f")
        (index,) = dictionaries(store)
        assert used(store) == {index}
        store.session("f").erase(reason="case 1")
        assert dictionaries(store) == [index]
        assert [states(store, name) for name in "abcde"] == [saved[name] for name in "abcde"]


def test_what_too_few_have_now_goes_and_what_was_compressed_with_it_does_not(place):
    with aegis_store.open(place, config=SMALL) as store:
        others = begun(store, "o1", "o2", "o3", "o4")
        begun(store, "p1", "p2", "p3", secret=SECRET)
        saved = others | begun(store, "later")
        with_secret = [index for index in dictionaries(store) if NEEDLE in store.records.dictionaries.content(index)]
        assert len(with_secret) == 1 and with_secret[0] in used(store)
        assert holds(place, NEEDLE)
        for name in ("p1", "p2", "p3"):
            erased = store.session(name).erase(reason="case 1")
        assert erased.holders == ()
        for index in with_secret:
            with pytest.raises(Erased):
                store.records.read(index)
        assert with_secret[0] not in used(store)
        assert holds(place, NEEDLE) == set()
        assert {name: states(store, name) for name in saved} == saved
        store.session("later").checkpoint(saved["later"][-1] | {"more": 1})
        begun(store, "q1", "q2", "q3", "q4")
        assert all(NEEDLE not in store.records.dictionaries.content(index) for index in dictionaries(store))
        assert store.verify(deep=True).findings == ()
    with aegis_store.open(place, config=SMALL) as store:
        assert {name: states(store, name) for name in saved if name != "later"} == others
        assert store.verify(deep=True).findings == ()


def test_three_that_stay_are_enough_and_two_are_not(place):
    with aegis_store.open(place, config=SMALL) as store:
        begun(store, "a", "b", "c", "d")
        (index,) = dictionaries(store)
        found = survey(store.records.engine, Tier.SESSION)
        a, b = (found.strands[store.catalog.session(name).tag] for name in "ab")
        assert peculiar(store.records, found, a.indexes) == []
        assert peculiar(store.records, found, [*a.indexes, *b.indexes]) == [index]
        assert peculiar(store.records, found, []) == []
