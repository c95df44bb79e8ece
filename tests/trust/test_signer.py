"""Ed25519 as RFC 8032 has it, verified strictly."""

import copy
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.errors import InvalidArgument
from aegis_store.trust.signer import COSIGNATURE, FileSigner, Signer, key_id, verify_signature, verify_signatures

# RFC 8032, 7.1, tests 1 to 3: seed, public key, message, signature
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]
SIGNER = FileSigner("planner", bytes(range(32)))
MESSAGE = b"aegis-store/v0/entry\n" + bytes(132)
#: The order of the group: s and s + L would be two signatures for one.
ORDER = 2**252 + 27742317777372353535851937790883648493


@pytest.mark.parametrize(("seed", "public_key", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_rfc_8032(seed, public_key, message, signature):
    signer = FileSigner("x", bytes.fromhex(seed))
    assert signer.public_key.hex() == public_key
    assert signer.sign(bytes.fromhex(message)).hex() == signature
    assert verify_signature(signer.public_key, bytes.fromhex(message), bytes.fromhex(signature))


def test_a_file_signer_is_a_signer():
    signer: Signer = SIGNER
    assert (signer.name, len(signer.public_key), len(signer.key_id), len(signer.sign(b""))) == ("planner", 32, 4, 64)
    assert SIGNER.seed == bytes(range(32))


def test_the_key_id_is_that_of_the_format():
    key = SIGNER.public_key
    assert SIGNER.key_id == sha256(b"planner\n\x01" + key).digest()[:4]
    assert key_id("planner", key, algorithm=COSIGNATURE) == sha256(b"planner\n\x04" + key).digest()[:4]
    assert key_id("\ud800é", key) == sha256(b"\xed\xa0\x80\xc3\xa9\n\x01" + key).digest()[:4]


def test_another_name_gives_another_key_id_on_the_same_key():
    other = SIGNER.named("writer")
    assert (other.name, other.public_key, other.sign(MESSAGE)) == ("writer", SIGNER.public_key, SIGNER.sign(MESSAGE))
    assert other.key_id == key_id("writer", SIGNER.public_key) != SIGNER.key_id


@settings(deadline=None, max_examples=50)
@given(st.binary(), st.binary())
def test_a_signature_holds_for_its_message_alone(message, other):
    signature = SIGNER.sign(message)
    assert verify_signature(SIGNER.public_key, message, signature)
    assert verify_signature(SIGNER.public_key, other, signature) == (message == other)


def test_every_changed_bit_is_noticed():
    signature = SIGNER.sign(MESSAGE)
    for bit in range(8 * 64):
        changed = bytearray(signature)
        changed[bit // 8] ^= 1 << bit % 8
        assert not verify_signature(SIGNER.public_key, MESSAGE, bytes(changed))
    for bit in range(8 * 32):
        changed = bytearray(SIGNER.public_key)
        changed[bit // 8] ^= 1 << bit % 8
        assert not verify_signature(bytes(changed), MESSAGE, signature)


@pytest.mark.parametrize("cut", [0, 1, 31, 33, 64])
def test_a_key_of_another_length_is_a_no(cut):
    assert not verify_signature((SIGNER.public_key * 2)[:cut], MESSAGE, SIGNER.sign(MESSAGE))


@pytest.mark.parametrize("cut", [0, 1, 63, 65, 128])
def test_a_signature_of_another_length_is_a_no(cut):
    signed = SIGNER.sign(MESSAGE) + MESSAGE
    assert verify_signature(SIGNER.public_key, signed[64:], signed[:64])
    # Cut elsewhere, the same bytes in the same order.
    assert not verify_signature(SIGNER.public_key, signed[cut:], signed[:cut])


def test_the_second_form_of_a_signature_is_refused():
    signature = SIGNER.sign(MESSAGE)
    doubled = int.from_bytes(signature[32:], "little") + ORDER
    assert not verify_signature(SIGNER.public_key, MESSAGE, signature[:32] + doubled.to_bytes(32, "little"))


@pytest.mark.parametrize(
    "point",
    [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
    ],
)
def test_keys_of_small_order_under_which_anything_verifies_are_refused(point):
    key = bytes.fromhex(point)
    for message in (bytes([each]) for each in range(16)):
        assert not verify_signature(key, message, bytes.fromhex("01" + "00" * 63))
        assert not verify_signature(key, message, key + bytes(32))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(size):
    with pytest.raises(InvalidArgument, match="seed"):
        FileSigner("x", bytes(size))


def test_the_secret_is_not_shown_and_not_copied():
    for shown in (repr(SIGNER), str(SIGNER), f"{SIGNER!r}"):
        assert "planner" in shown
        assert SIGNER.seed.hex() not in shown
        assert "\\x01\\x02" not in shown
    with pytest.raises(TypeError, match="secret"):
        copy.copy(SIGNER)
    assert not hasattr(SIGNER, "__dict__")


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=70), st.binary(max_size=70), st.binary(max_size=70))
def test_any_bytes_are_a_no(key, message, signature):
    assert verify_signature(key, message, signature) is False


# ---- many at once -----------------------------------------------------------------------------------------------------------


def test_many_at_once_are_what_each_one_is():
    other = FileSigner("other", bytes(range(1, 33)))
    messages = [MESSAGE[:-1] + bytes((number,)) for number in range(60)]
    signers = [SIGNER if number % 3 else other for number in range(60)]
    signed = [signer.sign(message) + message for signer, message in zip(signers, messages, strict=True)]
    keys = [signer.public_key for signer in signers]
    assert verify_signatures(signed, keys) == [True] * 60
    signed[7] = signed[8]  # a right one in a wrong place is a right one
    signed[20] = signed[20][:-1] + b"\xff"
    keys[41] = (SIGNER if keys[41] == other.public_key else other).public_key
    held = verify_signatures(signed, keys)
    assert [number for number in range(60) if not held[number]] == [20, 41]
    assert held == [verify_signature(key, each[64:], each[:64]) for each, key in zip(signed, keys, strict=True)]
    assert verify_signatures([], []) == []


@pytest.mark.parametrize("length", [0, 1, 63])
def test_many_that_are_too_short_for_a_signature_do_not_hold(length):
    assert verify_signatures([bytes(length)] * 2, [SIGNER.public_key] * 2) == [False, False]
