"""What was sealed opens, and nothing else does."""

import pytest
import zstandard
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.codec.payload import HEADER_SIZE, commit, open_payload, seal
from aegis_store.errors import Corrupt, InvalidArgument, NewerFormat, StateTooLarge

SALT = bytes(range(16))
TEXT = b"a checkpoint is an agent's saved state; " * 15
LIMIT = 1 << 20


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
