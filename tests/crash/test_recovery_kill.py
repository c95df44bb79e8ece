"""kill -9 before any call of a recovery, or of a tool call: the next one goes on from there, decides nothing anew, holds once,
opens one incident, tells at most once more, acts once; and no tool call is made twice."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

import aegis_store
from aegis_store.errors import CallUnknown, IncidentOpen
from aegis_store.recovery import Decision, Failure, Status, Step, recover, recovery_of
from tests.crash.recoverer import CONFIG, FAILURES, World
from tests.crash.test_kill import start, stop
from tests.recovery.damage import DAMAGE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="calls are stopped by the kernel of Linux")

WHAT = ["resume", "restart", "discard", "call"]
HOOK = {"resume": "token", "restart": "memory", "discard": "notice"}


@pytest.fixture(scope="module")
def templates(tmp_path_factory):
    """A store for each: sound but for the one whose session is to be restarted."""
    found = {}
    for what in WHAT:
        found[what] = tmp_path_factory.mktemp(what) / "state"
        DAMAGE[Status.BAD_COMMITMENT if what == "restart" else Status.VERIFIED](found[what])
    return found


@pytest.fixture(scope="module")
def recoverers():
    process = start("recoverer")
    yield process
    stop(process)


def decisions(store) -> list[object]:
    return list(store.audit.events("session/s", action=Step.DECIDED.value))


def killed(recoverers, template: Path, folder: Path, what: str, nth: int) -> str | None:
    """Let one do its work up to its nth call; at which call it died. None: it came to its end."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template.parent, folder)
    place = folder / template.name
    recoverers.stdin.write(json.dumps({"place": str(place), "what": what, "nth": nth}) + "\n")
    status, call, _ = recoverers.stdout.readline().split()
    assert int(status) == 0 or os.WIFSIGNALED(int(status)), "it failed by itself"
    with aegis_store.open(place, config=CONFIG) as store:
        (check_call if what == "call" else check_recovery)(store, World(place), what)
        assert store.verify(deep=True, tiers=["audit"]).findings == ()
        if what != "restart":
            assert store.verify(deep=True).findings == ()
    return call if int(status) else None


def check_recovery(store, world: World, what: str) -> None:
    before = decisions(store)
    assert len(before) <= 1
    left = recovery_of(store, "s")
    told = Counter(world.told())
    assert told[HOOK[what]] <= 1
    failure = FAILURES[what]
    if what == "discard" and store.incidents.list():
        with pytest.raises(IncidentOpen):
            store.session("s").checkpoint("more")
        failure = Failure.INFRASTRUCTURE  # what is reported later changes nothing
    is_new = left is not None and left.is_finished and what != "discard"
    result = recover(store, "s", failure=failure, hooks=world.hooks())
    after = decisions(store)
    assert after[: len(before)] == before
    assert len(after) == (2 if is_new else 1)
    assert result.recovery.is_finished
    acts = [each for each in store.audit.events("session/s", action=Step.ACT.value) if each.details["outcome"] == "done"]
    assert len(acts) == len(after)
    assert Counter(world.told())[HOOK[what]] <= 2
    assert store.audit.verify_chain("session/s") == (True, None)
    if what == "discard":
        assert result.recovery.decision is Decision.DISCARD
        assert len(store.incidents.list()) == len(store.session("s").holds()) == 1
        assert [each.action for each in store.audit.events("session/s")] == [each.value for each in Step]
        with pytest.raises(IncidentOpen):
            store.session("s").checkpoint("more")
    elif what == "restart":
        assert result.session.id == "s~2"
        assert not store.session("s").info().is_open
    else:
        assert result.checkpoint.state == "newest"


def check_call(store, world: World, what: str) -> None:
    before = world.told()
    calls = store.session("s").calls
    known = calls.get("charge/17")
    try:
        assert calls.once("charge", lambda: world.tell("charge"), {"order": 17}, id="charge/17") == "charge"
        assert known is None or known.is_done
    except CallUnknown:
        assert known is not None and not known.is_done
    assert world.told() in (["charge"], []) and len(before) <= 1
    assert before == [] or known is not None


@pytest.mark.parametrize("what", WHAT)
def test_a_kill_before_some_calls(recoverers, templates, tmp_path, what):
    # Steps without a common factor, so that each kind of call has its turn; the last are beyond the end.
    met = Counter(killed(recoverers, templates[what], tmp_path / "copy", what, nth) for nth in range(1, 90, 7))
    assert met[None] < 12, met


@pytest.mark.long
@pytest.mark.parametrize("what", WHAT)
def test_a_kill_before_every_call(recoverers, templates, tmp_path, what):
    met: Counter[str] = Counter()
    while call := killed(recoverers, templates[what], tmp_path / "copy", what, met.total() + 1):
        met[call] += 1
    if os.environ.get("AEGIS_PROGRESS"):
        print(
            f"{what}: {met.total()} killed: {', '.join(f'{call} {times}' for call, times in met.most_common())}",
            file=sys.stderr,
        )
    assert met.total() >= 20
