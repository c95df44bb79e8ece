"""Payloads that are compressed with what sessions have in common: made, used, found again, read by everybody, and refused where
the dictionary is not what it should be."""

from __future__ import annotations

import threading

import msgspec
import pytest

import aegis_store
from aegis_store import Config, Tier
from aegis_store.codec.compression import Dictionary
from aegis_store.codec.payload import seal
from aegis_store.dictionaries import KEPT, Dictionaries
from aegis_store.errors import BadSignature, Corrupt, Foreign, NoSpace
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.schema import dictionary as dictionary_schema
from aegis_store.types import Kind
from tests.stores import SMALL, Crash, blot, flip, forging, frame_of, noise, states

DELTA, NAMED, PRIMED = 4, 8, 16


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def prompt(seed: object = "p", size: int = 4000) -> str:
    return "".join(f"rule {number}: {noise(20, (seed, number)).hex()}.\n" for number in range(size // 50))


def state(name: object, step: int = 0, seed: object = "p") -> dict[str, object]:
    said = [noise(60, (name, number)).hex() for number in range(step)]
    return {"step": step, "messages": [{"role": "system", "content": prompt(seed)}, *said]}


def begin(store: aegis_store.Store, *names: object, seed: object = "p") -> list[aegis_store.Ref]:
    return [store.session(str(name)).checkpoint(state(name, seed=seed)) for name in names]


def dictionaries(store: aegis_store.Store) -> list[int]:
    """Those in the log."""
    found = [record.index for record in store.records.scan(0, store.records.size()) if record.kind == Kind.DICTIONARY]
    store.catch_up()
    assert found == [each.index for each in store.catalog.dictionaries()]
    return found


def named(store: aegis_store.Store, ref: aegis_store.Ref) -> int | None:
    """Which dictionary a checkpoint's payload names."""
    payload = store._engine.read(Tier.SESSION, ref.index).payload
    at = 24 if payload[1] & NAMED else 18
    return int.from_bytes(payload[at : at + 6], "little") if payload[1] & PRIMED else None


# ---- made and used --------------------------------------------------------------------------------------


def test_the_third_session_that_says_the_same_makes_a_dictionary_and_uses_it(place):
    with aegis_store.open(place) as store:
        refs = begin(store, *"abcd")
        (made,) = dictionaries(store)
        assert [named(store, ref) for ref in refs] == [None, None, made, made]
        assert made == refs[2].index - 1
        stored = [len(store._engine.read(Tier.SESSION, ref.index).payload) for ref in refs]
        assert max(stored[2:]) < stored[0] / 10
        assert prompt()[100:3800].encode() in store.records.dictionaries.content(made)
        assert [states(store, name) for name in "abcd"] == [[state(name)] for name in "abcd"]
        assert store.verify(deep=True).ok


@pytest.mark.parametrize("mode", ["a", "r"])
@pytest.mark.parametrize("cache", [0, 1 << 20], ids=["nothing kept", "kept"])
def test_sessions_and_forks_come_back_with_dictionaries(place, mode, cache):
    config = Config(segment_bytes=64 << 10, state_cache_bytes=cache)
    said = [state("common", step) for step in range(12)]
    with aegis_store.open(place, config=config) as store:
        for name in "abcdef":
            refs = [store.session(name).checkpoint(each) for each in said]
            fork = store.session(name).fork(f"fork of {name}", at=refs[5])
            last = fork.checkpoint(state("common", 20))
        flags = {store._engine.read(Tier.SESSION, ref.index).payload[1] for ref in refs}
        assert flags == {PRIMED, PRIMED | DELTA}
        assert store._engine.read(Tier.SESSION, last.index).payload[1] == PRIMED | DELTA | NAMED
    with aegis_store.open(place, mode=mode, config=config) as store:
        assert dictionaries(store)
        for name in "abcdef":
            assert states(store, name) == said
            assert states(store, f"fork of {name}") == [*said[:6], state("common", 20)]
        assert store.verify(deep=True).ok


def test_after_it_was_opened_again_the_dictionary_is_still_used(place):
    with aegis_store.open(place) as store:
        begin(store, *"abc")
        (made,) = dictionaries(store)
    with aegis_store.open(place) as store:
        assert {named(store, ref) for ref in begin(store, *"defgh")} == {made}
        assert dictionaries(store) == [made]
    (place / "catalog" / "sidecar").unlink()
    with aegis_store.open(place) as store:
        assert named(store, *begin(store, "i")) == made


def test_a_new_prompt_makes_a_new_dictionary_that_holds_the_old_one(place):
    with aegis_store.open(place) as store:
        begin(store, *"abc")
        refs = begin(store, *"defg", seed="q")
        first, second = dictionaries(store)
        assert [named(store, ref) for ref in refs[2:]] == [second, second]
        content = store.records.dictionaries.content
        assert content(second).startswith(content(first))
        assert named(store, *begin(store, "h")) == second
    with aegis_store.open(place, mode="r") as store:
        assert [states(store, name) for name in "cg"] == [[state("c")], [state("g", seed="q")]]


def test_what_only_two_sessions_said_is_in_no_dictionary(place):
    """A secret that an agent had in two sessions, and in any number of forks of them, stays where it was said."""
    canary = "the password is " + noise(30, "canary").hex()
    with aegis_store.open(place) as store:
        for number in range(40):
            session = store.session(f"s{number}")
            secret = [canary] if number in (3, 4) else []
            session.checkpoint({"messages": [prompt()]})
            session.checkpoint({"messages": [prompt(), f"step {number}", prompt(number // 4), *secret]})
            for fork in range(5 if secret else 0):
                session.fork(f"fork {number} {fork}").checkpoint({"messages": [prompt(), *secret, canary], "n": fork})
        found = dictionaries(store)
        contents = [store.records.dictionaries.content(index) for index in found]
    assert len(found) > 1 and any(prompt(1)[200:1000].encode() in content for content in contents)
    for at in range(0, len(canary) - 12):
        assert not any(canary[at : at + 12].encode() in content for content in contents)


def test_forks_do_not_count(place):
    with aegis_store.open(place) as store:
        (ref,) = begin(store, "a")
        for number in range(6):
            fork = store.session("a").fork(f"f{number}", at=ref)
            last = fork.checkpoint({**state("a"), "other": prompt("q"), "n": number})
        assert store._engine.read(Tier.SESSION, last.index).payload[1] == DELTA | NAMED
        assert dictionaries(store) == []


def test_what_the_dictionary_does_not_help_is_stored_without(place):
    with aegis_store.open(place) as store:
        begin(store, *"abc")
        ref = store.session("d").checkpoint(noise(3000))
        assert named(store, ref) is None
        tiny = store.session("e").checkpoint(1)
        assert named(store, tiny) is None


def test_threads_agree_on_one(place):
    with aegis_store.open(place) as store:
        errors = []

        def work(number: int) -> None:
            try:
                for each in range(6):
                    begin(store, f"{number}.{each}")
            except Exception as error:
                errors.append(error)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors
        assert len(dictionaries(store)) == 1
        assert store.verify(deep=True).ok
    with aegis_store.open(place, mode="r") as store:
        assert all(states(store, f"{a}.{b}") == [state(f"{a}.{b}")] for a in range(6) for b in range(6))


def test_a_reader_reads_what_a_writer_compresses_meanwhile(place):
    with aegis_store.open(place) as store:
        begin(store, "a")
        with aegis_store.open(place, mode="r") as reader:
            begin(store, *"bcd")
            assert states(reader, "d") == [state("d")]
            assert len(dictionaries(reader)) == 1


# ---- what goes wrong while it is written ----------------------------------------------------------------


def test_a_dictionary_that_cannot_be_written_fails_no_checkpoint(place, monkeypatch):
    with aegis_store.open(place) as store:
        append, refused = store.records.append, []

        def full(kind, *args, **fields):
            if kind is Kind.DICTIONARY:
                refused.append(kind)
                raise NoSpace("no space", op="append")
            return append(kind, *args, **fields)

        monkeypatch.setattr(store.records, "append", full)
        refs = begin(store, *"abcdef")
        assert len(refused) == 1, "it is put off, not tried with each checkpoint"
        assert {named(store, ref) for ref in refs} == {None}
        monkeypatch.undo()
        begin(store, *"ghi", seed="q")
        assert len(dictionaries(store)) == 1
        assert store.verify(deep=True).ok


@pytest.mark.parametrize("late", [False, True])
def test_an_interrupt_around_a_dictionary_loses_nothing(place, monkeypatch, late):
    with aegis_store.open(place) as store:
        begin(store, *"ab")
        append = store.records.append

        def interrupted(kind, *args, **fields):
            if kind is not Kind.DICTIONARY:
                return append(kind, *args, **fields)
            if late:
                append(kind, *args, **fields)
            raise Crash

        monkeypatch.setattr(store.records, "append", interrupted)
        with pytest.raises(Crash):
            begin(store, "c")
        monkeypatch.undo()
        begin(store, *"cdefg")
        assert len(dictionaries(store)) == 1 + late
        assert store.verify(deep=True).ok
    with aegis_store.open(place) as store:
        assert [states(store, name) for name in "abcdefg"] == [[state(name)] for name in "abcdefg"]


# ---- taken back -----------------------------------------------------------------------------------------


def test_what_is_retired_is_used_for_nothing_new_and_still_read(place):
    with aegis_store.open(place) as store:
        refs = begin(store, *"abcd")
        (made,) = dictionaries(store)
        store.records.dictionaries.retire([made])
        assert store.records.dictionaries.current is None
        later = begin(store, *"ef")
        assert [named(store, ref) for ref in later] == [None, None]
        assert named(store, refs[3]) == made and states(store, "d") == [state("d")]
        third = begin(store, "g")[0]
        assert dictionaries(store) == [made, third.index - 1]
        assert [each.is_retired for each in store.catalog.dictionaries()] == [True, False]
        store.records.dictionaries.retire([third.index - 1])
    with aegis_store.open(place) as store:
        assert store.records.dictionaries.current is None
        assert states(store, "d") == [state("d")]


def test_what_was_forgotten_is_written_nowhere(place):
    with aegis_store.open(place) as store:
        begin(store, *"ab")
        store.records.dictionaries.forget()
        begin(store, "c")
        assert dictionaries(store) == []
        begin(store, *"de")
        assert len(dictionaries(store)) == 1


# ---- damaged, forged ------------------------------------------------------------------------------------


def test_a_damaged_dictionary_is_named_and_not_built_upon(place):
    with aegis_store.open(place, config=SMALL) as store:
        refs = begin(store, *"abcd")
        (made,) = dictionaries(store)
    path, span = frame_of(place, made)
    flip(path, span.payload + 60)
    with aegis_store.open(place, config=SMALL) as store:
        assert states(store, "a") == [state("a")]
        for ref in refs[2:]:
            with pytest.raises(Corrupt, match=f"the dictionary of record {made}") as caught:
                store.records.read(ref.index)
            assert caught.value.index == ref.index
        assert store.records.dictionaries.current is None
        assert {each.index for each in store.verify(deep=True).findings} == {made, refs[2].index, refs[3].index}


def test_a_dictionary_that_the_log_key_did_not_sign_is_refused(place):
    content, text = prompt("forged").encode(), state("x", seed="forged")
    envelope = checkpoint_schema.encode(checkpoint_schema.Checkpoint(state=text))
    with aegis_store.open(place, agent="planner") as store:
        begin(store, "a")
    found: dict[str, int] = {}
    with forging(place) as forger:
        agent = forger.keys.find_agent("planner")

        def dictionary(signer) -> int:
            sealed = forger.sealed(Kind.DICTIONARY, dictionary_schema.encode(content), signer)
            return forger.append(Kind.DICTIONARY, *sealed)

        names = {
            "an agent's": dictionary(agent),
            "the enrolment key's": dictionary(forger.keys.enrolment),
            "none": 1_000_000,
            "a key": 0,
            "a session": 1,
            "a checkpoint": 2,
            "itself": 11,
        }
        for what, index in names.items():
            sealed = seal(envelope, noise(16, what), Dictionary(index, content))
            assert sealed.payload[1] == PRIMED
            fields = {"session_tag": b"t" * 16, "parent": 1, "parent_leaf": b"l" * 32}
            entry = forger.entry(Kind.CHECKPOINT, sealed.commitment, sealed.length, agent, **fields)
            found[what] = forger.append(Kind.CHECKPOINT, entry, sealed.payload)
        assert found["itself"] == names["itself"]
        begun = forger.entry(Kind.SESSION_BEGIN, sealed.commitment, sealed.length, agent, session_tag=b"u" * 16)
        found["no checkpoint"] = forger.append(Kind.SESSION_BEGIN, begun, sealed.payload)
        index = dictionary(forger.keys.log)
        inner = seal(dictionary_schema.encode(content), noise(16), Dictionary(index, content))
        entry = forger.entry(Kind.DICTIONARY, inner.commitment, inner.length, forger.keys.log)
        found["a dictionary"] = forger.append(Kind.DICTIONARY, entry, inner.payload)
    with aegis_store.open(place, mode="r") as store:
        for what, error, says in (
            ("an agent's", BadSignature, "the log key did not sign it"),
            ("the enrolment key's", BadSignature, "the log key did not sign it"),
            ("none", Corrupt, "comes after it"),
            ("a key", Foreign, "of kind key-add"),
            ("a session", Foreign, "of kind session-begin"),
            ("a checkpoint", Foreign, "of kind checkpoint"),
            ("itself", Corrupt, "comes after it"),
            ("no checkpoint", Corrupt, "where it cannot be"),
            ("a dictionary", Corrupt, "where it cannot be"),
        ):
            with pytest.raises(error, match=says) as caught:
                store.records.read(found[what])
            assert caught.value.index == found[what]
        findings = {each.index for each in store.verify(deep=True).findings}
        assert findings >= {*found.values(), names["an agent's"], names["the enrolment key's"]}


def test_a_wrong_dictionary_makes_no_other_state(place):
    """What a frame copies from another dictionary is other bytes: the commitment says so."""
    with aegis_store.open(place, agent="planner") as store:
        ref = begin(store, *"abc")[-1]
        begin(store, *"def", seed="q")
        first, second = dictionaries(store)
        record = store._engine.read(Tier.SESSION, ref.index)
        payload = record.payload[:18] + second.to_bytes(6, "little") + record.payload[24:]
        assert record.payload[18:24] == first.to_bytes(6, "little")
        with pytest.raises(Corrupt):
            store.records.check(msgspec.structs.replace(record, payload=payload))
        assert store.records.check(record).leaf == ref.leaf


def test_a_dictionary_whose_frame_is_gone_leaves_what_was_compressed_without_it(place):
    with aegis_store.open(place, config=SMALL) as store:
        refs = begin(store, *"abcd")
        (made,) = dictionaries(store)
    path, span = frame_of(place, made)
    blot(path, span.payload, 100)
    with aegis_store.open(place, mode="r", config=SMALL) as store:
        assert store.records.read(refs[0].index).agent == "agent"
        with pytest.raises(Corrupt, match=f"the dictionary of record {made}"):
            store.records.read(refs[3].index)


# ---- the object by itself -------------------------------------------------------------------------------


class Empty:
    """A catalogue that knows no dictionary."""

    def dictionaries(self, tier):
        return []


def test_older_dictionaries_are_read_once_and_few_are_kept():
    reads = []
    every = Dictionaries(Empty(), Tier.SESSION, lambda index: reads.append(index) or b"content %d" % index)
    for index in (*range(KEPT), *range(KEPT)):
        assert every.content(index) == b"content %d" % index
    assert reads == list(range(KEPT))
    every.get(KEPT)
    every.get(0)
    assert reads == [*range(KEPT), KEPT, 0]
