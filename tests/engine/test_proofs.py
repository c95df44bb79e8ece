"""The pure checks, against a second implementation of RFC 6962 that is written here from its text."""

from __future__ import annotations

from hashlib import sha256

import pytest

from aegis_store._engine import check_consistency, check_inclusion, leaf_hash
from aegis_store.errors import BadProof
from aegis_store.types import Head, Tier

LEAVES = [sha256(b"\0" + b"entry %d" % index).digest() for index in range(33)]


def split(count: int) -> int:
    """The largest power of two below `count`."""
    return 1 << (count - 1).bit_length() - 1


def root(leaves: list[bytes]) -> bytes:
    """MTH of section 2.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha256(b"").digest()
    k = split(len(leaves))
    return sha256(b"\1" + root(leaves[:k]) + root(leaves[k:])).digest()


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.1."""
    if len(leaves) < 2:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path(index, leaves[:k]), root(leaves[k:])]
    return [*path(index - k, leaves[k:]), root(leaves[:k])]


def between(old: int, leaves: list[bytes], *, whole: bool = True) -> list[bytes]:
    """SUBPROOF of section 2.1.2."""
    if old == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if old <= k:
        return [*between(old, leaves[:k], whole=whole), root(leaves[k:])]
    return [*between(old - k, leaves[k:], whole=False), root(leaves[:k])]


def head(size: int, tier: Tier = Tier.SESSION) -> Head:
    return Head(tier=tier, size=size, root=root(LEAVES[:size]))


def flipped(data: bytes, bit: int) -> bytes:
    return (int.from_bytes(data, "big") ^ (1 << bit)).to_bytes(len(data), "big")


def test_a_leaf_is_hashed_as_the_rfc_says():
    assert leaf_hash(b"entry 7") == LEAVES[7]
    assert leaf_hash(b"") == sha256(b"\0").digest()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8, 9, 31, 32, 33])
def test_true_proofs_hold(size):
    for index in range(size):
        check_inclusion(LEAVES[index], index, head(size), path(index, LEAVES[:size]))
    for old in range(1, size + 1):
        check_consistency(head(old), head(size), between(old, LEAVES[:size]))


def test_every_tree_is_consistent_with_the_empty_one():
    check_consistency(head(0), head(9), [])


@pytest.mark.parametrize("bit", [0, 100, 255])
def test_a_flipped_bit_anywhere_is_noticed(bit):
    proof = path(5, LEAVES[:9])
    for at in range(len(proof)):
        with pytest.raises(BadProof):
            check_inclusion(LEAVES[5], 5, head(9), [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]])
    with pytest.raises(BadProof):
        check_inclusion(flipped(LEAVES[5], bit), 5, head(9), proof)
    steps = between(5, LEAVES[:9])
    for at in range(len(steps)):
        with pytest.raises(BadProof):
            check_consistency(head(5), head(9), [*steps[:at], flipped(steps[at], bit), *steps[at + 1 :]])


def test_another_place_size_or_length_is_noticed():
    proof = path(5, LEAVES[:9])
    for index, size, hashes in [(4, 9, proof), (5, 10, proof), (5, 8, proof), (9, 9, proof), (5, 9, proof[:-1]), (5, 9, [])]:
        with pytest.raises(BadProof):
            check_inclusion(LEAVES[5], index, head(size), hashes)
    with pytest.raises(BadProof):
        check_inclusion(LEAVES[5], 5, head(9), [*proof, proof[0]])
    with pytest.raises(BadProof):
        check_consistency(head(9), head(5), between(5, LEAVES[:9]))


@pytest.mark.parametrize("wrong", [b"", b"short", bytes(33)])
def test_hashes_of_another_length_are_refused_before_they_are_read(wrong):
    with pytest.raises(BadProof):
        check_inclusion(wrong, 0, head(2), path(0, LEAVES[:2]))
    with pytest.raises(BadProof):
        check_inclusion(LEAVES[0], 0, head(2), [wrong])
    with pytest.raises(BadProof):
        check_inclusion(LEAVES[0], 0, Head(tier=Tier.SESSION, size=2, root=wrong), path(0, LEAVES[:2]))
    with pytest.raises(BadProof):
        check_consistency(Head(tier=Tier.SESSION, size=1, root=wrong), head(2), between(1, LEAVES[:2]))
    with pytest.raises(BadProof):
        check_inclusion(LEAVES[0], 0, head(2), [bytes(32)] * 65)


def test_heads_of_two_tiers_are_not_compared():
    with pytest.raises(BadProof, match="audit is no prefix of one of session"):
        check_consistency(head(2, Tier.AUDIT), head(2), [])
