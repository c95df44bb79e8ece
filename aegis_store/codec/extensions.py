"""What msgpack has no type for, as extension types: their tags, and the bytes of those that hold no other value.

    tag  type        content (numbers are big-endian, as everywhere in msgpack)
      1  int         two's complement, as short as it goes; only what does not fit into 64 bits
      2  bytearray   its bytes
      3  Decimal     ASCII, the scientific string of the General Decimal Arithmetic: "-1.10", "1E+3", "sNaN7"
      4  UUID        16 bytes
      5  date        year u16, month u8, day u8
      6  time        hour u8, minute u8, second u8, microsecond u32, fold u8, zone
      7  datetime    year u16, month u8, day u8, then as a time
      8  timedelta   days i32, seconds u32 (below 86400), microseconds u32 (below 1000000)
     16  tuple       a msgpack array of the items
     17  set         a msgpack array of the items, ascending by the bytes of each
     18  frozenset   the same
     19  dict        a msgpack array of key, value, key, value …; only where a key is none that a msgpack map has here
     32  record      a msgpack array of the type's name, then field, value, field, value …, ascending by field
     33  enum        a msgpack array of the type's name, then the member's; for a flag those of its parts, ascending

    zone: nothing (naive) | 1, offset in µs i64 | 2, offset in µs i64, name | 3, key of the IANA time zone; texts in UTF-8

Whatever is read here is written again and compared by the reader, so bytes in another form need no check of their own.
Source: FORMAT.md, Extension types.
"""

from __future__ import annotations

import datetime
import decimal
import re
import struct
import uuid
import zoneinfo
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

import ormsgpack

from aegis_store.codec.offences import Unstorable, not_stored, type_name

INT: Final = 1
BYTEARRAY: Final = 2
DECIMAL: Final = 3
UUID: Final = 4
DATE: Final = 5
TIME: Final = 6
DATETIME: Final = 7
TIMEDELTA: Final = 8
TUPLE: Final = 16
SET: Final = 17
FROZENSET: Final = 18
DICT: Final = 19
RECORD: Final = 32
ENUM: Final = 33

#: Containers inside each other, the envelope's own array included; an extension type that holds items is one. ormsgpack
#: encodes no more of arrays and maps, so neither is more decoded.
DEPTH_MAX: Final = 255

STR_KEYS: Final = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)
ANY_KEYS: Final = STR_KEYS | ormsgpack.OPT_NON_STR_KEYS

#: Types that msgpack has, without containers; what a msgpack map has as keys.
PLAIN: Final[frozenset[type]] = frozenset({str, int, bytes, bool, float, type(None)})

_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1

_DATE: Final = struct.Struct(">HBB")
_TIME: Final = struct.Struct(">BBBIB")
_DATETIME: Final = struct.Struct(">HBBBBBIB")
_TIMEDELTA: Final = struct.Struct(">iII")
_OFFSET: Final = struct.Struct(">Bq")

_ZONE_OFFSET: Final = 1
_ZONE_NAMED: Final = 2
_ZONE_KEY: Final = 3
_MICROSECOND: Final = datetime.timedelta(microseconds=1)

#: Nothing of the calling thread's context shows in what is written: its `capitals` would.
_SCIENTIFIC: Final = decimal.Context(capitals=1)


class UnknownZone(Exception):
    """The machine's time zone data has no such key. It never leaves the codec."""


def is_plain_key(key: object) -> bool:
    """Whether a msgpack map has the key here: a scalar of msgpack's own."""
    return type(key) in PLAIN and (type(key) is not int or _INT_MIN <= key <= _INT_MAX)


def pack(value: object, extend: Callable[[Any], ormsgpack.Ext]) -> bytes:
    """msgpack of a value in which every key is a plain one."""
    try:
        return ormsgpack.packb(value, extend, STR_KEYS)
    except TypeError:
        return ormsgpack.packb(value, extend, ANY_KEYS)


def write(value: object) -> ormsgpack.Ext:
    """The extension type of a value that holds no other one. Unstorable: it is of none of these types."""
    found = _WRITERS.get(type(value))
    if found is None:
        raise not_stored(value)
    tag, content = found
    return ormsgpack.Ext(tag, content(value))


def read(tag: int, data: bytes) -> object:
    """The value of an extension type that holds no other one.

    LookupError: no such tag. UnknownZone: a time zone that is not known here. Any ValueError, ArithmeticError or struct.error:
    content that was never written. Content in another form than `write` gives may be taken: write it again to know.
    """
    return _READERS[tag](data)


# ---- one type after another


def _write_int(value: int) -> bytes:
    return value.to_bytes((value if value >= 0 else ~value).bit_length() // 8 + 1, "big", signed=True)


def _read_int(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _write_decimal(value: decimal.Decimal) -> bytes:
    return _SCIENTIFIC.to_sci_string(value).encode("ascii")


def _read_decimal(data: bytes) -> decimal.Decimal:
    return decimal.Decimal(data.decode("ascii"))


def _write_uuid(value: uuid.UUID) -> bytes:
    return value.bytes


def _read_uuid(data: bytes) -> uuid.UUID:
    return uuid.UUID(bytes=data)


def _write_date(value: datetime.date) -> bytes:
    return _DATE.pack(value.year, value.month, value.day)


def _read_date(data: bytes) -> datetime.date:
    return datetime.date(*_DATE.unpack(data))


def _write_time(value: datetime.time) -> bytes:
    fixed = _TIME.pack(value.hour, value.minute, value.second, value.microsecond, value.fold)
    return fixed if value.tzinfo is None else fixed + _write_zone(value.tzinfo)


def _read_time(data: bytes) -> datetime.time:
    hour, minute, second, microsecond, fold = _TIME.unpack_from(data)
    return datetime.time(hour, minute, second, microsecond, _read_zone(data[_TIME.size :]), fold=fold)


def _write_datetime(value: datetime.datetime) -> bytes:
    fixed = _DATETIME.pack(
        value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond, value.fold
    )
    return fixed if value.tzinfo is None else fixed + _write_zone(value.tzinfo)


def _read_datetime(data: bytes) -> datetime.datetime:
    year, month, day, hour, minute, second, microsecond, fold = _DATETIME.unpack_from(data)
    zone = _read_zone(data[_DATETIME.size :])
    return datetime.datetime(year, month, day, hour, minute, second, microsecond, zone, fold=fold)


def _write_timedelta(value: datetime.timedelta) -> bytes:
    return _TIMEDELTA.pack(value.days, value.seconds, value.microseconds)


def _read_timedelta(data: bytes) -> datetime.timedelta:
    days, seconds, microseconds = _TIMEDELTA.unpack(data)
    return datetime.timedelta(days, seconds, microseconds)


# ---- time zones


def _write_zone(zone: datetime.tzinfo) -> bytes:
    if type(zone) is datetime.timezone:
        offset: datetime.timedelta
        name: list[str]
        offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]  # its own account of itself, and the only one
        if not name:
            return _OFFSET.pack(_ZONE_OFFSET, offset // _MICROSECOND)
        try:
            return _OFFSET.pack(_ZONE_NAMED, offset // _MICROSECOND) + name[0].encode()
        except UnicodeEncodeError:
            raise Unstorable("has a time zone whose name is not valid Unicode", "give the zone another name") from None
    if type(zone) is zoneinfo.ZoneInfo:
        try:
            zone.__reduce__()  # refuses a zone that was read from a file; nothing else tells such a one
            _find_zone(zone.key)
        except Exception:
            raise Unstorable(
                "has a time zone that cannot be found again by its key", "use a zone by its key: zoneinfo.ZoneInfo(key)"
            ) from None
        return bytes([_ZONE_KEY]) + zone.key.encode()
    raise Unstorable(
        f"has a time zone of type {type_name(zone)}, which is not stored", "use datetime.timezone or zoneinfo.ZoneInfo"
    )


def _read_zone(data: bytes) -> datetime.tzinfo | None:
    if not data:
        return None
    if data[0] == _ZONE_KEY:
        return _find_zone(data[1:].decode())
    kind, offset = _OFFSET.unpack_from(data)
    since = datetime.timedelta(microseconds=offset)
    if kind == _ZONE_OFFSET:
        return datetime.timezone(since)
    if kind == _ZONE_NAMED:
        return datetime.timezone(since, data[_OFFSET.size :].decode())
    raise ValueError(f"zone {kind}")


def _find_zone(key: str) -> zoneinfo.ZoneInfo:
    """The zone of a key. UnknownZone if the machine does not have it."""
    if not _is_listed(key):
        raise UnknownZone(key)
    try:
        return zoneinfo.ZoneInfo(key)
    except (OSError, ValueError, LookupError):
        raise UnknownZone(key) from None


@lru_cache(maxsize=1024)
def _is_listed(key: str) -> bool:
    """Whether a key is that of a file, or stands in tzdata's own list.

    ZoneInfo alone would import a package of the key's name below `tzdata`, and a stored name imports nothing.
    """
    if not re.fullmatch(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*", key):
        raise ValueError("no key of a time zone")
    return any(Path(root, key).is_file() for root in zoneinfo.TZPATH) or key in _listed_zones()


def _listed_zones() -> frozenset[str]:
    try:
        return frozenset((resources.files("tzdata") / "zones").read_text(encoding="utf-8").split())
    except (ImportError, OSError):
        return frozenset()


_WRITERS: Final[dict[type, tuple[int, Callable[[Any], bytes]]]] = {
    int: (INT, _write_int),
    bytearray: (BYTEARRAY, bytes),
    decimal.Decimal: (DECIMAL, _write_decimal),
    uuid.UUID: (UUID, _write_uuid),
    datetime.date: (DATE, _write_date),
    datetime.time: (TIME, _write_time),
    datetime.datetime: (DATETIME, _write_datetime),
    datetime.timedelta: (TIMEDELTA, _write_timedelta),
}
_READERS: Final[dict[int, Callable[[bytes], object]]] = {
    INT: _read_int,
    DECIMAL: _read_decimal,
    UUID: _read_uuid,
    DATE: _read_date,
    TIME: _read_time,
    DATETIME: _read_datetime,
    TIMEDELTA: _read_timedelta,
}

#: Types that become an extension type without looking into them. bytearray is not among them: ormsgpack takes it for bytes.
SCALARS: Final[frozenset[type]] = frozenset(_WRITERS) - {bytearray}
#: Types whose values hold no other one, and are packed right with `write` at hand.
LEAVES: Final[frozenset[type]] = PLAIN | SCALARS
#: Tags whose values are made after everything around them was read.
LATER: Final = frozenset({BYTEARRAY, TUPLE, SET, FROZENSET, DICT, RECORD, ENUM})
