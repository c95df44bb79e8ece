"""Many sessions at once: what one by one gives, and the same errors where something is wrong."""

from __future__ import annotations

from contextlib import suppress
from enum import Enum
from pathlib import Path

import msgspec
import pytest

import aegis_store
from aegis_store import Config, Rule, Store, TierDurability, bulk_reading
from aegis_store._engine import Record
from aegis_store.bulk_reading import Newest, latest_of
from aegis_store.catalog import SessionRecord
from aegis_store.errors import AegisError, BadSignature, Closed, Corrupt, Erased, UnknownType
from aegis_store.gaps import Gaps
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.types import Kind
from tests.stores import SMALL, after, edit, flip, forging, frame_of, noise

WRITE = Config(durability=TierDurability(session="write"))


def sessions(store: Store) -> list[SessionRecord]:
    store.catch_up()
    return store.catalog.sessions(limit=10_000)


def alone(store: Store, name: str) -> object:
    """The same of one session: what it holds, or its error as text."""
    try:
        return store.session(name).latest()
    except AegisError as error:
        return type(error), str(error)


def told(newest: Newest) -> object:
    found = newest.checkpoint
    return (type(found), str(found)) if isinstance(found, AegisError) else found


def agree(store: Store) -> dict[str, object]:
    """Both ways give the same of every session; what that is."""
    both = {each.session.id: told(each) for each in latest_of(store, sessions(store))}
    assert both == {name: alone(store, name) for name in both}
    return both


def fill(store: Store, count: int = 40, each: int = 4) -> dict[str, list[int]]:
    """Sessions in turn; where their checkpoints lie."""
    places: dict[str, list[int]] = {}
    for number in range(each):
        for name in range(count):
            state = {"number": number, "noise": noise(600, name), "more": noise(40, (name, number))}
            places.setdefault(f"s{name}", []).append(store.session(f"s{name}").checkpoint(state).index)
    return places


def test_what_one_by_one_gives(tmp_path):
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        fill(store)
        store.session("s3").fork("fork of s3").checkpoint("mine")
        store.session("s4").fork("fork of s4")
        store.session("s5").end()
        store.session("large").checkpoint(noise(20 << 20))
        store.session("other", agent="somebody else").checkpoint("x")
        store.session("pruned").checkpoint(1)
        store.session("pruned").checkpoint(2)
        store.retain([Rule(keep_last=1)])
        store.compact()
    with aegis_store.open(tmp_path / "state", config=WRITE, agent="third") as store:
        found = agree(store)
        assert len(found) == 45
        assert not any(isinstance(each, tuple) for each in found.values())


def test_the_order_is_that_of_the_sessions_and_pages_do_not_show(tmp_path, monkeypatch):
    monkeypatch.setattr(bulk_reading, "PAGE", 7)
    monkeypatch.setattr(bulk_reading, "BATCH", 3)
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        fill(store)
        asked = sessions(store)[::-1]
        assert [each.session for each in latest_of(store, iter(asked), jobs=1)] == asked
        agree(store)


def test_a_session_without_a_checkpoint_has_none(tmp_path):
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        trunk = store.session("trunk")
        trunk.checkpoint(1)
        store.erase(session="trunk", ordinal=0, reason="r")
        agree(store)
        assert list(latest_of(store, [])) == []


class Shade(Enum):
    DARK = 1


def test_a_class_that_was_not_named_is_the_same_error(tmp_path):
    with aegis_store.open(tmp_path / "state", types=[Shade]) as store:
        store.session("s").checkpoint(Shade.DARK)
    with aegis_store.open(tmp_path / "state") as store:
        assert agree(store)["s"][0] is UnknownType


@pytest.mark.parametrize("seed", range(12))
def test_damage_is_the_same_error_and_of_the_same_sessions(tmp_path, seed):
    place = tmp_path / "state"
    with aegis_store.open(place, config=SMALL) as store:
        places = fill(store)
    which = sorted(index for indexes in places.values() for index in indexes)[seed * 13]
    path, span = frame_of(place, which)
    at = (span.start + 13, span.entry + 40, span.entry + 120, span.payload + 20)[seed % 4]
    with aegis_store.open(place, mode="r") as store:
        sessions(store)  # looks at the log, which shows nothing yet
        flip(path, at)
        found = agree(store)
        hit = [name for name, each in found.items() if isinstance(each, tuple)]
        newest = [name for name, indexes in places.items() if which in indexes]
        assert set(hit) <= set(newest)
        if which == places[newest[0]][-1]:
            assert hit == newest
    with suppress(Corrupt), aegis_store.open(place, mode="r") as store:  # opening may refuse already
        agree(store)


def test_damage_to_a_sessions_begin_is_the_same_error(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, count=5)
        begun = store.catalog.session("s2").begun
    with aegis_store.open(place, mode="r") as store:
        sessions(store)  # looks at the log, which shows nothing yet
        path, span = frame_of(place, begun)
        edit(path, lambda data: data.__setitem__(span.payload + 20, data[span.payload + 20] ^ 1))
        found = agree(store)
        assert [name for name, each in found.items() if isinstance(each, tuple)] == ["s2"]


def forged(place: Path, *, signer: str) -> None:
    """A checkpoint that a holder of the store secret puts behind the newest of `s1`."""
    with aegis_store.open(place, agent="planner", config=SMALL) as store:
        fill(store, count=3)
        newest, tag = store.session("s1").latest().ref, store.catalog.session("s1").tag
    with forging(place) as forger:
        envelope = checkpoint_schema.encode(checkpoint_schema.Checkpoint(state="forged"))
        who = forger.stranger if signer == "stranger" else forger.keys.find_agent("planner")
        entry, payload = forger.sealed(Kind.CHECKPOINT, envelope, who, **after(newest, tag))
        if signer == "broken":
            entry = entry[:-1] + bytes([entry[-1] ^ 1])
        forger.append(Kind.CHECKPOINT, entry, payload)


@pytest.mark.parametrize("signer", ["stranger", "broken"])
def test_a_forged_checkpoint_is_refused_as_one_by_one(tmp_path, signer):
    place = tmp_path / "state"
    forged(place, signer=signer)
    with aegis_store.open(place, agent="planner") as store:
        found = agree(store)
        assert found["s1"][0] is BadSignature


def test_a_signature_that_a_catalogue_that_lies_leads_to_is_refused(tmp_path):
    """The catalogue points at another session's records: nothing of what it says is believed."""
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        fill(store, count=3)
        one, two, _ = sessions(store)
        liar = msgspec.structs.replace(one, last_index=two.last_index, last_leaf=two.last_leaf)
        (found,) = latest_of(store, [liar])
        assert found.checkpoint.ref.session == one.id
        assert found.checkpoint.ref.index == one.last_index


def test_a_store_that_is_closed_meanwhile_raises(tmp_path):
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        fill(store, count=3)
        asked = sessions(store)
    with pytest.raises(Closed):
        list(latest_of(store, asked))


def test_a_name_that_the_catalogue_lies_about_is_not_believed(tmp_path):
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        fill(store, count=3)
        one, two, _ = sessions(store)
        (found,) = latest_of(store, [msgspec.structs.replace(one, id=two.id)])
        assert found.checkpoint == alone(store, two.id)
        assert found.checkpoint.ref.index != one.last_index


def test_what_is_to_go_is_gone_here_as_well(tmp_path, monkeypatch):
    demand = Gaps.demand
    with aegis_store.open(tmp_path / "state", config=WRITE) as store:
        last = fill(store, count=3)["s1"][-1]

        def erased(self: Gaps, record: Record, kind: Kind) -> None:
            if record.index == last:
                raise Erased("an erase record covers it, and the files do not follow yet")
            demand(self, record, kind)

        monkeypatch.setattr(Gaps, "demand", erased)
        assert agree(store)["s1"][0] is Erased


def test_a_fork_whose_origin_is_damaged_is_not_believed(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place, config=SMALL) as store:
        trunk = store.session("trunk")
        origin = trunk.checkpoint(noise(3000, 1))
        fill(store, count=2, each=10)  # so that it is not read in one go with what is behind it
        trunk.fork("fork").checkpoint(noise(3000, 2))
        trunk.checkpoint(noise(3000, 3))
    with aegis_store.open(place, mode="r") as store:
        path, span = frame_of(place, origin.index)
        flip(path, span.entry + 40)
        found = agree(store)
        assert [name for name, each in found.items() if isinstance(each, tuple)] == ["fork"]
