"""Which key may sign for which agent, and which may not any more."""

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.codec.canonical import encode as canonical
from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat
from aegis_store.schema.keys import KeyAdd, KeyRevoke, decode_add, decode_revoke, encode_add, encode_revoke

KEY = b"K" * 32
ADD = ["key-add", 0, "planner", KEY]
REVOKE = ["key-revoke", 0, "planner", KEY, None]
names = st.text(st.characters())
keys = st.binary(min_size=32, max_size=32)


def test_the_envelopes_are_those_of_the_format():
    assert encode_add(KeyAdd(agent="planner", public_key=KEY)) == ormsgpack.packb(ADD)
    assert encode_revoke(KeyRevoke(agent="planner", public_key=KEY)) == ormsgpack.packb(REVOKE)
    assert encode_revoke(KeyRevoke(agent="planner", public_key=KEY, reason="lost")) == ormsgpack.packb([*REVOKE[:4], "lost"])
    assert encode_add(KeyAdd(agent="\udfff", public_key=KEY)) == ormsgpack.packb(["key-add", 0, b"\xed\xbf\xbf", KEY])


@settings(deadline=None)
@given(
    st.builds(KeyAdd, agent=names, public_key=keys),
    st.builds(KeyRevoke, agent=names, public_key=keys, reason=st.none() | names),
)
def test_any_key_record_comes_back(add, revoke):
    assert decode_add(encode_add(add)) == add
    assert decode_revoke(encode_revoke(revoke)) == revoke


@pytest.mark.parametrize("key", [b"", KEY[:-1], KEY + b"K", "K" * 32, bytearray(KEY), None])
def test_a_public_key_is_32_bytes(key):
    with pytest.raises(InvalidArgument, match="public key"):
        encode_add(KeyAdd(agent="planner", public_key=key))
    with pytest.raises(InvalidArgument, match="public key"):
        encode_revoke(KeyRevoke(agent="planner", public_key=key))


def test_names_are_str():
    with pytest.raises(InvalidArgument, match=r"^agent"):
        encode_add(KeyAdd(agent=None, public_key=KEY))
    with pytest.raises(InvalidArgument, match=r"^agent"):
        encode_revoke(KeyRevoke(agent=b"planner", public_key=KEY))
    with pytest.raises(InvalidArgument, match=r"^reason"):
        encode_revoke(KeyRevoke(agent="planner", public_key=KEY, reason=7))


@pytest.mark.parametrize(
    ("place", "value"), [(0, "key-revoke"), (1, -1), (2, None), (2, b"planner"), (3, "K" * 32), (3, KEY[:-1]), (3, None)]
)
def test_an_add_of_another_shape_is_corrupt(place, value):
    with pytest.raises(Corrupt):
        decode_add(canonical([*ADD[:place], value, *ADD[place + 1 :]]))


@pytest.mark.parametrize(
    ("place", "value"), [(0, "key-add"), (1, -1), (2, None), (2, b"planner"), (3, "K" * 32), (3, KEY + b"K"), (4, 7), (4, b"x")]
)
def test_a_revoke_of_another_shape_is_corrupt(place, value):
    with pytest.raises(Corrupt):
        decode_revoke(canonical([*REVOKE[:place], value, *REVOKE[place + 1 :]]))


def test_fields_are_counted():
    for decode, wire in ((decode_add, [*ADD, None]), (decode_add, ADD[:3]), (decode_revoke, REVOKE[:4]), (decode_revoke, [])):
        with pytest.raises(Corrupt):
            decode(canonical(wire))


def test_a_later_version_is_newer():
    with pytest.raises(NewerFormat):
        decode_add(canonical(["key-add", 1]))
    with pytest.raises(NewerFormat):
        decode_revoke(canonical(["key-revoke", 1]))


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60), st.lists(st.none() | st.text(max_size=3) | st.just(KEY) | st.binary(max_size=4), max_size=4))
def test_any_bytes_are_refused_or_are_what_encode_writes(data, fields):
    for decode, encode, schema in ((decode_add, encode_add, "key-add"), (decode_revoke, encode_revoke, "key-revoke")):
        for each in (data, ormsgpack.packb([schema, 0, *fields])):
            try:
                found = decode(each)
            except (Corrupt, NewerFormat):
                continue
            assert encode(found) == each
