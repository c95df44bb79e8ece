from __future__ import annotations

import msgspec
import pytest

import aegis_store
from aegis_store.cli.demo import lives, story
from aegis_store.cli.demo.agent import Acknowledged, Finished, Resumed
from aegis_store.cli.demo.checks import BrokenPromise
from aegis_store.cli.demo.damage import frames, segments
from aegis_store.cli.demo.story import Story, Teller
from aegis_store.cli.demo.tasks import recorded_plan

from .conftest import Steady
from .test_tasks import line


class Listener(Teller):
    """Writes down what it is told."""

    def __init__(self):
        self.told = []

    def __getattribute__(self, name):
        if name in ("begins", "works", "ran", "held", "verified", "damaged", "cost"):
            return lambda *facts: self.told.append((name, *facts))
        return super().__getattribute__(name)


def tale(place, plan, teller=None, seconds=1000.0):
    return Story(place, plan, seconds=seconds, randomness=Steady(), teller=teller or Teller())


def test_the_whole_story(library, place):
    listener = Listener()
    outcome = tale(place, library, listener).tell()
    kills = [run for run in outcome.runs if run.was_killed]
    assert 1 <= len(kills) <= story.KILLS
    assert not outcome.runs[-1].was_killed
    for before, after in zip(outcome.runs, outcome.runs[1:], strict=False):
        assert before.latest.step in (before.last.step, before.last.step + 1)
        if after.resumed is not None:
            assert after.resumed.step == before.latest.step + 1
    assert outcome.checkpoints_compared == outcome.steps_planned == outcome.cost.checkpoints == 24
    # The agent's key, the session's begin.
    assert outcome.records == outcome.signatures == 24 + 2
    assert len(outcome.cost.reopened_seconds) == len(kills)
    assert outcome.damage.victim in outcome.damage.refused
    assert outcome.damage.served + len(outcome.damage.refused) == 24
    names = [name for name, *_ in listener.told if name != "works"]
    assert names == ["begins", *["ran"] * len(outcome.runs), "held", "verified", "damaged", "cost"]
    parts = [part for name, *facts in listener.told if name == "works" for part in facts[1:]]
    assert len(parts) == sum(run.acknowledged for run in outcome.runs)
    assert all(0 < part <= 1 for part in parts)


def test_figures_are_those_of_the_store(library, place):
    outcome = tale(place, library).tell()
    with aegis_store.open(place / "state", mode="r") as store:
        history = list(store.session("read-the-library").history())
        assert outcome.root == store.head().head.root.hex()
    lengths = {frame.index: frame.length for file in segments(place / "state") for frame in frames(file)}
    assert outcome.cost.state_bytes == sum(len(msgspec.msgpack.encode(each.state)) for each in history)
    (source,) = outcome.cost.sources
    assert (source.sessions, source.sessions_complete, source.checkpoints) == (1, 1, 24)
    assert source.frame_bytes == sum(lengths[each.ref.index] for each in history)
    assert outcome.cost.syncs >= sum(run.acknowledged for run in outcome.runs)
    assert 0 < outcome.cost.median_us <= outcome.cost.p99_us


def test_the_damage_is_in_the_copy_only(library, place):
    outcome = tale(place, library).tell()
    for name, code in (("state", 0), ("damaged", 1)):
        try:
            with aegis_store.open(place / name, mode="r") as store:
                findings = store.verify(deep=True).findings
        except aegis_store.errors.Corrupt as error:
            findings = [error]
        assert min(len(findings), 1) == code
    copied = (place / "damaged" / outcome.damage.flip.file).read_bytes()
    assert copied[outcome.damage.flip.offset] == outcome.damage.flip.after


def test_several_sessions(place):
    (place / "recorded").write_text(line("a", "one", 12) + line("b", "two", 9) + line("a", "three", 7))
    outcome = tale(place, recorded_plan(place / "recorded", place / "chosen")).tell()
    assert outcome.checkpoints_compared == 12 + 9 + 7
    assert {source.name: (source.sessions, source.checkpoints) for source in outcome.cost.sources} == {
        "a": (2, 19),
        "b": (1, 9),
    }


def test_time_ends_the_last_run(place):
    (place / "recorded").write_text("".join(line("a", f"s{number}", 40) for number in range(40)))
    outcome = tale(place, recorded_plan(place / "recorded", place / "chosen"), seconds=0.001).tell()
    assert len(outcome.runs) == story.KILLS + 1
    assert outcome.checkpoints_compared < outcome.steps_planned == 1600


@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_the_smallest_stories_end_too(place, count):
    (place / "recorded").write_text(line("a", "one", count))
    outcome = tale(place, recorded_plan(place / "recorded", place / "chosen")).tell()
    assert outcome.checkpoints_compared == count


# ---- broken promises -------------------------------------------------------------------------------------------------------


def changed(monkeypatch, change):
    """Every life is what it was, and then `change(number, life)` is made to it."""
    real, lived = lives.live, []

    def live(job, **options):
        lived.append(real(job, **options))
        change(len(lived), lived[-1])
        return lived[-1]

    monkeypatch.setattr(lives, "live", live)


def test_a_checkpoint_that_was_acknowledged_and_is_gone_ends_the_story(library, place, monkeypatch):
    def claim_more(number, life):
        last = life.acknowledged[-1]
        for step in (last.step + 1, last.step + 2):
            life.acknowledged.append(msgspec.structs.replace(last, step=step))

    changed(monkeypatch, claim_more)
    with pytest.raises(BrokenPromise, match="an acknowledged checkpoint is gone"):
        tale(place, library).tell()


def test_a_store_that_forgets_between_two_runs_ends_the_story(library, place, monkeypatch):
    def forget(number, life):
        if number == 2:
            life.resumed = Resumed(task=0, step=life.resumed.step - 1)

    changed(monkeypatch, forget)
    with pytest.raises(BrokenPromise, match="the agent resumed"):
        tale(place, library).tell()


def test_a_step_that_is_acknowledged_twice_ends_the_story(library, place, monkeypatch):
    def repeat(number, life):
        life.acknowledged.insert(1, life.acknowledged[0])

    changed(monkeypatch, repeat)
    with pytest.raises(BrokenPromise, match="after step 1"):
        tale(place, library).tell()


def test_a_state_that_is_not_what_the_steps_give_ends_the_story(library, place, monkeypatch):
    # The agent reads other files than the reference does.
    original = story.Reference

    class Other(original):
        def __init__(self, task):
            super().__init__(task)
            self._state["notes"].append("something else")

    monkeypatch.setattr(story, "Reference", Other)
    with pytest.raises(BrokenPromise, match="holds something else"):
        tale(place, library).tell()


def test_damage_that_is_not_named_ends_the_story(library, place, monkeypatch):
    real = story.damage.ask

    def ask(*arguments, **options):
        answer = real(*arguments, **options)
        answer.findings = []
        return answer

    monkeypatch.setattr(story.damage, "ask", ask)
    with pytest.raises(BrokenPromise, match="verification named none"):
        tale(place, library).tell()


def test_damage_that_is_served_ends_the_story(library, place, monkeypatch):
    real = story.damage.ask

    def ask(*arguments, **options):
        answer = real(*arguments, **options)
        answer.served += answer.refused
        return answer

    monkeypatch.setattr(story.damage, "ask", ask)
    with pytest.raises(BrokenPromise, match="served all the same"):
        tale(place, library).tell()


def test_what_was_stored_unacknowledged_at_a_session_s_end_counts(place, monkeypatch):
    """Killed between the last message's sync and its acknowledgement: the next run has nothing to do, and all is there."""
    (place / "recorded").write_text(line("a", "one", 4))
    real, lived = lives.live, []

    def live(job, **options):
        life = real(job, **{**options, "kill": None})
        lived.append(life)
        if len(lived) == 1:
            last = life.acknowledged.pop()
            assert isinstance(last, Acknowledged) and life.finished == Finished(is_complete=True)
            life.finished, life.heard, life.killed_after_us = None, life.acknowledged[-1], 1.0
        return life

    monkeypatch.setattr(lives, "live", live)
    outcome = tale(place, recorded_plan(place / "recorded", place / "chosen")).tell()
    assert outcome.checkpoints_compared == 4
    assert [(run.acknowledged, run.was_killed) for run in outcome.runs] == [(3, True), (0, False)]
