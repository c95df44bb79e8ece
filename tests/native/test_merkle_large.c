/* merkle.c: trees of sizes that no test can build, up to 2^63 leaves, and numbers that are of no tree at all. */
#include "check.h"

#include "proofs.h"
#include "sha256.h"

/* In a tree whose leaves are all alike a perfect subtree depends on its level only, so that any size can be had at once. */
static uint8_t alike[64][HASH_SIZE];

static void make_alike(void) {
    leaf_hash("alike", 5, alike[0]);
    for (int level = 1; level < 64; level++) node_hash(alike[level - 1], alike[level - 1], alike[level]);
}

static int alike_node(void *context, unsigned level, uint64_t index, uint8_t out[HASH_SIZE]) {
    uint64_t size = *(const uint64_t *)context;
    if (!EXPECT(level < 64 && index < size >> level)) return AEGIS_E_BUG;
    memcpy(out, alike[level], HASH_SIZE);
    return AEGIS_OK;
}

static void alike_root(uint64_t size, uint8_t out[HASH_SIZE]) {
    uint64_t k = 1;
    uint8_t right[HASH_SIZE];
    unsigned level = 0;
    while (k < size - k) {
        k *= 2;
        level++;
    }
    if (size == 1) {
        memcpy(out, alike[0], HASH_SIZE);
        return;
    }
    alike_root(size - k, right);
    node_hash(alike[level], right, out);
}

static void check_large(uint64_t size, uint64_t index) {
    uint8_t root[HASH_SIZE], old_root[HASH_SIZE], expected[HASH_SIZE];
    proof p;
    alike_root(size, expected);
    EXPECT_OK(merkle_root_at(size, alike_node, &size, root));
    EXPECT_BYTES(root, expected, HASH_SIZE);
    if (!EXPECT_OK(merkle_inclusion(index, size, alike_node, &size, p.hashes, &p.count))) return;
    EXPECT(p.count <= MERKLE_MAX_PROOF);
    EXPECT_OK(check_inclusion(alike[0], index, size, &p, root));
    p.hashes[p.count / 2][5] ^= 1;
    EXPECT_CODE(check_inclusion(alike[0], index, size, &p, root), AEGIS_E_PROOF);

    uint64_t old_size = index + 1;
    alike_root(old_size, old_root);
    if (!EXPECT_OK(merkle_consistency(old_size, size, alike_node, &size, p.hashes, &p.count))) return;
    EXPECT(p.count <= MERKLE_MAX_PROOF);
    EXPECT_OK(check_consistency(old_size, old_root, size, root, &p));
    if (p.count == 0) return;
    p.hashes[p.count / 2][5] ^= 1;
    EXPECT_CODE(check_consistency(old_size, old_root, size, root, &p), AEGIS_E_PROOF);
}

TEST(trees_of_up_to_two_to_the_63) {
    const uint64_t top = (uint64_t)1 << 63;
    uint64_t seed = 8;
    make_alike();
    check_large(top - 1, 0);
    check_large(top - 1, top - 2);
    check_large(top - 1, top / 2);
    check_large(top / 2, top / 4 - 1);
    check_large(top / 2 + 1, top / 2);
    for (int round = 0; round < 3000; round++) {
        /* of any magnitude, and often with long runs of equal digits */
        uint64_t size = (next_random(&seed) >> 1 >> next_random(&seed) % 62) + 2;
        if (round % 3 == 0) size |= next_random(&seed) >> 1 >> next_random(&seed) % 62;
        check_large(size & (top - 1), next_random(&seed) % (size & (top - 1)));
    }
}

/* A verifier gets its numbers from strangers. */
TEST(any_numbers_are_only_a_wrong_proof) {
    static const uint64_t numbers[] = {0, 1, 2, 3, 63, 64, INT64_MAX, (uint64_t)1 << 63, UINT64_MAX - 1, UINT64_MAX};
    enum { NUMBERS = sizeof numbers / sizeof numbers[0] };
    static proof p;
    uint8_t root[HASH_SIZE] = {1};
    make_alike();
    for (size_t i = 0; i < NUMBERS; i++) {
        for (size_t j = 0; j < NUMBERS; j++) {
            for (p.count = 0; p.count <= MERKLE_MAX_PROOF + 1; p.count++) {
                EXPECT_CODE(check_inclusion(alike[0], numbers[i], numbers[j], &p, root), AEGIS_E_PROOF);
                EXPECT_CODE(check_consistency(numbers[i], alike[1], numbers[j], root, &p), AEGIS_E_PROOF);
            }
        }
    }
}

TEST(a_failed_check_names_the_leaf_and_the_size) {
    uint8_t root[HASH_SIZE] = {0};
    proof none = {.count = 0};
    aegis_error error;
    EXPECT_CODE(check_inclusion(alike[0], 4, 7, &none, root), AEGIS_E_PROOF);
    aegis_last_error(&error);
    EXPECT_STRING(error.message, "the proof does not lead from leaf 4 to the root at 7");
    EXPECT_CODE(check_consistency(4, root, 7, root, &none), AEGIS_E_PROOF);
    aegis_last_error(&error);
    EXPECT_STRING(error.message, "the proof does not show the tree of 7 to begin with that of 4");
    EXPECT(memcmp(alike[0], root, HASH_SIZE) != 0);
}
