from __future__ import annotations

import threading

import pytest

import aegis_store
from aegis_store.enrolment import SUBJECT
from aegis_store.errors import BadSignature, InvalidArgument, KeysWrong, NotFound, ReadOnly
from aegis_store.records import Records
from aegis_store.types import Tier

from .stores import SMALL, Crash, abandon, states


@pytest.fixture
def place(tmp_path):
    return tmp_path / "state"


def test_what_was_signed_before_stays_good_and_a_new_key_signs_what_comes(place):
    with aegis_store.open(place, agent="bot", config=SMALL) as store:
        store.session("s").checkpoint({"n": 0})
        store.audit.record("x", "y", "z")
        before = store.keys.agent("bot").public_key
        done = store.revoke_key("bot", reason="it leaked", by="ops")
        assert (done.agent, list(done.records)) == ("bot", ["session", "audit"])
        assert store.session("s").latest().state == {"n": 0}
        store.session("s").checkpoint({"n": 1})
        assert store.keys.agent("bot").public_key != before
        assert states(store, "s") == [{"n": 0}, {"n": 1}]
        assert store.verify(deep=True).ok
        old, new = store.agent_keys()
        assert (old.public_key, old.is_allowed, old.is_here, sorted(old.revoked)) == (
            before,
            False,
            False,
            ["audit", "session"],
        )
        assert (new.is_allowed, new.is_here) == (True, True)
        (event,) = store.audit.events(SUBJECT)
        assert (event.actor, event.action, event.details["reason"]) == ("ops", "key.revoked", "it leaked")
        assert event.details["key_ids"] == list(done.key_ids) == [old.key_id]
    with aegis_store.open(place, mode="r") as store:
        assert store.verify(deep=True).ok
        assert [each.is_allowed for each in store.agent_keys()] == [False, True]


def test_what_a_copy_of_the_key_signs_later_is_not_believed(place):
    with aegis_store.open(place, agent="bot", config=SMALL) as store:
        store.session("s").checkpoint({"n": 0})
        copy = store.keys.agent("bot")
        store.revoke_key("bot", reason="it leaked")
        store._enrolment._signers["bot", Tier.SESSION] = copy
        store.session("s").checkpoint({"n": "forged"})
        with pytest.raises(BadSignature, match="no key with id"):
            store.session("s").latest()
        assert not store.verify(deep=True).ok


def test_a_revoked_key_whose_file_is_back_is_never_enrolled_again(place):
    with aegis_store.open(place, agent="bot", config=SMALL) as store:
        store.session("s").checkpoint({})
        file = next(place.with_name("state.keys").glob("agents/*.key"))
        content = file.read_bytes()
        revoked = store.keys.agent("bot").public_key
        store.revoke_key("bot", reason="it leaked")
    file.write_bytes(content)
    file.chmod(0o600)
    with aegis_store.open(place, agent="bot", config=SMALL) as store:
        store.session("s").checkpoint({"n": 1})
        assert store.keys.agent("bot").public_key != revoked
        assert store.verify(deep=True).ok


def test_a_crash_between_two_tiers_leaves_no_tier_that_the_key_signs_in(place, monkeypatch):
    store = aegis_store.open(place, agent="bot")
    store.session("s").checkpoint({})
    store.audit.record("x", "y", "z")
    old = store.keys.agent("bot").public_key
    real = Records.revoke

    def crash(self, key, enrolment, *, reason):
        if self.tier is Tier.AUDIT:
            raise Crash
        return real(self, key, enrolment, reason=reason)

    monkeypatch.setattr(Records, "revoke", crash)
    with pytest.raises(Crash):
        store.revoke_key("bot", reason="it leaked")
    abandon(store)
    monkeypatch.undo()
    with aegis_store.open(place, agent="bot") as store:
        store.audit.record("x", "y", "z")
        assert store.keys.agent("bot").public_key != old
        done = store.revoke_key("bot", reason="it leaked, again")
        assert "audit" in done.records
        assert [each.is_allowed for each in store.agent_keys() if each.public_key == old] == [False]
        assert store.verify(deep=True).ok


def test_threads_that_write_meanwhile_write_nothing_that_is_not_believed(place):
    with aegis_store.open(place, agent="bot", config=SMALL) as store:
        stop = threading.Event()

        def write(name):
            number = 0
            while not stop.is_set() or number < 3:
                try:
                    store.session(name).checkpoint({"n": number})
                except KeysWrong:
                    continue
                number += 1

        threads = [threading.Thread(target=write, args=(f"s{number}",)) for number in range(4)]
        for each in threads:
            each.start()
        try:
            for number in range(5):
                while store.session("s0").info() is None or store.session("s0").info().checkpoints <= number:
                    pass
                try:
                    store.revoke_key("bot", reason=f"round {number}")
                except NotFound:
                    continue  # nobody has written since
        finally:
            stop.set()
            for each in threads:
                each.join()
        assert store.verify(deep=True).findings == ()


def test_only_that_agents_key_goes(place):
    with aegis_store.open(place, config=SMALL) as store:
        for agent in ("a", "b"):
            store.session(agent, agent=agent).checkpoint({})
        store.revoke_key("a", reason="why not")
        allowed = {each.agent: each.is_allowed for each in store.agent_keys() if each.agent in "ab"}
        assert allowed == {"a": False, "b": True}


def test_what_cannot_be_meant_is_refused(place):
    with aegis_store.open(place, agent="bot", config=SMALL) as store:
        store.session("s").checkpoint({})
        with pytest.raises(NotFound, match="no key of agent 'who'"):
            store.revoke_key("who", reason="x")
        with pytest.raises(InvalidArgument, match="says why"):
            store.revoke_key("bot", reason="")
    with aegis_store.open(place, mode="r") as store, pytest.raises(ReadOnly):
        store.revoke_key("bot", reason="x")


def test_nobody_revokes_a_key_between_its_being_looked_for_and_enrolled(place, monkeypatch):
    """Else it would be enrolled again behind its revocation."""
    with aegis_store.open(place, agent="bot", config=SMALL) as store:
        real, held = Records.enrol, []

        def enrol(self, signer, enrolment):
            held.append(store._enrolment._lock.locked())
            real(self, signer, enrolment)

        monkeypatch.setattr(Records, "enrol", enrol)
        store.session("s").checkpoint({})
        store._enrolment._barred.add("bot")
        with pytest.raises(KeysWrong, match="is being revoked"):
            store.audit.record("x", "y", "z")
        assert held == [True]
