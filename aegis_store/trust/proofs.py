"""Checks inclusion and consistency proofs of an RFC 6962 tree. No store, no C, nothing but SHA-256.

A log is a Merkle tree over its entries: leaf = SHA-256(0x00 ‖ entry), node = SHA-256(0x01 ‖ left ‖ right), and the root of no
leaves is SHA-256(""). Who knows a root that they trust can check with a few hashes that an entry is in the log at an index
(inclusion), or that a longer log starts with a shorter one (consistency).

The index or the sizes dictate how many hashes a proof has: one too many, one too few, or one of another length is refused.
A root does not say how large its tree is: take both from one signed head.
Source: RFC 9162, 2.1.3.2 and 2.1.4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from aegis_store.errors import BadProof

_HASH_SIZE: Final = 32

#: The root of a tree without leaves.
EMPTY_ROOT: Final = sha256().digest()


def leaf_hash(entry: bytes) -> bytes:
    """The hash [32] of an entry as a leaf."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash [32] of two subtrees [32] as one."""
    return sha256(b"\x01" + left + right).digest()


def verify_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Return if `leaf` [32] is leaf number `index` of the tree of `size` leaves with that root [32]; else raise BadProof.

    `proof` lists the siblings [32] from the leaf upwards.
    """
    _check_hashes([leaf, root, *proof])
    if not 0 <= index < size:
        raise BadProof(f"there is no leaf {index} in a tree of {size}")
    place, last = index, size - 1
    computed = leaf
    for sibling in proof:
        if last == 0:
            raise BadProof(f"an inclusion proof of {len(proof)} hashes is too long for leaf {index} of {size}")
        if place & 1 or place == last:
            computed = node_hash(sibling, computed)
            # The right edge of the tree: levels where the subtree has no right sibling add no hash.
            while not place & 1 and place != 0:
                place >>= 1
                last >>= 1
        else:
            computed = node_hash(computed, sibling)
        place >>= 1
        last >>= 1
    if last != 0:
        raise BadProof(f"an inclusion proof of {len(proof)} hashes is too short for leaf {index} of {size}")
    if computed != root:
        raise BadProof(f"leaf {index} is not in the tree of {size} leaves with this root")


def verify_consistency(*, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Return if the tree of `new_size` leaves starts with the one of `old_size`; else raise BadProof.

    Roots and proof hashes are 32 bytes. Equal sizes and an old size of 0 have an empty proof.
    """
    _check_hashes([old_root, new_root, *proof])
    if not 0 <= old_size <= new_size:
        raise BadProof(f"a tree of {new_size} leaves does not start with one of {old_size}")
    if (old_size == 0 and old_root != EMPTY_ROOT) or (new_size == 0 and new_root != EMPTY_ROOT):
        raise BadProof("an empty tree has another root")
    if old_size in (0, new_size):
        if proof:
            raise BadProof(f"a consistency proof from {old_size} to {new_size} has no hashes, and here are {len(proof)}")
        if old_size == new_size and old_root != new_root:
            raise BadProof(f"two roots for one size, {new_size}")
        return
    if not proof:
        raise BadProof(f"a consistency proof from {old_size} to {new_size} has hashes, and here are none")
    path = list(proof)
    if old_size & (old_size - 1) == 0:  # a perfect subtree: its root is known, so the proof leaves it out
        path.insert(0, old_root)
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place >>= 1
        last >>= 1
    old_computed = new_computed = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise BadProof(f"a consistency proof of {len(proof)} hashes is too long from {old_size} to {new_size}")
        if place & 1 or place == last:
            old_computed = node_hash(sibling, old_computed)
            new_computed = node_hash(sibling, new_computed)
            while not place & 1 and place != 0:
                place >>= 1
                last >>= 1
        else:
            new_computed = node_hash(new_computed, sibling)
        place >>= 1
        last >>= 1
    if last != 0:
        raise BadProof(f"a consistency proof of {len(proof)} hashes is too short from {old_size} to {new_size}")
    if old_computed != old_root or new_computed != new_root:
        raise BadProof(f"the tree of {new_size} leaves with this root does not start with the one of {old_size}")


def _check_hashes(hashes: Sequence[bytes]) -> None:
    if any(len(each) != _HASH_SIZE for each in hashes):
        raise BadProof(f"a hash that is not {_HASH_SIZE} bytes long")
