"""kill -9 before any call of puts, deletes, refreshes, a sweep, a retention or an erasure of the memory: what was acknowledged
is there, in order and nothing beyond what was asked for; what goes is gone or still whole, and the next open goes on."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest

import aegis_store
from aegis_store import Put, Rule, Tier
from tests.crash import rememberer
from tests.crash.rememberer import CONFIG, ERASED, KEYS, NAMESPACE, TTL, At, value_of
from tests.crash.test_kill import start, stop
from tests.stores import noise
from tests.test_erasure import holds

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="calls are stopped by the kernel of Linux")

VERSIONS = 5
OTHER = ("other",)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A memory with several versions a key in some segments, and its roots."""
    place = tmp_path_factory.mktemp("template") / "state"
    with aegis_store.open(place, config=CONFIG, clock=At()) as store:
        store.memory.put(NAMESPACE, "read", "in time", ttl=TTL)
        store.memory.put(NAMESPACE, "never read", "expires", ttl=TTL)
        for version in range(VERSIONS):
            for namespace in (ERASED, OTHER):
                store.memory.batch(
                    [
                        Put(namespace=namespace, key=f"key-{namespace[-1]}-{number}", value=old(namespace, version, number))
                        for number in range(KEYS)
                    ]
                )
        size = store._engine.size(Tier.MEMORY)
        return place, [store._engine.head(Tier.MEMORY, at).root for at in range(size + 1)], store.memory.pointer()


def old(namespace, version, number):
    return {"own": noise(200, (namespace, version, number)), "page": noise(900, ("page", namespace, version // 2, number))}


def own(namespace, version, number) -> bytes:
    """What no other version has."""
    return noise(200, (namespace, version, number))[10:80]


@pytest.fixture(scope="module")
def rememberers():
    process = start("rememberer")
    yield process
    stop(process)


def read_all(store, namespace, **options):
    return {each.key: each.value for each in store.memory.search(namespace, refresh=False, **options)}


def newest(namespace):
    return {f"key-{namespace[-1]}-{number}": old(namespace, VERSIONS - 1, number) for number in range(KEYS)}


def versions(store, namespace, number) -> list[object]:
    return [each.value for each in store.memory.versions(namespace, f"key-{namespace[-1]}-{number}")]


def check_writes(place: Path, done: int) -> None:
    """All that was acknowledged, in order, and at most the call that was on its way, or a beginning of it."""
    lengths = [len(step) for step in rememberer.steps()]
    least = sum(lengths[:done])
    most = sum(lengths[: done + 1])
    found = rememberer.states()
    with aegis_store.open(place, config=CONFIG, clock=At(TTL - 1)) as store:
        there = read_all(store, NAMESPACE)
        ttl_items = {key: there.pop(key, None) for key in ("read", "never read")}
        assert there in found[least : most + 1]
        assert ttl_items["read"] == "in time" and ttl_items["never read"] in ("expires", None)
        assert store.memory.put(NAMESPACE, "k0", value_of(7)).version >= 1
    with aegis_store.open(place, config=CONFIG, clock=At(TTL + 1)) as store:
        # Whether what the read had promised was written before the kill or not: the value is whole or has expired.
        assert store.memory.get(NAMESPACE, "never read", refresh=False) is None
        assert read_all(store, NAMESPACE).get("read") in ("in time", None)
        assert read_all(store, NAMESPACE)["k0"] == value_of(7)


def check(place: Path, template, what: str, done: int) -> None:
    _, roots, pointer = template
    with aegis_store.open(place, config=CONFIG, clock=At(TTL / 2)) as store:
        assert [store._engine.head(Tier.MEMORY, at).root for at in range(len(roots))] == roots
        assert store.verify(deep=True).findings == ()
        assert read_all(store, OTHER) == read_all(store, OTHER, at=pointer) == newest(OTHER)
        history = [old(OTHER, version, 0) for version in range(VERSIONS)][::-1]
        if what == "erase":
            is_begun = store.catalog.gaps(Tier.MEMORY) != []
            needles = [own(ERASED, version, number) for version in range(VERSIONS) for number in range(KEYS)]
            marks = [f"key-{ERASED[-1]}".encode(), ERASED[-1].encode()]
            if not is_begun:
                assert read_all(store, ERASED) == newest(ERASED)
            store.memory.erase(ERASED, reason="again") if read_all(store, ERASED) else None
            assert holds(place, *needles, *marks) == set()
            assert read_all(store, ERASED) == {} and versions(store, OTHER, 0) == history
        else:
            assert read_all(store, ERASED) == newest(ERASED)
        if what == "retain":
            assert versions(store, OTHER, 0) in (history, history[:2])
            store.retain([Rule(tier="memory", keep_last=2)])
            store.compact()
            assert versions(store, OTHER, 0) == history[:2]
            assert holds(place, *(own(OTHER, version, number) for version in range(3) for number in range(KEYS))) == set()
        assert store.verify(deep=True).findings == ()
    if what == "write":
        check_writes(place, done)


def killed(rememberers, template, folder: Path, what: str, nth: int) -> str | None:
    """Let one do its work up to its nth call; at which call it died. None: it came to its end."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(template[0].parent, folder)
    copy = folder / template[0].name
    rememberers.stdin.write(json.dumps({"place": str(copy), "what": what, "nth": nth}) + "\n")
    done = 0
    while (line := rememberers.stdout.readline().split())[0] == "done":
        done = int(line[1])
    _, status, call = line
    assert int(status) == 0 or os.WIFSIGNALED(int(status)), "the rememberer failed by itself"
    check(copy, template, what, done)
    return call if int(status) else None


@pytest.mark.parametrize("what", ["write", "retain", "erase"])
def test_a_kill_before_some_calls(rememberers, template, tmp_path, what):
    # Steps without a common factor, so that each kind of call has its turn; the last are beyond the end.
    met = Counter(killed(rememberers, template, tmp_path / "copy", what, nth) for nth in range(2, 120, 7))
    assert len(met) > 3 and met[None] < 12, met


@pytest.mark.long
@pytest.mark.parametrize("what", ["write", "retain", "erase"])
def test_a_kill_before_every_call(rememberers, template, tmp_path, what):
    met: Counter[str] = Counter()
    while call := killed(rememberers, template, tmp_path / "copy", what, met.total() + 1):
        met[call] += 1
