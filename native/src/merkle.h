/* merkle: the RFC 6962 tree as arithmetic and hashing. Pure: no input or output, no allocation, no lock. */
#ifndef AEGIS_MERKLE_H
#define AEGIS_MERKLE_H

#include "base.h"

/* A tree of n < 2^63 leaves has at most 63 perfect subtrees on its right edge, and no proof is longer than 64 hashes. */
#define MERKLE_MAX_PEAKS 64
#define MERKLE_MAX_PROOF 64

/* The compact range [0, size): roots of the perfect subtrees that make up the tree, largest (leftmost) first.
 *
 *   size 6 = 0b110:     peaks[0] = root of leaves 0..3, peaks[1] = root of leaves 4..5
 */
typedef struct merkle_range {
    uint64_t size;
    uint8_t peaks[MERKLE_MAX_PEAKS][HASH_SIZE];
} merkle_range;

void merkle_clear(merkle_range *range);
void merkle_append(merkle_range *range, const uint8_t leaf[HASH_SIZE]);
void merkle_root(const merkle_range *range, uint8_t root[HASH_SIZE]);
unsigned merkle_peak_count(uint64_t size);

/* Where a proof takes its hashes from: the root of the perfect subtree of 2^level leaves that starts at leaf index << level.
 * Returns AEGIS_OK, or an error that the proof function hands on. */
typedef int (*merkle_node_fn)(void *context, unsigned level, uint64_t index, uint8_t out[HASH_SIZE]);

/* Root of the first `size` leaves, from nodes. */
int merkle_root_at(uint64_t size, merkle_node_fn node, void *context, uint8_t root[HASH_SIZE]);
/* RFC 6962 2.1.1: hashes that lead from leaf `index` to the root at `size` (index < size, else AEGIS_E_ARGUMENT). */
int merkle_inclusion(uint64_t index, uint64_t size, merkle_node_fn node, void *context,
                     uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE], unsigned *count);
/* The same from the perfect subtree of 2^level leaves at leaf index << level, all of them within the tree, else AEGIS_E_ARGUMENT:
 * what follows the first `level` hashes in the proof of any of its leaves. */
int merkle_subtree(unsigned level, uint64_t index, uint64_t size, merkle_node_fn node, void *context,
                   uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE], unsigned *count);
/* RFC 6962 2.1.2: hashes that show that the tree of `old_size` is a prefix of that of `size` (0 < old_size <= size; count is
 * 0 where they are equal). */
int merkle_consistency(uint64_t old_size, uint64_t size, merkle_node_fn node, void *context,
                       uint8_t proof[MERKLE_MAX_PROOF][HASH_SIZE], unsigned *count);

/* RFC 9162 2.1.3.2 and 2.1.4.2, demanding the exact proof length. Each returns AEGIS_OK or AEGIS_E_PROOF. For old_size 0 the
 * old root must be that of the empty tree and the proof empty. */
int merkle_check_inclusion(const uint8_t leaf[HASH_SIZE], uint64_t index, uint64_t size,
                           const uint8_t (*proof)[HASH_SIZE], unsigned count, const uint8_t root[HASH_SIZE]);
int merkle_check_subtree(const uint8_t node[HASH_SIZE], unsigned level, uint64_t index, uint64_t size,
                         const uint8_t (*proof)[HASH_SIZE], unsigned count, const uint8_t root[HASH_SIZE]);
int merkle_check_consistency(uint64_t old_size, const uint8_t old_root[HASH_SIZE], uint64_t size,
                             const uint8_t root[HASH_SIZE], const uint8_t (*proof)[HASH_SIZE], unsigned count);

#endif
