"""Tool calls that happen once: intent before, outcome after, and what a program that starts anew is told."""

from __future__ import annotations

import threading

import pytest

import aegis_store
from aegis_store.calls import CALL_REQUEST
from aegis_store.errors import CallFailed, CallUnknown, Conflict, IncidentOpen, InvalidArgument, NotFound, StateTypeError
from aegis_store.schema.writes import Write, Writes
from tests.keeping import LAST_3
from tests.stores import abandon


class Killed(BaseException):
    """The process ends within a call."""


@pytest.fixture
def place(tmp_path):
    return tmp_path / "store"


@pytest.fixture
def store(place):
    with aegis_store.open(place) as store:
        yield store


def test_a_call_is_made_once_and_its_result_given_back(place):
    made = []

    def charge() -> dict[str, object]:
        made.append(1)
        return {"receipt": b"\x01", "amount": 12}

    for _ in range(3):
        with aegis_store.open(place) as store:
            result = store.session("s").calls.once("charge", charge, {"order": 17}, id="charge/17")
            assert result == {"receipt": b"\x01", "amount": 12}
    assert made == [1]


def test_the_intent_is_durable_when_the_body_begins_and_the_outcome_when_it_has_ended(place, tmp_path):
    with aegis_store.open(place) as store:
        with store.session("s").calls.enter("charge", [1], id="a") as call:
            assert not call.is_done
            with aegis_store.open(place, mode="r") as reader:
                (seen,) = reader.session("s").calls.all()
                assert (seen.id, seen.name, seen.arguments, seen.is_done) == ("a", "charge", [1], False)
            call.result = "paid"
        with aegis_store.open(place, mode="r") as reader:
            assert reader.session("s").calls.get("a").result == "paid"


def test_a_call_that_was_cut_short_is_unknown_and_is_not_made_again(place):
    store = aegis_store.open(place)
    with pytest.raises(Killed), store.session("s").calls.enter("charge", id="a"):
        raise Killed
    abandon(store)
    with aegis_store.open(place) as store:
        calls = store.session("s").calls
        assert [each.id for each in calls.unknown()] == ["a"]
        with pytest.raises(CallUnknown, match="may have happened") as caught:
            calls.once("charge", lambda: pytest.fail("made again"), id="a")
        assert "calls.resolve('a'" in caught.value.hint
        calls.resolve("a", result="paid after all")
        assert calls.once("charge", lambda: pytest.fail("made again"), id="a") == "paid after all"
        assert calls.unknown() == []
        with pytest.raises(Conflict):
            calls.resolve("a", result="twice")
        with pytest.raises(NotFound):
            calls.resolve("b")


def test_an_idempotent_one_is_made_again(store):
    calls = store.session("s").calls
    for _ in range(2):
        with pytest.raises(Killed), calls.enter("read", id="a", idempotent=True):
            raise Killed
    assert calls.get("a").tries == 2
    assert calls.once("read", lambda: 5, id="a", idempotent=True) == 5
    assert calls.get("a").tries == 3
    assert calls.once("read", lambda: pytest.fail("made again"), id="a", idempotent=True) == 5


def test_an_error_is_an_outcome(store):
    calls = store.session("s").calls

    def fail() -> None:
        raise TimeoutError("no answer")

    with pytest.raises(TimeoutError):
        calls.once("charge", fail, id="a")
    with pytest.raises(CallFailed, match="TimeoutError: no answer"):
        calls.once("charge", lambda: pytest.fail("made again"), id="a")
    assert calls.get("a").error == "TimeoutError: no answer"
    assert calls.once("charge", lambda: "paid", id="a", idempotent=True) == "paid"
    assert (calls.get("a").error, calls.get("a").result) == (None, "paid")
    with pytest.raises(Killed), calls.enter("charge", id="b"):
        raise Killed
    calls.resolve("b", error="refused by the bank")
    with pytest.raises(CallFailed, match="refused by the bank"):
        calls.once("charge", lambda: pytest.fail("made again"), id="b")


def test_an_id_is_one_call(store):
    calls = store.session("s").calls
    calls.once("charge", lambda: 1, {"order": 17}, id="a")
    for name, arguments in (("refund", {"order": 17}), ("charge", {"order": 18}), ("charge", None)):
        with pytest.raises(Conflict, match="other arguments"):
            calls.once(name, lambda: pytest.fail("made"), arguments, id="a")
    assert store.session("t").calls.once("charge", lambda: 2, {"order": 18}, id="a") == 2
    for name, id in (("", "a"), ("x", ""), ("x", 7)):
        with pytest.raises(InvalidArgument):
            calls.begin(name, id=id)
    with pytest.raises(StateTypeError, match="arguments"):
        calls.begin("x", {"a": object()}, id="z")
    assert calls.get("z") is None


def test_a_done_call_takes_no_other_result(store):
    calls = store.session("s").calls
    calls.once("charge", lambda: 1, id="a")
    with calls.enter("charge", id="a") as call, pytest.raises(InvalidArgument):
        call.result = 2
    assert calls.get("a").result == 1


def test_of_many_threads_one_makes_it(store):
    made, refused, begun = [], [], threading.Barrier(8)

    def run(number: int) -> None:
        begun.wait()
        try:
            with store.session("s").calls.enter("charge", id="a") as call:
                if not call.is_done:
                    made.append(number)
                    call.result = number
        except CallUnknown:
            refused.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert len(made) == 1
    assert len(refused) < 8
    assert store.session("s").calls.get("a").result == made[0]


def test_calls_are_listed_in_order_beside_other_writes_and_checkpoints(store):
    session = store.session("s")
    for name in ("b", "a", "c"):
        session.calls.once("x", lambda: 1, id=name)
        session.write(Writes(request_id="r", task="t", path="", writes=(Write(0, "channel", "json", b"1"),)))
        session.checkpoint(name, request_id=name)
    assert [each.id for each in session.calls.all()] == ["b", "a", "c"]
    assert [each.state for each in session.history()] == ["c", "a", "b"]
    assert store.verify(deep=True).ok


def test_pruning_leaves_them_and_erasing_the_session_takes_them(place):
    text = b"card 4111-1111-1111-1111"
    with aegis_store.open(place) as store:
        session = store.session("s")
        session.calls.once("charge", lambda: text, id="a")
        for number in range(5):
            session.checkpoint(number, request_id=str(number))
        store.retain(LAST_3)
        store.compact()
        assert session.calls.get("a").result == text
        store.erase(session="s", reason="case 7")
        assert store.session("s").calls.get("a") is None
        assert store.session("s").calls.all() == []
    assert not any(text in path.read_bytes() for path in place.rglob("*") if path.is_file())


def test_while_an_incident_is_open_nothing_is_called(store):
    store.session("s").calls.once("x", lambda: 1, id="a")
    store.incidents.open("s", reason="why", by="soc")
    with pytest.raises(IncidentOpen):
        store.session("s").calls.once("x", lambda: pytest.fail("made"), id="b")


def test_what_is_no_call_is_refused(store):
    session = store.session("s")
    session.write(
        Writes(request_id=f"{CALL_REQUEST}a", task="result", path="x", writes=(Write(0, "result", "aegis", b"\xc0"),))
    )
    with pytest.raises(aegis_store.errors.Corrupt, match="'a' is no call"):
        session.calls.get("a")
    session.write(Writes(request_id=f"{CALL_REQUEST}b", task="intent", path="x", writes=()))
    with pytest.raises(aegis_store.errors.Corrupt, match="not one value"):
        session.calls.get("b")
