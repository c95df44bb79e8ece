from __future__ import annotations

import json

import pytest

from aegis_store import health
from aegis_store.cli.health import spoken

from ..stores import blot, flip, frame_of, snapshot
from .gone import prune


@pytest.fixture(autouse=True)
def roomy(monkeypatch):
    """The disk that the tests run on is nobody's finding."""
    real = health.gather

    def gather(store, **options):
        import msgspec

        facts = real(store, **options)
        return msgspec.structs.replace(facts, free_bytes=10**12, total_bytes=2 * 10**12)

    monkeypatch.setattr(health, "gather", gather)


def test_a_store_that_is_well(aegis, story):
    before = snapshot(story)
    ended = aegis("health", "state")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert lines[0] == "health state   fine"
    aspects = [line[:12].strip() for line in lines[1:] if line[:12].strip()]
    assert aspects == ["integrity", "age", "space", "poison"]
    assert {name: facts[3] for name, facts in snapshot(story).items()} == {name: facts[3] for name, facts in before.items()}


def test_what_needs_attention_is_exit_code_1_and_says_what_to_type(aegis, store):
    path, span = frame_of(store, 1)  # the first session's begin
    flip(path, span.payload + 5)
    ended = aegis("health", "state")
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert lines[0] == "health state   needs attention"
    assert lines[1].split()[:2] == ["integrity", "!"]
    assert lines[2].strip() == "see which: aegis verify state --deep"


def test_a_store_that_does_not_open_is_a_finding(aegis, story):
    path, span = frame_of(story, 5)
    flip(path, span.payload + 5)
    ended = aegis("health", "state")
    assert ended.code == 1
    assert "session: records that were stored are damaged and can't be read" in ended.out
    blot(path, span.start)
    ended = aegis("health", "state")
    assert ended.code == 1
    assert "the store can't be opened: record" in ended.out
    answer = json.loads(aegis("health", "state", "--json").out)
    assert (answer["ok"], answer["facts"]) == (False, None)
    assert answer["findings"][0]["aspect"] == "integrity"


def test_json_has_the_findings_and_the_figures(aegis, story):
    answer = json.loads(aegis("health", "state", "--json").out)
    assert answer["ok"] is True
    assert {each["level"] for each in answer["findings"]} == {"fine"}
    (tier,) = answer["facts"]["tiers"]
    expected = {"tier": "session", "records": 13, "verdict": ["clean"], "segments_unsigned": 0, "released_size": 13}
    assert {key: tier[key] for key in expected} == expected
    assert (tier["lag_seconds"], tier["is_targeted"], tier["rpo_seconds"]) == (0, False, 300)
    assert answer["facts"]["total_bytes"] == 2 * 10**12


def test_a_hint_has_paths_as_one_would_type_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert spoken(f"see which: aegis verify {tmp_path}/state --deep") == "see which: aegis verify state --deep"


def test_what_waits_for_compaction_is_worth_knowing_and_no_alarm(aegis, full):
    prune(full)
    ended = aegis("health", "state")
    assert ended.code == 0
    lines = [each.strip() for each in ended.out.splitlines()]
    at = next(at for at, each in enumerate(lines) if "40 payloads were pruned and not compacted yet" in each)
    assert lines[at + 1] == "to have the space back: aegis compact state"
    facts = json.loads(aegis("health", "state", "--json").out)["facts"]
    assert (facts["erasures_pending"], facts["payloads_to_compact"]) == (0, 40)


def test_prometheus_text_has_the_same_exit_codes(aegis, story):
    ended = aegis("health", "state", "--prometheus")
    assert ended.code == 0
    assert "# TYPE aegis_up gauge\n" in ended.out
    assert 'aegis_up{store="state"} 1\n' in ended.out
    assert 'aegis_records{store="state",tier="session"} 13\n' in ended.out
    path, span = frame_of(story, 5)
    blot(path, span.start)
    ended = aegis("health", "state", "--prometheus")
    assert ended.code == 1
    assert 'aegis_up{store="state"} 0\n' in ended.out


def test_an_open_incident_is_exit_code_1(aegis, story):
    import aegis_store

    with aegis_store.open(story) as store:
        store.audit.record("guard", "incident.opened", "incident/3")
    ended = aegis("health", "state")
    assert ended.code == 1
    assert "incident 3 has been open for" in ended.out
    assert "aegis incident close state 3 --reason" in ended.out
