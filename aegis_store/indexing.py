"""What a record means for lookups: from the log to the catalogue's rows.

Used when the catalogue starts empty, or behind, and by readers as they follow. A row is as good as its source: the engine has
proven that the entry is in the tree; who signed a checkpoint is checked when it is read, not here.

What is checked here is what no single record can show: that each one follows the one before it in its session. Whoever can
write to the log but not sign could put an old record at its end once more, signature and all, and so make an old state the
newest. A record that does not follow, or that cannot be read, becomes a `Suspect` and gets a row that says nothing; lookups of
the sessions that it may belong to raise, and all other sessions go on.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from aegis_store._engine import GAP, Chains, Record
from aegis_store.catalog import (
    CheckpointMade,
    DictionaryMade,
    HoldPlaced,
    HoldReleased,
    KeyAdded,
    KeyRevoked,
    Other,
    PayloadsGone,
    Row,
    SessionBegan,
    SessionEnded,
    Stretch,
    WritesMade,
)
from aegis_store.codec.payload import open_payload
from aegis_store.errors import AegisError, Corrupt, Foreign, NewerFormat, OutOfResources, StateTooLarge
from aegis_store.records import Records, Suspect
from aegis_store.schema import gaps as gap_schema
from aegis_store.schema import keys as key_schema
from aegis_store.schema import session as session_schema
from aegis_store.schema.entry import NO_TAG, Entry
from aegis_store.trust.signer import key_id
from aegis_store.types import LINKS, OF_THE_STORE, Kind, LogIndex

#: Names and keys are small; whatever claims more is not one.
ENVELOPE_BYTES_MAX: Final = 16 << 20
#: Records, and sessions that begin, that are folded before the catalogue takes them: about 30 bytes for each record and 1,000
#: for each session are held meanwhile.
STRETCH_RECORDS: Final = 4 << 20
STRETCH_SESSIONS: Final = 64 << 10
#: Kinds that say more than their entry.
_TOLD: Final = (Kind.SESSION_BEGIN, Kind.KEY_ADD, Kind.KEY_REVOKE, *OF_THE_STORE)
#: What is no link of its session's chain: a chunk says itself what it is a piece of, the others are about a session.
_BESIDE: Final = OF_THE_STORE | {Kind.CHUNK}
_BEGUN_NEVER: Final = "belongs to a session that never began"
_AFTER_END: Final = "comes after the end of its session"
_BEGUN: Final = "begins a session that has begun"


def rows_of(records: Records, first: int) -> Iterator[Row]:
    """The rows of the records from `first` on. Below it the catalogue knows all; from 0 on it is not asked for anything."""
    rows, end = _Rows(records, first), records.size()
    stop, why = end, None
    while first < end:
        try:
            for record in records.scan(first, stop):
                first = record.index + 1
                yield rows.row(record)
        except Corrupt as error:
            if error.index is None or not first <= error.index < stop:
                raise
            stop, why = error.index, error  # up to there first
            continue
        if why is not None:
            yield rows.unreadable(first, why)
            first += 1
        stop, why = end, None


def whole(records: Records) -> Iterator[Row | Stretch]:
    """The whole log: in stretches where nothing is amiss, as is usual and ten times as fast; else row by row, from the start.

    That comes to the same: rows that stretches have told already change nothing (`catalog.rows`)."""
    try:
        yield from _stretches(records)
    except (Corrupt, NewerFormat, StateTooLarge, OutOfResources):
        yield from rows_of(records, 0)


def _stretches(records: Records) -> Iterator[Stretch]:
    """The whole log, folded by the engine. Raises at the first record with which anything is amiss; what it is is not said."""
    end = records.size()
    chains = Chains(records.engine, records.tier, payloads_of=_TOLD)
    rows = _Rows(records, 0)
    while chains.next < end:
        begun: list[SessionBegan] = []
        others: list[Row] = []
        stop = min(end, chains.next + STRETCH_RECORDS)
        while chains.next < stop and len(begun) < STRETCH_SESSIONS:
            for record in chains.add(stop):
                row = rows.told(record)
                if isinstance(row, SessionBegan):
                    begun.append(row)
                else:
                    others.append(row)
        yield Stretch(tier=records.tier, folded=chains.take(), begun=begun, told=others)


class _Rows:
    """Makes rows of records that come in order, and knows where the sessions stand that have come by."""

    def __init__(self, records: Records, first: int) -> None:
        self._records = records
        self._first = first
        # Tag -> index and leaf hash of the session's last record, and the ordinal that comes next; None: it was ended.
        self._ends: dict[bytes, tuple[int, bytes, int | None]] = {}
        # Tag -> the ordinal of the writes that come.
        self._writes: dict[bytes, int] = {}

    def row(self, record: Record) -> Row:
        """The row of a record."""
        tag = NO_TAG
        try:
            entry = self._records.entry_of(record)
            tag = entry.session_tag
            problem = self._problem(record, entry)
            if problem is not None:
                raise Foreign(f"record {record.index} {problem}", op="read")
            row = self._row_of(record, entry)
        except (Corrupt, StateTooLarge) as error:
            # A session whose beginning tells no name may be the one that anybody asks for.
            return self._suspect(record.index, error, None if record.kind == Kind.SESSION_BEGIN and record.flags & GAP else tag)
        if entry.kind is Kind.SESSION_BEGIN:
            self._ends[tag] = record.index, record.leaf, entry.ordinal
        elif entry.kind in LINKS:
            self._ends[tag] = record.index, record.leaf, entry.ordinal + 1
        elif entry.kind is Kind.SESSION_END:
            self._ends[tag] = record.index, record.leaf, None
        elif entry.kind is Kind.WRITES:
            self._writes[tag] = max(self._writes.get(tag, 0), entry.ordinal + 1)
        return row

    def told(self, record: Record) -> Row:
        """The row of a record that says more than its entry. Corrupt, StateTooLarge, NewerFormat: it is not to be believed."""
        entry = self._records.entry_of(record)
        if entry.kind not in _TOLD:
            raise Foreign(f"record {record.index} is none of those that are told", op="read")
        return self._row_of(record, entry)

    def unreadable(self, index: int, error: AegisError) -> Row:
        """The row of a record that is damaged."""
        return self._suspect(index, error, None)

    def _suspect(self, index: int, error: AegisError, tag: bytes | None) -> Row:
        error = type(error)(
            error.message,
            op=error.op,
            path=error.path or self._records.engine.path,
            tier=self._records.tier.label,
            index=index,
            hint=error.hint or f"see what else is wrong: aegis verify {self._records.engine.path}",
        )
        self._records.suspects[index] = Suspect(error=error, tag=tag)
        return Other(tier=self._records.tier, index=LogIndex(index))

    def _problem(self, record: Record, entry: Entry) -> str | None:
        """What is wrong with the place of a record in its session, in words that follow its number."""
        tag, parent = entry.session_tag, entry.parent
        if tag == NO_TAG or entry.kind in _BESIDE:
            return None
        if entry.kind is Kind.WRITES:
            return self._writes_problem(record, entry)
        end = self._ends.get(tag)
        known = None if end is not None or self._first == 0 else self._records.catalog.session_by_tag(tag)
        if known is not None:
            if record.index <= known.last_index:
                # It was taken in before, when it was written: only a record before it was not.
                return None if entry.kind is not Kind.SESSION_BEGIN or record.index == known.begun else _BEGUN
            following = known.first_ordinal if known.last_ordinal is None else known.last_ordinal + 1
            end = known.last_index, known.last_leaf, None if known.ended is not None else following
        if entry.kind is Kind.SESSION_BEGIN:
            return None if end is None else _BEGUN
        if end is None:
            return _BEGUN_NEVER
        index, leaf, ordinal = end
        if ordinal is None:
            return _AFTER_END
        before = self._records.suspects.get(parent) if parent is not None and parent > index else None
        if before is not None and parent is not None and before.tag is None:
            # The record between cannot be read, and here is whose it was.
            self._records.suspects[parent] = Suspect(error=before.error, tag=tag)
            return None
        if (parent, entry.parent_leaf) != (index, leaf):
            return f"does not follow record {index}, the one before it in its session"
        if entry.kind in LINKS and entry.ordinal != ordinal:
            return f"is checkpoint {entry.ordinal} of its session where {ordinal} comes"
        return None

    def _writes_problem(self, record: Record, entry: Entry) -> str | None:
        """The same for writes: a record that was put at the log's end once more has a count that was there before."""
        tag = entry.session_tag
        end, catalog = self._ends.get(tag), self._records.catalog
        known = None if self._first == 0 else catalog.session_by_tag(tag)
        if end is None and known is None:
            return _BEGUN_NEVER
        if known is not None:
            there = dict(catalog.writes(known.number, entry.request_tag or b"")).get(entry.ordinal)
            if there is not None:
                return None if there == record.index else f"is writes {entry.ordinal} of its session, as record {there} is"
        ended = None if known is None else known.ended
        if (ended is not None and ended < record.index) or (end is not None and end[2] is None):
            return _AFTER_END
        due = max(self._writes.get(tag, 0), 0 if known is None else known.writes)
        # What the catalogue does not know though it knows later ones was not told yet; what nobody can read is damage already.
        is_late = known is not None and entry.ordinal < due
        if entry.ordinal == due or is_late or self._may_hide_writes(tag, entry.ordinal, due):
            return None
        return f"is writes {entry.ordinal} of its session where {due} come"

    def _may_hide_writes(self, tag: bytes, ordinal: int, due: int) -> bool:
        """Whether those between may be records that could not be taken in."""
        return ordinal > due and any(suspect.tag in (None, tag) for suspect in self._records.suspects.values())

    def _row_of(self, record: Record, entry: Entry) -> Row:
        tier, index = self._records.tier, LogIndex(record.index)
        match entry.kind:
            case Kind.CHECKPOINT | Kind.AUDIT_EVENT | Kind.MEMORY_ITEM:
                return CheckpointMade(
                    tier=tier,
                    index=index,
                    time_ms=entry.time_ms,
                    leaf=record.leaf,
                    tag=entry.session_tag,
                    ordinal=entry.ordinal,
                    request_tag=entry.request_tag,
                )
            case Kind.SESSION_BEGIN:
                names = self._names(record, entry)
                return SessionBegan(
                    tier=tier,
                    index=index,
                    time_ms=entry.time_ms,
                    leaf=record.leaf,
                    tag=entry.session_tag,
                    id=None if names is None else names.session,
                    agent="" if names is None else names.agent,
                    role=None if names is None else names.role,
                    forked_from=None if names is None else names.forked_from,
                    parent=entry.parent,
                    first_ordinal=entry.ordinal,
                )
            case Kind.WRITES:
                return WritesMade(
                    tier=tier,
                    index=index,
                    tag=entry.session_tag,
                    request_tag=entry.request_tag or b"",
                    ordinal=entry.ordinal,
                )
            case Kind.SESSION_END:
                return SessionEnded(tier=tier, index=index, tag=entry.session_tag)
            case Kind.KEY_ADD:
                # Keys are few, and what they allow or end concerns everybody: believed only with the enrolment key's signature.
                added = key_schema.decode_add(self._records.stored(record).envelope)
                return KeyAdded(
                    tier=tier,
                    index=index,
                    key_id=key_id(added.agent, added.public_key),
                    public_key=added.public_key,
                    agent=added.agent,
                )
            case Kind.KEY_REVOKE:
                revoked = key_schema.decode_revoke(self._records.stored(record).envelope)
                return KeyRevoked(
                    tier=tier, index=index, key_id=key_id(revoked.agent, revoked.public_key), public_key=revoked.public_key
                )
            case Kind.HOLD:
                hold = gap_schema.decode_hold(self._records.stored(record).envelope)
                return HoldPlaced(
                    tier=tier,
                    index=index,
                    time_ms=entry.time_ms,
                    tag=entry.session_tag,
                    ordinal=hold.ordinal,
                    reason=hold.reason,
                    holder=hold.holder,
                )
            case Kind.HOLD_RELEASE:
                release = gap_schema.decode_release(self._records.stored(record).envelope)
                return HoldReleased(tier=tier, index=index, hold=release.hold)
            case Kind.PRUNE | Kind.ERASE:
                # What it covers is read when somebody asks; here it only has to be one that the store signed.
                self._records.stored(record)
                return PayloadsGone(tier=tier, index=index, is_erasure=entry.kind is Kind.ERASE)
            case Kind.DICTIONARY if not record.flags & GAP:
                # Few as well, and checkpoints of all sessions may need it.
                self._records.stored(record)
                return DictionaryMade(tier=tier, index=index, size=entry.length)
            case _:
                return Other(tier=tier, index=index)

    def _names(self, record: Record, entry: Entry) -> session_schema.SessionBegin | None:
        """Those of the session that a record begins; None: it was erased."""
        if not record.flags & GAP:
            return session_schema.decode_begin(_envelope(record, entry))
        gaps = self._records.gaps
        if not gaps.authorises(record.index, record.index + 1, gaps.cause_named_by(record)):
            raise Corrupt("its payload is gone, and no prune or erase record says why", op="read")
        return None


def _envelope(record: Record, entry: Entry) -> bytes:
    return open_payload(record.payload, length=entry.length, commitment=entry.commitment, limit=ENVELOPE_BYTES_MAX)
