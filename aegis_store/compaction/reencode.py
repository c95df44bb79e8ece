"""A checkpoint in another form: a delta to another base, or whole, under the commitment that its entry has.

The salt stays, so does all that is signed. What comes out is decoded again and compared before anybody relies on it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection
from typing import Final

from aegis_store._engine import PAYLOAD_MAX, Record, make_delta, restore
from aegis_store.catalog import Other, Row
from aegis_store.codec import payload as payload_codec
from aegis_store.codec.compression import Dictionary
from aegis_store.codec.payload import body_of
from aegis_store.compaction.plan import Touched
from aegis_store.errors import EngineBug
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
    log key: a payload that no record holds goes into chunk records, which it signs, and of which `note` tells the catalogue."""

    def __init__(
        self, records: Records, store_signer: Signer, note: Callable[[Row], object], *, going: Collection[int]
    ) -> None:
        """`going`: dictionaries that are not to be used any more."""
        self._records = records
        self._signer = store_signer
        self._note = note
        known = records.catalog.dictionaries(records.tier)
        self._dictionaries = [each.index for each in known if not each.is_retired and each.index not in going]
        self._states = States(STATES_BYTES)
        self.known: dict[int, Record] = {}

    def payload(self, touched: Touched) -> bytes | None:
        """What is to stand in a checkpoint's place; None: it may stay as it is, for it was made from nothing."""
        record = self._record(touched.index)
        if not payload_codec.is_delta(record.payload) and not touched.is_recoded:
            return None
        entry = self._records.entry_of(record)
        state = self._state(touched.index, record, entry)
        payload = self._remade(state, touched, entry, record.payload[2 : payload_codec.HEADER_SIZE])
        return self._in_chunks(payload, entry) if len(payload) > PAYLOAD_MAX else payload

    def _remade(self, state: State, touched: Touched, entry: Entry, salt: bytes) -> bytes:
        """The state's envelope, which was read under its entry's commitment, under the same salt in another form."""
        envelope, dictionary = state.envelope, self._dictionary_before(touched.index)
        if touched.base is not None:
            base = self._state(touched.base)
            # Nothing that hangs on this checkpoint may be further from its keyframe afterwards.
            most = base.longest_delta(len(envelope)) if base.links < state.links else 0
            delta = make_delta(base.envelope, envelope, most) if most else None
            if delta is not None:
                named = None if touched.base == entry.parent else touched.base
                payload = payload_codec.recode_delta(delta, salt, base=named, dictionary=dictionary)
                return self._checked(payload, envelope, base.envelope)
        return self._checked(payload_codec.recode(envelope, salt, dictionary), envelope, None)

    def _dictionary_before(self, index: LogIndex) -> Dictionary | None:
        """The newest dictionary that stays and stands before a record: what it is made from is never behind it in the log."""
        at = bisect_left(self._dictionaries, index)
        return self._records.dictionaries.get(self._dictionaries[at - 1]) if at else None

    def _checked(self, payload: bytes, envelope: bytes, base: bytes | None) -> bytes:
        """A payload, if what comes out of it is the envelope: every byte of that, decoded and restored as a reader does."""
        length = len(envelope)
        body = body_of(payload, length=length, limit=length, dictionary=self._records.dictionaries.get)
        made = body.data if base is None else restore(base, [body.data], length=length, limit=length)
        if body.is_delta is (base is None) or made != envelope:
            raise EngineBug("a payload does not hold what was put into it", op="compact")
        return payload

    def _in_chunks(self, payload: bytes, entry: Entry) -> bytes:
        """Puts the pieces into records of their own, which come after the checkpoint that they are of."""
        indices = []
        for piece in payload_codec.split(payload):
            chunk = self._records.append(
                Kind.CHUNK, self._records.seal(piece), self._signer, tag=entry.session_tag, ordinal=entry.ordinal
            )
            indices.append(chunk.index)
        self._records.commit(indices[-1])
        for index in indices:
            self._note(Other(tier=self._records.tier, index=index))
        return payload_codec.in_chunks(payload, indices)

    def _record(self, index: LogIndex) -> Record:
        known = self.known.get(index)
        return self._records.engine.read(self._records.tier, index) if known is None else known

    def _state(self, index: LogIndex, record: Record | None = None, entry: Entry | None = None) -> State:
        """What a checkpoint holds, under its entry's commitment."""
        known = self._states.get(index)
        if known is not None and known.is_checked:
            return known
        found = self._record(index) if record is None else record
        return self._records.state_of(found, entry or self._records.entry_of(found), self._states, fetch=self._fetch)

    def _fetch(self, index: LogIndex) -> Link:
        return self._records.link(index, self.known.get(index))
