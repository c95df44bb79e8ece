"""The audit tier as its users see it: what is recorded comes back, in order, and nothing takes it away."""

from __future__ import annotations

import os
import stat
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import aegis_store
from aegis_store import NO_CHECKPOINT, Config, Rule, Tier, errors
from aegis_store.types import Kind
from tests.stores import SMALL, Told, abandon, frames, noise, segments

NOBODY = 65534
START = 1_700_000_000_000


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def said(events):
    return [(each.subject, each.action, each.details) for each in events]


# ---- recording and reading --------------------------------------------------------------------------------------------------


def test_an_event_comes_back_as_it_was_recorded(place):
    with aegis_store.open(place, agent="planner", clock=Told(start=START)) as store:
        details = {"amount": 3, "when": datetime(2026, 1, 1, tzinfo=UTC), "raw": b"\x00"}
        ref = store.audit.record("ana", "recovery.decided", "session/s", details, request_id="r1", agent="guard")
        (found,) = store.audit.events()
        assert (found.ref, found.subject, found.actor, found.action) == (ref, "session/s", "ana", "recovery.decided")
        assert (found.details, found.agent, found.request_id) == (details, "guard", "r1")
        assert ref.tier is Tier.AUDIT and ref.ordinal == 0
        assert START <= found.created_at.timestamp() * 1000 < START + 100
        assert store.records.engine.read(Tier.AUDIT, ref.index).kind == Kind.AUDIT_EVENT


def test_it_is_durable_when_the_call_returns_and_comes_back_without_the_catalogue(place):
    store = aegis_store.open(place)
    for number in range(3):
        store.audit.record("ana", "a.b", f"s{number % 2}", number)
    abandon(store)
    for file in (place / "catalog").iterdir():
        file.unlink()
    with aegis_store.open(place) as store:
        assert said(store.audit.events()) == [("s0", "a.b", 0), ("s1", "a.b", 1), ("s0", "a.b", 2)]
        assert said(store.audit.events("s0")) == [("s0", "a.b", 0), ("s0", "a.b", 2)]
        assert list(store.audit.subjects()) == ["s0", "s1"]


def test_events_are_chosen_by_subject_time_and_action(place):
    with aegis_store.open(place, clock=Told(start=START)) as store:
        for number in range(6):
            store.audit.record("ana", "even.one" if number % 2 == 0 else "odd.one", f"s{number % 3}", number)
        events = list(store.audit.events())
        times = [each.created_at for each in events]
        assert [each.details for each in events] == [0, 1, 2, 3, 4, 5]
        assert [each.details for each in store.audit.events("s1")] == [1, 4]
        assert [each.details for each in store.audit.events(action="odd.one")] == [1, 3, 5]
        assert [each.details for each in store.audit.events(since=times[2], until=times[4])] == [2, 3, 4]
        assert [each.details for each in store.audit.events("s1", since=times[2], action="even.one")] == [4]
        assert list(store.audit.events("nobody")) == []
        assert [each.details for each in store.audit.newest_first("s1")] == [4, 1]
        assert store.audit.latest("s1").details == 4 and store.audit.latest("nobody") is None
        with pytest.raises(errors.InvalidArgument, match="says no time zone"):
            store.audit.events(since=datetime(2026, 1, 1))
        assert list(store.audit.events(since=times[5] + timedelta(milliseconds=1))) == []


def test_whoever_follows_sees_each_event_once(place):
    with aegis_store.open(place) as store, aegis_store.open(place, mode="r") as reader:
        seen, at = reader.audit.since(0)
        assert (seen, at) == ([], 0)
        for number in range(5):
            store.audit.record("ana", "a.b", f"s{number}", number)
            new, at = reader.audit.since(at)
            seen += new
        assert [each.details for each in seen] == [0, 1, 2, 3, 4]
        assert reader.audit.since(at) == ([], at) and at == reader.audit.size() == 11


def test_a_request_is_recorded_once_and_expect_refuses_who_did_not_look(place):
    with aegis_store.open(place) as store:
        first = store.audit.record("ana", "a.b", "s", 1, request_id="r", expect=NO_CHECKPOINT)
        assert store.audit.record("ana", "a.b", "s", 2, request_id="r") == first
        with pytest.raises(errors.Conflict):
            store.audit.record("ana", "a.b", "s", 2, expect=NO_CHECKPOINT)
        second = store.audit.record("ana", "a.b", "s", 2, expect=first)
        with pytest.raises(errors.Conflict) as caught:
            store.audit.record("ana", "a.b", "s", 3, expect=first)
        assert caught.value.newest == second
        assert [each.details for each in store.audit.events("s")] == [1, 2]


def test_threads_record_one_chain(place):
    with aegis_store.open(place) as store:
        threads = [
            threading.Thread(target=lambda name=name: [store.audit.record(name, "a.b", "s", n) for n in range(20)])
            for name in ("ana", "ben", "cai")
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted((each.actor, each.details) for each in store.audit.events("s")) == sorted(
            (name, n) for name in ("ana", "ben", "cai") for n in range(20)
        )
        assert store.audit.verify_chain("s") == (True, None)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"subject": 7}, errors.InvalidArgument),
        ({"actor": None}, errors.InvalidArgument),
        ({"action": "x" * 1_000_001}, errors.InvalidArgument),
        ({"details": {"f": object()}}, errors.StateTypeError),
        ({"request_id": 7}, errors.InvalidArgument),
    ],
)
def test_what_cannot_be_recorded_is_refused_and_nothing_is_written(place, arguments, error):
    with aegis_store.open(place) as store:
        with pytest.raises(error):
            store.audit.record(**{"actor": "ana", "action": "a.b", "subject": "s", **arguments})
        assert list(store.audit.events()) == []


def test_a_reader_records_nothing_and_a_closed_store_nothing_either(place):
    with aegis_store.open(place) as store:
        store.audit.record("ana", "a.b", "s")
    with aegis_store.open(place, mode="r") as reader, pytest.raises(errors.ReadOnly):
        reader.audit.record("ana", "a.b", "s")
    for call in (
        lambda: store.audit.record("ana", "a.b", "s"),
        lambda: store.audit.events(),
        lambda: store.audit.latest("s"),
        lambda: store.audit.verify_chain("s"),
    ):
        with pytest.raises(errors.Closed):
            call()


def test_an_event_stands_alone_and_damage_to_it_is_damage_to_no_other(place):
    with aegis_store.open(place) as store:
        text = "the same words over and over " * 50
        sizes = [
            len(store.records.engine.read(Tier.AUDIT, store.audit.record("ana", "a.b", "s", [text, n]).index).payload)
            for n in range(3)
        ]
        assert max(sizes) - min(sizes) < 8


# ---- checking ---------------------------------------------------------------------------------------------------------------


def test_deep_verification_covers_the_tier(place):
    with aegis_store.open(place) as store:
        for number in range(4):
            store.audit.record("ana", "a.b", "s", number)
        found = store.verify(deep=True)
        assert found.ok and [(each.tier, each.records, each.signatures) for each in found.tiers] == [(Tier.AUDIT, 6, 6)]
    path = segments(place, "audit")[0]
    span = frames(path)[3]
    data = bytearray(path.read_bytes())
    data[span.payload + 9] ^= 1
    path.write_bytes(data)
    with aegis_store.open(place, mode="r") as store:
        assert [(each.tier, each.index) for each in store.verify(deep=True).findings] == [(Tier.AUDIT, 3)]
        assert store.audit.verify_chain("s")[1].startswith("the chain of 's' breaks at event 1 at record 3: ")


# ---- written once -----------------------------------------------------------------------------------------------------------


def test_nothing_takes_an_event_away(place):
    with aegis_store.open(place) as store:
        store.audit.record("ana", "a.b", "case/7")
        store.session("s").checkpoint("x")
        for call in (
            lambda: store.erase(session="case/7", reason="because"),
            lambda: store.erase(session="case/7", ordinal=0, reason="because"),
            lambda: store.session("case/7").hold(reason="because", holder="ana"),
            lambda: store.session("case/7").erase(reason="because"),
            lambda: store.audit._tier.keeping,
            lambda: store.retain([Rule(tier="audit", keep_last=1)]),
        ):
            with pytest.raises(errors.WriteOnce) as caught:
                call()
            assert isinstance(caught.value, errors.InvalidArgument)
        with pytest.raises(errors.NotFound):
            store.erase(session="case/8", reason="because")
        store.retain([Rule(keep_last=1)])
        store.compact()
        assert said(store.audit.events("case/7")) == [("case/7", "a.b", None)]


def test_a_file_of_rules_that_names_the_tier_is_refused_by_name(tmp_path):
    file = tmp_path / "options.toml"
    file.write_text('[[retention]]\ntier = "audit"\nkeep_last = 3\n')
    with pytest.raises(errors.WriteOnce, match="retention rule 1: tier is 'audit'"):
        Config.load(file)


def filled(place, *, count=200):
    with aegis_store.open(place, config=SMALL) as store:
        for number in range(count):
            store.audit.record("ana", "a.b", "s", noise(1000, number))


def modes(place):
    return [stat.S_IMODE(path.stat().st_mode) for path in segments(place, "audit")]


def test_sealed_segments_are_read_only_once_they_are_signed(place):
    filled(place)
    assert len(modes(place)) >= 3
    assert set(modes(place)[:-1]) == {0o400} and modes(place)[-1] == 0o600
    with aegis_store.open(place, config=SMALL) as store:
        for number in range(100):
            store.session("x").checkpoint(noise(1000, number))
    assert {stat.S_IMODE(path.stat().st_mode) for path in segments(place)} == {0o600}


def work_on(place):
    """What whoever opens a store for writing does; whether a sealed segment opened for writing meanwhile."""
    with aegis_store.open(place, config=SMALL) as store:
        for number in range(100):
            store.audit.record("ana", "b.c", "s", noise(1000, number))
        assert store.verify(deep=True).ok and store.audit.verify_chain("s") == (True, None)
        try:
            segments(place, "audit")[0].open("r+b").close()
        except PermissionError:
            return False
        return True


def as_nobody(work):
    """Runs in a forked child without any right of root's; what it raised, in words."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        words = "the child ended early"
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            words = repr(work())
        except BaseException as error:
            words = repr(error)
        finally:
            os.write(into, words.encode())
            os._exit(0)
    os.close(into)
    with os.fdopen(out) as pipe:
        words = pipe.read()
    os.waitpid(child, 0)
    return words


@pytest.mark.parametrize("unsigned", [False, True], ids=["signed", "a signature to be made"])
@pytest.mark.parametrize("user", [pytest.param("nobody", marks=pytest.mark.root), "whoever runs the tests"])
def test_a_store_with_read_only_segments_is_opened_and_written_to(user, unsigned):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "state")
        filled(place)
        before = len(modes(place))
        if unsigned:
            # As a crash leaves it: the footer is there, its signature is not, and nobody was kept from writing.
            path = segments(place, "audit")[-2]
            path.chmod(0o600)
            data = bytearray(path.read_bytes())
            data[-256 + 144 : -256 + 208] = bytes(64)
            path.write_bytes(data)
        if user == "nobody":
            for path in (Path(folder), *Path(folder).rglob("*")):
                os.chown(path, NOBODY, NOBODY)
            assert as_nobody(lambda: work_on(place)) == "False"
        else:
            assert work_on(place) == (os.geteuid() == 0)
        assert len(modes(place)) > before and set(modes(place)[:-1]) == {0o400}


def test_a_segment_that_is_not_complete_and_read_only_is_refused_by_name(place):
    """Somebody else's doing: root writes all the same."""
    filled(place)
    segments(place, "audit")[-1].chmod(0o400)
    if os.geteuid() == 0:
        with aegis_store.open(place, config=SMALL) as store:
            store.audit.record("ana", "a.b", "s")
    else:
        with pytest.raises(errors.ReadOnly, match="audit"), aegis_store.open(place, config=SMALL) as store:
            store.audit.record("ana", "a.b", "s")
