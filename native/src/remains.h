/* remains: what a damaged frame still proves. Pure: bytes in, bytes out.
 *
 * The link of a frame is a code, under the store secret, of its place, its index, its watermark, its leaf hash and its body checksum.
 * So damaged bytes can be asked which frame they were: the reading that the link holds for is the one that was written here. It gives
 * the leaf hash, which the tree needs, and never the record: a record that was damaged is refused whatever its link says.
 *
 * These readings are tried, with index and place as they must be:
 *
 *   (1) as the bytes stand: what the link does not cover is damaged (payload, padding, magic, kind, flags, length of the payload, index)
 *   (2) with the leaf hash that a tile has: the entry or its length is damaged
 *   (3) as the bytes stand, one bit of the link apart
 *   (4) with one bit of the entry, its length, the watermark or the body checksum turned
 *
 * (3) costs 7 of the code's 128 bits, (4) at most 14 of them. (1)-(4) each have a test of that number in tests/native/test_remains.c.
 */
#ifndef AEGIS_REMAINS_H
#define AEGIS_REMAINS_H

#include "frame.h"

/* Entries longer than this are not turned bit by bit: it would take long. */
#define REMAINS_ENTRY_MAX 1024

/* Whether `available` bytes that stand at `offset` were the frame of record `index`: AEGIS_OK with its leaf hash, or AEGIS_E_PROOF. The
 * scope has the secret. `hint` is the leaf hash by a tile, or NULL. */
int remains_leaf(const scope *s, const uint8_t nonce[NONCE_SIZE], uint64_t offset, uint64_t index, const uint8_t *bytes,
                 uint64_t available, const uint8_t *hint, uint8_t leaf[HASH_SIZE]);
/* Bytes of the frame that remains_leaf may look at. */
#define REMAINS_BYTES ((uint64_t)FRAME_HEADER + AEGIS_ENTRY_MAX)

#endif
