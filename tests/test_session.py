"""Sessions: what goes in comes out, one chain whoever writes, damage raised where it lies, interrupts that lose nothing."""

from __future__ import annotations

import gc
import math
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from linecache import getline

import pytest

import aegis_store
from aegis_store import Config, MemoryPointer, Ref, Tier
from aegis_store.chain import Chain
from aegis_store.errors import (
    Closed,
    Corrupt,
    Foreign,
    InvalidArgument,
    NoSpace,
    StateTooLarge,
    StateTypeError,
    UnknownType,
)
from aegis_store.lineage import HISTORY_PAGE
from aegis_store.session import Session
from aegis_store.trust import proofs
from aegis_store.types import Kind
from tests.stores import SMALL, Crash, Told, abandon, fill, flip, frame_of, noise, states


@dataclass(frozen=True)
class Named:
    number: int


class Zone(tzinfo):
    def utcoffset(self, when):
        return timedelta(0)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def store(place):
    with aegis_store.open(place, agent="planner") as opened:
        yield opened


# ---- what goes in comes out -------------------------------------------------------------------------------------------------

EVERYTHING = {
    "position": {"node": "plan", "step": 3},
    "claims": {"task": "refund", "confidence": 0.25},
    "memory_pointer": MemoryPointer(index=7, root=bytes(range(32))),
    "approvals": ["lead", {"by": "ops", "at": 12}],
    "last_tool_call": {"name": "lookup", "arguments": {"id": 2**63}, "result": b"\x00\xff"},
    "metadata": {"run": "a", "tags": [1, None, True]},
}


def test_every_argument_comes_back(place):
    with aegis_store.open(place, agent="planner", clock=Told(start=1_700_000_000_122)) as store:
        ref = store.session("ticket").checkpoint({"messages": [1, "two", b"three"]}, **EVERYTHING)
    with aegis_store.open(place) as store:
        found = store.session("ticket").latest()
    assert found.state == {"messages": [1, "two", b"three"]}
    assert {name: getattr(found, name) for name in EVERYTHING} == EVERYTHING
    assert (found.ref, found.agent) == (ref, "planner")
    assert (ref.tier, ref.ordinal, ref.session) == (Tier.SESSION, 0, "ticket")
    assert found.created_at.tzinfo is UTC
    assert (found.created_at - datetime(1970, 1, 1, tzinfo=UTC)) / timedelta(milliseconds=1) == ref.time_ms == 1_700_000_000_126


@pytest.mark.parametrize("left_out", sorted(EVERYTHING))
def test_what_was_not_given_is_none(store, left_out):
    store.session("s").checkpoint("state", **{**EVERYTHING, left_out: None})
    found = store.session("s").latest()
    assert {name: getattr(found, name) for name in EVERYTHING} == {**EVERYTHING, left_out: None}


@pytest.mark.parametrize("state", [None, False, 0, "", b"", [], {}, -(2**63), 2**64 - 1, 1e308, "\U0001f9ff", {1: {None: []}}])
def test_a_state_is_any_value_and_the_type_stays(store, state):
    store.session("s").checkpoint(state)
    found = store.session("s").latest().state
    assert found == state
    assert type(found) is type(state)


def test_a_state_that_is_not_a_number_stays_one(store):
    store.session("s").checkpoint([math.nan, -math.inf, -0.0])
    found = store.session("s").latest().state
    assert math.isnan(found[0])
    assert found[1] == -math.inf
    assert math.copysign(1, found[2]) == -1


def test_what_was_saved_does_not_change_with_what_it_was_made_of(store):
    state = {"messages": ["one"]}
    store.session("s").checkpoint(state)
    state["messages"].append("two")
    assert store.session("s").latest().state == {"messages": ["one"]}


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        ({"state": {"a": [1, {"b": object()}]}}, r'state\["a"\]\[1\]\["b"\]'),
        ({"state": (1, {"when": datetime(2026, 1, 1, tzinfo=Zone())})}, r'state\[1\]\["when"\]'),
        ({"state": None, "metadata": {"user": Named(1)}}, r'metadata\["user"\]'),
        ({"state": None, "last_tool_call": {"f": print}}, r'last_tool_call\["f"\]'),
        ({"state": None, "position": 1j}, "position"),
    ],
)
def test_a_value_that_cannot_be_stored_is_named_by_its_path_and_nothing_is_stored(store, arguments, path):
    with pytest.raises(StateTypeError, match=path) as caught:
        store.session("s").checkpoint(**arguments)
    assert isinstance(caught.value, TypeError)
    assert store.records.size() == 0
    assert list(store.sessions()) == []


def test_named_types_come_back_and_a_store_that_was_not_told_of_them_says_so(place):
    with aegis_store.open(place, types={"named": Named}) as store:
        ref = store.session("s").checkpoint({"a": [Named(1), {Named(2)}]}, metadata={"by": Named(3)})
    with aegis_store.open(place, types={"named": Named}) as store:
        found = store.session("s").latest()
        assert (found.state, found.metadata) == ({"a": [Named(1), {Named(2)}]}, {"by": Named(3)})
        assert type(found.state["a"][0]) is Named
    with aegis_store.open(place) as store:
        for read in (store.session("s").latest, lambda: store.session("s").get(0), lambda: list(store.session("s").history())):
            with pytest.raises(UnknownType, match=r'metadata\["by"\].*named') as caught:
                read()
            assert caught.value.index == ref.index
            assert "types=" in caught.value.hint
        assert store.verify(deep=True).ok  # whose types they are is nothing that a verification asks


def test_a_state_above_the_limit_is_refused_before_it_is_compressed(place):
    with aegis_store.open(place, config=Config(state_limit_bytes=1000)) as store:
        session = store.session("s")
        for state in (b"x" * 998, "x" * 1001, b"x" * 5_000_000):  # two, three and five bytes say how long they are
            with pytest.raises(StateTooLarge, match="1,000") as caught:
                session.checkpoint(state)
            assert isinstance(caught.value, ValueError)
        assert store.records.size() == 0
        session.checkpoint(b"x" * 997)
        session.checkpoint(b"y" * 900, metadata={"large": "z" * 5000})  # the limit is the state's alone
        assert session.latest().state == b"y" * 900


def test_a_state_that_a_lower_limit_would_refuse_is_not_restored(place):
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(b"a" * (3 << 20))
    with aegis_store.open(place, config=Config(state_limit_bytes=1 << 20)) as store, pytest.raises(StateTooLarge):
        store.session("s").latest()


# ---- one chain --------------------------------------------------------------------------------------------------------------


def test_ordinals_count_from_zero_and_each_record_names_the_one_before_it(store):
    session = store.session("s")
    refs = [session.checkpoint(number) for number in range(5)]
    assert [ref.ordinal for ref in refs] == [0, 1, 2, 3, 4]
    entries = [store.records.read(ref.index).entry for ref in refs]
    assert [(each.parent, each.parent_leaf) for each in entries[1:]] == [(ref.index, ref.leaf) for ref in refs[:-1]]
    begin = store.records.read(entries[0].parent)
    assert (begin.entry.kind, begin.leaf) == (Kind.SESSION_BEGIN, entries[0].parent_leaf)
    assert {each.session_tag for each in (begin.entry, *entries)} == {begin.entry.session_tag}


def test_a_reference_names_the_leaf_and_a_proof_shows_it_in_the_head(store):
    session = store.session("s")
    refs = [session.checkpoint(number) for number in range(9)]
    head = store.head().head
    assert head.size == store.records.size()
    for ref in refs:
        proof = store.inclusion(ref)
        proofs.verify_inclusion(leaf=ref.leaf, index=ref.index, size=head.size, proof=proof, root=head.root)
        assert ref.leaf == proofs.leaf_hash(store.records.engine.read(ref.tier, ref.index).entry)
    early = store.inclusion(refs[0], 4)
    proofs.verify_inclusion(leaf=refs[0].leaf, index=2, size=4, proof=early, root=store.records.engine.head(3, 4).root)


def test_an_older_head_is_shown_to_be_a_prefix(store):
    session = store.session("s")
    session.checkpoint(0)
    old = store.head().head
    for number in range(6):
        session.checkpoint(number)
    new = store.head().head
    proofs.verify_consistency(
        old_size=old.size, old_root=old.root, new_size=new.size, new_root=new.root, proof=store.consistency(old)
    )


def test_a_session_without_a_checkpoint_has_no_latest_and_no_history(store):
    assert store.session("nobody").latest() is None
    assert list(store.session("nobody").history()) == []
    assert list(store.sessions()) == []


def test_latest_is_the_newest_in_every_session_whatever_its_name(store):
    names = ["", "a", "A", "a/b", "../..", "\x00", "é", "e\u0301", "\ud800", "x" * 100_000, "日本", "a\n"]
    for turn in range(2):
        for number, name in enumerate(names):
            store.session(name).checkpoint([turn, number])
    assert [store.session(name).latest().state for name in names] == [[1, number] for number in range(len(names))]
    assert [info.id for info in store.sessions()] == names
    assert {info.checkpoints for info in store.sessions()} == {2}


@pytest.mark.parametrize("name", [None, 5, b"bytes", "x" * 1_000_001])
def test_what_is_no_name_is_refused(store, name):
    with pytest.raises(InvalidArgument):
        store.session(name)
    if name is not None:
        with pytest.raises(InvalidArgument):
            store.session("s", agent=name)


def test_history_comes_newest_first_over_several_pages(store):
    session = store.session("s")
    count = 2 * HISTORY_PAGE + 3
    refs = [session.checkpoint(number) for number in range(count)]
    store.session("another").checkpoint("not this")
    found = list(session.history())
    assert [each.state for each in found] == list(range(count))[::-1]
    assert [each.ref for each in found] == refs[::-1]
    assert [each.state for each in session.history(before=HISTORY_PAGE + 1)] == list(range(HISTORY_PAGE + 1))[::-1]
    assert list(session.history(before=0)) == []
    assert len(list(session.history(before=10**6))) == count


def test_history_goes_on_while_checkpoints_are_added(store):
    session = store.session("s")
    for number in range(HISTORY_PAGE + 2):
        session.checkpoint(number)
    history = session.history()
    first = next(history)
    session.checkpoint("new")
    assert [each.state for each in (first, *history)] == list(range(HISTORY_PAGE + 2))[::-1]


def test_agents_take_turns_in_one_chain_and_each_is_named(store):
    planner, critic = store.session("s"), store.session("s", agent="critic")
    refs = [(planner, critic)[number % 2].checkpoint(number) for number in range(6)]
    assert [ref.ordinal for ref in refs] == list(range(6))
    assert [each.agent for each in critic.history()] == ["critic", "planner"] * 3
    assert [each.state for each in planner.history()] == [5, 4, 3, 2, 1, 0]
    assert store.verify(deep=True).findings == ()


def test_a_session_is_one_object_for_one_agent(store):
    assert store.session("s") is store.session("s", agent="planner")
    assert store.session("s") is not store.session("s", agent="critic")
    assert repr(store.session("s")) == "Session('s')"


def test_a_session_that_nobody_holds_goes_on_where_it_was(store):
    for number in range(5):
        assert store.session("s").checkpoint(number).ordinal == number
        gc.collect()
    assert states(store, "s") == [0, 1, 2, 3, 4]
    assert store.verify(deep=True).findings == ()


def test_a_session_goes_on_after_the_store_was_closed_and_after_it_crashed(place):
    expected = []
    for turn in range(4):
        store = aegis_store.open(place)
        for number in range(3):
            assert store.session("s").checkpoint([turn, number]).ordinal == len(expected)
            expected.append([turn, number])
        if turn % 2:
            store.close()
        else:
            abandon(store)
    with aegis_store.open(place) as store:
        assert states(store, "s") == expected
        assert store.verify(deep=True).findings == ()


# ---- threads ----------------------------------------------------------------------------------------------------------------


def together(count: int, work) -> list[object]:
    """Run `work(number)` in that many threads that start as one; what they returned."""
    barrier = threading.Barrier(count)

    def run(number: int) -> object:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_threads_on_one_session_make_one_chain(store):
    def work(number: int) -> list[Ref]:
        session = store.session("s", agent=f"agent {number % 2}")
        return [session.checkpoint([number, turn]) for turn in range(25)]

    refs = sorted((ref for each in together(4, work) for ref in each), key=lambda ref: ref.ordinal)
    assert [ref.ordinal for ref in refs] == list(range(100))
    assert [ref.index for ref in refs] == sorted(ref.index for ref in refs)
    found = states(store, "s")
    for number in range(4):
        assert [turn for owner, turn in found if owner == number] == list(range(25))
    assert store.verify(deep=True).findings == ()


def test_sixteen_threads_on_sixteen_sessions_do_not_mix(store):
    def work(number: int) -> Ref:
        session = store.session(f"session {number}", agent=f"agent {number}")
        for turn in range(15):
            ref = session.checkpoint([number, turn])
            assert session.latest().ref == ref
        return ref

    assert [ref.ordinal for ref in together(16, work)] == [14] * 16
    for number in range(16):
        assert states(store, f"session {number}") == [[number, turn] for turn in range(15)]
    result = store.verify(deep=True)
    assert result.findings == ()
    assert result.tiers[0].signatures == 16 * 17


# ---- time -------------------------------------------------------------------------------------------------------------------


def test_time_never_goes_back_in_a_session_whatever_the_clock_says(place):
    clock = Told(0, 1000, 1000, 5000, 3000, 10, 5001, 0, 2**48 - 1, 7)
    with aegis_store.open(place, clock=clock) as store:  # one for the manifest, one for the key, one to begin the session
        refs = [store.session("s").checkpoint(number) for number in range(7)]
        assert [ref.time_ms for ref in refs] == [5000, 5000, 5000, 5001, 5001, 2**48 - 1, 2**48 - 1]
        assert [each.ref.time_ms for each in store.session("s").history()] == [ref.time_ms for ref in refs][::-1]
        assert store.session("s").latest().created_at.year == 9999
        assert store.verify(deep=True).findings == ()
    with aegis_store.open(place, clock=Told(0, 8)) as store:
        assert store.session("s").checkpoint("again").time_ms == 2**48 - 1
        assert store.session("new").checkpoint("another").time_ms == 10


# ---- damage -----------------------------------------------------------------------------------------------------------------


def damaged(place, name: str, ordinal: int) -> Ref:
    """Fill a store, flip a byte of one checkpoint in a sealed segment, and say which record that was."""
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "s", "t", each=30)
        assert len(list(store._engine.segments(Tier.SESSION))) >= 2  # all but the last are full, and closing seals them
        ref = next(each.ref for each in store.session(name).history() if each.ref.ordinal == ordinal)
    path, span = frame_of(place, ref.index)
    flip(path, span.payload + 100)
    return ref


def test_damage_raises_where_it_lies_and_history_goes_on_before_it(place):
    ref = damaged(place, "s", 4)
    with aegis_store.open(place) as store:
        session = store.session("s")
        assert session.latest().state["number"] == 29
        history, seen = session.history(), []
        with pytest.raises(Corrupt) as caught:
            for each in history:
                seen.append(each.ref.ordinal)
        assert seen == list(range(5, 30))[::-1]
        assert (caught.value.index, caught.value.tier) == (ref.index, "session")
        assert "00000000.seg" in str(caught.value)
        assert [each.ref.ordinal for each in session.history(before=4)] == [3, 2, 1, 0]
        assert len(states(store, "t")) == 30


def test_latest_raises_on_damage_and_never_falls_back(place):
    with aegis_store.open(place, config=SMALL) as store:
        store.session("s").checkpoint("older")
        last = store.session("s").checkpoint({"noise": noise(3000)})
        fill(store, "t", each=300, bytes_each=0)
    path, span = frame_of(place, last.index)
    for at in (span.start + 5, span.entry + 30, span.payload + 5):
        flip(path, at)
        with aegis_store.open(place) as store:
            for _ in range(2):
                with pytest.raises(Corrupt) as caught:
                    store.session("s").latest()
                assert caught.value.index == last.index
            assert store.session("t").latest().state["number"] == 299
        flip(path, at)
    with aegis_store.open(place) as store:
        assert store.session("s").latest().ref == last


def fields(struct) -> dict[str, object]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


@pytest.mark.parametrize("lost", ["record", "session"])
def test_a_catalogue_that_points_elsewhere_is_found_out(store, monkeypatch, lost):
    for name in ("s", "t"):
        for number in range(3):
            store.session(name).checkpoint([name, number])
    gc.collect()
    find = store.catalog.session
    mine, other = find("s"), find("t")
    wrong = {"record": {"last_index": other.last_index}, "session": {**fields(other), "id": mine.id}}[lost]
    monkeypatch.setattr(store.catalog, "session", lambda name, tier: type(mine)(**{**fields(mine), **wrong}))
    with pytest.raises(Foreign):
        Session(store, Chain(store, "s"), "planner").latest()


# ---- interrupts -------------------------------------------------------------------------------------------------------------


def interrupted_at(store, monkeypatch, target, name: str, *, after: bool) -> None:
    """The next call of `target.name` is interrupted before or after it did its work."""
    real = getattr(target, name)

    def interrupted(*arguments, **options):
        monkeypatch.undo()
        if after:
            real(*arguments, **options)
        raise Crash

    monkeypatch.setattr(target, name, interrupted)


MOMENTS = [
    ("records.append", False),
    ("records.append", True),
    ("records.commit", False),
    ("records.commit", True),
    ("note", False),
    ("note", True),
    ("catalog.note", False),
    ("signer_for", True),
]


@pytest.mark.parametrize("held", [True, False], ids=["held", "let go"])
@pytest.mark.parametrize("begun", [True, False], ids=["begun", "new"])
@pytest.mark.parametrize(("moment", "done"), MOMENTS, ids=lambda value: str(value))
def test_an_interrupted_checkpoint_is_there_whole_or_not_at_all_and_the_chain_goes_on(
    place, monkeypatch, moment, done, begun, held
):
    store = aegis_store.open(place)
    session = store.session("s")
    if begun:
        session.checkpoint("first")
    elif moment != "signer_for":
        store.signer_for(store.agent)  # whose key is enrolled by a record of its own
    target = store
    *way, name = moment.split(".")
    for step in way:
        target = getattr(target, step)
    interrupted_at(store, monkeypatch, target, name, after=done)
    with pytest.raises(Crash):
        session.checkpoint("interrupted")
    if not held:
        del session
        gc.collect()
    latest = store.session("s").latest()
    assert latest is None or latest.state in ("first", "interrupted")
    there = ["interrupted"] if latest is not None and latest.state == "interrupted" else []
    if (moment, done) in [("records.commit", True), ("note", False), ("note", True), ("catalog.note", False)]:
        assert there, "it was durable"
    ref = store.session("s").checkpoint("next")
    wanted = ["first"] * begun + there + ["next"]
    assert ref.ordinal == len(wanted) - 1
    assert states(store, "s") == wanted
    assert store.verify(deep=True).findings == ()
    assert [info.id for info in store.sessions()] == ["s"]
    store.close()
    with aegis_store.open(place) as store:
        assert states(store, "s") == wanted


def test_an_interrupt_in_one_thread_is_made_good_by_another(store, monkeypatch):
    session = store.session("s")
    session.checkpoint(0)
    interrupted_at(store, monkeypatch, store.records, "append", after=True)
    with pytest.raises(Crash):
        session.checkpoint(1)
    [ref] = together(1, lambda _: store.session("s", agent="other").checkpoint(2))
    assert ref.ordinal == 2
    assert states(store, "s") == [0, 1, 2]
    assert store.verify(deep=True).findings == ()


def test_interrupts_at_any_line_of_a_checkpoint_leave_one_chain(place):
    """Raise in the n-th line that runs below `checkpoint`, for every n, as a signal handler would.

    But not where a lock is let go: that is one step, which no signal handler falls into.
    """
    modules = {"session.py", "records.py", "store.py"}
    with aegis_store.open(place) as store:
        session = store.session("s")
        session.checkpoint(0)
        left = 0

        def trace(frame, event, _):
            nonlocal left
            if frame.f_code.co_filename.rsplit("/", 1)[-1] not in modules:
                return None
            if event == "line" and not getline(frame.f_code.co_filename, frame.f_lineno).lstrip().startswith("with "):
                left -= 1
                if left == 0:
                    raise Crash
            return trace

        acknowledged, lines, done = [0], 0, False
        while not done:
            lines += 1
            left = lines
            sys.settrace(trace)
            try:
                session.checkpoint(lines)
                done = True
            except Crash:
                pass
            finally:
                sys.settrace(None)
            session.checkpoint(-lines)
            acknowledged += [lines, -lines] if done else [-lines]
        assert lines > 30
        found = states(store, "s")
        assert [each for each in found if each in set(acknowledged)] == acknowledged
        assert len(found) == len(set(found))
        result = store.verify(deep=True)
        assert result.findings == ()


def test_a_refused_append_leaves_the_session_where_it_was(store, monkeypatch):
    session = store.session("s")
    session.checkpoint(0)

    def full(*arguments, **options):
        monkeypatch.undo()
        raise NoSpace("no space")

    monkeypatch.setattr(store.records.engine, "append_signed", full)
    with pytest.raises(NoSpace):
        session.checkpoint(1)
    assert session.checkpoint(2).ordinal == 1
    assert states(store, "s") == [0, 2]
    assert store.verify(deep=True).findings == ()


def test_a_session_of_a_closed_store_says_so(place):
    store = aegis_store.open(place)
    session = store.session("s")
    session.checkpoint(0)
    history = session.history()
    next(history)
    store.close()
    for use in (session.latest, lambda: session.checkpoint(1), lambda: list(session.history()), lambda: store.session("s")):
        with pytest.raises(Closed):
            use()


def test_a_state_in_pieces_is_the_same_checkpoint(store):
    session, metadata = store.session("s"), {"a": [1, b"2"]}
    pending = session.submit_plain([b"in ", b"", b"pieces"], position="loop/1", metadata=metadata, request_id="r")
    session.land(pending.ref.index)
    latest = session.latest()
    assert (latest.state, latest.position, latest.metadata) == (b"in pieces", "loop/1", metadata)
    assert session.requested("r") == latest
    assert session.submit_plain([b"again"], position="", metadata={}, request_id="r").is_repeat
    with pytest.raises(StateTypeError, match="request_id is a str with a lone surrogate"):
        session.submit_plain([b"x"], position="", metadata={}, request_id="\ud800")


def test_pieces_above_the_limit_are_refused(tmp_path):
    with aegis_store.open(tmp_path / "limited", config=Config(state_limit_bytes=1 << 20)) as store:
        with pytest.raises(StateTooLarge, match="1,048,577 bytes"):
            store.session("s").submit_plain([bytes(1 << 20), b"x"], position="", metadata={}, request_id="r")
        assert store.session("s").latest() is None
