from __future__ import annotations

import pytest

from aegis_store.cli.demo import checks
from aegis_store.cli.demo.checks import BrokenPromise


@pytest.mark.parametrize(("acknowledged", "latest"), [(0, 0), (0, 1), (7, 7), (7, 8)])
def test_the_last_acknowledged_checkpoint_or_the_one_on_its_way_is_the_latest(acknowledged, latest):
    checks.after_kill("s", acknowledged=acknowledged, latest=latest)


@pytest.mark.parametrize(
    ("acknowledged", "latest", "said"),
    [
        (7, 6, 'step 7 of session "s" was durable, and the latest one is of step 6'),
        (7, 1, "the latest one is of step 1"),
        (1, 0, "there is none"),
        (7, 9, "the store is ahead of its agent"),
        (0, 2, "the store is ahead of its agent"),
    ],
)
def test_an_acknowledged_checkpoint_that_is_gone_breaks_the_promise(acknowledged, latest, said):
    with pytest.raises(BrokenPromise, match=said) as broken:
        checks.after_kill("s", acknowledged=acknowledged, latest=latest)
    assert broken.value.message.startswith("BROKEN PROMISE: ")
    assert broken.value.exit_code == 1


def test_the_agent_resumes_at_the_very_next_step():
    checks.resumed("s", latest=0, step=1)
    checks.resumed("s", latest=7, step=8)
    for step in (7, 9, 1):
        with pytest.raises(BrokenPromise, match=f"at step {step}"):
            checks.resumed("s", latest=7, step=step)


def test_the_agent_resumes_the_session_that_is_not_finished():
    checks.resumed_session(expected="a", found="a")
    with pytest.raises(BrokenPromise, match='"b", although session "a"'):
        checks.resumed_session(expected="a", found="b")


def test_steps_are_acknowledged_one_after_the_other():
    checks.follows("s", before=0, step=1)
    for step in (3, 5):
        with pytest.raises(BrokenPromise):
            checks.follows("s", before=3, step=step)


def test_no_checkpoint_is_missing_and_none_is_there_twice():
    checks.all_there("s", steps=[], expected=0)
    checks.all_there("s", steps=[1, 2, 3], expected=3)
    for steps in ([1, 3], [1, 1, 2], [2, 3], [1, 2, 3], []):
        with pytest.raises(BrokenPromise):
            checks.all_there("s", steps=steps, expected=2)


def test_a_checkpoint_holds_what_was_saved():
    checks.same("s", step=3, expected=b"a" * 32, found=b"a" * 32)
    with pytest.raises(BrokenPromise, match="step 3"):
        checks.same("s", step=3, expected=b"a" * 32, found=b"b" * 32)


def test_a_record_stays_the_checkpoint_that_it_was():
    checks.same_step("s", expected=3, found=3)
    with pytest.raises(BrokenPromise):
        checks.same_step("s", expected=3, found=4)


def test_an_untouched_store_verifies():
    checks.nothing_found([])
    with pytest.raises(BrokenPromise, match="record 3 is damaged"):
        checks.nothing_found(["record 3 is damaged"])


def test_damage_is_named():
    checks.damage_named(record=3, findings=[None, 3, 4])
    for findings in ([], [4], [None]):
        with pytest.raises(BrokenPromise, match="record 3 was damaged"):
            checks.damage_named(record=3, findings=findings)


def test_damage_is_not_served():
    checks.damage_refused(record=3, served=False)
    with pytest.raises(BrokenPromise, match="it was served all the same"):
        checks.damage_refused(record=3, served=True)
