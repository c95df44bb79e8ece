/* chains: entries in order, folded into what lookups ask of them. Pure: bytes in, bytes out, no store.
 *
 * A session's records form a chain: each names the index and leaf hash of the one before it, and checkpoints count up. From
 * the entries alone follows which sessions there are, where each one's checkpoints are, and which is its newest record. What needs
 * more than the entry (names, keys) is told back to the caller, record by record.
 *
 * This is the fast way for a sound log and judges nothing: at the first thing that is not as it should be it stops, and the caller
 * goes the slow way, which has words for every case (aegis_store/indexing.py). aegis.h says what the functions do.
 */
#ifndef AEGIS_CHAINS_H
#define AEGIS_CHAINS_H

#include "base.h"

#define CHAINS_TAG 16

int chains_start(uint32_t tier, aegis_chains **out);
int chains_add(aegis_chains *c, const uint8_t *buffer, const aegis_record *records, uint32_t count, uint32_t *told,
               uint32_t *told_count);
void chains_size(const aegis_chains *c, uint64_t *sessions, uint64_t *points, uint64_t *requests, uint64_t *writes);
int chains_take(aegis_chains *c, aegis_chain *sessions, uint8_t *points, uint8_t *requests, uint8_t *writes);
void chains_end(aegis_chains *c);

#endif
