"""The entry of a record: 176 or 184 bytes that the tree hashes as the leaf and the agent signs.

  offset  size  field
       0     1  version, 0
       1     1  kind
       2     1  tier
       3     1  flags; 1: a request tag is there
       4     4  writer epoch
       8    16  session tag; zero where there is none
      24     4  ordinal within the session; of a session-begin, that of its first checkpoint; of writes, their own count
      28     6  time in ms
      34     6  index of the parent; 0xffffffffffff: none
      40    32  leaf hash of the parent; zero where there is none
      72    32  commitment
     104     4  length of the envelope
     108     4  key id of the signer
     112     8  request tag, where flags say so
   112|120   64  Ed25519 signature over: "aegis-store/v0/entry" 0x0A, store id [16], tier u32, the bytes before it

All integers are little-endian. An entry is well-formed if and only if
  (1) it has 176 bytes, or 184 where it has a request tag,
  (2) version is 0 and flags are 0 or 1,
  (3) the kind is one of `types.WRITTEN`, the tier one of 1 to 4,
  (4) the parent's leaf hash is zero exactly where there is no parent,
  (5) a link (checkpoint, audit-event, memory-item) and a session-end have a parent; of the others only a session-begin may have
      one,
  (6) the session tag is zero exactly for key-add, key-revoke, dictionary and prune,
  (7) the ordinal of those is 0; that of a session-begin is 0 exactly where it has no parent,
  (8) only a link and writes have a request tag, and writes always do,
  (9) an audit-event is in the audit tier, a memory-item in the memory tier, and writes are in the session tier.
(1)-(9) each have a test of that number in tests/schema/test_entry.py. Source: FORMAT.md, Entry.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat
from aegis_store.types import HASH_SIZE, LINKS, WRITTEN, Kind, LogIndex, Ordinal, Tier, TimeMs

ENTRY_SIZE: Final = 176
#: Bytes that are signed, the request tag aside; the signature follows them.
UNSIGNED_SIZE: Final = 112
REQUEST_TAG_SIZE: Final = 8
SIGNATURE_SIZE: Final = 64
TAG_SIZE: Final = 16
KEY_ID_SIZE: Final = 4
STORE_ID_SIZE: Final = 16

#: The session tag where there is none.
NO_TAG: Final = bytes(TAG_SIZE)
#: The parent's leaf hash where there is none.
NO_LEAF: Final = bytes(HASH_SIZE)

_DOMAIN: Final = b"aegis-store/v0/entry\n"
_NO_PARENT: Final = 0xFFFF_FFFF_FFFF
# Time and parent are 6 bytes each: their low 32 and high 16 bits, which lie next to each other.
_LAYOUT: Final = struct.Struct("<BBBBI16sIIHIH32s32sI4s")
_LOW: Final = 0xFFFF_FFFF
_pack = _LAYOUT.pack

#: By flags.
_SIZES: Final = (ENTRY_SIZE, ENTRY_SIZE + REQUEST_TAG_SIZE)
_KINDS: Final = {kind.value: kind for kind in WRITTEN}
_TIERS: Final = {tier.value: tier for tier in Tier}
_REQUESTED: Final = 1
#: Those that concern no one session.
_OF_NO_SESSION: Final = frozenset({Kind.KEY_ADD, Kind.KEY_REVOKE, Kind.DICTIONARY, Kind.PRUNE})
_WITH_PARENT: Final = LINKS | {Kind.SESSION_END}
_WITHOUT_PARENT: Final = WRITTEN - _WITH_PARENT - {Kind.SESSION_BEGIN}
#: Those that stand in one tier only. A checkpoint may stand in any: so it was before there were others.
_ONLY_IN: Final[dict[int, int]] = {Kind.AUDIT_EVENT: Tier.AUDIT, Kind.MEMORY_ITEM: Tier.MEMORY, Kind.WRITES: Tier.SESSION}
#: Nothing takes away, or holds, what is written once: not even a key that could sign it says so there.
_NEVER_AUDITED: Final = frozenset({Kind.PRUNE, Kind.ERASE, Kind.HOLD, Kind.HOLD_RELEASE})
_MAY_HAVE_TAG: Final = LINKS | {Kind.WRITES}


class Entry(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An entry, parsed. `session_tag` [16] is zero and `parent_leaf` [32] is zero where there is none.

    `request_tag` [8] stands for the request id that the caller gave, for those who hold the store secret; None: none was given.
    """

    kind: Kind
    tier: Tier
    epoch: int
    session_tag: bytes
    ordinal: Ordinal
    time_ms: TimeMs
    parent: LogIndex | None
    parent_leaf: bytes
    commitment: bytes
    length: int
    key_id: bytes
    signature: bytes
    request_tag: bytes | None = None


def pack_unsigned(
    *,
    kind: int,
    tier: int,
    time_ms: int,
    commitment: bytes,
    length: int,
    key_id: bytes,
    session_tag: bytes = NO_TAG,
    ordinal: int = 0,
    parent: int | None = None,
    parent_leaf: bytes = NO_LEAF,
    epoch: int = 0,
    request_tag: bytes | None = None,
) -> bytes:
    """An entry up to its signature: 112 or 120 bytes. InvalidArgument for what `parse` would not take back."""
    if len(session_tag) != TAG_SIZE or len(key_id) != KEY_ID_SIZE or not len(commitment) == len(parent_leaf) == HASH_SIZE:
        raise InvalidArgument("a session tag, hash or key id of the wrong length", op="pack")
    if kind not in _KINDS or tier not in _TIERS:
        raise InvalidArgument(f"no entry has kind {kind} and tier {tier}", op="pack")
    if parent == _NO_PARENT:
        raise InvalidArgument(f"{parent} is not an index", op="pack")
    fault = _fault(kind, tier, session_tag, ordinal, parent, parent_leaf)
    if fault is not None:
        raise InvalidArgument(f"an entry {fault}", op="pack")
    if request_tag is None:
        if kind == Kind.WRITES:
            raise InvalidArgument("writes have a request tag", op="pack")
    elif kind not in _MAY_HAVE_TAG or len(request_tag) != REQUEST_TAG_SIZE:
        raise InvalidArgument(f"only a checkpoint or writes have a request tag, of {REQUEST_TAG_SIZE} bytes", op="pack")
    if parent is None:
        parent = _NO_PARENT
    try:
        unsigned = _pack(
            0,
            kind,
            tier,
            0 if request_tag is None else _REQUESTED,
            epoch,
            session_tag,
            ordinal,
            time_ms & _LOW,
            time_ms >> 32,
            parent & _LOW,
            parent >> 32,
            parent_leaf,
            commitment,
            length,
            key_id,
        )
    except struct.error as error:
        raise InvalidArgument(f"a number does not fit its place in an entry: {error}", op="pack") from None
    return unsigned if request_tag is None else unsigned + request_tag


def signing_prefix(store_id: bytes, tier: int) -> bytes:
    """What stands before an entry's bytes in the signed message: the same for all entries of a log, so it is made once."""
    if len(store_id) != STORE_ID_SIZE:
        raise InvalidArgument(f"a store id has {STORE_ID_SIZE} bytes, not {len(store_id)}", op="sign")
    return _DOMAIN + store_id + tier.to_bytes(4, "little")


def signing_message(store_id: bytes, tier: int, unsigned: bytes) -> bytes:
    """What the signer of an entry signs: `unsigned` is the entry up to its signature."""
    return signing_prefix(store_id, tier) + unsigned


def pack(entry: Entry) -> bytes:
    """The bytes of an entry: what `parse` takes back."""
    if len(entry.signature) != SIGNATURE_SIZE:
        raise InvalidArgument(f"a signature has {SIGNATURE_SIZE} bytes, not {len(entry.signature)}", op="pack")
    return (
        pack_unsigned(
            kind=entry.kind,
            tier=entry.tier,
            time_ms=entry.time_ms,
            commitment=entry.commitment,
            length=entry.length,
            key_id=entry.key_id,
            session_tag=entry.session_tag,
            ordinal=entry.ordinal,
            parent=entry.parent,
            parent_leaf=entry.parent_leaf,
            epoch=entry.epoch,
            request_tag=entry.request_tag,
        )
        + entry.signature
    )


def parse(data: bytes) -> Entry:
    """The entry in exactly these bytes. NewerFormat: a version, flag or kind of a later version; Corrupt: not well-formed.

    The signature is taken as it stands: whether it holds is `trust.signer.verify_signature`'s to say.
    """
    if len(data) not in _SIZES:
        if data and data[0] != 0:
            raise _newer(f"version {data[0]}")
        raise Corrupt(f"an entry has {ENTRY_SIZE} bytes, or {_SIZES[1]} with a request tag, not {len(data)}", op="parse")
    (
        version,
        kind_number,
        tier_number,
        flags,
        epoch,
        session_tag,
        ordinal,
        time_low,
        time_high,
        parent_low,
        parent_high,
        parent_leaf,
        commitment,
        length,
        key_id,
    ) = _LAYOUT.unpack_from(data)
    if version != 0:
        raise _newer(f"version {version}")
    if flags not in (0, _REQUESTED):
        raise _newer(f"flags {flags}")
    if len(data) != _SIZES[flags]:
        raise Corrupt(f"an entry has {len(data)} bytes and flags {flags}", op="parse")
    kind = _KINDS.get(kind_number)
    if kind is None:
        if kind_number == 0:
            raise Corrupt("an entry has no kind", op="parse")
        raise _newer(f"kind {kind_number}")
    tier = _TIERS.get(tier_number)
    if tier is None:
        raise Corrupt(f"an entry has tier {tier_number}, and there are four", op="parse")
    parent: int | None = parent_high << 32 | parent_low
    if parent == _NO_PARENT:
        parent = None
    fault = _fault(kind, tier_number, session_tag, ordinal, parent, parent_leaf)
    if fault is not None:
        raise Corrupt(f"an entry {fault}", op="parse")
    if kind not in _MAY_HAVE_TAG if flags == _REQUESTED else kind is Kind.WRITES:
        raise Corrupt(f"an entry of kind {kind.label} has {'a' if flags == _REQUESTED else 'no'} request tag", op="parse")
    return Entry(
        kind=kind,
        tier=tier,
        epoch=epoch,
        session_tag=session_tag,
        ordinal=ordinal,
        time_ms=TimeMs(time_high << 32 | time_low),
        parent=None if parent is None else LogIndex(parent),
        parent_leaf=parent_leaf,
        commitment=commitment,
        length=length,
        key_id=key_id,
        signature=data[-SIGNATURE_SIZE:],
        request_tag=data[UNSIGNED_SIZE:-SIGNATURE_SIZE] if flags == _REQUESTED else None,
    )


def _fault(kind: int, tier: int, session_tag: bytes, ordinal: int, parent: int | None, parent_leaf: bytes) -> str | None:
    """Rules (4) to (7) and (9), in words that follow "an entry"."""
    if _ONLY_IN.get(kind, tier) != tier or (tier == Tier.AUDIT and kind in _NEVER_AUDITED):
        return f"of kind {Kind(kind).label} is in tier {Tier(tier).label}"
    if (parent is None) != (parent_leaf == NO_LEAF):
        return "names a parent by its index or its leaf hash, but not by both"
    if (session_tag == NO_TAG) != (kind in _OF_NO_SESSION):
        return f"of kind {Kind(kind).label} has {'a' if kind in _OF_NO_SESSION else 'no'} session tag"
    if kind in _WITH_PARENT:
        return f"of kind {Kind(kind).label} has no parent" if parent is None else None
    if parent is not None and kind in _WITHOUT_PARENT:
        return f"of kind {Kind(kind).label} has a parent"
    if ordinal != 0 and kind in _OF_NO_SESSION:
        return f"of kind {Kind(kind).label} has ordinal {ordinal}, not 0"
    if kind == Kind.SESSION_BEGIN and (ordinal == 0) != (parent is None):
        return f"begins a session with checkpoint {ordinal}, and {'no' if parent is None else 'a'} checkpoint before it"
    return None


def _newer(what: str) -> NewerFormat:
    return NewerFormat(
        f"an entry has {what}, which this version does not know",
        op="parse",
        hint="read it with a later aegis-store: pip install --upgrade aegis-store",
    )
