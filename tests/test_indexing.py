"""From the log to the catalogue: every record finds its row, and no record passes for another's successor."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import lmdb
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aegis_store
from aegis_store import Tier, indexing
from aegis_store.catalog import CheckpointMade, KeyAdded, KeyRevoked, Other, SessionBegan, SessionEnded, Stretch
from aegis_store.catalog.bulk import load
from aegis_store.catalog.disk import DiskTables
from aegis_store.catalog.memory import MemoryTables
from aegis_store.catalog.tables import fold
from aegis_store.errors import AegisError, Corrupt, Foreign
from aegis_store.indexing import rows_of, whole
from aegis_store.schema import keys as key_schema
from aegis_store.schema import session as session_schema
from aegis_store.schema.entry import pack, parse
from aegis_store.session import Session
from aegis_store.types import Kind
from tests.stores import SMALL, Told, abandon, after, dump, fill, flip, forging, frame_of, states

WAYS = ["indexed from there", "indexed from the start", "read beside"]


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def make(place, *names: str, count: int = 3):
    """A store with sessions of a few checkpoints; the last references and the tags."""
    with aegis_store.open(place, agent="planner", config=SMALL) as store:
        refs = {name: [store.session(name).checkpoint([name, number]) for number in range(count)] for name in names}
        tags = {name: store.catalog.session(name).tag for name in names}
    return refs, tags


def open_by(way: str, place):
    """A store whose catalogue knows everything but what was added by a forger, or nothing, or is a reader's."""
    if way == "indexed from the start":
        shutil.rmtree(place / "catalog")
    store = aegis_store.open(place, agent="planner", mode="r" if way == "read beside" else "a")
    store.catalog.session("")  # a reader's reads the log when it is asked for something
    return store


# ---- rows -------------------------------------------------------------------------------------------------------------------


def test_every_kind_of_record_has_its_row(place):
    refs, tags = make(place, "s", count=2)
    with forging(place) as forger:
        agent, enrolment = forger.keys.find_agent("planner"), forger.keys.enrolment
        end = session_schema.encode_end(session_schema.SessionEnd(reason="done"))
        fields = {"session_tag": tags["s"], "parent": refs["s"][-1].index, "parent_leaf": refs["s"][-1].leaf}
        forger.append(Kind.SESSION_END, *forger.sealed(Kind.SESSION_END, end, agent, **fields))
        fork = session_schema.encode_begin(session_schema.SessionBegin(session="fork", agent="planner", forked_from="s"))
        fields = {"session_tag": b"f" * 16, "ordinal": 1, "parent": refs["s"][0].index, "parent_leaf": refs["s"][0].leaf}
        forger.append(Kind.SESSION_BEGIN, *forger.sealed(Kind.SESSION_BEGIN, fork, agent, **fields))
        gone = key_schema.encode_revoke(key_schema.KeyRevoke(agent="planner", public_key=agent.public_key))
        forger.append(Kind.KEY_REVOKE, *forger.sealed(Kind.KEY_REVOKE, gone, enrolment))
        leaves = [record.leaf for record in forger.engine.scan(Tier.SESSION)]
    with aegis_store.open(place) as store:
        rows = list(rows_of(store.records, 0))
        assert [type(row) for row in rows] == [
            KeyAdded, SessionBegan, CheckpointMade, CheckpointMade, SessionEnded, SessionBegan, KeyRevoked,
        ]  # fmt: skip
        assert [(row.tier, row.index) for row in rows] == [(Tier.SESSION, index) for index in range(7)]
        added, begun, first, second, ended, forked, revoked = rows
        assert (added.agent, added.public_key, added.key_id) == ("planner", agent.public_key, agent.key_id)
        assert (begun.id, begun.agent, begun.tag, begun.parent, begun.leaf) == ("s", "planner", tags["s"], None, leaves[1])
        assert (first.tag, first.ordinal, second.ordinal, second.leaf) == (tags["s"], 0, 1, leaves[3])
        assert [first.time_ms, second.time_ms] == [ref.time_ms for ref in refs["s"]]
        assert ended.tag == tags["s"]
        assert (forked.id, forked.parent, forked.forked_from, forked.first_ordinal) == ("fork", refs["s"][0].index, "s", 1)
        assert (revoked.key_id, revoked.public_key) == (agent.key_id, agent.public_key)
        assert [row.index for row in rows_of(store.records, 5)] == [5, 6]
        assert list(rows_of(store.records, 7)) == []
        assert store.records.suspects == {}
        assert [info.is_open for info in store.sessions()] == [False, True]


def test_a_catalogue_made_from_the_log_is_the_one_that_was_kept_while_it_was_written(place):
    with aegis_store.open(place, config=SMALL) as store:
        for number in range(40):
            store.session(f"session {number % 7}", agent=f"agent {number % 3}").checkpoint(number)
        kept = everything(store)
    for way in WAYS:
        with open_by(way, place) as store:
            assert everything(store) == kept
            assert store.records.suspects == {}


def everything(store) -> list[object]:
    """All that a catalogue can be asked."""
    catalog = store.catalog
    sessions = catalog.sessions(limit=1000)
    points = [catalog.checkpoints(each.number, limit=1000) for each in sessions]
    by_name = [(catalog.session(each.id), catalog.session_by_tag(each.tag)) for each in sessions]
    keys = [catalog.key(Tier.SESSION, each.key_id) for each in sorted(store.keys.agents(), key=lambda key: key.name)]
    return [sessions, points, by_name, keys, list(store.sessions())]


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["checkpoint", "checkpoint", "request", "burst", "fork", "end", "revoke", "close", "crash", "lose"]),
        st.integers(0, 4),
    ),
    max_size=20,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ACTIONS, st.integers(1, 40), st.integers(1, 4))
def test_kept_while_it_was_written_or_made_in_bulk_or_row_by_row_it_is_the_same_to_the_byte(actions, records, sessions):
    with TemporaryDirectory() as folder:
        place = Path(folder, "state")
        store = aegis_store.open(place, agent="planner", config=SMALL, clock=Told())
        for number, (action, which) in enumerate(actions):
            store = act(store, place, action, which, number)
        store.catalog.flush()
        kept = dump(store.catalog._tables)
        rows = MemoryTables()
        rows.write(fold(rows_of(store.records, 0), rows.get))
        assert dump(rows) == kept
        with patch.object(indexing, "STRETCH_RECORDS", records), patch.object(indexing, "STRETCH_SESSIONS", sessions):
            bulk, stretches = MemoryTables(), list(whole(store.records))
            for stretch in stretches:
                assert isinstance(stretch, Stretch)
                load(stretch, bulk)
            assert dump(bulk) == kept
            assert len(stretches) >= store.records.size() / records
            with aegis_store.open(place, mode="r") as reader:
                assert reader.session("none").info() is None  # it reads the log when it is asked for something
                assert dump(reader.catalog._tables) == kept
            store.close()
            shutil.rmtree(place / "catalog")
            with aegis_store.open(place) as again:
                assert dump(again.catalog._tables) == kept


def act(store, place, action: str, which: int, number: int):
    """One step of work; the store to go on with."""
    session = store.session(f"session {which}", agent=f"agent {number % 3}")
    if action in ("close", "crash", "lose", "revoke"):
        abandon(store) if action == "crash" else store.close()
        if action == "lose":
            shutil.rmtree(place / "catalog")
        if action == "revoke":
            with forging(place) as forger:
                signer = forger.keys.find_agent(f"agent {which}")
                if signer is not None:
                    gone = key_schema.encode_revoke(key_schema.KeyRevoke(agent=signer.name, public_key=signer.public_key))
                    forger.append(Kind.KEY_REVOKE, *forger.sealed(Kind.KEY_REVOKE, gone, forger.keys.enrolment))
        return aegis_store.open(place, agent="planner", config=SMALL, clock=Told(start=1_700_000_000_000 + 1000 * number))
    found = store.catalog.session(session.id)
    if action == "fork":
        if found is not None and found.last_ordinal is not None:
            session.fork(f"fork {number}").checkpoint(number)
    elif action == "end":
        if found is not None:
            session.end()
    elif found is None or found.ended is None:
        for each in range(70 if action == "burst" else 1):
            session.checkpoint([number, each], request_id=f"request {number % 2}" if action == "request" else None)
    return store


def test_a_log_that_is_not_sound_is_indexed_row_by_row(place):
    """Some stretches may have been taken by then: the rows come from the start, and change nothing of those."""
    make(place, "s", "t")
    with forging(place) as forger:
        forger.again(3)
    with patch.object(indexing, "STRETCH_RECORDS", 2), aegis_store.open(place, mode="r") as store:
        found = list(whole(store.records))
        assert [type(each) for each in found[:4]] == [Stretch] * 4
        assert [each.index for each in found[4:]] == list(range(store.records.size()))
        rows = MemoryTables()
        rows.write(fold(rows_of(store.records, 0), rows.get))
        store.catalog.session("s")
        assert dump(store.catalog._tables) == dump(rows)
        assert list(store.records.suspects) == [store.records.size() - 1]


def test_what_lmdb_cannot_take_in_is_looked_up_in_memory(place, monkeypatch):
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "s", "t", each=3)
        kept = everything(store)
    shutil.rmtree(place / "catalog")

    def fail(*arguments) -> None:
        raise lmdb.DiskError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr(DiskTables, "load", fail)
        with aegis_store.open(place) as store:
            assert everything(store) == kept
            assert "no space left" in store.catalog.broken
            store.session("s").checkpoint("goes on")
    assert not (place / "catalog" / "sidecar").exists()
    with aegis_store.open(place) as store:
        assert store.catalog.broken is None
        assert states(store, "s")[3] == "goes on"


def test_a_gap_is_closed_although_the_catalogue_knows_what_comes_after(place):
    """One session's record was not noted, those of another were: as after an interrupt in one of two threads."""
    with aegis_store.open(place, config=SMALL) as store:
        for number in range(2):
            for name in ("s", "t"):
                store.session(name).checkpoint(number)
        note = store.catalog.note
        store.catalog.note = lambda row: None
        store.session("s").checkpoint(2)
        store.catalog.note = note
        for number in range(2, 5):
            store.session("t").checkpoint(number)
        covered = store.catalog.covered(Tier.SESSION)
        assert covered < store.records.size() - 3
        assert len(states(store, "s")) == 2
        store.lost_track()
        assert states(store, "s") == [0, 1, 2]
        assert states(store, "t") == [0, 1, 2, 3, 4]
        assert store.records.suspects == {}
        assert store.catalog.covered(Tier.SESSION) == store.records.size()


# ---- records that do not follow ---------------------------------------------------------------------------------------------


def check_refused(place, way: str, said: str, *, kind: type[AegisError] = Foreign, name: str = "s", index: int | None) -> None:
    """Everything about the session raises, in this and in the next opening; other sessions go on."""
    for _ in range(2):
        with open_by(way, place) as store:
            session = store.session(name)
            asked = [Session.latest, lambda asked: next(asked.history())]
            if way != "read beside":
                asked.append(lambda asked: asked.checkpoint("on top"))
            for ask in asked:
                with pytest.raises(kind, match=said) as caught:
                    ask(session)
                assert (caught.value.index, caught.value.tier) == (index, "session")
                assert "aegis verify" in str(caught.value)
            assert [each.state[1] for each in session.history(before=99)] == [2, 1, 0]
            assert states(store, "t") == [["t", 0], ["t", 1], ["t", 2]]
            assert index in [finding.index for finding in store.verify(deep=True).findings]
        way = "indexed from there" if way == "indexed from the start" else way


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("ordinal", [0, 1, 2])
def test_an_older_checkpoint_that_was_put_at_the_end_again_is_not_the_newest(place, way, ordinal):
    refs, _ = make(place, "s", "t")
    with forging(place) as forger:
        index = forger.again(refs["s"][ordinal].index)
    check_refused(place, way, "does not follow record", index=index)


@pytest.mark.parametrize("way", WAYS)
def test_a_session_that_is_begun_again_does_not_hide_what_it_holds(place, way):
    refs, _ = make(place, "s", "t")
    with forging(place) as forger:
        index = forger.again(refs["s"][0].index - 1)
        assert parse(forger.read(index).entry).kind is Kind.SESSION_BEGIN
    check_refused(place, way, "begins a session that has begun", index=index)


@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_that_leaves_one_out_is_refused(place, way):
    refs, tags = make(place, "s", "t")
    with forging(place) as forger:
        fields = after(refs["s"][1], tags["s"])
        index = forger.checkpoint("skips one", forger.keys.find_agent("planner"), **fields)
    check_refused(place, way, f"does not follow record {refs['s'][2].index}", index=index)


@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_with_another_ordinal_is_refused(place, way):
    refs, tags = make(place, "s", "t")
    with forging(place) as forger:
        fields = {**after(refs["s"][2], tags["s"]), "ordinal": 7}
        index = forger.checkpoint("skips some", forger.keys.find_agent("planner"), **fields)
    check_refused(place, way, "is checkpoint 7 of its session where 3 comes", index=index)


@pytest.mark.parametrize("way", WAYS)
def test_a_checkpoint_with_another_parent_hash_is_refused(place, way):
    refs, tags = make(place, "s", "t")
    with forging(place) as forger:
        fields = {**after(refs["s"][2], tags["s"]), "parent_leaf": refs["t"][2].leaf}
        index = forger.checkpoint("grafted", forger.keys.find_agent("planner"), **fields)
    check_refused(place, way, "does not follow record", index=index)


@pytest.mark.parametrize("way", WAYS)
def test_a_record_of_another_session_does_not_become_this_ones(place, way):
    """Moved as it is, it is the other session's and out of place there; with this session's tag its signature fails."""
    refs, tags = make(place, "s", "t")
    with forging(place) as forger:
        index = forger.again(refs["t"][2].index)
    with open_by(way, place) as store:
        assert [each[1] for each in states(store, "s")] == [0, 1, 2]
        with pytest.raises(Foreign, match="does not follow") as caught:
            store.session("t").latest()
        assert caught.value.index == index
    with forging(place) as forger:
        record = forger.read(refs["t"][2].index)
        fields = after(refs["s"][2], tags["s"])
        fields["parent_leaf"] = forger.read(fields["parent"]).leaf
        moved = msgspec.structs.replace(parse(record.entry), **fields)
        index = forger.append(Kind.CHECKPOINT, pack(moved), record.payload)
    with open_by(way, place) as store, pytest.raises(Corrupt, match="did not sign it") as caught:
        store.session("s").latest()
    assert caught.value.index == index


@pytest.mark.parametrize("way", WAYS)
def test_a_session_without_a_beginning_concerns_no_other(place, way):
    make(place, "s", "t")
    with forging(place) as forger:
        fields = {"session_tag": b"n" * 16, "ordinal": 0, "parent": 1, "parent_leaf": b"l" * 32}
        index = forger.checkpoint("from nowhere", forger.keys.find_agent("planner"), **fields)
    with open_by(way, place) as store:
        assert len(states(store, "s")) == len(states(store, "t")) == 3
        assert store.session("new").latest() is None
        assert "never began" in str(store.records.suspects[index].error)
        assert [each.index for each in store.verify(deep=True).findings] == [index]


@pytest.mark.parametrize("way", WAYS)
def test_a_record_that_is_no_entry_concerns_no_session(place, way):
    make(place, "s", "t")
    with forging(place) as forger:
        numbers = [forger.append(Kind.CHECKPOINT, b"\0not an entry", b""), forger.append(9, forger.read(2).entry, b"")]
    with open_by(way, place) as store:
        assert sorted(store.records.suspects) == numbers
        assert len(states(store, "s")) == len(states(store, "t")) == 3
        assert store.session("new").latest() is None
        assert sorted(each.index for each in store.verify(deep=True).findings) == numbers
        if way != "read beside":
            assert store.session("s").checkpoint("goes on").ordinal == 3
            assert store.session("new").checkpoint("begins").ordinal == 0


def test_a_beginning_whose_names_cannot_be_read_is_a_suspect_with_all_that_follows(place):
    make(place, "s", "t")
    with forging(place) as forger:
        agent = forger.keys.find_agent("planner")
        names = session_schema.encode_begin(session_schema.SessionBegin(session="u", agent="planner"))
        entry, payload = forger.sealed(Kind.SESSION_BEGIN, names, agent, session_tag=b"u" * 16)
        index = forger.append(Kind.SESSION_BEGIN, entry, payload[:-1] + b"?")
        fields = {"session_tag": b"u" * 16, "ordinal": 0, "parent": index, "parent_leaf": forger.read(index).leaf}
        forger.checkpoint("follows", agent, **fields)
    with aegis_store.open(place) as store:
        assert sorted(store.records.suspects) == [index, index + 1]
        assert [info.id for info in store.sessions()] == ["s", "t"]
        assert store.session("u").latest() is None


# ---- records that cannot be read --------------------------------------------------------------------------------------------


#: So many checkpoints in each of two sessions that the first 256 records have a tile: with it, damage to an entry is survived.
EACH = 130


def damage(place, index: int, *, payload: bool = False) -> None:
    path, span = frame_of(place, index)
    flip(path, span.payload + 1 if payload else span.entry + 80)


@pytest.fixture
def large(place):
    """Sealed segments and a finished tile, of two sessions in turn; the references of one that ends early."""
    with aegis_store.open(place, config=SMALL) as store:
        refs = [store.session("early").checkpoint(number) for number in range(3)]
        fill(store, "s", "t", each=EACH, bytes_each=400)
        assert len(list(store._engine.segments(Tier.SESSION))) >= 3  # all but the last are full, and closing seals them
        by_ordinal = {each.ref.ordinal: each.ref for each in store.session("s").history()}
    return refs, by_ordinal


@pytest.mark.parametrize("way", WAYS[1:])
def test_a_damaged_record_does_not_keep_the_store_from_being_opened(place, large, way):
    refs, of_s = large
    damage(place, of_s[5].index)
    with open_by(way, place) as store:
        assert store.session("early").latest().ref == refs[2]  # the record after it says whose it was
        assert store.session("t").latest().state["number"] == EACH - 1
        assert len(states(store, "t")) == EACH
        session, seen = store.session("s"), []
        assert session.latest().state["number"] == EACH - 1
        with pytest.raises(Corrupt) as caught:
            seen.extend(each.ref.ordinal for each in session.history())
        assert caught.value.index == of_s[5].index
        assert [each.ref.ordinal for each in session.history(before=5)] == [4, 3, 2, 1, 0]
        assert list(store.records.suspects) == [of_s[5].index]


@pytest.mark.parametrize("way", WAYS[1:])
def test_a_damaged_payload_is_damage_to_one_checkpoint_and_to_no_lookup(place, large, way):
    """Its entry is proven, and says all that the catalogue asks; that the payload is damaged shows where it is read."""
    refs, of_s = large
    for index in (refs[2].index, of_s[5].index):
        damage(place, index, payload=True)
    for again in (way, "read beside" if way == "read beside" else "indexed from there"):
        with open_by(again, place) as store:
            assert store.records.suspects == {}
            with pytest.raises(Corrupt) as caught:
                store.session("early").latest()
            assert caught.value.index == refs[2].index
            assert [each.state for each in store.session("early").history(before=2)] == [1, 0]
            assert store.session("s").latest().state["number"] == EACH - 1
            assert [each.ref.ordinal for each in store.session("s").history(before=5)] == [4, 3, 2, 1, 0]
            assert store.session("new").latest() is None
            assert sorted(each.index for each in store.verify().findings) == [refs[2].index, of_s[5].index]


@pytest.mark.parametrize("way", WAYS[1:])
def test_a_session_that_may_have_gone_on_in_a_damaged_record_raises(place, large, way):
    """Which session the damaged record was of, nobody can tell if no other follows it there: so `early` may be it."""
    refs, _ = large
    damage(place, refs[2].index)
    for again in (way, "read beside" if way == "read beside" else "indexed from there"):
        # The second opening must not believe what the first one had to leave out.
        with open_by(again, place) as store:
            for name in ("early", "new"):
                with pytest.raises(Corrupt) as caught:
                    store.session(name).latest()
                assert caught.value.index == refs[2].index
                if way != "read beside":
                    with pytest.raises(Corrupt):
                        store.session(name).checkpoint("on top")
            assert [each.state for each in store.session("early").history(before=2)] == [1, 0]
            assert store.session("s").latest().state["number"] == EACH - 1
            if way != "read beside":
                store.session("s").checkpoint({"number": EACH - 1})


@pytest.mark.parametrize("way", WAYS[1:])
def test_a_damaged_beginning_hides_its_session_and_says_so(place, large, way):
    refs, _ = large
    damage(place, refs[0].index - 1)
    with open_by(way, place) as store:
        with pytest.raises(Corrupt) as caught:
            store.session("early").latest()
        assert caught.value.index == refs[0].index - 1
        assert [info.id for info in store.sessions()] == ["s", "t"]
        assert store.session("t").latest().state["number"] == EACH - 1


def test_several_damaged_records_in_a_row_are_left_out_one_by_one(place, large):
    _, of_s = large
    numbers = sorted(index for ordinal in (3, 4, 5) for index in (of_s[ordinal].index, of_s[ordinal].index + 1))
    for index in numbers:
        damage(place, index)
    with open_by(WAYS[1], place) as store:
        rows = list(rows_of(store.records, 0))
        assert [row.index for row in rows] == list(range(store.records.size()))
        assert [row.index for row in rows if type(row) is Other] == numbers == sorted(store.records.suspects)
        assert store.session("s").latest().state["number"] == EACH - 1


def test_what_was_not_taken_in_is_not_vouched_for(place, large):
    refs, of_s = large
    with aegis_store.open(place):
        pass
    assert (place / "catalog" / "sidecar").exists()
    damage(place, of_s[5].index)
    with aegis_store.open(place) as store:
        assert store.records.suspects == {}  # it had been taken in before it was damaged
        assert store.session("early").latest().ref == refs[2]
    with open_by(WAYS[1], place) as store:
        assert list(store.records.suspects) == [of_s[5].index]
    assert not (place / "catalog" / "sidecar").exists()
    damage(place, of_s[5].index)  # flipped back, as a repair would
    with aegis_store.open(place) as store:
        assert store.records.suspects == {}
        assert len(states(store, "s")) == EACH
    assert (place / "catalog" / "sidecar").exists()
