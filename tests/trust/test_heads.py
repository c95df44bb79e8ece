"""Tree heads: three lines, one log, signed by it."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.errors import BadProof, BadSignature, Foreign, InvalidArgument
from aegis_store.trust.heads import format_head, open_head, origin, parse_head, sign_head, verifier_key
from aegis_store.trust.notes import Note, VerifierKey, sign
from aegis_store.trust.signer import COSIGNATURE, FileSigner
from aegis_store.types import Head, Tier

STORE = bytes(range(16))
ORIGIN = "aegis/000102030405060708090a0b0c0d0e0f/session"
HEAD = Head(tier=Tier.SESSION, size=20852163, root=b"R" * 32)
TEXT = f"{ORIGIN}\n20852163\nUlJSUlJSUlJSUlJSUlJSUlJSUlJSUlJSUlJSUlJSUlI=\n"
LOG = FileSigner(ORIGIN, bytes(range(32)))
KEY = verifier_key(STORE, Tier.SESSION, LOG.public_key)
OTHER = FileSigner("example.com/other", bytes(32))


def key_of(signer, algorithm=1):
    return VerifierKey(name=signer.name, public_key=signer.public_key, algorithm=algorithm)


def test_the_text_is_that_of_the_format():
    assert format_head(STORE, HEAD) == TEXT
    assert parse_head(TEXT) == (STORE, HEAD)
    assert origin(STORE, Tier.SESSION) == ORIGIN
    assert VerifierKey(name=ORIGIN, public_key=LOG.public_key) == KEY


@settings(deadline=None)
@given(
    st.binary(min_size=16, max_size=16),
    st.builds(Head, tier=st.sampled_from(Tier), size=st.integers(0, 2**64 - 1), root=st.binary(min_size=32, max_size=32)),
)
def test_any_head_comes_back(store_id, head):
    assert parse_head(format_head(store_id, head)) == (store_id, head)


def test_each_tier_has_its_own_origin_and_key():
    assert len({origin(STORE, tier) for tier in Tier}) == 4
    assert len({verifier_key(STORE, tier, LOG.public_key).key_id for tier in Tier}) == 4


@pytest.mark.parametrize(
    "head",
    [
        Head(tier=Tier.SESSION, size=-1, root=bytes(32)),
        Head(tier=Tier.SESSION, size=2**64, root=bytes(32)),
        Head(tier=Tier.SESSION, size=0, root=bytes(31)),
        Head(tier=Tier.SESSION, size=0, root=bytes(33)),
    ],
)
def test_a_head_out_of_bounds_is_not_written(head):
    with pytest.raises(InvalidArgument):
        format_head(STORE, head)


@pytest.mark.parametrize("store_id", [b"", STORE[:-1], STORE + b"x"])
def test_a_store_id_has_16_bytes(store_id):
    with pytest.raises(InvalidArgument, match="store id"):
        format_head(store_id, HEAD)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "extension\n",
        TEXT.replace("\n", "\r\n"),
        TEXT.replace("aegis", "egis"),
        TEXT.replace(ORIGIN, ORIGIN + "/1"),
        TEXT.replace(ORIGIN, ORIGIN.upper()),
        TEXT.replace("/session", "/sessions"),
        TEXT.replace("/session", "/SESSION"),
        TEXT.replace("0e0f/", "0e/"),
        TEXT.replace("0a0b", "0A0B"),
        TEXT.replace("20852163", "020852163"),
        TEXT.replace("20852163", ""),
        TEXT.replace("20852163", "-1"),
        TEXT.replace("20852163", "+1"),
        TEXT.replace("20852163", "1_0"),
        TEXT.replace("20852163", " 1"),
        TEXT.replace("20852163", "0x10"),
        TEXT.replace("20852163", "١"),
        TEXT.replace("20852163", str(2**64)),
        TEXT.replace("20852163", "9" * 5000),
        TEXT.replace("UlI=", "UlI"),
        TEXT.replace("UlI=", "UlJ="),
        TEXT.replace("UlI=", "UlJS"),
        TEXT.replace("UlJSUlI=", "UlI="),
    ],
    ids=range(27),
)
def test_another_text_is_no_head(text):
    with pytest.raises(BadProof):
        parse_head(text)


lines = st.sampled_from([ORIGIN, "0", "20852163", "18446744073709551616", TEXT.split("\n")[2], "", "x"]) | st.text(max_size=5)


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=60) | st.lists(lines, max_size=5).map("\n".join))
def test_any_text_is_refused_or_is_what_format_writes(text):
    try:
        store_id, head = parse_head(text)
    except BadProof:
        return
    assert format_head(store_id, head) == text


# ---- signed


def test_a_signed_head_opens():
    signed = sign_head(STORE, HEAD, LOG)
    opened = open_head(signed.format(), log_key=KEY)
    assert (opened.store_id, opened.head, opened.note) == (STORE, HEAD, signed.note)
    assert [each.key for each in opened.verified] == [KEY]
    assert opened.format() == signed.format()
    assert signed.verified == ()
    assert signed.format().decode().startswith(f"{TEXT}\n— {ORIGIN} ")


def test_only_the_log_signs_its_heads():
    with pytest.raises(InvalidArgument, match="not signed by"):
        sign_head(STORE, HEAD, OTHER)
    with pytest.raises(InvalidArgument, match="not signed by"):
        sign_head(STORE, msgspec.structs.replace(HEAD, tier=Tier.AUDIT), LOG)


def test_a_head_that_others_signed_is_not_the_logs():
    forged = sign(TEXT, OTHER)
    with pytest.raises(BadSignature):
        open_head(forged.format(), log_key=KEY)
    with pytest.raises(BadSignature, match="not signed by it"):
        open_head(forged.format(), log_key=KEY, witnesses=[key_of(OTHER)])
    namesake = sign(TEXT, FileSigner(ORIGIN, bytes(32)))
    with pytest.raises(BadSignature):
        open_head(namesake.format(), log_key=KEY)
    with pytest.raises(BadSignature, match="not signed by it"):
        open_head(namesake.format(), log_key=KEY, witnesses=[key_of(FileSigner(ORIGIN, bytes(32)))])


def test_witnesses_are_named():
    note = sign(TEXT, OTHER, LOG)
    assert [each.key.name for each in open_head(note.format(), log_key=KEY, witnesses=[key_of(OTHER)]).verified] == [
        "example.com/other",
        ORIGIN,
    ]
    assert [each.key.name for each in open_head(note.format(), log_key=KEY).verified] == [ORIGIN]
    assert open_head(note.format(), log_key=KEY, witnesses=[key_of(OTHER, COSIGNATURE)]).head == HEAD


@pytest.mark.parametrize(("store_id", "tier"), [(STORE, Tier.AUDIT), (bytes(16), Tier.SESSION)])
def test_a_head_of_another_log_is_foreign(store_id, tier):
    signer = LOG.named(origin(store_id, tier))
    other = sign_head(store_id, Head(tier=tier, size=1, root=bytes(32)), signer)
    with pytest.raises(Foreign):
        open_head(other.format(), log_key=KEY)
    # Signed by this log's key and name, but over the other log's text.
    with pytest.raises(Foreign):
        open_head(sign(other.note.text, LOG).format(), log_key=KEY)


def test_a_note_that_is_no_head_is_refused():
    with pytest.raises(BadProof, match="three lines"):
        open_head(sign("hello\n", LOG).format(), log_key=KEY)
    with pytest.raises(BadProof):
        open_head(b"hello", log_key=KEY)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(sign_head(STORE, HEAD, LOG).format()) - 1), st.integers(1, 255))
def test_no_changed_byte_is_taken_for_the_head(at, flip):
    data = bytearray(sign_head(STORE, HEAD, LOG).format())
    data[at] ^= flip
    with pytest.raises((BadProof, BadSignature, Foreign)):
        open_head(bytes(data), log_key=KEY)
    assert Note.parse(sign_head(STORE, HEAD, LOG).format()).text == TEXT
