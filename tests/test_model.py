"""Random work against a plain model: the engine against a list, stores and sessions against a dict.

Hypothesis makes up the steps and shrinks what fails to the shortest story.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, multiple, precondition, rule

import aegis_store
from aegis_store import Config, Tier, TierDurability
from aegis_store._engine import Engine, check_consistency, check_inclusion
from aegis_store.errors import NotFound, ReadOnly
from tests.golden.reader import leaf_hash, root_of
from tests.stores import Told, abandon, noise

SECRET = bytes(range(32))
STORE_ID = b"sixteen byte ids"
SESSION = Tier.SESSION
#: Small segments, and no waiting for the disk: what a crash of the process leaves is the same.
CONFIGS = [
    Config(segment_bytes=64 << 10, cache_bytes=64 << 10, align=align, durability=TierDurability(session="write"))
    for align in ("packed", "block")
]
QUICK = settings(
    max_examples=100, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
LONG = settings(QUICK, max_examples=1000, stateful_step_count=80)

sizes = st.one_of(st.integers(0, 40), st.integers(1000, 9000), st.integers(30_000, 70_000))


class EngineMachine(RuleBasedStateMachine):
    """`committed` is what must be there; `queued` may be there after a crash, in order, and must be after a close."""

    @initialize(config=st.sampled_from(CONFIGS))
    def start(self, config: Config) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.config = config
        self.committed: list[tuple[int, bytes, bytes]] = []
        self.queued: list[tuple[int, bytes, bytes]] = []
        self.heads: list[aegis_store.Head] = []
        self.drawn = 0
        self.open()

    def open(self) -> None:
        self.engine = Engine.open(
            self.folder / "store", secret=SECRET, store_id=STORE_ID, config=self.config, background=False, anchors=self.heads
        )

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.abandon()
            shutil.rmtree(self.folder)

    def leaves(self) -> list[bytes]:
        return [leaf_hash(entry) for _, entry, _ in self.committed]

    def check(self, index: int, record) -> None:
        kind, entry, payload = self.committed[index]
        assert (record.index, record.kind, record.entry, record.payload) == (index, kind, entry, payload)
        assert record.leaf == leaf_hash(entry)

    @rule(entry_size=st.integers(1, 300), payload_size=sizes, kind=st.integers(1, 255), count=st.integers(1, 5))
    def append(self, entry_size: int, payload_size: int, kind: int, count: int) -> None:
        for _ in range(count):
            self.drawn += 1
            record = (kind, noise(entry_size, self.drawn), noise(payload_size, -self.drawn))
            assert self.engine.append(SESSION, *record) == len(self.committed) + len(self.queued)
            self.queued.append(record)
            self.adopt(0)  # a group that is full is written without anybody asking

    @precondition(lambda self: self.queued)
    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.committed) + len(self.queued) - 1))
        self.engine.commit(SESSION, index)
        self.adopt(index + 1)

    def adopt(self, at_least: int) -> None:
        """A group goes as a whole, so more may have become durable than was asked for."""
        size = self.engine.size(SESSION)
        assert max(at_least, len(self.committed)) <= size <= len(self.committed) + len(self.queued)
        count = size - len(self.committed)
        self.committed += self.queued[:count]
        del self.queued[:count]

    def adopt_what_a_crash_left(self) -> None:
        """What was queued is there up to some record, or not at all."""
        self.adopt(0)
        self.queued.clear()

    @rule()
    def commit_what_was_never_appended(self) -> None:
        with pytest.raises(NotFound):
            self.engine.commit(SESSION, len(self.committed) + len(self.queued))

    @rule(turns=st.integers(1, 6))
    def background(self, turns: int) -> None:
        for _ in range(turns):
            self.engine.run_background()

    @rule()
    def close_and_open(self) -> None:
        self.engine.close()
        self.committed += self.queued
        self.queued = []
        self.open()
        assert self.engine.size(SESSION) == len(self.committed)

    @rule()
    def crash_and_open(self) -> None:
        self.engine.abandon()
        self.open()
        self.adopt_what_a_crash_left()

    @rule()
    def crash_lose_the_caches_and_open(self) -> None:
        self.engine.abandon()
        shutil.rmtree(self.folder / "store" / "session" / "tiles", ignore_errors=True)
        self.open()
        self.adopt_what_a_crash_left()

    @rule()
    def read_beside(self) -> None:
        with Engine.open(self.folder / "store", mode="r", secret=SECRET) as reader:
            assert reader.size(SESSION) == len(self.committed)
            for index, record in enumerate(reader.scan(SESSION)):
                self.check(index, record)
            assert reader.head(SESSION) == self.engine.head(SESSION)
            with pytest.raises(ReadOnly):
                reader.append(SESSION, 1, b"entry")

    @precondition(lambda self: self.committed)
    @rule(data=st.data())
    def read_one(self, data: st.DataObject) -> None:
        index = data.draw(st.integers(0, len(self.committed) - 1))
        self.check(index, self.engine.read(SESSION, index))
        proof = self.engine.inclusion(SESSION, index)
        check_inclusion(leaf_hash(self.committed[index][1]), index, self.engine.head(SESSION), proof)

    @rule(data=st.data())
    def read_a_range(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(0, len(self.committed) + 2))
        limit = data.draw(st.integers(0, 300))
        found = self.engine.read_range(SESSION, first, limit)
        assert [record.index for record in found] == list(range(first, min(first + limit, len(self.committed))))
        for record in found:
            self.check(record.index, record)

    @rule(data=st.data())
    def a_root_of_the_past(self, data: st.DataObject) -> None:
        size = data.draw(st.integers(0, len(self.committed)))
        head = self.engine.head(SESSION, size)
        assert head.root == root_of(self.leaves()[:size])
        if size:
            check_consistency(head, self.engine.head(SESSION), self.engine.consistency(SESSION, size))
        self.heads.append(head)  # an anchor of every later opening

    @rule()
    def verify(self) -> None:
        state = self.engine.verify(SESSION)
        assert state.records_done == len(self.committed)
        assert not self.committed or state.root == root_of(self.leaves())

    @invariant()
    def sizes_agree(self) -> None:
        assert self.engine.size(SESSION) == len(self.committed)
        with pytest.raises(NotFound):
            self.engine.read(SESSION, len(self.committed))


class StoreMachine(RuleBasedStateMachine):
    """Sessions by their names, and what was saved in each, by whom."""

    names = Bundle("names")

    @initialize(target=names, config=st.sampled_from(CONFIGS))
    def start(self, config: Config):
        self.folder = Path(tempfile.mkdtemp())
        self.config = config
        self.saved: dict[str, list[tuple[str, object]]] = {}
        self.anchors: list[object] = []
        self.clock = Told()
        self.number = 0
        self.reader: aegis_store.Store | None = None
        self.open()
        return multiple("a", "b", "", "\ud800")

    def open(self) -> None:
        self.store = aegis_store.open(
            self.folder / "state", agent="planner", config=self.config, clock=self.clock, anchor=self.anchors
        )

    def teardown(self) -> None:
        if hasattr(self, "store"):
            if self.reader is not None:
                self.reader.close()
            abandon(self.store)
            shutil.rmtree(self.folder)

    @rule(target=names, name=st.text(max_size=8))
    def name(self, name: str) -> str:
        return name

    @rule(name=names, agent=st.sampled_from(["planner", "critic", "é"]), size=sizes, count=st.integers(1, 4))
    def checkpoint(self, name: str, agent: str, size: int, count: int) -> None:
        for _ in range(count):
            self.number += 1
            state = {"number": self.number, "noise": noise(size, self.number)}
            ref = self.store.session(name, agent=agent).checkpoint(state, position=self.number)
            mine = self.saved.setdefault(name, [])
            assert ref.ordinal == len(mine)
            mine.append((agent, state))

    @rule(back=st.integers(-(10**6), 10**6))
    def the_clock_jumps(self, back: int) -> None:
        self.clock = Told(start=1_700_000_000_000 + back)
        self.store.records._clock = self.clock

    @rule()
    def close_and_open(self) -> None:
        self.store.close()
        self.open()

    @rule()
    def crash_and_open(self) -> None:
        abandon(self.store)
        self.open()

    @rule()
    def lose_the_catalogue(self) -> None:
        self.store.close()
        shutil.rmtree(self.folder / "state" / "catalog")
        self.open()

    @rule()
    def release_a_head(self) -> None:
        self.anchors.append(self.store.head())

    @rule()
    def lose_track(self) -> None:
        self.store.lost_track()

    @rule()
    def open_or_close_a_reader(self) -> None:
        if self.reader is None:
            self.reader = aegis_store.open(self.folder / "state", mode="r", anchor=self.anchors)
        else:
            self.reader.close()
            self.reader = None

    def both(self) -> list[aegis_store.Store]:
        return [self.store] if self.reader is None else [self.store, self.reader]

    @rule(name=names)
    def latest(self, name: str) -> None:
        for store in self.both():
            found, mine = store.session(name).latest(), self.saved.get(name)
            assert (found is None) == (not mine)
            if mine:
                assert (found.agent, found.state) == mine[-1]
                assert found.position == found.state["number"]
                assert found.ref.ordinal == len(mine) - 1

    @rule(name=names, before=st.none() | st.integers(0, 20))
    def history(self, name: str, before: int | None) -> None:
        for store in self.both():
            found = list(store.session(name).history(before=before))
            mine = self.saved.get(name, [])[:before]
            assert [(each.agent, each.state) for each in found][::-1] == mine
            assert [each.ref.ordinal for each in found][::-1] == list(range(len(mine)))
            times = [each.ref.time_ms for each in found][::-1]
            assert times == sorted(times)

    @rule()
    def verify(self) -> None:
        for store in self.both():
            result = store.verify(deep=True)
            assert result.findings == ()
            assert sum(tier.signatures for tier in result.tiers) == sum(store.records.engine.size(tier) for tier in Tier)

    @invariant()
    def sessions_agree(self) -> None:
        for store in self.both():
            found = {info.id: info.checkpoints for info in store.sessions()}
            assert found == {name: len(mine) for name, mine in self.saved.items()}


def machine(cls: type[RuleBasedStateMachine], chosen: settings) -> type:
    case = cls.TestCase
    case.settings = chosen
    return case


TestEngine = machine(EngineMachine, QUICK)
TestStore = machine(StoreMachine, settings(QUICK, max_examples=25, stateful_step_count=30))


@pytest.mark.long
class TestEngineLong(machine(type("EngineLong", (EngineMachine,), {}), LONG)):
    pass


@pytest.mark.long
class TestStoreLong(machine(type("StoreLong", (StoreMachine,), {}), LONG)):
    pass
