/* trees: a tree over made-up leaves on the simulated machine, and what it is asked. Include in one test file alone. */
#ifndef AEGIS_TESTS_TREES_H
#define AEGIS_TESTS_TREES_H

#include "scopes.h"

enum { SMALL = 700, LARGE = 65536 + 600 };

static uint8_t leaves[LARGE][HASH_SIZE];
static uint8_t roots[SMALL + 1][HASH_SIZE];
static uint64_t leaves_asked;
static uint64_t wrong_leaf = UINT64_MAX;    /* one that the log gives wrongly */
static vfs_dir *tiles;

static inline int give_leaves(void *context, uint64_t first, unsigned count, uint8_t (*out)[HASH_SIZE]) {
    if (!EXPECT_EQ_U64(*(uint64_t *)context, 4711) || !EXPECT(first + count <= LARGE)) return AEGIS_E_BUG;
    memcpy(out, leaves[first], (size_t)count * HASH_SIZE);
    if (wrong_leaf >= first && wrong_leaf < first + count) out[wrong_leaf - first][0] ^= 1;
    leaves_asked += count;
    return AEGIS_OK;
}

static uint64_t context = 4711;

/* MTH(D[first:end]), RFC 6962 2.1. */
static inline void naive_root(uint64_t first, uint64_t end, uint8_t out[HASH_SIZE]) {
    uint64_t k = 1;
    if (end - first == 0) sha256_whole("", 0, out);
    if (end - first == 1) memcpy(out, leaves[first], HASH_SIZE);
    if (end - first < 2) return;
    while (2 * k < end - first) k *= 2;
    uint8_t left[HASH_SIZE], right[HASH_SIZE];
    naive_root(first, first + k, left);
    naive_root(first + k, end, right);
    node_hash(left, right, out);
}

static inline void make_leaves(void) {
    if (leaves[1][0] != 0) return;
    for (uint64_t i = 0; i < LARGE; i++) leaf_hash(&i, sizeof i, leaves[i]);
    for (uint64_t n = 0; n <= SMALL; n++) naive_root(0, n, roots[n]);
}

static inline bool begin_tree(tree *t, uint64_t cache_bytes) {
    make_leaves();
    leaves_asked = 0;
    wrong_leaf = UINT64_MAX;
    if (!begin(1) || !EXPECT_OK(v->open_dir(v, root, "tiles", VFS_CREATE, &tiles))) return false;
    EXPECT_OK(vfs_sim_settle(sim, false));
    merkle_range empty;
    merkle_clear(&empty);
    return EXPECT_OK(tree_init(t, &s, tiles, true, cache_bytes, give_leaves, &context)) && EXPECT_OK(tree_start(t, &empty));
}

static inline void end_tree(tree *t) {
    tree_free(t);
    v->close_dir(v, tiles);
    end();
}

static inline void write_pending(tree *t) {
    static pending_tile one;
    while (tree_take_pending(t, &one)) EXPECT_OK(tree_write_tile(t, &one));
}

static inline void grow(tree *t, uint64_t size) {
    while (t->range.size < size) {
        tree_append(t, leaves[t->range.size]);
        if (t->range.size % 1024 == 0) write_pending(t);
    }
    write_pending(t);
}

static inline merkle_range range_of(uint64_t size) {
    merkle_range range;
    merkle_clear(&range);
    for (uint64_t i = 0; i < size; i++) merkle_append(&range, leaves[i]);
    return range;
}

/* Another tree over the same tiles, as the next open makes it. */
static inline bool reopen(tree *t, bool writable, uint64_t size) {
    const merkle_range range = range_of(size);
    leaves_asked = 0;
    return EXPECT_OK(tree_init(t, &s, tiles, writable, 0, give_leaves, &context)) && EXPECT_OK(tree_start(t, &range));
}

static inline bool root_is(tree *t, uint64_t size, const uint8_t expected[HASH_SIZE]) {
    uint8_t found[HASH_SIZE];
    return EXPECT_OK(tree_root_at(t, size, found)) && EXPECT_BYTES(found, expected, HASH_SIZE);
}

static inline bool includes(tree *t, uint64_t index, uint64_t size, const uint8_t expected[HASH_SIZE]) {
    uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE];
    unsigned count = 0;
    return EXPECT_OK(tree_inclusion(t, index, size, proof, &count)) &&
           EXPECT_OK(merkle_check_inclusion(leaves[index], index, size, (const uint8_t(*)[HASH_SIZE])proof, count, expected));
}

static inline bool consistent(tree *t, uint64_t old_size, const uint8_t *old_root, uint64_t size, const uint8_t *new_root) {
    uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE];
    unsigned count = 0;
    return EXPECT_OK(tree_consistency(t, old_size, size, proof, &count)) &&
           EXPECT_OK(merkle_check_consistency(old_size, old_root, size, new_root, (const uint8_t(*)[HASH_SIZE])proof, count));
}

/* Roots, proofs and the proving of records, for some of everything below `size`. */
static inline bool answers(tree *t, uint64_t size, uint64_t step) {
    uint8_t top[HASH_SIZE], old[HASH_SIZE];
    naive_root(0, size, top);
    if (!root_is(t, size, top)) return false;
    for (uint64_t i = 0;; i = min_u64(i + step, size - 1)) {
        naive_root(0, i, old);
        if (!includes(t, i, size, top) || !EXPECT_OK(tree_prove(t, i, leaves[i])) || !root_is(t, i, old) ||
            !consistent(t, i, old, size, top))
            return false;
        if (i == size - 1) return true;
    }
}

#endif
