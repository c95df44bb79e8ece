"""Values to bytes and back, exactly or not at all.

An envelope is msgpack in one form only: integers as short as they go, floats as float64, strings as str, bytes as bin, maps in
the order given, nothing after the end. What msgpack has no type for is an extension type, its content in one form as well
(`extensions` has the table). `encode` stores a value only if `decode` gives the same value back, of the same type; whatever
ormsgpack would quietly turn into something else is either stored as what it is or refused with a StateTypeError that names its
path. `decode` takes only bytes that `encode` could have made: two readers never see two values in one record.

Values: None, bool, int, float (NaN and infinities too, to the bit), str, bytes, bytearray, Decimal, UUID, datetime, date, time,
timedelta; list, tuple, set, frozenset and dict of these, at most DEPTH_MAX containers deep; values of the types that were named
(`registry` says what runs of them). Keys: any of these that have a hash. Subclasses are other types. Two references to one list
come back as two lists.

Bytes from elsewhere may announce more than they hold, or nest without end: ormsgpack makes no room before it looks (from 1.13.1
on; older ones end the process over 5 bytes) and stops at 1023 levels, for which it needs 768 KiB of stack. Extension types are
opened one after another, never inside each other.

The fast encoder runs first, by itself and then with help (`nesting`). Only when both fail, or when the output may hold bytes (a
bytearray looks the same there), is the value walked in Python.
"""

from __future__ import annotations

from collections.abc import Sequence
from sys import getrefcount
from typing import Final

import ormsgpack

from aegis_store.codec.extensions import DEPTH_MAX, LEAVES, STR_KEYS, pack, write
from aegis_store.codec.lowering import demand_storable, lower
from aegis_store.codec.nesting import is_exact, pack_nested
from aegis_store.codec.offences import shown, type_name
from aegis_store.codec.registry import NO_TYPES, StateTypes
from aegis_store.codec.restoring import unpack
from aegis_store.codec.splicing import pack_spliced, splice
from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTypeError

__all__ = [
    "DEPTH_MAX", "decode", "decode_envelope", "encode", "encode_envelope", "encode_plain", "name_from_wire", "name_to_wire",
]  # fmt: skip

_packb = ormsgpack.packb

#: What the fast encoder gets right by itself, or with `write` at hand.
_FAST: Final = LEAVES | {list, dict}


def encode(value: object, *, name: str = "state", types: StateTypes = NO_TYPES) -> bytes:
    """The canonical bytes of a value. StateTypeError names what cannot be stored, as a path that starts with `name`."""
    return _encode(value, name, None, types)


def decode(data: bytes, *, types: StateTypes = NO_TYPES) -> object:
    """The value of canonical bytes.

    Corrupt: malformed, or in another form. NewerFormat: extension types of a later version. UnknownType: a value of a named
    type that is not among `types` or no longer fits it, or a time zone that this machine does not know; named by its path.
    """
    return unpack(data, types, "state")


def encode_envelope(fields: Sequence[object], names: Sequence[str], *, types: StateTypes = NO_TYPES) -> bytes:
    """The canonical bytes of the array `fields` (schema, version, the rest); `names[i]` is what messages call `fields[i]`."""
    return _encode(fields if type(fields) is list else list(fields), "envelope", names, types)


def encode_plain(fields: list[object], pieces: Sequence[bytes] | None = None) -> bytes:
    """The canonical bytes of an array, for whoever has made all of it: of lists, dicts with str for keys, None, bool, int, str
    and bytes, and of exactly these types. It is not looked at again; TypeError for some of what else there is.

    `pieces` are those of one bytes object that is the last field, behind `fields`."""
    return _packb(fields, None, STR_KEYS) if pieces is None else splice(fields, pieces)


def decode_envelope(
    data: bytes, *, schema: str, version: int, names: Sequence[str], types: StateTypes = NO_TYPES
) -> list[object]:
    """The fields of an envelope of that schema, as many as `names`, the first two (schema and version) included.

    Corrupt: malformed, of another schema, or with another number of fields. NewerFormat: a version above `version`.
    UnknownType: as of `decode`, with a path that starts with one of `names`.
    """
    fields = unpack(data, types, "envelope", names)
    if type(fields) is not list or len(fields) < 2 or type(fields[0]) is not str or type(fields[1]) is not int:
        raise Corrupt(f"a {schema} envelope does not start with its schema and version", op="decode")
    if fields[0] != schema:
        raise Corrupt(f"an envelope of schema {shown(fields[0])} stands where a {schema} belongs", op="decode")
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
    if type(name) is str and name.isascii():
        return name  # as most are, and the interpreter knows it without a look
    if not isinstance(name, str):
        raise InvalidArgument(f"{what} is of type {type_name(name)}, not str", op="encode")
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


def _encode(value: object, name: str, names: Sequence[str] | None, types: StateTypes) -> bytes:
    spliced = pack_spliced(value)
    if spliced is not None:
        return spliced
    try:
        packed = _packb(value, write, STR_KEYS)
        # The three headers of bin: without them there is no bytes in the value, so no bytearray or memoryview either.
        bare = b"\xc4" not in packed and b"\xc5" not in packed and b"\xc6" not in packed and not _may_pass_through()
        if bare or is_exact(value, _FAST):
            return packed
    except TypeError:
        nested = pack_nested(value, types)
        if nested is not None:
            return nested
    try:
        return pack(lower(value, name, names, types), write)
    except TypeError as error:
        if isinstance(error, StateTypeError):
            raise
        demand_storable(value, name, names, types)
        raise StateTypeError(
            f"{name} cannot be stored: {error}", op="encode", hint="make it of values that are stored"
        ) from None


def _may_pass_through() -> bool:
    """Whether there may be an `ormsgpack.Ext` or `Fragment` in this process. To ormsgpack they mean "these bytes, as is".

    Walking every value to look for them would take longer than encoding it. But each instance holds a reference to its type. So
    whoever imports one of the two by name makes the walk necessary, and nothing worse.
    """
    return not _COUNTED or _references() != _REFERENCES


def _references() -> int:
    return getrefcount(ormsgpack.Ext) + getrefcount(ormsgpack.Fragment)


def _are_counted() -> bool:
    """Whether instances count; in an interpreter without a global lock they need not."""
    before = _references()
    instance = ormsgpack.Fragment(b"\xc0"), ormsgpack.Ext(0, b"")
    return _references() == before + len(instance)


#: References to the two types as long as there is no instance of them, and whether that number means anything.
_REFERENCES: Final = _references()
_COUNTED: Final = _are_counted()
