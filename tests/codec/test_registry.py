"""Named types come back without their code being run, and a type that has changed too much is named with its path."""

import dataclasses
import enum
import functools
import subprocess
import sys
import typing
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from aegis_store.codec import registry
from aegis_store.codec.canonical import decode, encode
from aegis_store.codec.registry import NO_TYPES, StateTypes
from aegis_store.errors import InvalidArgument, StateTypeError, UnknownType
from tests.values import NAMED, Call, Colour, Level, Mode, Pair, Right, Spot, Ticket, Turn, exactly

RAN = []


def ran(what):
    RAN.append(what)
    return what


@pytest.fixture(autouse=True)
def _nothing_ran():
    RAN.clear()


def through(value, written, read=None):
    """A value, stored under the types `written` and restored under `read`."""
    return decode(encode({"at": [value]}, types=StateTypes(written)), types=StateTypes(read or written))["at"][0]


@pytest.mark.parametrize(
    "value",
    [Ticket("t", {"a": (1,)}), Spot(x=Spot(x=1)), Call(tool="grep", args={1: 2}), Turn("me", "x"), Pair(1, [Pair(2)]),
     *Colour, *Level, *Mode, *Right, Right.SEE | Right.CHANGE, Right(0)],
)  # fmt: skip
def test_a_named_type_comes_back(value):
    for state in (value, [value], {"a": value}, (value, {"b": [value]})):
        assert exactly(decode(encode(state, types=NAMED), types=NAMED), state)


# ---- what runs


def test_restoring_a_dataclass_runs_none_of_its_code():
    @dataclasses.dataclass
    class Noisy:
        x: int
        twice: int = dataclasses.field(init=False)
        hidden: dataclasses.InitVar[int] = 3

        def __new__(cls, *_args, **_named):
            ran("new")
            return object.__new__(cls)

        def __post_init__(self, hidden):
            ran("post_init")
            self.twice = self.x * 2

        def __setattr__(self, name, value):
            ran("setattr")
            object.__setattr__(self, name, value)

        def __getattribute__(self, name):
            ran("getattribute")
            return object.__getattribute__(self, name)

    value = Noisy(4)
    object.__setattr__(value, "twice", 9)
    RAN.clear()
    again = through(value, [Noisy])
    assert RAN == []
    assert vars(again) == {"x": 4, "twice": 9}


def test_a_struct_is_made_by_its_constructor_and_is_what_was_stored():
    class Upper(msgspec.Struct):
        name: str

        def __post_init__(self):
            ran("post_init")
            self.name = self.name.upper()

    value = Upper("a")
    value.name = "b"
    RAN.clear()
    assert through(value, [Upper]).name == "b"
    assert RAN == ["post_init"]


def test_a_struct_that_refuses_what_was_stored_is_named():
    class Old(msgspec.Struct):
        count: int

    class New(msgspec.Struct):
        count: int

        def __post_init__(self):
            raise ValueError("no more than 3")

    with pytest.raises(UnknownType, match=r'^state\["at"\]\[0\] was refused by .*New.__post_init__: no more than 3'):
        through(Old(5), {"c": Old}, {"c": New})


def test_a_named_tuple_is_made_without_its_new():
    class Both(NamedTuple("Both", [("a", int), ("b", int)])):
        __slots__ = ()

        def __new__(cls, a, b):
            ran("new")
            return super().__new__(cls, a, b)

        @property
        def a(self):
            return ran("property")

    value = Both(1, 2)
    RAN.clear()
    assert tuple(through(value, [Both])) == (1, 2)
    assert RAN == []


def test_slots_frozen_inheritance_generics_and_computed_attributes_are_no_obstacle():
    item = typing.TypeVar("item")

    @dataclasses.dataclass(slots=True)
    class Base:
        a: int

    @dataclasses.dataclass(frozen=True, eq=False)
    class Box(typing.Generic[item]):
        held: item

        @functools.cached_property
        def size(self):
            return 5

    @dataclasses.dataclass(slots=True)
    class Derived(Base):
        b: int = 2

    box = Box[int]((1,))
    assert box.size == 5
    again = through(box, [Box])
    assert (type(again), vars(again)) == (Box, {"held": (1,)})
    assert through(Derived(1), [Derived]) == Derived(1)
    with pytest.raises(StateTypeError, match=r'^state\["at"\]\[0\] is of type .*Derived'):
        through(Derived(1), [Base])


def test_nothing_is_imported_for_a_stored_name(tmp_path):
    (tmp_path / "evil.py").write_text("print('imported')")
    data = encode(Ticket("x"), types=StateTypes({"evil.Ticket": Ticket}))
    code = f"""
from aegis_store.codec.canonical import decode
try:
    decode({data!r})
except TypeError as error:
    print(type(error).__name__)
"""
    place = Path(registry.__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        capture_output=True,
        check=False,
        env={"PYTHONPATH": f"{tmp_path}:{place}", "PATH": ""},
    )
    assert (done.returncode, done.stdout) == (0, b"UnknownType\n"), done.stderr.decode()[-500:]


# ---- what is refused when it is stored


@pytest.mark.parametrize("state", [Ticket("x"), Colour.RED, Pair(1)])
def test_a_type_that_is_not_named_is_refused_with_the_remedy(state):
    with pytest.raises(StateTypeError, match=r"^state\[0\] is of type tests.values") as caught:
        encode([state])
    assert caught.value.hint == f"name it when the store is opened: aegis_store.open(…, types=[{type(state).__name__}])"


def test_fields_are_steps_of_a_path():
    with pytest.raises(StateTypeError, match=r'^state\["m"\]\[0\]\.title\.args\["k"\] is of type complex'):
        encode({"m": [Ticket(Call(tool="x", args={"k": 1j}))]}, types=NAMED)
    with pytest.raises(StateTypeError, match=r"^state\.one\{…\}\[1\] is of type object"):
        encode(Pair({(1, object())}), types=NAMED)


def test_what_is_no_field_would_be_lost_and_is_refused():
    class WithSlot:
        __slots__ = ("extra",)

    @dataclasses.dataclass
    class Slotted(WithSlot):
        a: int

    class Loose(msgspec.Struct, dict=True):
        a: int

    class Wide(NamedTuple("Wide", [("a", int)])):
        pass

    for kind in (Ticket, Slotted, Loose, Wide):
        value = kind(1)
        assert type(through(value, [kind])) is kind
        value.extra = 2
        with pytest.raises(StateTypeError, match=r'^state\["at"\]\[0\] has the attribute extra, which is no field'):
            through(value, [kind])


def test_a_field_without_a_value_is_refused():
    value = Ticket(1)
    del value.title
    with pytest.raises(StateTypeError, match=r'^state\["at"\]\[0\] has no value for its field title'):
        through(value, [Ticket])


def test_a_flag_with_bits_that_have_no_name_is_refused():
    class Loose(enum.Flag, boundary=enum.KEEP):
        A = 1

    assert through(Loose.A, [Loose]) is Loose.A
    with pytest.raises(StateTypeError, match=r'^state\["at"\]\[0\] is .*Loose\(5\), which has no name'):
        through(Loose(5), [Loose])


# ---- types that change


@dataclasses.dataclass
class V1:
    b: int
    a: int


def changed(name="V2", **fields):
    return dataclasses.make_dataclass(name, [(each, object, *default) for each, default in fields.items()], kw_only=True)


def test_fields_may_be_reordered_and_gain_defaults():
    listed = dataclasses.field(default_factory=lambda: [ran("default")])
    new = changed(a=(), c=(listed,), b=(), d=(dataclasses.field(default=4),))
    data = encode(V1(1, 2), types=StateTypes({"V": V1}))
    again = decode(data, types=StateTypes({"V": new}))
    assert (again.a, again.b, again.c, again.d) == (2, 1, ["default"], 4)
    assert decode(data, types=StateTypes({"V": V1})) == V1(1, 2)

    class Struct(msgspec.Struct, kw_only=True):
        c: list = []
        a: int
        b: int
        d: int = 4

    again = decode(data, types=StateTypes({"V": Struct}))
    assert again == Struct(a=2, b=1)
    assert again.c is not decode(data, types=StateTypes({"V": Struct})).c

    class Tuple(NamedTuple):
        a: int
        b: int
        d: int = 4

    assert decode(data, types=StateTypes({"V": Tuple})) == (2, 1, 4)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"a": ()}, "has the field b, which types.V2 does not have"),
        ({"a": (), "b": (), "c": ()}, "lacks the field c, which has no default in types.V2"),
    ],
)
def test_a_type_that_no_longer_fits_is_named_with_its_path(fields, says):
    data = encode([(0, {"at": V1(1, 2)})], types=StateTypes({"V": V1}))
    with pytest.raises(UnknownType) as caught:
        decode(data, types=StateTypes({"V": changed(**fields)}))
    assert caught.value.message == f'state[0][1]["at"] {says}'


def test_a_type_that_is_not_named_any_more_is_an_error_and_no_dict():
    data = encode([V1(Colour.RED, 2)], types=StateTypes([V1, Colour]))
    with pytest.raises(UnknownType, match=r"^state\[0\] is of the named type V1, and no type was named so") as caught:
        decode(data)
    assert caught.value.hint == "name it when the store is opened: aegis_store.open(…, types=[V1])"
    with pytest.raises(UnknownType, match=r"^state\[0\]\.b is of the named type Colour"):
        decode(data, types=StateTypes([V1]))
    with pytest.raises(UnknownType, match='is of the named type "a b"') as caught:
        decode(encode(V1(1, 2), types=StateTypes({"a b": V1})))
    assert caught.value.hint.endswith('types={"a b": …})')


def test_a_record_is_no_enum():
    with pytest.raises(UnknownType, match=r"was stored as an enum, and .*V1 is a record"):
        through(Colour.RED, {"c": Colour}, {"c": V1})
    with pytest.raises(UnknownType, match=r"was stored as a record, and .*Colour is an enum"):
        through(V1(1, 2), {"c": V1}, {"c": Colour})


def test_members_are_known_by_name():
    class Renamed(enum.Enum):
        CRIMSON = 1
        RED = 1

    class Fewer(enum.Enum):
        BLUE = 1

    class NoFlag(enum.Enum):
        SEE = 1
        CHANGE = 2

    class Exclusive(enum.Flag):
        SEE = 1
        CHANGE = 2

        @classmethod
        def _missing_(cls, value):
            return cls.SEE

    assert through(Colour.RED, {"c": Colour}, {"c": Renamed}) is Renamed.CRIMSON
    with pytest.raises(UnknownType, match=r"is the member RED, which .*Fewer does not have"):
        through(Colour.RED, {"c": Colour}, {"c": Fewer})
    for other, says in ((NoFlag, "and .*NoFlag is no Flag"), (Exclusive, "does not allow")):
        with pytest.raises(UnknownType, match=says):
            through(Right.SEE | Right.CHANGE, {"c": Right}, {"c": other})
    assert through(Right(7), [Right]) is Right.OWN


def test_a_key_whose_type_has_lost_its_hash_is_named():
    old = dataclasses.make_dataclass("Old", ["a"], frozen=True)
    new = dataclasses.make_dataclass("New", ["a"])
    for state in ({old(1): 2}, {(old(1),)}, frozenset({(1, frozenset({old(1)}))})):
        with pytest.raises(UnknownType, match=r"^state.* has no hash"):
            decode(encode([state], types=StateTypes({"c": old})), types=StateTypes({"c": new}))


# ---- naming


def test_names_are_qualified_names_or_those_of_a_mapping():
    class Inner:
        @dataclasses.dataclass
        class Deep:
            a: int

    assert StateTypes([Inner.Deep]).of(Inner.Deep)[0] == "Inner.Deep"
    assert StateTypes({"deep": Inner.Deep}).of(Inner.Deep)[0] == "deep"
    assert StateTypes([Ticket, Ticket]).named("Ticket").type is Ticket
    assert (len(NO_TYPES), len(StateTypes([Ticket, Colour]))) == (0, 2)
    assert repr(StateTypes({"t": Ticket})) == "StateTypes({'t': tests.values.Ticket})"


def test_the_first_of_several_names_is_written_and_every_one_is_read():
    both = StateTypes({"new": V1, "old": V1})
    assert b"new" in encode(V1(1, 2), types=both)
    assert decode(encode(V1(1, 2), types=StateTypes({"old": V1})), types=both) == V1(1, 2)


def test_two_types_of_one_name_are_refused():
    one, other = changed("Same", a=()), changed("Same", a=())
    with pytest.raises(InvalidArgument, match="two of types= are called Same") as caught:
        StateTypes([one, other])
    assert "types={" in caught.value.hint


class Plain:
    pass


class Empty(enum.Enum):
    pass


@pytest.mark.parametrize("given", [int, dict, Plain, Empty, msgspec.Struct, list[int], "Ticket", None, Ticket("x")])
def test_what_is_no_type_with_fields_cannot_be_named(given):
    with pytest.raises(InvalidArgument, match=r"types= holds .*which is no dataclass"):
        StateTypes([given])


@pytest.mark.parametrize("base", [dict, Exception, int])
def test_what_has_content_beside_its_fields_cannot_be_named(base):
    with pytest.raises(InvalidArgument, match=f"a subclass of {base.__name__}, whose own content would be lost"):
        StateTypes([dataclasses.make_dataclass("Odd", ["a"], bases=(base,))])


def test_a_field_that_is_a_property_cannot_be_named():
    @dataclasses.dataclass
    class Odd:
        a: int

    Odd.a = property(lambda self: ran("get"), lambda self, value: ran("set"))
    with pytest.raises(InvalidArgument, match="whose field a is a property"):
        StateTypes([Odd])


@pytest.mark.parametrize("name", ["", "x" * 256, "é" * 128, 7, "a\nb", "\ud800"])
def test_names_are_short_and_printable(name):
    with pytest.raises(InvalidArgument, match="a name in types= is"):
        StateTypes({name: Ticket})


def test_the_longest_name_is_a_name():
    assert through(Ticket("x"), {"x" * 255: Ticket}) == Ticket("x")
