"""What several sessions have in common, and nothing that fewer have."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.gathering import (
    BLOCK_OVERHEAD_BYTES,
    FIRST_HEARD,
    GENERATION_BYTES,
    NEW_BYTES_MIN,
    SESSIONS_MIN,
    Gatherer,
)
from aegis_store.schema.dictionary import CONTENT_BYTES_MAX
from tests.stores import noise


def prompt(seed: object, size: int = 4000) -> bytes:
    """Lines of text, the same for the same seed."""
    lines = (f"rule {number}: {noise(20, (seed, number)).hex()}.\n" for number in itertools.count())
    text = b""
    while len(text) < size:
        text += next(lines).encode()
    return text


def told(gatherer: Gatherer, text: bytes, *sessions: int, current: bytes = b"") -> list[bool]:
    return [gatherer.listen(session, text, current) for session in sessions]


def test_three_sessions_make_a_dictionary_and_two_do_not():
    gatherer, text = Gatherer(), prompt("p")
    assert told(gatherer, text, 1, 1, 2, 2, 1, 2) == [False] * 6
    assert gatherer.content(b"") == b""
    assert told(gatherer, text, 3) == [True]
    content = gatherer.content(b"")
    assert content in text and len(content) > 0.98 * len(text)
    gatherer.made()
    assert told(gatherer, text, 4, 5, current=content) == [False, False]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=60))
def test_what_fewer_than_three_sessions_had_is_in_no_dictionary(said):
    """Whatever is said in which order: against sets."""
    gatherer, had = Gatherer(), {}
    texts = [prompt(number, 2000) for number in range(6)]
    for session, text in said:
        gatherer.listen(session, texts[text], b"")
        had.setdefault(text, set()).add(session)
    content = gatherer.content(b"")
    for number, text in enumerate(texts):
        for line in text.splitlines():
            assert (line[8:] in content) <= (len(had.get(number, ())) >= SESSIONS_MIN)
        if len(had.get(number, ())) >= SESSIONS_MIN:
            assert text[200:1800] in content


def test_what_is_put_in_front_or_between_moves_no_block():
    gatherer, text = Gatherer(), prompt("p")
    for session in range(SESSIONS_MIN):
        said = (
            noise(session, session) + b"\n" + text[:1500] + noise(100 + session, session).hex().encode() + b".\n" + text[1500:]
        )
        gatherer.listen(session, said, b"")
    assert len(gatherer.content(b"")) > 0.85 * len(text)


def test_small_finds_wait_and_a_later_one_must_find_half_of_what_there_is():
    gatherer = Gatherer()
    assert told(gatherer, prompt("a", NEW_BYTES_MIN // 2), 1, 2, 3) == [False] * 3
    assert told(gatherer, prompt("b", NEW_BYTES_MIN), 1, 2, 3) == [False, False, True]
    current = bytes(20_000)
    assert told(gatherer, prompt("c", 6000), 1, 2, 3, current=current) == [False] * 3
    assert told(gatherer, prompt("d", 3000), 1, 2, 3, current=current) == [False, False, True]
    assert gatherer.content(current).startswith(current)


def test_what_the_current_one_holds_is_not_new():
    """After the store was opened again, everything is met anew."""
    gatherer, text = Gatherer(), prompt("p")
    assert told(gatherer, text, 1, 2, 3, current=text) == [False] * 3


def test_a_dictionary_never_outgrows_its_limit_and_what_was_met_last_stays():
    gatherer, current = Gatherer(), b""
    for number in range(60):
        for session in (1, 2, 3):
            gatherer.listen(session, prompt(number, 5000), current)
        for session in (4, 5):
            gatherer.listen(session, prompt("always", 5000), current)
        gatherer.listen(6, prompt("always", 5000), current)
        current = gatherer.content(current)
        gatherer.made()
        assert len(current) <= CONTENT_BYTES_MAX
    assert prompt(59, 5000)[100:4000] in current
    assert prompt(0, 5000)[100:4000] not in current
    assert gatherer._common_bytes == sum(map(len, gatherer._common)) <= CONTENT_BYTES_MAX


def test_memory_is_bounded_whatever_is_said():
    gatherer = Gatherer()
    for session in range(3000):
        gatherer.listen(session, prompt(session, 5000), b"")
        held = [sum(len(each) + BLOCK_OVERHEAD_BYTES for each in kept) for kept in (gatherer._seen, gatherer._older)]
        assert max(held) <= GENERATION_BYTES + 5 * 1024
        assert held[0] == gatherer._seen_bytes


def test_one_session_in_eight_is_heard_once_there_were_some():
    gatherer = Gatherer()
    assert all(gatherer.hears(number) for number in range(FIRST_HEARD))
    later = [gatherer.hears(number) for number in range(100, 8100)]
    assert 800 < sum(later) < 1200
    assert later == [gatherer.hears(number) for number in range(100, 8100)]
    assert all(gatherer.hears(number) for number in range(FIRST_HEARD))
    assert not gatherer.hears(next(number for number in range(100, 8100) if not later[number - 100]))


def test_what_could_not_be_written_is_put_off_until_there_is_more():
    gatherer = Gatherer()
    assert told(gatherer, prompt("a"), 1, 2, 3)[-1]
    gatherer.put_off()
    assert not told(gatherer, prompt("a"), 4)[0]
    assert told(gatherer, prompt("b"), 1, 2, 3)[-1]
    assert len(gatherer.content(b"")) > 7000
