from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta

import pytest

import aegis_store
from aegis_store.cli import audit as verb

from ..stores import Told, flip, frames, segments

NAME = "odd \x1b[31m\nname"


@pytest.fixture
def trail(tmp_path):
    """Five events, a second apart, in `state`. Record 0 is the agent's key, 1 begins "session/a"."""
    place = tmp_path / "work" / "state"
    start = 1_700_000_000_000
    with aegis_store.open(place, agent="planner", clock=Told(start=start)) as store:
        store.audit.record("ana", "recovery.decided", "session/a", {"choice": "resume"}, request_id="r1")
        store.audit.record("ben", "transition", "workflow/b", {"to": 2})
        store.audit.record("ana", "transition", "session/a")
        store.audit.record("ana", "transition", NAME, {"raw": b"\x00"})
        store.audit.record("ben", "recovery.decided", "session/a", "no\nmore")
    return place


def listed(aegis, *options):
    ended = aegis("audit", "list", "state", *options, "--json")
    assert (ended.code, ended.err) == (0, "")
    return json.loads(ended.out)["events"]


def numbers(aegis, *options):
    return [each["record"] for each in listed(aegis, *options)]


# ---- list -----------------------------------------------------------------------------------------------------------------


def test_a_line_for_each_event_oldest_first(aegis, trail):
    ended = aegis("audit", "list", "state")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0].split() == "record time (UTC) subject # actor action details".split()
    assert lines[1].split() == [*"2 2023-11-14 22:13:20 session/a 0 ana recovery.decided".split(), '{"choice":', '"resume"}']
    assert len(lines) == 6
    assert r"odd \x1b[31m\nname" in ended.out and "\x1b" not in ended.out


def test_json_has_everything_of_an_event(aegis, trail):
    first = listed(aegis)[0]
    assert first == {
        "record": 2,
        "time": first["time"],
        "subject": "session/a",
        "event": 0,
        "actor": "ana",
        "action": "recovery.decided",
        "details": {"choice": "resume"},
        "agent": "planner",
        "request_id": "r1",
        "leaf": first["leaf"],
    }
    assert first["time"].startswith("2023-11-14T22:13:20.") and len(first["leaf"]) == 64


def test_they_can_be_chosen(aegis, trail):
    everything = listed(aegis)
    records = [each["record"] for each in everything]
    assert numbers(aegis, "--subject", "session/a") == [records[0], records[2], records[4]]
    assert numbers(aegis, "--action", "transition") == records[1:4]
    assert numbers(aegis, "--subject", "session/a", "--action", "transition") == [records[2]]
    assert numbers(aegis, "--since", everything[1]["time"], "--until", everything[3]["time"]) == records[1:4]
    assert numbers(aegis, "--limit", "2") == records[3:]
    assert numbers(aegis, "--since", "2h") == numbers(aegis, "--subject", "nobody") == []
    years = (datetime.now(UTC) - datetime(2023, 11, 14, tzinfo=UTC)) // timedelta(days=1)
    assert numbers(aegis, "--since", f"{years + 2}d") == records
    assert numbers(aegis, "--until", "2h") == records


def test_long_details_are_cut_for_people_and_whole_for_machines(aegis, trail):
    with aegis_store.open(trail) as store:
        store.audit.record("ana", "a.b", "long", "x" * 1000)
    assert aegis("audit", "list", "state", "--subject", "long").out.splitlines()[1].endswith("x…")
    assert listed(aegis, "--subject", "long")[0]["details"] == "x" * 1000


def test_a_limit_that_was_reached_is_told_and_none_is_a_word(aegis, trail):
    assert "there may be earlier ones" in aegis("audit", "list", "state", "--limit", "2").out
    assert "there may be earlier ones" not in aegis("audit", "list", "state", "--limit", "9").out
    assert aegis("audit", "list", "state", "--subject", "nobody").out == "no events\n"


@pytest.mark.parametrize("time", ["2 hours", "yesterday", "5", "999999999999999999d", "-1h", "2026-13-01"])
def test_a_time_that_is_none_is_refused(aegis, trail, time):
    for option in ("--since", "--until"):
        ended = aegis("audit", "list", "state", f"{option}={time}")
        assert ended.code == 2 and option in ended.err


def test_a_damaged_event_ends_the_list_and_what_came_before_is_shown(aegis, trail):
    path = segments(trail, "audit")[0]
    flip(path, frames(path)[5].payload + 9)
    ended = aegis("audit", "list", "state")
    assert ended.code == 1 and ended.err.startswith("aegis: state/audit: record 5 is ")
    assert len(ended.out.splitlines()) == 3
    fields = aegis("audit", "list", "state", "--json")
    assert (fields.code, fields.out, json.loads(fields.err)["index"]) == (1, "", 5)


# ---- follow ---------------------------------------------------------------------------------------------------------------


def test_new_events_are_shown_as_they_come_until_it_is_interrupted(aegis, trail, monkeypatch):
    turns = []
    with aegis_store.open(trail) as store:

        def pause(seconds):
            turns.append(seconds)
            if len(turns) == 4:
                raise KeyboardInterrupt
            store.audit.record("ana", "a.b", f"s{len(turns)}", {"turn": len(turns)})

        monkeypatch.setattr(verb, "_pause", pause)
        ended = aegis("audit", "follow", "state", "--every", "0.5")
        lines = ended.out.splitlines()
        assert (ended.code, ended.err, turns) == (0, "", [0.5] * 4)
        assert len(lines) == 5 + 3 and lines[-1].endswith('s3 #0  ana  a.b  {"turn": 3}')
        assert r"no\nmore" in lines[4]
        turns.clear()
        ended = aegis("audit", "follow", "state", "--action", "a.b", "--json")
        events = [json.loads(each) for each in ended.out.splitlines()]
        assert [each["subject"] for each in events] == ["s1", "s2", "s3", "s1", "s2", "s3"]
        assert [each["event"] for each in events] == [0, 0, 0, 1, 1, 1]
        turns.clear()
        ended = aegis("audit", "follow", "state", "--subject", "s2", "--json")
        assert {json.loads(each)["subject"] for each in ended.out.splitlines()} == {"s2"}


def test_an_interrupt_while_it_opens_or_looks_shows_no_traceback(aegis, trail, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(aegis_store.Audit, "since", interrupted)
    assert aegis("audit", "follow", "state")[::2] == (0, "")


# ---- verify ---------------------------------------------------------------------------------------------------------------


def test_all_chains_or_those_that_are_named(aegis, trail):
    ended = aegis("audit", "verify", "state")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "audit state   3 subjects · 5 events"
    assert lines[2].split() == ["session/a", "3", "ok"]
    answer = json.loads(aegis("audit", "verify", "state", "workflow/b", "workflow/b", "--json").out)
    assert answer == {
        "path": "state",
        "ok": True,
        "subjects": [{"subject": "workflow/b", "events": 1, "ok": True, "break": None}],
    }


def test_a_break_is_named_exactly(aegis, trail):
    record = listed(aegis, "--subject", "session/a")[1]["record"]
    path = segments(trail, "audit")[0]
    flip(path, frames(path)[record].payload + 9)
    ended = aegis("audit", "verify", "state")
    assert ended.code == 1
    assert [line.split()[-1] for line in ended.out.splitlines()[2:]] == ["broken", "ok", "ok"]
    assert ended.err.startswith(f"aegis: the chain of 'session/a' breaks at event 1 at record {record}: ")
    assert "aegis verify state --deep" in ended.err
    fields = aegis("audit", "verify", "state", "--json")
    answer = json.loads(fields.out)
    assert (fields.code, answer["ok"]) == (1, False)
    assert (answer["subjects"][0]["break"]["event"], answer["subjects"][0]["break"]["record"]) == (1, record)
    assert aegis("audit", "verify", "state", "workflow/b").code == 0
    deep = aegis("verify", "state", "--deep")
    assert deep.code == 1 and "audit" in deep.out and "damaged" in deep.out


def test_a_subject_that_is_not_there(aegis, trail):
    ended = aegis("audit", "verify", "state", "nobody")
    assert ended.code == 1 and ended.err.startswith("aegis: state: there is no subject 'nobody'\n")


def test_deep_verification_shows_the_tier(aegis, trail):
    ended = aegis("verify", "state", "--deep")
    line = next(each for each in ended.out.splitlines() if each.split()[0] == "audit")
    assert ended.code == 0 and " ok " in line and line.endswith("signatures 9 of 9")


# ---- mistakes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["list"], ["follow"], ["verify"]])
def test_mistakes_are_told_without_a_traceback(aegis, trail, arguments):
    for path, keys, code, kind in (
        ("nothing", None, 3, "NotAStore"),
        ("state", "nowhere", 3, "KeysMissing"),
    ):
        options = [] if keys is None else ["--keys", keys]
        plain = aegis("audit", *arguments, path, *options)
        fields = aegis("audit", *arguments, path, *options, "--json")
        assert (plain.code, plain.out, fields.code, fields.out) == (code, "", code, "")
        assert plain.err.startswith("aegis: ") and json.loads(fields.err)["error"] == kind
    assert aegis("audit", *arguments, "state", "--nonsense").code == 2


def test_a_store_without_a_trail_is_no_mistake(aegis, story):
    assert aegis("audit", "list", "state").out == "no events\n"
    assert aegis("audit", "verify", "state").out == "audit state   0 subjects · 0 events\n"


def test_what_is_written_once_is_not_erased(aegis, trail):
    ended = aegis("erase", "state", "session/a", "--reason", "because")
    assert ended.code == 2
    assert ended.err.startswith("aegis: state/audit: 'session/a' is a subject of the audit tier, and no session: ")
    assert "aegis audit list state --subject session/a" in ended.err


def test_an_older_tier_beside_the_trail_is_found(aegis, trail, tmp_path):
    with aegis_store.open(trail) as store:
        store.session("s").checkpoint(1)
    old = tmp_path / "old"
    shutil.copytree(trail, old)
    with aegis_store.open(trail) as store:
        store.session("s").checkpoint(2)
    shutil.rmtree(trail / "session")
    shutil.copytree(old / "session", trail / "session")
    (trail / "MANIFEST").unlink()
    ended = aegis("verify", "state")
    assert ended.code == 1 and "session" in ended.err
