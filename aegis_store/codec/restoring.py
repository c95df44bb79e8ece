"""Bytes on their way in: one level of extension types after another, each in the one form, and only then the values.

Whatever holds other values is first a `Sealed`: its tag and its bytes. Opening one gives a level of its own, which is unpacked,
packed again and compared; so the form is judged by what is stored, and not by objects whose types may have changed since.
Levels are opened from the outside to the inside without recursion, however deep hostile bytes nest; names are looked up and
compared with their types on the way. Nothing is made before all of it has been found to be in order. Then it is made from the
inside to the outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Sized
from itertools import pairwise
from typing import Any, Final

import ormsgpack

from aegis_store.codec.extensions import (
    ANY_KEYS,
    BYTEARRAY,
    DEPTH_MAX,
    DICT,
    ENUM,
    LATER,
    LEAVES,
    RECORD,
    SET,
    STR_KEYS,
    TUPLE,
    UnknownZone,
    is_plain_key,
    read,
    write,
)
from aegis_store.codec.nesting import is_exact
from aegis_store.codec.offences import FIELD, ITEM, KEY, MEMBER, ROOT, Place, Step, name_of, shown
from aegis_store.codec.registry import EnumShape, Misfit, RecordShape, StateTypes
from aegis_store.codec.splicing import LARGE_BYTES, pack_spliced
from aegis_store.errors import Corrupt, NewerFormat, UnknownType

_packb = ormsgpack.packb
_unpackb = ormsgpack.unpackb


class Sealed:
    """An extension type that was not opened yet. `zone` names a time zone that is not known here: that one never will be."""

    __slots__ = ("data", "tag", "zone")

    def __init__(self, tag: int, data: bytes, zone: str | None = None) -> None:
        self.tag = tag
        self.data = data
        self.zone = zone

    def __repr__(self) -> str:
        return "…"  # as a key in a message


_READ: Final = LEAVES | {list, dict, Sealed}


def unpack(data: bytes, types: StateTypes, name: str, names: Sequence[str] = ()) -> object:
    """The value of canonical bytes; Corrupt, NewerFormat and UnknownType as of `canonical.decode`.

    `name` is what messages call the value; where it is a list of as many values, `names` are what they call those.
    """
    value, sealed = _read_level(data)
    return _Walk(types).restore(value, name, names) if sealed else value


def _read_level(data: bytes) -> tuple[Any, bool]:
    """The value of one level, and whether something in it is sealed. Corrupt unless its bytes are in the one form."""
    sealed: list[Sealed] = []

    def open_later(tag: int, content: bytes) -> object:
        if tag not in LATER:
            try:
                return read(tag, content)
            except UnknownZone as zone:
                each = Sealed(tag, content, str(zone))
        else:
            each = Sealed(tag, content)
        sealed.append(each)
        return each

    try:
        value = _unpackb(data, ext_hook=open_later, option=ormsgpack.OPT_NON_STR_KEYS)
    except ValueError as error:
        raise _unreadable(data, error) from None
    again = None if len(data) < LARGE_BYTES or sealed else pack_spliced(value)
    if (_pack_again(value) if again is None else again) != data:
        raise Corrupt("an envelope is msgpack, but not in the one form that is written", op="decode")
    return value, bool(sealed)


def _pack_again(value: object) -> bytes:
    """The bytes of a level, or nothing if it has a key that is never written."""
    try:
        return _packb(value, _seal_again, STR_KEYS)
    except TypeError:
        try:
            packed = _packb(value, _seal_again, ANY_KEYS)
        except TypeError:
            return b""
    return packed if is_exact(value, _READ) else b""


def _seal_again(value: object) -> ormsgpack.Ext:
    return ormsgpack.Ext(value.tag, value.data) if type(value) is Sealed else write(value)


def _unreadable(data: bytes, reason: object) -> Corrupt | NewerFormat:
    """The error for bytes that could not be decoded. ormsgpack hides what its hook raised: the tags are asked for again."""
    wrong: list[int] = []
    later: list[int] = []

    def look(tag: int, content: bytes) -> None:
        try:
            if tag not in LATER:
                read(tag, content)
        except LookupError:
            later.append(tag)
        except Exception:  # UnknownZone included: it did not stop the first reading
            wrong.append(tag)

    try:
        _unpackb(data, ext_hook=look, option=ormsgpack.OPT_NON_STR_KEYS)
    except ValueError:
        return Corrupt(f"an envelope is not msgpack: {reason}", op="decode")
    if later:
        return NewerFormat(
            f"an envelope holds values of extension type {later[0]}, which this version does not know",
            op="decode",
            hint="read it with a later aegis-store: pip install --upgrade aegis-store",
        )
    what = f"a value of extension type {wrong[0]} that was never written" if wrong else f"what cannot be read: {reason}"
    return Corrupt(f"an envelope holds {what}", op="decode")


class _Walk:
    """One reading of nested levels. Places are walked in the order of the document, so the first misfit is the one named."""

    def __init__(self, types: StateTypes) -> None:
        self._types = types
        self._met: list[tuple[Place, Callable[[Any], object]]] = []  # what was opened, and what makes it of its items
        self._pending: list[Place] = []

    def restore(self, value: object, name: str, names: Sequence[str]) -> object:
        top = Place(None, name, ROOT, None, None)
        top.items = [value]
        root = Place(value, name, ROOT, top, 0)
        if type(value) is list and len(value) == len(names):
            self._look_into(root, value, [(each, names[at], ROOT, at) for at, each in enumerate(value)])
        else:
            self._pending.append(root)
        while self._pending:
            place = self._pending.pop()
            value, place.value = place.value, None
            try:
                if type(value) is Sealed:
                    self._open(place, value)
                elif type(value) is list:
                    below: list[Step] = [(each, at, ITEM, at) for at, each in enumerate(value) if type(each) not in LEAVES]
                    self._look_into(place, value, below)
                elif type(value) is dict:
                    below = [(each, key, ITEM, key) for key, each in value.items() if type(each) not in LEAVES]
                    self._look_into(place, value, below)
            except Misfit as misfit:
                raise _unknown(place, misfit) from None
        for place, make in reversed(self._met):
            try:
                place.become(make(place.items))
            except Misfit as misfit:
                raise _unknown(place, misfit) from misfit.__cause__
            except TypeError as error:
                raise self._unhashable(place, error) from error
        restored: object = top.items[0]
        return restored

    def _look_into(self, place: Place, items: Any, below: list[Step]) -> None:
        if place.depth >= DEPTH_MAX:
            raise Corrupt(f"an envelope is nested deeper than {DEPTH_MAX} levels", op="decode")
        place.items = items
        for value, step, form, slot in reversed(below):
            if type(value) not in LEAVES:
                self._pending.append(Place(value, step, form, place, slot))

    def _open(self, place: Place, sealed: Sealed) -> None:
        if sealed.zone is not None:
            raise Misfit(
                f"has the time zone {shown(sealed.zone)}, which this machine does not know",
                "install time zone data: pip install tzdata",
            )
        if sealed.tag == BYTEARRAY:
            place.become(bytearray(sealed.data))
            return
        if place.depth >= DEPTH_MAX:
            raise Corrupt(f"an envelope is nested deeper than {DEPTH_MAX} levels", op="decode")
        items, _ = _read_level(sealed.data)
        sealed.data = b""  # else every level would be kept until the innermost one is made: bytes times levels
        if type(items) is not list:
            raise _never_written(sealed.tag)
        if sealed.tag == TUPLE:
            self._met.append((place, tuple))
            self._look_into(place, items, [(each, at, ITEM, at) for at, each in enumerate(items)])
        elif sealed.tag == DICT:
            self._open_dict(place, items)
        elif sealed.tag == RECORD:
            self._open_record(place, items)
        elif sealed.tag == ENUM:
            self._find_member(place, items)
        else:
            written = [_pack_again(each) for each in items]
            if any(one > other for one, other in pairwise(written)):
                raise _never_written(sealed.tag)
            self._met.append((place, _make_set if sealed.tag == SET else _make_frozenset))
            self._look_into(place, items, [(each, at, MEMBER, at) for at, each in enumerate(items)])

    def _open_dict(self, place: Place, items: list[Any]) -> None:
        if len(items) % 2 or all(map(is_plain_key, items[::2])):
            raise _never_written(DICT)
        self._met.append((place, _make_dict))
        below: list[Step] = []
        for at in range(0, len(items), 2):
            below += [(items[at], items[at], KEY, at), (items[at + 1], items[at], ITEM, at + 1)]
        self._look_into(place, items, below)

    def _open_record(self, place: Place, items: list[Any]) -> None:
        names = items[1::2]
        if len(items) % 2 == 0 or type(items[0]) is not str or not _are_ascending(names):
            raise _never_written(RECORD)
        shape = self._shape(items[0])
        if not isinstance(shape, RecordShape):
            raise _other_kind("a record", shape)
        shape.demand_fit(names)
        make = shape.make
        self._met.append((place, lambda items: make(dict(zip(items[1::2], items[2::2], strict=True)))))
        self._look_into(place, items, [(items[2 * at + 2], name, FIELD, 2 * at + 2) for at, name in enumerate(names)])

    def _find_member(self, place: Place, items: list[Any]) -> None:
        if not items or type(items[0]) is not str or not _are_ascending(items[1:]):
            raise _never_written(ENUM)
        shape = self._shape(items[0])
        if not isinstance(shape, EnumShape):
            raise _other_kind("an enum", shape)
        place.become(shape.member(items[1:]))

    def _shape(self, name: str) -> RecordShape | EnumShape:
        shape = self._types.named(name)
        if shape is None:
            is_a_name = all(part.isidentifier() for part in name.split("."))
            types = f"[{name}]" if is_a_name else f"{{{shown(name)}: …}}"
            raise Misfit(
                f"is of the named type {name if is_a_name else shown(name)}, and no type was named so",
                f"name it when the store is opened: aegis_store.open(…, types={types})",
            )
        return shape

    def _unhashable(self, place: Place, error: TypeError) -> Corrupt | UnknownType:
        """A key or an item without a hash: never written, unless it is of a named type that had one then."""
        pending = list(place.items)
        while pending:
            each = pending.pop()
            if self._types.of(type(each)) is not None and not _has_hash(each):
                return UnknownType(
                    place.says(f"holds a {name_of(type(each))} as a key or in a set, and that has no hash: {error}"),
                    op="decode",
                    hint="give the type a hash: @dataclass(frozen=True)",
                )
            if type(each) in (tuple, frozenset):
                pending += each
        return Corrupt(f"an envelope holds a key or an item that was never written: {error}", op="decode")


def _has_hash(value: object) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _make_set(items: list[object]) -> set[object]:
    made = set(items)
    _demand_all(made, len(items))
    return made


def _make_frozenset(items: list[object]) -> frozenset[object]:
    made = frozenset(items)
    _demand_all(made, len(items))
    return made


def _make_dict(items: list[object]) -> dict[object, object]:
    made = dict(zip(items[::2], items[1::2], strict=True))
    _demand_all(made, len(items) // 2)
    return made


def _demand_all(made: Sized, count: int) -> None:
    if len(made) != count:
        raise Corrupt("an envelope holds a key or an item twice", op="decode")


def _are_ascending(names: list[Any]) -> bool:
    return all(type(each) is str for each in names) and all(one < other for one, other in pairwise(names))


def _never_written(tag: int) -> Corrupt:
    return Corrupt(f"an envelope holds a value of extension type {tag} that was never written", op="decode")


def _other_kind(stored: str, shape: RecordShape | EnumShape) -> Misfit:
    return Misfit(f"was stored as {stored}, and {name_of(shape.type)} is {shape.kind}", "name the type that was stored")


def _unknown(place: Place, misfit: Misfit) -> UnknownType:
    return UnknownType(place.says(misfit.what), op="decode", hint=misfit.remedy)
