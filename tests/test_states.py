"""What is kept of the last states, and when a chain of deltas ends."""

import pytest

from aegis_store.states import CHAIN_BYTES_MIN, LINKS_MAX, SHRUNK, WHOLE_MAX, State, States


def kept(states: States, *indices: int) -> list[bool]:
    return [states.get(index) is not None for index in indices]


def test_the_least_recently_used_go_first():
    states = States(4000)
    for index in range(3):
        states.put(index, State(bytes(1000)))
    states.get(0)
    states.put(3, State(bytes(1000)))
    assert kept(states, 0, 1, 2, 3) == [True, False, True, True]
    states.put(4, State(bytes(3000)))
    assert kept(states, 0, 2, 3, 4) == [False, False, False, True]


def test_what_is_larger_than_all_is_not_kept_and_drives_nothing_out():
    states = States(2000)
    states.put(0, State(b"small"))
    states.put(1, State(bytes(3000)))
    assert kept(states, 0, 1) == [True, False]
    nothing = States(0)
    nothing.put(0, State(b""))
    assert kept(nothing, 0) == [False]


def test_a_state_takes_the_place_of_the_one_before_it_and_its_bytes():
    states = States(3000)
    for index in range(100):
        states.put(index, State(bytes(1000)), instead_of=index - 1 if index else None)
        states.put(index, State(bytes(1200)))
    assert kept(states, 98, 99) == [False, True]
    states.put(100, State(bytes(1000)))
    assert kept(states, 99, 100) == [True, True]


def test_a_chain_ends_after_so_many_links():
    state, length = State(bytes(1000)), 0
    while (following := state.follow(b"delta", bytes(1000))) is not None and state.longest_delta(1000):
        state, length = following, length + 1
    assert length == LINKS_MAX == state.links
    assert state.chain_bytes == 5 * LINKS_MAX


@pytest.mark.parametrize("size", [10_000, 400_000])
def test_a_chain_ends_when_its_deltas_outgrow_the_state(size):
    state, whole = State(bytes(size)), max(2 * size, CHAIN_BYTES_MIN)
    delta = bytes(whole // 10)
    for _ in range(10):
        state = state.follow(delta, bytes(size))
    assert state.follow(b"1", bytes(size)) is None or 10 * len(delta) < whole
    assert state.follow(delta, bytes(size)) is None


def test_what_is_small_or_has_shrunk_much_or_changed_much_is_stored_whole():
    state = State(bytes(100_000))
    assert state.longest_delta(100_000) == 90_000
    assert state.longest_delta(100_000 // SHRUNK) > 0 == state.longest_delta(100_000 // SHRUNK - 1)
    assert State(b"").longest_delta(WHOLE_MAX) > 0 == State(b"").longest_delta(WHOLE_MAX - 1)
