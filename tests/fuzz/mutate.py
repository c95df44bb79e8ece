"""Bytes that are almost right: the mutations of a small fuzzer, for decoders that are written in Python.

`mutants` takes good inputs and changes each a little, one to six times: bits, bytes, lengths, pieces moved, doubled or taken
from another input, words of the formats. The same seed gives the same mutants. `search` hands them to a decoder and names the
first that it answered by anything but a value or a typed error.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from aegis_store.errors import AegisError, EngineBug

#: What decoders compare with, or count by: heads of msgpack types, ends of ranges, brackets, tags.
WORDS = [
    b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff\xff\xff\xff\xff", b"\xc0", b"\xc1",
    b"\xc4\x01", b"\xc6", b"\xc7\x10\x10", b"\xc8\xff\xff\x11", b"\xc9\xff\xff\xff\xff\x13", b"\xcb", b"\xcf", b"\xd3",
    b"\xd4\x01", b"\xd6\x05", b"\xd8\x04", b"\xdc\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\x91" * 40,
    b"\x81\x01" * 20, b"[" * 300, b'{"a":' * 300, b"{", b"}", b"]", b'"', b"\\ud800", b"\xed\xa0\x80", b"\xe2\x80\x94 ",
    b"\n", b"\n\n", b"+", b"=", b"-1", b"1e999", b"9" * 400, b"9" * 5000, b"null", b"true", b'"$tuple"', b'"$int"',
    b'"$map"', b'"$float"', b'"inf"', b"\x28\xb5\x2f\xfd",
]  # fmt: skip
LENGTH_MAX = 1 << 16


class Finding(NamedTuple):
    """An input that was answered by no value and no typed error, or whose value does not hold."""

    data: bytes
    error: BaseException


def mutants(corpus: Sequence[bytes], *, seed: int, count: int) -> Iterator[bytes]:
    """`count` mutants of the inputs, after the inputs themselves."""
    dice = random.Random(seed)
    yield from corpus
    for _ in range(count):
        data = bytearray(dice.choice(corpus))
        for _ in range(dice.choice((1, 1, 1, 2, 3, 6))):
            dice.choice(_MUTATIONS)(dice, data, corpus)
        yield bytes(data[:LENGTH_MAX])


def search(decode: Callable[[bytes], object], corpus: Sequence[bytes], *, seed: int, count: int) -> tuple[int, Finding | None]:
    """(inputs tried, what was found). `decode` raises AssertionError where a value that it got does not hold."""
    tried = 0
    for data in mutants(corpus, seed=seed, count=count):
        tried += 1
        try:
            decode(data)
        except EngineBug as bug:
            return tried, Finding(data, bug)
        except AegisError:
            continue
        except Exception as error:  # the very thing that is looked for
            return tried, Finding(data, error)
    return tried, None


def _flip(dice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)


def _set(dice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    if data:
        data[dice.randrange(len(data))] = dice.randrange(256)


def _count(dice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    """A little more or less: lengths and indices."""
    if data:
        at = dice.randrange(len(data))
        data[at] = (data[at] + dice.choice((-16, -2, -1, 1, 2, 16))) % 256


def _cut(dice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    begin, end = _piece(dice, data)
    del data[begin:end]


def _end(dice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    del data[dice.randrange(len(data) + 1) :]


def _double(dice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    begin, end = _piece(dice, data)
    data[begin:begin] = data[begin:end] * dice.choice((1, 1, 2, 30))


def _word(dice: random.Random, data: bytearray, _: Sequence[bytes]) -> None:
    word = dice.choice(WORDS)
    at = dice.randrange(len(data) + 1)
    data[at : at + (len(word) if dice.random() < 0.5 else 0)] = word


def _splice(dice: random.Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    other = bytearray(dice.choice(corpus))
    begin, end = _piece(dice, other)
    at = dice.randrange(len(data) + 1)
    data[at : at + dice.choice((0, end - begin))] = other[begin:end]


def _piece(dice: random.Random, data: bytearray) -> tuple[int, int]:
    begin = dice.randrange(len(data) + 1)
    return begin, min(len(data), begin + dice.choice((1, 2, 4, 8, 32, 200)))


_MUTATIONS = [_flip, _set, _count, _cut, _end, _double, _word, _splice]
