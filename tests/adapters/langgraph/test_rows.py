"""Checkpoints of LangGraph as bytes, and back; what is refused before a serializer sees it."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from aegis_store.adapters.langgraph.rows import (
    Opener,
    Row,
    _parted,
    _pieces,
    demand_harmless,
    pack,
    pending_of,
    row_of,
)
from aegis_store.errors import Corrupt, Foreign, InvalidArgument, NewerFormat
from aegis_store.schema.writes import Write, Writes
from tests.adapters.langgraph.made_up import checkpoint

SERDE = JsonPlusSerializer(allowed_msgpack_modules=None)
TYPED = st.tuples(st.text(max_size=9), st.binary(max_size=40))


class Reversed(CipherProtocol):
    """Encrypts nothing worth hiding."""

    def encrypt(self, plaintext):
        return "reversed", plaintext[::-1]

    def decrypt(self, ciphername, ciphertext):
        assert ciphername == "reversed"
        return ciphertext[::-1]


def packed(values, *, before=None, new_versions=(), version="1", serde=SERDE) -> Row:
    made = checkpoint(values, version=version)
    return pack(serde, made, {"source": "loop", "step": 3}, parent="p", new_versions=dict.fromkeys(new_versions), before=before)


# ---- bytes ------------------------------------------------------------------------------------------------------------------


@given(TYPED, st.dictionaries(st.text(max_size=5), TYPED, max_size=6))
def test_a_state_is_put_together_and_taken_apart(whole, channels):
    assert _parted(b"".join(_pieces(whole, channels))) == (whole, channels)


@given(TYPED, st.dictionaries(st.text(max_size=5), TYPED, max_size=3), st.data())
def test_a_state_of_another_length_is_refused(whole, channels, data):
    state = b"".join(_pieces(whole, channels))
    cut = data.draw(st.integers(0, len(state) - 1))
    for other in (state[:cut], state + b"x"):
        with pytest.raises((ValueError, TypeError)):
            _parted(other)


@given(st.binary(max_size=60))
def test_any_bytes_are_a_state_or_refused(data):
    try:
        whole, channels = _parted(data)
    except (ValueError, TypeError):
        return
    assert _parted(b"".join(_pieces(whole, channels))) == (whole, channels)


def as_state(arguments):
    """The same for `Session.checkpoint`."""
    return {name: value for name, value in arguments.items() if name != "pieces"} | {"state": b"".join(arguments["pieces"])}


def test_what_is_packed_comes_back(store):
    row = packed({"a": [1, "two", b"three"], "b": None})
    session = store.session("langgraph/t/")
    session.land(session.submit_plain(**row.arguments()).ref.index)
    back = row_of(session.latest())
    assert back.says_the_same_as(row)
    assert (back.id, back.position, back.is_again) == (row.id, "loop/3", False)
    opener = Opener(SERDE)
    assert opener.checkpoint(back)["channel_values"] == {"a": [1, "two", b"three"], "b": None}
    assert opener.metadata(back) == {"source": "loop", "step": 3}


def test_what_did_not_change_is_not_serialized_again():
    counted = []

    class Counting(JsonPlusSerializer):
        def dumps_typed(self, obj):
            counted.append(obj)
            return super().dumps_typed(obj)

    first = packed({"a": "large", "b": 1}, serde=Counting())
    counted.clear()
    second = packed({"a": "large", "b": 2}, before=first, new_versions=["b"], serde=Counting())
    assert "large" not in counted and 2 in counted
    assert second.channels["a"] is first.channels["a"]
    counted.clear()
    packed({"a": "changed", "b": 2}, before=first, new_versions=["b"], version="2", serde=Counting())
    assert "changed" in counted  # another version, whatever was said to be new


# ---- what is refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        {"state": b""},
        {"state": b"\0\0\0\0"},
        {"state": {"checkpoint": 1}},
        {"metadata": None},
        {"metadata": {"parent": None}},
        {"metadata": {"langgraph": "0", "parent": None, "metadata": ["null", b""]}},
        {"metadata": {"langgraph": 0, "parent": 7, "metadata": ["null", b""]}},
        {"metadata": {"langgraph": 0, "parent": None, "metadata": ["null", "text"]}},
        {"metadata": {"langgraph": 0, "parent": None, "metadata": ["null"]}},
        {"request_id": None},
    ],
    ids=str,
)
def test_what_something_else_wrote_is_no_row(store, arguments):
    session = store.session("langgraph/t/")
    session.checkpoint(**as_state(packed({}).arguments()) | arguments)
    with pytest.raises(Foreign, match="something else wrote it"):
        row_of(session.latest())


def test_a_later_form_is_said_to_be_one(store):
    session = store.session("langgraph/t/")
    session.checkpoint(**as_state(packed({}).arguments()) | {"metadata": {"langgraph": 1}})
    with pytest.raises(NewerFormat, match="later version, 1"):
        row_of(session.latest())


def test_nothing_is_unpickled():
    ran = []

    class Bomb:
        def __reduce__(self):
            return ran.append, (1,)

    with pytest.raises(Corrupt, match="nothing is unpickled"):
        Opener(SERDE).value(("pickle", pickle.dumps(Bomb())))
    assert ran == []


class Module:
    __name__ = "pickle"
    dumps = loads = staticmethod(lambda data: data)


@pytest.mark.parametrize(
    "serde",
    [
        JsonPlusSerializer(pickle_fallback=True),
        EncryptedSerializer(Reversed(), JsonPlusSerializer(pickle_fallback=True)),
        Module(),
    ],
    ids=["fallback", "encrypted", "module"],
)
def test_a_serializer_that_unpickles_is_refused(serde):
    with pytest.raises(InvalidArgument, match="runs whatever somebody put there"):
        demand_harmless(serde)


def test_encrypted_values_and_others_never_mix():
    plain, encrypting = SERDE, EncryptedSerializer(Reversed(), SERDE)
    for value in (None, "text", b"bytes", {"a": 1}):
        assert Opener(encrypting).value(encrypting.dumps_typed(value)) == value
        with pytest.raises(Corrupt, match="is not encrypted"):
            Opener(encrypting).value(plain.dumps_typed(value))
        with pytest.raises(Corrupt, match="has no cipher"):
            Opener(plain).value(encrypting.dumps_typed(value))


# ---- writes -----------------------------------------------------------------------------------------------------------------


def written(task: str, path: str, *rows) -> Writes:
    return Writes(
        request_id="r", task=task, path=path, writes=tuple(Write(place, f"c{place}", "t", value) for place, value in rows)
    )


def test_writes_are_in_the_order_in_which_they_are_applied():
    found = pending_of([written("b", "~1", (1, b""), (0, b"")), written("a", "~2", (0, b"")), written("z", "", (0, b""))])
    assert [(each.task, each.place) for each in found] == [("z", 0), ("b", 0), ("b", 1), ("a", 0)]


def test_special_channels_are_replaced_and_others_keep_the_first():
    found = pending_of([written("t", "", (0, b"first"), (-3, b"first")), written("t", "p", (0, b"second"), (-3, b"second"))])
    assert [(each.path, each.place, each.value[1]) for each in found] == [("", 0, b"first"), ("p", -3, b"second")]
