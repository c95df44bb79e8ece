"""What a record means for lookups: from the log to the catalogue's rows.

Used when the catalogue starts empty, or behind, and by readers as they follow. A row is as good as its source: the engine has
proven that the entry is in the tree; who signed it is checked when the record is read, not here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from aegis_store._engine import Record
from aegis_store.catalog import CheckpointMade, KeyAdded, KeyRevoked, Other, Row, SessionBegan, SessionEnded
from aegis_store.codec.payload import open_payload
from aegis_store.records import Records
from aegis_store.schema import keys as key_schema
from aegis_store.schema import session as session_schema
from aegis_store.schema.entry import Entry
from aegis_store.trust.signer import key_id
from aegis_store.types import Kind, LogIndex

#: Names and keys are small; whatever claims more is not one.
ENVELOPE_BYTES_MAX = 16 << 20


def rows_of(records: Records, first: int) -> Iterator[Row]:
    """The rows of the records from `first` on."""
    return map_rows(records, records.scan(first, records.size()))


def map_rows(records: Records, found: Iterable[Record]) -> Iterator[Row]:
    """A row for each record."""
    for record in found:
        yield _row(records, record)


def _row(records: Records, record: Record) -> Row:
    entry = records.entry_of(record)
    tier, index = records.tier, LogIndex(record.index)
    match entry.kind:
        case Kind.CHECKPOINT:
            return CheckpointMade(
                tier=tier, index=index, time_ms=entry.time_ms, leaf=record.leaf, tag=entry.session_tag, ordinal=entry.ordinal
            )
        case Kind.SESSION_BEGIN:
            names = session_schema.decode_begin(_envelope(record, entry))
            return SessionBegan(
                tier=tier,
                index=index,
                time_ms=entry.time_ms,
                leaf=record.leaf,
                tag=entry.session_tag,
                id=names.session,
                agent=names.agent,
                parent=entry.parent,
            )
        case Kind.SESSION_END:
            return SessionEnded(tier=tier, index=index, tag=entry.session_tag)
        case Kind.KEY_ADD:
            added = key_schema.decode_add(_envelope(record, entry))
            return KeyAdded(
                tier=tier,
                index=index,
                key_id=key_id(added.agent, added.public_key),
                public_key=added.public_key,
                agent=added.agent,
            )
        case Kind.KEY_REVOKE:
            revoked = key_schema.decode_revoke(_envelope(record, entry))
            return KeyRevoked(
                tier=tier, index=index, key_id=key_id(revoked.agent, revoked.public_key), public_key=revoked.public_key
            )
        case _:
            return Other(tier=tier, index=index)


def _envelope(record: Record, entry: Entry) -> bytes:
    return open_payload(record.payload, length=entry.length, commitment=entry.commitment, limit=ENVELOPE_BYTES_MAX)
