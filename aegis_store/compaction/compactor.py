"""Does what a plan says, segment by segment, newest first. See the package's text, and docs/DURABILITY.md for what a crash
leaves.

A segment is rewritten into a file of its own and takes the old one's place in one write of the manifest, so that a compaction
that is stopped or killed has done some segments and not the others, and the next one goes on. Appends go on meanwhile; whoever
reads an old file reads on until they let go of it."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

import msgspec

from aegis_store._engine import Change, Engine, Footer, Gap, Progress, Replacement, compact_segment
from aegis_store.catalog import Row
from aegis_store.codec import payload as payload_codec
from aegis_store.compaction.pace import Pace
from aegis_store.compaction.plan import Plan, Touched, plan
from aegis_store.compaction.reencode import Reencoder
from aegis_store.errors import Conflict
from aegis_store.gaps import Cause
from aegis_store.records import Records
from aegis_store.survey import survey
from aegis_store.trust.signer import Signer
from aegis_store.types import LogIndex

#: What one step copies, and what the throttle counts in.
STEP_BYTES: Final = 1 << 20
#: Where an entry has its session's tag.
TAG: Final = slice(8, 24)


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """How far a compaction is: bytes of the segments that are to be read and written, and which segment is at work, from 1."""

    bytes_done: int
    bytes_total: int
    segment: int
    segments: int


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """What a compaction did. `payloads_gone` are records, `bytes_before` and `bytes_after` those of the rewritten segment
    files; `old_files` are (device, inode) of the files that were replaced, which somebody may still have open."""

    segments: int
    payloads_gone: int
    reencoded: int
    bytes_before: int
    bytes_after: int
    old_files: tuple[tuple[int, int], ...] = ()

    def and_then(self, other: Compacted) -> Compacted:
        """What this one did and that of another tier."""
        return Compacted(
            segments=self.segments + other.segments,
            payloads_gone=self.payloads_gone + other.payloads_gone,
            reencoded=self.reencoded + other.reencoded,
            bytes_before=self.bytes_before + other.bytes_before,
            bytes_after=self.bytes_after + other.bytes_after,
            old_files=self.old_files + other.old_files,
        )


NOTHING: Final = Compacted(segments=0, payloads_gone=0, reencoded=0, bytes_before=0, bytes_after=0)


class Files(Protocol):
    """What a compactor needs of the store that it works in."""

    def settled(self) -> None:
        """Return when no checkpoint is on its way that was made from something that goes, and all that was queued is
        durable."""
        ...

    def sign_segment(self, footer: Footer) -> None:
        """Sign a sealed segment's footer with the log key."""
        ...

    def store_signer(self, op: str) -> Signer:
        """The log key. ReadOnly: the store is open for reading."""
        ...

    def note(self, row: Row) -> None:
        """Tell the catalogue of a committed record."""
        ...

    def cleaned(self, causes: Sequence[Cause]) -> None:
        """The segments do not hold any more what these took away: see to everything else."""
        ...

    def segment_file(self, footer: Footer) -> tuple[tuple[int, int], int]:
        """((device, inode), bytes) of a segment's file."""
        ...


class Compactor:
    """Compacts one tier. `run` may be called from any thread; one at a time does it."""

    def __init__(self, records: Records, files: Files) -> None:
        self._records = records
        self._files = files
        self._lock = threading.Lock()

    @property
    def _engine(self) -> Engine:
        return self._records.engine

    def run(
        self,
        *,
        bytes_a_second: int | None = None,
        watch: Callable[[Stage], object] | None = None,
        stop: threading.Event | None = None,
        waits: bool = False,
    ) -> Compacted:
        """Do what is pending. Conflict: another thread is at it; with `waits` it is waited for.

        `bytes_a_second` bounds what is read and rewritten; `stop` ends the work where it is, which loses nothing. Closed: it
        was set."""
        pace = Pace(lambda: self._engine.size(self._records.tier), bytes_a_second, stop)
        with self._alone(waits):
            causes = self._records.gaps.pending()
            if not causes:
                return NOTHING
            done = self._work(causes, pace, watch)
            self._files.cleaned(causes)
            # Only now, and never for causes that came meanwhile: what the manifest says of the files is true after any crash.
            self._engine.set_swept(self._records.tier, causes[-1].index + 1)
            self._records.gaps.swept()
            return done

    @contextmanager
    def _alone(self, waits: bool) -> Iterator[None]:
        if not self._lock.acquire(blocking=waits):
            raise Conflict(
                "the store is being compacted already", op="compact", path=self._engine.path, hint="wait until it is done"
            )
        try:
            yield
        finally:
            self._lock.release()

    def _work(self, causes: tuple[Cause, ...], pace: Pace, watch: Callable[[Stage], object] | None) -> Compacted:
        tier = self._records.tier
        self._files.settled()
        todo = plan(survey(self._engine, tier, pace.step), causes, pace.step, self._named_base)
        ends = todo.first_and_last()
        if ends is None:
            return NOTHING
        touched = {each.index: each for each in todo.touched}
        if todo.dictionaries:
            self._note_dependants(todo, touched, pace)
            ends = min(ends[0], *touched, ends[1]), max(ends[1], *touched) if touched else ends[1]
        if ends[1] >= max(footer.first for footer in self._engine.segments(tier)):
            self._engine.rotate(tier)
        self._engine.seal(tier)
        changed: set[int] = {*touched, *todo.gaps}
        done = self._rewrite(self._by_segment(changed), todo.gaps, touched, todo.dictionaries, pace, watch)
        if todo.late:
            done = _both(done, self._rewrite(self._by_segment(todo.late), todo.late, {}, todo.dictionaries, pace, watch))
        return done

    def _named_base(self, index: LogIndex) -> int | None:
        return payload_codec.base_of(self._engine.read(self._records.tier, index).payload)

    def _by_segment(self, changed: Collection[int]) -> list[tuple[Footer, list[int]]]:
        """What is changed in which segment, the newest first."""
        indexes = sorted(changed)
        work = []
        for footer in self._engine.segments(self._records.tier):
            here = indexes[bisect_left(indexes, footer.first) : bisect_left(indexes, footer.first + footer.count)]
            if here and footer.sealed:
                work.append((footer, here))
        return work[::-1]

    def _note_dependants(self, todo: Plan, touched: dict[LogIndex, Touched], pace: Pace) -> None:
        """Whatever was compressed with a dictionary that goes is to be compressed anew: only its payload says so."""
        for record in self._engine.scan(self._records.tier):
            pace.spend(len(record.payload))
            index = LogIndex(record.index)
            if index in todo.gaps or index in touched or record.kind != self._records.link_kind:
                continue
            if payload_codec.dictionary_of(record.payload) in todo.dictionaries:
                touched[index] = Touched(index, self._records.link(index, record).base, is_recoded=True)

    def _rewrite(
        self,
        work: list[tuple[Footer, list[int]]],
        gaps: dict[int, LogIndex],
        touched: dict[LogIndex, Touched],
        dictionaries: Collection[int],
        pace: Pace,
        watch: Callable[[Stage], object] | None,
    ) -> Compacted:
        tier = self._records.tier
        before = [self._files.segment_file(footer) for footer, _ in work]
        total, after, gone, reencoded, done = sum(size for _, size in before), 0, 0, 0, 0
        signer = self._files.store_signer("compact")
        coder = Reencoder(self._records, signer, self._files.note, going=dictionaries)
        for number, ((footer, changed), (_, size)) in enumerate(zip(work, before, strict=True), 1):

            def show(bytes_done: int, begun: int = done, at: int = number) -> None:
                if watch is not None:
                    watch(Stage(bytes_done=begun + bytes_done, bytes_total=total, segment=at, segments=len(work)))

            show(0)
            payloads = self._reencoded(footer, [touched[LogIndex(each)] for each in changed if each in touched], coder, pace)
            changes = [index for index in changed if index in gaps or index in payloads]
            if changes:
                step = min(STEP_BYTES, pace.bytes_a_second or STEP_BYTES)
                spent = 0

                def copied(progress: Progress, show: Callable[[int], None] = show) -> None:
                    nonlocal spent
                    show(progress.bytes_done)
                    pace.spend(progress.bytes_done - spent)
                    spent = progress.bytes_done

                stated = _changes(changes, gaps, payloads, pace)
                compact_segment(self._engine, tier, footer.position, stated, step_bytes=step, watch=copied)
                renewed = next(each for each in self._engine.segments(tier) if each.position == footer.position)
                self._files.sign_segment(renewed)
                after += self._files.segment_file(renewed)[1]
            else:
                after += size
            done += size
            gone += sum(index in gaps for index in changed)
            reencoded += len(payloads)
        return Compacted(
            segments=len(work),
            payloads_gone=gone,
            reencoded=reencoded,
            bytes_before=total,
            bytes_after=after,
            old_files=tuple(place for place, _ in before),
        )

    def _reencoded(self, footer: Footer, touched: list[Touched], coder: Reencoder, pace: Pace) -> dict[int, bytes]:
        """The payloads of a segment's checkpoints that take another form, session by session."""
        if not touched:
            return {}
        for record in self._engine.scan(self._records.tier, footer.first, footer.first + footer.count):
            if record.kind == self._records.link_kind:
                coder.known[record.index] = record
            pace.step()
        payloads: dict[int, bytes] = {}
        for each in sorted(touched, key=lambda each: (coder.known[each.index].entry[TAG], each.index)):
            pace.spend(0)
            payload = coder.payload(each)
            if payload is not None:
                payloads[each.index] = payload
        coder.known = {}
        return payloads


def _changes(indexes: Sequence[int], gaps: dict[int, LogIndex], payloads: dict[int, bytes], pace: Pace) -> Iterator[Change]:
    """What is to change of a segment, as the engine takes it."""
    for index in indexes:
        pace.step()
        yield Gap(index, gaps[index]) if index in gaps else Replacement(index, payloads[index])


def _both(first: Compacted, second: Compacted) -> Compacted:
    """What two passes did together. A segment that both rewrote is counted by what it was and what it became."""
    return Compacted(
        segments=first.segments + second.segments,
        payloads_gone=first.payloads_gone + second.payloads_gone,
        reencoded=first.reencoded + second.reencoded,
        bytes_before=first.bytes_before,
        bytes_after=first.bytes_after - (second.bytes_before - second.bytes_after),
        old_files=first.old_files + second.old_files,
    )
