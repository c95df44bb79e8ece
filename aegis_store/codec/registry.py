"""Types that a state may hold because they were named: enums, dataclasses, msgspec Structs and NamedTuples.

A name is all that is stored of a type, and it is looked up here and nowhere else: nothing is imported, nothing is searched for.
Fields are stored by name too, so a type may be moved, its fields reordered, and fields with a default added.

What runs of a named type, and nothing else of it does:

    storing      nothing: fields are read past `__getattribute__`, `__getattr__` and properties
    restoring    dataclass   nothing: made by `object.__new__`, each field set by `object.__setattr__`. `__init__`, `__new__`
                             and `__post_init__` are not called, also where fields are `init=False`
                 Struct      its constructor with every field, hence its `__post_init__` if it has one (msgspec makes no Struct
                             without); every field is set to the stored value after that
                 NamedTuple  nothing: made by `tuple.__new__`
                 enum        nothing: the member of that name is looked up; a flag of several is made by calling its type
                 any         the default factory of a field that was not stored; `__hash__` and `__eq__` where the value is a
                             key of a dict or an item of a set
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from types import MappingProxyType, MemberDescriptorType
from typing import Any, ClassVar, Final, Protocol

import msgspec

from aegis_store.codec.offences import Unstorable, name_of
from aegis_store.errors import InvalidArgument

#: Longest stored name of a type, in bytes of UTF-8.
NAME_BYTES_MAX: Final = 255

_HEAP_TYPE: Final = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement, or by a C module that allows for subclasses
#: Set by typing on instances of `Generic[…]`, and no part of the value.
_LEFT_BEHIND: Final = "__orig_class__"


class Misfit(Exception):
    """What was stored of a named type, the type can no longer hold: `what` follows the path. It never leaves the codec."""

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


class RecordShape:
    """A type with fields: what is read of it, and how it is made again."""

    kind: ClassVar[str] = "a record"

    def __init__(
        self,
        cls: type,
        names: Iterable[str],
        defaults: Mapping[str, Callable[[], object]],
        make: Callable[[Any, dict[str, object]], object],
        read: Callable[[Any, str], object] = object.__getattribute__,
    ) -> None:
        self.type = cls
        #: In the order in which they are stored.
        self.names: Final = tuple(sorted(names))
        self._known = frozenset(self.names)
        self._defaults = defaults
        self._make = make
        self._read = read
        self._computed = frozenset(_computed(cls))
        self._slots = [(name, slot) for name, slot in _slots(cls) if name not in self._known]

    def values(self, value: object) -> list[object]:
        """The values of the fields, in the order of `names`. Unstorable: a field without, or an attribute that is no field."""
        found = []
        for name in self.names:
            try:
                found.append(self._read(value, name))
            except AttributeError:
                raise Unstorable(f"has no value for its field {name}", f"set {name} before it is stored") from None
        extra = [name for name, slot in self._slots if _is_set(slot, value)]
        extra += [name for name in _attributes(value) if name not in self._known and name not in self._computed]
        if extra:
            raise Unstorable(
                f"has the attribute {extra[0]}, which is no field of {name_of(self.type)} and would be lost",
                f"make {extra[0]} a field, or a functools.cached_property",
            )
        return found

    def demand_fit(self, names: Iterable[str]) -> None:
        """Misfit unless an instance can be made of values for `names`."""
        given = set(names)
        own = name_of(self.type)
        for name in sorted(given - self._known):
            raise Misfit(f"has the field {_cut(name)}, which {own} does not have", "add the field to the type again")
        for name in sorted(self._known - given):
            if name not in self._defaults:
                raise Misfit(f"lacks the field {name}, which has no default in {own}", "give the field a default")

    def make(self, fields: dict[str, object]) -> object:
        """An instance with the values of fields that `demand_fit` let pass."""
        for name in self.names:
            if name not in fields:
                fields[name] = self._defaults[name]()
        return self._make(self.type, fields)


class EnumShape:
    """An enum: a member is stored by its name, a flag by those of its parts."""

    kind: ClassVar[str] = "an enum"

    def __init__(self, cls: type[enum.Enum]) -> None:
        self.type = cls
        self._members: Final[Mapping[str, enum.Enum]] = cls.__members__

    def names(self, value: enum.Enum) -> list[str]:
        """What is stored of a member. Unstorable: a flag with bits that have no name."""
        name: str | None = value._name_  # none where a flag has several parts, or no bit
        if name is not None and self._members.get(name) is value:
            return [name]
        if isinstance(value, enum.Flag):
            parts = [each for each in self._single_bits() if each._value_ & value._value_]
            if self._combined(parts) == value._value_:
                return sorted(str(each._name_) for each in parts)
        raise Unstorable(f"is {name_of(self.type)}({value._value_!r}), which has no name", "give it a name in its type")

    def member(self, names: list[str]) -> enum.Enum:
        """The member that was stored as `names`. Misfit: the type has no such member."""
        own = name_of(self.type)
        for name in names:
            if name not in self._members:
                raise Misfit(
                    f"is the member {_cut(name)}, which {own} does not have", "add the name to the type again, as an alias"
                )
        if len(names) == 1:
            return self._members[names[0]]
        if not issubclass(self.type, enum.Flag):
            raise Misfit(f"is a flag of {len(names)} parts, and {own} is no Flag", "name the type that was stored")
        value = self._combined([self._members[name] for name in names])
        try:
            found = self.type(value)
        except ValueError:
            found = None
        if type(found) is not self.type or found._value_ != value:
            raise Misfit(f"is a flag that {own} does not allow", "name the type that was stored")
        return found

    def _single_bits(self) -> list[enum.Flag]:
        values = [each for each in self._members.values() if isinstance(each, enum.Flag)]
        return [each for each in dict.fromkeys(values) if each._value_ > 0 and each._value_ & (each._value_ - 1) == 0]

    @staticmethod
    def _combined(members: Iterable[enum.Enum]) -> int:
        value = 0
        for each in members:
            value |= each._value_
        return value


class StateTypes:
    """The named types of a store.

    `types` are enums, dataclasses, msgspec Structs and NamedTuples, each stored under its qualified name without the module; or
    a mapping that says the names, in which a type may stand more than once: its first name is written, every one is read.
    InvalidArgument: a type of another kind, or two of one name. An instance does not change. Subclasses of a type are others.
    """

    __slots__ = ("_by_name", "_by_type")

    def __init__(self, types: Iterable[type] | Mapping[str, type] = ()) -> None:
        by_name: dict[str, Shape] = {}
        by_type: dict[type, tuple[str, Shape]] = {}
        shape: Shape
        for name, cls in types.items() if isinstance(types, Mapping) else [(_own_name(each), each) for each in types]:
            if isinstance(cls, type) and cls in by_type:
                shape = by_type[cls][1]
            else:
                shape = _shape_of(cls)
                by_type[cls] = name, shape
            _demand_name(name)
            other = by_name.setdefault(name, shape)
            if other is not shape:
                raise InvalidArgument(
                    f"two of types= are called {name}: {name_of(other.type)} and {name_of(cls)}",
                    op="open",
                    hint='name them with a mapping: types={"ticket": Ticket, "other": other.Ticket}',
                )
        self._by_name: Final[Mapping[str, Shape]] = MappingProxyType(by_name)
        self._by_type: Final[Mapping[type, tuple[str, Shape]]] = MappingProxyType(by_type)

    def of(self, cls: type) -> tuple[str, Shape] | None:
        """The name under which a type is written, and its shape; None if it was not named."""
        return self._by_type.get(cls)

    def named(self, name: str) -> Shape | None:
        """The shape of a stored name; None if no type has it."""
        return self._by_name.get(name)

    def __len__(self) -> int:
        return len(self._by_type)

    def __repr__(self) -> str:
        return f"StateTypes({{{', '.join(f'{name!r}: {name_of(shape.type)}' for name, shape in self._by_name.items())}}})"


Shape = RecordShape | EnumShape


def _own_name(cls: Any) -> str:
    # What a function calls its own is of no use to anybody else: `make.<locals>.Ticket` is stored as Ticket.
    return cls.__qualname__.rpartition("<locals>.")[2] if isinstance(cls, type) else ""


def _demand_name(name: object) -> None:
    if type(name) is not str or not 0 < len(name.encode("utf-8", "replace")) <= NAME_BYTES_MAX or not name.isprintable():
        raise InvalidArgument(
            f"a name in types= is {_cut(repr(name))}, and must be a str of 1 to {NAME_BYTES_MAX} printable bytes",
            op="open",
            hint='give it a name with a mapping: types={"ticket": Ticket}',
        )


def _shape_of(cls: Any) -> Shape:
    if isinstance(cls, type):
        if issubclass(cls, enum.Enum) and cls.__members__:
            return EnumShape(cls)
        if issubclass(cls, msgspec.Struct) and cls is not msgspec.Struct:
            return _struct_shape(cls)
        if issubclass(cls, tuple) and isinstance(getattr(cls, "_fields", None), tuple):
            return _named_tuple_shape(cls)
        if dataclasses.is_dataclass(cls):
            return _dataclass_shape(cls)
    raise InvalidArgument(
        f"types= holds {name_of(cls) if isinstance(cls, type) else _cut(repr(cls))}, "
        "which is no dataclass, msgspec Struct, NamedTuple or enum with members",
        op="open",
        hint="leave it out: every other type is stored without being named, or not at all",
    )


def _dataclass_shape(cls: Any) -> RecordShape:
    fields = dataclasses.fields(cls)
    _demand_bases(cls, {object})
    _demand_plain(cls, [field.name for field in fields])
    defaults: dict[str, Callable[[], object]] = {}
    for field in fields:
        if field.default_factory is not dataclasses.MISSING:
            defaults[field.name] = field.default_factory
        elif field.default is not dataclasses.MISSING:
            defaults[field.name] = _constant(field.default)
    return RecordShape(cls, [field.name for field in fields], defaults, _make_dataclass)


def _make_dataclass(cls: type, fields: dict[str, object]) -> object:
    made: object = object.__new__(cls)
    for name, value in fields.items():
        object.__setattr__(made, name, value)
    return made


def _struct_shape(cls: Any) -> RecordShape:
    names = cls.__struct_fields__
    given = cls.__struct_defaults__
    _demand_plain(cls, names)
    defaults: dict[str, Callable[[], object]] = {}
    # As many defaults as fields from the end; those of keyword-only fields without one are there too.
    for name, default in zip(names[len(names) - len(given) :], given, strict=True):
        if default is not msgspec.NODEFAULT:
            factory = getattr(default, "factory", None) if type(default).__name__ == "Factory" else None
            defaults[name] = _constant(default) if factory is None else factory
    return RecordShape(cls, names, defaults, _make_restored if hasattr(cls, "__post_init__") else _make_struct)


def _make_struct(cls: type, fields: dict[str, object]) -> object:
    made: object = cls(**fields)
    return made


def _make_restored(cls: Any, fields: dict[str, object]) -> object:
    try:
        made = cls(**fields)
    except Exception as error:
        raise Misfit(
            f"was refused by {name_of(cls)}.__post_init__: {_cut(str(error))}", "let it take what was stored"
        ) from error
    for name, value in fields.items():
        msgspec.structs.force_setattr(made, name, value)
    return made


def _named_tuple_shape(cls: Any) -> RecordShape:
    _demand_bases(cls, {object, tuple})
    given = getattr(cls, "_field_defaults", {})
    order = cls._fields

    def make(cls: Any, fields: dict[str, object]) -> object:
        return tuple.__new__(cls, [fields[name] for name in order])

    def read(value: tuple[object, ...], name: str) -> object:
        return tuple.__getitem__(value, order.index(name))

    return RecordShape(cls, order, {name: _constant(given[name]) for name in given}, make, read)


def _demand_bases(cls: type, allowed: set[type]) -> None:
    for base in cls.__mro__:
        if base not in allowed and not base.__flags__ & _HEAP_TYPE:
            raise InvalidArgument(
                f"types= holds {name_of(cls)}, a subclass of {name_of(base)}, whose own content would be lost",
                op="open",
                hint=f"keep the {name_of(base)} in a field",
            )


def _demand_plain(cls: type, names: Iterable[str]) -> None:
    for name in names:
        static = inspect.getattr_static(cls, name, None)
        if hasattr(type(static), "__set__") and not isinstance(static, MemberDescriptorType):
            raise InvalidArgument(
                f"types= holds {name_of(cls)}, whose field {name} is a {type(static).__name__}",
                op="open",
                hint=f"reading and setting {name} would run code: make it a plain field, under another name than the property",
            )


class _Slot(Protocol):
    def __get__(self, instance: object, owner: type | None = None, /) -> object: ...


def _slots(cls: type) -> list[tuple[str, _Slot]]:
    return [
        (name, each)
        for base in cls.__mro__
        for name, each in vars(base).items()
        if isinstance(each, MemberDescriptorType) and base.__flags__ & _HEAP_TYPE and not name.startswith("__")
    ]


def _computed(cls: type) -> list[str]:
    found = [name for base in cls.__mro__ for name, each in vars(base).items() if isinstance(each, cached_property)]
    return [*found, _LEFT_BEHIND]


def _is_set(slot: _Slot, value: object) -> bool:
    try:
        slot.__get__(value)
    except AttributeError:
        return False
    return True


def _attributes(value: object) -> Iterable[str]:
    try:
        found: dict[str, object] = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return ()
    return found


def _constant(value: object) -> Callable[[], object]:
    return lambda: value


def _cut(text: str) -> str:
    return text if len(text) <= 64 else text[:64] + "…"


#: What a store has that was opened without types=.
NO_TYPES: Final = StateTypes()
