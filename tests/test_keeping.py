"""What stays in a store and what goes: retention and compaction end to end. Every root, proof and signature stays what it was,
every checkpoint that stays can be read, and none that went."""

from __future__ import annotations

import shutil
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import aegis_store
from aegis_store import Config, Tier
from aegis_store._engine import GAP
from aegis_store.codec.runs import Runs
from aegis_store.compaction import compactor
from aegis_store.errors import Closed, Conflict, Corrupt, Gone, InvalidArgument, Pruned, ReadOnly
from aegis_store.rules import Rule
from aegis_store.schema import gaps as schema
from aegis_store.types import Kind
from tests.stores import SMALL, Told, abandon, forging, noise, states
from tests.test_delta_chains import flags_of, growing, save

LAST_3 = [Rule(keep_last=3)]
DELTA = 4


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def facts(store):
    """What must not change: of every record kind, entry and leaf, the root at every size, and an inclusion proof each."""
    engine, size = store.records.engine, store.records.size()
    records = [(record.kind, record.entry, record.leaf) for record in engine.scan(Tier.SESSION, 0, size)]
    roots = [engine.head(Tier.SESSION, at).root for at in range(size + 1)]
    return records, roots, [engine.inclusion(Tier.SESSION, at, size) for at in range(size)]


def kept_of(store, name):
    """What of a session can be read, by ordinal; the others say that they were pruned."""
    session, found = store.session(name), {}
    for ordinal in range(session.info().checkpoints):
        try:
            found[ordinal] = session.get(ordinal).state
        except Pruned:
            continue
    return found


def payloads(store):
    return sum(len(record.payload) for record in store.records.scan(0, store.records.size()))


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


def test_chunks_go_with_the_checkpoint_that_they_are_of(place):
    config = Config(segment_bytes=64 << 10, state_limit_bytes=64 << 20)
    big = [noise(20 << 20, number) for number in range(2)]
    with aegis_store.open(place, config=config) as store:
        session = store.session("s")
        for state in big:
            session.checkpoint(state)
        session.checkpoint("small")
        store.retain([Rule(keep_last=1)])
        store.compact()
        assert payloads(store) < 1 << 20
        assert states(store, "s") == ["small"]
        assert store.verify(deep=True).ok


def test_what_no_record_holds_in_its_new_form_goes_into_chunks_of_the_store(place):
    """A small delta to a huge state: when that goes, it takes the huge one's place, after the fact."""
    config = Config(segment_bytes=64 << 10, state_limit_bytes=64 << 20)
    base = noise(18 << 20)
    with aegis_store.open(place, config=config) as store:
        session = store.session("s")
        session.checkpoint({"base": base, "n": 0})
        session.checkpoint({"base": base, "n": 1})
        session.checkpoint("small")
        before = facts(store)
        session.checkpoint("newest")
        store.retain([Rule(keep_last=3)])
        store.compact()
        assert [state if isinstance(state, str) else state["n"] for state in states(store, "s")] == [1, "small", "newest"]
        size = len(before[0])
        assert facts(store)[0][:size] == before[0]
        store.retain([Rule(keep_last=1)])
        store.compact()
        assert payloads(store) < 1 << 20
        assert store.verify(deep=True).ok
    with aegis_store.open(place, mode="r", config=config) as store:
        assert states(store, "s") == ["newest"]


# ---- holds ------------------------------------------------------------------------------------------------------------------


def test_a_hold_keeps_what_no_rule_would_until_it_is_released(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(10))
        save(store, "t", growing(10))
        whole = store.session("s").hold(reason="litigation 7", holder="legal")
        one = store.session("t").hold(reason="audit", holder="finance", ordinal=2)
        assert [(hold.number, hold.session, hold.ordinal, hold.holder) for hold in store.holds()] == [
            (whole.number, "s", None, "legal"),
            (one.number, "t", 2, "finance"),
        ]
        found = store.retain([Rule(keep_last=1)], dry_run=True)
        assert found.decisions.reasons(found.views[1]) == {2: "held: audit", 9: "newest"}
        store.retain([Rule(keep_last=1)])
        store.compact()
        assert sorted(kept_of(store, "s")) == list(range(10))
        assert sorted(kept_of(store, "t")) == [2, 9]
    with aegis_store.open(place, config=SMALL) as store:
        assert store.session("s").holds() == [whole]
        store.release(whole.number, reason="settled", by="legal")
        assert store.holds() == [one]
        store.retain([Rule(keep_last=1)])
        assert sorted(kept_of(store, "s")) == [9]
    with aegis_store.open(place, mode="r", config=SMALL) as store:
        assert store.holds() == [one]


def test_a_hold_on_a_fork_keeps_what_it_inherited(place):
    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", growing(10))
        fork = store.session("s").fork("f", at=refs[4])
        fork.checkpoint("own")
        fork.hold(reason="litigation", holder="legal")
        store.retain([Rule(keep_last=1)])
        assert sorted(kept_of(store, "s")) == [0, 1, 2, 3, 4, 9]


def test_a_hold_that_comes_while_it_is_decided_keeps_too(place, monkeypatch):
    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", growing(10))
        sweeper = store.keeping.sweeper
        decided = type(sweeper)._spared_since

        def late(self, found):
            store.session("s").hold(reason="late", holder="legal", ordinal=3)
            store.session("s").fork("f", at=refs[5])
            return decided(self, found)

        monkeypatch.setattr(type(sweeper), "_spared_since", late)
        store.retain([Rule(keep_last=1)])
        store.compact()
        assert sorted(kept_of(store, "s")) == [3, 5, 9]
        assert store.session("f").latest().ref.ordinal == 5


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


# ---- interrupted, beside others ----------------------------------------------------------------------------------------------


def test_a_compaction_that_was_stopped_goes_on_where_it_was(place, monkeypatch):
    saved = growing(200)
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", saved)
        store.retain(LAST_3)
        before, seen, stop = facts(store), [], threading.Event()

        def watch(stage):
            seen.append(stage)
            if stage.segment == 2:
                stop.set()

        with pytest.raises(Closed, match="goes on from here"):
            store.keeping.compactor.run(watch=watch, stop=stop)
        assert [pending.index for pending in store.records.gaps.pending()] != []
        assert kept_of(store, "s") == dict(enumerate(saved[197:], 197))
        abandon(store)
    with aegis_store.open(place, config=SMALL) as store:
        assert store.compact().segments > 0
        assert facts(store) == before
        assert store.records.gaps.pending() == ()
        assert kept_of(store, "s") == dict(enumerate(saved[197:], 197))
        assert store.verify(deep=True).findings == ()


def test_every_segment_done_leaves_a_store_that_is_whole(place, monkeypatch):
    """As a crash between any two segments leaves it: what stays can be read, what goes cannot, nothing is damage."""
    saved = growing(150)
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", saved)
        store.retain([Rule(keep_last=1, keep_positions=["none"])])
        save(store, "t", saved[:40])
        looks = []
        real = compactor.compact_segment

        def look(*args, **options):
            real(*args, **options)
            with aegis_store.open(place, mode="r", config=SMALL) as reader:
                looks.append(reader.verify(deep=True).findings)
                assert kept_of(reader, "s") == {149: saved[149]}
                assert kept_of(reader, "t") == dict(enumerate(saved[:40]))

        monkeypatch.setattr(compactor, "compact_segment", look)
        store.compact()
        assert len(looks) > 2
        assert set(looks) == {()}


def test_appends_and_readers_go_on_beside_it(place):
    saved = growing(150)
    with aegis_store.open(place, config=SMALL) as store, aegis_store.open(place, mode="r", config=SMALL) as reader:
        save(store, "s", saved)
        assert reader.session("s").latest().state == saved[-1]
        store.retain(LAST_3)
        over, written, failures = threading.Event(), [], []

        def write():
            session = store.session("w")
            while not over.is_set() or len(written) < 50:
                state = {"n": len(written), "pad": saved[len(written) % 150]}
                session.checkpoint(state)
                written.append(state)

        def read():
            while not over.is_set():
                if reader.session("s").latest().state != saved[-1]:
                    failures.append("latest")

        threads = [threading.Thread(target=write), threading.Thread(target=read)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(3):
                store.compact()
                store.retain([Rule(keep_last=2)])
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert failures == []
        store.compact()
        assert store.session("w").latest().state == written[-1]
        assert store.verify(deep=True).findings == ()
        assert kept_of(reader, "s") == {148: saved[148], 149: saved[149]}


def test_in_the_background_it_is_one_and_closing_stops_it(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(120))
        store.retain(LAST_3)
        running = store.start_compaction()
        assert running.wait().payloads_gone == 117
        assert running.is_done
        save(store, "s", growing(60))
        store.retain(LAST_3)
        slow = store.start_compaction(bytes_a_second=1)
        assert store.start_compaction() is slow
        while slow.stage is None:  # it has begun
            slow._thread.join(0.001)
        with pytest.raises(Conflict, match="being compacted already"):
            store.compact()
    with pytest.raises(Closed):
        slow.wait()
    with aegis_store.open(place, config=SMALL) as store:
        assert len(states(store, "s")) == 3
        store.compact()
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


# ---- gaps without a cause ----------------------------------------------------------------------------------------------------


def test_a_gap_that_no_record_covers_is_damage(place):
    """Who holds the store secret, but no log key, can take a payload away; nobody takes that for retention."""
    from aegis_store._engine import Gap, compact_segment

    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", growing(60))
        (cause,) = store.retain([Rule(keep_last=58)]).records
        begin = store.catalog.session("s").number
    with forging(place) as forger:
        engine = forger.engine
        engine.rotate(Tier.SESSION)
        engine.seal(Tier.SESSION)
        changes = [Gap(begin, cause), Gap(refs[30].index, cause)]
        compact_segment(engine, Tier.SESSION, 0, [each for each in changes if each.index < engine_end(engine)])
    with aegis_store.open(place, config=SMALL) as store:
        found = store.verify()
        assert {finding.index for finding in found.findings} >= {begin}
        assert "does not say why" in found.findings[0].problem
        with pytest.raises(Corrupt, match="no prune or erase record says why"):
            store.records.read(begin)
        with pytest.raises(Corrupt):
            store.session("s").latest()
    shutil.rmtree(place / "catalog")
    with aegis_store.open(place, config=SMALL) as store:
        # Whose name it was nobody knows now: whoever asks may be the one.
        for call in (lambda: store.session("s").latest(), lambda: store.session("anybody's").checkpoint(1)):
            with pytest.raises(Corrupt, match="no prune or erase record says why"):
                call()


def engine_end(engine):
    """The index behind the first segment's last record."""
    footer = next(iter(engine.segments(Tier.SESSION)))
    return footer.first + footer.count


def test_a_prune_record_that_an_agent_signs_takes_nothing_away(place):
    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", growing(10))
    with forging(place) as forger:
        envelope = schema.encode_prune(schema.Prune(reason="forged", runs=Runs.of([refs[3].index])))
        agent = forger.keys.find_agent("agent")
        forger.append(Kind.PRUNE, *forger.sealed(Kind.PRUNE, envelope, agent))
    with aegis_store.open(place, config=SMALL) as store:
        assert len(states(store, "s")) == 10
        assert store.records.gaps.pending() == ()
        assert any("log key did not sign it" in finding.problem for finding in store.verify(deep=True).findings)


# ---- anything ----------------------------------------------------------------------------------------------------------------


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
