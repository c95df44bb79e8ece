"""Erasure: afterwards the text and the names are in no file of the store, the tree verifies, and what could still read them is
named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import aegis_store
from aegis_store import Tier
from aegis_store.compaction import compactor
from aegis_store.errors import Erased, Held, InvalidArgument, NoSpace, NotFound
from aegis_store.schema import gaps as schema
from tests.keeping import facts
from tests.stores import SMALL, abandon, noise, states
from tests.test_delta_chains import growing, save

NAME = "patient-Kowalczyk"
TEXT = "diagnosed with Zwetschgenallergie"


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def with_text(count, text=TEXT):
    return [{**state, "note": f"{text}, seen {state['step']} times"} for state in growing(count)]


def raw(folder: Path) -> dict[str, bytes]:
    """Every byte of every file below a store, LMDB's free pages and whatever else lies there included."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def holds(folder: Path, *needles: bytes) -> set[str]:
    return {name for name, data in raw(folder).items() for needle in needles if needle in data}


def canaries(name, count=40):
    """States that hold text which no compression changes: each brings noise of its own."""
    return [{"n": n, "raw": [noise(600, (name, each)) for each in range(max(0, n - 3), n + 1)]} for n in range(count)]


def needles_of(states_):
    return [each[64:128] for state in states_ for each in state["raw"]]


def test_the_text_and_the_names_are_in_no_file_afterwards(place):
    mine, others = canaries("mine"), canaries("others")
    with aegis_store.open(place, config=SMALL) as store:
        for number, (a, b) in enumerate(zip(mine, others, strict=True)):
            store.session(NAME).checkpoint(a, position=f"at {number}")
            store.session("other").checkpoint(b)
        store.session(NAME).end(reason=f"end of {NAME}")
        store.catalog.flush()
        assert holds(place, *needles_of(mine)) and holds(place, NAME.encode())
        before = facts(store)
        erased = store.session(NAME).erase(reason="request 17", by="dpo")
        assert (erased.sessions, erased.forks, erased.ordinal, len(erased.records)) == ((NAME,), (), None, 1)
        assert [holder.pid for holder in erased.holders] == []
        assert holds(place, *needles_of(mine), NAME.encode()) == set()
        size = len(before[0])
        after = facts(store)
        assert after[0][:size] == before[0] and after[1][: size + 1] == before[1]
        assert states(store, "other") == others
        assert [info.id for info in store.sessions()] == ["other"]
        assert store.session(NAME).latest() is None
        assert store.verify(deep=True).findings == ()
    assert holds(place, *needles_of(mine), NAME.encode()) == set()
    with aegis_store.open(place, config=SMALL) as store:
        assert store.report.tiers[Tier.SESSION].verdict.name == "CLEAN"
        assert states(store, "other") == others
        assert store.verify(deep=True).findings == ()
    (place / "catalog").rename(place / "gone")
    with aegis_store.open(place, config=SMALL, mode="r") as store:
        assert [info.id for info in store.sessions()] == ["other"]


def test_an_erase_record_says_what_when_by_whom_and_why_and_not_what_it_was(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, NAME, with_text(10))
        tag = store.catalog.session(NAME).tag
        (index,) = store.session(NAME).erase(reason="request 17", by="dpo").records
        record = store.records.read(index)
        said = schema.decode_erase(record.envelope)
        assert (said.reason, said.by, said.ordinal, len(said.runs)) == ("request 17", "dpo", None, 11)
        assert record.entry.session_tag == tag and record.entry.time_ms > 0
        assert NAME.encode() not in record.envelope
        with pytest.raises(InvalidArgument, match="names the session"):
            save(store, "x-1", with_text(1))
            store.session("x-1").erase(reason="because of x-1")


def test_who_still_writes_to_an_erased_session_is_refused(place):
    with aegis_store.open(place, config=SMALL) as store:
        session = store.session(NAME)
        save(store, NAME, with_text(3))
        session.erase(reason="request 17")
        with pytest.raises(Erased, match="being erased"):
            session.checkpoint("more")
        with pytest.raises(NotFound, match="to erase"):
            store.erase(session=NAME, reason="again")
        # A new session of that name is another one.
        assert store.session(NAME).checkpoint("new").ordinal == 0
        assert store.session(NAME).latest().state == "new"


def test_forks_are_named_and_keep_what_they_hold_or_go_with_it(place):
    mine = canaries("mine", 20)
    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", mine)
        fork = store.session("s").fork("f", at=refs[10])
        saved = [{**mine[10], "more": number} for number in range(5)]
        for state in saved:
            fork.checkpoint(state)
        fork.fork("ff")
        erased = store.session("s").erase(reason="request 17")
        assert sorted(erased.forks) == ["f", "ff"]
        assert states(store, "f") == saved
        assert store.session("f").latest().state == saved[-1]
        assert store.session("ff").latest().state == saved[-1]
        with pytest.raises(Erased):
            store.session("f").get(3)
        fork.checkpoint({**saved[-1], "more": 9})
        assert store.verify(deep=True).findings == ()
    with aegis_store.open(place, config=SMALL) as store:
        assert states(store, "f")[: len(saved)] == saved
        erased = store.session("f").erase(reason="request 17", forks=True)
        assert sorted(erased.sessions) == ["f", "ff"] and erased.forks == ()
        assert holds(place, *needles_of(mine)) == set()
        assert list(store.sessions()) == []
        assert store.verify(deep=True).findings == ()


@pytest.mark.parametrize("forks", [False, True])
def test_a_fork_that_is_on_its_way_is_named_or_goes_with_it(place, forks):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", with_text(5))
        fork, begun = store.session("s").submit_fork("fork-Kowalczyk")
        erased = store.session("s").erase(reason="request 17", forks=forks)
        assert sorted(erased.sessions) == (["fork-Kowalczyk", "s"] if forks else ["s"])
        assert erased.forks == (() if forks else ("fork-Kowalczyk",))
        fork.land(begun)
        assert [info.id for info in store.sessions()] == ([] if forks else ["fork-Kowalczyk"])
        assert store.verify(deep=True).findings == ()
    assert bool(holds(place, b"fork-Kowalczyk")) is not forks


def test_a_fork_without_checkpoints_of_its_own_goes_on_from_nothing(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", with_text(5))
        fork = store.session("s").fork("f")
        assert store.session("s").erase(reason="request 17").forks == ("f",)
        with pytest.raises(Erased):
            fork.latest()
        assert fork.checkpoint("new").ordinal == 5
        assert states(store, "f") == ["new"]


@pytest.mark.parametrize("ordinal", [0, 7, 19])
def test_one_checkpoint(place, ordinal):
    mine = [{"n": n, "raw": [noise(600, n)]} for n in range(20)]
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", mine)
        before = facts(store)
        erased = store.erase(session="s", ordinal=ordinal, reason="a secret leaked")
        assert erased.ordinal == ordinal
        assert holds(place, *needles_of([mine[ordinal]])) == set()
        assert facts(store)[0][: len(before[0])] == before[0]
        assert states(store, "s") == mine[:ordinal] + mine[ordinal + 1 :]
        with pytest.raises(Erased, match=r"was erased by agent \(a secret leaked\)"):
            store.session("s").get(ordinal)
        if ordinal == 19:
            with pytest.raises(Erased):
                store.session("s").latest()
        store.session("s").checkpoint("more")
        assert store.session("s").latest().state == "more"
        assert store.verify(deep=True).findings == ()
        with pytest.raises(NotFound, match="its own are 0 to 20"):
            store.erase(session="s", ordinal=21, reason="r")


def test_a_hold_refuses_and_nothing_was_erased(place):
    with aegis_store.open(place, config=SMALL) as store:
        refs = save(store, "s", with_text(10))
        hold = store.session("s").hold(reason="litigation", holder="legal", ordinal=3)
        for call in (
            lambda: store.session("s").erase(reason="request 17"),
            lambda: store.erase(session="s", ordinal=3, reason="request 17"),
        ):
            with pytest.raises(Held, match=r"held by legal \(litigation\)") as caught:
                call()
            assert f"aegis release {place} {hold.number}" in caught.value.hint
        assert len(states(store, "s")) == 10
        store.erase(session="s", ordinal=4, reason="request 17")
        store.release(hold.number, reason="settled")
        store.session("s").fork("f", at=refs[2]).hold(reason="litigation", holder="legal")
        with pytest.raises(Held, match="in the history of a session that is held"):
            store.session("s").erase(reason="request 17")
        store.session("s").checkpoint("it goes on")


def test_tails_that_recovery_cut_off_go_too(place):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", with_text(3))
        save(store, "t", with_text(3))
        tail = place / "session" / "tail-00000009.cut"
        tail.write_bytes(TEXT.encode())
        store.session("s").erase(reason="request 17")
        assert not tail.exists()


@pytest.mark.parametrize("moment", ["record", "first segment", "before the catalogue", "before it is done"])
def test_an_erasure_that_was_cut_short_is_finished_by_the_next_open(place, monkeypatch, moment):
    mine, others = canaries("mine"), canaries("others")

    class Killed(BaseException):
        pass

    def killed(*args, **options):
        raise Killed

    real = compactor.compact_segment

    def first(*args, **options):
        real(*args, **options)
        raise Killed

    store = aegis_store.open(place, config=SMALL)
    save(store, NAME, mine)
    save(store, "other", others)
    if moment == "record":
        monkeypatch.setattr(compactor, "compact_segment", killed)
    elif moment == "first segment":
        monkeypatch.setattr(compactor, "compact_segment", first)
    elif moment == "before the catalogue":
        monkeypatch.setattr(type(store.catalog), "renew", killed)
    else:
        monkeypatch.setattr(type(store._engine), "set_swept", killed)
    with pytest.raises(Killed):
        store.session(NAME).erase(reason="request 17")
    if moment in ("record", "first segment"):
        with pytest.raises(Erased):
            store.session(NAME).get(0)
    abandon(store)
    monkeypatch.undo()
    with aegis_store.open(place, config=SMALL) as store:
        assert holds(place, *needles_of(mine), NAME.encode()) == set()
        assert [info.id for info in store.sessions()] == ["other"]
        assert states(store, "other") == others
        assert store.records.gaps.pending() == ()
        assert store.verify(deep=True).findings == ()


def test_a_store_opens_though_there_is_no_space_to_finish_an_erasure(place, monkeypatch):
    mine = canaries("mine")

    def full(*args, **options):
        raise NoSpace("no space", op="compact")

    monkeypatch.setattr(compactor, "compact_segment", full)
    store = aegis_store.open(place, config=SMALL)
    save(store, NAME, mine)
    with pytest.raises(NoSpace):
        store.session(NAME).erase(reason="request 17")
    abandon(store)
    with aegis_store.open(place, config=SMALL) as store:
        assert len(store.records.gaps.pending()) == 1
        with pytest.raises(Erased):
            store.session(NAME).get(0)
        store.session("other").checkpoint("works")
        monkeypatch.undo()
        store.compact()
        assert holds(place, *needles_of(mine), NAME.encode()) == set()
        assert store.verify(deep=True).findings == ()


def test_processes_that_hold_an_old_file_are_named(place):
    reader = """
import sys, aegis_store
store = aegis_store.open(sys.argv[1], mode="r")
store.session("s").latest()
print("open", flush=True)
sys.stdin.readline()
"""
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", with_text(60))
        child = subprocess.Popen(
            [sys.executable, "-c", reader, str(place)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        try:
            assert child.stdout.readline() == "open\n"
            erased = store.session("s").erase(reason="request 17", wait_seconds=0.2)
            if not Path("/proc/self/fd").exists():
                pytest.skip("who holds a file is known where there is /proc")
            assert [holder.pid for holder in erased.holders] == [child.pid]
            assert erased.holders[0].command != ""
        finally:
            child.communicate("\n")
    assert child.returncode == 0
    assert os.path.exists(place)


def test_a_payload_that_is_still_there_after_it_was_erased_is_found(place, monkeypatch):
    with aegis_store.open(place, config=SMALL) as store:
        save(store, "s", with_text(10))
        save(store, "t", with_text(10))
        monkeypatch.setattr(compactor.Compactor, "_rewrite", lambda self, *work: compactor.NOTHING)
        store.session("s").erase(reason="request 17")
        problems = [finding.problem for finding in store.verify(deep=True).findings]
        assert len(problems) == 11
        assert all("what it held is still there" in problem for problem in problems)
