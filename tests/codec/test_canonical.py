"""Values come back exactly, or are refused by name; bytes that were not written here are refused."""

import collections
import dataclasses
import datetime
import decimal
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
from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTypeError

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=True)
    | st.text(st.characters(exclude_categories=["Cs"]))
    | st.binary()
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])) | scalars, inner),
    max_leaves=40,
)


def exactly(left, right):
    """Whether two values are the same to the bit, type by type and key by key in order."""
    if type(left) is not type(right):
        return False
    if type(left) is float:
        return struct.pack("<d", left) == struct.pack("<d", right)
    if type(left) is list:
        return len(left) == len(right) and all(map(exactly, left, right))
    if type(left) is dict:
        return exactly(list(left), list(right)) and exactly(list(left.values()), list(right.values()))
    return left == right


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
    assert exactly(decode(encode(value)), value)


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
    with pytest.raises(StateTypeError, match="bytearray"):
        encode(vars(Holder(bytearray(b"x"))))


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


REFUSED = [
    ((1, 2), "tuple", "make it a list"),
    (Pair(1, 2), "Pair", "make it a list"),
    ({1, 2}, "set", "make it a sorted list"),
    (frozenset(), "frozenset", "make it a sorted list"),
    (bytearray(b"x"), "bytearray", "make it bytes"),
    (memoryview(b"x"), "memoryview", "make it bytes"),
    (2**64, "more than 64 bits", "store its str()"),
    (-(2**63) - 1, "more than 64 bits", "store its str()"),
    ("tail\ud800", "lone surrogate at 4", "surrogatepass"),
    (datetime.datetime(2026, 1, 1), "datetime.datetime", "isoformat"),
    (datetime.date(2026, 1, 1), "datetime.date", "isoformat"),
    (datetime.timedelta(1), "datetime.timedelta", "total_seconds"),
    (uuid.UUID(int=1), "uuid.UUID", "str()"),
    (decimal.Decimal(1), "decimal.Decimal", "str()"),
    (pathlib.PurePosixPath("/a"), "PurePosixPath", "str()"),
    (Colour.RED, "Colour", ".value"),
    (Level.LOW, "Level", ".value"),
    (Word("x"), "Word", "plain str"),
    (Count(1), "Count", "plain int"),
    (Items(), "Items", "plain list"),
    (collections.OrderedDict(a=1), "OrderedDict", "plain dict"),
    (collections.defaultdict(int), "defaultdict", "plain dict"),
    (Point(1), "Point", "asdict"),
    (Row(1), "Row", "to_builtins"),
    (1j, "complex", "two parts"),
    (object(), "object", "plain values"),
    (len, "builtin_function_or_method", "plain values"),
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
    ],
    ids=["bare", "inside", "after bytes", "under an int key", "beside another"],
)
def test_what_would_not_come_back_is_refused_with_its_path(value, kind, remedy, wrap, path):
    with pytest.raises(StateTypeError) as caught:
        encode(wrap(value))
    assert caught.value.message.startswith(f"{path} is ")
    assert kind in caught.value.message
    assert remedy in caught.value.hint


@pytest.mark.parametrize(
    ("key", "word"),
    [
        ((1, 2), "tuple"),
        (frozenset(), "frozenset"),
        (Word("x"), "Word"),
        (Count(5), "Count"),
        (Level.LOW, "Level"),
        (Colour.RED, "Colour"),
        (uuid.UUID(int=1), "uuid.UUID"),
        (datetime.date(2026, 1, 1), "datetime.date"),
        (2**64, "64 bits"),
        ("\udfff", "lone surrogate at 0"),
    ],
)
@pytest.mark.parametrize("beside", [{}, {"a": 1}, {1: 1}, {b"\xc4": b"\xc4"}], ids=["alone", "str", "int", "bytes"])
def test_a_key_that_would_not_come_back_is_refused_with_its_place(key, word, beside):
    with pytest.raises(StateTypeError) as caught:
        encode({"deep": [{**beside, key: 1}]})
    assert caught.value.message.startswith('a key of state["deep"][0], ')
    assert word in caught.value.message
    assert ("not stored as a key" in caught.value.message) == (word not in ("64 bits", "lone surrogate at 0"))


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536])
@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: ["x" * 99, {"a": value}]], ids=["bare", "inside"])
def test_what_looks_like_bytes_is_refused_at_any_size(size, wrap):
    value = bytes(size)
    assert decode(encode(wrap(value))) == wrap(value)
    with pytest.raises(StateTypeError, match="bytearray"):
        encode(wrap(bytearray(value)))
    with pytest.raises(StateTypeError, match="memoryview"):
        encode(wrap(memoryview(value)))


def test_a_surrogate_in_a_key_can_be_printed():
    with pytest.raises(StateTypeError) as caught:
        encode({"\ud800": object()})
    assert r'"\ud800"' in str(caught.value)
    str(caught.value).encode()


def test_the_first_offence_in_the_order_of_the_document_is_named():
    with pytest.raises(StateTypeError, match=r'^state\["b"\]\[1\] is of type set'):
        encode({"a": 1, "b": [0, {1}], "c": (1,)})


def test_what_is_stored_is_not_blamed_for_what_is_not():
    good = [2**64 - 1, -(2**63), "é", b"\xff", None, True, 1.5, {1: [], b"k": {}}, nested(DEPTH_MAX - 2)]
    with pytest.raises(StateTypeError, match=r'^state\["bad"\] is of type tuple'):
        encode({"good": good, "bad": ()})


def test_paths_of_up_to_16_steps_are_shown_whole():
    for depth, path in (
        (16, "".join(f"[{each}]" for each in range(16))),
        (17, "".join(f"[{each}]" for each in range(8)) + "…" + "".join(f"[{each}]" for each in range(9, 17))),
    ):
        value = ()
        for each in reversed(range(depth)):
            value = [0] * each + [value]
        with pytest.raises(StateTypeError) as caught:
            encode(value)
        assert caught.value.message.startswith(f"state{path} is of type tuple")


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("k" * 64, '"' + "k" * 64 + '"'),
        ("k" * 65, '"' + "k" * 64 + '…"'),
        (b"k" * 61, "b'" + "k" * 61 + "'"),
        (b"k" * 62, "b'" + "k" * 62 + "…"),
        (None, "None"),
        (-1, "-1"),
    ],
)
def test_keys_of_up_to_64_characters_are_shown_whole(key, shown):
    with pytest.raises(StateTypeError) as caught:
        encode({key: ()})
    assert caught.value.message.startswith(f"state[{shown}] is of type tuple")


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


HEADERS = [bytes([each]) for each in (*range(0x7E, 0xA2), *range(0xC0, 0xE1), 0xFF)]


def survives(data):
    try:
        value = decode(data)
    except (Corrupt, NewerFormat):
        return
    assert encode(value) == data


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
    written = bytearray(encode(value))
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


@pytest.mark.parametrize("bytes_hex", ["d40178", "c7030a616263", "92c0d6ff00000000"])
def test_extension_types_are_of_a_later_version(bytes_hex):
    with pytest.raises(NewerFormat, match="extension type"):
        decode(bytes.fromhex(bytes_hex))


@pytest.mark.parametrize("bytes_hex", ["d401", "d40178c0", "92d40178"])
def test_malformed_bytes_with_an_extension_type_are_corrupt(bytes_hex):
    with pytest.raises((Corrupt, NewerFormat)):
        decode(bytes.fromhex(bytes_hex))
    with pytest.raises(Corrupt):
        decode(bytes.fromhex(bytes_hex)[:2])


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
    with pytest.raises(StateTypeError, match=r'^metadata\["at"\] is of type tuple'):
        encode_envelope(["x", 0, {"a": 1}, {"at": ()}], NAMES)
    with pytest.raises(StateTypeError, match=r"^state is of type set"):
        encode_envelope(["x", 0, {1}, ()], NAMES)
    with pytest.raises(StateTypeError, match=r"^state is an int"):
        encode_envelope(("x", 0, 2**70, None), NAMES)
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


def test_an_ext_in_a_value_is_ormsgpacks_and_cannot_be_read_back():
    # The one gap in "exactly or refused", and on record: a walk of every value would cost more than encoding it.
    with pytest.raises(NewerFormat):
        decode(encode([ormsgpack.Ext(1, b"x")]))


def test_the_interpreter_shows_what_its_containers_hold():
    assert sorted(get_referents([1, b"x"], {"key": 2}, {3: 4}), key=str) == [1, 2, 3, 4, b"x"]
