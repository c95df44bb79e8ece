/* merkle.c: known vectors, and every tree of up to 300 leaves against the recursive definitions of RFC 6962, written here as
 * they stand there. */
#include "check.h"

#include "proofs.h"
#include "sha256.h"

enum { LEAVES = 300 };

/* leaf i is the leaf hash of the number i, two bytes */
static uint8_t leaves[LEAVES][HASH_SIZE];

static void make_leaves(void) {
    for (unsigned i = 0; i < LEAVES; i++) {
        uint8_t entry[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        leaf_hash(entry, sizeof entry, leaves[i]);
    }
}

/* ---- the naive tree ------------------------------------------------------------------------------------------------- */

typedef struct naive_proof {
    uint8_t hashes[MERKLE_MAX_PROOF + 1][HASH_SIZE];
    unsigned count;
} naive_proof;

/* "the largest power of two smaller than n" */
static size_t largest_power_below(size_t n) {
    size_t k = 1;
    while (2 * k < n) k *= 2;
    return k;
}

/* MTH(D[first:end]), RFC 6962 2.1; remembered, or 300 leaves would take minutes. */
static void naive_root(size_t first, size_t end, uint8_t out[HASH_SIZE]) {
    static uint8_t known[LEAVES + 1][LEAVES + 1][HASH_SIZE];
    static bool is_known[LEAVES + 1][LEAVES + 1];
    size_t n = end - first;
    if (n == 0) {
        sha256_whole("", 0, out);
    } else if (n == 1) {
        memcpy(out, leaves[first], HASH_SIZE);
    } else {
        if (!is_known[first][end]) {
            size_t k = largest_power_below(n);
            uint8_t left[HASH_SIZE], right[HASH_SIZE];
            naive_root(first, first + k, left);
            naive_root(first + k, end, right);
            node_hash(left, right, known[first][end]);
            is_known[first][end] = true;
        }
        memcpy(out, known[first][end], HASH_SIZE);
    }
}

static void naive_add_root(naive_proof *proof, size_t first, size_t end) {
    naive_root(first, end, proof->hashes[proof->count++]);
}

/* PATH(m, D[first:end]), RFC 6962 2.1.1 */
static void naive_path(naive_proof *proof, size_t m, size_t first, size_t end) {
    size_t n = end - first;
    if (n == 1) return;
    size_t k = largest_power_below(n);
    if (m < k) {
        naive_path(proof, m, first, first + k);
        naive_add_root(proof, first + k, end);
    } else {
        naive_path(proof, m - k, first + k, end);
        naive_add_root(proof, first, first + k);
    }
}

/* SUBPROOF(m, D[first:end], whole), RFC 6962 2.1.2 */
static void naive_subproof(naive_proof *proof, size_t m, size_t first, size_t end, bool whole) {
    size_t n = end - first;
    if (m == n) {
        if (!whole) naive_add_root(proof, first, end);
        return;
    }
    size_t k = largest_power_below(n);
    if (m <= k) {
        naive_subproof(proof, m, first, first + k, whole);
        naive_add_root(proof, first + k, end);
    } else {
        naive_subproof(proof, m - k, first + k, end, false);
        naive_add_root(proof, first, first + k);
    }
}

/* ---- nodes for the functions under test ----------------------------------------------------------------------------- */

/* Nodes of a tree of `size` leaves: only perfect subtrees that are in it may be asked for. */
typedef struct tree {
    uint64_t size;
    unsigned asked;
    unsigned fail_at; /* 0: never; n: the n-th question is answered with AEGIS_E_IO */
} tree;

static int tree_node(void *context, unsigned level, uint64_t index, uint8_t out[HASH_SIZE]) {
    tree *t = context;
    if (++t->asked == t->fail_at) return fail(AEGIS_E_IO, "asked for it");
    if (!EXPECT(level < 64 && (index + 1) << level <= t->size)) return AEGIS_E_BUG;
    naive_root((size_t)(index << level), (size_t)((index + 1) << level), out);
    return AEGIS_OK;
}

static int prove_inclusion(uint64_t index, uint64_t size, proof *out) {
    tree t = {.size = size};
    return merkle_inclusion(index, size, tree_node, &t, out->hashes, &out->count);
}

static int prove_consistency(uint64_t old_size, uint64_t size, proof *out) {
    tree t = {.size = size};
    return merkle_consistency(old_size, size, tree_node, &t, out->hashes, &out->count);
}

static bool same_proof(const proof *p, const naive_proof *naive) {
    return EXPECT_EQ_U64(p->count, naive->count) && EXPECT_BYTES(p->hashes, naive->hashes, (size_t)p->count * HASH_SIZE);
}

/* ---- vectors -------------------------------------------------------------------------------------------------------- */

static uint8_t L[8][HASH_SIZE], A[4][HASH_SIZE], B[2][HASH_SIZE], X[HASH_SIZE];

static const char *const vector_roots[9] = {
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
};

static void make_vectors(void) {
    static const char *const inputs[8] = {
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    };
    for (int i = 0; i < 8; i++) {
        uint8_t input[16];
        leaf_hash(input, from_hex(inputs[i], input, sizeof input), L[i]);
    }
    for (int i = 0; i < 4; i++) node_hash(L[2 * i], L[2 * i + 1], A[i]);
    for (int i = 0; i < 2; i++) node_hash(A[2 * i], A[2 * i + 1], B[i]);
    node_hash(A[2], L[6], X);
}

static int vector_node(void *context, unsigned level, uint64_t index, uint8_t out[HASH_SIZE]) {
    (void)context;
    uint8_t root[HASH_SIZE];
    const uint8_t *rows[4] = {L[0], A[0], B[0], root};
    from_hex(vector_roots[8], root, sizeof root);
    if (!EXPECT(level < 4 && index < 8u >> level)) return AEGIS_E_BUG;
    memcpy(out, rows[level] + HASH_SIZE * index, HASH_SIZE);
    return AEGIS_OK;
}

TEST(leaves_of_the_vectors) {
    static const char *const starts[8] = {
        "6e340b9c", "96a296d2", "0298d122", "07506a85", "bc1a0643", "4271a26b", "b08693ec", "46f6ffad",
    };
    make_vectors();
    for (int i = 0; i < 8; i++) {
        uint8_t start[4];
        EXPECT_BYTES(L[i], start, from_hex(starts[i], start, sizeof start));
    }
}

TEST(roots_of_the_vectors) {
    merkle_range range;
    make_vectors();
    merkle_clear(&range);
    for (unsigned size = 0; size <= 8; size++) {
        uint8_t expected[HASH_SIZE], root[HASH_SIZE];
        from_hex(vector_roots[size], expected, sizeof expected);
        merkle_root(&range, root);
        EXPECT_BYTES(root, expected, HASH_SIZE);
        EXPECT_OK(merkle_root_at(size, vector_node, NULL, root));
        EXPECT_BYTES(root, expected, HASH_SIZE);
        if (size < 8) merkle_append(&range, L[size]);
    }
}

TEST(root_of_the_130_leaves) {
    merkle_range range;
    uint8_t expected[HASH_SIZE], root[HASH_SIZE];
    from_hex("f05d2f5ef24c72dd70b0a8f28e576b3acaf944c00e014524c47aa42325d7d1c3", expected, sizeof expected);
    merkle_clear(&range);
    for (unsigned i = 0; i < 130; i++) {
        uint8_t leaf[HASH_SIZE], entry = (uint8_t)i;
        leaf_hash(&entry, 1, leaf);
        merkle_append(&range, leaf);
    }
    merkle_root(&range, root);
    EXPECT_BYTES(root, expected, HASH_SIZE);
}

#define EXPECT_HASHES(p, ...) expect_hashes(p, (const uint8_t *[]){__VA_ARGS__, NULL})

static void expect_hashes(const proof *p, const uint8_t *const *expected) {
    unsigned count = 0;
    for (; expected[count] != NULL; count++) {
        if (count < p->count) EXPECT_BYTES(p->hashes[count], expected[count], HASH_SIZE);
    }
    EXPECT_EQ_U64(p->count, count);
}

TEST(proofs_of_the_vectors) {
    proof p;
    make_vectors();
    EXPECT_OK(merkle_consistency(1, 8, vector_node, NULL, p.hashes, &p.count));
    EXPECT_HASHES(&p, L[1], A[1], B[1]);
    EXPECT_OK(merkle_consistency(3, 7, vector_node, NULL, p.hashes, &p.count));
    EXPECT_HASHES(&p, L[2], L[3], A[0], X);
    EXPECT_OK(merkle_consistency(6, 8, vector_node, NULL, p.hashes, &p.count));
    EXPECT_HASHES(&p, A[2], A[3], B[0]);
    EXPECT_OK(merkle_inclusion(5, 8, vector_node, NULL, p.hashes, &p.count));
    EXPECT_HASHES(&p, L[4], A[3], B[0]);
    EXPECT_OK(merkle_inclusion(6, 7, vector_node, NULL, p.hashes, &p.count));
    EXPECT_HASHES(&p, A[2], B[0]);
    EXPECT_OK(merkle_inclusion(3, 7, vector_node, NULL, p.hashes, &p.count));
    EXPECT_HASHES(&p, L[2], A[0], X);
}

/* ---- every tree of up to 300 leaves --------------------------------------------------------------------------------- */

TEST(peaks_and_roots_of_every_size) {
    merkle_range range;
    make_leaves();
    merkle_clear(&range);
    for (size_t size = 0; size <= LEAVES; size++) {
        uint8_t expected[HASH_SIZE], root[HASH_SIZE];
        naive_root(0, size, expected);
        merkle_root(&range, root);
        EXPECT_BYTES(root, expected, HASH_SIZE);
        tree t = {.size = size};
        EXPECT_OK(merkle_root_at(size, tree_node, &t, root));
        EXPECT_BYTES(root, expected, HASH_SIZE);
        EXPECT_EQ_U64(t.asked, merkle_peak_count(size));

        EXPECT_EQ_U64(range.size, size);
        unsigned peaks = 0;
        size_t first = 0;
        for (size_t width = 512; width > 0; width /= 2) {
            if ((size & width) == 0) continue;
            naive_root(first, first + width, expected);
            EXPECT_BYTES(range.peaks[peaks++], expected, HASH_SIZE);
            first += width;
        }
        EXPECT_EQ_U64(merkle_peak_count(size), peaks);
        if (size < LEAVES) merkle_append(&range, leaves[size]);
    }
}

TEST(inclusion_of_every_leaf_at_every_size) {
    make_leaves();
    for (size_t size = 1; size <= LEAVES; size++) {
        uint8_t root[HASH_SIZE];
        naive_root(0, size, root);
        for (size_t index = 0; index < size; index++) {
            proof p;
            naive_proof naive = {.count = 0};
            naive_path(&naive, index, 0, size);
            if (!EXPECT_OK(prove_inclusion(index, size, &p)) || !same_proof(&p, &naive)) return;
            if (!EXPECT_OK(check_inclusion(leaves[index], index, size, &p, root))) return;
        }
    }
}

TEST(consistency_of_every_pair_of_sizes) {
    make_leaves();
    for (size_t size = 1; size <= LEAVES; size++) {
        uint8_t root[HASH_SIZE], old_root[HASH_SIZE];
        naive_root(0, size, root);
        for (size_t old_size = 1; old_size <= size; old_size++) {
            proof p;
            naive_proof naive = {.count = 0};
            naive_subproof(&naive, old_size, 0, size, true);
            naive_root(0, old_size, old_root);
            if (!EXPECT_OK(prove_consistency(old_size, size, &p)) || !same_proof(&p, &naive)) return;
            if (!EXPECT_OK(check_consistency(old_size, old_root, size, root, &p))) return;
        }
    }
}

/* ---- what must be refused ------------------------------------------------------------------------------------------- */

enum { REFUSED_UP_TO = 70 };

/* The proof of a perfect subtree is what is above it in the proof of any of its leaves. */
TEST(inclusion_of_every_perfect_subtree_at_every_size) {
    make_leaves();
    for (uint64_t size = 1; size <= LEAVES; size += size < 70 ? 1 : 23) {
        uint8_t root[HASH_SIZE], node[HASH_SIZE];
        naive_root(0, (size_t)size, root);
        for (unsigned level = 0; level < 9; level++) {
            for (uint64_t index = 0; (index + 1) << level <= size; index++) {
                tree t = {.size = size};
                proof p = {.count = 0};
                naive_proof naive = {.count = 0};
                naive_path(&naive, (size_t)(index << level), 0, (size_t)size);
                naive_root((size_t)(index << level), (size_t)((index + 1) << level), node);
                if (!EXPECT_OK(merkle_subtree(level, index, size, tree_node, &t, p.hashes, &p.count))) return;
                if (!EXPECT_EQ_U64(p.count + level, naive.count) ||
                    !EXPECT_BYTES(p.hashes, naive.hashes[level], (size_t)p.count * HASH_SIZE)) return;
                const uint8_t(*hashes)[HASH_SIZE] = (const uint8_t(*)[HASH_SIZE])p.hashes;
                if (!EXPECT_OK(merkle_check_subtree(node, level, index, size, hashes, p.count, root))) return;
                node[7] ^= 1;
                EXPECT_CODE(merkle_check_subtree(node, level, index, size, hashes, p.count, root), AEGIS_E_PROOF);
                node[7] ^= 1;
                EXPECT_CODE(merkle_check_subtree(node, level, (index ^ 1) + 2, size, hashes, p.count, root), AEGIS_E_PROOF);
                EXPECT_CODE(merkle_check_subtree(node, level + 1, index, size, hashes, p.count, root), AEGIS_E_PROOF);
            }
        }
    }
    tree t = {.size = 10};
    proof p;
    EXPECT_CODE(merkle_subtree(2, 2, 10, tree_node, &t, p.hashes, &p.count), AEGIS_E_ARGUMENT);
    EXPECT_CODE(merkle_subtree(64, 0, 10, tree_node, &t, p.hashes, &p.count), AEGIS_E_ARGUMENT);
}

TEST(an_inclusion_proof_with_any_change_is_refused) {
    make_leaves();
    for (size_t size = 1; size <= REFUSED_UP_TO; size++) {
        uint8_t root[HASH_SIZE], next_root[HASH_SIZE], wrong[HASH_SIZE];
        naive_root(0, size, root);
        naive_root(0, size + 1, next_root);
        for (size_t index = 0; index < size; index++) {
            const uint8_t *leaf = leaves[index];
            proof p;
            if (!EXPECT_OK(prove_inclusion(index, size, &p))) return;
            for (unsigned i = 0; i < p.count; i++) {
                p.hashes[i][(index + i) % HASH_SIZE] ^= 0x10;
                EXPECT_CODE(check_inclusion(leaf, index, size, &p, root), AEGIS_E_PROOF);
                p.hashes[i][(index + i) % HASH_SIZE] ^= 0x10;
            }
            if (p.count > 0) {
                p.count--;
                EXPECT_CODE(check_inclusion(leaf, index, size, &p, root), AEGIS_E_PROOF);
                /* one missing at the start */
                proof shifted = {.count = p.count};
                memcpy(shifted.hashes, p.hashes[1], (size_t)p.count * HASH_SIZE);
                EXPECT_CODE(check_inclusion(leaf, index, size, &shifted, root), AEGIS_E_PROOF);
                p.count++;
            }
            memcpy(p.hashes[p.count], leaves[0], HASH_SIZE);
            p.count++;
            EXPECT_CODE(check_inclusion(leaf, index, size, &p, root), AEGIS_E_PROOF);
            p.count--;
            for (size_t other = 0; other <= size + 1; other++) {
                if (other != index) EXPECT_CODE(check_inclusion(leaf, other, size, &p, root), AEGIS_E_PROOF);
            }
            EXPECT_CODE(check_inclusion(leaf, index, size + 1, &p, next_root), AEGIS_E_PROOF);
            EXPECT_CODE(check_inclusion(leaf, index, size, &p, next_root), AEGIS_E_PROOF);
            EXPECT_CODE(check_inclusion(leaf, index, 0, &p, root), AEGIS_E_PROOF);
            memcpy(wrong, leaf, HASH_SIZE);
            wrong[index % HASH_SIZE] ^= 1;
            EXPECT_CODE(check_inclusion(wrong, index, size, &p, root), AEGIS_E_PROOF);
            memcpy(wrong, root, HASH_SIZE);
            wrong[31] ^= 0x80;
            EXPECT_CODE(check_inclusion(leaf, index, size, &p, wrong), AEGIS_E_PROOF);
            EXPECT_OK(check_inclusion(leaf, index, size, &p, root));
        }
    }
}

TEST(a_consistency_proof_with_any_change_is_refused) {
    make_leaves();
    for (size_t size = 1; size <= REFUSED_UP_TO; size++) {
        uint8_t root[HASH_SIZE], next_root[HASH_SIZE], old_root[HASH_SIZE], wrong[HASH_SIZE];
        naive_root(0, size, root);
        naive_root(0, size + 1, next_root);
        for (size_t old_size = 1; old_size <= size; old_size++) {
            proof p;
            naive_root(0, old_size, old_root);
            if (!EXPECT_OK(prove_consistency(old_size, size, &p))) return;
            for (unsigned i = 0; i < p.count; i++) {
                p.hashes[i][(old_size + i) % HASH_SIZE] ^= 0x10;
                EXPECT_CODE(check_consistency(old_size, old_root, size, root, &p), AEGIS_E_PROOF);
                p.hashes[i][(old_size + i) % HASH_SIZE] ^= 0x10;
            }
            if (p.count > 0) {
                p.count--;
                EXPECT_CODE(check_consistency(old_size, old_root, size, root, &p), AEGIS_E_PROOF);
                proof shifted = {.count = p.count};
                memcpy(shifted.hashes, p.hashes[1], (size_t)p.count * HASH_SIZE);
                EXPECT_CODE(check_consistency(old_size, old_root, size, root, &shifted), AEGIS_E_PROOF);
                p.count++;
            }
            memcpy(p.hashes[p.count], leaves[0], HASH_SIZE);
            p.count++;
            EXPECT_CODE(check_consistency(old_size, old_root, size, root, &p), AEGIS_E_PROOF);
            p.count--;
            for (size_t other = 0; other <= size + 1; other++) {
                if (other != old_size) EXPECT_CODE(check_consistency(other, old_root, size, root, &p), AEGIS_E_PROOF);
            }
            EXPECT_CODE(check_consistency(old_size, old_root, size + 1, next_root, &p), AEGIS_E_PROOF);
            EXPECT_CODE(check_consistency(old_size, old_root, size, next_root, &p), AEGIS_E_PROOF);
            memcpy(wrong, old_root, HASH_SIZE);
            wrong[old_size % HASH_SIZE] ^= 1;
            EXPECT_CODE(check_consistency(old_size, wrong, size, root, &p), AEGIS_E_PROOF);
            memcpy(wrong, root, HASH_SIZE);
            wrong[31] ^= 0x80;
            EXPECT_CODE(check_consistency(old_size, old_root, size, wrong, &p), AEGIS_E_PROOF);
            EXPECT_OK(check_consistency(old_size, old_root, size, root, &p));
        }
    }
}

/* A proof for one size with the number of another, and the same root: what tells them apart is the way up, not the number. A
 * size is thereby only as good as the signature over (size, root), which is why heads are signed as pairs. */
TEST(another_size_is_refused_where_the_way_up_is_another) {
    make_leaves();
    for (size_t size = 1; size <= REFUSED_UP_TO; size++) {
        uint8_t root[HASH_SIZE];
        naive_root(0, size, root);
        for (size_t index = 0; index < size; index++) {
            naive_proof here = {.count = 0}, there = {.count = 0};
            proof p;
            naive_path(&here, index, 0, size);
            naive_path(&there, index, 0, size + 1);
            EXPECT_OK(prove_inclusion(index, size, &p));
            int code = check_inclusion(leaves[index], index, size + 1, &p, root);
            if (here.count != there.count) EXPECT_CODE(code, AEGIS_E_PROOF);
        }
    }
}

TEST(the_empty_tree_is_a_prefix_of_every_tree) {
    uint8_t empty[HASH_SIZE], root[HASH_SIZE];
    proof none = {.count = 0}, one = {.count = 1};
    make_leaves();
    naive_root(0, 0, empty);
    naive_root(0, 5, root);
    EXPECT_OK(check_consistency(0, empty, 5, root, &none));
    EXPECT_OK(check_consistency(0, empty, 0, empty, &none));
    EXPECT_CODE(check_consistency(0, root, 5, root, &none), AEGIS_E_PROOF);
    EXPECT_CODE(check_consistency(0, root, 0, root, &none), AEGIS_E_PROOF);
    EXPECT_CODE(check_consistency(0, empty, 0, root, &none), AEGIS_E_PROOF);
    EXPECT_CODE(check_consistency(0, empty, 5, root, &one), AEGIS_E_PROOF);
}

TEST(an_empty_proof_is_not_read) {
    uint8_t empty[HASH_SIZE], root[HASH_SIZE];
    make_leaves();
    naive_root(0, 0, empty);
    naive_root(0, 5, root);
    EXPECT_OK(merkle_check_consistency(0, empty, 5, root, NULL, 0));
    EXPECT_OK(merkle_check_consistency(5, root, 5, root, NULL, 0));
    EXPECT_OK(merkle_check_inclusion(leaves[0], 0, 1, NULL, 0, leaves[0]));
    for (uint64_t size = 2; size < 9; size++) {
        EXPECT_CODE(merkle_check_inclusion(leaves[0], 1, size, NULL, 0, leaves[0]), AEGIS_E_PROOF);
        for (uint64_t old_size = 1; old_size < size; old_size++) {
            EXPECT_CODE(merkle_check_consistency(old_size, root, size, root, NULL, 0), AEGIS_E_PROOF);
        }
    }
}

TEST(what_cannot_be_proved_is_an_argument_error) {
    proof p;
    EXPECT_CODE(prove_inclusion(0, 0, &p), AEGIS_E_ARGUMENT);
    EXPECT_CODE(prove_inclusion(7, 7, &p), AEGIS_E_ARGUMENT);
    EXPECT_CODE(prove_inclusion(UINT64_MAX, 7, &p), AEGIS_E_ARGUMENT);
    EXPECT_CODE(prove_consistency(0, 7, &p), AEGIS_E_ARGUMENT);
    EXPECT_CODE(prove_consistency(0, 0, &p), AEGIS_E_ARGUMENT);
    EXPECT_CODE(prove_consistency(8, 7, &p), AEGIS_E_ARGUMENT);
}

TEST(a_node_that_cannot_be_had_ends_the_proof) {
    uint8_t root[HASH_SIZE];
    proof p;
    make_leaves();
    /* 215 = 0b11010111: leaf 150 is in the second of six peaks */
    for (unsigned at = 1; at <= 6; at++) {
        tree t = {.size = 215, .fail_at = at};
        EXPECT_CODE(merkle_root_at(215, tree_node, &t, root), AEGIS_E_IO);
        EXPECT_EQ_U64(t.asked, at);
    }
    for (unsigned at = 1; at <= 6 + 4 + 1; at++) {
        tree t = {.size = 215, .fail_at = at};
        EXPECT_CODE(merkle_inclusion(150, 215, tree_node, &t, p.hashes, &p.count), AEGIS_E_IO);
        EXPECT_EQ_U64(t.asked, at);
    }
    for (unsigned at = 1; at <= 6; at++) {
        tree t = {.size = 215, .fail_at = at};
        EXPECT_CODE(merkle_consistency(151, 215, tree_node, &t, p.hashes, &p.count), AEGIS_E_IO);
        EXPECT_EQ_U64(t.asked, at);
    }
}
