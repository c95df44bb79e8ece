"""Everything that was handed to checkpoint() is in its envelope, in its place."""

import msgspec
import ormsgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.codec.canonical import encode as canonical
from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTypeError
from aegis_store.schema.checkpoint import Checkpoint, decode, encode, encode_plain
from aegis_store.types import MemoryPointer

ROOT = b"R" * 32
FULL = Checkpoint(
    position="step-7",
    claims={"tools": ["grep"]},
    memory_pointer=MemoryPointer(index=5, root=ROOT),
    approvals=[{"id": 1}],
    last_tool_call={"name": "grep"},
    metadata={"user": "u"},
    request_id="r-1",
    state={"messages": ["hello"]},
)
WIRE = ["checkpoint", 0, "step-7", {"tools": ["grep"]}, [5, ROOT], [{"id": 1}], {"name": "grep"}, {"user": "u"}, "r-1",
        {"messages": ["hello"]}]  # fmt: skip

plain = st.none() | st.integers(-5, 2**64 - 1) | st.text(st.characters(exclude_categories=["Cs"])) | st.lists(st.binary())


def test_the_envelope_is_that_of_the_format():
    assert encode(FULL) == ormsgpack.packb(WIRE)
    assert encode(Checkpoint()) == ormsgpack.packb(["checkpoint", 0, *[None] * 8])


def test_a_checkpoint_comes_back():
    assert decode(encode(FULL)) == FULL
    assert decode(encode(Checkpoint())) == Checkpoint()


@settings(deadline=None)
@given(
    st.builds(
        Checkpoint,
        position=plain,
        claims=plain,
        memory_pointer=st.none()
        | st.builds(MemoryPointer, index=st.integers(0, 2**64 - 1), root=st.binary(min_size=32, max_size=32)),
        approvals=plain,
        last_tool_call=plain,
        metadata=plain,
        request_id=st.none() | st.text(st.characters(exclude_categories=["Cs"])),
        state=plain,
    )
)
def test_any_checkpoint_comes_back(checkpoint):
    assert decode(encode(checkpoint)) == checkpoint


def test_what_was_made_of_plain_values_has_the_same_envelope():
    metadata = {"parent": None, "kinds": ["text", b"bytes"], "again": True}
    for size in (0, 300, 70_000):
        whole = Checkpoint(position="loop/3", metadata=metadata, request_id="r", state=b"a" + bytes(size))
        assert encode_plain("loop/3", metadata, "r", [b"a", bytes(size)]) == encode(whole)


@pytest.mark.parametrize("index", [0, 2**64 - 1])
def test_the_first_and_the_last_index_are_indexes(index):
    checkpoint = Checkpoint(memory_pointer=MemoryPointer(index=index, root=ROOT))
    assert decode(encode(checkpoint)) == checkpoint


@pytest.mark.parametrize("field", ["position", "claims", "approvals", "last_tool_call", "metadata", "state"])
def test_what_cannot_be_stored_is_named_by_its_argument(field):
    with pytest.raises(StateTypeError, match=rf'^{field}\["at"\]\[1\] is of type complex'):
        encode(msgspec.structs.replace(FULL, **{field: {"at": [0, 1j]}}))


def test_a_request_id_is_a_str():
    with pytest.raises(InvalidArgument, match="request_id is of type int"):
        encode(Checkpoint(request_id=7))
    with pytest.raises(StateTypeError, match=r"^request_id is a str with a lone surrogate"):
        encode(Checkpoint(request_id="\ud800"))


@pytest.mark.parametrize(
    "pointer",
    [
        MemoryPointer(index=-2, root=ROOT),
        MemoryPointer(index=2**64, root=ROOT),
        MemoryPointer(index=True, root=ROOT),
        MemoryPointer(index=None, root=ROOT),
        MemoryPointer(index=0, root=ROOT[:-1]),
        MemoryPointer(index=0, root=ROOT + b"R"),
        MemoryPointer(index=0, root=bytearray(ROOT)),
    ],
)
def test_a_memory_pointer_is_an_index_and_a_root(pointer):
    with pytest.raises(InvalidArgument, match="memory pointer"):
        encode(Checkpoint(memory_pointer=pointer))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, "session-end"),
        (1, -1),
        (1, False),
        (4, []),
        (4, [5]),
        (4, [5, ROOT, 0]),
        (4, [-2, ROOT]),
        (4, [True, ROOT]),
        (4, [5, ROOT[:-1]]),
        (4, [5, "R" * 32]),
        (4, {"index": 5}),
        (4, 5),
        (8, 5),
        (8, b"r-1"),
    ],
)
def test_another_shape_is_corrupt(place, value):
    with pytest.raises(Corrupt):
        decode(canonical([*WIRE[:place], value, *WIRE[place + 1 :]]))


@pytest.mark.parametrize("wire", [WIRE[:-1], [*WIRE, None], WIRE[:2], [], {}, None])
def test_another_number_of_fields_is_corrupt(wire):
    with pytest.raises(Corrupt):
        decode(canonical(wire))


@pytest.mark.parametrize("version", [1, 2**64 - 1])
def test_a_later_version_is_newer(version):
    with pytest.raises(NewerFormat):
        decode(canonical(["checkpoint", version, {"anything": "else"}]))


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=100), st.integers(0, len(encode(FULL)) - 1), st.integers(0, 255))
def test_any_bytes_are_refused_or_are_what_encode_writes(data, at, value):
    written = bytearray(encode(FULL))
    written[at] = value
    for each in (data, bytes(written), bytes(written[:at])):
        try:
            checkpoint = decode(each)
        except (Corrupt, NewerFormat):
            continue
        assert encode(checkpoint) == each
