"""What a dictionary is made of: text that many sessions have in common, found as they are written.

Pure: bytes go in, blocks come out. The bytes are those of a session's first envelope and what its deltas bring in anew, cut
where text has a natural end, so that what is inserted before a block does not change it. A block becomes common when the third
root session has it. Forks do not count, for they have their origin's text by inheritance; so no text of two sessions, however
often it is repeated there, ever gets into a dictionary.

    seen        block -> the one or two sessions that had it: two generations, the older one dropped when the younger is full
    common      blocks that three had, in the order in which they became that; the least recently met go when they are too many

Not every session is listened to: the first `FIRST_HEARD`, then one of eight. More find 2 % more and cost three times as much.
"""

from __future__ import annotations

import re
from typing import Final

from aegis_store.schema.dictionary import CONTENT_BYTES_MAX

#: Root sessions that must have had a block.
SESSIONS_MIN: Final = 3
#: New common text that a first dictionary is worth; a later one must find half of what there is.
NEW_BYTES_MIN: Final = 2 << 10
#: What a generation of seen blocks may take, each with what it costs beside its bytes.
GENERATION_BYTES: Final = 1 << 20
BLOCK_OVERHEAD_BYTES: Final = 192
FIRST_HEARD: Final = 16
#: Of one envelope or delta, what is beyond is not looked at.
LISTENED_BYTES_MAX: Final = 32 << 10

#: 20 bytes, then up to 108 more until one at which text or JSON may end, and all such that follow.
_cut: Final = re.compile(rb'(?s).{20}[^\n",.\]}\\]{0,108}["\n,.\]}\\]*').findall


class Gatherer:
    """Finds what at least three root sessions have in common. For one thread at a time."""

    def __init__(self) -> None:
        self._heard: set[int] = set()
        self._seen: dict[bytes, tuple[int, ...]] = {}
        self._older: dict[bytes, tuple[int, ...]] = {}
        self._seen_bytes = 0
        self._common: dict[bytes, None] = {}
        self._common_bytes = 0
        self._new: dict[bytes, None] = {}
        self._new_bytes = 0
        self._wanted_bytes = NEW_BYTES_MIN

    def hears(self, session: int) -> bool:
        """Whether anything of that root session, by its number, is of interest."""
        if session in self._heard:
            return True
        if len(self._heard) < FIRST_HEARD:
            self._heard.add(session)
            return True
        return (session * 0x9E3779B1 >> 16) & 7 == 0

    def listen(self, session: int, text: bytes, current: bytes) -> bool:
        """Take in what a root session had to say. Whether a dictionary that holds more than `current` is worth writing."""
        for block in _cut(text, 0, LISTENED_BYTES_MAX):
            if block in self._common:
                self._common[block] = self._common.pop(block)
                continue
            had = self._seen.get(block) or self._older.get(block)
            if had is None:
                had = (session,)
            elif session in had:
                continue
            elif len(had) < SESSIONS_MIN - 1:
                had = (*had, session)
            else:
                self._share(block, current)
                continue
            if block not in self._seen:
                self._seen_bytes += len(block) + BLOCK_OVERHEAD_BYTES
            self._seen[block] = had
            if self._seen_bytes > GENERATION_BYTES:
                self._older, self._seen, self._seen_bytes = self._seen, {}, 0
        return self._new_bytes >= max(self._wanted_bytes, len(current) // 2)

    def _share(self, block: bytes, current: bytes) -> None:
        if self._seen.pop(block, None) is not None:
            self._seen_bytes -= len(block) + BLOCK_OVERHEAD_BYTES
        self._older.pop(block, None)
        self._common[block] = None
        self._common_bytes += len(block)
        if block not in current:
            self._new[block] = None
            self._new_bytes += len(block)
        while self._common_bytes > CONTENT_BYTES_MAX:
            gone = next(iter(self._common))
            del self._common[gone]
            self._common_bytes -= len(gone)
            if gone in self._new:
                del self._new[gone]
                self._new_bytes -= len(gone)

    def content(self, current: bytes) -> bytes:
        """The next dictionary: the current one and what is new, or where that is too much all that is common here.

        In the order in which it was met: neighbours stay neighbours, and one copy takes both."""
        grown = current + b"".join(self._new)
        return grown if len(grown) <= CONTENT_BYTES_MAX else b"".join(self._common)

    def made(self) -> None:
        """A dictionary was written of it."""
        self._new, self._new_bytes, self._wanted_bytes = {}, 0, NEW_BYTES_MIN

    def put_off(self) -> None:
        """It could not be written: not again before there is as much more."""
        self._wanted_bytes = self._new_bytes + NEW_BYTES_MIN
