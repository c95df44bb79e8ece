"""Signed notes as C2SP has them: what known keys say, and no more."""

import re

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.errors import BadProof, BadSignature, InvalidArgument
from aegis_store.trust.notes import (
    NOTE_BYTES_MAX,
    SIGNATURES_MAX,
    Note,
    NoteSignature,
    VerifierKey,
    decode_base64,
    encode_base64,
    is_key_name,
    sign,
    verify,
)
from aegis_store.trust.signer import COSIGNATURE, FileSigner, key_id

# The vector of design/trust.md, from the Go implementation's documentation.
KEY_LINE = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SIGNATURE = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
TEXT = "This is an example message.\n"
FOREIGN = f"{TEXT}\n— example.com/foo {SIGNATURE}\n".encode()

LOG = FileSigner("aegis/log", bytes(range(32)))
OTHER = FileSigner("example.com/other", bytes(range(1, 33)))
WITNESS = FileSigner("witness.example.com/w1", bytes(range(2, 34)))


def key_of(signer, algorithm=1):
    return VerifierKey(name=signer.name, public_key=signer.public_key, algorithm=algorithm)


def cosign(note, signer, time_s):
    """A timestamped cosignature, written from c2sp.org/tlog-cosignature."""
    message = f"cosignature/v1\ntime {time_s}\n{note.text}".encode()
    line = NoteSignature(
        name=signer.name,
        key_id=key_id(signer.name, signer.public_key, algorithm=4),
        signature=time_s.to_bytes(8, "big") + signer.sign(message),
    )
    return msgspec.structs.replace(note, signatures=(*note.signatures, line))


# ---- the foreign vector


def test_the_foreign_note_verifies():
    key = VerifierKey.parse(KEY_LINE)
    (verified,) = verify(Note.parse(FOREIGN), [key])
    assert (verified.key, verified.time_s) == (key, None)
    assert Note.parse(FOREIGN).text == TEXT
    assert Note.parse(FOREIGN).format() == FOREIGN
    assert key.format() == KEY_LINE
    assert key.key_id.hex() == "530d903a"


def test_the_foreign_note_with_another_text_does_not():
    for text in ("This is an example message\n", "this is an example message.\n", TEXT * 2, TEXT + "\n"):
        with pytest.raises(BadSignature):
            verify(Note.parse(FOREIGN.replace(TEXT.encode(), text.encode())), [VerifierKey.parse(KEY_LINE)])


# ---- signing and verifying


def test_a_note_is_the_text_an_empty_line_and_the_signatures():
    note = sign("one\n\ntwo\n", LOG, OTHER)
    lines = note.format().decode().split("\n")
    assert lines[:4] == ["one", "", "two", ""]
    assert lines[4] == f"— aegis/log {encode_base64(LOG.key_id + LOG.sign(note.text.encode()))}"
    assert lines[5].startswith("— example.com/other ")
    assert lines[6:] == [""]
    assert Note.parse(note.format()) == note
    assert [each.key for each in verify(note, [key_of(OTHER), key_of(LOG)])] == [key_of(LOG), key_of(OTHER)]


def test_unknown_keys_are_ignored():
    note = sign(TEXT, OTHER, LOG)
    namesake = FileSigner(LOG.name, bytes(32))
    assert [each.key for each in verify(note, [key_of(LOG), key_of(namesake)])] == [key_of(LOG)]
    garbage = NoteSignature(name=LOG.name, key_id=b"none", signature=b"x")
    assert verify(msgspec.structs.replace(note, signatures=(garbage, *note.signatures)), [key_of(LOG)])


def test_without_a_known_key_a_note_says_nothing():
    note = sign(TEXT, LOG)
    for keys in ([], [key_of(OTHER)], [key_of(FileSigner(LOG.name, bytes(32)))], [key_of(LOG, COSIGNATURE)]):
        with pytest.raises(BadSignature, match="not signed by any key"):
            verify(note, keys)


@pytest.mark.parametrize(
    "spoil", [lambda blob: blob[:-1], lambda blob: blob + b"\0", lambda blob: bytes(64), lambda blob: b"x"]
)
def test_a_known_key_that_fails_rejects_the_note_even_beside_one_that_holds(spoil):
    note = sign(TEXT, LOG, OTHER)
    broken = msgspec.structs.replace(note.signatures[0], signature=spoil(note.signatures[0].signature))
    with pytest.raises(BadSignature, match="aegis/log"):
        verify(Note(text=TEXT, signatures=(broken, note.signatures[1])), [key_of(LOG), key_of(OTHER)])
    with pytest.raises(BadSignature, match="aegis/log"):
        verify(Note(text=TEXT, signatures=(*note.signatures, broken)), [key_of(LOG), key_of(OTHER)])
    assert verify(Note(text=TEXT, signatures=(broken, note.signatures[1])), [key_of(OTHER)])


def test_two_keys_that_cannot_be_told_apart_are_refused(monkeypatch):
    monkeypatch.setattr("aegis_store.trust.notes.key_id", lambda *_, **__: b"same")
    twin = VerifierKey(name=LOG.name, public_key=OTHER.public_key)
    with pytest.raises(InvalidArgument, match="one key id"):
        verify(sign(TEXT, LOG), [key_of(LOG), twin])


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "nul\0\n", "return\r\n", "\x1f\n", "lone \ud800\n"])
def test_a_text_that_no_note_can_hold_is_not_signed(text):
    with pytest.raises(InvalidArgument, match="text"):
        sign(text, LOG)


def test_nobody_and_bad_names_do_not_sign():
    with pytest.raises(InvalidArgument, match="at least one"):
        sign(TEXT)
    for name in ("", "two words", "a+b", "line\nbreak", "\u2003", "\ud800", "a\x00b"):
        assert not is_key_name(name)
        with pytest.raises(InvalidArgument, match="cannot name a key"):
            sign(TEXT, FileSigner(name, bytes(32)))


# ---- cosignatures


@pytest.mark.parametrize("time_s", [0, 1_679_315_147, 2**63 - 1])
def test_a_cosignature_holds_and_says_when(time_s):
    note = cosign(sign(TEXT, LOG), WITNESS, time_s)
    again = Note.parse(note.format())
    assert [(each.key.name, each.time_s) for each in verify(again, [key_of(WITNESS, COSIGNATURE), key_of(LOG)])] == [
        ("aegis/log", None),
        ("witness.example.com/w1", time_s),
    ]


def test_a_cosignature_is_of_its_own_type():
    note = cosign(sign(TEXT, LOG), WITNESS, 5)
    with pytest.raises(BadSignature, match="not signed by any"):
        verify(note, [key_of(WITNESS)])
    line = key_of(WITNESS, COSIGNATURE).format()
    assert VerifierKey.parse(line) == key_of(WITNESS, COSIGNATURE)
    assert decode_base64(line.split("+", 2)[2])[0] == 4
    assert key_of(WITNESS).format() != line


def test_a_cosignature_that_fails_rejects_the_note():
    note = cosign(sign(TEXT, LOG), WITNESS, 5)
    keys = [key_of(LOG), key_of(WITNESS, COSIGNATURE)]
    good = note.signatures[1].signature
    plain = WITNESS.sign(TEXT.encode())
    for blob in (plain, bytes(8) + plain, good[:8], good[:-1], good + b"\0", bytes(7) + b"\6" + good[8:], good[1:] + good[:1]):
        broken = msgspec.structs.replace(note.signatures[1], signature=blob)
        with pytest.raises(BadSignature, match="witness"):
            verify(Note(text=TEXT, signatures=(note.signatures[0], broken)), keys)


def test_a_time_beyond_all_bounds_is_refused_though_signed():
    with pytest.raises(BadSignature, match="impossible time"):
        verify(cosign(sign(TEXT, LOG), WITNESS, 2**63), [key_of(WITNESS, COSIGNATURE)])


def test_a_key_of_an_unknown_type_is_not_guessed_at():
    odd = VerifierKey(name=LOG.name, public_key=LOG.public_key, algorithm=6)
    note = Note(text=TEXT, signatures=(NoteSignature(name=LOG.name, key_id=odd.key_id, signature=LOG.sign(TEXT.encode())),))
    with pytest.raises(InvalidArgument, match="type 6"):
        verify(note, [odd])


# ---- parsing

LINE = f"— example.com/foo {SIGNATURE}\n"


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        "\n\n",
        TEXT,
        TEXT + "\n",
        LINE,
        TEXT + LINE,
        TEXT + "\n" + LINE[:-1],
        TEXT + "\n" + LINE + "\n",
        TEXT + "\n" + LINE + "more\n",
        TEXT + "\n" + LINE.replace("— ", "- "),
        TEXT + "\n" + LINE.replace("— ", "-- "),
        TEXT + "\n" + LINE.replace("— ", "—"),
        TEXT + "\n" + LINE.replace("— ", "—  "),
        TEXT + "\n" + LINE.replace("— ", "\u2013 "),
        TEXT + "\n" + LINE.replace("example.com/foo ", ""),
        TEXT + "\n" + LINE.replace("example.com/foo", "a+b"),
        TEXT + "\n" + LINE.replace("example.com/foo", "a\u00a0b"),
        TEXT + "\n" + LINE.replace("aQM=", "aQM"),
        TEXT + "\n" + LINE.replace("aQM=", "aQN="),
        TEXT + "\n" + LINE.replace("aQM=", "aQM= "),
        TEXT + "\n" + LINE.replace("aQM=", "aQM=="),
        TEXT + "\n" + LINE.replace("Uw2Q", "Uw2_"),
        TEXT + "\n— example.com/foo Uw2QOg==\n",
        TEXT + "\n— example.com/foo \n",
        TEXT.replace(" is", "\tis") + "\n" + LINE,
        TEXT.replace("\n", "\r\n") + "\n" + LINE,
        TEXT + "\n" + LINE * (SIGNATURES_MAX + 1),
        "x" * NOTE_BYTES_MAX + "\n\n" + LINE,
    ],
    ids=range(29),
)
def test_a_malformed_note_is_refused(note):
    with pytest.raises(BadProof):
        Note.parse(note.encode())


def test_what_is_not_utf_8_is_refused():
    for bad in (b"\xff\n", b"\xed\xa0\x80\n", b"\xc0\xae\n"):
        with pytest.raises(BadProof, match="UTF-8"):
            Note.parse(bad + b"\n" + LINE.encode())


@pytest.mark.parametrize("text", ["\n", "\n\n", "a\n\n", "a\n\n\nb\n", "— not a signature\n", "é\u2028\n", "del\x7f\n"])
def test_any_other_text_is_kept_to_the_letter(text):
    note = sign(text, LOG)
    assert Note.parse(note.format()) == note
    assert verify(Note.parse(note.format()), [key_of(LOG)])


def test_as_many_signatures_as_are_allowed_are_read():
    assert len(Note.parse((TEXT + "\n" + LINE * SIGNATURES_MAX).encode()).signatures) == SIGNATURES_MAX


pieces = st.lists(st.sampled_from([TEXT, "\n", "\n\n", LINE, "— ", "— a AAAAAAA=\n", "— a AAAAAAB=\n", " ", "a", "\t", "é"]))


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=80) | pieces.map(lambda parts: "".join(parts).encode()))
def test_any_bytes_are_refused_or_are_what_format_writes(data):
    for each in (data, TEXT.encode() + b"\n" + data, data + b"\n" + LINE.encode()):
        try:
            note = Note.parse(each)
        except BadProof:
            continue
        assert note.format() == each


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(FOREIGN) - 1), st.integers(1, 255))
def test_no_changed_byte_is_taken_for_the_note(at, flip):
    changed = bytearray(FOREIGN)
    changed[at] ^= flip
    with pytest.raises((BadProof, BadSignature)):
        verify(Note.parse(bytes(changed)), [VerifierKey.parse(KEY_LINE)])


# ---- verifier keys


@pytest.mark.parametrize(
    "line",
    [
        "",
        "example.com/foo",
        "example.com/foo+530d903a",
        KEY_LINE.replace("530d903a", "530d903b"),
        KEY_LINE.replace("530d903a", "530D903A"),
        KEY_LINE.replace("example.com/foo", "example.com/bar"),
        KEY_LINE.replace("example.com/foo", "example.com foo"),
        KEY_LINE.replace("example.com/foo", ""),
        KEY_LINE + "=",
        KEY_LINE + "\n",
        KEY_LINE[:-4],
        KEY_LINE.replace("Aeky", "Auky"),
        KEY_LINE.replace("Aeky", "\u0410eky"),
        " " + KEY_LINE,
    ],
)
def test_a_malformed_verifier_key_is_refused(line):
    with pytest.raises(InvalidArgument):
        VerifierKey.parse(line)


@pytest.mark.parametrize("material", [b"\x02", b"\x06", b"\x00", b"\xff"])
def test_a_verifier_key_of_another_type_is_refused(material):
    encoded = encode_base64(material + LOG.public_key)
    line = f"{LOG.name}+{key_id(LOG.name, LOG.public_key, algorithm=material[0]).hex()}+{encoded}"
    with pytest.raises(InvalidArgument, match="not an Ed25519 key"):
        VerifierKey.parse(line)


def test_a_name_that_no_note_can_hold_gives_no_verifier_key():
    with pytest.raises(InvalidArgument, match="cannot name"):
        VerifierKey(name="two words", public_key=LOG.public_key).format()


@settings(deadline=None, max_examples=300)
@given(st.text(max_size=80), st.integers(0, len(KEY_LINE) - 1), st.characters())
def test_any_text_is_refused_or_is_what_format_writes(text, at, character):
    for each in (text, KEY_LINE[:at] + character + KEY_LINE[at + 1 :], KEY_LINE[:at]):
        try:
            key = VerifierKey.parse(each)
        except InvalidArgument:
            continue
        assert key.format() == each


# ---- base64


@settings(deadline=None)
@given(st.binary(), st.text(max_size=12))
def test_bytes_have_one_base64(data, text):
    encoded = encode_base64(data)
    assert re.fullmatch(r"[A-Za-z0-9+/]*={0,2}", encoded)
    assert decode_base64(encoded) == data
    found = decode_base64(text)
    assert found is None or encode_base64(found) == text


@pytest.mark.parametrize("text", ["QQ", "QQ=", "QR==", "QQ==\n", " QQ==", "Q Q==", "-_==", "====", "é", "QQ==QQ=="])
def test_other_forms_of_base64_are_none(text):
    assert decode_base64(text) is None
