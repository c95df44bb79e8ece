"""Makes decisions of a policy true: looks at what there is, asks `policy`, writes prune records.

A prune record is signed by the log key and durable before anything else happens; from then on what it covers reads as pruned,
whether the files have been compacted or not."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

import msgspec

from aegis_store.catalog import PayloadsGone, SessionRecord
from aegis_store.codec.runs import Runs
from aegis_store.errors import Gone
from aegis_store.holding import TEXT_CHARACTERS_MAX, Holds, demand_text
from aegis_store.holding import Owner as HoldingOwner
from aegis_store.retention.policy import Decisions, Hold, Point, Policy, SessionDecision, SessionView, decide
from aegis_store.retention.versions import last_of_each
from aegis_store.rules import Rule
from aegis_store.schema import checkpoint as checkpoint_schema
from aegis_store.schema import gaps as schema
from aegis_store.survey import Strand, Survey, parents, survey
from aegis_store.types import Clock, Kind, LogIndex, Ordinal, Tier, TimeMs

#: Said of a look at the whole log: what is done of how much.
Watcher = Callable[[str, int, int], object]


class Retained(msgspec.Struct, frozen=True, kw_only=True):
    """What retention decided, on which views; and which prune records it wrote, none on a dry run."""

    decisions: Decisions
    views: Sequence[SessionView]
    records: tuple[LogIndex, ...] = ()
    #: The same of the memory tier, where a rule is for that.
    memory: Retained | None = None


class Pruning(msgspec.Struct, frozen=True, kw_only=True):
    """The prune records that were written, and how many checkpoints were asked for and stay."""

    records: tuple[LogIndex, ...]
    spared: int


class Owner(HoldingOwner, Protocol):
    """What retention needs of its store, beside what holds do."""

    @property
    def clock(self) -> Clock: ...


class Sweeper:
    """Retention of a tier of a store."""

    def __init__(self, owner: Owner, holds: Holds) -> None:
        self._owner = owner
        self._holds = holds

    @property
    def _tier(self) -> Tier:
        return self._owner.records.tier

    def sweep(self, rules: Sequence[Rule], *, dry_run: bool, watch: Watcher | None = None) -> Retained:
        """Decide, and unless it is a dry run write it down. Corrupt: what cannot be read cannot be decided on, and nothing
        goes."""
        policy = Policy(rules=rules, tier=self._tier)
        now = TimeMs(self._owner.clock.now_ms())
        if policy.keeps_everything and not dry_run:
            return Retained(decisions=decide((), policy, now), views=())
        self._owner.catch_up()
        found = survey(self._owner.records.engine, self._tier)
        views = self._views(found, policy, watch)
        decisions = decide(views, policy, now)
        if dry_run:
            return Retained(decisions=decisions, views=views)
        strands = {strand.number: strand for strand in found.strands.values()}
        with self._holds.going:
            spared = self._spared_since(found)
            going = sorted(
                index for session in decisions.sessions for index in _covered(strands[session.number], session, spared)
            )
            return Retained(decisions=decisions, views=views, records=tuple(self._write(Runs.of(going), _called(policy))))

    def prune(self, named: Mapping[str, Collection[int]], *, reason: str) -> Pruning:
        """Let go of the checkpoints of these ordinals, by session id, whatever any rule says: for who knows himself what stays.
        What is held, and what a fork goes on from, stays all the same."""
        demand_text(reason, "reason", op="prune")
        owner, spared = self._owner, 0
        owner.catch_up()
        going: list[int] = []
        with self._holds.going:
            owner.records.flush()
            found = survey(owner.records.engine, self._tier)
            starts = {strand.parent for strand in found.strands.values()}
            pending = owner.records.gaps.pending()
            held: dict[bytes, list[range]] = {}
            for hold in owner.catalog.holds(self._tier):
                for tag, reach in self._holds.reach(hold).items():
                    held.setdefault(tag, []).append(reach)
            for session_id, ordinals in named.items():
                session = owner.catalog.session(session_id, self._tier)
                if session is None:
                    continue
                strand, kept = found.strands[session.tag], held.get(session.tag, ())
                beside = strand.beside()
                for at, ordinal in enumerate(strand.ordinals):
                    index = strand.indexes[at]
                    if ordinal not in ordinals or strand.gaps[at] or any(index in cause.runs for cause in pending):
                        continue
                    if index in starts or any(ordinal in each for each in kept):
                        spared += 1
                        continue
                    going.append(index)
                    going.extend(other for other, _ in beside.get(ordinal, ()))
            return Pruning(records=tuple(self._write(Runs.of(sorted(going)), reason)), spared=spared)

    def _spared_since(self, found: Survey) -> set[int]:
        """The checkpoints that a hold or a fork keeps which came while it was decided."""
        owner = self._owner
        owner.records.flush()
        spared = {parent for parent in parents(owner.records.engine, self._tier, found.size)}
        for hold in owner.catalog.holds(self._tier):
            if hold.number < found.size:
                continue
            for tag, ordinals in self._holds.reach(hold).items():
                strand = found.strands[tag]
                spared.update(index for at, index in zip(strand.ordinals, strand.indexes, strict=True) if at in ordinals)
        return spared

    def _write(self, runs: Runs, reason: str) -> Iterator[LogIndex]:
        if not runs:
            return
        records, signer = self._owner.records, self._owner.store_signer("retain")
        for part in runs.split():
            try:
                envelope = schema.encode_prune(schema.Prune(reason=reason, runs=part))
                here = records.append(Kind.PRUNE, records.seal(envelope), signer)
                records.commit(here.index)
                self._owner.note(PayloadsGone(tier=records.tier, index=here.index, is_erasure=False))
            except BaseException:
                self._owner.lost_track()
                raise
            records.states.forget()
            yield here.index

    # ---- what there is ----------------------------------------------------------------------------------------------------

    def _views(self, found: Survey, policy: Policy, watch: Watcher | None) -> list[SessionView]:
        catalog = self._owner.catalog
        pending = self._owner.records.gaps.pending()
        holds: dict[bytes, list[Hold]] = {}
        for hold in catalog.holds(self._tier):
            for tag, ordinals in self._holds.reach(hold).items():
                held = None if tag == hold.tag and hold.ordinal is None else frozenset(map(Ordinal, ordinals))
                holds.setdefault(tag, []).append(Hold(name=hold.reason, ordinals=held))
        starts = {strand.parent for strand in found.strands.values() if strand.parent is not None and not len(strand.indexes)}
        views = []
        for done, strand in enumerate(found.strands.values()):
            session = catalog.session_by_tag(strand.tag)
            if watch is not None and done % 64 == 0:
                watch("sessions", done, len(found.strands))
            if session is None or session.is_erased:
                continue
            matched = policy.match(session.role)
            looks = matched is not None and bool(matched[1].keep_positions)
            there = [
                at
                for at, index in enumerate(strand.indexes)
                if not strand.gaps[at] and not any(index in cause.runs for cause in pending)
            ]
            counted = there
            if self._tier is Tier.MEMORY:
                counted = last_of_each(strand, there, lambda index: self._owner.records.read(index).envelope)
            beside = strand.beside()
            points = [self._point(strand, at, beside, looks=looks) for at in counted]
            superseded = [self._point(strand, at, beside) for at in sorted(set(there).difference(counted))]
            views.append(_view(session, points, holds.get(strand.tag, ()), strand, starts, superseded))
        return views

    def _point(
        self, strand: Strand, at: int, beside: Mapping[int, Sequence[tuple[LogIndex, int]]], *, looks: bool = False
    ) -> Point:
        """A checkpoint, or a version of a key, as the policy sees it."""
        index, ordinal = LogIndex(strand.indexes[at]), Ordinal(strand.ordinals[at])
        is_version = self._tier is Tier.MEMORY and at + 1 < len(strand.times)
        return Point(
            ordinal=ordinal,
            index=index,
            time_ms=TimeMs(strand.times[at]),
            bytes=strand.sizes[at] + sum(size for _, size in beside.get(ordinal, ())),
            position=self._position(index) if looks else None,
            until_ms=TimeMs(strand.times[at + 1]) if is_version else None,
        )

    def _position(self, index: LogIndex) -> str | None:
        """Where a checkpoint says that its agent was; None where that is no str, or not to be had."""
        with suppress(Gone):
            return checkpoint_schema.position_of(self._owner.records.read(index).envelope)
        return None


def _view(
    session: SessionRecord,
    points: list[Point],
    holds: Sequence[Hold],
    strand: Strand,
    starts: set[LogIndex],
    superseded: list[Point],
) -> SessionView:
    return SessionView(
        number=session.begun,
        id=session.id,
        agent=session.agent,
        role=session.role,
        is_open=session.ended is None,
        points=points,
        holds=holds,
        superseded=superseded,
        fork_starts=frozenset(
            Ordinal(ordinal) for ordinal, index in zip(strand.ordinals, strand.indexes, strict=True) if index in starts
        ),
    )


def _covered(strand: Strand, decision: SessionDecision, spared: set[int]) -> Iterator[int]:
    """The records of the checkpoints of a session that go: their own, and those of their pieces and writes."""
    beside = strand.beside()
    for ordinal, index in zip(decision.goes, decision.indexes, strict=True):
        if index not in spared:
            yield index
            yield from (piece for piece, _ in beside.get(ordinal, ()))


def _called(policy: Policy) -> str:
    """A policy in a few words, for whoever reads the record in years."""
    return "; ".join(rule.described for rule in policy.rules if rule.tier == policy.tier.label)[:TEXT_CHARACTERS_MAX]
