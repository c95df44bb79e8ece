"""What is read is what was written: a record in another key's place, a catalogue that is wrong, a record that is damaged."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store import Tier
from aegis_store.errors import Corrupt, Foreign, UnknownType
from aegis_store.memory import reading
from aegis_store.memory.reading import View
from aegis_store.schema import names
from aegis_store.types import LogIndex
from tests.memory.memories import SMALL, held
from tests.stores import noise

NOW = View(now=0)


@pytest.fixture
def store(tmp_path):
    with aegis_store.open(tmp_path / "s", config=SMALL) as store:
        yield store


def chain_of(store, key):
    return store.memory._reader.chain(names.name_of(("a",), key))


def test_the_place_of_a_key_at_any_index(store):
    memory, places = store.memory, {}
    for number in range(40):
        memory.put(("a",), f"k{number % 3}", number)
        places[memory.pointer().index] = {f"k{each % 3}": each for each in range(max(0, number - 2), number + 1)}
    reader = memory._reader
    for index in range(store._engine.size(Tier.MEMORY)):
        seen = max((each for each in places if each <= index), default=None)
        for key in ("k0", "k1", "k2"):
            found = reader.of(chain_of(store, key), View(now=0, last=LogIndex(index)))
            # Between the two records of a first put there is a key without a version.
            expected = None if seen is None else places[seen].get(key)
            assert (None if found is None else found.item.value) == expected


def test_a_record_in_another_keys_place_is_refused(store):
    store.memory.put(("a",), "mine", 1)
    store.memory.put(("a",), "yours", 2)
    mine, yours = chain_of(store, "mine"), chain_of(store, "yours")
    reader = store.memory._reader
    for chain, ordinal, index in ((mine, 0, yours.last_index), (mine, 1, mine.last_index), (mine, 0, mine.begun)):
        with pytest.raises(Foreign, match=r"is not record \d of key 'mine' of the namespace 'a'"):
            reader.stored(chain, ordinal, index)
    # A catalogue that gives a key another one's chain.
    import msgspec

    wrong = msgspec.structs.replace(yours, id=mine.id)
    with pytest.raises(Foreign, match=r"is of key 'yours' .*, and stands among those of key 'mine'"):
        reader.of(wrong, NOW)


def test_a_record_that_the_catalogue_does_not_know_is_missed(store):
    for number in range(3):
        store.memory.put(("a",), "k", number)
    chain = chain_of(store, "k")
    with pytest.raises(Corrupt, match="is not where the log should have it"):
        store.memory._reader.index_of(chain, 7)


def test_damage_is_said_by_whatever_may_miss_it_and_the_others_go_on(tmp_path):
    place = tmp_path / "s"
    store = aegis_store.open(place, config=SMALL)
    for key in ("a", "b", "c"):
        store.memory.put(("n",), key, {"raw": noise(300, key)})
    store.memory.put(("n",), "b", {"raw": noise(300, "later")})
    pointer = store.memory.pointer()
    store.close()
    mark = noise(300, "later")[50:90]
    segment = next(each for each in (place / "memory").glob("*.seg") if mark in each.read_bytes())
    data = bytearray(segment.read_bytes())
    at = data.index(mark)
    data[at] ^= 1
    segment.write_bytes(data)
    with aegis_store.open(place, config=SMALL, mode="r") as store:
        assert store.memory.get(("n",), "a").value == {"raw": noise(300, "a")}
        for call in (
            lambda: store.memory.get(("n",), "b"),
            lambda: list(store.memory.search()),
            lambda: list(store.memory.list(("n",))),
            lambda: store.memory.get(("n",), "b", at=pointer),
        ):
            with pytest.raises(Corrupt):
                call()
        assert not store.verify(deep=True).ok


def test_a_value_of_a_type_that_was_not_named_says_which_and_can_be_put_over(tmp_path):
    from tests.values import Spot

    with aegis_store.open(tmp_path / "s", config=SMALL, types=[Spot]) as store:
        store.memory.put(("a",), "k", Spot(x=1, y=2))
        assert store.memory.get(("a",), "k").value == Spot(x=1, y=2)
    with aegis_store.open(tmp_path / "s", config=SMALL) as store:
        with pytest.raises(UnknownType):
            store.memory.get(("a",), "k")
        assert store.memory.put(("a",), "k", 1).version == 2


def test_what_is_remembered_of_records_is_bounded(store, monkeypatch):
    monkeypatch.setattr(reading, "KNOWN_MAX", 5)
    for number in range(20):
        store.memory.put(("a",), str(number), number)
        store.memory.delete(("a",), str(number // 2))
        assert len(store.memory._reader._until) <= 5
        held(store.memory)
    assert len(held(store.memory)) == 10
