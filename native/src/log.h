/* log: one tier's records: segments in order, and the tree over them. Reading happens here; commit.h appends.
 *
 * The mutex `state` covers the list of segments and the tree. A segment, once listed, stays where it is until the log is closed, so
 * that a reader may use it after letting go of the mutex; what changes in it (count, tail, offsets, sealed) is read under it.
 */
#ifndef AEGIS_LOG_H
#define AEGIS_LOG_H

#include <pthread.h>

#include "lockfile.h"
#include "manifest.h"
#include "segment.h"
#include "tree.h"

/* A record that is damaged, and what the tree was made with in its place. */
typedef struct damaged_record {
    uint64_t index;
    uint8_t leaf[HASH_SIZE];
} damaged_record;

typedef struct log {
    scope s;
    vfs_dir *dir;
    manifest *manifest;
    lockfile *lock;
    bool writable;
    pthread_mutex_t state;
    segment **segments;
    uint64_t segment_count;
    uint64_t segment_capacity;
    damaged_record *damaged; /* those that were found while the log was opened or followed, in no order; under `state` */
    uint64_t damaged_count;
    tree tree;               /* its size is the number of readable records */
} log;

/* The folder of a tier: "session". */
const char *tier_name(uint32_t tier);

/* A log without segments; its directory must exist, or is made where `create` is set (then synced into `root`). */
int log_init(log *l, const scope *s, vfs_dir *root, bool create, manifest *m, lockfile *lock, uint64_t cache_bytes);
void log_free(log *l);
/* Adds a segment to the end of the list; on success the list owns what *seg held. */
int log_add_segment(log *l, const segment *seg, segment **added);
/* Notes what a damaged record's leaf hash is, for the tree cannot ask its entry; once is enough. */
int log_note_damaged(log *l, uint64_t index, const uint8_t leaf[HASH_SIZE]);
/* Removes segment files that the manifest does not list and that hold no record, as a crash between two steps of a rotation leaves
 * them. CORRUPT where one holds records: then the manifest is older than the segments, and nothing is removed. */
int log_remove_unlisted(log *l);

uint64_t log_size(log *l);
/* Copies as many of [first, first + limit) as lie in one segment and fit; at least one, else SPACE with what the first one needs in
 * records[0]. Checksums, indexes and inclusion are checked. RANGE past the end. */
int log_read(log *l, uint64_t first, uint32_t limit, uint8_t *buffer, uint64_t capacity, aegis_record *records, uint32_t *count);
/* The entries alone, for who reads many: as many of [first, first + limit) as lie in one segment and one tile and fit, at least one
 * (else SPACE, as above). Of a payload nothing is checked, and it is there only where its kind is below 64 and bit `kind` of
 * `payloads` is set; elsewhere payload_at is AEGIS_NO_PAYLOAD. Where payloads are small whole stretches are read, else frame by frame.
 * Each entry is proven to be in the tree, a whole tile by one path. CORRUPT names the record. */
int log_read_entries(log *l, uint64_t first, uint32_t limit, uint64_t payloads, uint8_t *buffer, uint64_t capacity,
                     aegis_record *records, uint32_t *count);

#endif
