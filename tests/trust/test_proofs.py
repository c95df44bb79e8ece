"""Proofs against a tree written straight from RFC 6962, and against foreign vectors."""

from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aegis_store.errors import BadProof
from aegis_store.trust.proofs import EMPTY_ROOT, leaf_hash, node_hash, verify_consistency, verify_inclusion

INPUTS = [bytes.fromhex(each) for each in (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
)]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
SIZES = 34


# ---- RFC 6962, 2.1, word for word: slow, and nothing in common with the code under test


def split(count):
    k = 1
    while 2 * k < count:
        k *= 2
    return k


def tree_root(leaves):
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return sha256(b"\x01" + tree_root(leaves[:k]) + tree_root(leaves[k:])).digest()


def inclusion(index, leaves):
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*inclusion(index, leaves[:k]), tree_root(leaves[k:])]
    return [*inclusion(index - k, leaves[k:]), tree_root(leaves[:k])]


def consistency(old, leaves, *, whole=True):
    if old == len(leaves):
        return [] if whole else [tree_root(leaves)]
    k = split(len(leaves))
    if old <= k:
        return [*consistency(old, leaves[:k], whole=whole), tree_root(leaves[k:])]
    return [*consistency(old - k, leaves[k:], whole=False), tree_root(leaves[:k])]


def hashed(inputs):
    return [sha256(b"\x00" + each).digest() for each in inputs]


LEAVES = hashed([bytes([each]) for each in range(130)])


def includes(leaf, index, size, proof, root):
    try:
        verify_inclusion(leaf=leaf, index=index, size=size, proof=proof, root=root)
    except BadProof:
        return False
    return True


def starts_with(old, old_root, new, new_root, proof):
    try:
        verify_consistency(old_size=old, old_root=old_root, new_size=new, new_root=new_root, proof=proof)
    except BadProof:
        return False
    return True


def spoilt(proof):
    """Proofs that differ a little from a good one."""
    yield [*proof, bytes(32)]
    yield [bytes(32), *proof]
    for at, each in enumerate(proof):
        yield proof[:at] + proof[at + 1 :]
        yield [*proof[:at], each, *proof[at:]]
        yield [*proof[:at], bytes([each[0] ^ 1]) + each[1:], *proof[at + 1 :]]
        yield [*proof[:at], each[:-1], *proof[at + 1 :]]
        yield [*proof[:at], each + b"\0", *proof[at + 1 :]]
    if len(proof) > 1:
        yield proof[::-1]


# ---- vectors


def test_the_naive_tree_has_the_known_roots():
    assert [tree_root(hashed(INPUTS[:size])).hex() for size in range(9)] == ROOTS
    assert tree_root(LEAVES).hex() == "f05d2f5ef24c72dd70b0a8f28e576b3acaf944c00e014524c47aa42325d7d1c3"


def test_leaf_node_and_empty_hashes():
    leaves = [leaf_hash(each) for each in INPUTS]
    assert leaves == hashed(INPUTS)
    assert leaves[0].hex() == ROOTS[1]
    assert node_hash(leaves[0], leaves[1]).hex() == ROOTS[2]
    assert ROOTS[0] == EMPTY_ROOT.hex()


def test_known_proofs_hold():
    leaves = hashed(INPUTS)
    a = [node_hash(leaves[2 * each], leaves[2 * each + 1]) for each in range(4)]
    b = [node_hash(a[0], a[1]), node_hash(a[2], a[3])]
    x = node_hash(a[2], leaves[6])
    roots = [bytes.fromhex(each) for each in ROOTS]
    for index, size, proof in ((5, 8, [leaves[4], a[3], b[0]]), (6, 7, [a[2], b[0]]), (3, 7, [leaves[2], a[0], x])):
        verify_inclusion(leaf=leaves[index], index=index, size=size, proof=proof, root=roots[size])
    for old, new, proof in (
        (1, 8, [leaves[1], a[1], b[1]]),
        (3, 7, [leaves[2], leaves[3], a[0], x]),
        (6, 8, [a[2], a[3], b[0]]),
    ):
        verify_consistency(old_size=old, old_root=roots[old], new_size=new, new_root=roots[new], proof=proof)


# ---- against the naive tree


@pytest.mark.parametrize("size", [*range(1, SIZES), 64, 65, 127, 128, 130])
def test_inclusion_holds_for_every_leaf_and_for_no_other(size):
    root = tree_root(LEAVES[:size])
    for index in range(size):
        proof = inclusion(index, LEAVES[:size])
        assert includes(LEAVES[index], index, size, proof, root)
        assert not includes(LEAVES[(index + 1) % 130], index, size, proof, root)
        assert not includes(LEAVES[index], index, size, proof, bytes(32))
        for other in (index - 1, index + 1, index ^ 1, index + size, -1, size):
            assert other == index or not includes(LEAVES[index], other, size, proof, root)


@pytest.mark.parametrize("size", range(1, 18))
def test_a_spoilt_inclusion_proof_is_refused(size):
    root = tree_root(LEAVES[:size])
    for index in range(size):
        for proof in spoilt(inclusion(index, LEAVES[:size])):
            assert not includes(LEAVES[index], index, size, proof, root)


@pytest.mark.parametrize("new", [*range(1, SIZES), 64, 65, 127, 128, 130])
def test_consistency_holds_with_every_beginning(new):
    new_root = tree_root(LEAVES[:new])
    for old in range(1, new + 1):
        old_root = tree_root(LEAVES[:old])
        proof = consistency(old, LEAVES[:new])
        assert starts_with(old, old_root, new, new_root, proof)
        assert not starts_with(old, bytes(32), new, new_root, proof)
        assert not starts_with(old, old_root, new, bytes(32), proof)
        assert not starts_with(old, new_root, new, old_root, proof) or old == new
        assert not starts_with(old + 1, old_root, new, new_root, proof)


@pytest.mark.parametrize("new", range(1, 18))
def test_a_spoilt_consistency_proof_is_refused(new):
    new_root = tree_root(LEAVES[:new])
    for old in range(1, new + 1):
        for proof in spoilt(consistency(old, LEAVES[:new])):
            assert not starts_with(old, tree_root(LEAVES[:old]), new, new_root, proof)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 13, 16])
def test_a_proof_of_another_length_than_its_numbers_ask_for_is_refused(size):
    # Not because some hash differs: leaf 7 of 8 passed off as leaf 3 of 4 ends at the very root that is given.
    root = tree_root(LEAVES[:size])
    for claimed in range(1, 18):
        for other in range(claimed):
            asked = len(inclusion(other, LEAVES[:claimed]))
            for index in range(size):
                proof = inclusion(index, LEAVES[:size])
                assert len(proof) == asked or not includes(LEAVES[index], other, claimed, proof, root)
        for other in range(1, claimed):
            asked = len(consistency(other, LEAVES[:claimed]))
            for old in range(1, size):
                proof = consistency(old, LEAVES[:size])
                assert len(proof) == asked or not starts_with(other, tree_root(LEAVES[:old]), claimed, root, proof)


def test_a_log_that_was_changed_below_is_not_consistent():
    changed = [*LEAVES[:3], bytes(32), *LEAVES[4:]]
    for old in range(4, 20):
        new_root = tree_root(changed[:20])
        assert not starts_with(old, tree_root(LEAVES[:old]), 20, new_root, consistency(old, changed[:20]))
        assert not starts_with(old, tree_root(LEAVES[:old]), 20, new_root, consistency(old, LEAVES[:20]))


def test_empty_and_equal_trees():
    root = tree_root(LEAVES[:5])
    assert starts_with(0, EMPTY_ROOT, 5, root, [])
    assert starts_with(0, EMPTY_ROOT, 0, EMPTY_ROOT, [])
    assert starts_with(5, root, 5, root, [])
    assert not starts_with(0, root, 5, root, [])
    assert not starts_with(0, EMPTY_ROOT, 5, root, [root])
    assert not starts_with(0, root, 0, root, [])
    assert not starts_with(5, root, 5, bytes(32), [])
    assert not starts_with(5, root, 5, root, [root])
    assert not starts_with(4, tree_root(LEAVES[:4]), 5, root, [])
    assert not starts_with(5, root, 4, tree_root(LEAVES[:4]), [])
    assert not starts_with(-1, EMPTY_ROOT, 5, root, [])
    assert not includes(LEAVES[0], 0, 0, [], LEAVES[0])
    assert not includes(LEAVES[0][:-1], 0, 1, [], LEAVES[0][:-1])


@settings(deadline=None, max_examples=300)
@given(st.integers(-3, 2**70), st.integers(-3, 2**70), st.lists(st.binary(max_size=3) | st.binary(min_size=32, max_size=32)))
def test_anything_else_is_refused_and_returns(one, other, proof):
    assert not includes(LEAVES[0], one, other, proof, bytes(32))
    assert not starts_with(one, LEAVES[0], other, bytes(32), proof)
