"""Values of every kind that a state may hold, and what it means for two of them to be the same."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import struct
import zoneinfo
from typing import NamedTuple

import msgspec
from hypothesis import strategies as st

from aegis_store.codec.registry import StateTypes


class Colour(enum.Enum):
    RED = "red"
    BLUE = (0, 0, 255)
    ROUGE = "red"


class Level(enum.IntEnum):
    LOW = 5
    HIGH = 9


class Mode(enum.StrEnum):
    READ = "r"


class Right(enum.Flag):
    SEE = 1
    CHANGE = 2
    OWN = 7


@dataclasses.dataclass
class Ticket:
    title: object
    tags: object = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    x: object
    y: object = 0


class Call(msgspec.Struct, frozen=True, kw_only=True):
    tool: object
    args: object = None


class Turn(msgspec.Struct, array_like=True, tag="turn", rename="camel", forbid_unknown_fields=True):
    said_by: object
    text: object = ""


class Pair(NamedTuple):
    one: object
    other: object = None


NAMED = StateTypes([Colour, Level, Mode, Right, Ticket, Spot, Call, Turn, Pair])


def exactly(left, right):
    """Whether two values are the same to the bit, type by type, in order where there is one."""
    kind = type(left)
    if kind is not type(right):
        return False
    if kind is float:
        return struct.pack("<d", left) == struct.pack("<d", right)
    if kind is decimal.Decimal:
        return left.as_tuple() == right.as_tuple()
    if kind in (datetime.datetime, datetime.time):
        return (left.replace(tzinfo=None), left.fold) == (right.replace(tzinfo=None), right.fold) and same_zone(left, right)
    if kind in (list, tuple, Pair):
        return len(left) == len(right) and all(map(exactly, left, right))
    if kind is dict:
        return exactly(list(left), list(right)) and exactly(list(left.values()), list(right.values()))
    if kind in (set, frozenset):
        return len(left) == len(right) and all(any(exactly(one, other) for other in right) for one in left)
    if dataclasses.is_dataclass(kind):
        return all(exactly(getattr(left, each.name), getattr(right, each.name)) for each in dataclasses.fields(kind))
    if issubclass(kind, msgspec.Struct):
        return all(exactly(getattr(left, name), getattr(right, name)) for name in kind.__struct_fields__)
    return left is right if isinstance(left, enum.Enum) else left == right


def same_zone(left, right):
    one, other = left.tzinfo, right.tzinfo
    if one is None or type(one) is not type(other):
        return one is other
    return one is other if type(one) is zoneinfo.ZoneInfo else one.__getinitargs__() == other.__getinitargs__()


#: Zones of the IANA database, as far as the machine has it.
KEYS = sorted({"UTC", "Europe/Berlin", "America/New_York", "Etc/GMT+5"} & zoneinfo.available_timezones())

texts = st.text(st.characters(exclude_categories=["Cs"]))
plain_scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | texts | st.binary()
offsets = st.timedeltas(datetime.timedelta(hours=-23, minutes=-59), datetime.timedelta(hours=23, minutes=59))
zones = (
    st.none()
    | st.just(datetime.UTC)
    | st.builds(datetime.timezone, offsets)
    | st.builds(datetime.timezone, offsets, texts)
    | st.sampled_from(KEYS).map(zoneinfo.ZoneInfo)
)
folds = st.integers(0, 1)
decimals = st.decimals() | st.builds(
    decimal.Decimal,
    st.tuples(
        st.integers(0, 1),
        st.lists(st.integers(0, 9), max_size=40).map(tuple),
        st.integers(-6000, 6000) | st.sampled_from(["F", "n", "N"]),
    ),
)
members = st.sampled_from([*Colour, *Level, *Mode, *Right, Right(0), Right.SEE | Right.CHANGE])
scalars = (
    plain_scalars
    | st.integers()
    | st.integers(-(2**300), 2**300)
    | decimals
    | st.uuids()
    | st.dates()
    | st.builds(lambda time, zone, fold: time.replace(tzinfo=zone, fold=fold), st.times(), zones, folds)
    | st.builds(lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.datetimes(), zones, folds)
    | st.timedeltas()
    | members
)
hashables = st.recursive(
    scalars.filter(lambda value: not (type(value) is decimal.Decimal and value.is_snan())),
    lambda inner: st.lists(inner).map(tuple) | st.frozensets(inner) | st.builds(Spot, x=inner) | st.builds(Pair, inner, inner),
    max_leaves=4,
)
values = st.recursive(
    scalars | st.binary().map(bytearray) | hashables,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.sets(hashables)
        | st.dictionaries(texts, inner)
        | st.dictionaries(plain_scalars, inner)
        | st.dictionaries(hashables, inner)
        | st.builds(Ticket, inner, inner)
        | st.builds(Spot, x=inner, y=inner)
        | st.builds(Call, tool=inner)
        | st.builds(Turn, inner, inner)
        | st.builds(Pair, inner, inner)
    ),
    max_leaves=25,
)
