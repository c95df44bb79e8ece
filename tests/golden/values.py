"""The second reader, values: extension types as FORMAT.md has them. Records and members are shown, not made."""

from __future__ import annotations

import datetime
import decimal
import struct
import uuid
import zoneinfo
from typing import Any, NamedTuple

import msgspec


class Record(NamedTuple):
    """A record or a member of a named type: `fields` by name, or the names of the member's parts."""

    name: str
    fields: Any


def read_value(data: bytes) -> Any:
    """The value of an envelope, or of the content of an extension type."""
    return msgspec.msgpack.decode(data, ext_hook=_open)


def _open(tag: int, content: memoryview) -> Any:
    data = bytes(content)
    if tag == 1:
        return int.from_bytes(data, "big", signed=True)
    if tag == 2:
        return bytearray(data)
    if tag == 3:
        return decimal.Decimal(data.decode("ascii"))
    if tag == 4:
        return uuid.UUID(bytes=data)
    if tag == 5:
        return datetime.date(*struct.unpack(">HBB", data))
    if tag in (6, 7):
        start = 0 if tag == 6 else 4
        hour, minute, second, microsecond, fold = struct.unpack_from(">BBBIB", data, start)
        time = datetime.time(hour, minute, second, microsecond, _zone(data[start + 8 :]), fold=fold)
        return time if tag == 6 else datetime.datetime.combine(datetime.date(*struct.unpack_from(">HBB", data)), time)
    if tag == 8:
        return datetime.timedelta(*struct.unpack(">iII", data))
    items = read_value(data)
    if tag == 16:
        return tuple(items)
    if tag in (17, 18):
        return set(items) if tag == 17 else frozenset(items)
    if tag == 19:
        return dict(zip(items[::2], items[1::2], strict=True))
    if tag == 32:
        return Record(items[0], dict(zip(items[1::2], items[2::2], strict=True)))
    if tag == 33:
        return Record(items[0], items[1:])
    raise ValueError(f"tag {tag}")


def _zone(data: bytes) -> datetime.tzinfo | None:
    if not data:
        return None
    if data[0] == 3:
        return zoneinfo.ZoneInfo(data[1:].decode())
    offset = datetime.timedelta(microseconds=struct.unpack_from(">q", data, 1)[0])
    return datetime.timezone(offset) if data[0] == 1 else datetime.timezone(offset, data[9:].decode())
