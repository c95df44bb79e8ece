/* merkle: where RFC 6962's recursive definitions meet the binary digits of the size.
 *
 * The RFC splits a list of n > 1 leaves at the largest power of two below n, so every left half is perfect (2^l leaves), and
 * the tree is a row of perfect subtrees, the peaks, one for each binary digit 1 of n, highest first:
 *
 *   n = 7 = 0b111                 root = node(p2, node(p1, p0))
 *                  root
 *                /      \         p2: level 2, leaves 0-3
 *              /          x       p1: level 1, leaves 4-5
 *            p2          / \      p0: level 0, leaf  6
 *          /    \       /   \
 *         A0    A1     p1    \    A perfect subtree is named by (level, index): its leaves are
 *        / \    / \   / \     \   [index << level, (index + 1) << level), its halves (level - 1, 2 index) and
 *        0 1    2 3   4 5    p0   (level - 1, 2 index + 1), its sibling (level, index ^ 1).
 *
 *   append     a new leaf is a peak of its own; equal peaks merge, as carries do when n is counted up.
 *   root       fold the peaks from the right.
 *   inclusion  climb from the leaf: siblings up to the top of its peak, then the fold of all smaller peaks (they lie to the
 *              right and share one node), then the larger peaks, nearest first.
 *   consistency  the smallest peak of the old tree is a node of the new tree as well; the proof is that node and its way up.
 *              The siblings to the left of that way are the other old peaks, so the same hashes give the old root (left ones
 *              only) and the new one (all). If the old size is a power of two, its single peak is the old root, which the
 *              verifier has: it is left out.
 *
 * So one function, climb(), makes both proofs, and one, retrace(), checks them.
 */
#include "merkle.h"

#include "sha256.h"

/* A proof that is being written: `count` of `hashes` are filled. */
typedef struct trail {
    merkle_node_fn node;
    void *context;
    uint8_t (*hashes)[HASH_SIZE];
    unsigned count;
} trail;

static unsigned level_of_lowest(uint64_t v) { return (unsigned)__builtin_ctzll(v); }
static unsigned level_of_highest(uint64_t v) { return 63u - (unsigned)__builtin_clzll(v); }
static uint64_t without_lowest(uint64_t v) { return v & (v - 1); }

static int fold(uint64_t first, uint64_t count, merkle_node_fn node, void *context, uint8_t root[HASH_SIZE]);
static int climb(trail *to, unsigned level, uint64_t index, uint64_t size);
static int emit(trail *to, unsigned level, uint64_t index);
static bool retrace(uint64_t index, uint64_t last, uint8_t old[HASH_SIZE], uint8_t whole[HASH_SIZE],
                    const uint8_t (*proof)[HASH_SIZE], unsigned count);
static bool same(const uint8_t a[HASH_SIZE], const uint8_t b[HASH_SIZE]) { return memcmp(a, b, HASH_SIZE) == 0; }
static void empty_root(uint8_t root[HASH_SIZE]) { sha256_whole(NULL, 0, root); }

void merkle_clear(merkle_range *range) { range->size = 0; }

void merkle_append(merkle_range *range, const uint8_t leaf[HASH_SIZE]) {
    unsigned last = merkle_peak_count(range->size);
    memcpy(range->peaks[last], leaf, HASH_SIZE);
    for (uint64_t carry = range->size; carry & 1; carry >>= 1) {
        node_hash(range->peaks[last - 1], range->peaks[last], range->peaks[last - 1]);
        last--;
    }
    range->size++;
}

void merkle_root(const merkle_range *range, uint8_t root[HASH_SIZE]) {
    unsigned left = merkle_peak_count(range->size);
    if (left == 0) {
        empty_root(root);
        return;
    }
    memcpy(root, range->peaks[--left], HASH_SIZE);
    while (left > 0) node_hash(range->peaks[--left], root, root);
}

unsigned merkle_peak_count(uint64_t size) { return (unsigned)__builtin_popcountll(size); }

int merkle_root_at(uint64_t size, merkle_node_fn node, void *context, uint8_t root[HASH_SIZE]) {
    if (size == 0) {
        empty_root(root);
        return AEGIS_OK;
    }
    return fold(0, size, node, context, root);
}

int merkle_inclusion(uint64_t index, uint64_t size, merkle_node_fn node, void *context,
                     uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE], unsigned *count) {
    return merkle_subtree(0, index, size, node, context, proof, count);
}

static bool within(unsigned level, uint64_t index, uint64_t size) { return level < 64 && index < size >> level; }

int merkle_subtree(unsigned level, uint64_t index, uint64_t size, merkle_node_fn node, void *context,
                   uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE], unsigned *count) {
    if (!within(level, index, size)) {
        return fail(AEGIS_E_ARGUMENT, "no leaf %llu in a tree of %llu", (unsigned long long)index << level % 64,
                    (unsigned long long)size);
    }
    trail to = {.node = node, .context = context, .hashes = proof};
    TRY(climb(&to, level, index, size));
    *count = to.count;
    return AEGIS_OK;
}

int merkle_consistency(uint64_t old_size, uint64_t size, merkle_node_fn node, void *context,
                       uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE], unsigned *count) {
    if (old_size == 0 || old_size > size) {
        return fail(AEGIS_E_ARGUMENT, "no proof leads from a tree of %llu to one of %llu", (unsigned long long)old_size,
                    (unsigned long long)size);
    }
    trail to = {.node = node, .context = context, .hashes = proof};
    if (old_size < size) {
        unsigned level = level_of_lowest(old_size);
        uint64_t index = (old_size >> level) - 1;
        if (without_lowest(old_size) != 0) TRY(emit(&to, level, index));
        TRY(climb(&to, level, index, size));
    }
    *count = to.count;
    return AEGIS_OK;
}

int merkle_check_inclusion(const uint8_t leaf[HASH_SIZE], uint64_t index, uint64_t size,
                           const uint8_t (*proof)[HASH_SIZE], unsigned count, const uint8_t root[HASH_SIZE]) {
    return merkle_check_subtree(leaf, 0, index, size, proof, count, root);
}

int merkle_check_subtree(const uint8_t node[HASH_SIZE], unsigned level, uint64_t index, uint64_t size,
                         const uint8_t (*proof)[HASH_SIZE], unsigned count, const uint8_t root[HASH_SIZE]) {
    uint8_t whole[HASH_SIZE];
    if (!within(level, index, size)) {
        return fail(AEGIS_E_PROOF, "no leaf %llu in a tree of %llu", (unsigned long long)index << level % 64,
                    (unsigned long long)size);
    }
    memcpy(whole, node, HASH_SIZE);
    if (!retrace(index, (size - 1) >> level, NULL, whole, proof, count) || !same(whole, root)) {
        return fail(AEGIS_E_PROOF, "the proof does not lead from leaf %llu to the root at %llu", (unsigned long long)index << level,
                    (unsigned long long)size);
    }
    return AEGIS_OK;
}

int merkle_check_consistency(uint64_t old_size, const uint8_t old_root[HASH_SIZE], uint64_t size,
                             const uint8_t root[HASH_SIZE], const uint8_t (*proof)[HASH_SIZE], unsigned count) {
    uint8_t old[HASH_SIZE], whole[HASH_SIZE];
    bool holds = false;
    if (old_size == 0) {
        /* Nothing is a prefix of everything; and of two empty trees both roots are known. */
        empty_root(old);
        holds = count == 0 && same(old, old_root) && (size > 0 || same(old, root));
    } else if (old_size == size) {
        holds = count == 0 && same(old_root, root);
    } else if (old_size < size) {
        unsigned level = level_of_lowest(old_size);
        bool given = without_lowest(old_size) == 0;
        if (given || count > 0) {
            memcpy(old, given ? old_root : proof[0], HASH_SIZE);
            memcpy(whole, old, HASH_SIZE);
            if (!given) {
                proof++;
                count--;
            }
            holds = retrace((old_size - 1) >> level, (size - 1) >> level, old, whole, proof, count) &&
                    (MUTANT(NO_OLD_ROOT_IN_PROOF) || same(old, old_root)) && same(whole, root);
        }
    }
    if (!holds) {
        return fail(AEGIS_E_PROOF, "the proof does not show the tree of %llu to begin with that of %llu",
                    (unsigned long long)size, (unsigned long long)old_size);
    }
    return AEGIS_OK;
}

/* Root of the tree over the `count` > 0 leaves from `first` on, where `first` is a multiple of the power of two at or above
 * count (as everywhere in RFC 6962): the peaks of count, moved by first. */
static int fold(uint64_t first, uint64_t count, merkle_node_fn node, void *context, uint8_t root[HASH_SIZE]) {
    unsigned level = level_of_lowest(count);
    count = without_lowest(count);
    TRY(node(context, level, (first + count) >> level, root));
    while (count != 0) {
        uint8_t peak[HASH_SIZE];
        level = level_of_lowest(count);
        count = without_lowest(count);
        TRY(node(context, level, (first + count) >> level, peak));
        node_hash(peak, root, root);
    }
    return AEGIS_OK;
}

/* The hashes beside the way from the perfect subtree (level, index) up to the root at `size`. At most 64: a sibling or a left
 * peak for each digit of size, and one fold, for which the digit of the own peak makes room. */
static int climb(trail *to, unsigned level, uint64_t index, uint64_t size) {
    /* Above the own peak's digit `size` and the first leaf's index agree; that digit is 1 in size and 0 in the index. */
    uint64_t first = index << level;
    unsigned top = level_of_highest(first ^ size);
    uint64_t larger = first >> top << top; /* leaves in the larger peaks, left of this one */
    uint64_t end = larger + ((uint64_t)1 << top);

    for (; level < top; level++, index >>= 1) TRY(emit(to, level, index ^ 1));
    if (end < size) {
        CHECK(to->count < MERKLE_MAX_PROOF);
        TRY(fold(end, size - end, to->node, to->context, to->hashes[to->count]));
        to->count++;
    }
    while (larger != 0) {
        level = level_of_lowest(larger);
        larger = without_lowest(larger);
        TRY(emit(to, level, larger >> level));
    }
    return AEGIS_OK;
}

static int emit(trail *to, unsigned level, uint64_t index) {
    CHECK(to->count < MERKLE_MAX_PROOF);
    TRY(to->node(to->context, level, index, to->hashes[to->count]));
    to->count++;
    return AEGIS_OK;
}

/* The loop of RFC 9162 2.1.3.2 and 2.1.4.2. `index` is the node to start from and `last` the rightmost node of its level;
 * both move up together, and last is 0 once the root is reached, at which the proof must end. A node that is its row's last and
 * even has no sibling: it stands for its parent until it is a right child. `whole` takes all hashes and becomes the root;
 * `old`, if wanted, takes those on the left and becomes the root of the tree that ends with the start. */
static bool retrace(uint64_t index, uint64_t last, uint8_t old[HASH_SIZE], uint8_t whole[HASH_SIZE],
                    const uint8_t (*proof)[HASH_SIZE], unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        if (last == 0) return false;
        if (index == last) {
            while ((index & 1) == 0) {
                index >>= 1;
                last >>= 1;
            }
        }
        if (index & 1) {
            if (old != NULL) node_hash(proof[i], old, old);
            node_hash(proof[i], whole, whole);
        } else {
            node_hash(whole, proof[i], whole);
        }
        index >>= 1;
        last >>= 1;
    }
    return last == 0;
}
