/* delta: what has to be known to make one byte string from another. Pure: bytes in, bytes out, no input or output.
 *
 *   delta       varint length of the target | varint length of the operations | operations | literals
 *   operation   varint n: the next n literals; varint m: then m bytes of the base, from where zigzag varint d says:
 *               d bytes behind (before, if negative) what follows the last copy. No d where m is 0, which only the last has.
 *
 * A varint has seven bits a byte, the lowest first, in as few bytes as hold it (FORMAT.md, "Delta"). The operations make exactly the
 * target and use up exactly the literals; copies lie within the base.
 *
 * Making one takes time that is linear in both lengths: the common beginning and end are set aside, every so many bytes of the base
 * a key of 16 bytes is remembered by its hash, the target is looked through once, and what is found is extended both ways.
 *
 * Restoring is of a whole chain, keyframe first: the operations of all deltas are folded into a list of pieces of the keyframe and
 * the literals, and bytes are moved once, at the end. Fragments that would cost more to list than to copy are copied together
 * first, so that no chain, however hostile, takes more than links x (lengths + operations).
 */
#ifndef AEGIS_DELTA_H
#define AEGIS_DELTA_H

#include "base.h"

/* The delta that makes `target` from `base`, in `out` of `capacity` bytes. AEGIS_E_SPACE: it is longer, nothing is to be used.
 * AEGIS_E_NOMEM. */
int delta_make(const uint8_t *base, uint64_t base_length, const uint8_t *target, uint64_t target_length, uint8_t *out,
               uint64_t capacity, uint64_t *length);

/* Applies deltas[0 .. count - 1], in this order, to `keyframe`; the last one's target must have `length` bytes, which are put to
 * `out`. AEGIS_E_CORRUPT: one of them is malformed or does not fit the target before it. AEGIS_E_LIMIT: a target on the way
 * has more than `limit` bytes. AEGIS_E_NOMEM. */
int delta_restore(const uint8_t *keyframe, uint64_t keyframe_length, const uint8_t *const *deltas, const uint64_t *lengths,
                  uint32_t count, uint64_t limit, uint8_t *out, uint64_t length);

#endif
