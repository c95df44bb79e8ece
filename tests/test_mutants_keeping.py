"""Retention, compaction and erasure without one of their safeguards: a scenario that passes with all of them has to fail then.

As tests/test_mutants.py, whose table and test this goes on with.
"""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import aegis_store
from aegis_store import Tier, erasure, keeping
from aegis_store._engine import Gap, compact_segment
from aegis_store.catalog import Catalog
from aegis_store.compaction import compactor
from aegis_store.compaction.compactor import Compactor
from aegis_store.errors import Corrupt, Held, Pruned
from aegis_store.gaps import Gaps
from aegis_store.holding import Holds
from aegis_store.keeping import Keeping
from aegis_store.retention import sweeper
from aegis_store.retention.sweeper import Sweeper
from aegis_store.rules import Rule
from aegis_store.states import States
from aegis_store.types import Kind
from tests.keeping import LAST_3, kept_of
from tests.stores import SMALL, forging, noise
from tests.test_delta_chains import growing, save
from tests.test_erasure import NAME, canaries, holds, needles_of
from tests.test_mutants import Row, nothing
from tests.test_peculiar import NEEDLE, SECRET, begun

# ---- scenarios: what must hold, in an empty place ---------------------------------------------------------------------------


def a_gap_needs_a_cause_that_covers_it(place: Path) -> None:
    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", growing(20))
        (cause,) = store.retain([Rule(keep_last=18)]).records
    with forging(place) as forger:
        forger.engine.rotate(Tier.SESSION)
        forger.engine.seal(Tier.SESSION)
        compact_segment(forger.engine, Tier.SESSION, 0, [Gap(refs[9].index, cause)])
    with aegis_store.open(place, config=SMALL) as store:
        try:
            store.session("s").get(9)
        except Corrupt:
            return
        except Pruned:
            pytest.fail("it passes for pruned")


def what_was_pruned_reads_as_pruned_before_any_compaction(place: Path) -> None:
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(10))
        store.retain(LAST_3)
        with pytest.raises(Pruned):
            store.session("s").get(2)


def what_is_held_stays(place: Path) -> None:
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(10))
        store.session("s").hold(reason="r", holder="h", ordinal=2)
        store.retain(LAST_3)
        assert sorted(kept_of(store, "s")) == [2, 7, 8, 9]


def what_is_held_is_not_erased(place: Path) -> None:
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(10))
        store.session("s").hold(reason="r", holder="h")
        with pytest.raises(Held):
            store.session("s").erase(reason="case 1")


def a_hold_that_comes_while_it_is_decided_is_not_overlooked(place: Path) -> None:
    decided = sweeper.decide
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", growing(10))

        def late(*arguments):
            store.session("s").hold(reason="late", holder="h", ordinal=2)
            return decided(*arguments)

        sweeper.decide = late
        try:
            store.retain(LAST_3)
        finally:
            sweeper.decide = decided
        assert sorted(kept_of(store, "s")) == [2, 7, 8, 9]


def what_stays_can_be_read_after_each_segment(place: Path) -> None:
    real = compactor.compact_segment
    pages = [noise(2000, number) for number in range(60)]
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", [{"pages": pages[max(0, number - 3) : number]} for number in range(60)])
        store.retain(LAST_3)

        def look(*arguments, **options):
            real(*arguments, **options)
            with aegis_store.open(place, mode="r", config=SMALL) as reader:
                assert not reader.verify(deep=True).findings

        compactor.compact_segment = look
        try:
            store.compact()
        finally:
            compactor.compact_segment = real


class Asked:
    """A lock that says when somebody has to wait for it."""

    def __init__(self, lock: threading.Lock, asked: threading.Event) -> None:
        self._lock, self._asked = lock, asked

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            self._asked.set()
            self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def what_is_on_its_way_is_waited_for(place: Path) -> None:
    """A fork's first checkpoint is a delta already, and not yet in the log, when what it is to is erased."""
    saved, at_append, may_append, asked = growing(20), threading.Event(), threading.Event(), threading.Event()
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", saved)
        fork = store.session("s").fork("f")
        fork._chain.lock = Asked(fork._chain.lock, asked)
        append = store.records.append

        def late(kind, *arguments, **options):
            if kind is Kind.CHECKPOINT:
                at_append.set()
                may_append.wait()
            return append(kind, *arguments, **options)

        def erase():
            store.session("s").erase(reason="case 1")
            asked.set()

        store.records.append = late
        threads = [
            threading.Thread(target=fork.checkpoint, args=({**saved[-1], "forked": True},)),
            threading.Thread(target=erase),
        ]
        threads[0].start()
        at_append.wait()
        threads[1].start()
        asked.wait()
        may_append.set()
        for thread in threads:
            thread.join()
        assert not store.verify(deep=True).findings
        assert fork.latest().state == {**saved[-1], "forked": True}


def what_was_erased_is_nobody_s_base(place: Path) -> None:
    saved = growing(20)
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", saved)
        fork = store.session("s").fork("f")
        store.session("s").erase(reason="case 1")
        fork.checkpoint({**saved[-1], "forked": True})
    with aegis_store.open(place, config=SMALL) as store:
        assert not store.verify(deep=True).findings


def no_file_has_the_text_or_the_names(place: Path) -> None:
    mine = canaries("mine", 12)
    with aegis_store.open(place, config=SMALL) as store:
        save(store, NAME, mine)
        store.catalog.flush()
        (place / "session" / "tail-00000001.cut").write_bytes(needles_of(mine)[0])
        assert holds(place, NAME.encode())
        store.session(NAME).erase(reason="case 1")
        assert not holds(place, NAME.encode(), *needles_of(mine))


def no_dictionary_has_it_either(place: Path) -> None:
    with aegis_store.open(place, config=SMALL) as store:
        begun(store, "o1", "o2", "o3", "o4")
        begun(store, "p1", "p2", "p3", secret=SECRET)
        for name in ("p1", "p2", "p3"):
            store.session(name).erase(reason="case 1")
        assert not holds(place, NEEDLE)


# ---- what is taken out ------------------------------------------------------------------------------------------------------

_by_segment = Compactor._by_segment

ROWS = [
    Row("whether a cause covers a gap", [(Gaps, "authorises", lambda *_: True)], a_gap_needs_a_cause_that_covers_it),
    Row("causes that wait", [(Gaps, "pending", lambda *_: ())], what_was_pruned_reads_as_pruned_before_any_compaction),
    Row("what a hold keeps", [(Holds, "reach", lambda *_: {})], what_is_held_stays),
    Row("holds before an erasure", [(Holds, "demand_none", nothing)], what_is_held_is_not_erased),
    Row(
        "holds that come meanwhile",
        [(Sweeper, "_spared_since", lambda *_: set())],
        a_hold_that_comes_while_it_is_decided_is_not_overlooked,
    ),
    Row(
        "newest first",
        [(Compactor, "_by_segment", lambda *them: _by_segment(*them)[::-1])],
        what_stays_can_be_read_after_each_segment,
    ),
    Row("waiting for what is on its way", [(Keeping, "settled", nothing)], what_is_on_its_way_is_waited_for),
    Row("forgetting states", [(States, "forget", nothing)], what_was_erased_is_nobody_s_base),
    Row("a catalogue made anew", [(Catalog, "renew", nothing)], no_file_has_the_text_or_the_names),
    Row("tails that were cut", [(keeping, "_CUT_TAILS", "nothing")], no_file_has_the_text_or_the_names),
    Row("dictionaries", [(erasure, "peculiar", lambda *_: [])], no_dictionary_has_it_either),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.out.replace(" ", "_"))
def test_a_safeguard_that_is_taken_out_is_missed(row, tmp_path, monkeypatch):
    for each in ("with", "without"):
        (tmp_path / each).mkdir()
    row.missed_by(tmp_path / "with" / "state")
    for where, name, instead in row.patches:
        monkeypatch.setattr(where, name, instead)
    with pytest.raises((AssertionError, pytest.fail.Exception, Corrupt)):
        row.missed_by(tmp_path / "without" / "state")
