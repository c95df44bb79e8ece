"""Records: what is signed, by whom, from when on; and that nothing is believed which any check refuses."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

import aegis_store
from aegis_store import Config, Tier
from aegis_store.catalog import KeyRevoked
from aegis_store.codec.payload import open_payload, seal
from aegis_store.errors import BadSignature, Corrupt, Foreign, KeysWrong, NewerFormat, NotFound, StateTooLarge
from aegis_store.records import ENVELOPE_MARGIN_BYTES, Position, leaf_of
from aegis_store.schema import keys as key_schema
from aegis_store.schema.checkpoint import Checkpoint, encode
from aegis_store.schema.entry import ENTRY_SIZE, UNSIGNED_SIZE, pack, parse, signing_message
from aegis_store.trust.keys import KeyDirectory
from aegis_store.trust.signer import FileSigner, key_id, verify_signature
from aegis_store.types import Kind, LogIndex
from tests.stores import Dice, Told, abandon, after, forging, noise, states

STATE = encode(Checkpoint(state="forged"))


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


@pytest.fixture
def store(place):
    with aegis_store.open(place, agent="planner") as opened:
        yield opened


def kinds(store) -> list[str]:
    return [parse(record.entry).kind.label for record in store.records.scan(0, store.records.size())]


def tag_of(store, name: str) -> bytes:
    return store.catalog.session(name).tag


# ---- what a record is -------------------------------------------------------------------------------------------------------


def test_a_record_is_signed_and_commits_to_its_envelope(store):
    ref = store.session("s").checkpoint({"a": 1}, position="p")
    record = store.records.engine.read(Tier.SESSION, ref.index)
    entry = parse(record.entry)
    signer = store.keys.find_agent("planner")
    assert (len(record.entry), record.kind, entry.key_id) == (ENTRY_SIZE, Kind.CHECKPOINT, signer.key_id)
    message = signing_message(store.keys.store_id, Tier.SESSION, record.entry[:UNSIGNED_SIZE])
    assert verify_signature(signer.public_key, message, entry.signature)
    assert not verify_signature(signer.public_key, message[:-1] + b"\x00", entry.signature)
    envelope = open_payload(record.payload, length=entry.length, commitment=entry.commitment, limit=10_000)
    assert envelope == encode(Checkpoint(state={"a": 1}, position="p"))
    trusted = store.records.read(ref.index)
    assert (trusted.index, trusted.leaf, trusted.agent) == (ref.index, ref.leaf, "planner")
    assert (trusted.envelope, trusted.entry) == (envelope, entry)
    assert leaf_of(record.entry) == record.leaf == ref.leaf


def test_equal_states_have_different_commitments(store):
    one, two = (store.session("s").checkpoint("same") for _ in range(2))
    first, second = (store.records.read(ref.index).entry for ref in (one, two))
    assert first.commitment != second.commitment


def test_no_name_and_no_content_is_in_an_entry(store):
    store.session("confidential-session").checkpoint("confidential-state", metadata={"confidential": "meta"})
    for record in store.records.scan(0, store.records.size()):
        assert b"confidential" not in record.entry
        assert b"planner" not in record.entry


def test_the_time_of_a_record_is_the_clocks_unless_its_parent_is_later(place):
    with aegis_store.open(place, clock=Told(0, 50, 20, 30, 60)) as store:
        records, signer = store.records, store.signer_for("a")
        sealed = records.seal(STATE)
        first = records.append(Kind.SESSION_BEGIN, sealed, signer, tag=b"t" * 16)
        second = records.append(Kind.CHECKPOINT, sealed, signer, tag=b"t" * 16, parent=first)
        late = Position(index=second.index, leaf=second.leaf, time_ms=70)
        third = records.append(Kind.CHECKPOINT, sealed, signer, tag=b"t" * 16, ordinal=1, parent=late)
        assert [first.time_ms, second.time_ms, third.time_ms] == [20, 30, 70]
        records.commit(third.index)
        assert [records.read(each.index).entry.time_ms for each in (first, second, third)] == [20, 30, 70]
        assert [records.read(each.index).leaf for each in (first, second)] == [first.leaf, second.leaf]


def test_the_limit_counts_for_states_and_leaves_a_margin_for_what_is_around_them(place):
    with aegis_store.open(place, config=Config(state_limit_bytes=5000)) as store:
        store.records.demand_limit(5000)
        with pytest.raises(StateTooLarge, match="the state has 5,001 bytes, and the limit for a state is 5,000"):
            store.records.demand_limit(5001)
        store.records.seal(bytes(5000 + ENVELOPE_MARGIN_BYTES))
        with pytest.raises(StateTooLarge, match="the checkpoint has"):
            store.records.seal(bytes(5001 + ENVELOPE_MARGIN_BYTES))


def test_what_is_queued_and_forgotten_is_made_durable_by_a_flush(store):
    store.session("s").checkpoint(0)
    signer, size = store.signer_for("planner"), store.records.size()
    store.records.flush()
    assert store.records.size() == size
    for ordinal in range(5):
        store.records.append(
            Kind.CHECKPOINT,
            store.records.seal(STATE),
            signer,
            tag=tag_of(store, "s"),
            ordinal=ordinal,
            parent=Position(index=LogIndex(0), leaf=b"l" * 32, time_ms=0),
        )
    assert store.records.size() == size
    store.records.flush()
    assert store.records.size() == size + 5


def test_a_record_that_is_not_there_is_not_found(store):
    with pytest.raises(NotFound):
        store.records.read(LogIndex(0))
    store.session("s").checkpoint(0)
    with pytest.raises(NotFound):
        store.records.read(LogIndex(3))
    assert list(store.records.scan(3, 9)) == []


# ---- enrolment --------------------------------------------------------------------------------------------------------------


def test_an_agents_key_is_enrolled_once_in_a_log_before_it_signs(place):
    for _ in range(3):
        with aegis_store.open(place, agent="planner") as store:
            store.session("s").checkpoint(0)
            store.session("t").checkpoint(1)
    with aegis_store.open(place, agent="planner") as store:
        assert kinds(store) == ["key-add", "session-begin", "checkpoint", "session-begin", *["checkpoint"] * 5]
        added = store.records.read(LogIndex(0))
        assert added.agent == ""
        key = key_schema.decode_add(added.envelope)
        assert (key.agent, key.public_key) == ("planner", store.keys.find_agent("planner").public_key)


def test_each_agent_has_a_key_of_its_own_enrolled_when_it_first_writes(store):
    store.session("s").checkpoint(0)
    assert store.session("s", agent="critic").latest().state == 0
    assert kinds(store).count("key-add") == 1
    store.session("s", agent="critic").checkpoint(1)
    assert kinds(store) == ["key-add", "session-begin", "checkpoint", "key-add", "checkpoint"]
    agents = [store.records.read(LogIndex(index)).agent for index in (1, 2, 4)]
    assert agents == ["planner", "planner", "critic"]


def test_a_crash_between_enrolment_and_the_first_checkpoint_changes_nothing(place):
    store = aegis_store.open(place)
    store.signer_for("agent")
    abandon(store)
    with aegis_store.open(place) as store:
        store.session("s").checkpoint(0)
        assert kinds(store) == ["key-add", "session-begin", "checkpoint"]


def test_an_agent_whose_key_was_lost_gets_another_and_its_old_records_stay_believed(place):
    with aegis_store.open(place, agent="planner") as store:
        store.session("s").checkpoint("old")
        old = store.keys.find_agent("planner")
    for file in (place.with_name("state.keys") / "agents").iterdir():
        file.unlink()
    with aegis_store.open(place, agent="planner") as store:
        assert store.session("s").checkpoint("new").ordinal == 1
        new = store.keys.find_agent("planner")
        assert new.public_key != old.public_key
        assert kinds(store) == ["key-add", "session-begin", "checkpoint", "key-add", "checkpoint"]
        assert [(each.state, each.agent) for each in store.session("s").history()] == [("new", "planner"), ("old", "planner")]
        assert store.verify(deep=True).ok


def names_that_share_a_key_id() -> tuple[str, bytes, str, bytes]:
    """Two agents and their seeds whose key ids are the same: a birthday among 2^32 takes some 100,000 names."""
    one, two = (FileSigner("", noise(32, seed)).public_key for seed in ("one", "two"))
    seen = {key_id(f"a{number}", one): f"a{number}" for number in range(150_000)}
    for number in range(10**6):
        name = f"b{number}"
        if (found := key_id(name, two)) in seen:
            return seen[found], noise(32, "one"), name, noise(32, "two")
    raise AssertionError("no two names")


class Seeds:
    """Randomness whose next draws of 32 bytes are given."""

    def __init__(self, *seeds: bytes) -> None:
        self._seeds = list(seeds)
        self._dice = Dice("seeds")

    def draw(self, count: int) -> bytes:
        return self._seeds.pop(0) if count == 32 and self._seeds else self._dice.draw(count)


def test_two_keys_of_a_log_never_share_an_id(tmp_path):
    one, seed_one, two, seed_two = names_that_share_a_key_id()
    with aegis_store.open(tmp_path / "state") as store:
        first = Seeds(seed_one, seed_two)
        store.keys._randomness = first
        assert store.signer_for(one).seed == seed_one
        other = store.signer_for(two)  # was drawn again
        assert other.seed not in (seed_one, seed_two)
        assert other.key_id != store.signer_for(one).key_id
        for name in (one, two):
            store.session("s", agent=name).checkpoint(name)
        assert [each.agent for each in store.session("s").history()] == [two, one]


def test_a_key_whose_id_another_key_has_in_the_log_is_refused(place):
    one, seed_one, two, seed_two = names_that_share_a_key_id()
    with aegis_store.open(place) as store:
        store.keys._randomness = Seeds(seed_one)
        store.session("s", agent=one).checkpoint(0)
    for file in (place.with_name("state.keys") / "agents").iterdir():
        file.unlink()
    with aegis_store.open(place) as store:
        store.keys._randomness = Seeds(seed_two)
        store.keys.agent(two, taken=())  # a key that was drawn elsewhere: the store itself draws none of an id that is taken
        with pytest.raises(KeysWrong, match="another key's") as caught:
            store.session("s", agent=two).checkpoint(1)
        assert "remove the agent's key" in caught.value.hint
        assert kinds(store) == ["key-add", "session-begin", "checkpoint"]
        assert states(store, "s") == [0]


# ---- what is not believed ---------------------------------------------------------------------------------------------------


@pytest.fixture
def closed(place):
    """A store with two sessions and an agent each; where the sessions stand."""
    with aegis_store.open(place, agent="planner") as store:
        refs = {}
        for name, agent in (("s", "planner"), ("t", "critic")):
            for number in range(3):
                refs[name] = store.session(name, agent=agent).checkpoint([name, number])
        tags = {name: tag_of(store, name) for name in refs}
    return place, refs, tags


def refusal(place, name: str = "s") -> Corrupt:
    """What latest, history and a further checkpoint of a session raise; all other sessions go on."""
    with aegis_store.open(place, agent="planner") as store:
        with pytest.raises(Corrupt) as caught:
            store.session(name).latest()
        with pytest.raises(Corrupt):
            next(store.session(name).history())
        assert store.session("t" if name == "s" else "s").latest().state[1] == 2
        finding = store.verify(deep=True).findings
        assert [each.index for each in finding] == [caught.value.index]
    return caught.value


def forged_by_a_stranger(forger, fields):
    return forger.checkpoint("forged", forger.stranger, **fields)


def forged_under_the_agents_id(forger, fields):
    class Pretender:
        key_id = forger.keys.find_agent("planner").key_id
        sign = staticmethod(forger.stranger.sign)

    return forger.checkpoint("forged", Pretender(), **fields)


def signed_before_it_was_enrolled(forger, fields):
    agent = forger.keys.agent("newcomer")
    index = forger.checkpoint("forged", agent, **fields)
    add = key_schema.encode_add(key_schema.KeyAdd(agent="newcomer", public_key=agent.public_key))
    forger.append(Kind.KEY_ADD, *forger.sealed(Kind.KEY_ADD, add, forger.keys.enrolment))
    return index


def enrolled_by_itself(forger, fields):
    add = key_schema.encode_add(key_schema.KeyAdd(agent="stranger", public_key=forger.stranger.public_key))
    forger.append(Kind.KEY_ADD, *forger.sealed(Kind.KEY_ADD, add, forger.stranger))
    return forger.checkpoint("forged", forger.stranger, **fields)


def of_another_store(forger, fields):
    envelope, agent = STATE, forger.keys.find_agent("planner")
    entry, payload = forger.sealed(Kind.CHECKPOINT, envelope, agent, store_id=b"another store id", **fields)
    return forger.append(Kind.CHECKPOINT, entry, payload)


def signed_for_another_tier(forger, fields):
    agent = forger.keys.find_agent("planner")
    entry, payload = forger.sealed(Kind.CHECKPOINT, STATE, agent, **fields)
    other = signing_message(forger.keys.store_id, Tier.MEMORY, entry)
    return forger.append(Kind.CHECKPOINT, entry[:UNSIGNED_SIZE] + agent.sign(other), payload)


def with_another_state(forger, fields):
    """The agent's newest entry is moved on: its signature stays for what it had signed."""
    record = forger.read(fields["parent"])
    entry = parse(record.entry)
    moved = msgspec.structs.replace(
        entry, ordinal=fields["ordinal"], parent=fields["parent"], parent_leaf=fields["parent_leaf"]
    )
    return forger.append(Kind.CHECKPOINT, pack(moved), record.payload)


def with_another_payload(forger, fields):
    agent = forger.keys.find_agent("planner")
    entry, _ = forger.sealed(Kind.CHECKPOINT, STATE, agent, **fields)
    payload, _, _ = seal(STATE, b"another salt 16b")
    return forger.append(Kind.CHECKPOINT, entry, payload)


def with_a_garbled_payload(forger, fields):
    entry, payload = forger.sealed(Kind.CHECKPOINT, STATE * 9, forger.keys.find_agent("planner"), **fields)
    return forger.append(Kind.CHECKPOINT, entry, payload[:18] + hashlib.sha256(payload).digest())


def with_an_envelope_of_another_schema(forger, fields):
    agent = forger.keys.find_agent("planner")
    envelope = key_schema.encode_add(key_schema.KeyAdd(agent="x", public_key=bytes(32)))
    return forger.append(Kind.CHECKPOINT, *forger.sealed(Kind.CHECKPOINT, envelope, agent, **fields))


FORGERIES = [
    (forged_by_a_stranger, BadSignature, "no key with id"),
    (forged_under_the_agents_id, BadSignature, "'planner' did not sign it"),
    (signed_before_it_was_enrolled, BadSignature, "no key with id"),
    (enrolled_by_itself, BadSignature, "no key with id"),
    (of_another_store, BadSignature, "'planner' did not sign it"),
    (signed_for_another_tier, BadSignature, "'planner' did not sign it"),
    (with_another_state, BadSignature, "'planner' did not sign it"),
    (with_another_payload, Corrupt, "commits to"),
    (with_a_garbled_payload, Corrupt, "zstd"),
]


@pytest.mark.parametrize(("forge", "kind", "said"), FORGERIES, ids=lambda value: getattr(value, "__name__", ""))
def test_a_forged_record_is_refused_by_name(closed, forge, kind, said):
    place, refs, tags = closed
    with forging(place) as forger:
        index = forge(forger, after(refs["s"], tags["s"]))
    if forge is enrolled_by_itself:  # two findings: the enrolment, and what was signed under it
        with aegis_store.open(place) as store:
            assert [each.index for each in store.verify(deep=True).findings] == [index - 1, index]
            with pytest.raises(BadSignature, match=said):
                store.session("s").latest()
        return
    error = refusal(place)
    assert type(error) is kind
    assert said in str(error)
    assert (error.index, error.tier, error.path) == (index, "session", str(place))
    assert "aegis verify" in error.hint


def test_a_signed_envelope_of_another_schema_is_no_checkpoint(closed):
    place, refs, tags = closed
    with forging(place) as forger:
        index = with_an_envelope_of_another_schema(forger, after(refs["s"], tags["s"]))
    with aegis_store.open(place) as store, pytest.raises(Corrupt, match="key-add") as caught:
        store.session("s").latest()
    assert (caught.value.index, caught.value.tier) == (index, "session")


def test_an_entry_of_another_tier_in_this_log_is_foreign(closed):
    place, refs, tags = closed
    with forging(place) as forger:
        agent = forger.keys.find_agent("planner")
        entry, payload = forger.sealed(Kind.CHECKPOINT, STATE, agent, tier=Tier.MEMORY, **after(refs["s"], tags["s"]))
        index = forger.append(Kind.CHECKPOINT, entry, payload)
    with aegis_store.open(place) as store:
        with pytest.raises(Foreign, match="in tier memory"):
            store.records.read(LogIndex(index))
        assert [each.index for each in store.verify(deep=True).findings] == [index]


def test_a_record_of_a_later_version_is_not_guessed_at(closed):
    place, _, _ = closed
    with forging(place) as forger:
        record = forger.read(2)
        forger.append(Kind.CHECKPOINT, b"\x01" + record.entry[1:], record.payload)
    with pytest.raises(NewerFormat, match="version 1"):
        aegis_store.open(place)


# ---- revocation -------------------------------------------------------------------------------------------------------------


def revoke(forger, agent: str, signer) -> int:
    key = forger.keys.find_agent(agent)
    envelope = key_schema.encode_revoke(key_schema.KeyRevoke(agent=agent, public_key=key.public_key, reason="leaked"))
    return forger.append(Kind.KEY_REVOKE, *forger.sealed(Kind.KEY_REVOKE, envelope, signer))


def test_a_revoked_key_is_believed_up_to_its_revocation_and_no_further(closed):
    place, refs, tags = closed
    with forging(place) as forger:
        revoke(forger, "planner", forger.keys.enrolment)
        index = forger.checkpoint("too late", forger.keys.find_agent("planner"), **after(refs["s"], tags["s"]))
    with aegis_store.open(place) as store:
        with pytest.raises(BadSignature, match="no key with id") as caught:
            store.session("s").latest()
        assert caught.value.index == index
        assert [each.state[1] for each in store.session("s").history(before=3)] == [2, 1, 0]
        assert store.session("t").latest().state == ["t", 2]


def test_an_agent_whose_key_was_revoked_is_enrolled_again_when_it_writes(closed):
    place, _, _ = closed
    with forging(place) as forger:
        revoke(forger, "planner", forger.keys.enrolment)
    with aegis_store.open(place, agent="planner") as store:
        store.session("s").checkpoint("again")
        assert kinds(store)[-3:] == ["key-revoke", "key-add", "checkpoint"]
        assert len(states(store, "s")) == 4
        assert store.verify(deep=True).ok


def test_a_revocation_that_the_enrolment_key_did_not_sign_revokes_nothing(closed):
    place, _, _ = closed
    with forging(place) as forger:
        index = revoke(forger, "planner", forger.stranger)
    with aegis_store.open(place, agent="planner") as store:
        store.session("s").checkpoint("goes on")
        assert kinds(store)[-2:] == ["key-revoke", "checkpoint"]
        assert store.session("s").latest().state == "goes on"
        assert [(each.index, "enrolment key" in each.problem) for each in store.verify(deep=True).findings] == [(index, True)]


def test_the_enrolment_key_is_not_an_agents_key(closed):
    place, refs, tags = closed
    with forging(place) as forger:
        forger.checkpoint("forged", forger.keys.enrolment, **after(refs["s"], tags["s"]))
    assert "no key with id" in str(refusal(place))


def test_a_damaged_enrolment_is_named_by_what_was_signed_under_it(closed, monkeypatch):
    place, _, _ = closed
    with aegis_store.open(place) as store:
        real = store.records.engine.read

        def read(tier, index):
            if index == 0:
                raise Corrupt("record 0 is damaged", tier="session", index=0)
            return real(tier, index)

        monkeypatch.setattr(store.records.engine, "read", read)
        with pytest.raises(Corrupt, match="record 0 is damaged"):
            store.session("s").latest()
        assert store.session("t").latest().state == ["t", 2]


def test_a_catalogue_that_names_another_record_for_a_key_is_found_out(closed, monkeypatch):
    place, _, _ = closed
    with aegis_store.open(place) as store:
        real = store.catalog.key

        def wrong(tier, found):
            return [msgspec.structs.replace(key, added=LogIndex(1), public_key=bytes(32)) for key in real(tier, found)]

        monkeypatch.setattr(store.catalog, "key", wrong)
        with pytest.raises(Corrupt):
            store.session("s").latest()


def test_keys_of_another_directory_do_not_pass_for_the_stores(closed, tmp_path):
    place, _, _ = closed
    keys = KeyDirectory.load(tmp_path / "state.keys")
    stranger = FileSigner("planner", noise(32, "x"))
    assert stranger.key_id != keys.find_agent("planner").key_id
    with aegis_store.open(place) as store:
        record = store.records.engine.read(Tier.SESSION, 2)
        store.records._enrolment_key = stranger.public_key
        store.records._allowed.clear()
        with pytest.raises(BadSignature, match="enrolment key"):
            store.records.check(record)


def test_what_the_catalogue_learns_of_a_key_is_heard_by_the_next_read(store):
    ref = store.session("s").checkpoint(1)
    key_id = store.keys.find_agent("planner").key_id
    asked = []
    look_up = store.catalog.key
    store.catalog.key = lambda tier, key: asked.append(key) or look_up(tier, key)
    for _ in range(3):
        store.records.read(ref.index)
    assert len(asked) <= 1
    public_key = store.keys.find_agent("planner").public_key
    store.catalog.note(KeyRevoked(tier=Tier.SESSION, index=ref.index, key_id=key_id, public_key=public_key))
    with pytest.raises(BadSignature):
        store.records.read(ref.index)
