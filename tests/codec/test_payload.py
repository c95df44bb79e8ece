"""What was sealed opens, and nothing else does."""

import pytest
import zstandard
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.codec.compression import SMALL_MAX, Dictionary
from aegis_store.codec.payload import HEADER_SIZE, commit, in_chunks, open_payload, seal, seal_delta, split
from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTooLarge

SALT = bytes(range(16))
TEXT = b"a checkpoint is an agent's saved state; " * 15
LIMIT = 1 << 20
#: Half of it is in what is compressed with it.
WORDS = Dictionary(0x060504030201, bytes(each * 7 % 256 for each in range(500)))
PRIMED = 16


def as_the_format_says(envelope, salt):
    return blake3(b"aegis-store/v0/commitment\n" + salt + len(envelope).to_bytes(8, "little") + envelope).digest()


@pytest.mark.parametrize("size", [0, 1, 1000, 65536, 65537, 300_000])
def test_the_commitment_is_that_of_the_format(size):
    envelope = bytes(each % 251 for each in range(size))
    assert commit(envelope, SALT) == as_the_format_says(envelope, SALT)
    assert seal(envelope, SALT)[1:] == (as_the_format_says(envelope, SALT), size)


def test_a_commitment_in_full():
    assert commit(b"envelope", SALT).hex() == "5abd8a4f527f752384d8b891ec822a9e090889c34172e84282cc18bd9fed55fc"


def test_the_header_is_that_of_the_format():
    assert seal(b"short", SALT)[0] == b"\0\0" + SALT + b"short"
    payload, _, _ = seal(TEXT, SALT)
    assert payload[:HEADER_SIZE] == b"\1\0" + SALT
    assert zstandard.decompress(payload[HEADER_SIZE:]) == TEXT


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(1, 40), st.binary(min_size=16, max_size=16))
def test_what_was_sealed_opens(part, times, salt):
    envelope = part * times
    payload, commitment, length = seal(envelope, salt)
    assert len(payload) <= len(envelope) + HEADER_SIZE
    assert open_payload(payload, length=length, commitment=commitment, limit=len(envelope)) == envelope


@pytest.mark.parametrize("envelope", [b"", b"short", TEXT], ids=["empty", "short", "long"])
def test_another_encoding_of_the_same_envelope_opens(envelope):
    _, commitment, length = seal(envelope, SALT)
    raw = b"\0\0" + SALT + envelope
    assert open_payload(raw, length=length, commitment=commitment, limit=LIMIT) == envelope
    if envelope:
        packed = b"\1\0" + SALT + zstandard.ZstdCompressor(level=19).compress(envelope)
        assert open_payload(packed, length=length, commitment=commitment, limit=LIMIT) == envelope


@pytest.mark.parametrize("size", [0, 15, 17])
def test_a_salt_of_another_length_is_refused(size):
    with pytest.raises(InvalidArgument, match="salt"):
        seal(TEXT, bytes(size))


@pytest.mark.parametrize("envelope", [b"short", TEXT], ids=["raw", "zstd"])
def test_no_changed_byte_gives_another_envelope(envelope):
    payload, commitment, length = seal(envelope, SALT)
    for at in range(len(payload)):
        changed = bytearray(payload)
        changed[at] ^= 1
        try:
            opened = open_payload(bytes(changed), length=length, commitment=commitment, limit=LIMIT)
        except (Corrupt, NewerFormat):
            continue
        assert opened == envelope  # zstd has bits that mean nothing
        assert at >= HEADER_SIZE
        assert payload[0] == 1
    for end in range(len(payload)):
        with pytest.raises(Corrupt):
            open_payload(payload[:end], length=length, commitment=commitment, limit=LIMIT)
    with pytest.raises(Corrupt):
        open_payload(payload + b"\0", length=length, commitment=commitment, limit=LIMIT)


@pytest.mark.parametrize("envelope", [b"short", TEXT], ids=["raw", "zstd"])
def test_another_commitment_salt_or_length_is_refused(envelope):
    payload, commitment, length = seal(envelope, SALT)
    for wrong in (bytes(32), b"", commitment[:-1], commitment + b"\0"):
        with pytest.raises(Corrupt, match="commits"):
            open_payload(payload, length=length, commitment=wrong, limit=LIMIT)
    for wrong in (0, length - 1, length + 1):
        with pytest.raises(Corrupt):
            open_payload(payload, length=wrong, commitment=commitment, limit=LIMIT)
    with pytest.raises(Corrupt, match="commits"):
        open_payload(payload[:2] + bytes(16) + payload[18:], length=length, commitment=commitment, limit=LIMIT)


def test_a_state_above_the_limit_is_refused_before_anything_else():
    payload, commitment, length = seal(TEXT, SALT)
    with pytest.raises(StateTooLarge, match="limit"):
        open_payload(b"", length=length, commitment=commitment, limit=length - 1)
    assert open_payload(payload, length=length, commitment=commitment, limit=length) == TEXT


@pytest.mark.parametrize("form", [b"\2\0", b"\0\1", b"\1\1", b"\xff\xff"])
def test_other_codecs_and_flags_are_of_a_later_version(form):
    payload, commitment, length = seal(TEXT, SALT)
    with pytest.raises(NewerFormat, match="codec"):
        open_payload(form + payload[2:], length=length, commitment=commitment, limit=LIMIT)


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=64), st.integers(0, 64))
def test_any_bytes_are_refused(data, length):
    for payload in (data, b"\0\0" + data, b"\1\0" + SALT + b"\x28\xb5\x2f\xfd" + data):
        with pytest.raises((Corrupt, NewerFormat)):
            open_payload(payload, length=length, commitment=bytes(32), limit=LIMIT)


# ---- with a dictionary ----------------------------------------------------------------------------------


def test_the_header_names_the_dictionary_behind_the_base():
    envelope = WORDS.content[:250] * 2
    payload, commitment, length = seal(envelope, SALT, WORDS)
    assert payload[:24] == b"\1\x10" + SALT + bytes(range(1, 7))
    assert len(payload) < 60 and len(seal(envelope, SALT).payload) > 250
    assert (commitment, length) == seal(envelope, SALT)[1:]
    delta = seal_delta(WORDS.content, envelope, SALT, base=9, dictionary=WORDS).payload
    assert delta[:30] == b"\1\x1c" + SALT + b"\x09\0\0\0\0\0" + bytes(range(1, 7))
    assert seal_delta(WORDS.content, envelope, SALT, base=None, dictionary=WORDS).payload[1] == PRIMED | 4


def test_what_was_sealed_with_a_dictionary_opens_with_it():
    payload, commitment, length = seal(WORDS.content, SALT, WORDS)
    asked = []

    def dictionary(index):
        asked.append(index)
        return WORDS

    assert open_payload(payload, length=length, commitment=commitment, limit=LIMIT, dictionary=dictionary) == WORDS.content
    assert asked == [WORDS.index]
    with pytest.raises(Corrupt, match="where it cannot be"):
        open_payload(payload, length=length, commitment=commitment, limit=LIMIT)
    for other in (Dictionary(1, WORDS.content[::-1]), Dictionary(1, b"x"), Dictionary(1, WORDS.content + b"x")):
        with pytest.raises(Corrupt):
            open_payload(payload, length=length, commitment=commitment, limit=LIMIT, dictionary=lambda _, other=other: other)
    for end in range(len(payload)):
        with pytest.raises(Corrupt):
            open_payload(payload[:end], length=length, commitment=commitment, limit=LIMIT, dictionary=dictionary)


def test_it_goes_into_chunks_with_its_names(monkeypatch):
    monkeypatch.setattr("aegis_store.codec.payload.CHUNK_BYTES", 8)
    payload, commitment, length = seal(WORDS.content, SALT, WORDS)
    pieces = split(payload)
    assert b"".join(pieces) == payload[24:] and len(pieces) > 1
    parted = in_chunks(payload, range(len(pieces)))
    assert parted[1] == PRIMED | 2 and parted[18:24] == payload[18:24]
    opened = open_payload(
        parted,
        length=length,
        commitment=commitment,
        limit=LIMIT,
        chunk=pieces.__getitem__,
        dictionary=lambda _: WORDS,
    )
    assert opened == WORDS.content


@pytest.mark.parametrize("gain", [6, 7])
def test_a_dictionary_that_gains_no_more_than_its_name_takes_is_not_used(monkeypatch, gain):
    envelope = bytes(range(100))
    monkeypatch.setattr("aegis_store.codec.payload.compress", lambda data, dictionary=None: dictionary and data[gain:])
    assert seal(envelope, SALT, WORDS).payload[:2] == (b"\0\0" if gain == 6 else b"\1\x10")


def test_what_is_large_is_compressed_without():
    for size, flag in ((SMALL_MAX, PRIMED), (SMALL_MAX + 1, 0)):
        assert seal(bytes(size), SALT, WORDS).payload[1] == flag


@pytest.mark.parametrize("form", [b"\0\x10", b"\0\x14", b"\1\x18", b"\1\x20", b"\1\x11"])
def test_flags_that_cannot_stand_together_are_of_a_later_version(form):
    payload, commitment, length = seal(WORDS.content, SALT, WORDS)
    with pytest.raises(NewerFormat, match="codec"):
        open_payload(form + payload[2:], length=length, commitment=commitment, limit=LIMIT, dictionary=lambda _: WORDS)
