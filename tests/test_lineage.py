"""Reading a session: by ordinal, by time, page by page; across forks; and never past damage without a word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import aegis_store
from aegis_store import lineage
from aegis_store.checkpoint import moment
from aegis_store.errors import Corrupt, InvalidArgument, NotFound
from aegis_store.lineage import HISTORY_PAGE
from aegis_store.rules import Rule
from tests.stores import SMALL, Told, fill, flip, frame_of

START = 1_700_000_000_000


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def store(place):
    with aegis_store.open(place, agent="planner", config=SMALL) as opened:
        yield opened


def test_a_checkpoint_is_found_by_its_ordinal(store):
    session = store.session("s")
    refs = [session.checkpoint(number) for number in range(3)]
    assert [(session.get(number).state, session.get(number).ref) for number in range(3)] == list(enumerate(refs))


@pytest.mark.parametrize(
    ("count", "ordinal", "has"), [(0, 0, "it has none"), (1, 1, "it has 0"), (3, -1, "0 to 2"), (3, 3, "0 to 2")]
)
def test_an_ordinal_that_there_is_not_is_not_found(store, count, ordinal, has):
    session = store.session("s")
    for number in range(count):
        session.checkpoint(number)
    with pytest.raises(NotFound, match=has) as caught:
        session.get(ordinal)
    assert caught.value.exit_code == 1


def test_the_checkpoint_of_a_time_is_the_newest_that_is_not_later(place):
    with aegis_store.open(place, clock=Told(*[START] * 3, *(START + 1000 * step for step in (1, 2, 2, 2, 5)))) as store:
        trunk = store.session("s")
        refs = [trunk.checkpoint(number) for number in range(5)]
        assert [(ref.time_ms - START) // 1000 for ref in refs] == [1, 2, 2, 2, 5]

        def found(session, seconds: float) -> object:
            checkpoint = session.at(moment(START) + timedelta(seconds=seconds))
            return None if checkpoint is None else checkpoint.state

        assert [found(trunk, each) for each in (0.999, 1, 1.5, 2, 4.999, 5, 10**6)] == [None, 0, 0, 3, 3, 4, 4]
        fork = trunk.fork("fork", at=refs[1])
        assert [found(fork, each) for each in (0, 1, 2, 3)] == [None, 0, 1, 1]
        assert store.session("none").at(datetime.now(UTC)) is None


def test_a_time_without_a_zone_is_refused(store):
    store.session("s").checkpoint(1)
    with pytest.raises(InvalidArgument, match="no time zone"):
        store.session("s").at(datetime(2026, 1, 1))


def test_history_is_as_long_as_was_asked(store):
    session = store.session("s")
    for number in range(2 * HISTORY_PAGE + 5):
        session.checkpoint(number)
    newest = 2 * HISTORY_PAGE + 4
    for limit in (0, 1, HISTORY_PAGE, HISTORY_PAGE + 1, None):
        expected = list(range(newest, -1, -1))[:limit]
        assert [each.state for each in session.history(limit=limit)] == expected
    assert [each.state for each in session.history(limit=2, before=10)] == [9, 8]
    with pytest.raises(InvalidArgument, match="limit"):
        session.history(limit=-1)


def test_history_leads_from_a_fork_into_what_it_goes_on_from_over_pages(store):
    trunk = store.session("trunk")
    refs = [trunk.checkpoint(number) for number in range(HISTORY_PAGE + 10)]
    fork = trunk.fork("fork", at=refs[HISTORY_PAGE + 2])
    for number in range(HISTORY_PAGE + 3, 3 * HISTORY_PAGE):
        fork.checkpoint(number)
    assert [each.state for each in fork.history()] == list(range(3 * HISTORY_PAGE - 1, -1, -1))
    assert {each.ref.session for each in fork.history(before=HISTORY_PAGE + 3)} == {"trunk"}


@pytest.mark.parametrize("way", ["catalogue kept", "catalogue lost"])
def test_damage_raises_where_it_lies_by_ordinal_and_by_time_and_in_a_fork(place, way):
    with aegis_store.open(place, agent="planner", config=SMALL, clock=Told()) as store:
        fill(store, "s", each=40)
        bad = store.session("s").get(5).ref
        store.session("s").fork("fork", at=store.session("s").get(20).ref)
        times = [store.session("s").get(number).created_at for number in (3, 5, 6)]
    path, span = frame_of(place, bad.index)
    flip(path, span.payload + 5)
    if way == "catalogue lost":
        (place / "catalog" / "sidecar").unlink()
    with aegis_store.open(place) as store:
        for session in (store.session("s"), store.session("fork")):
            assert [session.get(number).state["number"] for number in (4, 6)] == [4, 6]
            with pytest.raises(Corrupt) as caught:
                session.get(5)
            assert caught.value.index == bad.index
            assert session.at(times[0]).state["number"] == 3
            assert session.at(times[2]).state["number"] == 6
            with pytest.raises(Corrupt):
                session.at(times[1])
        assert store.session("fork").latest().state["number"] == 20


# ---- what is gone -----------------------------------------------------------------------------------------------------------


def test_gaps_are_runs_with_what_took_them_away(place, monkeypatch):
    monkeypatch.setattr(lineage, "GAPS_PAGE", 4)  # runs go on across pages
    with aegis_store.open(place, agent="planner", config=SMALL, clock=Told()) as store:
        fill(store, "s", each=20)
        fork = store.session("s").fork("f", at=store.session("s").get(12).ref)
        fork.checkpoint("own")
        assert store.session("s").gaps() == store.session("none").gaps() == []
        (pruned,) = store.retain([Rule(keep_last=8)]).records
        (erased,) = store.erase(session="s", ordinal=15, reason="request 17", by="dpo").records
        for _ in range(2):
            found = store.session("s").gaps()
            assert [(each.first, each.last, each.count, each.is_erased, each.record) for each in found] == [
                (0, 11, 12, False, pruned),
                (15, 15, 1, True, erased),
            ]
            assert [(each.reason, each.by) for each in found] == [("keep_last 8", None), ("request 17", "dpo")]
            assert found[0].since < found[1].since
            assert [(each.first, each.last) for each in fork.gaps()] == [(0, 11)]
            there = {each.ref.ordinal for each in store.session("s").history()}
            assert there == set(range(20)) - {number for each in found for number in range(each.first, each.last + 1)}
            store.compact()
