"""Values to bytes and back, exactly or not at all.

An envelope is msgpack in one form only: integers as short as they go, floats as float64, strings as str, bytes as bin, maps in
the order given, nothing after the end. `encode` stores a value only if `decode` gives the same value back; whatever ormsgpack
would quietly turn into something else (a tuple into a list, a bytearray into bytes, an enum into its value) is refused with a
StateTypeError that names its path. `decode` takes only bytes that `encode` could have made: two readers never see two values in
one record.

Values: None, bool, int of 64 bits (-2**63 to 2**64 - 1), float (NaN and infinities too), str, bytes, list and dict of these, at
most DEPTH_MAX containers deep. Keys: the same scalars. Subclasses are other types.

More types come as msgpack extension types: `_extend` turns a value into an `ormsgpack.Ext`, `_restore` does the way back. An
`ormsgpack.Ext` or `Fragment` inside a value means "these bytes as they stand" to ormsgpack, and is not looked for.

Bytes from elsewhere may announce more than they hold, or nest without end: ormsgpack makes no room before it looks (from 1.13.1
on; older ones end the process over 5 bytes) and stops at 1023 levels, for which it needs 768 KiB of stack.

The fast encoder runs first. Only when it fails, or when its output may hold bytes (a bytearray looks the same there), is the
value walked in Python.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from gc import get_referents
from typing import Any, Final, NoReturn

import ormsgpack

from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTypeError

#: Containers inside each other, the envelope's own array included. ormsgpack encodes no more, so neither is more decoded.
DEPTH_MAX: Final = 255

_STR_KEYS: Final = (
    ormsgpack.OPT_PASSTHROUGH_BIG_INT
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)
_ANY_KEYS: Final = _STR_KEYS | ormsgpack.OPT_NON_STR_KEYS

_KEY_TYPES: Final = frozenset({str, int, bytes, bool, float, type(None)})
_VALUE_TYPES: Final = _KEY_TYPES | {list, dict}

#: Longest key shown in a path, in characters, and most steps of it (even).
_KEY_SHOWN_MAX: Final = 64
_STEPS_SHOWN_MAX: Final = 16

_packb = ormsgpack.packb
_unpackb = ormsgpack.unpackb


def encode(value: object, *, name: str = "state") -> bytes:
    """The canonical bytes of a value. StateTypeError names what cannot be stored, as a path that starts with `name`."""
    return _encode(value, name, None)


def decode(data: bytes) -> object:
    """The value of canonical bytes. Corrupt: malformed, or in another form. NewerFormat: extension types of a later version."""
    try:
        value = _unpackb(data, ext_hook=_restore, option=ormsgpack.OPT_NON_STR_KEYS)
    except ValueError as error:
        raise _unreadable(data, error) from None
    try:
        again = _packb(value, _extend, _STR_KEYS)
    except TypeError:
        again = _repack(value)
    if again != data:
        raise Corrupt("an envelope is msgpack, but not in the one form that is written", op="decode")
    return value


def encode_envelope(fields: Sequence[object], names: Sequence[str]) -> bytes:
    """The canonical bytes of the array `fields` (schema, version, the rest); `names[i]` is what messages call `fields[i]`."""
    return _encode(fields if type(fields) is list else list(fields), "envelope", names)


def decode_envelope(data: bytes, *, schema: str, version: int, names: Sequence[str]) -> list[object]:
    """The fields of an envelope of that schema, as many as `names`, the first two (schema and version) included.

    Corrupt: malformed, of another schema, or with another number of fields. NewerFormat: a version above `version`.
    """
    fields = decode(data)
    if type(fields) is not list or len(fields) < 2 or type(fields[0]) is not str or type(fields[1]) is not int:
        raise Corrupt(f"a {schema} envelope does not start with its schema and version", op="decode")
    if fields[0] != schema:
        raise Corrupt(f"an envelope of schema {fields[0][:_KEY_SHOWN_MAX]!r} stands where a {schema} belongs", op="decode")
    if fields[1] > version:
        raise NewerFormat(
            f"a {schema} envelope has version {fields[1]}, and this package reads up to {version}",
            op="decode",
            hint="read it with a later aegis-store: pip install --upgrade aegis-store",
        )
    if fields[1] < version or len(fields) != len(names):
        raise Corrupt(f"a {schema} envelope has version {fields[1]} and {len(fields)} fields, not {len(names)}", op="decode")
    return fields


def name_to_wire(name: str, *, what: str) -> str | bytes:
    """How an envelope stores a name of any characters: as itself, or with lone surrogates as UTF-8 that passes them through.

    InvalidArgument if it is no str; a subclass of str is stored as the str that it is.
    """
    if not isinstance(name, str):
        raise InvalidArgument(f"{what} is of type {_type_name(name)}, not str", op="encode")
    try:
        return str.encode(name).decode()
    except UnicodeEncodeError:
        return name.encode("utf-8", "surrogatepass")


def name_from_wire(stored: object, *, what: str) -> str:
    """The name that `name_to_wire` stored. Corrupt if it is anything else, a bin that could have been a str included."""
    if type(stored) is str:
        return stored
    if type(stored) is bytes:
        try:
            name = stored.decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise Corrupt(f"{what} is not UTF-8", op="decode") from None
        if type(name_to_wire(name, what=what)) is bytes:
            return name
    raise Corrupt(f"{what} is not a name", op="decode")


def _extend(value: object) -> NoReturn:
    """Called by ormsgpack for a value that msgpack has no type for. The seam for extension types: return an `ormsgpack.Ext`."""
    raise TypeError(type(value).__name__)


def _restore(tag: int, data: bytes) -> NoReturn:
    """Called by ormsgpack for an extension type. The seam for extension types: return the value, or raise for unknown tags."""
    raise LookupError(tag)


def _encode(value: object, name: str, names: Sequence[str] | None) -> bytes:
    try:
        packed = _packb(value, _extend, _STR_KEYS)
        # The three headers of bin: without them there is no bytes in the value, so no bytearray or memoryview either.
        exact = (b"\xc4" not in packed and b"\xc5" not in packed and b"\xc6" not in packed) or _is_exact(value)
    except TypeError:
        try:
            packed = _packb(value, _extend, _ANY_KEYS)
        except TypeError as error:
            raise _offence(value, name, names, str(error)) from None
        exact = _is_exact(value)
    if not exact:
        raise _offence(value, name, names, "a type that would come back as another")
    return packed


def _unreadable(data: bytes, reason: object) -> Corrupt | NewerFormat:
    """The error for bytes that could not be decoded. ormsgpack hides what `_restore` raised: the tags are asked for again."""
    tags: list[int] = []
    try:
        _unpackb(data, ext_hook=lambda tag, _: tags.append(tag), option=ormsgpack.OPT_NON_STR_KEYS)
    except ValueError:
        return Corrupt(f"an envelope is not msgpack: {reason}", op="decode")
    return NewerFormat(
        f"an envelope holds values of extension type {tags[0]}, which this version does not know",
        op="decode",
        hint="read it with a later aegis-store: pip install --upgrade aegis-store",
    )


def _repack(value: object) -> bytes:
    """The bytes of a decoded value that has other keys than strings, or nothing if `encode` would not store one of them."""
    try:
        packed = _packb(value, _extend, _ANY_KEYS)
    except TypeError:
        return b""
    return packed if _is_exact(value) else b""


def _is_exact(value: object) -> bool:
    """Whether a value that could be encoded, hence is finite, consists of the types that come back as they went."""
    level = [value]
    while level:
        if not _VALUE_TYPES.issuperset(map(type, level)):
            return False
        # What lists and dicts hold, straight from the interpreter: 8 times faster than a loop. Scalars hold nothing; a dict
        # with other keys than str names its keys too.
        level = get_referents(*level)
    return True


class _Place:
    """A value on the way down, with the step that led to it, so that a path is built only for the one that is named."""

    __slots__ = ("above", "depth", "step", "value")

    def __init__(self, value: Any, step: object, above: _Place | None, depth: int) -> None:
        self.value = value
        self.step = step
        self.above = above
        self.depth = depth

    def path(self) -> str:
        steps: list[str] = []
        place = self
        while place.above is not None:
            steps.append(f"[{_shown(place.step)}]")
            place = place.above
        if len(steps) > _STEPS_SHOWN_MAX:
            steps[_STEPS_SHOWN_MAX // 2 : -_STEPS_SHOWN_MAX // 2] = ["…"]
        return str(place.step) + "".join(reversed(steps))


def _offence(value: object, name: str, names: Sequence[str] | None, reason: str) -> StateTypeError:
    """The error for the first value, in the order of the document, that cannot be stored."""
    pending = [_Place(value, name, None, 0)]
    if names is not None and isinstance(value, list):
        pending = [_Place(each, step, None, 1) for each, step in zip(value, names, strict=True)]
        pending.reverse()
    while pending:
        place = pending.pop()
        value = place.value
        fault = _fault(value)
        if fault is None and type(value) in (list, dict) and place.depth >= DEPTH_MAX:
            levels = DEPTH_MAX if names is None else DEPTH_MAX - 1
            fault = f"is nested deeper than {levels} levels, or holds itself", "flatten it, or store the inner part as bytes"
        if fault is not None:
            what, remedy = fault
            return StateTypeError(f"{place.path()} {what}", op="encode", hint=remedy)
        below: list[_Place] = []
        if type(value) is list:
            below = [_Place(each, index, place, place.depth + 1) for index, each in enumerate(value)]
        elif type(value) is dict:
            for key, each in value.items():
                fault = _key_fault(key)
                if fault is not None:
                    what, remedy = fault
                    return StateTypeError(f"a key of {place.path()}, {_shown(key)}, {what}", op="encode", hint=remedy)
                below.append(_Place(each, key, place, place.depth + 1))
        below.reverse()
        pending += below
    return StateTypeError(f"{name} cannot be stored: {reason}", op="encode", hint="make it of plain values")


def _shown(step: object) -> str:
    if type(step) is str:
        cut = step if len(step) <= _KEY_SHOWN_MAX else step[:_KEY_SHOWN_MAX] + "…"
        return json.dumps(cut, ensure_ascii=not cut.isprintable())
    shown = repr(step)
    return shown if len(shown) <= _KEY_SHOWN_MAX else shown[:_KEY_SHOWN_MAX] + "…"


def _key_fault(key: object) -> tuple[str, str] | None:
    """What is wrong with a key, and what to do about it."""
    if type(key) not in _KEY_TYPES:
        return f"is of type {_type_name(key)}, which is not stored as a key", "use a str as the key"
    return _fault(key)


def _fault(value: Any) -> tuple[str, str] | None:
    """What is wrong with one value by itself, and what to do about it."""
    kind = type(value)
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return (
                f"is a str with a lone surrogate at {error.start}, which UTF-8 cannot hold",
                'store it as bytes: .encode("utf-8", "surrogatepass")',
            )
        return None
    if kind is int:
        if -(2**63) <= value < 2**64:
            return None
        return "is an int of more than 64 bits", "store its str()"
    if kind in _VALUE_TYPES:
        return None
    return f"is of type {_type_name(value)}, which is not stored", _remedy(value)


def _type_name(value: object) -> str:
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


#: What to do about a type, by name, so that nothing is imported for a message. The first one among a type's bases counts.
_REMEDIES: Final = {
    "enum.Enum": "store its .value",
    "numpy.generic": "store its .item()",
    "numpy.ndarray": "store its .tolist()",
    "pydantic.main.BaseModel": "store its .model_dump()",
    "msgspec.Struct": "store msgspec.to_builtins() of it",
    "datetime.date": "store its .isoformat()",
    "datetime.time": "store its .isoformat()",
    "datetime.timedelta": "store its .total_seconds()",
    "uuid.UUID": "store its str()",
    "decimal.Decimal": "store its str()",
    "fractions.Fraction": "store its str()",
    "pathlib.PurePath": "store its str()",
    "pathlib._local.PurePath": "store its str()",
    "builtins.tuple": "make it a list",
    "builtins.set": "make it a sorted list",
    "builtins.frozenset": "make it a sorted list",
    "builtins.bytearray": "make it bytes",
    "builtins.memoryview": "make it bytes",
    "builtins.complex": "store a list of its two parts",
    "builtins.int": "make it a plain int",
    "builtins.float": "make it a plain float",
    "builtins.str": "make it a plain str",
    "builtins.bytes": "make it plain bytes",
    "builtins.list": "make it a plain list",
    "builtins.dict": "make it a plain dict",
}


def _remedy(value: object) -> str:
    if hasattr(type(value), "__dataclass_fields__"):
        return "store dataclasses.asdict() of it"
    bases = {f"{base.__module__}.{base.__qualname__}" for base in type(value).__mro__}
    return next((remedy for base, remedy in _REMEDIES.items() if base in bases), "make it of plain values")
