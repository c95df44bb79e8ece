"""Deltas from Python: what goes in comes out, in any thread, and hostile bytes are typed errors."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store._engine import literals_of, make_delta, restore
from aegis_store.errors import Corrupt, StateTooLarge
from tests.stores import noise

LIMIT = 1 << 24


@given(st.lists(st.binary(max_size=400), min_size=1, max_size=8), st.binary(max_size=40))
def test_every_state_of_a_chain_comes_back(parts, more):
    states, deltas = [b""], []
    for at, part in enumerate(parts):
        states.append((states[-1][: 200 * at] + more + part + states[-1][100 * at :])[:5000])
        deltas.append(make_delta(states[-2], states[-1], 10_000))
    for count, state in enumerate(states):
        assert restore(b"", deltas[:count], length=len(state), limit=LIMIT) == state


def test_a_delta_that_would_be_longer_is_none():
    assert make_delta(b"a" * 100, b"b" * 100, 103) is None
    assert make_delta(b"a" * 100, b"b" * 100, 104) is not None
    assert make_delta(b"", b"", 0) is None


@pytest.mark.parametrize("size", [1 << 12, 1 << 17, 3 << 20])
def test_states_of_any_size(size):
    base = bytes(each * each % 251 for each in range(size))
    target = base[:100] + b"more" + base[100:]
    delta = make_delta(base, target, size)
    assert len(delta) < 30
    assert restore(base, [delta], length=size + 4, limit=LIMIT) == target


def test_hostile_deltas_are_corrupt():
    delta = make_delta(b"a" * 1000, b"a" * 990 + b"b", 100)
    for bad in (b"", b"\xff", delta[:-1], delta + b"x", b"\x05\x00"):
        with pytest.raises(Corrupt):
            restore(b"a" * 1000, [bad], length=991, limit=LIMIT)
    with pytest.raises(Corrupt, match="not 990"):
        restore(b"a" * 1000, [delta], length=990, limit=LIMIT)
    with pytest.raises(StateTooLarge):
        restore(b"a" * 1000, [delta], length=991, limit=990)


def test_threads_do_not_meet_in_a_buffer():
    wrong = []

    def work(number: int) -> None:
        base = bytes([number]) * 70_000
        for each in range(200):
            target = base[:each] + b"edit %d" % each + base[each:]
            delta = make_delta(base, target, len(target))
            if restore(base, [delta], length=len(target), limit=LIMIT) != target:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("size", [0, 1, 127, 128, 20_000, 300_000])
def test_the_literals_of_a_delta_are_what_its_base_does_not_have(size):
    base, new = noise(50_000, "base"), noise(size, "new")
    delta = make_delta(base, base[:25_000] + new + base[25_000:], 1 << 20)
    assert literals_of(delta) == new
    assert literals_of(make_delta(b"", new, 1 << 20)) == new
