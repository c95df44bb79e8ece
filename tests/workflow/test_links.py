"""The hash of a transition, by the document; and what follows what."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from aegis_store.errors import Corrupt
from aegis_store.workflow import links
from aegis_store.workflow.links import Entry, entry_from_wire, entry_to_wire, fault, follow, transition_hash


def test_the_hash_is_that_of_the_document():
    wanted = hashlib.sha256(
        b"aegis-store/v0/transition\n"
        + b"\x03\0\0\0o-1" + b"\x03\0\0\0new" + b"\x04\0\0\0paid" + "\x05\0\0\0bänk".encode()
        + b"\x01\x02\0\0\0\0\0\0" + b"p" * 32
    ).digest()  # fmt: skip
    made = transition_hash("o-1", from_state="new", to_state="paid", actor="bänk", time_ms=513, previous=b"p" * 32)
    assert made == wanted


def test_no_two_transitions_have_the_same_bytes():
    """Lengths keep what stands side by side apart."""
    one = transition_hash("ab", from_state="c", to_state="d", actor="e", time_ms=1)
    two = transition_hash("a", from_state="bc", to_state="d", actor="e", time_ms=1)
    assert one != two


def test_what_follows_has_no_fault():
    first = follow("o", None, action=links.CREATED, to_state="new", actor="a", now_ms=9)
    second = follow("o", first, action=links.TRANSITION, to_state="paid", actor="b", now_ms=3)
    last = follow("o", second, action=links.COMPLETED, to_state="", actor="c", now_ms=10)
    assert [fault("o", *pair) for pair in ((None, first), (first, second), (second, last))] == [None] * 3
    assert (first.previous, second.previous, second.time_ms) == (bytes(32), first.hash, 9)
    assert fault("another", None, first) == "its hash is not that of what it says"
    after = follow("o", last, action=links.TRANSITION, to_state="x", actor="c", now_ms=10)
    assert "after the workflow was completed" in fault("o", last, after)


@pytest.mark.parametrize("record", [None, 7])
def test_an_entry_comes_back_from_the_wire(record):
    link = follow("o", None, action=links.CREATED, to_state="new", actor="a", now_ms=9)
    entry = Entry(link=link, record=record, leaf=None if record is None else bytes(32), request="r")
    assert entry_from_wire(entry_to_wire(entry), "a") == entry


@pytest.mark.parametrize(
    "change", [{"number": "1"}, {"hash": None}, {"more": 1}, {"action": "else"}, {"record": b""}, {"from": 1}]
)
def test_what_no_entry_gives_is_corrupt(change):
    link = follow("o", None, action=links.CREATED, to_state="new", actor="a", now_ms=9)
    with pytest.raises(Corrupt):
        entry_from_wire(entry_to_wire(Entry(link=link)) | change, "a")
    with pytest.raises(Corrupt):
        entry_from_wire(None, "a")


def test_the_public_form_has_no_state_where_there_is_none():
    link = follow("o", None, action=links.CREATED, to_state="new", actor="a", now_ms=9)
    made = links.public("o", Entry(link=link), None)
    assert (made.from_state, made.to_state, made.at.timestamp()) == (None, "new", 0.009)
    assert links.named(link) == "transition 0 (none -> new)"
    assert msgspec.structs.asdict(made)["hash"] == link.hash
