"""The fast way writes what the walk writes, or leaves it to the walk."""

import re
import sys
import threading

import ormsgpack
import pytest
from hypothesis import given, settings

from aegis_store.codec.canonical import decode, encode
from aegis_store.codec.extensions import DEPTH_MAX, pack, write
from aegis_store.codec.lowering import lower
from aegis_store.codec.nesting import CALLS_MAX, is_exact, pack_nested
from aegis_store.errors import StateTypeError
from tests.values import NAMED, Level, Mode, Ticket, exactly, values


def nested(depth, wrap, value):
    for _ in range(depth):
        value = wrap(value)
    return value


@settings(deadline=None)
@given(values)
def test_both_ways_write_the_same_bytes(value):
    fast = pack_nested(value, NAMED)
    assert fast is None or fast == pack(lower(value, "state", None, NAMED), write)


@pytest.mark.parametrize(
    "value", [(1, "a"), [{1}, {2: (3, frozenset())}], {"a": Ticket((1,), {"b": {1}})}, (2**64, b"x"), Level.LOW]
)
def test_what_is_common_takes_the_fast_way(value):
    assert exactly(decode(pack_nested(value, NAMED), types=NAMED), value)


@pytest.mark.parametrize(
    "value",
    [
        bytearray(b"x"),
        [(bytearray(b"x"),)],
        {(1, 2): 3},
        {Level.LOW: (1,)},
        {Mode.READ: (1,)},
        [(), {(1,): 2}],
        [memoryview(b"x"), ()],
        nested(CALLS_MAX + 1, lambda inner: (inner,), 1),
    ],
    ids=lambda value: re.sub(r" at 0x\w+", "", repr(value)),
)
def test_what_the_encoder_would_take_for_something_else_takes_the_walk(value):
    assert pack_nested(value, NAMED) is None


def test_bytes_that_the_encoder_would_pass_through_take_the_walk():
    for each in (ormsgpack.Ext(1, b"x"), ormsgpack.Ext(16, b"\x90"), ormsgpack.Fragment(b"\xc0")):
        for value in ((each,), [(), {1: each}], {1: each}, Ticket(each)):
            assert pack_nested(value, NAMED) is None


@pytest.mark.parametrize(
    "wrap", [lambda inner: [inner], lambda inner: {"": inner}, lambda inner: {1: inner}], ids=["list", "dict", "int"]
)
@pytest.mark.parametrize("core", [(), (1,), {1}, frozenset(), Ticket(1, 2), [], {}, {(): 1}], ids=repr)
def test_the_last_level_is_the_last_level_in_every_container(wrap, core):
    inner = 1 + (core == {(): 1})  # a tuple as a key is a level too
    deepest = nested(DEPTH_MAX - inner, wrap, core)
    assert encode(decode(encode(deepest, types=NAMED), types=NAMED), types=NAMED) == encode(deepest, types=NAMED)
    with pytest.raises(StateTypeError, match="nested deeper"):
        encode(wrap(deepest), types=NAMED)


def test_tuples_in_tuples_go_as_deep_as_lists():
    deepest = nested(DEPTH_MAX, lambda inner: (inner,), 1)
    assert exactly(decode(encode(deepest)), deepest)
    with pytest.raises(StateTypeError, match="nested deeper"):
        encode((deepest,))


def test_a_value_that_holds_itself_through_other_containers_is_refused():
    ticket = Ticket([])
    ticket.title.append((ticket, ticket))
    for value in (ticket, [ticket], {1: ticket}):
        with pytest.raises(StateTypeError, match="holds itself"):
            encode(value, types=NAMED)


def test_little_stack_and_few_frames_are_enough():
    """The deepest values, in a thread with little stack that has used up most of its frames."""
    deepest = nested(DEPTH_MAX, lambda inner: (inner,), 1)
    mixed = nested(DEPTH_MAX // 2, lambda inner: [(inner,)], 1)
    found = []

    def down(frames):
        if frames:
            down(frames - 1)
        else:
            found.extend(encode(decode(encode(value))) == encode(value) for value in (deepest, mixed))

    before = threading.stack_size(2 << 20)
    try:
        thread = threading.Thread(target=down, args=(sys.getrecursionlimit() - 60,))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert found == [True, True]


def test_only_values_of_the_kinds_asked_for_are_exact():
    plain = frozenset({list, dict, int, str})
    assert is_exact([1, {"a": [2], 3: "b"}], plain)
    for value in (1.5, [1, [1.5]], {"a": 1.5}, {1.5: 1}, [True], {(1,): 1}):
        assert not is_exact(value, plain)
