"""Deltas, as docs/FORMAT.md describes them."""

from __future__ import annotations

from tests.golden.basics import Invalid, demand


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """(number, where it ends)"""
    value = 0
    for shift in range(0, 70, 7):
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            demand(value < 2**64 and (byte or not shift), "the form of a varint")
            return value, at
    raise Invalid("a varint")


def apply_delta(base: bytes, delta: bytes) -> bytes:
    """What a delta makes of a base."""
    length, at = read_varint(delta, 0)
    size, at = read_varint(delta, at)
    end = literals = at + size
    target, expected = bytearray(), 0
    while at < end:
        insert, at = read_varint(delta, at)
        copy, at = read_varint(delta, at)
        demand(literals + insert <= len(delta), "the literals of a delta")
        target += delta[literals : literals + insert]
        literals += insert
        if not copy:
            demand(insert and at == end, "an operation of a delta that does nothing")
            break
        away, at = read_varint(delta, at)
        start = expected + (away >> 1 if away % 2 == 0 else -(away >> 1) - 1)
        demand(start >= 0 and start + copy <= len(base), "what a delta copies")
        target += base[start : start + copy]
        expected = start + copy
    demand((at, literals, len(target)) == (end, len(delta), length), "the length of a delta")
    return bytes(target)
