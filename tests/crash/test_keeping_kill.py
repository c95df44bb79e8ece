"""kill -9 before any call of a retention, a compaction, an erasure: what stays is there, what goes is gone or still whole, and
the next open, or the next compaction, goes on from there."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

import aegis_store
from aegis_store.errors import Gone
from aegis_store.rules import Rule
from tests.crash import keeper
from tests.crash.test_kill import start, stop
from tests.keeping import facts
from tests.stores import noise
from tests.test_erasure import holds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="calls are stopped by the kernel of Linux")

CHECKPOINTS = 24
SESSIONS = (keeper.NAME, keeper.OTHER)


def state_of(session: str, number: int) -> dict[str, object]:
    """A state with a page that stays a while, so that each is made from the one before, and bytes that are its own."""
    pages = [noise(700, (session, each)) for each in range(max(0, number - 2), number + 1)]
    return {"number": number, "pages": pages, "own": noise(60, (session, "own", number))}


def own(session: str, number: int) -> bytes:
    """What no other checkpoint has."""
    return noise(60, (session, "own", number))[8:48]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A store with two sessions, side by side in some segments, and a fork; what must never change of it."""
    place = tmp_path_factory.mktemp("template") / "state"
    with aegis_store.open(place, config=keeper.CONFIG) as store:
        for number in range(CHECKPOINTS):
            for session in SESSIONS:
                ref = store.session(session).checkpoint(state_of(session, number))
                if (session, number) == (keeper.OTHER, 5):
                    start_of_fork = ref
        store.session(keeper.OTHER).fork("fork", at=start_of_fork).checkpoint(state_of("fork", 6))
        return place, facts(store)


@pytest.fixture(scope="module")
def keepers():
    process = start("keeper")
    yield process
    stop(process)


def copied(template: Path, folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template.parent, folder)
    return folder / template.name


def there(store, session: str) -> dict[int, object]:
    """The checkpoints of a session that can be read."""
    found: dict[int, object] = {}
    for number in range(CHECKPOINTS):
        try:
            found[number] = store.session(session).get(number).state
        except Gone:
            continue
    return found


def check(place: Path, before: tuple, what: str) -> None:
    """Everything that must hold, whatever happened."""
    with aegis_store.open(place, config=keeper.CONFIG) as store:
        size = len(before[0])
        after = facts(store)
        assert after[0][:size] == before[0] and after[1][: size + 1] == before[1]
        assert store.verify(deep=True).findings == ()
        names = {info.id for info in store.sessions()}
        whole = dict(enumerate(state_of(keeper.OTHER, number) for number in range(CHECKPOINTS)))
        other, fork = there(store, keeper.OTHER), store.session("fork").latest().state
        assert fork == state_of("fork", 6)
        if what == "retain":
            last = range(CHECKPOINTS - keeper.KEPT, CHECKPOINTS)
            for session in SESSIONS:
                found = there(store, session)
                assert found == {number: state_of(session, number) for number in found}
                assert set(found) in (set(last), set(range(CHECKPOINTS)))
            store.retain([Rule(keep_last=keeper.KEPT)])
            store.compact()
            assert all(set(there(store, session)) == set(last) for session in SESSIONS)
            assert holds(place, *(own(session, number) for session in SESSIONS for number in range(last[0]))) == set()
        else:
            assert other == whole
            erased = range(CHECKPOINTS) if what == "erase" else [keeper.ERASED_ORDINAL]
            is_begun = store.catalog.gaps(store.records.tier) != []
            needles = [own(keeper.NAME, number) for number in erased]
            if what == "erase":
                needles.append(keeper.NAME.encode())
            assert bool(holds(place, *needles)) is not is_begun
            assert store.records.gaps.pending() == ()
            if what == "erase":
                assert (keeper.NAME in names) is not is_begun
            else:
                left = set(range(CHECKPOINTS)) - (set(erased) if is_begun else set())
                assert set(there(store, keeper.NAME)) == left
        assert store.verify(deep=True).findings == ()


def killed(keepers, template, folder: Path, what: str, nth: int) -> str | None:
    """Let one do its work up to its nth call; at which call it died. None: it came to its end."""
    place, before = template
    copy = copied(place, folder)
    keepers.stdin.write(json.dumps({"place": str(copy), "what": what, "nth": nth}) + "\n")
    status, call, _ = keepers.stdout.readline().split()
    assert int(status) == 0 or os.WIFSIGNALED(int(status)), "the keeper failed by itself"
    check(copy, before, what)
    return call if int(status) else None


@pytest.mark.parametrize("what", ["retain", "erase", "checkpoint"])
def test_a_kill_before_some_calls(keepers, template, tmp_path, what):
    # Steps without a common factor, so that each kind of call has its turn; the last are beyond the end.
    met = Counter(killed(keepers, template, tmp_path / "copy", what, nth) for nth in range(2, 200, 11))
    assert len(met) > 3 and met[None] < 12, met


@pytest.mark.long
@pytest.mark.parametrize("what", ["retain", "erase", "checkpoint"])
def test_a_kill_before_every_call(keepers, template, tmp_path, what):
    met: Counter[str] = Counter()
    while call := killed(keepers, template, tmp_path / "copy", what, met.total() + 1):
        met[call] += 1
    if os.environ.get("AEGIS_PROGRESS"):
        print(
            f"{what}: {met.total()} killed: {', '.join(f'{call} {times}' for call, times in met.most_common())}",
            file=sys.stderr,
        )
    assert met.total() >= 60
