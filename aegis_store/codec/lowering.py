"""A value on its way out: what msgpack has no type for becomes an extension type, from the inside to the outside.

One walk down in the order of the document, without recursion, which also finds the first thing that cannot be stored and knows
its path; then the containers that it met, last ones first, so that what a container holds is bytes before the container is.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Final

import ormsgpack

from aegis_store.codec.extensions import (
    DEPTH_MAX,
    DICT,
    ENUM,
    FROZENSET,
    LEAVES,
    PLAIN,
    RECORD,
    SET,
    TUPLE,
    is_plain_key,
    pack,
    write,
)
from aegis_store.codec.offences import FIELD, ITEM, KEY, MEMBER, ROOT, Place, Step, Unstorable
from aegis_store.codec.registry import RecordShape, StateTypes
from aegis_store.errors import StateTypeError

_TAGS: Final[dict[type, int]] = {tuple: TUPLE, set: SET, frozenset: FROZENSET}
_NO_TAG: Final = -1


def lower(value: object, name: str, names: Sequence[str] | None, types: StateTypes) -> object:
    """A value that ormsgpack packs without help and that unpacks to the same: the same lists and dicts where nothing in them
    had to change, never changed themselves.

    `name` is what messages call the value; with `names` it is a list, and they are what messages call its items.
    StateTypeError for the first value, in the order of the document, that cannot be stored.
    """
    try:
        return _Walk(types, every=False).lower(value, name, names)
    except StateTypeError:
        # Before this value there may be another that was passed over because its type is a plain one.
        demand_storable(value, name, names, types)
        raise


def demand_storable(value: object, name: str, names: Sequence[str] | None, types: StateTypes) -> None:
    """StateTypeError as above, with every str looked at."""
    _Walk(types, every=True).lower(value, name, names)


class _Walk:
    def __init__(self, types: StateTypes, *, every: bool) -> None:
        self._types = types
        self._every = every
        self._levels_max = DEPTH_MAX
        self._met: list[tuple[Place, int]] = []  # containers with the tags that they become, or _NO_TAG
        self._pending: list[Place] = []

    def lower(self, value: object, name: str, names: Sequence[str] | None) -> object:
        top = Place(None, name, ROOT, None, None)
        top.items = [value]
        root = Place(value, name, ROOT, top, 0)
        if names is None:
            self._pending.append(root)
        else:
            self._levels_max -= 1
            root.items = list(root.value)
            self._met.append((root, _NO_TAG))
            self._pending += [Place(each, names[at], ROOT, root, at) for at, each in enumerate(root.items)]
            self._pending.reverse()
        while self._pending:
            place = self._pending.pop()
            try:
                self._visit(place)
            except Unstorable as fault:
                raise StateTypeError(place.says(fault.what), op="encode", hint=fault.remedy) from None
        for place, tag in reversed(self._met):
            place.become(_lowered(place.items, tag))
        lowered: object = top.items[0]
        return lowered

    def _visit(self, place: Place) -> None:
        value = place.value
        kind = type(value)
        if kind in PLAIN:
            if kind is str:
                _demand_unicode(value)
            elif kind is int and not is_plain_key(value):
                place.become(write(value))
        elif kind is list:
            self._demand_room(place)
            if self._every or not LEAVES.issuperset(map(type, value)):
                self._open(place, _NO_TAG, list(value), [(each, at, ITEM, at) for at, each in enumerate(value)])
        elif kind is dict:
            self._demand_room(place)
            self._visit_dict(place, value)
        elif kind in _TAGS:
            self._demand_room(place)
            form = ITEM if kind is tuple else MEMBER
            items = list(value)
            self._open(place, _TAGS[kind], items, [(each, at, form, at) for at, each in enumerate(items)])
        else:
            self._visit_other(place, value)

    def _visit_dict(self, place: Place, value: dict[object, object]) -> None:
        plain = _has_plain_keys(value)
        if plain and not self._every:
            if not LEAVES.issuperset(map(type, value.values())):
                self._open(place, _NO_TAG, dict(value), [(each, key, ITEM, key) for key, each in value.items()])
            return
        below: list[Step] = []
        for at, (key, each) in enumerate(value.items()):
            below.append((key, key, KEY, 2 * at))
            below.append((each, key, ITEM, 2 * at + 1))
        # Where every value is looked at, nothing is made of them: it may then be a list that stands for a dict.
        self._open(place, _NO_TAG if plain else DICT, [each for pair in value.items() for each in pair], below)

    def _visit_other(self, place: Place, value: object) -> None:
        found = self._types.of(type(value))
        if found is None:
            place.become(write(value))
            return
        name, shape = found
        if isinstance(shape, RecordShape):
            self._demand_room(place)
            values = shape.values(value)
            items: list[object] = [name]
            for field, each in zip(shape.names, values, strict=True):
                items += (field, each)
            below: list[Step] = [
                (each, field, FIELD, 2 * at + 2) for at, (field, each) in enumerate(zip(shape.names, values, strict=True))
            ]
            self._open(place, RECORD, items, below)
        elif isinstance(value, Enum):
            place.become(ormsgpack.Ext(ENUM, pack([name, *shape.names(value)], write)))

    def _demand_room(self, place: Place) -> None:
        if place.depth >= DEPTH_MAX:
            raise Unstorable(
                f"is nested deeper than {self._levels_max} levels, or holds itself",
                "flatten it, or store the inner part as bytes",
            )

    def _open(self, place: Place, tag: int, items: list[object] | dict[object, object], below: list[Step]) -> None:
        place.items = items
        self._met.append((place, tag))
        for value, step, form, slot in reversed(below):
            if self._every or type(value) not in LEAVES:
                self._pending.append(Place(value, step, form, place, slot))


def _lowered(items: list[object], tag: int) -> object:
    if tag == _NO_TAG:
        return items
    if tag in (SET, FROZENSET):
        items = [ormsgpack.Fragment(each) for each in sorted(pack(each, write) for each in items)]
    return ormsgpack.Ext(tag, pack(items, write))


def _has_plain_keys(value: dict[object, object]) -> bool:
    kinds = set(map(type, value))
    return kinds <= PLAIN and (int not in kinds or all(map(is_plain_key, value)))


def _demand_unicode(value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise Unstorable(
            f"is a str with a lone surrogate at {error.start}, which UTF-8 cannot hold",
            'store it as bytes: .encode("utf-8", "surrogatepass")',
        ) from None
