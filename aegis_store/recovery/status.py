"""How a session's newest checkpoint stands: check by check, so that the first one that fails has a name.

    inclusion ── signature ── key ── commitment ── place and parent chain down to the session's begin

Reading makes the same checks but for the chain, whose links are leaf hashes: once the newest one's signature holds, each parent
is the record that was signed for, or is not.
What is not the checkpoint's fault is not judged: a disk that refuses, a format of a later version, a closed store raise as they
are.
"""

from __future__ import annotations

from aegis_store.catalog import SessionRecord
from aegis_store.errors import BadProof, BadSignature, Corrupt, Foreign, Gone, NotFound
from aegis_store.lineage import last_ordinal
from aegis_store.recovery.kinds import Looked, Status
from aegis_store.schema.entry import Entry
from aegis_store.store import Store
from aegis_store.types import Kind, LogIndex, Ordinal, Ref, Tier


class _Flaw(Exception):
    """The check that failed, and what it said."""

    def __init__(self, status: Status, error: Exception | str) -> None:
        super().__init__(str(error))
        self.status = status
        self.error = str(error).partition("\n")[0]


def look(store: Store, session_id: str) -> Looked:
    """How the newest checkpoint of a session stands. What is damaged is told, not raised."""
    store.check_open()
    store.catch_up()
    found = store.catalog.session(session_id)
    about = Looked(
        status=Status.NONE,
        agent=None if found is None else found.agent,
        has_begun=found is not None,
        is_ended=found is not None and found.ended is not None,
    )
    hidden = _hidden(store, found)
    if hidden is not None:
        return _replaced(about, hidden, None)
    if found is None or last_ordinal(found) < 0:
        return about
    own = found.last_ordinal is not None
    index = found.last_index if own or found.parent is None else found.parent
    ordinal = Ordinal(last_ordinal(found))
    ref = None
    try:
        entry, leaf, agent = _signed(store, index)
        ref = Ref(tier=Tier.SESSION, index=index, leaf=leaf, ordinal=ordinal, session=session_id, time_ms=entry.time_ms)
        _committed(store, index)
        _placed(store, found, entry, ordinal, own=own)
        _follows(store, index, entry)
    except _Flaw as flaw:
        return _replaced(about, flaw, ref or _named(found, index, ordinal))
    return Looked(status=Status.VERIFIED, ref=ref, agent=agent, has_begun=True, is_ended=about.is_ended)


def _hidden(store: Store, found: SessionRecord | None) -> _Flaw | None:
    """What may hide a newer checkpoint: a record that nobody could take in."""
    tag, last = (None, -1) if found is None else (found.tag, found.last_index)
    for index, suspect in sorted(store.records.suspects.items()):
        if index > last and suspect.tag in (None, tag):
            try:
                _signed(store, LogIndex(index))
                _committed(store, LogIndex(index))
            except _Flaw as flaw:
                return flaw
            return _Flaw(Status.BROKEN_CHAIN, suspect.error)
    return None


def _signed(store: Store, index: LogIndex) -> tuple[Entry, bytes, str]:
    """The entry of a record that is in the tree, its leaf hash, and the agent whose key, allowed there, signed it."""
    records = store.records
    try:
        record = records.engine.read(Tier.SESSION, index)
        entry = records.entry_of(record)
    except (Corrupt, BadProof, NotFound) as error:
        raise _Flaw(Status.NOT_INCLUDED, error) from None
    try:
        agent = records.check_entry(record).agent
    except BadSignature as error:
        keys = store.catalog.key(Tier.SESSION, entry.key_id)
        allowed = any(key.added < index and (key.revoked is None or index < key.revoked) for key in keys)
        raise _Flaw(Status.BAD_SIGNATURE if allowed else Status.BAD_KEY, error) from None
    except Corrupt as error:
        raise _Flaw(Status.BAD_KEY, error) from None  # the record that enrolled the key is damaged itself
    return entry, record.leaf, agent


def _committed(store: Store, index: LogIndex) -> None:
    try:
        store.records.read(index)
    except Gone as error:
        raise _Flaw(Status.GONE, error) from None
    except Corrupt as error:
        raise _Flaw(Status.BAD_COMMITMENT, error) from None


def _placed(store: Store, found: SessionRecord, entry: Entry, ordinal: Ordinal, *, own: bool) -> None:
    """The session begins where the catalogue says, and the checkpoint is its own, or the one that it goes on from."""
    try:
        store.chain_of(found.id).lineage.believe(found)
    except (Corrupt, NotFound, Gone) as error:
        raise _Flaw(Status.BROKEN_CHAIN, error) from None
    if entry.kind is not Kind.CHECKPOINT or entry.ordinal != ordinal or own != (entry.session_tag == found.tag):
        raise _Flaw(Status.BROKEN_CHAIN, f"it is not checkpoint {ordinal} of session {found.id!r}")


def _follows(store: Store, index: LogIndex, entry: Entry) -> None:
    """Each record is the one that the next one names, down to the begin of the first session."""
    records = store.records
    while entry.parent is not None:
        try:
            parent = records.engine.read(Tier.SESSION, entry.parent)
            before = records.entry_of(parent)
        except (Corrupt, BadProof, NotFound, Foreign) as error:
            raise _Flaw(Status.BROKEN_CHAIN, error) from None
        if parent.leaf != entry.parent_leaf or not _can_precede(before, entry):
            raise _Flaw(Status.BROKEN_CHAIN, f"record {index} does not follow record {entry.parent}")
        index, entry = LogIndex(parent.index), before
    if entry.kind is not Kind.SESSION_BEGIN:
        raise _Flaw(Status.BROKEN_CHAIN, f"record {index} follows none, and begins no session")


def _can_precede(before: Entry, entry: Entry) -> bool:
    if entry.kind is Kind.SESSION_BEGIN:  # a fork's
        return before.kind is Kind.CHECKPOINT and before.ordinal + 1 == entry.ordinal
    due = {Kind.CHECKPOINT: entry.ordinal - 1, Kind.SESSION_BEGIN: entry.ordinal}.get(before.kind)
    return before.session_tag == entry.session_tag and before.ordinal == due


def _named(found: SessionRecord, index: LogIndex, ordinal: Ordinal) -> Ref | None:
    """What the catalogue calls a checkpoint whose entry is not believed."""
    if found.last_ordinal is None:
        return None
    return Ref(tier=Tier.SESSION, index=index, leaf=found.last_leaf, ordinal=ordinal, session=found.id, time_ms=found.last_ms)


def _replaced(about: Looked, flaw: _Flaw, ref: Ref | None) -> Looked:
    return Looked(
        status=flaw.status, ref=ref, error=flaw.error, agent=about.agent, has_begun=about.has_begun, is_ended=about.is_ended
    )
