"""A checkpoint in another form: a delta to another base, or whole, under the commitment that its entry has.

The salt stays, so does all that is signed. What comes out is decoded again and compared before anybody relies on it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection
from typing import Final

from aegis_store._engine import PAYLOAD_MAX, Record, make_delta, restore
from aegis_store.codec import payload as payload_codec
from aegis_store.codec.compression import Dictionary
from aegis_store.codec.payload import Sealed, body_of
from aegis_store.compaction.plan import Touched
from aegis_store.errors import Corrupt, EngineBug
from aegis_store.records import Records
from aegis_store.schema.entry import Entry
from aegis_store.states import Link, State, States
from aegis_store.trust.signer import Signer
from aegis_store.types import Kind, LogIndex

#: States that the next ones are restored from.
STATES_BYTES: Final = 64 << 20


class Reencoder:
    """Gives checkpoints of one tier another form. For one thread.

    `known` are records of the segment at work, read in one go; others are asked of the engine one by one. `store_signer` is the
    log key: a payload that no record holds goes into chunk records, which it signs."""

    def __init__(self, records: Records, store_signer: Signer, *, going: Collection[int]) -> None:
        """`going`: dictionaries that are not to be used any more."""
        self._records = records
        self._signer = store_signer
        known = records.catalog.dictionaries(records.tier)
        self._dictionaries = [each.index for each in known if not each.is_retired and each.index not in going]
        self._states = States(STATES_BYTES)
        self.known: dict[int, Record] = {}

    def payload(self, touched: Touched) -> bytes | None:
        """What is to stand in a checkpoint's place; None: it may stay as it is, for it was made from nothing."""
        record = self._record(touched.index)
        entry = self._records.entry_of(record)
        if not payload_codec.is_delta(record.payload) and not touched.is_recoded:
            return None
        state = self._state(record, entry)
        salt = record.payload[2 : payload_codec.HEADER_SIZE]
        sealed = self._sealed(state, touched, entry, salt)
        if sealed.commitment != entry.commitment or sealed.length != entry.length:
            raise Corrupt(f"record {touched.index} does not hold what its entry commits to", op="compact", index=touched.index)
        if len(sealed.payload) > PAYLOAD_MAX:
            return self._in_chunks(sealed, entry)
        return sealed.payload

    def _sealed(self, state: State, touched: Touched, entry: Entry, salt: bytes) -> Sealed:
        envelope = state.envelope
        if touched.base is not None:
            base_record = self._record(touched.base)
            base = self._state(base_record, self._records.entry_of(base_record))
            # Nothing that hangs on this checkpoint may be further from its keyframe afterwards.
            most = base.longest_delta(len(envelope)) if base.links < state.links else 0
            delta = make_delta(base.envelope, envelope, most) if most else None
            if delta is not None:
                if restore(base.envelope, [delta], length=len(envelope), limit=len(envelope)) != envelope:
                    raise EngineBug("a delta does not make what it was made from", op="compact", index=touched.index)
                named = None if touched.base == entry.parent else touched.base
                primed = self._dictionary_before(touched.index)
                return self._checked(payload_codec.seal_delta(delta, envelope, salt, base=named, dictionary=primed), delta)
        return self._checked(payload_codec.seal(envelope, salt, self._dictionary_before(touched.index)), envelope)

    def _dictionary_before(self, index: LogIndex) -> Dictionary | None:
        """The newest dictionary that stays and stands before a record: what it is made from is never behind it in the log."""
        at = bisect_left(self._dictionaries, index)
        return self._records.dictionaries.get(self._dictionaries[at - 1]) if at else None

    def _checked(self, sealed: Sealed, data: bytes) -> Sealed:
        """A payload, if what comes out of it is what went in."""
        get = self._records.dictionaries.get
        if body_of(sealed.payload, length=sealed.length, limit=sealed.length, dictionary=get).data != data:
            raise EngineBug("a payload does not hold what was put into it", op="compact")
        return sealed

    def _in_chunks(self, sealed: Sealed, entry: Entry) -> bytes:
        """Puts the pieces into records of their own, which come after the checkpoint that they are of."""
        indices = []
        for piece in payload_codec.split(sealed.payload):
            chunk = self._records.append(
                Kind.CHUNK, self._records.seal(piece), self._signer, tag=entry.session_tag, ordinal=entry.ordinal
            )
            indices.append(chunk.index)
        self._records.commit(indices[-1])
        return payload_codec.in_chunks(sealed.payload, indices)

    def _record(self, index: LogIndex) -> Record:
        known = self.known.get(index)
        return self._records.engine.read(self._records.tier, index) if known is None else known

    def _state(self, record: Record, entry: Entry) -> State:
        index = LogIndex(record.index)
        known = self._states.get(index)
        if known is not None and known.is_checked:
            return known
        return self._records.state_of(record, entry, self._states, fetch=self._fetch)

    def _fetch(self, index: LogIndex) -> Link:
        return self._records.link(index, self.known.get(index))
