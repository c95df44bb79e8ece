"""Holds, the history window, and erasure of keys and namespaces: afterwards the raw files are searched."""

from __future__ import annotations

from pathlib import Path

import pytest

import aegis_store
from aegis_store import Rule, Tier
from aegis_store.compaction import compactor
from aegis_store.errors import Held, InvalidArgument, NotFound, Pruned
from tests.memory.memories import SMALL, Standing, held
from tests.stores import abandon, noise

ANN, BOB = ("users", "ann-Kowalczyk"), ("users", "bob")


def canary(who: str, number: int) -> dict[str, object]:
    """A value whose bytes do not compress, so that they are found again in raw files, in whole values and in deltas."""
    return {"raw": noise(200, (who, number)), "same": "x" * 400}


def own(who: str, number: int) -> bytes:
    """What no other value has."""
    return noise(200, (who, number))[40:160]


def holds_bytes(place: Path, *needles: bytes) -> set[str]:
    """The files of a store that hold one of these."""
    return {path.name for path in place.rglob("*") if path.is_file() and any(needle in path.read_bytes() for needle in needles)}


@pytest.fixture
def clock():
    return Standing()


@pytest.fixture
def place(tmp_path):
    return tmp_path / "s"


def fill(memory, namespace, who, keys=6, versions=4):
    for number in range(versions):
        for key in range(keys):
            memory.put(namespace, f"key-{who}-{key}", canary(who, number * keys + key))


def needles(who, count=24):
    return [*(own(who, number) for number in range(count)), f"key-{who}-".encode()]


@pytest.mark.parametrize("kept_open", [True, False])
def test_a_namespace_is_gone_from_every_file_and_the_others_stay(place, kept_open):
    store = aegis_store.open(place, config=SMALL)
    fill(store.memory, ANN, "ann")
    fill(store.memory, (*ANN, "private"), "deep", keys=2)
    fill(store.memory, BOB, "bob")
    store.memory.delete(ANN, "key-ann-0")
    if not kept_open:
        store.close()
        store = aegis_store.open(place, config=SMALL)
    with store:
        others = held(store.memory, BOB)
        assert holds_bytes(place, *needles("ann")) != set()
        roots = [store._engine.head(Tier.MEMORY, size).root for size in range(store._engine.size(Tier.MEMORY) + 1)]
        done = store.memory.erase(ANN, reason="request 17", by="dpo")
        assert sorted(done.keys) == sorted(
            [(ANN, f"key-ann-{n}") for n in range(6)] + [((*ANN, "private"), f"key-deep-{n}") for n in range(2)]
        )
        assert holds_bytes(place, *needles("ann"), *needles("deep", 8), b"Kowalczyk", b"private") == set()
        assert held(store.memory) == others and list(store.memory.namespaces()) == [BOB]
        assert [store._engine.head(Tier.MEMORY, size).root for size in range(len(roots))] == roots
        assert store.memory.get(ANN, "key-ann-1") is None and list(store.memory.versions(ANN, "key-ann-1")) == []
        assert store.memory.put(ANN, "key-ann-1", "new").version == 1
        assert store.verify(deep=True).ok
    with aegis_store.open(place, config=SMALL) as store:
        assert held(store.memory, BOB) == others and store.memory.get(ANN, "key-ann-1").value == "new"
        assert holds_bytes(place, *needles("ann")[:-1], *needles("deep", 8)) == set()


def test_one_key_goes_and_its_neighbours_stay(place):
    with aegis_store.open(place, config=SMALL) as store:
        fill(store.memory, BOB, "bob", keys=3)
        pointer = store.memory.pointer()
        done = store.memory.erase(BOB, "key-bob-1", reason="a password")
        assert done.keys == ((BOB, "key-bob-1"),) and done.holders == ()
        gone = [own("bob", number) for number in range(12) if number % 3 == 1]
        assert holds_bytes(place, b"key-bob-1", *gone) == set()
        assert {key for _, key in held(store.memory)} == {"key-bob-0", "key-bob-2"}
        assert {key for _, key in held(store.memory, at=pointer)} == {"key-bob-0", "key-bob-2"}
        assert store.verify(deep=True).ok


def test_what_is_durable_and_was_not_noted_yet_goes_as_well(place):
    with aegis_store.open(place, config=SMALL) as store:
        store.memory.put(BOB, "j", 0)
        key = store.memory._keys.of(ANN, "key-ann-9")
        queued = key.put(canary("ann", 9), ttl_ms=None, expect=None, request_id=None, agent="agent")
        store.memory.records.commit(queued.ref.index)  # and whoever put it has not come to tell the catalogue
        assert store.memory.erase(ANN, reason="request 17").keys == ((ANN, "key-ann-9"),)
        key.settle(queued.ref.index)
        assert held(store.memory) == {(BOB, "j"): 0}
    assert holds_bytes(place, own("ann", 9), b"key-ann-9") == set()


def test_what_is_not_there_is_said_and_no_reason_names_whom_it_is_about(place):
    with aegis_store.open(place, config=SMALL) as store:
        store.memory.put(ANN, "k17", 1)
        with pytest.raises(NotFound, match="there is no key in the namespace 'nobody'"):
            store.memory.erase(("nobody",), reason="r")
        with pytest.raises(NotFound, match="nothing was ever put under key 'k18'"):
            store.memory.erase(ANN, "k18", reason="r")
        for reason, by in (("about ann-Kowalczyk", "dpo"), ("r", "users"), ("k17 leaked", "dpo")):
            with pytest.raises(InvalidArgument, match="would keep the name for ever"):
                store.memory.erase(ANN, "k17", reason=reason, by=by)
        assert held(store.memory) == {(ANN, "k17"): 1}


def test_a_hold_keeps_a_key_from_retention_and_erasure(place):
    with aegis_store.open(place, config=SMALL) as store:
        fill(store.memory, BOB, "bob", keys=2)
        hold = store.memory.hold(BOB, "key-bob-0", reason="case 7", holder="legal")
        assert store.memory.holds() == [hold] and (hold.namespace, hold.key) == (BOB, "key-bob-0")
        assert store.holds() == []
        assert store.retain([Rule(tier="memory", keep_last=1)]).memory.decisions.gone == 3
        assert len(list(store.memory.versions(BOB, "key-bob-0"))) == 4
        for key in ("key-bob-0", None):
            with pytest.raises(Held, match=r"key 'key-bob-0' of the namespace 'users'/'bob' is held by legal \(case 7\)"):
                store.memory.erase(BOB, key, reason="r")
        assert len(held(store.memory)) == 2
        store.memory.release(hold.number, reason="settled")
        store.memory.erase(BOB, reason="r")
        assert held(store.memory) == {}


def test_an_erasure_that_was_cut_short_is_finished_by_the_next_open(place, monkeypatch):
    class Killed(BaseException):
        pass

    def killed(*args, **options):
        raise Killed

    store = aegis_store.open(place, config=SMALL)
    fill(store.memory, ANN, "ann")
    fill(store.memory, BOB, "bob")
    others = held(store.memory, BOB)
    monkeypatch.setattr(compactor, "compact_segment", killed)
    with pytest.raises(Killed):
        store.memory.erase(ANN, reason="request 17")
    assert held(store.memory) == others
    abandon(store)
    monkeypatch.undo()
    with aegis_store.open(place, config=SMALL) as store:
        assert holds_bytes(place, *needles("ann"), b"Kowalczyk") == set()
        assert held(store.memory) == others and store.verify(deep=True).ok


# ---- the history window


def test_the_last_versions_stay_and_the_newest_always(place):
    with aegis_store.open(place, config=SMALL) as store:
        memory = store.memory
        fill(memory, BOB, "bob", keys=3, versions=6)
        memory.delete(BOB, "key-bob-2")
        newest = held(memory)
        roots = [store._engine.head(Tier.MEMORY, size).root for size in range(store._engine.size(Tier.MEMORY) + 1)]
        dry = store.retain([Rule(tier="memory", keep_last=2)], dry_run=True)
        found = store.retain([Rule(tier="memory", keep_last=2)])
        assert found.decisions.gone == 0 and found.memory.decisions.gone == dry.memory.decisions.gone == 4 + 4 + 5
        assert [each.version for each in memory.versions(BOB, "key-bob-0")] == [6, 5]
        assert [each.version for each in memory.versions(BOB, "key-bob-2")] == [6]
        assert holds_bytes(place, own("bob", 0)) != set()
        assert store.compact().payloads_gone == 13
        assert holds_bytes(place, own("bob", 0)) == set()
        assert held(memory) == newest
        assert [store._engine.head(Tier.MEMORY, size).root for size in range(len(roots))] == roots
        assert store.verify(deep=True).ok
        assert store.retain([Rule(tier="memory", keep_last=2)]).memory.decisions.gone == 0
        # Without a rule for the memory nothing of it goes.
        assert store.retain([Rule(keep_last=1)]).memory is None


def test_a_history_window_is_counted_from_when_a_version_was_superseded(place, clock):
    with aegis_store.open(place, config=SMALL, clock=clock) as store:
        memory, pointers = store.memory, []
        for number in range(5):
            memory.put(BOB, "k", number)
            clock.pass_seconds(100)
            pointers.append((clock.now, memory.pointer()))
        now = clock.now
        store.retain([Rule(tier="memory", keep_age=250)])
        for number, (when, pointer) in enumerate(pointers):
            if when > now - 250_000:
                assert memory.get(BOB, "k", at=pointer).value == number
        # The version of the third pointer was the newest until 200 seconds ago; that before it, until 300 seconds ago.
        assert [each.value for each in memory.versions(BOB, "k")] == [4, 3, 2]
        with pytest.raises(Pruned, match=r"a version of key 'k' .* is gone: .*\(keep_age 250\)") as caught:
            memory.get(BOB, "k", at=pointers[1][1])
        assert "[[retention]]" in caught.value.hint
        with pytest.raises(Pruned):
            list(memory.search(at=pointers[0][1]))


def test_refreshes_count_as_no_versions(place, clock):
    with aegis_store.open(place, config=SMALL, clock=clock) as store:
        memory = store.memory
        for number in range(3):
            memory.put(BOB, "k", {"n": number, "text": "x" * 300}, ttl=100)
            for _ in range(4):
                clock.pass_seconds(50)
                memory.get(BOB, "k")
                memory._refreshes._write()
        assert store._engine.size(Tier.MEMORY) == 2 + 15
        store.retain([Rule(tier="memory", keep_last=2)])
        assert [each.version for each in memory.versions(BOB, "k")] == [3, 2]
        store.compact()
        assert [each.value["n"] for each in memory.versions(BOB, "k")] == [2, 1]
        assert store.verify(deep=True).ok


def test_what_is_held_keeps_its_superseded_records_too(place, clock):
    with aegis_store.open(place, config=SMALL, clock=clock) as store:
        for key in ("held", "free"):
            store.memory.put(BOB, key, 1, ttl=100)
            clock.pass_seconds(50)
            store.memory.get(BOB, key)
            store.memory._refreshes._write()
        store.memory.hold(BOB, "held", reason="case 7", holder="legal")
        (gone,) = [each for each in store.retain([Rule(tier="memory", keep_last=1)]).memory.decisions.sessions if each.goes]
        assert gone.id.endswith("free") and gone.goes == (0,)


def test_compaction_in_the_background_does_both_tiers(place):
    with aegis_store.open(place, config=SMALL) as store:
        fill(store.memory, BOB, "bob")
        for number in range(10):
            store.session("s").checkpoint({"n": number})
        store.retain([Rule(keep_last=1), Rule(tier="memory", keep_last=1)])
        assert store.start_compaction().wait().payloads_gone == 9 + 18
        assert store.verify(deep=True).ok
