"""The tables: their keys and values in bytes, and how rows are folded into them.

    table     key                                    value
    ids       BLAKE3(tier u8, id) [16]               session number u48
    tags      tag [16]                               session number u48
    names     tier u8, the first 160 bytes of the    nothing; of the memory tier only, where names are looked for by prefix
              id, a zero if it is shorter, session
              number u48
    sessions  number u48                             msgpack [tag, id or nil (erased), agent, role, forked from, parent,
                                                     first ordinal, created ms]; never changes
    heads     number u48                             64 bytes: the newest checkpoint, see _HEAD
    points    number u48, ordinal / 64 u32           up to 64 x (index u48, time ms u48), all ones where there is none
    keys      tier u8, key id [4]                    msgpack [[index, public key, agent or nil (revoked)] ...] by index
    requests  number u48, request tag [8]            ordinal u32 of each checkpoint that carries it, ascending
    writes    number u48, request tag [8]            for each writes record that carries it, in order: ordinal u32, index u48
    holds     tier u8, index u48                     msgpack [tag, ordinal or nil, reason, holder, ms]
    releases  tier u8, index u48 of the hold         index u48 of its release
    gaps      tier u8, index u48 of a prune or       1 for an erase record, else 0
              an erase record
    dicts     tier u8                                msgpack [[index, size, retired] ...] by index

A number is tier and index (`rows.number_of`). Integers in keys are big-endian, so that keys sort as numbers; those in values
are little-endian. Texts are UTF-8 with surrogates passed through, and keys hold only hashes of them, or their first bytes, so
any length and any characters are fine.

Checkpoints share a value, 64 of them, because LMDB's cost for a key (the key, a node header, half-empty pages where sessions
grow side by side) is a multiple of the 12 bytes that a checkpoint needs. Measured at 100,000 checkpoints, with a key for each:
31 bytes in one session, 64 in 50 sessions side by side. Sharing: 14 and 21.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from enum import IntEnum
from typing import Final, Protocol

import msgspec
from blake3 import blake3

from aegis_store.catalog.rows import (
    CheckpointMade,
    CheckpointRecord,
    DictionaryMade,
    DictionaryRecord,
    DictionaryRetired,
    HoldPlaced,
    HoldRecord,
    HoldReleased,
    KeyAdded,
    KeyRecord,
    KeyRevoked,
    PayloadsGone,
    Row,
    SessionBegan,
    SessionEnded,
    SessionRecord,
    WritesMade,
    number_of,
)
from aegis_store.errors import Corrupt
from aegis_store.types import LogIndex, Ordinal, Tier, TimeMs

#: Of the layout above: a file of another version is rebuilt.
VERSION: Final = 4
#: Checkpoints that share a value.
GROUP: Final = 64
NUMBER_BYTES: Final = 6
NUMBER_MAX: Final = (1 << 8 * NUMBER_BYTES) - 1
ORDINAL_MAX: Final = (1 << 32) - 2
TAG_SIZE: Final = 16
#: Of a name, in the key of the table of names: LMDB takes keys of up to 511 bytes.
NAME_BYTES: Final = 160
#: Tiers whose names are looked for by prefix.
NAMED: Final = frozenset({Tier.MEMORY})

POINT_SIZE: Final = 12
#: Of one record in the table of writes: ordinal u32, index u48.
WRITES_SIZE: Final = 10
ORDINAL_BYTES: Final = 4
NO_POINT: Final = b"\xff" * POINT_SIZE
#: Of the newest checkpoint: ordinal, index, ms; then the index of the session-end, the checkpoint's leaf hash, and how many
#: writes records there are.
_HEAD: Final = struct.Struct("<IQQQ32sI")
_NO_ORDINAL: Final = (1 << 32) - 1
_NO_INDEX: Final = (1 << 64) - 1


class Table(IntEnum):
    """Named as LMDB names them."""

    IDS = 0
    TAGS = 1
    SESSIONS = 2
    HEADS = 3
    POINTS = 4
    KEYS = 5
    REQUESTS = 6
    HOLDS = 7
    RELEASES = 8
    GAPS = 9
    DICTS = 10
    NAMES = 11
    WRITES = 12


Item = tuple[bytes, bytes]
Get = Callable[[Table, bytes], bytes | None]
Updates = dict[Table, dict[bytes, bytes]]


class Tables(Protocol):
    """Where tables are kept. Not locked: the catalogue does that."""

    def get(self, table: Table, key: bytes) -> bytes | None: ...

    def sessions_after(self, key: bytes, limit: int) -> list[Item]:
        """At most `limit` items of the table of sessions with keys above `key`, in order."""
        ...

    def items(self, table: Table, prefix: bytes, *, after: bytes = b"", limit: int | None = None) -> list[Item]:
        """The items of a table whose keys start with `prefix` and are above `after`, in order; at most `limit`, where given."""
        ...

    def write(self, updates: Updates) -> None:
        """All of it or, where this raises, nothing."""
        ...

    def load(self, table: Table, items: Iterator[Item]) -> None:
        """Many items, sorted by key, each key once; where this raises, some of them. `items` may ask these tables."""
        ...


def no_updates() -> Updates:
    return {table: {} for table in Table}


def text_bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def id_key(session_id: str, tier: Tier = Tier.SESSION) -> bytes:
    return blake3(tier_key(tier) + text_bytes(session_id)).digest(16)


def name_prefix(tier: Tier, text: str) -> bytes:
    """What the keys of the table of names have in common whose ids start with `text`; those of others may, too."""
    return tier_key(tier) + text_bytes(text)[:NAME_BYTES]


def name_key(tier: Tier, session_id: str, number: int) -> bytes:
    # A zero ends a short one, so that it comes before those that it is the beginning of: none of them goes on with a zero.
    name = name_prefix(tier, session_id)
    return (name if len(name) > NAME_BYTES else name + b"\0") + number_key(number)


def number_key(number: int) -> bytes:
    return number.to_bytes(6, "big")


def group_key(number: int, group: int) -> bytes:
    return number.to_bytes(6, "big") + group.to_bytes(4, "big")


def request_key(number: int, request_tag: bytes) -> bytes:
    return number.to_bytes(6, "big") + request_tag


def record_key(tier: int, index: int) -> bytes:
    return tier.to_bytes(1, "big") + index.to_bytes(6, "big")


def signer_key(tier: int, key_id: bytes) -> bytes:
    return tier.to_bytes(1, "big") + key_id


def tier_key(tier: int) -> bytes:
    return tier.to_bytes(1, "big")


# ---- reading ------------------------------------------------------------------------------------------------------------

_Session = tuple[bytes, bytes | None, bytes, bytes | None, bytes | None, LogIndex | None, Ordinal, TimeMs]
_session_codec = msgspec.msgpack.Decoder(_Session)
_KeyEvent = tuple[LogIndex, bytes, bytes | None]
_key_codec = msgspec.msgpack.Decoder(list[_KeyEvent])
_Dictionary = tuple[LogIndex, int, bool]
_dictionary_codec = msgspec.msgpack.Decoder(list[_Dictionary])
_encode = msgspec.msgpack.Encoder().encode


def session_record(key: bytes, value: bytes, head: bytes) -> SessionRecord:
    """A session from its items in the tables of sessions and of heads."""
    tag, session_id, agent, role, forked_from, parent, first_ordinal, created_ms = _session_codec.decode(value)
    ordinal, index, time_ms, ended, leaf, writes = _HEAD.unpack(head)
    return SessionRecord(
        number=int.from_bytes(key, "big"),
        id="" if session_id is None else _text(session_id),
        tag=tag,
        agent=_text(agent),
        role=None if role is None else _text(role),
        forked_from=None if forked_from is None else _text(forked_from),
        parent=parent,
        first_ordinal=first_ordinal,
        created_ms=created_ms,
        last_ordinal=None if ordinal == _NO_ORDINAL else ordinal,
        last_index=index,
        last_leaf=leaf,
        last_ms=time_ms,
        ended=None if ended == _NO_INDEX else ended,
        writes=writes,
        is_erased=session_id is None,
    )


def _text(stored: bytes) -> str:
    return stored.decode("utf-8", "surrogatepass")


def _optional_bytes(text: str | None) -> bytes | None:
    return None if text is None else text_bytes(text)


def session_value(row: SessionBegan) -> bytes:
    """The item of a session in the table of sessions."""
    names = _optional_bytes(row.id), text_bytes(row.agent), _optional_bytes(row.role), _optional_bytes(row.forked_from)
    return _encode((row.tag, *names, row.parent, row.first_ordinal, row.time_ms))


def last_ordinal(head: bytes) -> int | None:
    ordinal: int = _HEAD.unpack(head)[0]
    return None if ordinal == _NO_ORDINAL else ordinal


def checkpoint_record(number: int, ordinal: int, group: bytes | None) -> CheckpointRecord | None:
    """A checkpoint from the value of its group."""
    at = ordinal % GROUP * POINT_SIZE
    point = (group or b"")[at : at + POINT_SIZE]
    if not point or point == NO_POINT:
        return None
    return CheckpointRecord(
        number=number,
        ordinal=Ordinal(ordinal),
        index=LogIndex(int.from_bytes(point[:6], "little")),
        time_ms=TimeMs(int.from_bytes(point[6:], "little")),
    )


def writes_records(value: bytes | None) -> list[tuple[Ordinal, LogIndex]]:
    """The writes records of a checkpoint, in order: ordinal and index."""
    found = value or b""
    return [
        (
            Ordinal(int.from_bytes(found[at : at + 4], "little")),
            LogIndex(int.from_bytes(found[at + 4 : at + WRITES_SIZE], "little")),
        )
        for at in range(0, len(found), WRITES_SIZE)
    ]


def with_ordinal(value: bytes, ordinal: int) -> bytes:
    """An item of the table of requests that knows one checkpoint more, if it did not know it. There is a second one where the
    first was put again, or by chance, once in 2**64."""
    if not value:
        return ordinal.to_bytes(ORDINAL_BYTES, "little")
    known = {*ordinals_of(value), ordinal}
    return b"".join(each.to_bytes(ORDINAL_BYTES, "little") for each in sorted(known))


def ordinals_of(value: bytes | None) -> list[int]:
    """The checkpoints that an item of the table of requests knows, ascending."""
    found = value or b""
    return [int.from_bytes(found[at : at + ORDINAL_BYTES], "little") for at in range(0, len(found), ORDINAL_BYTES)]


def with_writes(value: bytes, ordinal: int, index: int) -> bytes:
    """An item of the table of writes that knows one record more, if it did not know it."""
    new = ordinal.to_bytes(4, "little") + index.to_bytes(6, "little")
    if not value or int.from_bytes(value[-WRITES_SIZE : 4 - WRITES_SIZE], "little") < ordinal:
        return value + new
    known = {at: each for at, each in writes_records(value)} | {Ordinal(ordinal): LogIndex(index)}
    return b"".join(at.to_bytes(4, "little") + known[at].to_bytes(6, "little") for at in sorted(known))


def key_records(tier: Tier, key_id: bytes, value: bytes | None) -> list[KeyRecord]:
    """The times that a key was allowed, oldest first. A revocation ends the newest time that is open for that public key."""
    records: list[KeyRecord] = []
    for index, public_key, agent in _key_codec.decode(value) if value else ():
        if agent is not None:
            new = KeyRecord(tier=tier, key_id=key_id, agent=_text(agent), public_key=public_key, added=index, revoked=None)
            records.append(new)
            continue
        for at in range(len(records) - 1, -1, -1):
            if records[at].public_key == public_key and records[at].revoked is None:
                records[at] = msgspec.structs.replace(records[at], revoked=index)
                break
    return records


_Hold = tuple[bytes, Ordinal | None, bytes, bytes, TimeMs]
_hold_codec = msgspec.msgpack.Decoder(_Hold)


def hold_record(key: bytes, value: bytes) -> HoldRecord:
    """A hold from its item."""
    tag, ordinal, reason, holder, time_ms = _hold_codec.decode(value)
    return HoldRecord(
        number=index_of(key), tag=tag, ordinal=ordinal, reason=_text(reason), holder=_text(holder), time_ms=time_ms
    )


def index_of(key: bytes) -> LogIndex:
    """The index in a key that `record_key` made."""
    return LogIndex(int.from_bytes(key[1:], "big"))


def dictionary_records(value: bytes | None) -> list[DictionaryRecord]:
    """The dictionaries of a tier, oldest first."""
    known = _dictionary_codec.decode(value) if value else []
    return [DictionaryRecord(index=index, size=size, is_retired=is_retired) for index, size, is_retired in known]


# ---- folding ------------------------------------------------------------------------------------------------------------


class _Touched:
    """A session while rows are folded into it."""

    __slots__ = ("ended", "groups", "index", "leaf", "number", "ordinal", "time_ms", "writes")

    def __init__(self, number: bytes, head: bytes) -> None:
        self.number = number
        self.ordinal, self.index, self.time_ms, self.ended, self.leaf, self.writes = _HEAD.unpack(head)
        self.groups: dict[int, bytearray] = {}

    def head(self) -> bytes:
        return _HEAD.pack(self.ordinal, self.index, self.time_ms, self.ended, self.leaf, self.writes)


def fold(rows: Iterable[Row], get: Get) -> Updates:
    """What to put into tables that answer `get` so that they know `rows` as well. Pure.

    Corrupt for a row of a session that neither the tables nor an earlier row began."""
    updates = no_updates()
    touched: dict[bytes, _Touched] = {}

    def touch(row: CheckpointMade | WritesMade | SessionEnded) -> _Touched:
        number = get(Table.TAGS, row.tag)
        head = get(Table.HEADS, number) if number else None
        if number is None or head is None:
            raise Corrupt(
                f"record {row.index} belongs to a session that no record before it begins (tag {row.tag.hex()})",
                op="catalogue",
                tier=row.tier.label,
                index=row.index,
                hint="`aegis verify` names what else is wrong",
            )
        return touched.setdefault(row.tag, _Touched(number, head))

    for row in rows:
        if isinstance(row, CheckpointMade):
            session = touched.get(row.tag) or touch(row)
            if row.index > session.index:
                session.ordinal, session.index, session.time_ms, session.leaf = row.ordinal, row.index, row.time_ms, row.leaf
            group, slot = divmod(row.ordinal, GROUP)
            points = session.groups.get(group)
            if points is None:
                key = session.number + group.to_bytes(4, "big")
                points = session.groups[group] = bytearray(get(Table.POINTS, key) or b"")
            at = slot * POINT_SIZE
            if len(points) < at:
                points.extend(NO_POINT * (slot - len(points) // POINT_SIZE))
            points[at : at + POINT_SIZE] = row.index.to_bytes(6, "little") + row.time_ms.to_bytes(6, "little")
            if row.request_tag is not None:
                key = session.number + row.request_tag
                told = updates[Table.REQUESTS].get(key) or get(Table.REQUESTS, key)
                updates[Table.REQUESTS][key] = with_ordinal(told or b"", row.ordinal)
        elif isinstance(row, WritesMade):
            session = touched.get(row.tag) or touch(row)
            session.writes = max(session.writes, row.ordinal + 1)
            key = session.number + row.request_tag
            value = updates[Table.WRITES].get(key) or get(Table.WRITES, key)
            updates[Table.WRITES][key] = with_writes(value or b"", row.ordinal, row.index)
        elif isinstance(row, SessionBegan):
            number = number_key(number_of(row.tier, row.index))
            updates[Table.TAGS][row.tag] = number
            if row.id is not None:
                updates[Table.IDS][id_key(row.id, row.tier)] = number
                if row.tier in NAMED:
                    updates[Table.NAMES][name_key(row.tier, row.id, number_of(row.tier, row.index))] = b""
            updates[Table.SESSIONS][number] = session_value(row)
            # Told again, it must not undo what came after it.
            if row.tag not in touched:
                new = _HEAD.pack(_NO_ORDINAL, row.index, row.time_ms, _NO_INDEX, row.leaf, 0)
                touched[row.tag] = _Touched(number, get(Table.HEADS, number) or new)
        elif isinstance(row, SessionEnded):
            session = touched.get(row.tag) or touch(row)
            session.ended = row.index if session.ended == _NO_INDEX else max(session.ended, row.index)
        elif isinstance(row, KeyAdded | KeyRevoked):
            key = signer_key(row.tier, row.key_id)
            value = updates[Table.KEYS].get(key) or get(Table.KEYS, key)
            events = {event[0]: event for event in _key_codec.decode(value)} if value else {}
            agent = text_bytes(row.agent) if isinstance(row, KeyAdded) else None
            events[row.index] = (row.index, row.public_key, agent)
            updates[Table.KEYS][key] = _encode([events[index] for index in sorted(events)])
        elif isinstance(row, HoldPlaced):
            hold = row.tag, row.ordinal, text_bytes(row.reason), text_bytes(row.holder), row.time_ms
            updates[Table.HOLDS][record_key(row.tier, row.index)] = _encode(hold)
        elif isinstance(row, HoldReleased):
            updates[Table.RELEASES][record_key(row.tier, row.hold)] = row.index.to_bytes(6, "big")
        elif isinstance(row, PayloadsGone):
            updates[Table.GAPS][record_key(row.tier, row.index)] = bytes([row.is_erasure])
        elif isinstance(row, DictionaryMade | DictionaryRetired):
            key = tier_key(row.tier)
            value = updates[Table.DICTS].get(key) or get(Table.DICTS, key)
            known = {each[0]: each for each in _dictionary_codec.decode(value)} if value else {}
            _, size, is_retired = known.get(row.index, (row.index, 0, False))
            if isinstance(row, DictionaryMade):
                size = row.size
            else:
                is_retired = True
            known[row.index] = row.index, size, is_retired
            updates[Table.DICTS][key] = _encode([known[index] for index in sorted(known)])

    for session in touched.values():
        updates[Table.HEADS][session.number] = session.head()
        for group, points in session.groups.items():
            updates[Table.POINTS][session.number + group.to_bytes(4, "big")] = bytes(points)
    return updates
