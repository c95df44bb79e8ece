"""What stays in a store and what goes, end to end: every root, proof and signature stays what it was, every checkpoint that
stays can be read, and none that went."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aegis_store
from aegis_store._engine import GAP
from aegis_store.errors import InvalidArgument, ReadOnly
from aegis_store.rules import Rule
from tests.keeping import LAST_3, facts, kept_of, payloads
from tests.stores import SMALL, states
from tests.test_delta_chains import DELTA, flags_of, growing, save


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


@pytest.mark.parametrize("mode", ["a", "r"])
def test_what_is_not_kept_is_gone_and_the_rest_is_what_it_was(place, mode):
    saved = growing(200)
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", saved)
        save(store, "t", saved[:5])
        done = store.retain(LAST_3)
        assert done.decisions.gone == 197 + 2
        before, bytes_before = facts(store), payloads(store)
        assert kept_of(store, "s") == {197: saved[197], 198: saved[198], 199: saved[199]}
        compacted = store.compact()
        assert compacted.payloads_gone == 199 and compacted.reencoded >= 1
        assert compacted.bytes_after < compacted.bytes_before
        assert facts(store) == before
        assert payloads(store) < bytes_before / 3
        assert store.verify(deep=True).findings == ()
    with aegis_store.open(place, mode=mode, config=SMALL) as store:
        assert kept_of(store, "s") == {197: saved[197], 198: saved[198], 199: saved[199]}
        assert kept_of(store, "t") == {2: saved[2], 3: saved[3], 4: saved[4]}
        assert states(store, "s") == saved[197:]
        assert store.session("s").latest().state == saved[199]
        assert store.verify(deep=True).findings == ()


def test_a_session_goes_on_after_it_was_compacted(place):
    saved = growing(80)
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", saved[:60])
        for count in range(60, 80, 5):
            save(store, "s", saved[count : count + 5])
            store.retain(LAST_3)
            store.compact()
            assert states(store, "s") == saved[count + 2 : count + 5]
        assert flags_of(store, "s")[-1] == DELTA
    with aegis_store.open(place, config=SMALL) as store:
        assert states(store, "s") == saved[77:]
        assert store.verify(deep=True).ok


def test_a_reader_is_told_to_open_for_writing(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(10))
    with aegis_store.open(place, mode="r", config=SMALL) as store:
        assert store.retain(LAST_3, dry_run=True).decisions.gone == 7
        for call in (
            lambda: store.retain(LAST_3),
            lambda: store.session("s").hold(reason="r", holder="h"),
            lambda: store.session("s").erase(reason="r"),
        ):
            with pytest.raises(ReadOnly):
                call()


def test_what_cannot_be_meant_is_refused(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(2))
        for call in (
            lambda: store.compact(bytes_a_second=0) if store.retain([Rule(keep_last=1)]) else None,
            lambda: store.session("s").hold(reason="", holder="h"),
            lambda: store.session("s").hold(reason="r", holder="  "),
            lambda: store.erase(session="s", ordinal=1, reason="r", forks=True),
        ):
            with pytest.raises(InvalidArgument):
                call()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["save", "fork", "retain", "compact", "reopen"]), st.integers(0, 9)), min_size=4, max_size=14
    )
)
def test_whatever_is_done_what_the_rules_keep_is_there(tmp_path_factory, steps):
    place = tmp_path_factory.mktemp("model") / "state"
    store = aegis_store.open(place, config=SMALL)
    held: dict[str, dict[int, object]] = {"s0": {}}
    try:
        for what, number in steps:
            name = sorted(held)[number % len(held)]
            if what == "save":
                for state in growing(8 + number, seed=name):
                    held[name][store.session(name).checkpoint({**state, "in": name, "at": number}).ordinal] = {
                        **state,
                        "in": name,
                        "at": number,
                    }
            elif what == "fork" and held[name]:
                new = f"s{len(held)}"
                store.session(name).fork(new)
                held[new] = {}
            elif what == "retain":
                store.retain([Rule(keep_last=1 + number)])
                for own in held.values():
                    starts = {ref for ref in own}
                    for ordinal in sorted(starts)[: -(1 + number)]:
                        own[ordinal] = None
            elif what == "compact":
                before = facts(store)
                store.compact()
                after = facts(store)
                assert after[1][: len(before[1])] == before[1] and after[0][: len(before[0])] == before[0]
            elif what == "reopen":
                store.close()
                store = aegis_store.open(place, config=SMALL)
            for each, own in held.items():
                for ordinal, state in own.items():
                    if state is not None:
                        assert store.session(each).get(ordinal).state == state
        assert store.verify(deep=True).findings == ()
        assert all(
            record.flags & GAP == 0 or len(record.payload) == 8 for record in store.records.scan(0, store.records.size())
        )
    finally:
        store.close()
