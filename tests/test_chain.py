"""Writing a session: one checkpoint for one request, none where the session has moved on, chunks, forks, ends."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

import aegis_store
from aegis_store import NO_CHECKPOINT, Config
from aegis_store.codec.payload import CHUNK_BYTES
from aegis_store.errors import Closed, Conflict, Corrupt, Ended, Foreign, InvalidArgument, NoSpace, NotFound, ReadOnly
from aegis_store.schema import session as session_schema
from aegis_store.types import Kind
from tests.stores import SMALL, Crash, abandon, flip, frame_of, noise, states

#: What no record holds, and does not compress.
LARGE = noise((16 << 20) + 4096, "large")


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def store(place):
    with aegis_store.open(place, agent="planner", config=SMALL) as opened:
        yield opened


def kinds(store) -> list[str]:
    return [Kind(record.kind).label for record in store.records.scan(0, store.records.size())]


# ---- expect -----------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_made_only_where_the_newest_is_the_one_that_was_expected(store):
    session = store.session("s")
    first = session.checkpoint(1, expect=NO_CHECKPOINT)
    second = session.checkpoint(2, expect=first)
    for stale in (first, NO_CHECKPOINT, msgspec.structs.replace(second, leaf=bytes(32))):
        with pytest.raises(Conflict, match="has moved on") as caught:
            session.checkpoint(3, expect=stale)
        assert caught.value.newest == second
        assert "latest()" in caught.value.hint
    assert states(store, "s") == [1, 2]
    session.checkpoint(3, expect=session.latest().ref)


def test_expecting_a_checkpoint_of_a_session_without_one_is_a_conflict_and_begins_nothing(store):
    other = store.session("other").checkpoint(1)
    with pytest.raises(Conflict) as caught:
        store.session("s").checkpoint(1, expect=other)
    assert caught.value.newest is None
    assert store.session("s").info() is None


def test_what_is_expected_is_looked_up_after_the_store_was_opened_again(place):
    with aegis_store.open(place) as store:
        ref = store.session("s").checkpoint(1)
    with aegis_store.open(place) as store:
        with pytest.raises(Conflict):
            store.session("s").checkpoint(2, expect=NO_CHECKPOINT)
        store.session("s").checkpoint(2, expect=ref)


def test_of_many_who_expect_the_same_one_wins(store):
    session = store.session("s")
    first = session.checkpoint("first")
    barrier = threading.Barrier(8)

    def attempt(number: int) -> object:
        barrier.wait()
        try:
            return session.checkpoint(number, expect=first)
        except Conflict as error:
            return error

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(attempt, range(8)))
    won = [each for each in outcomes if not isinstance(each, Conflict)]
    assert len(won) == 1
    assert {each.newest for each in outcomes if isinstance(each, Conflict)} == set(won)
    assert len(states(store, "s")) == 2


# ---- request ids ------------------------------------------------------------------------------------------------------------


def test_a_repeated_request_returns_the_first_result_and_stores_nothing(store):
    session = store.session("s")
    first = session.checkpoint({"a": 1}, request_id="r1")
    session.checkpoint({"a": 2}, request_id="r2")
    size = store.records.size()
    assert session.checkpoint({"a": "whatever"}, request_id="r1") == first
    assert store.session("s", agent="another").checkpoint(None, request_id="r1", expect=NO_CHECKPOINT) == first
    assert store.records.size() in (size, size + 1)  # the other agent was enrolled
    assert states(store, "s") == [{"a": 1}, {"a": 2}]
    assert session.get(0).request_id == "r1"


def test_a_request_is_one_of_its_session(store):
    one, two = (store.session(name).checkpoint(name, request_id="r") for name in ("s", "t"))
    assert one != two
    assert states(store, "t") == ["t"]


@pytest.mark.parametrize("ended", ["closed", "crashed", "catalogue lost"])
def test_a_request_is_remembered_whatever_happened_to_the_process(place, ended):
    store = aegis_store.open(place)
    refs = [store.session("s").checkpoint(number, request_id=f"r{number}") for number in range(5)]
    abandon(store) if ended == "crashed" else store.close()
    if ended == "catalogue lost":
        (place / "catalog" / "sidecar").unlink()
    with aegis_store.open(place) as store:
        assert [store.session("s").checkpoint("again", request_id=f"r{number}") for number in range(5)] == refs
        assert states(store, "s") == [0, 1, 2, 3, 4]


def test_a_request_that_is_on_its_way_is_not_made_twice(store):
    session, barrier = store.session("s"), threading.Barrier(16)

    def attempt(number: int) -> object:
        barrier.wait()
        return [session.checkpoint(number, request_id=f"r{each}") for each in range(20)]

    with ThreadPoolExecutor(16) as threads:
        refs = list(threads.map(attempt, range(16)))
    assert all(each == refs[0] for each in refs)
    assert len(states(store, "s")) == 20


def test_another_request_with_the_same_tag_is_told_apart(store, monkeypatch):
    monkeypatch.setattr(store.records, "request_tag", lambda tag, request_id: b"the same")
    session = store.session("s")
    first, second = (session.checkpoint(name, request_id=name) for name in ("one", "two"))
    assert first != second
    assert session.checkpoint("again", request_id="one") == first


def test_an_interrupted_request_is_found_by_the_next_attempt(place, monkeypatch):
    with aegis_store.open(place) as store:
        session = store.session("s")
        session.checkpoint("before")

        def crash(index: int) -> None:
            monkeypatch.undo()
            raise Crash

        monkeypatch.setattr(store.records, "commit", crash)
        with pytest.raises(Crash):
            session.checkpoint("state", request_id="r")
        session.checkpoint("state", request_id="r")
        assert states(store, "s") == ["before", "state"]


@pytest.mark.parametrize("wrong", [7, b"r", ["r"]])
def test_a_request_id_is_a_str(store, wrong):
    with pytest.raises(InvalidArgument, match="request_id"):
        store.session("s").checkpoint(1, request_id=wrong)


def test_a_request_id_stands_in_no_entry(store):
    store.session("s").checkpoint(1, request_id="confidential")
    assert not any(b"confidential" in record.entry for record in store.records.scan(0, store.records.size()))


# ---- chunks -----------------------------------------------------------------------------------------------------------------


def test_what_no_record_holds_is_stored_in_chunks_and_comes_back(place):
    with aegis_store.open(place, config=Config()) as store:
        session = store.session("s")
        session.checkpoint("small")
        session.checkpoint(LARGE, metadata={"kept": True})
        session.checkpoint("after")
        assert kinds(store).count("chunk") == -(-len(LARGE) // CHUNK_BYTES)
        assert [each.state for each in session.history()] == ["after", LARGE, "small"]
        assert store.verify(deep=True).ok
    with aegis_store.open(place, mode="r") as store:
        assert (store.session("s").get(1).state, store.session("s").get(1).metadata) == (LARGE, {"kept": True})


def test_what_compresses_takes_one_record(store):
    large = b"a" * (17 << 20)
    store.session("s").checkpoint(large)
    assert "chunk" not in kinds(store)
    assert store.session("s").latest().state == large


def test_damage_of_a_chunk_is_damage_of_its_checkpoint_and_of_no_other(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        session.checkpoint("before")
        session.checkpoint(LARGE)
        session.checkpoint("after")
        chunk = kinds(store).index("chunk") + 1
    path, span = frame_of(place, chunk)
    with aegis_store.open(place, mode="r") as reader:
        flip(path, span.payload + 1000)
        assert reader.session("s").latest().state == "after"
        with pytest.raises(Corrupt) as caught:
            reader.session("s").get(1)
        assert caught.value.index == chunk
        assert reader.session("s").get(0).state == "before"
        flip(path, span.payload + 1000)


def test_chunks_without_their_checkpoint_mean_nothing(place, monkeypatch):
    with aegis_store.open(place) as store:
        session = store.session("s")
        session.checkpoint("before")
        append = store.records.append

        def refuse(kind, *arguments, **options):
            if kind is Kind.CHECKPOINT:
                raise NoSpace("no space left", op="append")
            return append(kind, *arguments, **options)

        monkeypatch.setattr(store.records, "append", refuse)
        with pytest.raises(NoSpace):
            session.checkpoint(LARGE)
        monkeypatch.undo()
        session.checkpoint("after")
        assert states(store, "s") == ["before", "after"]
        assert kinds(store).count("chunk") > 0
        assert store.verify(deep=True).ok
    with aegis_store.open(place) as store:
        assert states(store, "s") == ["before", "after"]


# ---- forks ------------------------------------------------------------------------------------------------------------------


def test_a_fork_shares_what_came_before_and_goes_its_own_way(place):
    with aegis_store.open(place, agent="planner", config=Config(roles={"planner": "plans"})) as store:
        trunk = store.session("trunk")
        refs = [trunk.checkpoint(["trunk", number]) for number in range(4)]
        fork = trunk.fork("fork", at=refs[1])
        assert fork is store.session("fork")
        assert (fork.latest().state, fork.latest().ref) == (["trunk", 1], refs[1])
        info = fork.info()
        assert (info.forked_from, info.checkpoints, info.role, info.is_open) == ("trunk", 2, "plans", True)
        own = fork.checkpoint(["fork", 2], expect=refs[1])
        assert (own.ordinal, own.session) == (2, "fork")
        trunk.checkpoint(["trunk", 4])
    for mode in ("a", "r"):
        with aegis_store.open(place, mode=mode) as store:
            assert states(store, "fork") == [["trunk", 0], ["trunk", 1], ["fork", 2]]
            assert states(store, "trunk") == [["trunk", number] for number in range(5)]
            assert store.verify(deep=True).ok


def test_forks_of_forks_lead_to_the_first_session(store):
    session = store.session("0")
    for number in range(1, 5):
        session.checkpoint(number)
        session.checkpoint(-number)
        session = session.fork(str(number), at=session.latest().ref)
    session.checkpoint("end")
    assert states(store, "4") == [1, -1, 2, -2, 3, -3, 4, -4, "end"]
    assert store.session("2").fork("early", at=store.session("2").get(0).ref).latest().state == 1
    assert [each.state for each in store.session("4").history(before=3, limit=2)] == [2, -1]


def test_a_fork_without_a_place_is_of_the_newest(store):
    trunk = store.session("trunk")
    trunk.checkpoint(1)
    last = trunk.checkpoint(2)
    assert trunk.fork("fork").latest().ref == last


def test_a_fork_needs_an_id_that_no_session_has_and_a_checkpoint_to_go_on_from(store):
    trunk = store.session("trunk")
    with pytest.raises(NotFound, match="no checkpoint 0"):
        trunk.fork("fork")
    ref = trunk.checkpoint(1)
    other = store.session("other").checkpoint(1)
    for taken in ("other", "trunk"):
        with pytest.raises(Conflict, match="already"):
            trunk.fork(taken)
    with pytest.raises(InvalidArgument, match="is record"):
        trunk.fork("fork", at=other)
    with pytest.raises(NotFound, match="no checkpoint 9"):
        trunk.fork("fork", at=msgspec.structs.replace(ref, ordinal=9))
    with pytest.raises(InvalidArgument):
        trunk.fork(7)
    assert [info.id for info in store.sessions()] == ["trunk", "other"]


def test_a_fork_that_names_another_place_than_it_has_is_refused(store, monkeypatch):
    trunk = store.session("trunk")
    first, second = trunk.checkpoint(1), trunk.checkpoint(2)
    trunk.fork("fork", at=first)
    found = store.catalog.session("fork")
    wrong = msgspec.structs.replace(found, parent=second.index)
    monkeypatch.setattr(store.catalog, "session", lambda name, tier: wrong)
    with pytest.raises(Foreign, match="does not begin at"):
        aegis_store.lineage.Lineage(store, "fork").newest()


# ---- ends -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("again", [False, True])
def test_an_ended_session_takes_no_checkpoint_and_can_be_read_and_forked(place, again):
    store = aegis_store.open(place, agent="planner")
    session = store.session("s")
    ref = session.checkpoint(1, request_id="r")
    session.end(reason="done")
    session.end()
    if again:
        abandon(store)
        store = aegis_store.open(place)
        session = store.session("s")
    with store:
        with pytest.raises(Ended, match="takes no more") as caught:
            session.checkpoint(2)
        assert "fork" in caught.value.hint
        assert session.checkpoint(1, request_id="r") == ref
        assert session.latest().state == 1
        assert session.info().is_open is False
        session.fork("on").checkpoint(2)
        assert states(store, "on") == [1, 2]
        assert store.verify(deep=True).ok
        record = store.records.read(ref.index + 1)
        assert session_schema.decode_end(record.envelope).reason == "done"


def test_who_ends_a_session_that_is_being_ended_waits_for_the_same_record(store):
    session = store.session("s")
    session.checkpoint(1)
    ending = session.submit_end()
    assert session.submit_end() == ending
    store.records.commit(ending)
    session.settle(ending)
    assert session.submit_end() is None


def test_what_never_began_is_not_ended(store):
    with pytest.raises(NotFound, match="no session 's'"):
        store.session("s").end()
    assert store.session("s").info() is None


def test_a_reader_begins_ends_and_forks_nothing(place):
    with aegis_store.open(place) as store:
        session = store.session("s")
        session.checkpoint(1)
    with aegis_store.open(place, mode="r") as reader:
        for use in (lambda s: s.checkpoint(2), lambda s: s.end(), lambda s: s.fork("t")):
            with pytest.raises(ReadOnly):
                use(reader.session("s"))
    for use in (lambda s: s.checkpoint(2), lambda s: s.end(), lambda s: s.fork("t"), lambda s: s.info()):
        with pytest.raises(Closed):
            use(session)


# ---- halves -----------------------------------------------------------------------------------------------------------------


def test_a_submitted_checkpoint_is_known_once_it_is_settled(store):
    session = store.session("s")
    session.checkpoint("before")
    pending = [session.submit(number) for number in range(3)]
    assert [each.ref.ordinal for each in pending] == [1, 2, 3]
    assert session.latest().state == "before"
    store.records.commit(pending[-1].ref.index)
    session.settle(pending[-1].ref.index)
    assert states(store, "s") == ["before", 0, 1, 2]
    for each in pending:
        session.settle(each.ref.index)
    assert len(states(store, "s")) == 4
