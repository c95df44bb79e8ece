from __future__ import annotations

from itertools import pairwise

import ormsgpack
import zstandard

from aegis_store.bench.states import STATE_BYTES, conversations, incompressible


def test_a_conversation_is_about_4_kib_and_one_message_changes_at_a_time():
    states = conversations(20)
    for before, after in pairwise(states):
        assert sum(a != b for a, b in zip(before["messages"], after["messages"], strict=True)) == 1
        assert 0.7 * STATE_BYTES < len(ormsgpack.packb(after)) < 1.5 * STATE_BYTES


def test_text_compresses_and_noise_does_not():
    shorter = zstandard.ZstdCompressor().compress
    text, noise = (ormsgpack.packb(states[0]) for states in (conversations(1), incompressible(1)))
    assert len(shorter(text)) < len(text) / 2
    assert len(shorter(noise)) >= len(noise)


def test_the_same_seed_gives_the_same_states():
    assert conversations(3) == conversations(3) != conversations(3, seed=2)
