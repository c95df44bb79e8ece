/* manifest: the atomic root pointer of a store: which segments each tier has, in order. docs/FORMAT.md, "Manifest".
 *
 * It is changed under its own mutex by whoever rotates, compacts or closes, and replaced on disk as a whole; a change that could not
 * be made durable is taken back in memory.
 */
#ifndef AEGIS_MANIFEST_H
#define AEGIS_MANIFEST_H

#include <pthread.h>

#include "scope.h"

#define MANIFEST_NAME "MANIFEST"
/* The next one while it is written, and the space for it before that. */
#define MANIFEST_NEW_NAME "MANIFEST.new"

typedef struct manifest_segment {
    uint64_t number;
    uint64_t generation;
    uint64_t first;
} manifest_segment;

typedef struct manifest_tier {
    uint32_t tier;
    uint64_t size;           /* durable when the manifest was written */
    uint8_t root[HASH_SIZE];
    uint64_t swept;          /* what the prune and erase records below it say has been done to the files */
    manifest_segment *segments;
    uint32_t count;
    uint32_t capacity;
} manifest_tier;

typedef struct manifest {
    pthread_mutex_t mutex;
    const scope *s;          /* tier 0; store id and key as they are learnt */
    vfs_dir *dir;
    uint64_t reserved;       /* bytes of MANIFEST.new that are there to be written over */
    uint64_t generation;
    uint64_t epoch;
    uint64_t segment_bytes;
    uint32_t align;
    char name[AEGIS_NAME_MAX + 1];
    uint8_t meta[AEGIS_META_MAX];
    uint32_t meta_length;
    manifest_tier tiers[AEGIS_TIERS + 1];    /* by tier; [0] is not used; count 0: the tier has no record yet */
} manifest;

void manifest_init(manifest *m, const scope *s, vfs_dir *dir);
void manifest_free(manifest *m);

/* Reads MANIFEST. NOTFOUND: there is none. VERSION: newer. SECRET: it does not hold under the scope's key. CORRUPT: both copies are
 * damaged. *store_id gets the identity that it names; *copy_damaged is set where only one of the copies was good. */
int manifest_load(manifest *m, uint8_t store_id[STORE_ID_SIZE], bool *copy_damaged);
/* Takes the space for the manifest that will list one more segment in each tier, so that a full disk is noticed before a record
 * is accepted that needs it, and not when it is written. Nothing is synced. Takes the mutex. */
int manifest_reserve(manifest *m);
/* Writes the next generation: durable when it returns. The caller holds the mutex or is alone. */
int manifest_write(manifest *m);
/* Writes it again as it is, the same bytes under the same name: durable when it returns, whatever became of its name before. */
int manifest_renew(manifest *m);
/* Adds a segment to the end of a tier's list, with the head that closes the one before. The caller writes. */
int manifest_add_segment(manifest *m, uint32_t tier, const manifest_segment *added);

/* The generation that the next manifest will have: what a segment made now carries. Takes the mutex. */
uint64_t manifest_next_generation(manifest *m);
/* Rotation: adds and writes; on failure nothing has changed in memory. Takes the mutex. */
int manifest_rotate(manifest *m, uint32_t tier, const manifest_segment *added, uint64_t size, const uint8_t root[HASH_SIZE]);
/* Compaction: another file of the same records takes the place of a listed one, with a head of what is durable; and writes. *listed, also on
 * failure: the name leads to a manifest that lists it, and it does in memory. Takes the mutex. */
int manifest_replace(manifest *m, uint32_t tier, uint32_t position, const manifest_segment *with, uint64_t size,
                     const uint8_t root[HASH_SIZE], bool *listed);
/* Raises what is swept, with a head of what is durable, and writes; where it is as high already, nothing. Takes the mutex. */
int manifest_sweep(manifest *m, uint32_t tier, uint64_t swept, uint64_t size, const uint8_t root[HASH_SIZE]);

#endif
