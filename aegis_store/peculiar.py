"""Dictionaries that hold text of sessions that are to be erased, and of too few others.

A dictionary is made of what at least three root sessions had in common: prompts and tool schemas, which every session has. Most of what an
erased session shares with one is still everybody's. What is left to fewer than three that stay is not to be kept: the dictionary goes,
and whatever was compressed with it is compressed anew.

Both questions are put to the delta codec: what of a text can be copied from the dictionary. A cell of it is met by what goes where any
byte of it is, and by what stays where all of it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from aegis_store._engine import make_delta
from aegis_store.errors import AegisError
from aegis_store.gathering import SESSIONS_MIN
from aegis_store.records import Records
from aegis_store.survey import Strand, Survey
from aegis_store.types import LogIndex

CELL_BYTES: Final = 8
#: Sessions that stay and are asked whether they have it too, newest first, and how much of each is looked at.
ASKED_MAX: Final = 256
ASKED_BYTES: Final = 256 << 10


def peculiar(records: Records, found: Survey, going: Iterable[LogIndex | int]) -> list[LogIndex]:
    """The dictionaries that hold something of the checkpoints `going` that not at least three root sessions have which stay."""
    if not found.dictionaries:
        return []
    gone = set(going)
    texts = [text for index in gone if (text := _text(records, LogIndex(index))) is not None]
    kept = [strand for strand in found.strands.values() if strand.parent is None and not gone.intersection(strand.indexes)]
    return [index for index in found.dictionaries if _is_peculiar(records, index, texts, kept)]


def _is_peculiar(records: Records, index: LogIndex, texts: list[bytes], kept: list[Strand]) -> bool:
    try:
        content = records.dictionaries.content(index)
    except AegisError:
        return False  # damaged: nobody can read it, and verification says so
    left = {cell: SESSIONS_MIN for text in texts for first, end in _copied(content, text) for cell in _touched(first, end)}
    for strand in reversed(kept[-ASKED_MAX:]):
        if not left:
            break
        has = {cell for text in _texts(records, strand) for first, end in _copied(content, text) for cell in _filled(first, end)}
        left = {cell: count - (cell in has) for cell, count in left.items() if count > 1 or cell not in has}
    return bool(left)


def _touched(first: int, end: int) -> range:
    return range(first // CELL_BYTES, -(-end // CELL_BYTES))


def _filled(first: int, end: int) -> range:
    return range(-(-first // CELL_BYTES), end // CELL_BYTES)


def _texts(records: Records, strand: Strand) -> Iterator[bytes]:
    """What a session holds, in order, up to a limit."""
    room = ASKED_BYTES
    for index, gap in zip(strand.indexes, strand.gaps, strict=True):
        text = None if gap else _text(records, LogIndex(index))
        if text is not None:
            yield text
            room -= len(text)
        if room < 0:
            return


def _text(records: Records, index: LogIndex) -> bytes | None:
    """What a checkpoint brought in: its envelope, or its delta with the bytes that are in no base. None: it is gone, or damaged."""
    with suppress(AegisError):
        return records.link(index).data
    return None


def _copied(content: bytes, text: bytes) -> Iterator[tuple[int, int]]:
    """Which parts of a dictionary a text has, as [first, end)."""
    delta = make_delta(content, text, 2 * len(text) + 64)
    if delta is None:
        return
    _, at = _varint(delta, 0)
    length, at = _varint(delta, at)
    end, expected = at + length, 0
    while at < end:
        _, at = _varint(delta, at)
        count, at = _varint(delta, at)
        if count:
            step, at = _varint(delta, at)
            first = expected + (step >> 1 ^ -(step & 1))
            expected = first + count
            yield first, expected


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return value, at
