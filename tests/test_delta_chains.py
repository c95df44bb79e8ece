"""Sessions whose checkpoints are stored as deltas: every one comes back, from wherever it is read, and damage hits what is made
from the damaged record and nothing else."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest

import aegis_store
from aegis_store import Config, Tier
from aegis_store.aio import open as open_async
from aegis_store.codec.payload import base_of, commit, seal_delta
from aegis_store.errors import AegisError, Corrupt, Foreign
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.states import LINKS_MAX, RUN, State
from aegis_store.types import Kind
from tests.stores import SMALL, flip, forging, frame_of, noise

IN_CHUNKS, DELTA, NAMED = 2, 4, 8


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def growing(count: int, *, seed: str = "s", first: int = 0) -> list[dict[str, object]]:
    """States as agents have them: a little more each time, and a number at the front. Before `first` all seeds are alike."""
    messages = [
        {"role": "user", "content": noise(200, ("s" if number < first else seed, number)).hex()}
        for number in range(first + count)
    ]
    return [{"step": number, "messages": messages[: number + 1]} for number in range(first, first + count)]


def flags_of(store, name: str) -> list[int]:
    """How each checkpoint of a session is stored, oldest first."""
    indices = [each.ref.index for each in store.session(name).history()][::-1]
    return [store._engine.read(Tier.SESSION, index).payload[1] for index in indices]


def save(store, name: str, states: list[dict[str, object]]) -> list[aegis_store.Ref]:
    session = store.session(name)
    return [session.checkpoint(state) for state in states]


@pytest.mark.parametrize("cache", [0, 1 << 20], ids=["nothing kept", "kept"])
@pytest.mark.parametrize("mode", ["a", "r"])
def test_every_checkpoint_comes_back(place, mode, cache):
    states = growing(200)
    config = Config(segment_bytes=64 << 10, state_cache_bytes=cache)
    with aegis_store.open(place, config=config) as store:
        save(store, "s", states)
        flags = flags_of(store, "s")
        assert Counter(flags) == {0: 200 - flags.count(DELTA), DELTA: flags.count(DELTA)}
        whole = [number for number, flag in enumerate(flags) if not flag]
        assert [b - a for a, b in pairwise(whole)] == [LINKS_MAX + 1] * (len(whole) - 1)
        assert [each.state for each in store.session("s").history()] == states[::-1]
    with aegis_store.open(place, mode=mode, config=config) as store:
        session = store.session("s")
        assert session.latest().state == states[-1]
        assert [session.get(number).state for number in range(200)] == states
        assert [each.state for each in session.history(limit=70)] == states[:-71:-1]
        assert store.verify(deep=True).ok


def large(count: int) -> list[bytes]:
    """States of 140 kB and more, each a little longer than the one before."""
    text = noise(140_000 + 300 * count)
    return [text[: 140_000 + 300 * number] for number in range(count)]


@pytest.mark.parametrize("cache", [0, 64 << 20], ids=["nothing kept", "kept"])
def test_a_large_session_is_stored_in_runs(place, cache):
    count = 3 * RUN + 5
    states = large(count)
    config = Config(state_cache_bytes=cache)
    with aegis_store.open(place, config=config) as store:
        refs = save(store, "s", states[: 2 * RUN])
    with aegis_store.open(place, config=config) as store:
        refs += save(store, "s", states[2 * RUN :])
        bases = [base_of(store._engine.read(Tier.SESSION, ref.index).payload) for ref in refs]
        assert [at for at, base in enumerate(bases) if base is not None] == [RUN, 2 * RUN, 3 * RUN]
        assert [bases[at] for at in (RUN, 2 * RUN, 3 * RUN)] == [refs[at].index for at in (0, RUN, 2 * RUN)]
        assert flags_of(store, "s").count(0) == 1
        stored = sum(len(record.payload) for record in store.records.scan(0, store.records.size()))
        assert stored < 140_000 + 2 * 300 * count + 100 * count
        assert [store.session("s").get(number).state for number in range(count)] == states
        assert store.verify(deep=True).ok


@pytest.mark.parametrize("gone", [range(RUN, RUN + 1), range(2 * RUN + 1), range(0, 3 * RUN, 2), range(1, 3 * RUN, 2)])
def test_a_large_session_is_whole_after_a_part_of_it_went(place, gone):
    count = 3 * RUN + 5
    states = large(count)
    with aegis_store.open(place) as store:
        save(store, "s", states)
        store.session("s").fork("fork", at=store.session("s").get(2 * RUN).ref).checkpoint(b"on its own")
        going = set(gone) - {2 * RUN}
        assert store.keeping.sweeper.prune({"s": going}, reason="a test").spared == 0
        store.compact()
        session = store.session("s")
        left = [number for number in range(count) if number not in going]
        assert [each.ref.ordinal for each in session.history()] == left[::-1]
        assert [session.get(number).state for number in left] == [states[number] for number in left]
        assert store.session("fork").latest().state == b"on its own"
        assert store.verify(deep=True).ok
        more = large(count + RUN)[count:]
        save(store, "s", more)
        assert session.latest().state == more[-1]
        assert store.verify(deep=True).ok


def test_damage_to_the_first_of_a_run_hits_the_runs_that_hang_on_it(place):
    states = large(3 * RUN)
    with aegis_store.open(place) as store:
        refs = save(store, "s", states)
    path, span = frame_of(place, refs[RUN].index)
    flip(path, span.payload + 30)
    with aegis_store.open(place) as store:
        session = store.session("s")
        for number in (0, RUN - 1):
            assert session.get(number).state == states[number]
        for number in (RUN, RUN + 1, 2 * RUN, 3 * RUN - 1):
            with pytest.raises(Corrupt):
                session.get(number)


def test_a_session_costs_what_changed(place):
    states = growing(150)
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", states)
        stored = sum(len(record.payload) for record in store.records.scan(0, store.records.size()))
    logical = sum(len(checkpoint_schema.encode(checkpoint_schema.Checkpoint(state=state))) for state in states)
    assert stored < logical / 20


def test_a_session_goes_on_with_a_delta_after_it_was_opened_again(place):
    states = growing(30)
    for at in range(0, 30, 10):
        with aegis_store.open(place) as store:
            save(store, "s", states[at : at + 10])
    with aegis_store.open(place) as store:
        assert flags_of(store, "s") == [0] + 29 * [DELTA]
        assert [each.state for each in store.session("s").history()] == states[::-1]


def test_forks_share_what_they_go_on_from(place):
    states, left, right = growing(20), growing(5, seed="left", first=20), growing(5, seed="right", first=12)
    with aegis_store.open(place) as store:
        refs = save(store, "s", states)
        first = store.session("s").fork("left")
        other = store.session("s").fork("right", at=refs[11])
        for a, b in zip(left, right, strict=True):
            first.checkpoint(a), other.checkpoint(b)
        save(store, "s", growing(2, first=20))
    with aegis_store.open(place, mode="r") as store:
        assert [each.state for each in store.session("left").history()] == (states + left)[::-1]
        assert [each.state for each in store.session("right").history()] == (states[:12] + right)[::-1]
        records = [store._engine.read(Tier.SESSION, each.ref.index) for each in store.session("right").history()][::-1]
        assert [record.payload[1] for record in records[12:]] == [DELTA | NAMED, DELTA, DELTA, DELTA, DELTA]
        assert int.from_bytes(records[12].payload[18:24], "little") == refs[11].index
        assert flags_of(store, "left")[20:] == [DELTA | NAMED, DELTA, DELTA, DELTA, DELTA]
        assert store.verify(deep=True).ok


def test_history_reads_each_record_a_few_times_however_long_the_chains(place, monkeypatch):
    with aegis_store.open(place) as store:
        save(store, "s", growing(300))
    with aegis_store.open(place) as store:
        read, reads = store._engine.read, []
        monkeypatch.setattr(store._engine, "read", lambda tier, index: (reads.append(index), read(tier, index))[1])
        assert len(list(store.session("s").history())) == 300
        assert len(reads) < 2.2 * 300


def test_a_chain_that_is_damaged_is_not_built_upon(place):
    states = growing(40)
    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", states)
    path, span = frame_of(place, refs[10].index)
    flip(path, span.payload + 60)
    with aegis_store.open(place, config=SMALL) as store:
        session = store.session("s")
        for number in (10, 11, 39):
            with pytest.raises(Corrupt) as caught:
                session.get(number)
            assert caught.value.index == refs[number].index
            assert f"record {refs[10].index}" in caught.value.message
        assert session.get(9).state == states[9]
        with pytest.raises(Corrupt):
            session.latest()
        whole = session.checkpoint({"after": states[39]})
        assert store._engine.read(Tier.SESSION, whole.index).payload[1] == 0
        assert session.latest().state == {"after": states[39]}
        assert [each.index for each in store.verify(deep=True).findings] == [ref.index for ref in refs[10:]]
        assert [each.index for each in store.verify().findings] == [refs[10].index]


def test_a_state_that_was_met_on_the_way_is_checked_before_anything_is_made_from_it(place):
    """Where a chain was forged, the states within it come out as anything."""
    states = growing(4)
    with aegis_store.open(place) as store:
        refs = save(store, "s", states)
        wrong = State(b"x" * 500, is_checked=False)
        store.records.states.put(refs[2].index, wrong)
        fork = store.session("s").fork("f", at=refs[2])
        fork.checkpoint(states[3])
        assert fork.latest().state == states[3]
        store.records.states._kept.clear()
        assert fork.latest().state == states[3]


def test_large_deltas_go_into_chunks(place, monkeypatch):
    monkeypatch.setattr("aegis_store.chain.PAYLOAD_MAX", 5000)
    base = noise(20_000)
    states = [{"base": base}, {"base": base, "more": noise(9000, 1)}, {"base": base, "more": noise(9000, 2)}]
    with aegis_store.open(place) as store:
        save(store, "s", states)
        assert flags_of(store, "s") == [IN_CHUNKS, DELTA | IN_CHUNKS, DELTA | IN_CHUNKS]
        fork = store.session("s").fork("f")
        fork.checkpoint(states[1])
        assert flags_of(store, "f")[-1] == DELTA | IN_CHUNKS | NAMED
    with aegis_store.open(place) as store:
        assert [each.state for each in store.session("s").history()] == states[::-1]
        assert store.session("f").latest().state == states[1]
        assert store.verify(deep=True).ok


def test_tasks_that_run_ahead_of_the_disk_make_chains_too(place):
    states = growing(60)

    async def run(cache: int, name: str) -> None:
        async with open_async(place, config=Config(state_cache_bytes=cache)) as store:
            session = store.session(name)
            await asyncio.gather(*(session.checkpoint(state) for state in states))

    asyncio.run(run(0, "nothing kept"))
    asyncio.run(run(1 << 20, "kept"))
    with aegis_store.open(place) as store:
        assert flags_of(store, "kept") == [0] + 59 * [DELTA]
        assert flags_of(store, "nothing kept").count(0) > 50  # what is not durable yet cannot be read back
        for name in ("kept", "nothing kept"):
            assert [each.state for each in store.session(name).history()] == states[::-1]


# ---- forged ---------------------------------------------------------------------------------------------------------------


def test_a_delta_to_what_is_none_of_its_bases_is_refused(place):
    states = growing(70)
    envelope = checkpoint_schema.encode(checkpoint_schema.Checkpoint(state=states[0]))
    with aegis_store.open(place, agent="planner") as store:
        refs = save(store, "s", states)
    with forging(place) as forger:
        agent = forger.keys.find_agent("planner")
        to = checkpoint_schema.encode(checkpoint_schema.Checkpoint(state=states[5]))
        delta = aegis_store._engine.make_delta(to, envelope, len(envelope))
        found: dict[str, int] = {}
        for what, base in {
            "itself": refs[-1].index + 1,
            "later": 10_000,
            "key": 0,
            "begin": 1,
            "another state": refs[5].index,
        }.items():
            sealed = seal_delta(delta, envelope, noise(16, what), base=base)
            entry = forger.entry(
                Kind.CHECKPOINT, sealed.commitment, sealed.length, agent, session_tag=b"t" * 16, parent=1, parent_leaf=b"l" * 32
            )
            found[what] = forger.append(Kind.CHECKPOINT, entry, sealed.payload)
        sealed = seal_delta(delta, envelope, noise(16), base=refs[0].index)
        entry = forger.entry(Kind.SESSION_BEGIN, commit(envelope, noise(16)), len(envelope), agent, session_tag=b"u" * 16)
        found["no checkpoint"] = forger.append(Kind.SESSION_BEGIN, entry, sealed.payload)
    with aegis_store.open(place, mode="r") as store:
        read = store.records.read
        for what, says in {
            "itself": "which cannot be",
            "later": "which cannot be",
            "no checkpoint": "a delta where it cannot be",
        }.items():
            with pytest.raises(Corrupt, match=says):
                read(found[what])
        for what in ("key", "begin"):
            with pytest.raises(Foreign, match="is made from record"):
                read(found[what])
        # Whose checkpoint it is does not matter: what it makes is what was signed.
        assert read(found["another state"]).envelope == envelope


def test_a_chain_without_end_is_refused(place):
    states = growing(3)
    envelope = checkpoint_schema.encode(checkpoint_schema.Checkpoint(state=states[0]))
    same = aegis_store._engine.make_delta(envelope, envelope, 100)
    with aegis_store.open(place, agent="planner") as store:
        base = save(store, "s", states)[0].index
    with forging(place) as forger:
        agent, indices = forger.keys.find_agent("planner"), []
        for number in range(LINKS_MAX + 2):
            sealed = seal_delta(same, envelope, noise(16, number), base=base)
            fields = {"session_tag": b"t" * 16, "parent": 1, "parent_leaf": b"l" * 32}
            entry = forger.entry(Kind.CHECKPOINT, sealed.commitment, sealed.length, agent, **fields)
            base = forger.append(Kind.CHECKPOINT, entry, sealed.payload)
            indices.append(base)
    with aegis_store.open(place, mode="r", config=Config(state_cache_bytes=0)) as store:
        assert store.records.read(indices[LINKS_MAX - 1]).envelope == envelope
        with pytest.raises(AegisError, match="which cannot be"):
            store.records.read(indices[LINKS_MAX])
