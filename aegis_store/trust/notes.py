"""C2SP signed notes: a text with signatures that existing transparency tools can check.

    text, which ends in a newline
    an empty line
    — <key name> <base64(key id [4] ‖ signature)>        once or more; the dash is U+2014

The last empty line ends the text. A verifier key is `<name>+<hex(key id)>+<base64(type ‖ public key)>`; the type is 1 for a
signature over the text, 4 for a witness's timestamped cosignature:

    signature = time u64 big-endian ‖ Ed25519 over "cosignature/v1\\ntime <time in s>\\n" ‖ text

Whoever is handed a note may read its text only after `verify` has returned. Source: c2sp.org/signed-note,
c2sp.org/tlog-cosignature.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterable
from typing import Final

import msgspec

from aegis_store.errors import BadProof, BadSignature, InvalidArgument
from aegis_store.trust.signer import COSIGNATURE, ED25519, PUBLIC_KEY_SIZE, SIGNATURE_SIZE, Signer, key_id, verify_signature

#: Larger notes, and notes with more signatures, are not read.
NOTE_BYTES_MAX: Final = 1 << 20
SIGNATURES_MAX: Final = 100

_KEY_ID_SIZE: Final = 4
_TIME_SIZE: Final = 8
_TIME_MAX: Final = 2**63 - 1
_DASH: Final = "— "
_CONTROL: Final = re.compile(r"[\x00-\x09\x0b-\x1f]")


class VerifierKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key [32] that was handed over in a trusted way. `algorithm` is `signer.ED25519` or `signer.COSIGNATURE`."""

    name: str
    public_key: bytes
    algorithm: int = ED25519

    @property
    def key_id(self) -> bytes:
        """4 bytes: with the name, what a signature line is matched by."""
        return key_id(self.name, self.public_key, algorithm=self.algorithm)

    def format(self) -> str:
        """The verifier key line, without a newline. InvalidArgument if the name cannot stand in a note."""
        _check_key_name(self.name)
        return f"{self.name}+{self.key_id.hex()}+{encode_base64(bytes((self.algorithm,)) + self.public_key)}"

    @classmethod
    def parse(cls, line: str) -> VerifierKey:
        """The key in a verifier key line. InvalidArgument if it is malformed, mistyped or of another algorithm."""
        parts = line.split("+", 2)
        if len(parts) != len(("name", "key id", "key")):
            raise InvalidArgument("a verifier key is <name>+<key id>+<key>", op="parse")
        name, stated, encoded = parts
        _check_key_name(name)
        material = decode_base64(encoded)
        if material is None or len(material) != 1 + PUBLIC_KEY_SIZE or material[0] not in (ED25519, COSIGNATURE):
            raise InvalidArgument(f"the verifier key of {name} is not an Ed25519 key", op="parse")
        key = cls(name=name, public_key=material[1:], algorithm=material[0])
        if key.key_id.hex() != stated:
            raise InvalidArgument(f"the verifier key of {name} has key id {key.key_id.hex()}, not {stated}", op="parse")
        return key


class NoteSignature(msgspec.Struct, frozen=True, kw_only=True):
    """One signature line. `signature` is what stands behind the key id: Ed25519 [64], or what its key's type asks for."""

    name: str
    key_id: bytes
    signature: bytes


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A text that ends in a newline, and at least one signature line. Nothing is verified by parsing."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def format(self) -> bytes:
        """The bytes of the note: what `parse` takes back."""
        lines = (f"{_DASH}{each.name} {encode_base64(each.key_id + each.signature)}\n" for each in self.signatures)
        return "".join((self.text, "\n", *lines)).encode()

    @classmethod
    def parse(cls, data: bytes) -> Note:
        """The note in bytes from anywhere. BadProof if it is malformed in any line, known signer or not."""
        if len(data) > NOTE_BYTES_MAX:
            raise BadProof(f"a note of {len(data)} bytes is not read", op="parse")
        try:
            whole = data.decode()
        except UnicodeDecodeError:
            raise BadProof("a note is not UTF-8", op="parse") from None
        if _CONTROL.search(whole):
            raise BadProof("a note holds control characters", op="parse")
        split = whole.rfind("\n\n")
        if split < 0 or not whole.endswith("\n"):
            raise BadProof("a note is a text, an empty line and signature lines", op="parse")
        lines = whole[split + 2 : -1].split("\n")
        if len(lines) > SIGNATURES_MAX:
            raise BadProof(f"a note with {len(lines)} signatures is not read", op="parse")
        return cls(text=whole[: split + 1], signatures=tuple(_parse_line(line) for line in lines))


class Verified(msgspec.Struct, frozen=True, kw_only=True):
    """A known key's signature that holds. `time_s` is when a witness says that it saw the text, in s since 1970, else None."""

    key: VerifierKey
    time_s: int | None


def sign(text: str, *signers: Signer) -> Note:
    """The text with a signature of each signer. InvalidArgument for a text or a signer's name that no note can hold."""
    if not signers:
        raise InvalidArgument("a note has at least one signature", op="sign")
    if not text.endswith("\n") or _CONTROL.search(text) or not _is_unicode(text):
        raise InvalidArgument("a note's text ends in a newline and holds no control characters", op="sign")
    message = text.encode()
    for signer in signers:
        _check_key_name(signer.name)
    return Note(
        text=text,
        signatures=tuple(
            NoteSignature(name=signer.name, key_id=signer.key_id, signature=signer.sign(message)) for signer in signers
        ),
    )


def verify(note: Note, keys: Iterable[VerifierKey]) -> tuple[Verified, ...]:
    """The signatures of known keys, in the order of the note. BadSignature if there is none, or if one of them does not hold.

    Signatures of unknown keys are ignored, even if they share name or key id with a known one.
    """
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise InvalidArgument(f"two verifier keys of {key.name} have one key id", op="verify")
    message = note.text.encode()
    found: list[Verified] = []
    for each in note.signatures:
        key_or_none = known.get((each.name, each.key_id))
        if key_or_none is not None:
            found.append(_verify_one(key_or_none, message, each.signature))
    if not found:
        raise BadSignature("a note is not signed by any key that is trusted for it", op="verify")
    return tuple(found)


def is_key_name(name: str) -> bool:
    """Whether a name can stand in a note: not empty, valid Unicode, no white space, no control character, no plus."""
    return (
        name != ""
        and "+" not in name
        and not any(character.isspace() for character in name)
        and not _CONTROL.search(name)
        and _is_unicode(name)
    )


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648, 4)."""
    return b64encode(data).decode()


def decode_base64(text: str) -> bytes | None:
    """The bytes in standard base64, or None unless the text is the one encoding that they have."""
    try:
        data = b64decode(text, validate=True)
    except (Base64Error, ValueError):
        return None
    return data if encode_base64(data) == text else None


def _parse_line(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    blob = decode_base64(encoded)
    if not line.startswith(_DASH) or not space or not is_key_name(name) or blob is None or len(blob) <= _KEY_ID_SIZE:
        raise BadProof("a signature line of a note is malformed", op="parse")
    return NoteSignature(name=name, key_id=blob[:_KEY_ID_SIZE], signature=blob[_KEY_ID_SIZE:])


def _verify_one(key: VerifierKey, message: bytes, signature: bytes) -> Verified:
    time_s: int | None = None
    if key.algorithm == COSIGNATURE:
        if len(signature) != _TIME_SIZE + SIGNATURE_SIZE:
            raise BadSignature(f"the cosignature of {key.name} has {len(signature)} bytes", op="verify")
        time_s = int.from_bytes(signature[:_TIME_SIZE], "big")
        if time_s > _TIME_MAX:
            raise BadSignature(f"the cosignature of {key.name} has an impossible time", op="verify")
        message = f"cosignature/v1\ntime {time_s}\n".encode() + message
        signature = signature[_TIME_SIZE:]
    elif key.algorithm != ED25519:
        raise InvalidArgument(f"the verifier key of {key.name} is of type {key.algorithm}", op="verify")
    if not verify_signature(key.public_key, message, signature):
        raise BadSignature(f"the signature of {key.name} on a note does not hold", op="verify")
    return Verified(key=key, time_s=time_s)


def _check_key_name(name: str) -> None:
    if not is_key_name(name):
        raise InvalidArgument(f"{name!r} cannot name a key: no white space, no plus, not empty", op="parse")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
