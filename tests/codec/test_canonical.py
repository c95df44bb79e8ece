"""Values come back exactly, or are refused by name; bytes that were not written here are refused."""

import collections
import dataclasses
import datetime
import enum
import os
import pathlib
import struct
import subprocess
import sys
import uuid
from gc import get_referents

import msgspec
import ormsgpack
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aegis_store.codec import canonical
from aegis_store.codec.canonical import (
    DEPTH_MAX,
    decode,
    decode_envelope,
    encode,
    encode_envelope,
    name_from_wire,
    name_to_wire,
)
from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTypeError, UnknownType
from tests.values import NAMED, exactly, values


def nested(depth, wrap=lambda inner: [inner]):
    value = None
    for _ in range(depth):
        value = wrap(value)
    return value


# ---- what comes back


@settings(deadline=None)
@given(values)
@example([{1: "one"}, {True: "one"}, {1.0: "one"}])
@example({b"\xc4": -0.0, None: float("inf"), 1.5: [], "": {}})
@example([0, -1, 127, 128, -32, -33, 2**63 - 1, 2**63, 2**64 - 1, -(2**63)])
def test_a_value_comes_back_exactly(value):
    written = encode(value, types=NAMED)
    again = decode(written, types=NAMED)
    assert exactly(again, value)
    assert encode(again, types=NAMED) == written


@pytest.mark.parametrize("bits", [0x7FF8000000000000, 0x7FF8000000000001, 0xFFF0000000000001, 0x8000000000000000])
def test_every_float_keeps_its_bits(bits):
    (number,) = struct.unpack("<d", struct.pack("<Q", bits))
    (again,) = decode(encode([number]))
    assert struct.unpack("<Q", struct.pack("<d", again)) == (bits,)


@pytest.mark.parametrize(
    ("value", "bytes_hex"),
    [
        (None, "c0"),
        (True, "c3"),
        (127, "7f"),
        (128, "cc80"),
        (-33, "d0df"),
        (2**64 - 1, "cfffffffffffffffff"),
        (1.0, "cb3ff0000000000000"),
        ("é", "a2c3a9"),
        (b"\xff", "c401ff"),
        ([1, [2]], "92019102"),
        ({"b": 1, "a": 2}, "82a16201a16102"),
        ({1: b""}, "8101c400"),
    ],
)
def test_the_bytes_are_those_of_the_format(value, bytes_hex):
    assert encode(value).hex() == bytes_hex


def test_a_dict_of_a_class_instance_is_a_plain_dict():
    class Holder:
        def __init__(self, tool):
            self.tool = tool

    assert decode(encode(vars(Holder("grep")))) == {"tool": "grep"}
    with pytest.raises(StateTypeError, match="memoryview"):
        encode(vars(Holder(memoryview(b"x"))))


# ---- what is refused


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 5


class Word(str):
    pass


class Count(int):
    pass


class Items(list):
    pass


Pair = collections.namedtuple("Pair", "a b")


@dataclasses.dataclass
class Point:
    x: int


class Row(msgspec.Struct):
    a: int


class Moment(datetime.datetime):
    pass


class Elsewhere(datetime.tzinfo):
    def utcoffset(self, moment):
        return datetime.timedelta(0)


NAME_IT = "aegis_store.open(…, types=["
REFUSED = [
    (Pair(1, 2), "Pair", NAME_IT + "Pair]"),
    (memoryview(b"x"), "memoryview", "make it bytes"),
    ("tail\ud800", "lone surrogate at 4", "surrogatepass"),
    (datetime.datetime(2026, 1, 1, tzinfo=Elsewhere()), "time zone of type", "zoneinfo.ZoneInfo"),
    (datetime.time(1, tzinfo=Elsewhere()), "time zone of type", "zoneinfo.ZoneInfo"),
    (Moment(2026, 1, 1), "Moment", "plain datetime"),
    (pathlib.PurePosixPath("/a"), "PurePosixPath", "str()"),
    (Colour.RED, "Colour", NAME_IT + "Colour]"),
    (Level.LOW, "Level", NAME_IT + "Level]"),
    (Word("x"), "Word", "plain str"),
    (Count(1), "Count", "plain int"),
    (Items(), "Items", "plain list"),
    (collections.OrderedDict(a=1), "OrderedDict", "plain dict"),
    (collections.defaultdict(int), "defaultdict", "plain dict"),
    (collections.deque(), "deque", "make it a list"),
    (Point(1), "Point", NAME_IT + "Point]"),
    (Row(1), "Row", NAME_IT + "Row]"),
    (1j, "complex", "two parts"),
    (object(), "object", "values that are stored"),
    (len, "builtin_function_or_method", "values that are stored"),
]


@pytest.mark.parametrize(("value", "kind", "remedy"), REFUSED, ids=[kind for _, kind, _ in REFUSED])
@pytest.mark.parametrize(
    ("wrap", "path"),
    [
        (lambda value: value, "state"),
        (lambda value: {"messages": [0, {"tool": value}]}, 'state["messages"][1]["tool"]'),
        (lambda value: [b"bytes before", value], "state[1]"),
        (lambda value: {7: value}, "state[7]"),
        (lambda value: {7: {"after": [value, object()]}}, 'state[7]["after"][0]'),
        (lambda value: [(1, (2, value))], "state[0][1][1]"),
        (lambda value: {(1, 2): [value]}, "state[(1, 2)][0]"),
        (lambda value: [uuid.UUID(int=1), {"tool": value}], 'state[1]["tool"]'),
    ],
    ids=["bare", "inside", "after bytes", "under an int key", "beside another", "in tuples", "under a tuple", "after a UUID"],
)
def test_what_would_not_come_back_is_refused_with_its_path(value, kind, remedy, wrap, path):
    with pytest.raises(StateTypeError) as caught:
        encode(wrap(value))
    assert caught.value.message.startswith(f"{path} ")
    assert kind in caught.value.message
    assert remedy in caught.value.hint


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (Word("x"), "'x', is of type"),
        (Count(5), "5, is of type"),
        (Level.LOW, "is of type"),
        (Colour.RED, "is of type"),
        ("\udfff", "is a str with a lone surrogate at 0"),
        ((1, "\udfff"), "holds a value that is a str with a lone surrogate at 0"),
        ((1, frozenset({Colour.RED})), "holds a value that is of type"),
        (datetime.time(1, tzinfo=Elsewhere()), "has a time zone of type"),
        (pathlib.PurePosixPath("/a"), "is of type"),
    ],
)
@pytest.mark.parametrize(
    "beside", [{}, {"a": 1}, {1: 1}, {b"\xc4": b"\xc4"}, {(): 1}], ids=["alone", "str", "int", "bytes", "tuple"]
)
def test_a_key_that_would_not_come_back_is_refused_with_its_place(key, says, beside):
    with pytest.raises(StateTypeError) as caught:
        encode({"deep": [{**beside, key: 1}]})
    assert caught.value.message.startswith('a key of state["deep"][0], ')
    assert says in caught.value.message


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: ["x" * 99, {"a": value}]], ids=["bare", "inside"])
def test_what_looks_like_bytes_is_not_taken_for_bytes_at_any_size(size, wrap):
    value = bytes(size)
    assert exactly(decode(encode(wrap(value))), wrap(value))
    assert exactly(decode(encode(wrap(bytearray(value)))), wrap(bytearray(value)))
    with pytest.raises(StateTypeError, match="memoryview"):
        encode(wrap(memoryview(value)))


def test_bytes_that_the_encoder_would_pass_through_are_refused():
    for each, kind in (
        (ormsgpack.Ext(1, b"x"), "Ext"),
        (ormsgpack.Ext(16, b"\x90"), "Ext"),
        (ormsgpack.Fragment(b"\x01"), "Fragment"),
    ):
        for value, path in (
            (each, "state"),
            ({"a": [1, each]}, r'state\["a"\]\[1\]'),
            ({"a": (b"x", each)}, r'state\["a"\]\[1\]'),
            ({1: each}, r"state\[1\]"),
        ):
            with pytest.raises(StateTypeError, match=rf"^{path} is of type .*{kind}, which is not stored"):
                encode(value)


def test_an_instance_of_what_is_passed_through_is_noticed():
    """Else every value would be walked, or none. In a process of its own, where nobody else keeps an instance."""
    code = """
import ormsgpack
from aegis_store.codec.canonical import _may_pass_through, decode, encode
for make in (lambda: ormsgpack.Ext(1, b"x"), lambda: ormsgpack.Fragment(b"\\x01")):
    decode(encode([{"a": (1, {2})}]))
    print(_may_pass_through())
    kept = make()
    print(_may_pass_through())
    del kept
print(_may_pass_through())
"""
    place = str(pathlib.Path(canonical.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, check=False, text=True, env={**os.environ, "PYTHONPATH": place}
    )
    assert done.stdout.split() == ["False", "True", "False", "True", "False"], done.stderr[-500:]


def test_a_surrogate_in_a_key_can_be_printed():
    with pytest.raises(StateTypeError) as caught:
        encode({"\ud800": object()})
    assert r'"\ud800"' in str(caught.value)
    str(caught.value).encode()


def test_the_first_offence_in_the_order_of_the_document_is_named():
    with pytest.raises(StateTypeError, match=r'^state\["b"\]\[1\] is of type complex'):
        encode({"a": 1, "b": [0, 1j], "c": (1, object())})
    with pytest.raises(StateTypeError, match=r'^state\["b"\]\[1\] is a str'):
        encode({"a": 1, "b": [0, "\ud800"], "c": (1, object())})


def test_what_is_stored_is_not_blamed_for_what_is_not():
    good = [2**64, (), {1}, 2**64 - 1, -(2**63), "é", b"\xff", None, True, 1.5, {1: [], b"k": {}}, nested(DEPTH_MAX - 2)]
    with pytest.raises(StateTypeError, match=r'^state\["bad"\] is of type complex'):
        encode({"good": good, "bad": 1j})


def test_paths_of_up_to_16_steps_are_shown_whole():
    for depth, path in (
        (16, "".join(f"[{each}]" for each in range(16))),
        (17, "".join(f"[{each}]" for each in range(8)) + "…" + "".join(f"[{each}]" for each in range(9, 17))),
    ):
        value = 1j
        for each in reversed(range(depth)):
            value = [0] * each + [value]
        with pytest.raises(StateTypeError) as caught:
            encode(value)
        assert caught.value.message.startswith(f"state{path} is of type complex")


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("k" * 64, '"' + "k" * 64 + '"'),
        ("k" * 65, '"' + "k" * 64 + '…"'),
        (b"k" * 61, "b'" + "k" * 61 + "'"),
        (b"k" * 62, "b'" + "k" * 62 + "…"),
        (None, "None"),
        (-1, "-1"),
        (2**64, "an int of 65 bits"),
        ((1, 10**5000), "<tuple>"),
    ],
)
def test_keys_of_up_to_64_characters_are_shown_whole(key, shown):
    with pytest.raises(StateTypeError) as caught:
        encode({key: 1j})
    assert caught.value.message.startswith(f"state[{shown}] is of type complex")


def test_long_keys_and_deep_paths_are_cut():
    with pytest.raises(StateTypeError) as caught:
        encode({"k" * 5000: nested(100, lambda inner: [inner if inner is not None else object()])})
    assert len(caught.value.message) < 400
    assert "…" in caught.value.message


@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"": inner}, lambda inner: {1: inner}])
def test_nesting_is_bounded(wrap):
    deepest = nested(DEPTH_MAX, wrap)
    assert encode(decode(encode(deepest))) == encode(deepest)
    with pytest.raises(StateTypeError, match=f"deeper than {DEPTH_MAX} levels"):
        encode(nested(DEPTH_MAX + 1, wrap))


def test_a_value_that_holds_itself_is_refused():
    items = [1]
    items += [items, items]
    with pytest.raises(StateTypeError, match="holds itself"):
        encode(items)
    table = {}
    table[1] = table
    with pytest.raises(StateTypeError, match="holds itself"):
        encode(table)


# ---- bytes from elsewhere


HEADERS = [bytes([each]) for each in (*range(1, 9), 16, 17, 18, 19, 32, 33, *range(0x7E, 0xA2), *range(0xC0, 0xE1), 0xFF)]


def survives(data):
    try:
        value = decode(data, types=NAMED)
    except (Corrupt, NewerFormat, UnknownType):
        return
    assert encode(value, types=NAMED) == data


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_or_are_what_encode_writes(data):
    survives(data)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(HEADERS) | st.binary(max_size=2)))
def test_any_sequence_of_headers_is_refused_or_is_what_encode_writes(parts):
    survives(b"".join(parts))


@settings(deadline=None, max_examples=200)
@given(values, st.data())
def test_a_changed_byte_is_refused_or_is_what_encode_writes(value, data):
    written = bytearray(encode(value, types=NAMED))
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] ^= data.draw(st.integers(1, 255))
    survives(bytes(written))
    survives(bytes(written[:at]))


@pytest.mark.parametrize(
    "bytes_hex",
    [
        "",
        "c1",
        "91",
        "c0c0",
        "cc01",
        "cd0001",
        "d001",
        "d3ffffffffffffffff",
        "ca3f800000",
        "d90161",
        "da000161",
        "c5000161",
        "dc000101",
        "de0001a16101",
        "82a16101a16101",
        "8201010102",
        "82c3010102",
        "a1ff",
        "a3eda080",
        "819001",
        "81920102c0",
        "818001",
        "ddffffffff",
        "dfffffffff",
        "dbffffffff",
        "c6ffffffff",
    ],
)
def test_other_forms_of_a_value_are_corrupt(bytes_hex):
    with pytest.raises(Corrupt):
        decode(bytes.fromhex(bytes_hex))


@pytest.mark.parametrize("bytes_hex", ["d40978", "c7030a616263", "92c0d6ff00000000", "d61091d40978", "92d40978d40100"])
def test_extension_types_that_are_unknown_are_of_a_later_version(bytes_hex):
    with pytest.raises(NewerFormat, match="extension type"):
        decode(bytes.fromhex(bytes_hex))


@pytest.mark.parametrize("header", [b"\x91", b"\x81\xa0", b"\x81\x01", b"\x81", b"\xdc\x00\x01"], ids=bytes.hex)
@pytest.mark.parametrize("depth", [DEPTH_MAX + 1, 1000, 1_000_000])
def test_a_depth_bomb_is_corrupt(header, depth):
    with pytest.raises(Corrupt):
        decode(header * depth + b"\xc0")


MEMORY_BYTES_MAX = 1 << 30


@pytest.mark.parametrize(
    "data",
    [
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\x81\xdd\xff\xff\xff\xff",
        b"\x91\xdd\x7f\xff\xff\xff\xc0",
        b"\xdb\xff\xff\xff\xff",
        b"\xc9\xff\xff\xff\xff\x01",
        b"\xdd\x00\x10\x00\x00" * 250 + b"\xc0" * (1 << 20),
    ],
    ids=["array", "map", "key", "inside", "str", "ext", "arrays in arrays"],
)
def test_what_is_announced_and_not_there_costs_no_memory(data):
    code = "\n".join(
        (
            "import resource, sys",
            "from aegis_store.codec.canonical import decode",
            "from aegis_store.errors import Corrupt",
            f"resource.setrlimit(resource.RLIMIT_AS, ({MEMORY_BYTES_MAX}, {MEMORY_BYTES_MAX}))",
            "try:",
            "    decode(sys.stdin.buffer.read())",
            "except Corrupt:",
            "    print('corrupt')",
        )
    )
    place = str(pathlib.Path(canonical.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        input=data,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": place},
    )
    assert (done.returncode, done.stdout) == (0, b"corrupt\n"), done.stderr.decode()[-500:]


# ---- envelopes and names

NAMES = ("schema", "version", "state", "metadata")


def test_an_envelope_comes_back():
    assert decode_envelope(encode_envelope(["x", 3, {"a": 1}, None], NAMES), schema="x", version=3, names=NAMES) == [
        "x", 3, {"a": 1}, None,
    ]  # fmt: skip


def test_an_envelope_names_its_fields():
    with pytest.raises(StateTypeError, match=r'^metadata\["at"\]\[0\] is of type complex'):
        encode_envelope(["x", 0, {"a": 1}, {"at": (1j,)}], NAMES)
    with pytest.raises(StateTypeError, match=r"^state is of type object"):
        encode_envelope(("x", 0, object(), ()), NAMES)
    with pytest.raises(StateTypeError, match=rf"^state.* deeper than {DEPTH_MAX - 1} levels"):
        encode_envelope(["x", 0, nested(DEPTH_MAX), None], NAMES)
    encode_envelope(["x", 0, nested(DEPTH_MAX - 1), None], NAMES)


@pytest.mark.parametrize(
    "value",
    [None, {}, [], ["x"], [1, 0, 1, 1], ["x", True, 1, 1], ["x", None, 1, 1], ["y", 3, 1, 1], ["x", 3, 1], ["x", 3, 1, 1, 1],
     ["x", 2, 1, 1], ["x", -1, 1, 1], [b"x", 3, 1, 1]],
)  # fmt: skip
def test_an_envelope_of_another_shape_is_corrupt(value):
    with pytest.raises(Corrupt):
        decode_envelope(encode(value), schema="x", version=3, names=NAMES)


@pytest.mark.parametrize("fields", [["x", 4], ["x", 4, 1, 2], ["x", 2**64 - 1, 1, 2, 3, 4, 5]])
def test_an_envelope_of_a_later_version_is_newer(fields):
    with pytest.raises(NewerFormat, match="reads up to 3") as caught:
        decode_envelope(encode(fields), schema="x", version=3, names=NAMES)
    assert "upgrade" in caught.value.hint


@settings(deadline=None)
@given(st.text(st.characters()))
@example("\ud800\udc00")
@example("\U00010000")
@example("\udfff")
def test_any_name_comes_back(name):
    wire = decode(encode(name_to_wire(name, what="agent")))
    assert name_from_wire(wire, what="agent") == name
    assert type(wire) is (str if not any(0xD800 <= ord(each) < 0xE000 for each in name) else bytes)


def test_a_name_that_is_a_subclass_is_stored_as_the_str_that_it_is():
    assert type(name_to_wire(Word("x"), what="agent")) is str


@pytest.mark.parametrize("name", [None, b"x", 1])
def test_what_is_no_str_is_no_name(name):
    with pytest.raises(InvalidArgument, match="agent"):
        name_to_wire(name, what="agent")


@pytest.mark.parametrize("wire", [None, 1, [], b"plain", b"", b"\xff", b"\xed\xa0", "é".encode()])
def test_a_name_in_another_form_is_corrupt(wire):
    with pytest.raises(Corrupt, match="agent"):
        name_from_wire(wire, what="agent")


def test_the_interpreter_shows_what_its_containers_hold():
    assert sorted(get_referents([1, b"x"], {"key": 2}, {3: 4}), key=str) == [1, 2, 3, 4, b"x"]
