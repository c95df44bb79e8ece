"""The first and last word of a session."""

import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.codec.canonical import encode as canonical
from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat
from aegis_store.schema.session import SessionBegin, SessionEnd, decode_begin, decode_end, encode_begin, encode_end

names = st.text(st.characters())
BEGIN = ["session-begin", 0, "s", "a", None, None]
END = ["session-end", 0, None]


def test_the_envelopes_are_those_of_the_format():
    assert encode_begin(SessionBegin(session="ticket-4711", agent="planner")) == ormsgpack.packb(
        ["session-begin", 0, "ticket-4711", "planner", None, None]
    )
    assert encode_begin(SessionBegin(session="s", agent="a", role="r", forked_from="f")) == ormsgpack.packb(
        ["session-begin", 0, "s", "a", "r", "f"]
    )
    assert encode_begin(SessionBegin(session="\ud800", agent="a")) == ormsgpack.packb(
        ["session-begin", 0, b"\xed\xa0\x80", "a", None, None]
    )
    assert encode_end(SessionEnd()) == ormsgpack.packb(["session-end", 0, None])
    assert encode_end(SessionEnd(reason="done")) == ormsgpack.packb(["session-end", 0, "done"])


@settings(deadline=None)
@given(st.builds(SessionBegin, session=names, agent=names, role=st.none() | names, forked_from=st.none() | names))
def test_any_begin_comes_back(begin):
    assert decode_begin(encode_begin(begin)) == begin


@settings(deadline=None)
@given(st.builds(SessionEnd, reason=st.none() | names))
def test_any_end_comes_back(end):
    assert decode_end(encode_end(end)) == end


@pytest.mark.parametrize("field", ["session", "agent", "role", "forked_from"])
def test_a_name_is_a_str(field):
    with pytest.raises(InvalidArgument, match=f"^{field} is of type int"):
        encode_begin(SessionBegin(**{"session": "s", "agent": "a", field: 7}))


def test_a_reason_is_a_str():
    with pytest.raises(InvalidArgument, match=r"^reason is of type int"):
        encode_end(SessionEnd(reason=7))


@pytest.mark.parametrize(
    ("place", "value"),
    [(0, "session-end"), (1, -1), (2, None), (2, 7), (2, b"s"), (3, None), (3, []), (4, 0), (4, b""), (5, False), (5, b"\xff")],
)
def test_a_begin_of_another_shape_is_corrupt(place, value):
    with pytest.raises(Corrupt):
        decode_begin(canonical([*BEGIN[:place], value, *BEGIN[place + 1 :]]))


@pytest.mark.parametrize("wire", [["session-begin", 0, None], END[:2], [*END, None], [*END[:2], 7], [*END[:2], b"done"], None])
def test_an_end_of_another_shape_is_corrupt(wire):
    with pytest.raises(Corrupt):
        decode_end(canonical(wire))


def test_a_later_version_is_newer():
    with pytest.raises(NewerFormat):
        decode_begin(canonical(["session-begin", 1]))
    with pytest.raises(NewerFormat):
        decode_end(canonical(["session-end", 1, 2, 3, 4]))


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=60), st.lists(st.none() | st.text(max_size=3) | st.binary(max_size=4), max_size=5))
def test_any_bytes_are_refused_or_are_what_encode_writes(data, fields):
    for decode, encode, schema in ((decode_begin, encode_begin, "session-begin"), (decode_end, encode_end, "session-end")):
        for each in (data, ormsgpack.packb([schema, 0, *fields])):
            try:
                found = decode(each)
            except (Corrupt, NewerFormat):
                continue
            assert encode(found) == each
