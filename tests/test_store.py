"""A store: made, opened, refused, shared and closed."""

from __future__ import annotations

import gc
import os
import shutil
import stat
import threading
from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import msgspec
import pytest

import aegis_store
from aegis_store import Head, Store, Tier
from aegis_store._engine import Engine, Verdict
from aegis_store.errors import (
    Closed,
    Corrupt,
    InvalidArgument,
    KeysMissing,
    Locked,
    NotAStore,
    OutcomeUnknown,
    Poisoned,
    ReadOnly,
    StoreExists,
)
from aegis_store.store import SESSIONS_PAGE
from aegis_store.trust.keys import KeyDirectory
from aegis_store.types import Kind
from tests.stores import SMALL, Dice, Told, fill, flip, make, segments, snapshot, states


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def keys(tmp_path):
    return tmp_path / "state.keys"


# ---- making and opening -----------------------------------------------------------------------------------------------------


def test_a_store_is_made_with_its_keys_beside_it_and_nobody_else_may_look(place, keys):
    with aegis_store.open(place, clock=Told(12345)) as store:
        assert store.report.created
        meta = msgspec.msgpack.decode(store.records.engine.describe().meta)
        assert meta == {
            "log_key": store.keys.log.public_key, "enrolment_key": store.keys.enrolment.public_key, "created": 12345,
        }  # fmt: skip
        assert (store.keys.path, store.keys.name) == (keys, "state")
        store.session("s").checkpoint(0)
    for path in [place, keys, *place.rglob("*"), *keys.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path
    with aegis_store.open(place) as store:
        assert not store.report.created
        assert store.report.tiers[Tier.SESSION].verdict == Verdict.CLEAN


@pytest.mark.parametrize("kind", [str, Path, lambda path: path.relative_to(Path.cwd())])
def test_a_path_of_any_kind_is_taken_as_it_is_now(place, monkeypatch, tmp_path, kind):
    monkeypatch.chdir(tmp_path)
    with aegis_store.open(kind(place)) as store:
        monkeypatch.chdir("/")
        assert store.path == place
        store.session("s").checkpoint(1)
        assert store.stats().path == str(place)
    assert (place / "MANIFEST").exists()


def test_names_of_a_store_and_of_its_keys_are_the_callers(tmp_path):
    with aegis_store.open(tmp_path / "a", name="tickets", keys=tmp_path / "elsewhere") as store:
        assert store.stats().name == "tickets"
        store.session("s").checkpoint(1)
    assert not (tmp_path / "a.keys").exists()
    with pytest.raises(KeysMissing, match=r"a\.keys"):
        aegis_store.open(tmp_path / "a")
    with aegis_store.open(tmp_path / "a", mode="r", keys=tmp_path / "elsewhere") as store:
        assert states(store, "s") == [1]


def test_a_store_that_must_not_exist_is_refused_if_it_does(place):
    aegis_store.open(place, mode="x").close()
    before = snapshot(place)
    with pytest.raises(StoreExists, match="there is a store"):
        aegis_store.open(place, mode="x")
    assert snapshot(place) == before


def test_keys_that_were_made_for_a_store_that_never_was_are_used(place, keys):
    KeyDirectory.create(keys, store_id=b"i" * 16, name="early", randomness=Dice())
    with aegis_store.open(place) as store:
        assert (store.stats().store_id, store.stats().name) == (b"i".hex() * 16, "early")


@pytest.mark.parametrize("mode", ["w", "R", "", None, 1])
def test_another_mode_is_refused_and_nothing_is_made(place, tmp_path, mode):
    with pytest.raises(InvalidArgument, match="mode"):
        aegis_store.open(place, mode=mode)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("agent", [None, 5, b"agent"])
def test_an_agent_is_a_name(place, tmp_path, agent):
    with pytest.raises(InvalidArgument, match="agent"):
        aegis_store.open(place, agent=agent)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("what", "mode"), [*product(["file", "folder"], "axr"), ("nothing", "r"), ("empty folder", "r")])
def test_a_place_that_holds_something_else_is_not_a_store(place, keys, what, mode):
    if what == "file":
        place.write_text("mine")
    elif what == "folder":
        (place / "photos").mkdir(parents=True)
    elif what == "empty folder":
        place.mkdir()
    with pytest.raises(NotAStore) as caught:
        aegis_store.open(place, mode=mode)
    assert caught.value.path == str(place)
    assert not keys.exists()


def test_an_empty_folder_becomes_a_store(place):
    place.mkdir()
    (place / "lost+found").mkdir()
    make(place, 1)
    with aegis_store.open(place) as store:
        assert states(store, "s") == [1]


# ---- one writer -------------------------------------------------------------------------------------------------------------


def test_a_second_writer_is_told_who_is_first(place):
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(1)
        for _ in range(2):
            with pytest.raises(Locked, match=str(os.getpid())) as caught:
                aegis_store.open(place)
            assert caught.value.can_retry
        assert store.session("s").checkpoint(2).ordinal == 1
    aegis_store.open(place).close()


def test_an_open_that_fails_lets_go_of_everything(place, monkeypatch):
    make(place, 1)

    def fail(*_, **__):
        raise Corrupt("on purpose")

    for name in ("_index_rest", "_sign_segments", "__init__"):
        monkeypatch.setattr(Store, name, fail)
        with pytest.raises(Corrupt, match="on purpose") as caught:
            aegis_store.open(place)
        monkeypatch.undo()
        with aegis_store.open(place) as store:  # while the error, and with it the frames, are still held
            assert states(store, "s") == [1]
        assert caught.value.__traceback__ is not None


def test_after_a_failed_write_nothing_is_accepted_and_what_was_acknowledged_is_read(place, monkeypatch):
    with aegis_store.open(place) as store:
        session = store.session("s")
        session.checkpoint(1)
        for kind in (OutcomeUnknown, Poisoned):

            def fail(*_, kind=kind):
                raise kind("on purpose")

            monkeypatch.setattr(store.records.engine, "commit", fail)
            with pytest.raises(kind):
                session.checkpoint(2)
            assert session.latest().state == 1
            assert store.session("new").latest() is None
            monkeypatch.undo()


# ---- the catalogue ----------------------------------------------------------------------------------------------------------


def answers(store) -> list[object]:
    return [list(store.sessions()), [(info.id, list(store.session(info.id).history())) for info in store.sessions()]]


@pytest.fixture
def kept(place):
    with aegis_store.open(place, agent="a", config=SMALL) as store:
        fill(store, "s", "t", "u", each=12)
        store.session("t", agent="b").checkpoint("by another")
        return answers(store)


@pytest.mark.parametrize(
    ("name", "how"), [("", "deleted"), *product(["data.mdb", "sidecar"], ["deleted", "flipped", "cut", "emptied", "swapped"])]
)
def test_whatever_happens_to_the_catalogue_the_answers_are_the_same(place, kept, name, how):
    path = place / "catalog" / name
    if not name:
        shutil.rmtree(path)
    elif how == "deleted":
        path.unlink()
    elif how == "flipped":
        flip(path, path.stat().st_size // 2)
    elif how == "swapped":
        make(place.with_name("other"))
        shutil.copy(place.with_name("other") / "catalog" / name, path)
    else:
        os.truncate(path, path.stat().st_size // 2 if how == "cut" else 0)
    for mode in ("r", "a", "a"):
        with aegis_store.open(place, mode=mode) as store:
            assert answers(store) == kept
            assert store.stats().catalogue_problem is None
            assert store.records.suspects == {}


def test_a_catalogue_that_covers_less_is_fed_the_rest(place, kept):
    shutil.copytree(place / "catalog", place.with_name("older"))
    with aegis_store.open(place) as store:
        store.session("s").checkpoint("newer")
        store.session("v").checkpoint("newest")
        newer = answers(store)
    shutil.rmtree(place / "catalog")
    shutil.move(place.with_name("older"), place / "catalog")
    with aegis_store.open(place) as store:
        assert answers(store) == newer != kept


def test_a_catalogue_that_cannot_be_written_fails_nothing(place, kept):
    shutil.rmtree(place / "catalog")
    (place / "catalog").write_text("in the way")
    with aegis_store.open(place) as store:
        assert answers(store) == kept
        assert store.stats().catalogue_problem
        store.session("s").checkpoint("goes on")
        assert store.session("s").latest().state == "goes on"


def test_a_catalogue_that_fails_meanwhile_fails_nothing(place, kept, monkeypatch):
    def fail(*_):
        raise OSError("no space")

    with aegis_store.open(place) as store:
        monkeypatch.setattr(store.catalog._tables, "write", fail)
        for number in range(3):
            store.session("s").checkpoint(number)
        list(store.sessions())  # which writes what pends
        assert "no space" in store.stats().catalogue_problem
        assert store.session("s").latest().state == 2
        assert len(states(store, "s")) == 15
        newer = answers(store)
    with aegis_store.open(place) as store:
        assert answers(store) == newer
        assert store.stats().catalogue_problem is None


# ---- numbers ----------------------------------------------------------------------------------------------------------------


def test_sessions_are_listed_in_the_order_in_which_they_began_over_several_pages(place):
    with aegis_store.open(place, config=SMALL, clock=Told(start=1_700_000_000_000)) as store:
        count = SESSIONS_PAGE + 5
        for number in range(count):
            store.session(f"{count - number}", agent=f"agent {number % 2}").checkpoint(number)
        store.session("1").checkpoint("again")
        found = list(store.sessions())
    assert [info.id for info in found] == [f"{count - number}" for number in range(count)]
    assert [info.agent for info in found] == [f"agent {number % 2}" for number in range(count)]
    assert [info.checkpoints for info in found] == [1] * (count - 1) + [2]
    assert all(info.is_open for info in found)
    assert all(info.created_at < info.changed_at < datetime(2023, 11, 15, tzinfo=UTC) for info in found)
    assert found[-1].changed_at > found[-2].changed_at


# ---- the end ----------------------------------------------------------------------------------------------------------------


def test_a_store_closes_once_and_refuses_what_comes_after(place):
    store = aegis_store.open(place)
    ref = store.session("s").checkpoint(1)
    store.close()
    store.close()
    after = snapshot(place)
    uses = [
        lambda: store.session("s"), store.sessions, store.head, store.verify, store.stats, lambda: store.inclusion(ref),
        lambda: store.consistency(Head(tier=Tier.SESSION, size=1, root=bytes(32))),
    ]  # fmt: skip
    for use in uses:
        with pytest.raises(Closed):
            use()
    store.close()
    assert snapshot(place) == after


def test_closing_while_threads_write_keeps_what_they_were_told(place):
    for turn in range(5):
        store = aegis_store.open(place, config=SMALL)
        told: dict[int, list[int]] = {}
        begun = threading.Barrier(5)

        def work(number: int, store=store, told=told, turn=turn, begun=begun) -> None:
            mine = told.setdefault(number, [])
            session = store.session(f"{turn} {number}")
            session.checkpoint(0)
            mine.append(0)
            begun.wait()
            try:
                while True:
                    session.checkpoint(len(mine))
                    mine.append(len(mine))
            except Closed:
                pass

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        begun.wait()
        store.close()
        for thread in threads:
            thread.join()
        with aegis_store.open(place) as store:
            for number, mine in told.items():
                assert states(store, f"{turn} {number}")[: len(mine)] == mine
            assert store.verify(deep=True).ok


def test_a_checkpoint_that_became_durable_as_the_store_was_closed_is_acknowledged(place):
    store = aegis_store.open(place)
    commit = store.records.commit

    def close_after(index):
        commit(index)
        store.close()

    session = store.session("s")
    session.checkpoint(0)
    store.records.commit = close_after
    assert session.checkpoint(1).ordinal == 1
    with aegis_store.open(place) as store:
        assert states(store, "s") == [0, 1]


def test_an_error_within_closes_the_store(place):
    with pytest.raises(KeyError), aegis_store.open(place) as store:
        store.session("s").checkpoint(1)
        raise KeyError
    with aegis_store.open(place) as store:
        assert states(store, "s") == [1]
        assert store.report.tiers[Tier.SESSION].verdict == Verdict.CLEAN


def test_a_store_that_cannot_be_closed_in_order_lets_go_of_everything(place, monkeypatch):
    make(place, 1)
    store = aegis_store.open(place)

    def fail():
        raise Corrupt("on purpose")

    monkeypatch.setattr(store, "_sign_segments", fail)
    with pytest.raises(Corrupt, match="on purpose"):
        store.close()
    with aegis_store.open(place) as again:
        assert states(again, "s") == [1]
    store.close()


def test_sealed_segments_that_cannot_be_signed_do_not_fail_a_checkpoint(place, monkeypatch):
    monkeypatch.setattr("aegis_store.store.HOUSEKEEPING_RECORDS", 3)
    with aegis_store.open(place) as store:

        def fail():
            raise ReadOnly("on purpose")

        monkeypatch.setattr(store, "_sign_segments", fail)
        for number in range(7):
            store.session("s").checkpoint(number)
        monkeypatch.undo()
        assert states(store, "s") == list(range(7))


def test_a_store_made_by_other_means_is_refused(place, keys):
    directory = KeyDirectory.create(keys, store_id=b"i" * 16, name="x", randomness=Dice())
    with Engine.open(place, secret=directory.secret, store_id=directory.store_id) as engine:
        engine.append(Tier.SESSION, Kind.KEY_ADD, b"entry")
    with pytest.raises(Corrupt, match="does not say which keys"):
        aegis_store.open(place)


def test_a_damaged_manifest_is_made_again(place, kept):
    data = (place / "MANIFEST").read_bytes()
    flip(place / "MANIFEST", 100)
    with aegis_store.open(place) as store:
        assert answers(store) == kept
        assert Verdict.MANIFEST_COPY in store.report.tiers[Tier.SESSION].verdict
    (place / "MANIFEST").unlink()
    with aegis_store.open(place) as store:
        assert answers(store) == kept
        assert Verdict.MANIFEST_REBUILT in store.report.tiers[Tier.SESSION].verdict
    assert len((place / "MANIFEST").read_bytes()) == len(data)
    assert len(segments(place)) > 1


def test_sessions_that_nobody_holds_are_remembered_for_a_while(place, monkeypatch):
    monkeypatch.setattr("aegis_store.store.RECENT_SESSIONS", 3)
    with aegis_store.open(place) as store:
        for name in "abcd":
            store.session(name).checkpoint(name)
        assert store.session("d").latest().state == "d"  # and the key's record is read, once
        gc.collect()
        read = []
        look = store.records.read
        store.records.read = lambda index, **options: read.append(index) or look(index, **options)
        for name, reads in (("b", 1), ("d", 1), ("c", 1), ("a", 2), ("b", 2)):  # its begin as well, where it was forgotten
            read.clear()
            assert store.session(name).latest().state == name
            gc.collect()
            assert len(read) == reads, name


def test_a_store_that_is_forgotten_is_closed_with_a_warning_and_its_sessions(place):
    store = aegis_store.open(place)
    store.session("s").checkpoint(1)
    with pytest.warns(ResourceWarning, match="was not closed"):
        del store
        gc.collect()
    aegis_store.open(place).close()
