"""The whole store, checked: what the engine can tell from bytes, and what only keys and chains can tell.

The engine reads every byte again and recomputes the tree. `deep` adds, for every record: the signature, under a key that was
allowed at that index; the envelope, against the entry's commitment; each session's chain of parents, ordinals and times. A
finding does not end the work: what is damaged is listed, and the rest is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from aegis_store._engine import Engine, Footer, Progress, Record
from aegis_store.errors import AegisError, Corrupt, NewerFormat, StateTooLarge
from aegis_store.records import Position, Records, TrustedRecord
from aegis_store.trust.signer import verify_signature
from aegis_store.types import Kind, Tier

#: Where a field of the name `bytes` hides the type.
_Bytes = bytes
_FOOTER_DOMAIN = b"aegis-store/v0/footer\n"
#: Records between two calls of a progress function.
PROGRESS_RECORDS = 512


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that is not as it should be. `index` is the first record hit, where there is one."""

    tier: Tier
    problem: str
    index: int | None = None
    path: str | None = None


class TierResult(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked of a tier. `root` [32] is recomputed from every entry; None where damage prevented it."""

    tier: Tier
    records: int
    bytes: int
    root: _Bytes | None
    segments: int
    segments_sealed: int
    segments_signed: int
    signatures: int | None


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a verification."""

    tiers: tuple[TierResult, ...]
    findings: tuple[Finding, ...]
    deep: bool

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings


#: (tier, what is being done, done, total)
Watcher = Callable[[Tier, str, int, int], object]


def verify(engine: Engine, records: dict[Tier, Records], log_key: bytes, *, deep: bool, watch: Watcher | None) -> Result:
    """Check the tiers of an open store. `log_key` [32] is whose signature sealed segments should have."""
    findings: list[Finding] = []
    tiers = []
    for tier in Tier:
        if engine.size(tier) == 0:
            continue
        progress = _verify_bytes(engine, tier, findings, watch)
        sealed, is_signed, segments = _verify_segments(engine, tier, log_key, findings)
        signatures = None
        if deep and tier in records:
            signatures = _Chains(records[tier], findings, watch).verify()
        tiers.append(
            TierResult(
                tier=tier,
                records=progress.records_done,
                bytes=progress.bytes_done,
                root=progress.root if progress.root and any(progress.root) else None,
                segments=segments,
                segments_sealed=sealed,
                segments_signed=is_signed,
                signatures=signatures,
            )
        )
    return Result(tiers=tuple(tiers), findings=tuple(findings), deep=deep)


def _verify_bytes(engine: Engine, tier: Tier, findings: list[Finding], watch: Watcher | None) -> Progress:
    def show(progress: Progress) -> None:
        if watch is not None:
            watch(tier, "bytes", progress.bytes_done, progress.bytes_total)

    def found(error: AegisError) -> None:
        findings.append(_finding(tier, error))

    return engine.verify(tier, show, found)


def _verify_segments(engine: Engine, tier: Tier, log_key: bytes, findings: list[Finding]) -> tuple[int, int, int]:
    sealed = is_signed = segments = 0
    for footer in _footers(engine, tier, findings):
        segments += 1
        sealed += footer.sealed
        if footer.signature is None:
            continue
        is_signed += 1
        if not verify_signature(log_key, footer_message(footer), footer.signature):
            problem = f"the log key did not sign the footer of segment {footer.segment}"
            findings.append(Finding(tier=tier, problem=problem, index=footer.first))
    return sealed, is_signed, segments


def _footers(engine: Engine, tier: Tier, findings: list[Finding]) -> Iterator[Footer]:
    try:
        yield from engine.segments(tier)
    except Corrupt as error:
        # A footer that was whole when the store was opened. The look at every byte will have named it, by its file.
        if not any(each.tier is tier for each in findings):
            findings.append(_finding(tier, error))


def footer_message(footer: Footer) -> bytes:
    """What the log key signs of a footer (FORMAT.md, Footer)."""
    return _FOOTER_DOMAIN + footer.message


class _Chain(msgspec.Struct):
    last: Position
    next_ordinal: int
    is_ended: bool = False


class _Chains:
    """Every record of a tier in order, and where each session stands."""

    def __init__(self, records: Records, findings: list[Finding], watch: Watcher | None) -> None:
        self._records = records
        self._findings = findings
        self._watch = watch
        self._sessions: dict[bytes, _Chain] = {}
        # What could not be read or believed: the record that follows one of them is not to blame for it.
        self._lost: set[int] = set()
        self._signatures = 0

    def verify(self) -> int:
        """How many signatures held."""
        size = self._records.size()
        done = 0
        while done < size:
            try:
                for record in self._records.scan(done, size):
                    self._check(record)
                    done = record.index + 1
                    if self._watch is not None and done % PROGRESS_RECORDS == 0:
                        self._watch(self._records.tier, "records", done, size)
            except Corrupt:
                # The engine could not read a stretch: it was named already, byte by byte. Go on record by record.
                done = self._one_by_one(done, min(size, done + PROGRESS_RECORDS))
        return self._signatures

    def _one_by_one(self, first: int, end: int) -> int:
        for index in range(first, end):
            try:
                found = list(self._records.scan(index, index + 1))
            except Corrupt as error:
                self._report(index, error)
                continue
            for record in found:
                self._check(record)
        return end

    def _check(self, record: Record) -> None:
        try:
            trusted = self._records.check(record)
        except (Corrupt, NewerFormat, StateTooLarge) as error:
            self._report(record.index, error)
            return
        self._signatures += 1
        problem = self._chain_problem(trusted)
        if problem is not None:
            self._findings.append(Finding(tier=self._records.tier, problem=problem, index=record.index))

    def _chain_problem(self, record: TrustedRecord) -> str | None:
        entry = record.entry
        if entry.kind in (Kind.KEY_ADD, Kind.KEY_REVOKE, Kind.CHUNK):
            return None
        chain = self._sessions.get(entry.session_tag)
        here = Position(index=record.index, leaf=record.leaf, time_ms=entry.time_ms)
        problem = None
        if entry.kind is Kind.SESSION_BEGIN:
            if chain is not None:
                return f"record {record.index} begins a session that has begun"
            problem = self._fork_problem(record)
        elif entry.parent in self._lost:
            pass  # what it follows was reported
        elif chain is None:
            return f"record {record.index} belongs to a session that never began"
        elif chain.is_ended:
            return f"record {record.index} comes after the end of its session"
        elif (entry.parent, entry.parent_leaf) != (chain.last.index, chain.last.leaf):
            return f"record {record.index} does not follow record {chain.last.index}, the one before it in its session"
        elif entry.kind is Kind.CHECKPOINT and entry.ordinal != chain.next_ordinal:
            problem = f"record {record.index} is checkpoint {entry.ordinal} where {chain.next_ordinal} comes"
        elif entry.time_ms < chain.last.time_ms:
            problem = f"record {record.index} is older than the one that it follows"
        next_ordinal = entry.ordinal + 1 if entry.kind is Kind.CHECKPOINT else entry.ordinal
        self._sessions[entry.session_tag] = _Chain(here, next_ordinal, entry.kind is Kind.SESSION_END)
        return problem

    def _fork_problem(self, begun: TrustedRecord) -> str | None:
        entry = begun.entry
        if entry.parent is None or entry.parent in self._lost:
            return None
        try:
            parent = self._records.read(entry.parent) if entry.parent < begun.index else None
        except Corrupt:
            return None  # it is reported in its own place
        if parent is not None and (parent.entry.kind, parent.entry.ordinal + 1, parent.leaf) == (
            Kind.CHECKPOINT,
            entry.ordinal,
            entry.parent_leaf,
        ):
            return None
        return f"record {begun.index} begins a fork of record {entry.parent}, which is not the checkpoint that it names"

    def _report(self, index: int, error: AegisError) -> None:
        self._lost.add(index)
        finding = _finding(self._records.tier, error)
        if finding.index is None:
            finding = msgspec.structs.replace(finding, index=index)
        known = {(each.tier, each.index) for each in self._findings}
        if (finding.tier, finding.index) not in known:
            self._findings.append(finding)


def _finding(tier: Tier, error: AegisError) -> Finding:
    return Finding(tier=tier, problem=error.message, index=error.index, path=error.path)
