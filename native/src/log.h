/* log: one tier's records: segments in order, and the tree over them. Reading happens here; commit.h appends.
 *
 * The mutex `state` covers the list of segments and the tree. Who uses a segment after letting go of the mutex has taken it before, and
 * releases it: compaction, or a refresh behind one, puts another file of the same records in its place, and the last user closes the
 * old one. What changes in a segment (count, tail, offsets, sealed) is read under the mutex.
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
    pthread_t closer;        /* closes what a compaction has replaced; under `state` */
    bool closes;             /* there is one, to be joined; under `state` */
    bool compaction_left;    /* opening found files that a compaction left, which go once the manifest is durable */
    tree tree;               /* its size is the number of readable records */
} log;

/* The folder of a tier: "session". */
const char *tier_name(uint32_t tier);

/* A log without segments; its directory must exist, or is made where `create` is set (then synced into `root`). */
int log_init(log *l, const scope *s, vfs_dir *root, bool create, manifest *m, lockfile *lock, uint64_t cache_bytes);
void log_free(log *l);
/* Adds a segment to the end of the list; on success the list owns what *seg held. */
int log_add_segment(log *l, const segment *seg, segment **added);
/* For use without the mutex; taken with it, released without it. */
void log_take_segment(segment *seg);
void log_release_segment(log *l, segment *seg);
/* The same for the last use of a file whose name is gone: with it go its blocks, which takes longer than a sync, so a thread of its own
 * does it. One call at a time; others may wait for it meanwhile. */
void log_release_removed(log *l, segment *seg);
/* Waits for that. */
void log_wait_for_removed(log *l);
/* Puts another one of the same records, on the heap, in the place of a listed segment; the list owns it then. */
void log_replace_segment(log *l, uint64_t position, segment *with);
/* Notes what a damaged record's leaf hash is, for the tree cannot ask its entry; once is enough. */
int log_note_damaged(log *l, uint64_t index, const uint8_t leaf[HASH_SIZE]);
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
