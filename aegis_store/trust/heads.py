"""Tree heads as they leave the store: C2SP tlog-checkpoints in signed notes.

    aegis/<store id in hexadecimal>/<tier>      the origin, which is also the key's name
    <size, decimal>
    <base64(root [32])>

Three lines, no extension lines. Each tier has its own origin, hence its own verifier key, on the one log key of the store.
What the transparency world calls a checkpoint is a tree head here. Source: FORMAT.md, What leaves the store;
c2sp.org/tlog-checkpoint.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

import msgspec

from aegis_store.errors import BadProof, BadSignature, Foreign, InvalidArgument
from aegis_store.trust.notes import Note, Verified, VerifierKey, decode_base64, encode_base64, sign, verify
from aegis_store.trust.signer import Signer
from aegis_store.types import HASH_SIZE, Head, Tier

STORE_ID_SIZE: Final = 16
#: Sizes are stored in 64 bits.
SIZE_MAX: Final = 2**64 - 1

_ORIGIN: Final = re.compile(r"aegis/([0-9a-f]{32})/([a-z]+)")
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,19}")


class SignedHead(msgspec.Struct, frozen=True, kw_only=True):
    """A tree head of a store [16], in the note that says so. `verified` are the signatures that `open_head` has checked."""

    store_id: bytes
    head: Head
    note: Note
    verified: tuple[Verified, ...] = ()

    def format(self) -> bytes:
        """The note's bytes, to be handed out."""
        return self.note.format()


def origin(store_id: bytes, tier: Tier) -> str:
    """What a log is called outside of its store: `aegis/<store id>/<tier>`."""
    if len(store_id) != STORE_ID_SIZE:
        raise InvalidArgument(f"a store id has {STORE_ID_SIZE} bytes, not {len(store_id)}", op="head")
    return f"aegis/{store_id.hex()}/{tier.label}"


def verifier_key(store_id: bytes, tier: Tier, public_key: bytes) -> VerifierKey:
    """What others need to check a tier's heads: its origin and the store's log key [32]."""
    return VerifierKey(name=origin(store_id, tier), public_key=public_key)


def format_head(store_id: bytes, head: Head) -> str:
    """The three lines of a tree head. InvalidArgument if a number or the root is out of bounds."""
    if not 0 <= head.size <= SIZE_MAX or len(head.root) != HASH_SIZE:
        raise InvalidArgument(f"a tree head has a size of 64 bits and a root of {HASH_SIZE} bytes", op="head")
    return f"{origin(store_id, head.tier)}\n{head.size}\n{encode_base64(head.root)}\n"


def parse_head(text: str) -> tuple[bytes, Head]:
    """(store id [16], head) in the three lines of a tree head. BadProof for anything else, heads of other software included."""
    lines = text.split("\n")
    if len(lines) != len(("origin", "size", "root", "")) or lines[-1] != "":
        raise BadProof("a tree head is three lines: origin, size, root", op="parse")
    named = _ORIGIN.fullmatch(lines[0])
    if named is None or named[2] not in _LABELS:
        raise BadProof("the origin of a tree head is not that of a store: aegis/<store id>/<tier>", op="parse")
    if _SIZE.fullmatch(lines[1]) is None or int(lines[1]) > SIZE_MAX:
        raise BadProof("the size of a tree head is not a decimal number of 64 bits", op="parse")
    root = decode_base64(lines[2])
    if root is None or len(root) != HASH_SIZE:
        raise BadProof(f"the root of a tree head is not {HASH_SIZE} bytes in base64", op="parse")
    return bytes.fromhex(named[1]), Head(tier=Tier.labelled(named[2]), size=int(lines[1]), root=root)


_LABELS: Final = frozenset(tier.label for tier in Tier)


def sign_head(store_id: bytes, head: Head, signer: Signer) -> SignedHead:
    """The head in a note signed by the log key. InvalidArgument unless the signer goes by the origin's name.

    Whoever signs sees to it that the head is durable, and recorded as released, before it leaves; never two roots for one size.
    """
    text = format_head(store_id, head)
    if signer.name != origin(store_id, head.tier):
        raise InvalidArgument(f"a head of {origin(store_id, head.tier)} is not signed by {signer.name}", op="head")
    return SignedHead(store_id=store_id, head=head, note=sign(text, signer))


def open_head(data: bytes, *, log_key: VerifierKey, witnesses: Iterable[VerifierKey] = ()) -> SignedHead:
    """The head in a signed note from anywhere, if the log itself signed it. `verified` lists who of log and witnesses did.

    BadProof: not a tree head. Foreign: a head of another log. BadSignature: the log's signature is missing, or a known one
    does not hold.
    """
    note = Note.parse(data)
    store_id, head = parse_head(note.text)
    if origin(store_id, head.tier) != log_key.name:
        raise Foreign(f"a tree head of {origin(store_id, head.tier)}, not of {log_key.name}", op="head")
    verified = verify(note, (log_key, *witnesses))
    if all(each.key != log_key for each in verified):
        raise BadSignature(f"a tree head of {log_key.name} is not signed by it", op="head")
    return SignedHead(store_id=store_id, head=head, note=note, verified=verified)
