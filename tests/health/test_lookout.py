from __future__ import annotations

import threading

import msgspec
import pytest

import aegis_store
from aegis_store import Config, TierDurability
from aegis_store.health import gather, looking, lookout
from aegis_store.health.outlook import NAME
from aegis_store.rules import Rule
from aegis_store.targets import Target
from aegis_store.types import Tier
from tests.stores import SMALL, Told, abandon, fill

FAST = TierDurability(session="write", audit="write", memory="write")


@pytest.fixture
def large(monkeypatch):
    """Every store is as one that is too large to be looked at record by record."""
    monkeypatch.setattr(looking, "RECORDS_LOOKED_AT", -1)


def everything_but(facts, *names):
    return msgspec.structs.replace(facts, **dict.fromkeys(names))


def seen(place):
    with aegis_store.open(place, mode="r", clock=Told(1_800_000_000_000)) as store:
        return gather(store), store.catalog.is_read


def make(place):
    with aegis_store.open(place, config=SMALL) as store:
        fill(store, "a", "b", each=20)
        store.retain([Rule(keep_last=10)])
        store.audit.record("x", "incident.opened", "incident/1", {"session": "other"})
        store.audit.record("x", "recovery.decided", "session/a")


def test_a_reader_of_a_large_store_asks_no_catalogue_and_sees_the_same(tmp_path, large, monkeypatch):
    place = tmp_path / "state"
    make(place)
    quick, is_read = seen(place)
    assert not is_read
    monkeypatch.undo()
    slow, is_read = seen(place)
    assert is_read
    assert everything_but(quick, "free_bytes") == everything_but(slow, "free_bytes")
    assert (quick.payloads_to_compact, [each.subject for each in quick.troubles]) == (20, ["incident/1", "session/a"])


def test_without_an_outlook_it_asks_the_catalogue_and_sees_the_same(tmp_path, large):
    place = tmp_path / "state"
    make(place)
    quick, _ = seen(place)
    (place / "catalog" / NAME).unlink()
    slow, is_read = seen(place)
    assert is_read
    only_there = ("open_seconds", "disk_bytes", "free_bytes")  # what the opening took was in it, and it took space
    assert everything_but(slow, *only_there) == everything_but(quick, *only_there)


def test_what_came_after_the_outlook_is_read_from_the_log(tmp_path, large):
    place = tmp_path / "state"
    make(place)
    old = (place / "catalog" / NAME).read_bytes()
    with aegis_store.open(place, config=SMALL) as store:
        store.audit.record("x", "incident.closed", "incident/1")
        store.audit.record("x", "incident.opened", "incident/2", {"session": "other"})
        store.retain([Rule(keep_last=5)])
        after = store.lookout.engine.size(Tier.SESSION) + store.lookout.engine.size(Tier.AUDIT)
    (place / "catalog" / NAME).write_bytes(old)
    found, is_read = seen(place)
    assert not is_read
    assert [each.subject for each in found.troubles] == ["session/a", "incident/2"]
    assert found.payloads_to_compact == 30
    assert 0 < found.records_unread < after


def test_an_outlook_too_far_behind_is_none(tmp_path, large, monkeypatch):
    place = tmp_path / "state"
    make(place)
    old = (place / "catalog" / NAME).read_bytes()
    with aegis_store.open(place, config=SMALL) as store:
        store.audit.record("x", "incident.closed", "incident/1")
        store.session("c").checkpoint({})
    (place / "catalog" / NAME).write_bytes(old)
    monkeypatch.setattr(lookout, "RECORDS_BEHIND_MAX", 0)
    found, is_read = seen(place)
    assert is_read
    assert [each.subject for each in found.troubles] == ["session/a"]


def test_the_outlook_of_a_writer_that_was_killed_serves(tmp_path, large):
    place = tmp_path / "state"
    make(place)
    store = aegis_store.open(place)
    store.session("c").checkpoint({})
    store._housekeeping.finish()
    store._keep_house()
    # Until a writer has settled it, the last group of a log that was not closed is served to no reader.
    for name in ("incident/9", "incident/10"):
        store.session("c").checkpoint({})
        store.audit.record("x", "incident.opened", name, {"session": "other"})
    abandon(store)
    found, is_read = seen(place)
    assert not is_read
    assert "incident/9" in [each.subject for each in found.troubles]


def test_it_holds_no_name(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place, config=SMALL) as store:
        store.session("very-private").checkpoint({})
        store.audit.record("x", "recovery.decided", "session/very-private")
    assert b"private" not in (place / "catalog" / NAME).read_bytes()


def test_a_writer_says_the_same_of_itself_as_a_reader(tmp_path):
    place = tmp_path / "state"
    make(place)
    with aegis_store.open(place, config=SMALL, clock=Told(1_800_000_000_000)) as store:
        mine = store.health()
        store._keep_house()
        with aegis_store.open(place, mode="r") as reader:
            theirs = reader.health()
        assert [each.what for each in mine.findings if each.aspect == "recovery"] == [
            each.what for each in theirs.findings if each.aspect == "recovery"
        ] or mine.facts.troubles
        assert [each.subject for each in mine.facts.troubles] == [each.subject for each in theirs.facts.troubles]
        assert not mine.ok


# ---- targets ---------------------------------------------------------------------------------------------------------------


def test_a_target_that_is_missed_is_an_event_once_and_another_when_it_is_met(tmp_path):
    place = tmp_path / "state"
    config = Config(targets={"memory": Target(rpo="15m"), "session": Target(rpo="5m")}, durability=FAST)
    now = [1_700_000_000_000]

    class Clock:
        def now_ms(self):
            return now[0]

    class Timers:
        safe_ms = now[0]

        def unsaved(self):
            return 1, 0, self.safe_ms

    def events():
        return [(each.action, each.details["tier"], each.details["target"]) for each in store.audit.events(lookout.TARGETS)]

    timers = Timers()
    with aegis_store.open(place, config=config, clock=Clock()) as store:
        store.session("a").checkpoint({})
        store.lookout.timers = timers
        store.lookout.turn()
        assert events() == []
        now[0] += 301_000
        store.lookout.turn()
        store.lookout.turn()
        assert events() == [("target.missed", "session", "rpo")]
        (event,) = store.audit.events(lookout.TARGETS)
        assert (event.details["allowed_seconds"], event.details["measured_seconds"]) == (300, 301.0)
    with aegis_store.open(place, config=config, clock=Clock()) as store:
        store.lookout.timers = timers
        store.lookout.turn()
        assert len(events()) == 1  # it is known that it is missed
        timers.safe_ms = now[0]
        store.lookout.turn()
        store.lookout.turn()
        assert events() == [("target.missed", "session", "rpo"), ("target.met", "session", "rpo")]


def test_no_target_no_event(tmp_path):
    with aegis_store.open(tmp_path / "state", clock=Told(1, 10**12)) as store:
        store.session("a").checkpoint({})
        store.lookout.turn()
        assert store.lookout.engine.size(Tier.AUDIT) == 0


def test_readers_know_the_targets_of_the_writer_and_write_nothing(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place, config=Config(targets={"session": Target(rpo="1m")}, checkpoint_interval=7)) as store:
        store.session("a").checkpoint({})
        store.audit.record("x", "y", "z")
    with aegis_store.open(place, mode="r") as reader:
        before = (place / "catalog" / NAME).read_bytes()
        reader.lookout.turn()
        assert (place / "catalog" / NAME).read_bytes() == before
        tiers = {each.tier: each for each in gather(reader).tiers}
        assert (tiers[Tier.SESSION].rpo_seconds, tiers[Tier.SESSION].is_targeted) == (60, True)
        assert (tiers[Tier.AUDIT].rpo_seconds, tiers[Tier.AUDIT].is_targeted) == (0, False)
        assert gather(reader).open_seconds > 0


def test_turns_of_threads_do_not_meet(tmp_path):
    with aegis_store.open(tmp_path / "state", config=Config(targets={"audit": Target(rpo=0)}, durability=FAST)) as store:
        store.session("a").checkpoint({})
        threads = [threading.Thread(target=store.lookout.turn) for _ in range(8)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len(list(store.audit.events(lookout.TARGETS))) <= 1


def test_a_cause_that_came_while_the_outlook_was_written_counts_once(tmp_path, large, monkeypatch):
    place = tmp_path / "state"
    make(place)
    with aegis_store.open(place, config=SMALL) as store:
        real = store.lookout._made

        def late():
            made = real()
            covers = {tier: (1, store.lookout._root(Tier(tier), 1)) for tier in made.covers}
            return msgspec.structs.replace(made, covers=covers)

        monkeypatch.setattr(store.lookout, "_made", late)
    found, is_read = seen(place)
    assert not is_read
    assert found.payloads_to_compact == 20
    with aegis_store.open(place, mode="r") as reader:
        assert len(reader.lookout.gaps(Tier.SESSION)) == 1


def test_a_reader_that_stays_open_takes_the_newest_outlook(tmp_path):
    place = tmp_path / "state"
    with aegis_store.open(place, config=SMALL) as store, aegis_store.open(place, mode="r") as reader:
        store.session("s").checkpoint({})
        assert reader.health().facts.unsaved is None
        with store.session("s").every(dict, interval=3600):
            store._housekeeping.finish()
            store.lookout.turn()
            assert reader.health().facts.unsaved.sessions == 1
        store.lookout.turn()
        assert reader.health().facts.unsaved is None
