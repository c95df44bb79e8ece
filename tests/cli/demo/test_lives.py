from __future__ import annotations

import pytest

import aegis_store
from aegis_store.cli.demo import lives
from aegis_store.cli.demo.agent import Job, Resumed
from aegis_store.cli.demo.checks import BrokenPromise
from aegis_store.cli.demo.tasks import step_of

from .conftest import Steady


@pytest.fixture
def job(library, place):
    return Job(store=str(place / "state"), segment_bytes=65536, plan=library)


def live(job, place, **options):
    return lives.live(job, kill=options.pop("kill", None), log=place / "log", randomness=Steady(), **options)


def latest_step(place):
    with aegis_store.open(place / "state") as store:
        return step_of(store.session("read-the-library").latest().position)


def test_a_life_to_its_end(job, place):
    seen = []
    life = live(job, place, watch=seen.append)
    assert life.resumed == Resumed(task=0, step=1)
    assert [event.step for event in life.acknowledged] == list(range(1, 25))
    assert seen == life.acknowledged
    assert life.finished is not None and life.finished.is_complete
    assert (life.heard, life.killed_after_us) == (None, None)


def test_a_life_that_is_cut_short_and_the_next_one(job, place):
    life = live(job, place, kill=lives.Kill(seconds=1e9, steps=5))
    assert life.finished is None
    assert life.heard is not None and life.heard.step == 5
    assert life.killed_after_us is not None and life.killed_after_us > 0
    acknowledged = [event.step for event in life.acknowledged]
    assert acknowledged == list(range(1, len(acknowledged) + 1))
    assert 5 <= len(acknowledged) < 24
    latest = latest_step(place)
    assert latest in (len(acknowledged), len(acknowledged) + 1)
    again = live(job, place)
    assert again.resumed == Resumed(task=0, step=latest + 1)
    assert again.acknowledged[-1].step == 24


def test_a_kill_comes_when_the_time_is_up(job, place):
    life = live(job, place, kill=lives.Kill(seconds=0.0, steps=1_000))
    assert life.heard is not None and life.heard.step == 1


def test_an_agent_that_is_done_before_the_kill_was_not_killed(job, place):
    life = live(job, place, kill=lives.Kill(seconds=1e9, steps=1_000))
    assert life.finished is not None
    assert life.killed_after_us is None


def test_an_agent_that_cannot_begin_says_why(job, place):
    (place / "state").write_text("no store")
    with pytest.raises(lives.AgentFailed, match="exit code 3") as failed:
        live(job, place)
    assert "a store is a directory" in failed.value.hint
    assert failed.value.exit_code == 3


def test_an_agent_that_finds_damage_is_a_broken_promise(job, place):
    live(job, place)
    for segment in (place / "state" / "session").glob("*.seg"):
        segment.write_bytes(bytes(segment.stat().st_size))
    with pytest.raises(BrokenPromise, match="exit code 1"):
        live(job, place)


def test_an_agent_that_hangs_is_not_waited_for(job, place, monkeypatch):
    monkeypatch.setattr(lives, "SILENCE_SECONDS", 0)
    with pytest.raises(lives.AgentFailed, match="has said nothing"):
        live(job, place)


def test_the_agent_does_not_outlive_who_started_it(job, place):
    seen = []

    def interrupt(event):
        seen.append(event)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        live(job, place, watch=interrupt)
    assert len(seen) == 1
    # Its lock is free: nobody holds the store.
    assert latest_step(place) >= 1


def test_the_agent_is_found_from_any_directory(job, place, monkeypatch):
    # A module of that name in the working directory must not be what is started.
    trap = place / "trap"
    (trap / "aegis_store").mkdir(parents=True)
    (trap / "aegis_store" / "__init__.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(trap)
    assert live(job, place).finished is not None
