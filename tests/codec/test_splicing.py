"""Arrays that end in large bytes: the same bytes as ormsgpack makes, or none."""

from __future__ import annotations

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aegis_store.codec.canonical import decode, encode, encode_plain
from aegis_store.codec.extensions import STR_KEYS
from aegis_store.codec.splicing import LARGE_BYTES, LEVELS_MAX, pack_spliced, splice
from aegis_store.errors import Corrupt

SIZES = [LARGE_BYTES, LARGE_BYTES + 1, (1 << 16) - 1, 1 << 16, (1 << 16) + 1, 200_000]
LEAVES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary(max_size=40)
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20))


@given(st.lists(VALUES, max_size=17), st.sampled_from(SIZES))
def test_it_makes_the_bytes_that_ormsgpack_makes(before, size):
    value = [*before, b"x" * size]
    packed = pack_spliced(value)
    assert packed == ormsgpack.packb(value, None, STR_KEYS)
    assert encode(value) == packed
    assert encode(decode(packed)) == packed


@given(st.lists(VALUES, max_size=17), st.lists(st.binary(max_size=300), max_size=4), st.sampled_from([0, 255, 256, *SIZES]))
def test_pieces_make_the_bytes_that_the_whole_makes(before, pieces, size):
    pieces = [*pieces, b"x" * max(0, size - sum(map(len, pieces)))]
    assert splice(before, pieces) == encode_plain(before, pieces) == encode([*before, b"".join(pieces)])
    assert encode_plain(before) == encode(before)


@pytest.mark.parametrize("value", [{1, 2}, (1,), "\ud800", 2**64], ids=["set", "tuple", "surrogate", "large"])
def test_what_is_not_plain_is_not_packed(value):
    with pytest.raises(TypeError):
        encode_plain([value])
    with pytest.raises(TypeError):
        encode_plain([value], [b"x"])


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    "value",
    [
        b"x" * LARGE_BYTES,
        [],
        [b"x" * (LARGE_BYTES - 1)],
        [b"x" * LARGE_BYTES, 1],
        [bytearray(b"x" * LARGE_BYTES)],
        [bytearray(b"y"), b"x" * LARGE_BYTES],
        [Text("y"), b"x" * LARGE_BYTES],
        [(1,), b"x" * LARGE_BYTES],
        [{1: 2}, b"x" * LARGE_BYTES],
        [2**64, b"x" * LARGE_BYTES],
        ["\ud800", b"x" * LARGE_BYTES],
        [ormsgpack.Fragment(b"\xc0"), b"x" * LARGE_BYTES],
        (b"x" * LARGE_BYTES,),
    ],
    ids=lambda value: type(value[0]).__name__ if value and type(value) is list else repr(value)[:8],
)
def test_what_is_no_such_array_is_for_others(value):
    assert pack_spliced(value) is None


def test_what_goes_too_deep_is_for_others():
    deep: object = 1
    for _ in range(LEVELS_MAX + 1):
        deep = [deep]
    assert pack_spliced([deep, b"x" * LARGE_BYTES]) is None
    assert decode(encode([deep, b"x" * LARGE_BYTES])) == [deep, b"x" * LARGE_BYTES]


def test_another_form_of_it_is_refused_when_it_is_read():
    packed = encode([1, b"x" * LARGE_BYTES])
    assert packed[1:3] == b"\x01\xc5"
    longer = packed[:2] + b"\xc6\0\0" + packed[3:]
    assert ormsgpack.unpackb(longer) == ormsgpack.unpackb(packed)
    with pytest.raises(Corrupt, match="not in the one form"):
        decode(longer)
