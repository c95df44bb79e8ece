"""Recovering: the whole table with real stores and hooks that work, raise or hang; and what comes after each end."""

from __future__ import annotations

import enum
import itertools
import threading

import pytest

import aegis_store
from aegis_store.errors import Ended, IncidentOpen, InvalidArgument, ReadOnly, RecoveryIncomplete, UnknownType
from aegis_store.recovery import (
    Decision,
    Discard,
    Failure,
    Hooks,
    Restart,
    Resume,
    Status,
    Step,
    look,
    recover,
    recover_all,
    recovery_of,
)
from aegis_store.recovery.decide import decide
from tests.recovery.damage import DAMAGE, saved


class Recorder:
    """All three hooks: what they were asked, and what they do then."""

    def __init__(self, what: str = "fine") -> None:
        self.asked: list[tuple[object, ...]] = []
        self.what = what
        self.gate = threading.Event()

    def _do(self, *asked: object) -> str:
        self.asked.append(asked)
        if self.what == "raises":
            raise ConnectionError("nobody there")
        if self.what == "hangs":
            self.gate.wait(60)
        return "answer"

    def issue(self, session_id, agent, claims):
        return self._do("token", session_id, agent, claims)

    def notify(self, notice):
        return self._do("notice", notice.session, notice.key, notice.incident)

    def read(self, session_id, agent, pointer):
        return self._do("memory", session_id, agent, pointer)

    def hooks(self) -> Hooks:
        return Hooks(token=self, notifier=self, memory=self, timeout_seconds=0.01 if self.what == "hangs" else 60)


@pytest.fixture
def place(tmp_path):
    return tmp_path / "store"


def details(store: aegis_store.Store, name: str) -> list[tuple[str, object]]:
    return [(each.action, each.details.get("outcome")) for each in store.audit.events(f"session/{name}")]


ABSENT = "absent"
TABLE = list(itertools.product(Status, Failure, ["fine", "raises", "hangs", ABSENT]))


@pytest.mark.parametrize(("status", "failure", "what"), TABLE, ids=lambda each: getattr(each, "value", each))
def test_the_table(place, status, failure, what):
    DAMAGE[status](place)
    recorder = Recorder(what)
    hooks = None if what == ABSENT else recorder.hooks()
    with aegis_store.open(place) as store:
        assert store.session("other").latest().state == "untouched"
        if status is not Status.EVIDENCE:
            assert look(store, "s").status is status
        decision, _ = decide(status, failure)
        is_fine = what in ("fine", ABSENT)
        result = None
        if is_fine or decision is Decision.DISCARD:
            result = recover(store, "s", failure=failure, hooks=hooks)
        else:
            with pytest.raises(RecoveryIncomplete, match="nobody there" if what == "raises" else "has not returned"):
                recover(store, "s", failure=failure, hooks=hooks)
        recorder.gate.set()
        recovery = recovery_of(store, "s")
        assert (recovery.status, recovery.failure, recovery.decision) == (status, failure, decision)
        assert recovery.is_finished == is_fine
        assert (recovery.problem is None) == is_fine
        check(store, result, recorder, decision, what)
        again(store, failure, decision, is_fine)
        assert store.audit.verify_chain("session/s") == (True, None)
        assert store.session("other").latest().state == "untouched"
    with aegis_store.open(place) as store:
        if decision is Decision.DISCARD:
            with pytest.raises(IncidentOpen):
                store.session("s").checkpoint("more")


def check(store, result, recorder, decision, what):
    """What came of the first try."""
    recovery = recovery_of(store, "s")
    if decision is Decision.DISCARD:
        assert isinstance(result, Discard)
        with pytest.raises(IncidentOpen):
            store.session("s").checkpoint("more")
        assert store.incidents.get(result.incident).session == "s"
        if store.catalog.session("s") is not None:
            assert result.hold in [each.number for each in store.session("s").holds()]
        assert recovery.done == (tuple(Step) if what in ("fine", ABSENT) else (Step.DECIDED, Step.HELD))
    elif what not in ("fine", ABSENT):
        assert recovery.done == (Step.DECIDED,)
    elif decision is Decision.RESTART:
        assert isinstance(result, Restart)
        assert result.session.id == recovery.restart
        assert result.session.info() is None
        assert result.memory == (None if what == ABSENT else "answer")
        if recovery.status is not Status.NONE:
            assert result.session.id.startswith("s~")
    else:
        assert isinstance(result, Resume)
        assert (result.checkpoint.state, result.checkpoint.position) == ("newest", "plan/2")
        assert result.approvals == ("refund",)
        assert result.token == (None if what == ABSENT else "answer")
    asked = {Decision.DISCARD: "notice", Decision.RESTART: "memory", Decision.RESUME: "token"}
    assert [each[0] for each in recorder.asked] == ([] if what == ABSENT else [asked[decision]])


def again(store, failure, decision, was_fine):
    """The next call goes on from there, or where the first came to its end, decides anew unless the incident is open."""
    number = recovery_of(store, "s").number
    before = details(store, "s")
    recorder = Recorder()
    result = recover(store, "s", failure=failure, hooks=recorder.hooks())
    assert result.recovery.is_finished
    if decision is Decision.DISCARD:
        assert result.recovery.number == number
        assert len(recorder.asked) == (0 if was_fine else 1)
        assert len(details(store, "s")) == len(before) + (0 if was_fine else 2)
    else:
        assert result.recovery.number == number + was_fine
        assert result.recovery.decision is decision


# ---- after the end ----------------------------------------------------------------------------------------------------------


def test_resume_asks_for_a_token_with_the_claims_that_were_held(place):
    saved(place)
    recorder = Recorder()
    with aegis_store.open(place) as store:
        recover(store, "s", failure=Failure.INFRASTRUCTURE, hooks=recorder.hooks())
        assert recorder.asked == [("token", "s", "agent", {"tools": ["search"]})]
        act = list(store.audit.events("session/s", action="recovery.act"))[-1]
        assert act.details == {"recovery": 1, "outcome": "done", "session": "s", "token": "issued"}
        assert store.session("s").checkpoint("goes on").ordinal == 3


def test_evidence_is_named_with_the_head_that_it_lay_under(place):
    saved(place)
    with aegis_store.open(place) as store:
        head = store.records.engine.head(aegis_store.Tier.SESSION)
        newest = store.session("s").latest().ref
        recover(store, "s", failure=Failure.UNKNOWN)
        said = next(store.audit.events("session/s", action="recovery.decided")).details
        assert said["head"] == {"size": head.size, "root": head.root}
        assert said["checkpoint"]["leaf"] == newest.leaf
        assert store.session("s").holds()[0].ordinal == newest.ordinal


def test_a_discarded_session_is_restarted_once_its_incident_is_closed_and_never_resumed(place):
    saved(place)
    with aegis_store.open(place) as store:
        discarded = recover(store, "s", failure=Failure.SECURITY)
        store.incidents.close(discarded.incident, reason="keys changed", by="ana")
        with pytest.raises(Ended):
            store.session("s").checkpoint("more")
        result = recover(store, "s", failure=Failure.INFRASTRUCTURE)
        assert isinstance(result, Restart)
        assert result.recovery.status is Status.EVIDENCE
        assert result.session.id == "s~2"
        result.session.checkpoint("clean")
        assert len(store.session("s").holds()) == 1
        assert recover(store, "s", failure=Failure.SECURITY).incident == 2
        assert recovery_of(store, "s~2").decision is Decision.DISCARD


def test_a_session_that_was_restarted_is_recovered_as_the_one_in_its_place(place):
    DAMAGE[Status.BAD_COMMITMENT](place)
    with aegis_store.open(place) as store:
        first = recover(store, "s", failure=Failure.INFRASTRUCTURE)
        assert recover(store, "s", failure=Failure.INFRASTRUCTURE).session.id == first.session.id == "s~2"
        first.session.checkpoint("anew")
        result = recover(store, "s", failure=Failure.INFRASTRUCTURE)
        assert isinstance(result, Resume)
        assert (result.session.id, result.checkpoint.state) == ("s~2", "anew")
        assert not store.session("s").info().is_open


def test_a_security_event_overrides_a_decision_to_go_on(place):
    saved(place)
    with aegis_store.open(place) as store:
        with pytest.raises(RecoveryIncomplete):
            recover(store, "s", failure=Failure.INFRASTRUCTURE, hooks=Recorder("raises").hooks())
        assert isinstance(recover(store, "s", failure=Failure.SECURITY), Discard)
        assert isinstance(recover(store, "s", failure=Failure.INFRASTRUCTURE), Discard)


def test_what_was_to_be_resumed_is_looked_at_again(place):
    saved(place)
    with aegis_store.open(place) as store:
        with pytest.raises(RecoveryIncomplete):
            recover(store, "s", failure=Failure.INFRASTRUCTURE, hooks=Recorder("raises").hooks())
        store.session("s").checkpoint("later")
        result = recover(store, "s", failure=Failure.INFRASTRUCTURE)
        assert (result.checkpoint.state, result.recovery.number) == ("later", 2)


def test_an_incident_that_somebody_opened_decides(place):
    saved(place)
    with aegis_store.open(place) as store:
        opened = store.incidents.open("s", reason="seen by a person", by="soc")
        assert recover(store, "s", failure=Failure.INFRASTRUCTURE).incident == opened.number


def test_an_ended_session_is_left_alone(place):
    saved(place)
    with aegis_store.open(place) as store:
        store.session("s").end()
        with pytest.raises(Ended):
            recover(store, "s", failure=Failure.INFRASTRUCTURE)
        assert recovery_of(store, "s") is None
        assert isinstance(recover(store, "s", failure=Failure.SECURITY), Discard)


def test_all_sessions_that_were_not_ended(place):
    saved(place)
    with aegis_store.open(place) as store:
        store.session("done").checkpoint(1)
        store.session("done").end()
        found = {each.session: type(each.result) for each in recover_all(store, failure=Failure.INFRASTRUCTURE)}
        assert found == {"other": Resume, "s": Resume}
        found = recover_all(store, failure=Failure.UNKNOWN, hooks=Recorder("raises").hooks())
        assert [(each.session, each.result.recovery.due) for each in found] == [("other", Step.NOTICE), ("s", Step.NOTICE)]
        assert [each.result.recovery.due for each in recover_all(store, failure=Failure.INFRASTRUCTURE)] == [None, None]
        assert recover_all(store, failure=Failure.INFRASTRUCTURE) == []


def test_an_error_of_one_keeps_nobody_from_the_others(place):
    saved(place)

    class Picky(Recorder):
        def issue(self, session_id, agent, claims):
            self.what = "raises" if session_id == "other" else "fine"
            return super().issue(session_id, agent, claims)

    with aegis_store.open(place) as store:
        found = {each.session: each for each in recover_all(store, failure=Failure.INFRASTRUCTURE, hooks=Picky().hooks())}
        assert isinstance(found["other"].error, RecoveryIncomplete)
        assert isinstance(found["s"].result, Resume)


def test_two_at_once_are_one(place):
    saved(place)
    recorder = Recorder()
    with aegis_store.open(place) as store:
        results = []
        threads = [
            threading.Thread(
                target=lambda: results.append(recover(store, "s", failure=Failure.SECURITY, hooks=recorder.hooks()))
            )
            for _ in range(6)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join(60)
        assert len(results) == 6
        assert len(recorder.asked) == 1
        assert len(store.session("s").holds()) == 1
        assert len(details(store, "s")) == len(Step)


def test_a_type_that_is_not_registered_is_no_damage(place):
    kind = enum.Enum("Kind", ["A"])
    with aegis_store.open(place, types={"Kind": kind}) as store:
        store.session("s").checkpoint(kind.A)
    with aegis_store.open(place) as store:
        with pytest.raises(UnknownType):
            recover(store, "s", failure=Failure.INFRASTRUCTURE)
        assert recovery_of(store, "s").decision is Decision.RESUME
    with aegis_store.open(place, types={"Kind": kind}) as store:
        assert recover(store, "s", failure=Failure.INFRASTRUCTURE).checkpoint.state is kind.A


def test_a_reader_recovers_nothing(place):
    saved(place)
    with aegis_store.open(place, mode="r") as store, pytest.raises(ReadOnly):
        recover(store, "s", failure=Failure.INFRASTRUCTURE)


def test_an_id_must_be_one(place):
    with aegis_store.open(place) as store, pytest.raises(InvalidArgument):
        recover(store, 7, failure=Failure.INFRASTRUCTURE)


def test_a_fork_is_followed_down_to_the_begin_of_its_origin(place):
    saved(place)
    with aegis_store.open(place) as store:
        fork = store.session("s").fork("f")
        assert look(store, "f").status is Status.VERIFIED
        fork.checkpoint("own")
        assert look(store, "f").status is Status.VERIFIED
        assert recover(store, "f", failure=Failure.INFRASTRUCTURE).checkpoint.state == "own"
