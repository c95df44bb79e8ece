"""Bytes of nested extension types are judged level by level, in bounded depth and memory, before anything is made of them."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.codec import restoring
from aegis_store.codec.canonical import encode
from aegis_store.codec.extensions import DEPTH_MAX, DICT, ENUM, FROZENSET, RECORD, SET, TUPLE
from aegis_store.codec.registry import NO_TYPES, StateTypes
from aegis_store.codec.restoring import unpack
from aegis_store.errors import Corrupt, NewerFormat, UnknownType
from tests.values import NAMED, Ticket, exactly, hashables, values


def ext(tag, content):
    return ormsgpack.packb(ormsgpack.Ext(tag, content))


def bomb(depth, wrap, core=b"\xc0"):
    for _ in range(depth):
        core = wrap(core)
    return core


@settings(deadline=None, max_examples=60)
@given(values)
def test_what_was_written_comes_back(value):
    assert exactly(unpack(encode(value, types=NAMED), NAMED, "state"), value)


@settings(deadline=None, max_examples=60)
@given(st.lists(hashables, unique=True))
def test_equal_sets_have_one_form(items):
    one, other = set(items), set(reversed(items))
    assert encode(one, types=NAMED) == encode(other, types=NAMED)


@pytest.mark.parametrize("tag", [TUPLE, FROZENSET, DICT, RECORD])
@pytest.mark.parametrize("depth", [DEPTH_MAX + 1, 1000])
def test_a_bomb_of_extension_types_is_corrupt(tag, depth):
    around = {
        DICT: lambda core: ext(DICT, b"\x92" + ext(TUPLE, b"\x90") + core),
        RECORD: lambda core: ext(RECORD, b"\x93\xa1T\xa1a" + core),
    }.get(tag, lambda core: ext(tag, b"\x91" + core))
    types = StateTypes({"T": dataclasses.make_dataclass("T", ["a"], frozen=True)})
    core = ext(TUPLE, b"\x90")
    with pytest.raises(Corrupt, match="deeper"):
        unpack(bomb(depth, around, core), types, "state")
    assert unpack(bomb(DEPTH_MAX - 1, around, core), types, "state") is not None


@pytest.mark.parametrize("inner", [200, 255])
def test_levels_of_arrays_and_of_extension_types_count_together(inner):
    arrays = b"\x91" * inner + b"\xc0"
    assert unpack(bomb(DEPTH_MAX - inner, lambda core: ext(TUPLE, b"\x91" + core), arrays), NO_TYPES, "state") is not None
    with pytest.raises(Corrupt):
        unpack(bomb(DEPTH_MAX - inner + 1, lambda core: ext(TUPLE, b"\x91" + core), arrays), NO_TYPES, "state")


def test_a_large_bomb_needs_little_memory():
    size = 1 << 20
    data = bomb(DEPTH_MAX - 1, lambda core: ext(TUPLE, b"\x91" + core), ormsgpack.packb(b"x" * size))
    code = "\n".join(
        (
            "import resource, sys",
            "from aegis_store.codec.canonical import decode",
            "resource.setrlimit(resource.RLIMIT_AS, (1 << 28, 1 << 28))",
            "value = decode(sys.stdin.buffer.read())",
            "while type(value) is tuple: value = value[0]",
            "print(len(value))",
        )
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        input=data,
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(restoring.__file__).parents[2])},
    )
    assert (done.returncode, done.stdout.split()) == (0, [str(size).encode()]), done.stderr.decode()[-800:]


@pytest.mark.parametrize("tag", [TUPLE, SET, FROZENSET, DICT, RECORD, ENUM])
@pytest.mark.parametrize(
    "content", [b"", b"\xc1", b"\xc0", b"\x80", b"\xdd\xff\xff\xff\xff", b"\x91", b"\xdc\x00\x00", b"\x90\x90"]
)
def test_content_that_is_no_array_in_the_one_form_is_corrupt(tag, content):
    with pytest.raises(Corrupt):
        unpack(ext(tag, content), NAMED, "state")


def test_an_unknown_tag_deep_inside_is_of_a_later_version():
    with pytest.raises(NewerFormat, match="extension type 9"):
        unpack(b"\x91" + ext(TUPLE, b"\x91" + ext(9, b"x")), NO_TYPES, "state")


def test_nothing_is_made_before_all_of_it_is_in_order():
    made = []

    counted = dataclasses.field(default_factory=lambda: made.append(1))
    kind = dataclasses.make_dataclass("T", [("a", object), ("b", object, counted)])
    record = ext(RECORD, b"\x93\xa1T\xa1a\x01")
    types = StateTypes({"T": kind})
    assert unpack(record, types, "state").a == 1
    assert made == [1]
    for wrong, error in ((ext(TUPLE, b"\x92\x01"), Corrupt), (ext(RECORD, b"\x91\xa1U"), UnknownType)):
        with pytest.raises(error):
            unpack(b"\x92" + record + wrong, types, "state")
    assert made == [1]


def test_the_first_unknown_type_in_the_order_of_the_document_is_named():
    data = encode({"a": [(1, Ticket("x"))], "b": Ticket("y")}, types=StateTypes({"first": Ticket}))
    with pytest.raises(UnknownType, match=r'^state\["a"\]\[0\]\[1\] is of the named type first'):
        unpack(data, NO_TYPES, "state")
    with pytest.raises(UnknownType, match=r"^kept\[1\] is of the named type first"):
        unpack(encode([1, [2, Ticket("x")]], types=StateTypes({"first": Ticket})), NO_TYPES, "envelope", ["schema", "kept"])


@pytest.mark.parametrize("bytes_hex", ["9190", "9180", "91d5109190", "91d41190"])
def test_what_has_no_hash_is_no_item_of_a_set(bytes_hex):
    with pytest.raises(Corrupt):
        unpack(ext(SET, bytes.fromhex(bytes_hex)), NAMED, "state")
