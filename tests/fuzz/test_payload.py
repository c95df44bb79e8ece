"""A stranger's bytes through every decoder of records: a value, or a typed error that says what is wrong; never anything else.

What is decoded has one form: encoded again it is the same bytes. Outputs are bounded by what was announced and allowed. The C
decoders have targets of their own (fuzz_*.c). AEGIS_FUZZ_RUNS=1000000 looks longer.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import os
import struct
import uuid
import zoneinfo

import msgspec
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.codec import canonical, payload, tagged
from aegis_store.codec.compression import Dictionary, compress, decompress
from aegis_store.errors import AegisError
from aegis_store.schema import checkpoint, dictionary, entry, keys, session
from aegis_store.schema.requests import request_id_of
from aegis_store.types import Kind, LogIndex, MemoryPointer, Tier, TimeMs
from tests.fuzz.mutate import WORDS, search
from tests.values import NAMED, Colour, Level, values

RUNS = int(os.environ.get("AEGIS_FUZZ_RUNS", "3000"))
SEED = 1
LIMIT = 1 << 20
SALT = bytes(16)

VALUES = [
    None,
    True,
    -(2**63),
    2**64 - 1,
    2**70,
    -1.5,
    float("nan"),
    "text",
    "é" * 40,
    b"bytes",
    bytearray(b"b"),
    [1, [2, [3]]],
    {"a": {"b": [1, 2, 3]}, "c": None},
    (1, (2, ())),
    {1, 2, "x"},
    frozenset({b"", 5}),
    {(1, 2): "key", None: 1},
    decimal.Decimal("-1.10"),
    uuid.UUID(int=7),
    datetime.date(2026, 1, 31),
    datetime.time(12, 0, 1, 5, fold=1),
    datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.UTC),
    datetime.datetime(2026, 1, 31, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    datetime.timedelta(days=-1, seconds=3),
    [[[[[[[[("deep", {"er": [{1}]})]]]]]]]],
]
ENVELOPE = canonical.encode({"messages": [{"role": "user", "content": "hello " * 40}] * 5})
COMMON = Dictionary(7, ENVELOPE[: len(ENVELOPE) // 2])
ENTRY = entry.Entry(
    kind=Kind.CHECKPOINT,
    tier=Tier.SESSION,
    epoch=0,
    session_tag=b"T" * 16,
    ordinal=4,
    time_ms=TimeMs(1_700_000_000_000),
    parent=LogIndex(3),
    parent_leaf=b"L" * 32,
    commitment=b"C" * 32,
    length=100,
    key_id=b"KEYI",
    signature=b"S" * 64,
    request_tag=None,
)


def as_value(data):
    assert canonical.encode(canonical.decode(data)) == data


def as_named_value(data):
    assert canonical.encode(canonical.decode(data, types=NAMED), types=NAMED) == data


def as_json(data):
    text = tagged.dumps(tagged.loads(data))
    assert tagged.dumps(tagged.loads(text)) == text


def as_named_json(data):
    text = tagged.dumps(tagged.loads(data, types=NAMED), types=NAMED)
    assert tagged.dumps(tagged.loads(text, types=NAMED), types=NAMED) == text


def as_entry(data):
    assert entry.pack(entry.parse(data)) == data


def as_checkpoint(data):
    assert checkpoint.encode(checkpoint.decode(data)) == data
    assert request_id_of(Kind.CHECKPOINT, data) == checkpoint.decode(data).request_id


def as_request_id(data):
    found = request_id_of(Kind.CHECKPOINT, data)
    assert found is None or type(found) is str


def as_begin(data):
    assert session.encode_begin(session.decode_begin(data)) == data


def as_end(data):
    assert session.encode_end(session.decode_end(data)) == data


def as_key_add(data):
    assert keys.encode_add(keys.decode_add(data)) == data


def as_key_revoke(data):
    assert keys.encode_revoke(keys.decode_revoke(data)) == data


def as_dictionary(data):
    assert dictionary.encode(dictionary.decode(data)) == data


def as_primed_frame(data):
    """As a frame, with a dictionary."""
    length = data[0] * 20 if data else 0
    assert len(decompress(data[1:], length=length, dictionary=COMMON)) == length


def as_frame(data):
    """One byte for the length that the entry gives, in steps that meet the corpus, then a zstd frame."""
    length = data[0] * 20 if data else 0
    assert len(decompress(data[1:], length=length)) == length


def as_payload(data):
    """A length u32, then a payload whose chunks are pieces of itself. The commitment is made right, to get past it."""
    length = int.from_bytes(data[:4], "little")
    rest = data[4:]

    def chunk(index):
        return rest[index % 50 : index % 50 + 40]

    envelope = ENVELOPE if rest[:1] == b"\x01" else rest[payload.HEADER_SIZE :]
    commitment = payload.commit(envelope, rest[2 : payload.HEADER_SIZE])
    found = payload.open_payload(
        rest, length=length, commitment=commitment, limit=LIMIT, chunk=chunk, dictionary=lambda _: COMMON
    )
    assert len(found) == length <= LIMIT and found == envelope


def some_values():
    return [canonical.encode(value) for value in VALUES]


def some_named_values():
    return [canonical.encode([value, Level.LOW, Colour.BLUE], types=NAMED) for value in VALUES]


def some_json():
    return [tagged.dumps(value) for value in VALUES]


def some_entries():
    fork = {"kind": Kind.SESSION_BEGIN, "parent": LogIndex(3), "parent_leaf": b"L" * 32}
    first = {"kind": Kind.SESSION_BEGIN, "parent": None, "parent_leaf": bytes(32), "ordinal": 0}
    add = {**first, "kind": Kind.KEY_ADD, "session_tag": bytes(16)}
    return [entry.pack(replaced(ENTRY, **changed)) for changed in ({}, {"request_tag": b"R" * 8}, fork, first, add)]


def replaced(record, **changed):
    return msgspec.structs.replace(record, **changed)


def some_checkpoints():
    pointer = MemoryPointer(index=LogIndex(5), root=b"R" * 32)
    full = checkpoint.Checkpoint(position="p", claims=[1], memory_pointer=pointer, metadata={"a": 1}, request_id="r")
    return [checkpoint.encode(each) for each in (checkpoint.Checkpoint(), full, checkpoint.Checkpoint(state=(1, {2})))]


def some_begins():
    return [
        session.encode_begin(session.SessionBegin(session="s", agent="a", role="r", forked_from="t")),
        session.encode_begin(session.SessionBegin(session="\ud800", agent="")),
    ]


def some_frames():
    sizes = [20, 200, 2000]
    return [
        bytes([size // 20]) + zstandard.ZstdCompressor(write_content_size=True).compress(b"ab" * (size // 2)) for size in sizes
    ]


def some_primed_frames():
    texts = [(ENVELOPE * 5)[: len(ENVELOPE) // 40 * 20], ENVELOPE[: len(ENVELOPE) // 20 * 20]]
    return [bytes([len(text) // 20]) + compress(text, COMMON) for text in texts]


def some_payloads():
    sealed, _, length = payload.seal(ENVELOPE, SALT)
    raw, _, raw_length = payload.seal(b"short", SALT)
    primed, _, _ = payload.seal(ENVELOPE, SALT, COMMON)
    assert primed[1] == 16
    parted = payload.in_chunks(sealed, [1, 2, 3])
    frame = compress(ENVELOPE)
    assert frame is not None and sealed.endswith(frame)
    return [
        struct.pack("<I", size) + each
        for size, each in (
            (length, sealed),
            (raw_length, raw),
            (length, parted),
            (120, parted),
            (length, primed),
            (length, payload.in_chunks(primed, [1, 2])),
        )
    ]


DECODERS = {
    "value": (as_value, some_values),
    "named value": (as_named_value, some_named_values),
    "tagged JSON": (as_json, some_json),
    "named JSON": (as_named_json, some_json),
    "entry": (as_entry, some_entries),
    "checkpoint": (as_checkpoint, some_checkpoints),
    "request id": (as_request_id, some_checkpoints),
    "session-begin": (as_begin, some_begins),
    "session-end": (
        as_end,
        lambda: [session.encode_end(session.SessionEnd(reason=reason)) for reason in (None, "done", "\ud800")],
    ),
    "key-add": (as_key_add, lambda: [keys.encode_add(keys.KeyAdd(agent="a", public_key=b"K" * 32))]),
    "key-revoke": (as_key_revoke, lambda: [keys.encode_revoke(keys.KeyRevoke(agent="a", public_key=b"K" * 32, reason="r"))]),
    "dictionary": (as_dictionary, lambda: [dictionary.encode(content) for content in (b"x", b"text" * 100)]),
    "zstd frame": (as_frame, some_frames),
    "zstd frame with a dictionary": (as_primed_frame, some_primed_frames),
    "payload": (as_payload, some_payloads),
}


@pytest.mark.parametrize("name", DECODERS)
def test_a_strangers_bytes_are_a_value_or_a_typed_error(name):
    decode, corpus = DECODERS[name]
    tried, found = search(decode, corpus(), seed=SEED, count=RUNS)
    assert found is None, f"input {tried}: {found.data[:300]!r}: {found.error!r}"


@pytest.mark.parametrize("name", DECODERS)
def test_a_bug_that_is_planted_is_found(name):
    """A decoder that looks at one thing less: whatever the mutants make of the last byte is let through as something else."""
    decode, corpus = DECODERS[name]
    good = {data[-1:] for data in corpus()}

    def careless(data):
        if data[-1:] not in good and len(data) > 3:
            raise IndexError("read past the end")
        decode(data)

    assert search(careless, corpus(), seed=SEED, count=RUNS)[1] is not None


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(st.binary(max_size=12), st.sampled_from(WORDS)), max_size=8).map(b"".join))
def test_arbitrary_bytes_are_a_value_or_a_typed_error(data):
    for decode, _ in DECODERS.values():
        try:
            decode(data)
        except AegisError:
            continue


@settings(deadline=None, max_examples=100)
@given(values, st.data())
def test_one_changed_byte_of_a_value_is_a_value_or_a_typed_error(value, data):
    packed = bytearray(canonical.encode(value, types=NAMED))
    at = data.draw(st.integers(0, len(packed) - 1))
    packed[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(AegisError):
        as_named_value(bytes(packed))


@pytest.mark.parametrize("levels", [255, 256, 1000, 20_000, 200_000])
@pytest.mark.parametrize("head", [b"\x91", b"\x81\x01", b"\xc9\x00\x00\x00\x05\x10"], ids=["array", "map", "extension"])
def test_nesting_without_end_is_a_typed_error_or_a_value(head, levels):
    with contextlib.suppress(AegisError):
        canonical.decode(head * levels + b"\xc0")


@pytest.mark.parametrize("levels", [100, 255, 400, 990, 20_000])
@pytest.mark.parametrize("brackets", [("[", "]"), ('{"a":', "}"), ('{"$tuple":[', "]}")], ids=["list", "dict", "tuple"])
def test_json_that_nests_without_end_is_a_typed_error_or_a_value(brackets, levels):
    opening, closing = brackets
    with contextlib.suppress(AegisError):
        tagged.loads((opening * levels + "1" + closing * levels).encode())
