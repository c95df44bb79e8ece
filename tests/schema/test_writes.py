"""The envelopes of writes: cut into parts and put together again; what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store.codec.canonical import encode
from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat
from aegis_store.schema import writes as schema
from aegis_store.schema.writes import Part, Write, Writes, decode_part, encode_part, joined, parts_of

NAMES = st.text(max_size=8) | st.sampled_from(["\ud800", "~a", ""])
ROWS = st.builds(Write, st.integers(-(2**31), 2**31 - 1), NAMES, NAMES, st.binary(max_size=90))
WRITTEN = st.builds(Writes, request_id=NAMES, task=NAMES, path=NAMES, writes=st.lists(ROWS, max_size=4).map(tuple))


def through(*written: Writes) -> list[Writes]:
    return list(joined(decode_part(encode_part(part)) for each in written for part in parts_of(each)))


@given(st.lists(WRITTEN, max_size=3), st.integers(1, 40))
def test_what_was_written_comes_back(written, size):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(schema, "PART_BYTES", size)
        assert through(*written) == written


def test_the_envelope_is_the_one_of_the_format():
    (part,) = parts_of(Writes(request_id="r", task="t", path="p", writes=(Write(-1, "c", "k", b"v"),)))
    assert encode_part(part) == encode(["writes", 0, "r", 0, 1, encode(["t", "p", [[-1, "c", "k", b"v"]]])])


@given(WRITTEN, st.data())
def test_parts_that_are_not_all_there_are_left_out(written, data):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(schema, "PART_BYTES", 5)
        parts = parts_of(written)
    keep = data.draw(st.lists(st.booleans(), min_size=len(parts), max_size=len(parts)))
    left = [part for part, kept in zip(parts, keep, strict=True) if kept]
    assert list(joined([*left, *parts])) == ([written, written] if all(keep) else [written])


@pytest.mark.parametrize(
    "fields",
    [
        ["writes", 0, "r", 0, 1],
        ["writes", 0, 7, 0, 1, b""],
        ["writes", 0, "r", 1, 1, b""],
        ["writes", 0, "r", -1, 1, b""],
        ["writes", 0, "r", True, 2, b""],
        ["writes", 0, "r", 0, 1, "text"],
        ["write", 0, "r", 0, 1, b""],
    ],
    ids=str,
)
def test_an_envelope_of_something_else_is_refused(fields):
    with pytest.raises(Corrupt):
        decode_part(encode(fields))


def test_a_later_version_is_newer():
    with pytest.raises(NewerFormat):
        decode_part(encode(["writes", 1, "r", 0, 1, b""]))


@pytest.mark.parametrize(
    "body",
    [
        None,
        ["t", "p"],
        ["t", "p", "rows"],
        ["t", 7, []],
        ["t", "p", [[0, "c", "k"]]],
        ["t", "p", [(0, "c", "k", b"")]],
        ["t", "p", [["0", "c", "k", b""]]],
        ["t", "p", [[2**31, "c", "k", b""]]],
        ["t", "p", [[0, "c", "k", "text"]]],
        ["t", "p", [[0, None, "k", b""]]],
    ],
    ids=str,
)
def test_a_body_of_something_else_is_refused(body):
    part = Part(request_id="r", part=0, parts=1, body=encode(body))
    with pytest.raises(Corrupt):
        list(joined([part]))


def test_a_name_that_is_no_text_is_refused():
    with pytest.raises(InvalidArgument, match="task"):
        parts_of(Writes(request_id="r", task=7, path="", writes=()))


@pytest.mark.parametrize(
    "write", [Write(0, "c", "t", bytearray(b"v")), Write(True, "c", "t", b"v"), Write(1 << 31, "c", "t", b"v")]
)
def test_what_no_reader_would_take_is_not_written(write):
    with pytest.raises(InvalidArgument, match="'c' has no place, or no bytes"):
        parts_of(Writes(request_id="r", task="t", path="", writes=(write,)))
