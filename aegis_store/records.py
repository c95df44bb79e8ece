"""Trusted records of one tier: the only place where an entry is made, signed, read and believed.

Writing: envelope -> payload and commitment -> entry -> signature -> engine. Reading goes the other way and believes nothing:
the engine proves that the entry is in the tree; here its signature is checked under a key that an enrolment record in the same
log allowed at that index, and the envelope is the one that the entry commits to. Whatever does not hold raises, naming the
record.
Source: FORMAT.md, Entry and Payload.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache, partial
from hashlib import sha256
from typing import Final

import msgspec
from blake3 import blake3

from aegis_store._engine import GAP, Engine, Record, literals_of, make_delta
from aegis_store.catalog import Catalog, DictionaryMade, KeyAdded, KeyRecord, KeyRevoked, number_of
from aegis_store.codec.compression import Dictionary
from aegis_store.codec.payload import Body, Sealed, body_of, open_payload, seal, seal_delta
from aegis_store.dictionaries import Dictionaries
from aegis_store.errors import (
    AegisError,
    BadSignature,
    Corrupt,
    Foreign,
    Gone,
    InvalidArgument,
    KeysWrong,
    NewerFormat,
    NotFound,
    OutcomeUnknown,
    Poisoned,
    StateTooLarge,
)
from aegis_store.gaps import Gaps
from aegis_store.salts import Salts
from aegis_store.schema import dictionary as dictionary_schema
from aegis_store.schema import keys as key_schema
from aegis_store.schema.entry import (
    NO_LEAF,
    NO_TAG,
    REQUEST_TAG_SIZE,
    SIGNATURE_SIZE,
    Entry,
    pack_unsigned,
    parse,
    signing_prefix,
)
from aegis_store.states import RUN, Link, State, States, link_of
from aegis_store.trust.signer import SIGN, FileSigner, Signer, key_id, verify_signature
from aegis_store.types import LINK_OF, LINKS, NOUNS, OF_THE_STORE, Clock, Kind, LogIndex, Randomness, Tier, TimeMs

#: What an envelope may have around its state: names, claims, metadata.
ENVELOPE_MARGIN_BYTES: Final = 1 << 20
#: Request tags that are remembered: each is asked for by what is written, and by what is looked up just before and after.
REQUEST_TAGS: Final = 256
#: Never in chunks.
_WHOLE: Final = OF_THE_STORE | {Kind.CHUNK, Kind.WRITES}


class Position(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Where a record stands: what the next one of its session needs to know."""

    index: LogIndex
    leaf: bytes
    time_ms: TimeMs


class TrustedEntry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An entry whose signature was checked. `agent` is whose key made it; "" of a key or the store itself."""

    index: LogIndex
    leaf: bytes
    entry: Entry
    agent: str


class TrustedRecord(TrustedEntry, frozen=True, kw_only=True):
    """A record that every check was made on. `envelope` is what its entry commits to."""

    envelope: bytes


class Suspect(msgspec.Struct, frozen=True, kw_only=True):
    """A record that indexing could not take in, and why. `tag` is its session's; None: it cannot be read, and may be any's."""

    error: AegisError
    tag: bytes | None


class Records:
    """The records of one tier of an open store. Any number of threads may use it."""

    def __init__(
        self,
        engine: Engine,
        catalog: Catalog,
        tier: Tier,
        *,
        store_id: bytes,
        enrolment_key: bytes,
        log_signer: Signer,
        request_key: bytes,
        clock: Clock,
        randomness: Randomness,
        state_limit_bytes: int,
        state_cache_bytes: int,
    ) -> None:
        self.engine = engine
        self.catalog = catalog
        self.tier = tier
        #: The kind that this tier's chains are made of.
        self.link_kind: Final = LINK_OF.get(tier, Kind.CHECKPOINT)
        #: What they, and their links, are called.
        self.nouns: Final = NOUNS.get(tier, NOUNS[Tier.SESSION])
        self._prefix = signing_prefix(store_id, tier)
        self._enrolment_key = enrolment_key
        self._log_signer = log_signer
        #: What stands for a request id in an entry [8], by the session's tag and the id. Nobody without the store secret can
        #: tell which it was.
        self.request_tag: Final[Callable[[bytes, str], bytes]] = lru_cache(REQUEST_TAGS)(partial(_request_tag, request_key))
        self._clock = clock
        self._salts = Salts(randomness)
        self.state_limit_bytes: Final = state_limit_bytes
        self._envelope_max = state_limit_bytes + ENVELOPE_MARGIN_BYTES
        #: Checkpoints that were last written or read.
        self.states: Final = States(state_cache_bytes)
        #: Payloads that are gone by right.
        self.gaps: Final = Gaps(engine, catalog, tier, read=self.read)
        #: What payloads are compressed with.
        self.dictionaries: Final = Dictionaries(catalog, tier, self._dictionary)
        #: By index; filled by `indexing`. What they belong to is not to be answered for as if they were not there.
        self.suspects: Final[dict[int, Suspect]] = {}
        self._allowed: dict[tuple[bytes, int], str] = {}
        self._enrolled: set[bytes] = set()
        # Key id -> the catalogue's version that it was asked in, and what it answered.
        self._asked: dict[bytes, tuple[int, list[KeyRecord]]] = {}
        self._lock = threading.Lock()

    # ---- writing ----------------------------------------------------------------------------------------------------------

    def demand_limit(self, size: int, what: str = "state") -> None:
        """StateTooLarge for a state of `size` bytes above the store's limit."""
        if size > self.state_limit_bytes:
            raise StateTooLarge(
                f"the {what} has {size:,} bytes, and the limit for a state is {self.state_limit_bytes:,}",
                op="checkpoint",
                hint="store what is large elsewhere and its address here, or open the store with a higher state_limit_bytes",
            )

    def demand_envelope(self, envelope: bytes) -> None:
        """StateTooLarge for an envelope that no limit allows."""
        if len(envelope) > self._envelope_max:
            self.demand_limit(len(envelope), "checkpoint")

    def seal(self, envelope: bytes) -> Sealed:
        """An envelope, whole, under a fresh salt. The payload may be larger than a record holds: see `codec.payload.split`."""
        self.demand_envelope(envelope)
        return seal(envelope, self._salts.take())

    def seal_next(
        self,
        envelope: bytes,
        newest: LogIndex | None,
        parent: LogIndex | None,
        *,
        root: LogIndex | None = None,
        ordinal: int = 0,
    ) -> tuple[Sealed, State, DictionaryMade | None]:
        """The envelope of a checkpoint that comes after the one at `newest`, as a delta to it, or to the first of the run
        before, where that is shorter; and what is to be kept of it. `parent` is what its entry will name.

        `root` is its session's number, if that is no fork. Where what such sessions have in common is worth a dictionary, that
        is queued, and its row comes with the rest. The caller has demanded that the envelope fits."""
        if self.tier is Tier.AUDIT:
            # Each event stands alone: damage to one is damage to no other.
            return seal(envelope, self._salts.take()), State(envelope), None
        dictionaries, made = self.dictionaries, None
        before = None if newest is None else self._state(newest)
        if before is not None and root is not None and before.begins_run(ordinal, len(envelope)):
            newest, before = self._run_before(root, ordinal, newest, before)
        most = 0 if before is None else before.longest_delta(len(envelope))
        if before is not None and most:
            delta = make_delta(before.envelope, envelope, most)
            state = None if delta is None else before.follow(delta, envelope)
            if delta is not None and state is not None:
                base = None if newest == parent else newest
                if root is not None:
                    made = dictionaries.learn(root, literals_of(delta), self._add_dictionary)
                sealed = seal_delta(delta, envelope, self._salts.take(), base=base, dictionary=dictionaries.current)
                return sealed, state, made
        if root is not None and newest is None:
            made = dictionaries.learn(root, envelope, self._add_dictionary)
        return seal(envelope, self._salts.take(), dictionaries.current), State(envelope), made

    def _run_before(
        self, root: LogIndex, ordinal: int, newest: LogIndex | None, before: State
    ) -> tuple[LogIndex | None, State | None]:
        """What the first checkpoint of a run is made from: the first of the run before; or nothing, where the run could not be
        filled by going on from that, or from the one before it."""
        first = self.catalog.checkpoint(number_of(self.tier, root), ordinal - RUN)
        state = None if first is None else self._state(first.index)
        if first is not None and state is not None and state.carries_run:
            return first.index, state
        return (newest, before) if before.carries_run else (newest, None)

    def _add_dictionary(self, content: bytes) -> DictionaryMade:
        envelope = dictionary_schema.encode(content)
        added = self.append(Kind.DICTIONARY, self.seal(envelope), self._log_signer)
        return DictionaryMade(tier=self.tier, index=added.index, size=len(envelope))

    def _state(self, index: LogIndex) -> State | None:
        """What the checkpoint at `index` holds, from memory or the log; None where it is damaged, gone, about to go, or not
        durable yet."""
        pending = self.gaps.pending()
        if pending and any(index in cause.runs for cause in pending):
            return None
        state = self.states.get(index)
        if state is not None and state.is_checked:
            return state
        try:
            record = self.engine.read(self.tier, index)
            return self.state_of(record, self.entry_of(record), self.states)
        except AegisError:
            return None

    def append(
        self,
        kind: Kind,
        sealed: Sealed,
        signer: Signer,
        *,
        tag: bytes = NO_TAG,
        ordinal: int = 0,
        parent: Position | None = None,
        request_tag: bytes | None = None,
    ) -> Position:
        """Sign and queue a record; durable once `commit` of its index returns. Its time is never below its parent's."""
        now = self._clock.now_ms()
        if parent is not None and parent.time_ms > now:
            now = parent.time_ms
        unsigned = pack_unsigned(
            kind=kind,
            tier=self.tier,
            time_ms=now,
            commitment=sealed.commitment,
            length=sealed.length,
            key_id=signer.key_id,
            session_tag=tag,
            ordinal=ordinal,
            parent=None if parent is None else parent.index,
            parent_leaf=NO_LEAF if parent is None else parent.leaf,
            request_tag=request_tag,
        )
        message = self._prefix + unsigned
        if isinstance(signer, FileSigner):
            index, leaf = self.engine.append_signed(
                self.tier, kind, message, len(self._prefix), SIGN, signer.secret_key, sealed.payload
            )
        else:
            entry = unsigned + signer.sign(message)
            index, leaf = self.engine.append(self.tier, kind, entry, sealed.payload), leaf_of(entry)
        return Position(index=LogIndex(index), leaf=leaf, time_ms=TimeMs(now))

    def commit(self, index: LogIndex) -> None:
        """Return once the record is as durable as its tier asks. OutcomeUnknown, Poisoned: close and open the store."""
        self.engine.commit(self.tier, index)

    def flush(self) -> None:
        """Make durable what is queued, by whomever: an interrupted call does not know what it had queued."""
        # NotFound: nothing is queued. The others are for those to hear who write; what can be read can be read.
        with suppress(NotFound, OutcomeUnknown, Poisoned):
            # One group may be on its way, and one waiting for it.
            for _ in range(2):
                self.commit(LogIndex(self.size()))

    def enrol(self, signer: Signer, enrolment: Signer) -> None:
        """See to it that the log allows a signer's key: appends a key-add record where it does not yet."""
        if signer.public_key in self._enrolled:
            return
        with self._lock:
            if signer.public_key in self._enrolled:
                return
            standing = [key for key in self.catalog.key(self.tier, signer.key_id) if key.revoked is None]
            for key in standing:
                if self._key_of(key) != (signer.public_key, signer.name):
                    raise KeysWrong(
                        f"the key id {signer.key_id.hex()} of agent {signer.name!r} is another key's in this log",
                        op="enrol",
                        tier=self.tier.label,
                        hint="remove the agent's key from the key directory, so that another one is drawn",
                    )
            if not standing:
                self._add_key(signer, enrolment)
            self._enrolled.add(signer.public_key)

    def _add_key(self, signer: Signer, enrolment: Signer) -> None:
        envelope = key_schema.encode_add(key_schema.KeyAdd(agent=signer.name, public_key=signer.public_key))
        added = self.append(Kind.KEY_ADD, self.seal(envelope), enrolment)
        self.commit(added.index)
        self.catalog.note(
            KeyAdded(tier=self.tier, index=added.index, key_id=signer.key_id, public_key=signer.public_key, agent=signer.name)
        )

    def revoke(self, key: KeyRecord, enrolment: Signer, *, reason: str) -> LogIndex:
        """Let a key sign nothing more in this log: the key-revoke record, durable when this returns."""
        revoked = key_schema.KeyRevoke(agent=key.agent, public_key=key.public_key, reason=reason)
        made = self.append(Kind.KEY_REVOKE, self.seal(key_schema.encode_revoke(revoked)), enrolment)
        self.commit(made.index)
        with self._lock:
            self._enrolled.discard(key.public_key)
        self.catalog.note(KeyRevoked(tier=self.tier, index=made.index, key_id=key.key_id, public_key=key.public_key))
        return made.index

    def size(self) -> int:
        """How many records can be read: in a writer, those that are as durable as the tier asks."""
        return self.engine.size(self.tier)

    # ---- reading ----------------------------------------------------------------------------------------------------------

    def read(self, index: LogIndex, *, keep_way: bool = False) -> TrustedRecord:
        """The record at `index`, every check made. Corrupt, BadSignature, Foreign, NewerFormat: it is not to be believed.
        Pruned, Erased: what it held is gone, and a signed record says why.

        With `keep_way` the states that it is made from are kept in memory, for whoever reads those before it next.
        """
        return self.check(self.engine.read(self.tier, index), keep_way=keep_way)

    def scan(self, first: int, end: int) -> Iterator[Record]:
        """Records [first, end) as the engine proves them, for whoever checks or indexes them in bulk."""
        return self.engine.scan(self.tier, LogIndex(first), end)

    def check(self, record: Record, *, keep_way: bool = False) -> TrustedRecord:
        """Every check that the engine has not made. Gone: there is no payload to be checked."""
        index = LogIndex(record.index)
        try:
            entry = self.entry_of(record)
            agent = self._check_signer(record.entry, entry, index)
            self.gaps.demand(record, entry.kind)
            envelope = self.state_of(record, entry, self.states, keep_way=keep_way).envelope
        except Gone:
            raise
        except AegisError as error:
            raise self._placed(error, index) from None
        return TrustedRecord(index=index, leaf=record.leaf, entry=entry, agent=agent, envelope=envelope)

    def stored(self, record: Record) -> TrustedRecord:
        """Every check of what others need while it is there, whether it is to go or not. Asks the catalogue for nothing but
        agents' keys, so that it can be made from what this gives."""
        believed = self.check_entry(record)
        if record.flags & GAP:
            raise Corrupt(f"record {record.index} has no payload any more", op="read")
        try:
            envelope = self.envelope_of(record, believed.entry, self.states)
        except AegisError as error:
            raise self._placed(error, believed.index) from None
        return TrustedRecord(
            index=believed.index, leaf=believed.leaf, entry=believed.entry, agent=believed.agent, envelope=envelope
        )

    def entry_at(self, index: LogIndex) -> TrustedEntry:
        """The record at `index` without what it holds, which may be gone. Errors as of `read`, but for those of the payload."""
        return self.check_entry(self.engine.read(self.tier, index))

    def check_entry(self, record: Record) -> TrustedEntry:
        """Every check that the engine has not made, but for those of the payload."""
        index = LogIndex(record.index)
        try:
            entry = self.entry_of(record)
            agent = self._check_signer(record.entry, entry, index)
        except AegisError as error:
            raise self._placed(error, index) from None
        return TrustedEntry(index=index, leaf=record.leaf, entry=entry, agent=agent)

    def envelope_of(self, record: Record, entry: Entry, states: States) -> bytes:
        """The envelope that an entry commits to. That of a checkpoint is kept in `states`, whose others may spare the way to
        its keyframe."""
        return self.state_of(record, entry, states).envelope

    def state_of(
        self,
        record: Record,
        entry: Entry,
        states: States,
        *,
        keep_way: bool = False,
        fetch: Callable[[LogIndex], Link] | None = None,
    ) -> State:
        """The same, and how far it is from its keyframe. `fetch` stands in for `link`."""
        index = LogIndex(record.index)
        before = State(b"")

        def restored(body: Body) -> bytes:
            nonlocal before
            last = link_of(index, entry, body)
            before = states.restore(last, fetch or self.link, limit=self._envelope_max, keep_way=keep_way)
            return before.envelope

        envelope = open_payload(
            record.payload,
            length=entry.length,
            commitment=entry.commitment,
            limit=self._envelope_max,
            chunk=None if entry.kind in _WHOLE else self._chunks_of(index, entry),
            dictionary=self._dictionaries_before(index) if entry.kind in LINKS else None,
            restore=restored if entry.kind in LINKS else None,
        )
        state = State(envelope, before.links, before.chain_bytes)
        if entry.kind in LINKS:
            states.put(index, state)
        return state

    def link(self, index: LogIndex, record: Record | None = None) -> Link:
        """The record at `index` as a part of a chain of deltas: not believed, for what is made from it is checked."""
        if record is None:
            record = self.engine.read(self.tier, index)
        entry = self.entry_of(record)
        if record.flags & GAP:
            raise Corrupt(f"record {index} has no payload any more", op="read")
        if entry.kind not in LINKS:
            raise Foreign(f"record {index} is of kind {entry.kind.label}", op="read")
        body = body_of(
            record.payload,
            length=entry.length,
            limit=self._envelope_max,
            chunk=self._chunks_of(index, entry),
            dictionary=self._dictionaries_before(index),
        )
        return link_of(index, entry, body)

    def _dictionaries_before(self, index: LogIndex) -> Callable[[int], Dictionary]:
        """How the dictionary is read that the payload of record `index` names."""
        return lambda at: self._dictionary_for(at, index)

    def _dictionary_for(self, index: int, of: LogIndex) -> Dictionary:
        if index >= of:
            # Compaction takes what is newest away first, and counts on it.
            raise Corrupt(f"it is compressed with the dictionary of record {index}, which comes after it", op="read")
        try:
            return self.dictionaries.get(index)
        except (Corrupt, NewerFormat, StateTooLarge) as error:
            message = f"it is compressed with the dictionary of record {index}: {error.message}"
            raise type(error)(message, op="read", hint=error.hint) from None

    def _dictionary(self, index: LogIndex) -> bytes:
        """The content of the dictionary at `index`, every check made."""
        try:
            record = self.engine.read(self.tier, index)
        except NotFound:
            raise Corrupt("there is no such record", op="read") from None
        # First: a checkpoint that names itself would be opened for ever.
        kind = self.entry_of(record).kind
        if kind is not Kind.DICTIONARY:
            raise Foreign(f"record {index} is of kind {kind.label}", op="read")
        return dictionary_schema.decode(self.stored(record).envelope)

    def _chunks_of(self, index: LogIndex, entry: Entry) -> Callable[[int], bytes]:
        """How the pieces of the payload of record `index` are read."""
        return lambda at: self._chunk(at, index, entry)

    def _chunk(self, index: int, of: LogIndex, entry: Entry) -> bytes:
        """A piece of the payload of record `of`. Compaction's own pieces come after it in the log."""
        record = self.engine.read(self.tier, LogIndex(index)) if index != of else None
        # First: only a chunk is opened here, for that has no pieces itself.
        piece = None if record is None else self.entry_of(record)
        if (
            record is None
            or piece is None
            or (piece.kind, piece.session_tag, piece.ordinal)
            != (
                Kind.CHUNK,
                entry.session_tag,
                entry.ordinal,
            )
        ):
            raise Foreign(f"record {index} is no piece of it", op="read")
        return self.stored(record).envelope

    def entry_of(self, record: Record) -> Entry:
        """A record's entry, parsed and in the right place; nothing in it is believed yet."""
        entry = parse(record.entry)
        if entry.kind != record.kind or entry.tier is not self.tier:
            raise Foreign(f"its entry is of kind {entry.kind.label} in tier {entry.tier.label}", op="read")
        return entry

    def _check_signer(self, raw: bytes, entry: Entry, index: LogIndex) -> str:
        """The agent whose key signed the entry, if that key was allowed to at `index`."""
        message = self._prefix + raw[:-SIGNATURE_SIZE]
        if entry.kind in OF_THE_STORE or (entry.kind is Kind.CHUNK and entry.key_id == self._log_signer.key_id):
            # A chunk of the store's own holds a state that compaction put into another form.
            if not verify_signature(self._log_signer.public_key, message, entry.signature):
                raise BadSignature("the log key did not sign it", op="read")
            return ""
        if entry.kind in (Kind.KEY_ADD, Kind.KEY_REVOKE):
            if not verify_signature(self._enrolment_key, message, entry.signature):
                raise BadSignature("the enrolment key did not sign it", op="read")
            return ""
        for key in self._keys(entry.key_id):
            if key.added < index and (key.revoked is None or index < key.revoked):
                public_key, agent = self._key_of(key)
                if verify_signature(public_key, message, entry.signature):
                    return agent
                raise BadSignature(f"the key of agent {agent!r} did not sign it", op="read")
        raise BadSignature(f"no key with id {entry.key_id.hex()} was allowed to sign it", op="read")

    def _keys(self, key_id: bytes) -> list[KeyRecord]:
        """The times that a key of that id was allowed. Each read asks, and they hardly ever change."""
        version = self.catalog.keys_version  # first: what changes meanwhile is asked for again
        asked = self._asked.get(key_id)
        if asked is None or asked[0] != version:
            asked = self._asked[key_id] = version, self.catalog.key(self.tier, key_id)
        return asked[1]

    def _key_of(self, key: KeyRecord) -> tuple[bytes, str]:
        """(public key, agent) by the key-add record itself: the catalogue only says where it is."""
        known = self._allowed.get((key.public_key, key.added))
        if known is not None:
            return key.public_key, known
        record = self.read(key.added)
        if record.entry.kind is not Kind.KEY_ADD:
            raise Corrupt("the catalogue names a record that enrols no key", op="read", tier=self.tier.label, index=key.added)
        added = key_schema.decode_add(record.envelope)
        if added.public_key != key.public_key or key_id(added.agent, added.public_key) != key.key_id:
            raise Corrupt("the catalogue and the log disagree on a key", op="read", tier=self.tier.label, index=key.added)
        self._allowed[key.public_key, key.added] = added.agent
        return added.public_key, added.agent

    def _placed(self, error: AegisError, index: LogIndex) -> AegisError:
        """The same error, with the record that it is about."""
        if error.index is not None:
            return error
        if isinstance(error, (InvalidArgument, StateTooLarge)):
            return error
        return type(error)(
            f"record {index} is not to be believed: {error.message}",
            op=error.op,
            path=error.path or self.engine.path,
            tier=self.tier.label,
            index=index,
            hint=error.hint or f"see what else is wrong: aegis verify {self.engine.path}",
        )


def leaf_of(entry: bytes) -> bytes:
    """The leaf hash [32] of an entry (RFC 6962, 2.1)."""
    return sha256(b"\x00" + entry).digest()


def _request_tag(key: bytes, session_tag: bytes, request_id: str) -> bytes:
    return blake3(session_tag + request_id.encode("utf-8", "surrogatepass"), key=key).digest(REQUEST_TAG_SIZE)
