"""Dictionaries that hold text of sessions that are to be erased, and of too few others.

A dictionary is made of what at least three root sessions had in common: prompts and tool schemas, which every session has. Most
of what an erased session shares with one is still everybody's. What is left to fewer than three that stay is not to be kept:
the dictionary goes, and whatever was compressed with it is compressed anew.

A dictionary is looked at through windows that overlap so far that each block of it fills at least one: what goes must not be
seen in any that fewer than three others show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from typing import Final

from aegis_store.errors import AegisError
from aegis_store.gathering import SESSIONS_MIN
from aegis_store.records import Records
from aegis_store.survey import Strand, Survey
from aegis_store.types import LogIndex

#: A block has 20 bytes at least, so one of these windows lies in it.
WINDOW_BYTES: Final = 16
STRIDE_BYTES: Final = 4
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
    windows = {content[at : at + WINDOW_BYTES] for at in range(0, len(content) - WINDOW_BYTES + 1, STRIDE_BYTES)}
    left = dict.fromkeys(_seen(windows, texts), SESSIONS_MIN)
    for strand in reversed(kept[-ASKED_MAX:]):
        if not left:
            break
        for window in _seen(left, _texts(records, strand)):
            left[window] -= 1
        left = {window: count for window, count in left.items() if count}
    return bool(left)


def _seen(windows: Collection[bytes], texts: Iterable[bytes]) -> set[bytes]:
    """Those that any of the texts shows."""
    return {
        window
        for text in texts
        for at in range(len(text) - WINDOW_BYTES + 1)
        if (window := text[at : at + WINDOW_BYTES]) in windows
    }


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
    """What a checkpoint brought in: its envelope, or its delta with the bytes that are in no base. None: it is gone, or
    damaged."""
    with suppress(AegisError):
        return records.link(index).data
    return None
