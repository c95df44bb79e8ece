"""Heads of the other tiers in the audit tier: when they are recorded, and what is refused by them."""

from __future__ import annotations

import shutil

import msgspec
import pytest

import aegis_store
from aegis_store import Config, Head, Tier, TierDurability, errors
from aegis_store.heads import ACTOR, RECORDED, RELEASED, SUBJECT
from aegis_store.trust.heads import open_head, verifier_key
from tests.stores import edit, frames, segments

HOUR_MS = 3_600_000


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def now_ms(self) -> int:
        return self.now


def recorded(store):
    return [(each.action, each.details["tier"], each.details["size"]) for each in store.audit.events(SUBJECT)]


def work(store, count=1):
    for number in range(count):
        store.session("s").checkpoint(number)


# ---- when they are recorded -----------------------------------------------------------------------------------------------


def test_a_store_without_audit_events_gets_none_by_a_close(place):
    with aegis_store.open(place) as store:
        work(store)
    assert not (place / "audit").exists()
    with aegis_store.open(place) as store:
        assert list(store.audit.events()) == [] and list(store.stats().tiers) == ["session"]


def test_a_clean_close_records_what_has_grown_and_nothing_twice(place):
    with aegis_store.open(place) as store:
        store.audit.record("ana", "a.b", "s")
        work(store)
    for _ in range(2):
        with aegis_store.open(place) as store:
            assert recorded(store) == [(RECORDED, "session", 3)]
    with aegis_store.open(place) as store:
        work(store)
    with aegis_store.open(place, mode="r") as store:
        assert recorded(store) == [(RECORDED, "session", 3), (RECORDED, "session", 4)]
        for event in store.audit.events(SUBJECT):
            head = store.heads._head_in(event)
            assert event.actor == ACTOR and store._engine.head(Tier.SESSION, head.size) == head
            key = verifier_key(store.keys.store_id, Tier.SESSION, store.keys.log.public_key)
            assert open_head(event.details["note"].encode(), log_key=key).head == head
        assert store.audit.verify_chain(SUBJECT) == (True, None)


def test_they_are_recorded_on_a_schedule_off_the_commit_path(place):
    clock = Hands()
    with aegis_store.open(place, clock=clock, config=Config(heads_every="30m")) as store:
        work(store, 5)
        assert recorded(store) == []
        clock.now += HOUR_MS // 2
        work(store)
        settle(store)
        assert recorded(store) == [(RECORDED, "session", 8)]
        work(store, 5)
        settle(store)
        clock.now += HOUR_MS // 2 - 1
        work(store)
        settle(store)
        assert len(recorded(store)) == 1
        clock.now += 1
        work(store)
        settle(store)
        assert recorded(store)[1:] == [(RECORDED, "session", 15)]


def settle(store):
    """Return when housekeeping has nothing at hand."""
    thread = store._housekeeping._thread
    if thread is not None:
        thread.join()


def test_a_head_that_cannot_be_recorded_keeps_nobody_from_closing(place, monkeypatch):
    store = aegis_store.open(place)
    store.audit.record("ana", "a.b", "s")
    work(store)

    def full(*arguments, **options):
        raise errors.NoSpace("no space", op="append")

    monkeypatch.setattr(type(store.audit), "record", full)
    store.close()
    monkeypatch.undo()
    with aegis_store.open(place, mode="r") as store:
        assert recorded(store) == [] and store.session("s").latest().state == 0


def test_of_what_is_not_synced_no_head_is_recorded(place):
    """A power cut may take it, and the store is to open then."""
    with aegis_store.open(place, config=Config(durability=TierDurability(session="write"))) as store:
        store.audit.record("ana", "a.b", "s")
        work(store)
    with aegis_store.open(place, mode="r") as store:
        assert recorded(store) == []


# ---- release --------------------------------------------------------------------------------------------------------------


def test_a_head_is_recorded_before_it_is_released_and_once(place, monkeypatch):
    with aegis_store.open(place) as store:
        work(store)
        order = []
        record, remember = type(store.audit).record, type(store.keys).record_released
        monkeypatch.setattr(type(store.audit), "record", lambda *a, **k: (order.append("recorded"), record(*a, **k))[1])
        monkeypatch.setattr(type(store.keys), "record_released", lambda *a: (order.append("remembered"), remember(*a))[1])
        first = store.head()
        assert order == ["recorded", "remembered"]
        assert store.head().head == first.head and order[2:] == ["remembered"]
        assert recorded(store) == [(RELEASED, "session", 3)]
        assert store.heads._head_in(store.audit.latest(SUBJECT)) == first.head
        assert store.audit.latest(SUBJECT).details["note"] == first.format().decode()
        size = store.head("audit").head.size
        assert store.head("audit").head.size == size and len(recorded(store)) == 1


def test_a_head_that_cannot_be_recorded_is_not_released(place, monkeypatch):
    with aegis_store.open(place) as store:
        work(store)
        before = store.keys.released()

        def full(*arguments, **options):
            raise errors.NoSpace("no space", op="append")

        with monkeypatch.context() as patch:
            patch.setattr(type(store.audit), "record", full)
            with pytest.raises(errors.NoSpace):
                store.head()
        assert store.keys.released() == before


def test_a_reader_gives_a_head_and_records_none(place):
    with aegis_store.open(place) as store:
        work(store)
    with aegis_store.open(place, mode="r") as store:
        assert store.head().head.size == 3 and recorded(store) == []
    assert not (place / "audit").exists()


# ---- what is refused by them ------------------------------------------------------------------------------------------------


def roll_back(place, tmp_path):
    """An older session tier beside a newer audit tier; what the key directory and the catalogue know is old, too."""
    with aegis_store.open(place) as store:
        store.audit.record("ana", "a.b", "s")
        work(store, 2)
    old, keys = tmp_path / "old", place.with_name("state.keys")
    shutil.copytree(place, old)
    shutil.copytree(keys, tmp_path / "old.keys")
    with aegis_store.open(place) as store:
        work(store, 3)
        store.audit.record("ana", "a.b", "s")
    return old, keys


def take_audit_tier_of(place, old):
    """Whoever holds the disk and the secret puts a manifest together again, from the files."""
    shutil.rmtree(old / "audit")
    shutil.copytree(place / "audit", old / "audit")
    for gone in (old / "MANIFEST", old / "LOCK"):
        gone.unlink()
    shutil.rmtree(old / "catalog")


@pytest.mark.parametrize("mode", ["a", "r"])
def test_an_older_tier_beside_a_newer_audit_tier_is_named(place, tmp_path, mode):
    old, _ = roll_back(place, tmp_path)
    take_audit_tier_of(place, old)
    if mode == "a":
        with pytest.raises(
            errors.RolledBack, match=r"the session tier has 4 records, and record \d+ .* has its head at 7"
        ) as caught:
            aegis_store.open(old)
        assert caught.value.tier == "session" and "aegis verify" in caught.value.hint
        return
    with aegis_store.open(old, mode="r") as store:
        for deep in (False, True):
            (found,) = store.verify(deep=deep).findings
            assert found.tier is Tier.SESSION and found.problem.startswith("the session tier has 4 records, and record ")
        assert store.verify(tiers=["audit"]).ok
        assert [each.tier for each in store.verify(tiers=["session"]).findings] == [Tier.SESSION]


def lie(store, **details):
    """An event that says what is not so, by somebody with an agent's key."""
    head = store._engine.head(Tier.SESSION)
    there = {"tier": "session", "size": head.size, "root": head.root, "note": store.heads._sign(head).format().decode()}
    return store.audit.record(ACTOR, RECORDED, SUBJECT, {**there, **details})


def test_another_root_is_named_by_tier_size_and_record(place):
    with aegis_store.open(place) as store:
        work(store)
        other = Head(tier=Tier.SESSION, size=3, root=b"x" * 32)  # what a fork under the same key would have
        ref = lie(store, root=other.root, note=store.heads._sign(other).format().decode())
        (found,) = store.heads.findings()
        assert f"the first 3 records of the session tier are not those that it had when record {ref.index} " in found.problem
        store.heads.record_at_close = lambda: None
    with pytest.raises(
        errors.RolledBack, match=f"the first 3 records of the session tier are not those .* record {ref.index} "
    ):
        aegis_store.open(place)


@pytest.mark.parametrize(
    "details",
    [
        {"tier": "audit"},
        {"tier": "nowhere"},
        {"root": b"x" * 32},
        {"root": b"short"},
        {"size": 1_000_000},
        {"size": -1},
        {"size": "many"},
        {"note": "no note"},
        {"note": None},
    ],
)
def test_an_event_that_holds_no_head_is_named_and_keeps_nobody_out(place, details):
    with aegis_store.open(place) as store:
        work(store)
        ref = lie(store, **details)
        (found,) = store.heads.findings()
        assert (found.tier, found.index) == (Tier.AUDIT, ref.index) and str(ref.index) in found.problem
        assert store.verify().findings == (found,)
    with aegis_store.open(place) as store:
        assert store.session("s").latest().state == 0


def test_a_damaged_event_keeps_nobody_out(place):
    with aegis_store.open(place) as store:
        store.audit.record("ana", "a.b", "s")
        work(store)
    path = segments(place, "audit")[0]
    edit(path, lambda data: data.__setitem__(frames(path)[-1].payload + 9, data[frames(path)[-1].payload + 9] ^ 1))
    with aegis_store.open(place) as store:
        assert not store.verify().ok and store.session("s").latest().state == 0


def test_an_open_reads_no_more_than_the_newest_events(place, monkeypatch):
    with aegis_store.open(place) as store:
        for _ in range(30):
            work(store)
            store.head()
    with aegis_store.open(place) as store:
        seen = []
        monkeypatch.setattr(store.heads, "_problem", lambda head, event: seen.append(head.size))
        store.heads._newest.clear()
        store.heads.demand()
        assert seen == [32]


def test_without_audit_events_nothing_is_read(place, monkeypatch):
    with aegis_store.open(place) as store:
        work(store)
        monkeypatch.setattr(type(store.audit), "newest_first", lambda *arguments: pytest.fail("somebody looked"))
        store.heads.demand()


def test_how_often_is_an_option():
    assert Config().heads_every == 3600 and Config(heads_every=90).heads_every == 90
    for value in (0, "often", None, True):
        with pytest.raises(errors.InvalidArgument, match="heads_every"):
            Config(heads_every=value)
    assert msgspec.structs.replace(Config(), heads_every="2d").heads_every == 172_800
