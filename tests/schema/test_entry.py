"""The bytes of an entry. The numbers in brackets are those of the head of schema/entry.py."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat
from aegis_store.schema.entry import (
    ENTRY_SIZE,
    NO_LEAF,
    NO_TAG,
    UNSIGNED_SIZE,
    Entry,
    pack,
    pack_unsigned,
    parse,
    signing_message,
    signing_prefix,
)
from aegis_store.types import LINKS, WRITTEN, Kind, Tier

TAG = b"T" * 16
LEAF = b"L" * 32
COMMITMENT = b"C" * 32
KEY_ID = b"KEYI"
SIGNATURE = b"S" * 64
SESSION_KINDS = (Kind.SESSION_BEGIN, Kind.CHECKPOINT, Kind.SESSION_END)
#: Those that concern no one session.
#: What takes something away, or keeps somebody else from it, is never in the audit tier.
NEVER = [(kind, Tier.AUDIT) for kind in (Kind.PRUNE, Kind.ERASE, Kind.HOLD, Kind.HOLD_RELEASE)]
#: Links that stand in one tier only.
ONLY_IN = {Kind.AUDIT_EVENT: Tier.AUDIT, Kind.MEMORY_ITEM: Tier.MEMORY, Kind.WRITES: Tier.SESSION}
APART_KINDS = (Kind.KEY_ADD, Kind.KEY_REVOKE, Kind.DICTIONARY, Kind.PRUNE)


def checkpoint(**changed):
    fields = {
        "kind": Kind.CHECKPOINT,
        "tier": Tier.SESSION,
        "epoch": 0x01020304,
        "session_tag": TAG,
        "ordinal": 0x11121314,
        "time_ms": 0x212223242526,
        "parent": 0x313233343536,
        "parent_leaf": LEAF,
        "commitment": COMMITMENT,
        "length": 0x41424344,
        "key_id": KEY_ID,
    }
    return {**fields, **changed}


def key_add(**changed):
    fields = {"kind": Kind.KEY_ADD, "session_tag": NO_TAG, "ordinal": 0, "parent": None, "parent_leaf": NO_LEAF}
    return checkpoint(**{**fields, **changed})


def writes(**changed):
    fields = {"kind": Kind.WRITES, "parent": None, "parent_leaf": NO_LEAF, "request_tag": b"REQUESTS"}
    return checkpoint(**{**fields, **changed})


def entry_bytes(**changed):
    return pack_unsigned(**checkpoint(**changed)) + SIGNATURE


def with_byte(data, offset, value):
    return data[:offset] + bytes([value]) + data[offset + 1 :]


def with_bytes(data, offset, value):
    return data[:offset] + value + data[offset + len(value) :]


def test_every_field_lies_where_the_format_says():
    data = entry_bytes()
    assert len(data) == ENTRY_SIZE == 176
    assert [data[start:end] for start, end in ((0, 4), (4, 8), (8, 24), (24, 28), (28, 34), (34, 40))] == [
        bytes([0, 2, 3, 0]),
        bytes([4, 3, 2, 1]),
        TAG,
        bytes([0x14, 0x13, 0x12, 0x11]),
        bytes([0x26, 0x25, 0x24, 0x23, 0x22, 0x21]),
        bytes([0x36, 0x35, 0x34, 0x33, 0x32, 0x31]),
    ]
    assert [data[start:end] for start, end in ((40, 72), (72, 104), (104, 108), (108, 112), (112, 176))] == [
        LEAF,
        COMMITMENT,
        bytes([0x44, 0x43, 0x42, 0x41]),
        KEY_ID,
        SIGNATURE,
    ]


def test_no_parent_is_all_ones_and_no_leaf():
    data = pack_unsigned(**key_add())
    assert data[8:24] == bytes(16)
    assert data[34:40] == b"\xff" * 6
    assert data[40:72] == bytes(32)


def test_the_signed_message_is_that_of_the_format():
    store_id = b"I" * 16
    unsigned = pack_unsigned(**checkpoint())
    message = b"aegis-store/v0/entry\n" + store_id + b"\3\0\0\0" + unsigned
    assert signing_message(store_id, Tier.SESSION, unsigned) == message
    asked = pack_unsigned(**checkpoint(request_tag=b"REQUESTS"))
    assert asked == with_byte(unsigned, 3, 1) + b"REQUESTS"
    assert signing_message(store_id, Tier.SESSION, asked) == message[:-UNSIGNED_SIZE] + asked
    assert signing_prefix(store_id, Tier.SESSION) + unsigned == message
    assert len(unsigned) == UNSIGNED_SIZE
    with pytest.raises(InvalidArgument, match="store id"):
        signing_prefix(store_id[:-1], Tier.SESSION)


# ---- what comes back


@st.composite
def entries(draw):
    kind = draw(st.sampled_from(sorted(WRITTEN)))
    parented = kind in LINKS or kind is Kind.SESSION_END or (kind is Kind.SESSION_BEGIN and draw(st.booleans()))
    something = st.binary(min_size=32, max_size=32)
    ordinal = draw(st.integers(1, 2**32 - 1))
    if kind in APART_KINDS or (kind is Kind.SESSION_BEGIN and not parented):
        ordinal = 0
    return Entry(
        kind=kind,
        tier=ONLY_IN[kind] if kind in ONLY_IN else draw(st.sampled_from([tier for tier in Tier if (kind, tier) not in NEVER])),
        epoch=draw(st.integers(0, 2**32 - 1)),
        session_tag=NO_TAG if kind in APART_KINDS else draw(st.binary(min_size=16, max_size=16).filter(any)),
        ordinal=ordinal,
        time_ms=draw(st.integers(0, 2**48 - 1)),
        parent=draw(st.integers(0, 2**48 - 2)) if parented else None,
        parent_leaf=draw(something.filter(any)) if parented else NO_LEAF,
        commitment=draw(something),
        length=draw(st.integers(0, 2**32 - 1)),
        key_id=draw(st.binary(min_size=4, max_size=4)),
        signature=draw(st.binary(min_size=64, max_size=64)),
        request_tag=draw(
            st.binary(min_size=8, max_size=8)
            if kind is Kind.WRITES
            else st.none() | st.binary(min_size=8, max_size=8)
            if kind in LINKS
            else st.none()
        ),
    )


@settings(deadline=None)
@given(entries())
def test_an_entry_comes_back(entry):
    assert parse(pack(entry)) == entry
    assert type(parse(pack(entry)).kind) is Kind
    assert type(parse(pack(entry)).tier) is Tier


def test_defaults_are_those_of_a_record_outside_of_sessions():
    given_all = pack_unsigned(**key_add(epoch=0))
    named = {"kind": Kind.KEY_ADD, "tier": Tier.SESSION, "time_ms": 0x212223242526}
    assert pack_unsigned(**named, commitment=COMMITMENT, length=0x41424344, key_id=KEY_ID) == given_all


def survives(data):
    try:
        entry = parse(data)
    except (Corrupt, NewerFormat):
        return
    assert pack(entry) == data


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200) | st.binary(min_size=176, max_size=176) | st.binary(min_size=184, max_size=184))
def test_any_bytes_are_refused_or_are_what_pack_writes(data):
    survives(data)
    for flags in (0, 1):
        survives(with_bytes(data, 0, bytes([0, 2, 3, flags])))


@settings(deadline=None, max_examples=200)
@given(entries(), st.integers(0, 175), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_is_what_pack_writes(entry, at, flip):
    data = pack(entry)
    survives(with_byte(data, at, data[at] ^ flip))


# ---- what is refused when read


@pytest.mark.parametrize("size", [0, 1, 112, 175, 177, 352])
def test_1_an_entry_of_another_size_is_corrupt(size):
    with pytest.raises(Corrupt, match="176 bytes"):
        parse((entry_bytes() * 2)[:size])


def test_1_the_request_tag_and_its_flag_go_together():
    asked = entry_bytes(request_tag=b"REQUESTS")
    assert (len(asked), parse(asked).request_tag, parse(asked).signature) == (184, b"REQUESTS", SIGNATURE)
    assert parse(entry_bytes()).request_tag is None
    for broken in (with_byte(asked, 3, 0), with_byte(entry_bytes(), 3, 1)):
        with pytest.raises(Corrupt, match="bytes and flags"):
            parse(broken)


@pytest.mark.parametrize("data", [with_byte(entry_bytes(), 0, 1), with_byte(entry_bytes(), 3, 2), b"\1" + bytes(300)])
def test_2_another_version_or_flag_is_newer(data):
    with pytest.raises(NewerFormat, match=r"version 1|flags 2"):
        parse(data)


@pytest.mark.parametrize("kind", [11, *range(16, 20), 255])
def test_3_a_reserved_kind_is_newer(kind):
    with pytest.raises(NewerFormat, match=f"kind {kind}"):
        parse(with_byte(entry_bytes(), 1, kind))


def test_3_no_kind_is_corrupt():
    with pytest.raises(Corrupt, match="kind"):
        parse(with_byte(entry_bytes(), 1, 0))


@pytest.mark.parametrize("tier", [0, 5, 255])
def test_3_another_tier_is_corrupt(tier):
    with pytest.raises(Corrupt, match=f"tier {tier}"):
        parse(with_byte(entry_bytes(), 2, tier))


@pytest.mark.parametrize("kind", SESSION_KINDS)
def test_4_a_parent_has_index_and_leaf_hash_or_neither(kind):
    data = entry_bytes(kind=kind)
    for broken in (with_bytes(data, 40, NO_LEAF), with_bytes(data, 34, b"\xff" * 6)):
        with pytest.raises(Corrupt, match="not by both"):
            parse(broken)


@pytest.mark.parametrize("kind", [Kind.CHECKPOINT, Kind.SESSION_END])
def test_5_a_checkpoint_and_an_end_have_a_parent(kind):
    orphan = with_bytes(with_bytes(entry_bytes(kind=kind), 34, b"\xff" * 6), 40, NO_LEAF)
    with pytest.raises(Corrupt, match="no parent"):
        parse(orphan)


@pytest.mark.parametrize("kind", APART_KINDS)
def test_5_a_record_of_no_session_has_none(kind):
    data = pack_unsigned(**{**key_add(), "kind": kind}) + SIGNATURE
    assert parse(data).parent is None
    with pytest.raises(Corrupt, match="has a parent"):
        parse(with_bytes(with_bytes(data, 34, bytes(6)), 40, LEAF))


def test_5_a_chunk_has_none():
    chunk = checkpoint(kind=Kind.CHUNK, parent=None, parent_leaf=NO_LEAF)
    assert parse(pack_unsigned(**chunk) + SIGNATURE).ordinal == chunk["ordinal"]
    with pytest.raises(Corrupt, match="of kind chunk has a parent"):
        parse(with_byte(entry_bytes(), 1, Kind.CHUNK))


def test_5_a_session_begin_has_one_if_it_is_a_fork():
    fork = checkpoint(kind=Kind.SESSION_BEGIN)
    assert parse(pack_unsigned(**fork) + SIGNATURE).parent == fork["parent"]
    alone = {**fork, "parent": None, "parent_leaf": NO_LEAF, "ordinal": 0}
    assert parse(pack_unsigned(**alone) + SIGNATURE).parent is None


def test_6_the_tag_is_there_exactly_for_sessions():
    for kind in SESSION_KINDS:
        with pytest.raises(Corrupt, match="no session tag"):
            parse(with_bytes(entry_bytes(kind=kind), 8, NO_TAG))
    with pytest.raises(Corrupt, match="has a session tag"):
        parse(with_bytes(pack_unsigned(**key_add()) + SIGNATURE, 8, TAG))


def test_7_the_ordinal_of_a_key_is_0_and_of_a_begin_where_it_is_no_fork():
    with pytest.raises(Corrupt, match="ordinal 1, not 0"):
        parse(with_byte(pack_unsigned(**key_add()) + SIGNATURE, 24, 1))
    alone = pack_unsigned(**key_add(kind=Kind.SESSION_BEGIN, session_tag=TAG)) + SIGNATURE
    with pytest.raises(Corrupt, match="with checkpoint 1, and no checkpoint before it"):
        parse(with_byte(alone, 24, 1))
    with pytest.raises(Corrupt, match="with checkpoint 0, and a checkpoint before it"):
        parse(with_bytes(entry_bytes(kind=Kind.SESSION_BEGIN), 24, bytes(4)))


@pytest.mark.parametrize("kind", [Kind.SESSION_BEGIN, Kind.SESSION_END])
def test_8_only_a_checkpoint_has_a_request_tag(kind):
    with pytest.raises(Corrupt, match="has a request tag"):
        parse(with_byte(entry_bytes(request_tag=b"REQUESTS"), 1, kind))


def test_8_writes_always_have_a_request_tag():
    data = pack_unsigned(**writes()) + SIGNATURE
    assert parse(data).request_tag == b"REQUESTS"
    bare = with_byte(data[:UNSIGNED_SIZE], 3, 0) + SIGNATURE
    with pytest.raises(Corrupt, match="of kind writes has no request tag"):
        parse(bare)
    with pytest.raises(InvalidArgument, match="writes have a request tag"):
        pack_unsigned(**writes(request_tag=None))


def test_5_and_6_writes_have_a_session_and_no_parent():
    with pytest.raises(Corrupt, match="of kind writes has a parent"):
        parse(with_byte(entry_bytes(request_tag=b"REQUESTS"), 1, Kind.WRITES))
    with pytest.raises(Corrupt, match="no session tag"):
        parse(with_bytes(pack_unsigned(**writes()) + SIGNATURE, 8, NO_TAG))


# ---- what is refused when written


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": 0},
        {"kind": Kind.FENCE},
        {"kind": Kind.WRITES, "parent": None, "parent_leaf": NO_LEAF},
        {"kind": Kind.WRITES, "request_tag": b"REQUESTS"},
        {"kind": 300},
        {"tier": 0},
        {"tier": 5},
        {"epoch": -1},
        {"epoch": 2**32},
        {"session_tag": b"T" * 15},
        {"session_tag": b"T" * 17},
        {"session_tag": NO_TAG},
        {"ordinal": -1},
        {"ordinal": 2**32},
        {"time_ms": -1},
        {"time_ms": 2**48},
        {"parent": -1},
        {"parent": 2**48 - 1},
        {"parent": 2**48},
        {"parent": None},
        {"parent_leaf": NO_LEAF},
        {"parent": None, "parent_leaf": NO_LEAF},
        {"parent_leaf": b"L" * 31},
        {"commitment": b"C" * 31},
        {"commitment": b"C" * 33},
        {"commitment": b"C" * 31, "parent_leaf": b"L" * 31},
        {"length": -1},
        {"length": 2**32},
        {"key_id": b"KEY"},
        {"key_id": b"KEYID"},
        {"kind": Kind.SESSION_BEGIN, "ordinal": 0},
        {"kind": Kind.SESSION_END, "request_tag": b"REQUESTS"},
        {"request_tag": b"REQUEST"},
    ],
    ids=str,
)
def test_what_parse_would_refuse_is_not_packed(wrong):
    with pytest.raises(InvalidArgument):
        pack_unsigned(**checkpoint(**wrong))


@pytest.mark.parametrize("size", [0, 63, 65])
def test_a_signature_of_another_length_is_not_packed(size):
    entry = parse(entry_bytes())
    with pytest.raises(InvalidArgument, match="signature"):
        pack(msgspec.structs.replace(entry, signature=bytes(size)))


@pytest.mark.parametrize(("kind", "tier"), NEVER)
def test_9_nothing_in_the_audit_tier_says_that_anything_goes(kind, tier):
    fields = {"kind": kind, "tier": tier, "time_ms": 1, "commitment": bytes(32), "length": 0, "key_id": bytes(4)}
    if kind is not Kind.PRUNE:
        fields["session_tag"] = b"t" * 16
    allowed = pack_unsigned(**{**fields, "tier": Tier.SESSION})
    assert parse(allowed + SIGNATURE).kind is kind
    with pytest.raises(InvalidArgument, match=f"of kind {kind.label} is in tier audit"):
        pack_unsigned(**fields)
    with pytest.raises(Corrupt, match=f"of kind {kind.label} is in tier audit"):
        parse(allowed[:2] + bytes([tier]) + allowed[3:] + SIGNATURE)


@pytest.mark.parametrize(("kind", "tier"), ONLY_IN.items())
def test_9_an_audit_event_a_memory_item_and_writes_stand_in_their_tiers(kind, tier):
    link = checkpoint(kind=kind, tier=tier) if kind in LINKS else writes()
    assert parse(pack_unsigned(**link) + SIGNATURE).tier is tier
    for other in set(Tier) - {tier}:
        with pytest.raises(InvalidArgument, match=f"of kind {kind.label} is in tier {other.label}"):
            pack_unsigned(**{**link, "tier": other})
        with pytest.raises(Corrupt, match=f"of kind {kind.label} is in tier {other.label}"):
            parse(with_byte(pack_unsigned(**link) + SIGNATURE, 2, other))
