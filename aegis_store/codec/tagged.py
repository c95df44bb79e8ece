"""Values of a state as JSON, and back, exactly.

What JSON has, stays as it is: null, true, false, str, list, dict with str keys, finite float, int of 64 bits. All else is an
object of one key that starts with `$`:

    {"$datetime": "2026-01-31T12:00:00+01:00"}   {"$date": "2026-01-31"}   {"$time": "12:00:00"}
    {"$timedelta": [days, seconds, microseconds]}
    {"$uuid": "…"}   {"$decimal": "1.50"}   {"$int": "170141183460469231731687303715884105728"}
    {"$float": "nan"}                            "inf", "-inf"
    {"$bytes": base64}   {"$bytearray": base64}
    {"$str": base64}                             UTF-8 that lets lone surrogates pass
    {"$tuple": […]}   {"$set": […]}   {"$frozenset": […]}
    {"$map": [[key, value], …]}                  a dict with other keys, or with one that starts with `$`
    {"$type": name, "fields": {…}}               a dataclass, Struct or NamedTuple
    {"$type": name, "members": ["RED"]}          an enum member; of a flag its parts

So whoever knows JSON reads an export, and a key that starts with `$` is never taken for a tag. A set is written in the order of
its items' JSON, so that the same value gives the same line. A time of which the text does not say all is `[text, fold, zone]`:
the zone is null, the key of an IANA time zone, or {"name": "CET"} for what an offset is called.

`$type` stands for the classes that a caller has named in a `StateTypes`, as for the store itself; nothing that a file says
makes anything be imported.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import decimal
import math
import uuid
import zoneinfo
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from aegis_store.codec.offences import Unstorable
from aegis_store.codec.registry import NO_TYPES, EnumShape, Misfit, StateTypes
from aegis_store.errors import InvalidArgument

_TAG: Final = "$"
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**64 - 1
#: Bits of the largest int that is written; the text of a longer one takes Python too long to be safe.
INT_BITS_MAX: Final = 8192

_Moment = TypeVar("_Moment", datetime.datetime, datetime.time)


def dumps(value: object, *, types: StateTypes = NO_TYPES) -> bytes:
    """One line of JSON for a value, without the newline. InvalidArgument for a type that has no form here."""
    return msgspec.json.encode(to_json(value, types=types))


def loads(data: bytes | str, *, types: StateTypes = NO_TYPES) -> object:
    """The value that `dumps` wrote. InvalidArgument for anything that it could not have written."""
    try:
        plain = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad(f"not JSON: {error}") from None
    return from_json(plain, types=types)


def to_json(value: object, *, types: StateTypes = NO_TYPES) -> Any:
    """The value in the types that JSON has, those that it lacks as tagged objects."""
    return _Writer(types).plain(value)


def from_json(plain: object, *, types: StateTypes = NO_TYPES) -> Any:
    """The value again. InvalidArgument for a tag that is unknown or garbled, a name that is not among `types`, or too
    many levels."""
    try:
        return _Reader(types).value(plain)
    except RecursionError:
        raise _bad("it nests deeper than any value that is written") from None


# ---- to JSON --------------------------------------------------------------------------------------------------------------


class _Writer:
    def __init__(self, types: StateTypes) -> None:
        self._types = types

    def plain(self, value: Any) -> Any:
        """Exact types first: a subclass is another type, and is taken for what it is or for nothing."""
        kind = type(value)
        if value is None or kind is bool:
            return value
        if kind is str:
            return value if _is_text(value) else {"$str": _base64(value.encode("utf-8", "surrogatepass"))}
        if kind is int:
            return _int(value)
        if kind is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        if kind is list:
            return [self.plain(each) for each in value]
        if kind is dict:
            return self._dict(value)
        if (simple := _SIMPLE.get(kind)) is not None:
            tag, write, _ = simple
            return {tag: write(value)}
        if kind is tuple:
            return {"$tuple": [self.plain(each) for each in value]}
        if kind in (set, frozenset):
            return {f"${kind.__name__}": sorted(map(self.plain, value), key=msgspec.json.encode)}
        return self._named(value, kind)

    def _dict(self, value: dict[Any, Any]) -> Any:
        if all(type(key) is str and not key.startswith(_TAG) and _is_text(key) for key in value):
            return {key: self.plain(each) for key, each in value.items()}
        return {"$map": [[self.plain(key), self.plain(each)] for key, each in value.items()]}

    def _named(self, value: Any, kind: type) -> Any:
        found = self._types.of(kind)
        if found is None:
            raise _bad(f"a value of type {kind.__module__}.{kind.__qualname__} has no form in JSON")
        name, shape = found
        try:
            if isinstance(shape, EnumShape):
                return {"$type": name, "members": shape.names(value)}
            inner = zip(shape.names, shape.values(value), strict=True)
            return {"$type": name, "fields": {each: self.plain(held) for each, held in inner}}
        except Unstorable as error:
            raise _bad(f"a value of type {name} {error}") from None


def _is_text(value: str) -> bool:
    """Whether UTF-8 can hold it."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _int(value: int) -> Any:
    if _INT_MIN <= value <= _INT_MAX:
        return value
    if value.bit_length() > INT_BITS_MAX:
        raise _bad(f"an int of {value.bit_length()} bits has no form in JSON here; {INT_BITS_MAX} is the limit")
    return {"$int": str(value)}


def _base64(value: bytes | bytearray) -> str:
    return base64.b64encode(value).decode("ascii")


# ---- from JSON ------------------------------------------------------------------------------------------------------------


class _Reader:
    def __init__(self, types: StateTypes) -> None:
        self._types = types

    def value(self, plain: Any) -> Any:
        if isinstance(plain, list):
            return [self.value(each) for each in plain]
        if not isinstance(plain, dict):
            return plain
        tags = [key for key in plain if key.startswith(_TAG)]
        if not tags:
            return {key: self.value(each) for key, each in plain.items()}
        if len(tags) > 1 or (len(plain) > 1 and tags != ["$type"]):
            raise _bad(f"an object with {tags[0]} holds something else too")
        tag = tags[0]
        try:
            return self._tagged(tag, plain)
        except InvalidArgument:
            raise
        except (TypeError, ValueError, ArithmeticError, binascii.Error) as error:
            raise _bad(f"what {tag} holds is garbled: {error}") from None

    def _tagged(self, tag: str, plain: dict[str, Any]) -> Any:
        inner = plain[tag]
        if tag in _READ:
            return _READ[tag](inner)
        match tag, inner:
            case "$tuple", [*items]:
                return tuple(self.value(each) for each in items)
            case "$set", [*items]:
                return {self.value(each) for each in items}
            case "$frozenset", [*items]:
                return frozenset(self.value(each) for each in items)
            case "$map", [*pairs]:
                return {self.value(key): self.value(each) for key, each in pairs}
            case "$type", str(name):
                return self._named(name, plain)
        raise _bad(f"there is no {tag} that holds this")

    def _named(self, name: str, plain: dict[str, Any]) -> Any:
        shape = self._types.named(name)
        if shape is None:
            raise InvalidArgument(
                f"a value of type {name!r}, and nobody said which class that is",
                op="import",
                hint="name it: --types module:Class",
            )
        try:
            match plain:
                case {"$type": _, "members": [*members], **rest} if not rest and isinstance(shape, EnumShape):
                    return shape.member([_text(each) for each in members])
                case {"$type": _, "fields": dict(given), **rest} if not rest and not isinstance(shape, EnumShape):
                    shape.demand_fit(given)
                    return shape.make({key: self.value(each) for key, each in given.items()})
        except Misfit as error:
            raise _bad(f"a value of type {name!r} {error.what}") from None
        raise _bad(f"a value of type {name!r} is not what its class makes")


def _bad(message: str) -> InvalidArgument:
    return InvalidArgument(message, op="json")


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError("not a string")
    return given


def _moment(value: datetime.datetime | datetime.time) -> str | list[Any]:
    zone = value.tzinfo
    if isinstance(zone, zoneinfo.ZoneInfo):
        return [value.replace(tzinfo=None).isoformat(), value.fold, zone.key]
    # A timezone's own account of itself, and the only one: its offset, and its name if it was given one.
    given: tuple[Any, ...] = zone.__getinitargs__() if type(zone) is datetime.timezone else ()  # type: ignore[attr-defined]
    if len(given) == 2:
        return [value.isoformat(), value.fold, {"name": given[1]}]
    return [value.isoformat(), value.fold, None] if value.fold else value.isoformat()


def _read_moment(given: Any, parse: Callable[[str], _Moment]) -> _Moment:
    if not isinstance(given, list):
        return parse(_text(given))
    text, fold, zone = given
    value = parse(_text(text)).replace(fold=fold)
    match zone:
        case None:
            return value
        case str():
            return value.replace(tzinfo=_zone(zone))
        case {"name": str(name), **rest} if not rest:
            offset = value.utcoffset()
            if offset is not None:
                return value.replace(tzinfo=datetime.timezone(offset, name))
    raise ValueError("no time zone")


def _zone(key: str) -> zoneinfo.ZoneInfo:
    try:
        return zoneinfo.ZoneInfo(key)
    except (KeyError, OSError):
        raise ValueError(f"this machine does not know the time zone {key!r}") from None


def _of_base64(given: object) -> bytes:
    return base64.b64decode(_text(given), validate=True)


def _read_float(given: object) -> float:
    if given not in ("nan", "inf", "-inf"):
        raise ValueError("nan, inf or -inf")
    return float(str(given))


def _read_int(given: object) -> int:
    text = _text(given)
    if len(text) > INT_BITS_MAX:
        raise ValueError("too long")
    value = int(text)
    if str(value) != text:
        raise ValueError("not a plain decimal number")
    return value


def _read_timedelta(given: Any) -> datetime.timedelta:
    days, seconds, microseconds = given
    return datetime.timedelta(days=days, seconds=seconds, microseconds=microseconds)


#: Type -> (tag, what stands under it, the way back).
_SIMPLE: Final[dict[type, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]] = {
    datetime.datetime: (
        "$datetime",
        _moment,
        lambda given: _read_moment(given, datetime.datetime.fromisoformat),
    ),
    datetime.date: ("$date", datetime.date.isoformat, lambda given: datetime.date.fromisoformat(_text(given))),
    datetime.time: ("$time", _moment, lambda given: _read_moment(given, datetime.time.fromisoformat)),
    datetime.timedelta: ("$timedelta", lambda value: [value.days, value.seconds, value.microseconds], _read_timedelta),
    uuid.UUID: ("$uuid", str, lambda given: uuid.UUID(_text(given))),
    decimal.Decimal: ("$decimal", str, lambda given: decimal.Decimal(_text(given))),
    bytes: ("$bytes", _base64, _of_base64),
    bytearray: ("$bytearray", _base64, lambda given: bytearray(_of_base64(given))),
}
_READ: Final[dict[str, Callable[[Any], Any]]] = {
    **{tag: read for tag, _, read in _SIMPLE.values()},
    "$float": _read_float,
    "$int": _read_int,
    "$str": lambda given: _of_base64(given).decode("utf-8", "surrogatepass"),
}
