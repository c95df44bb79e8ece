"""Decisions of a policy made true: what goes is written down, and reads as gone from then on."""

from __future__ import annotations

import pytest

import aegis_store
from aegis_store import Config
from aegis_store.errors import Corrupt, Gone, Pruned
from aegis_store.rules import Rule
from aegis_store.schema import gaps as schema
from aegis_store.types import Kind
from tests.keeping import LAST_3, kept_of
from tests.stores import SMALL, Told, states
from tests.test_delta_chains import growing, save


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def test_a_dry_run_says_what_would_go_and_changes_nothing(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(10))
        size = store.records.size()
        found = store.retain(LAST_3, dry_run=True)
        assert (found.decisions.gone, found.decisions.kept, found.records) == (7, 3, ())
        assert found.decisions.freed_bytes == sum(point.bytes for point in found.views[0].points[:7]) > 0
        assert list(found.decisions.reasons(found.views[0]).values()) == ["newest" if n == 9 else "last 3" for n in (7, 8, 9)]
        assert store.records.size() == size
        assert len(states(store, "s")) == 10


def test_without_a_rule_everything_stays_and_nothing_is_written(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(10))
        size = store.records.size()
        assert store.retain().records == ()
        assert store.compact().segments == 0
        assert store.records.size() == size


def test_the_options_of_a_store_have_its_rules(place):
    config = Config(segment_bytes=64 << 10, retention=LAST_3, roles={"a": "planner"})
    with aegis_store.open(place, config=config, agent="a") as store:
        save(store, "s", growing(10))
        assert store.retain().decisions.gone == 7
        assert store.retain().decisions.gone == 0


def test_a_prune_record_says_why_and_nothing_of_what_it_was(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "secret-name", growing(10))
        (index,) = store.retain([Rule(keep_last=3, daily=1)]).records
        record = store.records.read(index)
        prune = schema.decode_prune(record.envelope)
        assert prune.reason == "keep_last 3, daily 1"
        assert len(prune.runs) == 7
        assert b"secret-name" not in record.envelope
        assert record.entry.kind is Kind.PRUNE and record.agent == ""


def test_who_is_asked_for_what_went_says_what_went_and_where_to_look(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(10))
        store.retain(LAST_3)
        for _ in range(2):
            with pytest.raises(
                Pruned, match=r"checkpoint 4 of session 's' is gone: record \d+ was pruned \(keep_last 3\)"
            ) as caught:
                store.session("s").get(4)
            assert caught.value.hint == f"see what is there: aegis log {place} s"
            assert isinstance(caught.value, Gone) and not isinstance(caught.value, Corrupt)
            store.compact()


def test_at_a_time_whose_checkpoint_went_there_is_the_one_before_that_stays(place):
    with aegis_store.open(place, config=SMALL, clock=Told()) as store:
        refs = save(store, "s", growing(10))
        moments = [checkpoint.created_at for checkpoint in store.session("s").history()][::-1]
        store.retain([Rule(keep_last=2, keep_positions=["x"])])
        assert store.session("s").at(moments[7]) is None
        assert store.session("s").at(moments[8]).ref.ordinal == 8
        assert refs[9].ordinal == store.session("s").latest().ref.ordinal


def test_named_positions_stay(place):
    with aegis_store.open(place, config=SMALL) as store:
        session = store.session("s")
        for number in range(12):
            session.checkpoint({"n": number}, position=f"{'approved' if number % 5 == 0 else 'step'}/{number}")
        session.checkpoint({"n": 12}, position=["approved", 12])
        store.retain([Rule(keep_positions=["approved/*"])])
        store.compact()
        assert sorted(kept_of(store, "s")) == [0, 5, 10, 12]


def test_what_a_fork_goes_on_from_stays_until_the_fork_has_its_own(place):
    saved = growing(10)
    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", saved)
        fork = store.session("s").fork("f", at=refs[4])
        store.retain([Rule(keep_last=1)])
        store.compact()
        assert fork.latest().state == saved[4]
        fork.checkpoint({**saved[4], "forked": True})
        store.retain([Rule(keep_last=1)])
        store.compact()
        assert sorted(kept_of(store, "s")) == [9]
        assert states(store, "f") == [{**saved[4], "forked": True}]
        fork.checkpoint("and on")
        assert store.verify(deep=True).ok
