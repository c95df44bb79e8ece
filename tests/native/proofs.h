/* proofs: what the tests of the tree hold in their hands. */
#ifndef AEGIS_TESTS_PROOFS_H
#define AEGIS_TESTS_PROOFS_H

#include "merkle.h"

typedef struct proof {
    uint8_t hashes[MERKLE_MAX_PROOF + 1][HASH_SIZE]; /* one more, for "a hash too many" */
    unsigned count;
} proof;

static inline int check_inclusion(const uint8_t *leaf, uint64_t index, uint64_t size, const proof *p, const uint8_t *root) {
    return merkle_check_inclusion(leaf, index, size, (const uint8_t(*)[HASH_SIZE])p->hashes, p->count, root);
}

static inline int check_consistency(uint64_t old_size, const uint8_t *old_root, uint64_t size, const uint8_t *root, const proof *p) {
    return merkle_check_consistency(old_size, old_root, size, root, (const uint8_t(*)[HASH_SIZE])p->hashes, p->count);
}

#endif
