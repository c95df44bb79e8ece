"""Erasure: a person's right, or a secret that leaked. After it returns, what was erased is in no file of the store.

    the session takes no more checkpoints
    └ erase records, durable          from here on what they cover reads as erased, whatever happens
      └ compaction                    segments without it, then the old ones' names are gone
        └ catalogue made anew, tails that were cut off removed
          └ swept                     the manifest says that it is done; a crash before that leaves it to the next open

An erase record says what went (by index and by the session's random tag), when, by whom and why, and nothing of what it was.
Entries stay, so every root and proof stays what it was."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Protocol

import msgspec

from aegis_store.catalog import PayloadsGone, SessionRecord
from aegis_store.chain import Chain
from aegis_store.codec.runs import Runs
from aegis_store.compaction import Compacted
from aegis_store.errors import Erased, InvalidArgument, NotFound
from aegis_store.holders import Holder, wait_for_holders
from aegis_store.holding import Holds, demand_text, own_ordinals
from aegis_store.holding import Owner as HoldingOwner
from aegis_store.lineage import last_ordinal
from aegis_store.peculiar import peculiar
from aegis_store.schema import gaps as schema
from aegis_store.survey import Strand, Survey, survey
from aegis_store.types import Kind, LogIndex, Ordinal
from aegis_store.write_once import demand_no_subject

#: How long an erasure waits for readers of the old files, unless it is told otherwise.
WAIT_SECONDS = 5.0


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """What an erasure did. `records` are the erase records, one or more for each of `sessions`.

    `forks` still hold the text, for they went on from it: erase them too, or with `forks=True`. `holders` are processes that
    have an old file open and can read it until they let go."""

    sessions: tuple[str, ...]
    ordinal: Ordinal | None
    records: tuple[LogIndex, ...]
    forks: tuple[str, ...]
    holders: tuple[Holder, ...]
    compacted: Compacted


class Owner(HoldingOwner, Protocol):
    """What an erasure needs of its store, beside what holds do."""

    def chain_of(self, session_id: str) -> Chain:
        """What all objects of a session share."""
        ...

    def forget_session(self, session_id: str) -> None:
        """Whoever asks for the session from now on gets a new one."""
        ...


class Work(Protocol):
    """What is done to the files when something goes."""

    def settled(self) -> None:
        """Return when no checkpoint is on its way that was made from something that goes, and all is durable."""
        ...

    def compact_pending(self) -> Compacted:
        """Do what is pending, once whoever is at it is done."""
        ...


class Eraser:
    """Erases sessions and checkpoints of one store."""

    def __init__(self, owner: Owner, holds: Holds, work: Work) -> None:
        self._owner = owner
        self._holds = holds
        self._work = work

    def session(self, session_id: str, *, reason: str, by: str, forks: bool, wait_seconds: float) -> Erasure:
        """Erase a session with all that it holds, its names too; with `forks` those that went on from it as well.

        NotFound: there is none of that id. Held: something of it is held, and nothing was erased.
        """
        return self.sessions([session_id], reason=reason, by=by, forks=forks, wait_seconds=wait_seconds)

    def sessions(
        self, session_ids: Sequence[str], *, reason: str, by: str, forks: bool = False, wait_seconds: float = WAIT_SECONDS
    ) -> Erasure:
        """The same of several sessions, at least one, whose files are written anew once: all of them, or none."""
        for session_id in session_ids:
            self._demand(session_id, reason, by)
        with self._holds.going:
            targets = [self._found(session_id) for session_id in dict.fromkeys(session_ids)]
            if forks:
                everything = self._survey()
                more = [fork for target in targets for fork in self._forks_of(everything, target, 0)]
                targets = list({target.tag: target for target in (*targets, *more)}.values())
            for target in targets:
                self._holds.demand_none(target, None, op="erase")
            for target in targets:
                self._demand(target.id, reason, by)
            written, left = self._write_sessions(targets, reason, by)
        return self._finish(targets, None, written, left, wait_seconds)

    def several(self, targets: Sequence[SessionRecord], *, reason: str, by: str, wait_seconds: float) -> Erasure:
        """The same for sessions that were found and have no forks: keys of the memory tier, which whoever calls has looked
        for in `reason` and `by`."""
        demand_text(reason, "reason", op="erase")
        demand_text(by, "name", op="erase")
        with self._holds.going:
            for target in targets:
                self._holds.demand_none(target, None, op="erase")
            written, left = self._write_sessions(list(targets), reason, by)
        return self._finish(list(targets), None, written, left, wait_seconds)

    def checkpoint(self, session_id: str, ordinal: int, *, reason: str, by: str, wait_seconds: float) -> Erasure:
        """Erase what one checkpoint holds. Its neighbours usually hold most of the same: they stay."""
        self._demand(session_id, reason, by)
        records = self._owner.records
        with self._holds.going:
            found = self._found(session_id)
            if not found.first_ordinal <= ordinal <= last_ordinal(found):
                raise NotFound(
                    f"session {session_id!r} has made no checkpoint {ordinal}: {own_ordinals(found)}",
                    op="erase",
                    path=records.engine.path,
                    hint="what a fork inherited is erased in the session that made it",
                )
            self._holds.demand_none(found, ordinal, op="erase")
            everything = self._survey()
            strand = everything.strands[found.tag]
            at = ordinal - found.first_ordinal
            dictionaries = peculiar(records, everything, [strand.indexes[at]])
            pieces = (index for index, _ in strand.beside().get(ordinal, ()))
            covered = Runs.of(sorted([strand.indexes[at], *pieces, *dictionaries]))
            written = self._write(found, covered, reason, by, Ordinal(ordinal), dictionaries)
            left = self._forks_of(everything, found, ordinal)
        return self._finish([found], Ordinal(ordinal), written, left, wait_seconds)

    # ---- within -----------------------------------------------------------------------------------------------------------

    def _demand(self, session_id: str, reason: str, by: str) -> None:
        demand_text(reason, "reason", op="erase")
        demand_text(by, "name", op="erase")
        demand_unnamed(session_id, reason, by, what="session")

    def _found(self, session_id: str) -> SessionRecord:
        self._owner.catch_up()
        found = self._owner.catalog.session(session_id, self._owner.records.tier)
        if found is None:
            path = self._owner.records.engine.path
            demand_no_subject(self._owner.catalog, session_id, op="erase", path=path)
            raise NotFound(
                f"there is no session {session_id!r} to erase",
                op="erase",
                path=path,
                hint=f"see which there are: aegis sessions {shlex.quote(path)}",
            )
        return found

    def _survey(self) -> Survey:
        """The tier as it is now, with what is on its way; the catalogue knows as much. Under `going` no fork begins
        afterwards, so it knows them all until that is let go of."""
        self._work.settled()
        # Who queued a record tells the catalogue of it when they have seen it durable, which may be later.
        self._owner.lost_track()
        self._owner.catch_up()
        return survey(self._owner.records.engine, self._owner.records.tier)

    def _forks_of(self, everything: Survey, found: SessionRecord, ordinal: int) -> list[SessionRecord]:
        """The sessions that went on from a checkpoint of this one, `ordinal` or later, and from one of theirs, and so on."""
        by_tag = self._owner.catalog.session_by_tag
        return [session for tag in _forks_of(everything, found.tag, ordinal) if (session := by_tag(tag)) is not None]

    def _write_sessions(self, targets: list[SessionRecord], reason: str, by: str) -> tuple[list[LogIndex], list[SessionRecord]]:
        """Write the erase records. From then on the sessions are gone; where it fails before, they go on."""
        chains = [self._owner.chain_of(target.id) for target in targets]
        written: list[LogIndex] = []
        try:
            for chain in chains:
                chain.close(
                    Erased(f"session {chain.id!r} is being erased", op="checkpoint", path=self._owner.records.engine.path)
                )
            found = self._survey()
            going = [found.strands[target.tag] for target in targets]
            dictionaries = peculiar(self._owner.records, found, [index for strand in going for index in strand.indexes])
            for target, strand in zip(targets, going, strict=True):
                covered = Runs.of(sorted([*strand.records(), *dictionaries]))
                written += self._write(target, covered, reason, by, None, dictionaries)
                dictionaries = []
        except BaseException:
            if not written:
                for chain in chains:
                    chain.close(None)
                self._owner.lost_track()  # of what was settled while they were closed
            raise
        for target in targets:
            self._owner.forget_session(target.id)
        gone = {target.tag for target in targets}
        forked = {each.tag: each for target in targets for each in self._forks_of(found, target, 0)}
        left = [each for tag, each in forked.items() if tag not in gone]
        return written, left

    def _write(
        self,
        target: SessionRecord,
        covered: Runs,
        reason: str,
        by: str,
        ordinal: Ordinal | None,
        dictionaries: Sequence[LogIndex],
    ) -> list[LogIndex]:
        records, written = self._owner.records, []
        for part in covered.split():
            envelope = schema.encode_erase(schema.Erase(reason=reason, by=by, ordinal=ordinal, runs=part))
            try:
                here = records.append(
                    Kind.ERASE, records.seal(envelope), self._owner.store_signer("erase"), tag=target.tag, ordinal=ordinal or 0
                )
                records.commit(here.index)
                self._owner.note(PayloadsGone(tier=records.tier, index=here.index, is_erasure=True))
            except BaseException:
                self._owner.lost_track()
                raise
            written.append(here.index)
        records.states.forget()
        records.dictionaries.retire(dictionaries)  # and forget what was gathered for the next one
        return written

    def _finish(
        self,
        targets: list[SessionRecord],
        ordinal: Ordinal | None,
        written: list[LogIndex],
        left: list[SessionRecord],
        wait_seconds: float,
    ) -> Erasure:
        compacted = self._work.compact_pending()
        return Erasure(
            sessions=tuple(target.id for target in targets),
            ordinal=ordinal,
            records=tuple(written),
            forks=tuple(each.id for each in left),
            holders=tuple(wait_for_holders(compacted.old_files, wait_seconds)),
            compacted=compacted,
        )


def demand_unnamed(name: str, *texts: str, what: str) -> None:
    """InvalidArgument for a text that names what is to be erased."""
    for text in texts:
        # As a word: of an id like "7" nothing could be said otherwise.
        if name and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text):
            raise InvalidArgument(
                f"{text!r} names the {what} that is to be erased, and would keep the name for ever",
                op="erase",
                hint="say why without saying whom, as in a case number",
            )


def _forks_of(found: Survey, tag: bytes, ordinal: int) -> Iterator[bytes]:
    """Tags of the sessions that hold what this one held from `ordinal` on, because they went on from it."""
    forks = found.forks()
    todo: list[tuple[Strand, int]] = [(found.strands[tag], ordinal)]
    while todo:
        strand, first = todo.pop()
        for own, index in zip(strand.ordinals, strand.indexes, strict=True):
            for fork in forks.get(index, ()) if own >= first else ():
                yield fork.tag
                todo.append((fork, 0))
