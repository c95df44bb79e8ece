"""The whole store, checked: what the engine can tell from bytes, and what only keys and chains can tell.

The engine reads every byte again and recomputes the tree. `deep` adds, for every record: the signature, under a key that was
allowed at that index; the envelope, against the entry's commitment; each session's chain of parents, ordinals and times. A
finding does not end the work: what is damaged is listed, and the rest is checked.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf

import msgspec

from aegis_store._engine import GAP, Engine, Footer, GapRun, Progress, Record
from aegis_store.errors import AegisError, Corrupt, Gone, InvalidArgument, NewerFormat, StateTooLarge
from aegis_store.records import Records
from aegis_store.schema.entry import SIGNATURE_SIZE, Entry, signing_prefix
from aegis_store.states import States
from aegis_store.trust.signer import verify_signature, verify_signatures
from aegis_store.types import LINKS, OF_THE_STORE, Kind, Tier

#: Where a field of the name `bytes` hides the type.
_Bytes = bytes
_FOOTER_DOMAIN = b"aegis-store/v0/footer\n"
#: Records between two calls of a progress function.
PROGRESS_RECORDS = 512
#: What one thread checks at a time: as many records, or one more than has so many bytes of payloads.
BATCH_RECORDS = 1024
BATCH_BYTES = 1 << 20
#: Payloads that wait for threads, or for those before them.
UNDER_WAY_BYTES = 64 << 20
#: States that those behind them may be deltas to.
STATES_BYTES = 64 << 20

#: No agent signs them.
_OF_NO_AGENT = frozenset((Kind.KEY_ADD, Kind.KEY_REVOKE)) | OF_THE_STORE
#: What a chunk is a piece of says so itself.
_OF_NO_CHAIN = _OF_NO_AGENT | {Kind.CHUNK}


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


def verify(
    engine: Engine,
    records: dict[Tier, Records],
    log_key: bytes,
    *,
    deep: bool,
    watch: Watcher | None,
    only: Collection[Tier] | None = None,
    jobs: int | None = None,
) -> Result:
    """Check the tiers of an open store, or `only` some. `log_key` [32] is whose signature sealed segments should have.

    `jobs` threads (as many as there are processors) check signatures. Findings come in the order of the log however many.
    """
    if jobs is not None and jobs < 1:
        raise InvalidArgument(f"{jobs} threads check nothing: give one or more", op="verify")
    findings: list[Finding] = []
    tiers = []
    for tier in Tier if only is None else sorted(only):
        if engine.size(tier) == 0:
            continue
        progress = _verify_bytes(engine, tier, records.get(tier), findings, watch)
        sealed, is_signed, segments = _verify_segments(engine, tier, log_key, findings)
        signatures = None
        if deep and tier in records:
            signatures = _Chains(records[tier], findings, watch).verify(jobs or os.cpu_count() or 1)
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


def _verify_bytes(
    engine: Engine, tier: Tier, records: Records | None, findings: list[Finding], watch: Watcher | None
) -> Progress:
    def show(progress: Progress) -> None:
        if watch is not None:
            watch(tier, "bytes", progress.bytes_done, progress.bytes_total)

    def found(error: AegisError) -> None:
        findings.append(_finding(tier, error))

    def gaps(runs: list[GapRun]) -> None:
        for run in runs:
            if records is not None and records.gaps.authorises(run.first, run.first + run.count, run.cause):
                continue
            problem = f"{_numbered(run)} no payload, and record {run.cause}, which stands in its place, does not say why"
            findings.append(Finding(tier=tier, problem=problem, index=run.first))

    return engine.verify(tier, show, found, gaps)


def _numbered(run: GapRun) -> str:
    return f"record {run.first} has" if run.count == 1 else f"records {run.first} to {run.first + run.count - 1} have"


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
    def found(error: AegisError) -> None:
        # A footer that was whole when the store was opened. The look at every byte will have named it, by its first record.
        if not any(each.tier is tier and each.index == error.index for each in findings):
            findings.append(_finding(tier, error))

    yield from engine.segments(tier, found)


def footer_message(footer: Footer) -> bytes:
    """What the log key signs of a footer (FORMAT.md, Footer)."""
    return _FOOTER_DOMAIN + footer.message


def _erased_by_now(records: Records) -> bytearray:
    """A mark for each record that an erase record covers whose work is done; empty where there is none."""
    swept = records.engine.stats(records.tier).swept
    marks = bytearray()
    for index, is_erasure in records.catalog.gaps(records.tier):
        if not is_erasure or index >= swept:
            continue
        try:
            runs = records.gaps.cause(index).runs
        except AegisError:
            continue  # it is reported in its own place
        marks.extend(bytes(max(0, runs.last + 1 - len(marks))))
        for first, end in runs.runs():
            marks[first:end] = b"\1" * (end - first)
    return marks


class _Batch(msgspec.Struct):
    """Records on their way. What is known of each: its entry, or why it is refused; None while that is open."""

    records: list[Record]
    outcomes: list[Entry | AegisError | None]
    #: Those whose signatures are looked at together: place in the batch, and entry.
    asked: list[tuple[int, Entry]]
    held: Future[list[bool]]


class _Signatures:
    """Whether records are what their signers signed and committed to.

    `Records.check` decides. Whose key it found for a record is remembered, so that most others need no lookup, and their
    signatures are checked together, in a thread that holds no lock of the interpreter's; the rest is done meanwhile, here.
    Whatever does not hold in every point is asked there, and gets its error there.
    """

    def __init__(self, records: Records, pool: ThreadPoolExecutor) -> None:
        self._records = records
        self._pool = pool
        self._prefix = signing_prefix(records.engine.describe().store_id, records.tier)
        # Apart from what the store keeps for its sessions: a look at the whole log would drive all of that out.
        self._states = States(STATES_BYTES)
        self._erased = _erased_by_now(records)
        # Key id -> public key, and between which indexes it was allowed. What is revoked later is no concern of older records.
        self._known: dict[bytes, tuple[bytes, int, float]] = {}

    def begin(self, records: list[Record]) -> _Batch:
        """Check everything but signatures, which are under way when this returns."""
        outcomes: list[Entry | AegisError | None] = [None] * len(records)
        asked, signed, keys = [], [], []
        for place, record in enumerate(records):
            entry = self._parsed(record)
            key = None if entry is None else self._key_of(entry, record.index)
            if entry is None or key is None:
                outcomes[place] = self._decided(record)
                continue
            asked.append((place, entry))
            signed.append(entry.signature + self._prefix + record.entry[:-SIGNATURE_SIZE])
            keys.append(key)
        held = self._pool.submit(verify_signatures, signed, keys)
        for place, entry in asked:
            if not self._opens(records[place], entry):
                outcomes[place] = self._decided(records[place])
        return _Batch(records, outcomes, asked, held)

    def end(self, batch: _Batch) -> list[Entry | AegisError]:
        """For each record its entry, or why it is not to be believed."""
        for (place, entry), holds in zip(batch.asked, batch.held.result(), strict=True):
            if batch.outcomes[place] is None:
                batch.outcomes[place] = entry if holds else self._decided(batch.records[place])
        return [outcome for outcome in batch.outcomes if outcome is not None]

    def _parsed(self, record: Record) -> Entry | None:
        try:
            return self._records.entry_of(record)
        except AegisError:
            return None

    def _key_of(self, entry: Entry, index: int) -> bytes | None:
        known = self._known.get(entry.key_id)
        if known is None or entry.kind in _OF_NO_AGENT:
            return None
        public_key, added, revoked = known
        return public_key if added < index < revoked else None

    def _opens(self, record: Record, entry: Entry) -> bool:
        if record.flags & GAP or self._is_left(record.index):
            return False
        try:
            self._records.envelope_of(record, entry, self._states)
        except AegisError:
            return False
        return True

    def _is_left(self, index: int) -> bool:
        return index < len(self._erased) and self._erased[index] == 1

    def _decided(self, record: Record) -> Entry | AegisError:
        try:
            entry = self._records.check(record).entry
            if self._is_left(record.index):
                return Corrupt(f"record {record.index} was erased, and what it held is still there", op="verify")
        except Gone:
            return self._records.check_entry(record).entry
        except (Corrupt, NewerFormat, StateTooLarge) as error:
            return error
        self._remember(entry, record.index)
        return entry

    def _remember(self, entry: Entry, index: int) -> None:
        """The key of a record that was just believed, unless more than one ever had its id."""
        if entry.kind in _OF_NO_AGENT:
            return
        keys = self._records.catalog.key(self._records.tier, entry.key_id)
        if len(keys) == 1 and keys[0].added < index:
            revoked = inf if keys[0].revoked is None else keys[0].revoked
            self._known[entry.key_id] = keys[0].public_key, keys[0].added, revoked


#: Of the last record of a session: index, leaf hash, time, and the ordinal that comes next; None: the session was ended.
_Chain = tuple[int, bytes, int, int | None]


class _Chains:
    """Every record of a tier in order, and where each session stands.

    Threads check signatures, for which the interpreter's lock is not held, batch by batch; this one reads ahead of them, takes
    what they say in order, and follows the chains.
    """

    def __init__(self, records: Records, findings: list[Finding], watch: Watcher | None) -> None:
        self._records = records
        self._findings = findings
        self._watch = watch
        self._size = records.size()
        self._sessions: dict[bytes, _Chain] = {}
        # By tag: how many writes came by.
        self._writes: dict[bytes, int] = {}
        # What could not be read or believed: the record that follows one of them is not to blame for it.
        self._lost: set[int] = set()
        self._signatures = 0

    def verify(self, jobs: int) -> int:
        """How many signatures held."""
        pool = ThreadPoolExecutor(jobs, thread_name_prefix="aegis-verify")
        try:
            self._run(pool, jobs)
        finally:
            # An interrupt waits for the batches at work and no others.
            pool.shutdown(cancel_futures=True)
        return self._signatures

    def _run(self, pool: ThreadPoolExecutor, jobs: int) -> None:
        signatures = _Signatures(self._records, pool)
        under_way: deque[_Batch] = deque()
        held = 0  # bytes of the payloads that are under way

        def take(most: int, most_bytes: int = 0) -> None:
            nonlocal held
            while under_way and (len(under_way) > most or held > most_bytes):
                batch = under_way.popleft()
                held -= _payload_bytes(batch.records)
                self._follow(batch.records, signatures.end(batch))

        done = 0
        while done < self._size:
            try:
                for records in _batches(self._records.scan(done, self._size)):
                    under_way.append(signatures.begin(records))
                    done = records[-1].index + 1
                    held += _payload_bytes(records)
                    take(2 * jobs, UNDER_WAY_BYTES)
            except Corrupt:
                # The engine could not read a stretch: it was named already, byte by byte. Go on record by record.
                take(0)
                end = min(self._size, done + PROGRESS_RECORDS)
                for index in range(done, end):
                    self._alone(index, signatures)
                done = end
        take(0)

    def _alone(self, index: int, signatures: _Signatures) -> None:
        try:
            found = list(self._records.scan(index, index + 1))
        except Corrupt as error:
            self._report(index, error)
            return
        self._follow(found, signatures.end(signatures.begin(found)))

    def _follow(self, batch: list[Record], outcomes: list[Entry | AegisError]) -> None:
        for record, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, AegisError):
                self._report(record.index, outcome)
            else:
                self._signatures += 1
                problem = self._chain_problem(record.index, record.leaf, outcome)
                if problem is not None:
                    self._findings.append(Finding(tier=self._records.tier, problem=problem, index=record.index))
            done = record.index + 1
            if self._watch is not None and done % PROGRESS_RECORDS == 0:
                self._watch(self._records.tier, "records", done, self._size)

    def _chain_problem(self, index: int, leaf: bytes, entry: Entry) -> str | None:
        kind, tag = entry.kind, entry.session_tag
        if kind in _OF_NO_CHAIN:
            return None
        chain = self._sessions.get(tag)
        if kind is Kind.WRITES:
            return self._writes_problem(index, entry, chain)
        problem = None
        if kind is Kind.SESSION_BEGIN:
            if chain is not None:
                return f"record {index} begins a session that has begun"
            problem = self._fork_problem(index, entry)
        elif entry.parent in self._lost:
            pass  # what it follows was reported
        elif chain is None:
            return f"record {index} belongs to a session that never began"
        elif chain[3] is None:
            return f"record {index} comes after the end of its session"
        elif (entry.parent, entry.parent_leaf) != chain[:2]:
            return f"record {index} does not follow record {chain[0]}, the one before it in its session"
        elif kind in LINKS and entry.ordinal != chain[3]:
            problem = f"record {index} is checkpoint {entry.ordinal} where {chain[3]} comes"
        elif entry.time_ms < chain[2]:
            problem = f"record {index} is older than the one that it follows"
        following = None if kind is Kind.SESSION_END else entry.ordinal + (kind in LINKS)
        self._sessions[tag] = index, leaf, entry.time_ms, following
        return problem

    def _writes_problem(self, index: int, entry: Entry, chain: _Chain | None) -> str | None:
        due = self._writes.get(entry.session_tag, 0)
        self._writes[entry.session_tag] = max(due, entry.ordinal + 1)
        if chain is None:
            return None if self._lost else f"record {index} belongs to a session that never began"
        if chain[3] is None:
            return f"record {index} comes after the end of its session"
        if entry.ordinal == due or (entry.ordinal > due and self._lost):
            return None  # those between were reported
        return f"record {index} is writes {entry.ordinal} of its session where {due} come"

    def _fork_problem(self, index: int, entry: Entry) -> str | None:
        if entry.parent is None or entry.parent in self._lost:
            return None
        try:
            parent = self._records.entry_at(entry.parent) if entry.parent < index else None
        except Corrupt:
            return None  # it is reported in its own place
        if parent is not None and (parent.entry.kind, parent.entry.ordinal + 1, parent.leaf) == (
            self._records.link_kind,
            entry.ordinal,
            entry.parent_leaf,
        ):
            return None
        return f"record {index} begins a fork of record {entry.parent}, which is not the checkpoint that it names"

    def _report(self, index: int, error: AegisError) -> None:
        self._lost.add(index)
        finding = _finding(self._records.tier, error)
        if finding.index is None:
            finding = msgspec.structs.replace(finding, index=index)
        known = {(each.tier, each.index) for each in self._findings}
        if (finding.tier, finding.index) not in known:
            self._findings.append(finding)


def _payload_bytes(batch: list[Record]) -> int:
    return sum(len(record.payload) for record in batch)


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records in lists of bounded length and size. What was read before damage comes before the error."""
    batch: list[Record] = []
    room = BATCH_BYTES
    try:
        for record in records:
            batch.append(record)
            room -= len(record.payload)
            if room <= 0 or len(batch) == BATCH_RECORDS:
                yield batch
                batch, room = [], BATCH_BYTES
    except Corrupt:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _finding(tier: Tier, error: AegisError) -> Finding:
    return Finding(tier=tier, problem=error.message, index=error.index, path=error.path)
