"""RFC 6962 checks that need no store: what an auditor does with a proof, a leaf and a head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aegis_store._engine.facts import as_bytes
from aegis_store._engine.failures import failure, make
from aegis_store._native import ffi, lib
from aegis_store.errors import BadProof
from aegis_store.types import HASH_SIZE, Head

#: A tree of 2^64 leaves has proofs of that many hashes.
PROOF_HASHES_MAX: Final = 64


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry), the leaf hash [32]."""
    out = ffi.new("uint8_t[]", HASH_SIZE)
    code = lib.aegis_leaf_hash(entry, len(entry), out)
    if code:
        raise failure(code, "hash", None)
    return as_bytes(out)


def check_inclusion(leaf: bytes, index: int, head: Head, proof: Sequence[bytes]) -> None:
    """Checks that `leaf` [32] is record `index` of the tree with that head (RFC 6962, 2.1.1). BadProof if that isn't shown."""
    hashes = _joined(proof, leaf, head.root)
    code = lib.aegis_check_inclusion(leaf, index, head.size, hashes, len(proof), head.root)
    if code:
        raise failure(code, "check", None, tier=head.tier, index=index)


def check_consistency(old: Head, head: Head, proof: Sequence[bytes]) -> None:
    """Checks that the tree with head `old` is a prefix of that with `head` (RFC 6962, 2.1.2). BadProof if that isn't shown."""
    if old.tier != head.tier:
        raise make(BadProof, f"a head of {old.tier.label} is no prefix of one of {head.tier.label}", op="check", path=None)
    hashes = _joined(proof, old.root, head.root)
    code = lib.aegis_check_consistency(old.size, old.root, head.size, head.root, hashes, len(proof))
    if code:
        raise failure(code, "check", None, tier=head.tier)


def _joined(proof: Sequence[bytes], *others: bytes) -> bytes:
    # The engine reads 32 bytes at each, whatever is there.
    if len(proof) > PROOF_HASHES_MAX or any(len(part) != HASH_SIZE for part in (*proof, *others)):
        raise make(BadProof, "a proof is at most 64 hashes of 32 bytes, and so are leaf and root", op="check", path=None)
    return b"".join(proof)
