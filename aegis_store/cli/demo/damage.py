"""One byte changed in a copy of a store, and what the store says to that.

Frames are found as docs/FORMAT.md draws them: they follow one another from byte 12288 of a segment file on, each with a header
of 48 bytes, its entry, its payload, and zeros to a multiple of 8. The header:

    magic "AFR0", kind u8, flags u8, length of entry u16, length of payload u32, checksum u32, index u64, watermark u64,
    link [16]
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec

import aegis_store
from aegis_store.checkpoint import Checkpoint, as_checkpoint
from aegis_store.cli.demo.facts import Flip
from aegis_store.errors import AegisError, Corrupt
from aegis_store.types import LogIndex, Tier

_FIRST: Final = 12_288
_HEADER: Final = struct.Struct("<4sBBHIIQQ16s")
_MAGIC: Final = b"AFR0"
_ALIGN: Final = 8


class Frame(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a record lies in its file, in bytes, its padding included."""

    index: int
    offset: int
    length: int
    payload_at: int
    payload_length: int


def frames(segment: Path) -> Iterator[Frame]:
    """The frames of a segment file, in order."""
    with open(segment, "rb") as file:
        at = _FIRST
        while len(header := os.pread(file.fileno(), _HEADER.size, at)) == _HEADER.size:
            magic, _, _, entry, payload, _, index, _, _ = _HEADER.unpack(header)
            if magic != _MAGIC:
                return
            length = _HEADER.size + entry + payload
            length += -length % _ALIGN
            yield Frame(index=index, offset=at, length=length, payload_at=at + _HEADER.size + entry, payload_length=payload)
            at += length


def segments(store: Path) -> list[Path]:
    """The files of the session tier, oldest first."""
    return sorted((store / Tier.SESSION.label).glob("*.seg"))


def flip(store: Path, is_checkpoint: Callable[[int], bool]) -> Flip:
    """Change one bit in the middle of a checkpoint's payload, in the middle of the store.

    In a full segment if there is one: there a record stands for itself. An active segment is refused from the damage on.
    """
    files = segments(store)
    chosen = files[(len(files) - 1) // 2]
    candidates = [frame for frame in frames(chosen) if is_checkpoint(frame.index)]
    frame = candidates[len(candidates) // 2]
    at = frame.payload_at + frame.payload_length // 2
    with open(chosen, "r+b") as file:
        file.seek(at)
        before = file.read(1)[0]
        file.seek(at)
        file.write(bytes((before ^ 1,)))
    return Flip(
        file=chosen.relative_to(store).as_posix(),
        offset=at,
        before=before,
        after=before ^ 1,
        record=frame.index,
        frame_offset=frame.offset,
    )


class Answer(msgspec.Struct, kw_only=True):
    """What a damaged store says.

    `opened` is False where it refused to open. `refusal` is the error of the damaged record, or else of opening. `findings` are
    those of a deep verification, by record. `served` and `refused` are places in the list of points that was asked for.
    """

    opened: bool
    refusal: str = ""
    findings: list[tuple[int | None, str]] = msgspec.field(default_factory=list)
    served: list[int] = msgspec.field(default_factory=list)
    refused: list[int] = msgspec.field(default_factory=list)


def ask(store: Path, points: Sequence[tuple[str, int]], *, damaged: int, look: Callable[[int, Checkpoint], object]) -> Answer:
    """Open, verify, and read each of `points`, given by session and record. `look` gets each that is served, by its place."""
    try:
        # For writing, as an agent would that knows nothing of the damage.
        opened = aegis_store.open(store)
    except Corrupt as error:
        findings = [(error.index, error.message)]
        return Answer(opened=False, refusal=error.message, findings=findings, refused=list(range(len(points))))
    answer = Answer(opened=True)
    with opened:
        answer.findings = [(finding.index, finding.problem) for finding in opened.verify(deep=True).findings]
        for place, (session, index) in enumerate(points):
            try:
                checkpoint = as_checkpoint(opened.records.read(LogIndex(index)), session, opened.types)
            except AegisError as error:
                answer.refused.append(place)
                if index == damaged:
                    answer.refusal = error.message
                continue
            answer.served.append(place)
            look(place, checkpoint)
    return answer
