/* segment: one file of consecutive records. docs/FORMAT.md, "Segment".
 *
 *        0 | header, one sector | … | 4096 slot 0 | … | 8192 slot 1 | … | 12288 frames → | zeros, pre-written | end of the file
 *                                                                              ^ tail     ^ zeroed
 *
 * The low half of a segment's number is its place in the tier's history, the high half how often it was rewritten: a sealed segment never
 * changes in place, compaction makes another file of the same records (compact.h). Its frames may be copies, whose links were made
 * for another place, so in a rewritten segment no link is looked at: its footer guards it, and its root.
 */
#ifndef AEGIS_SEGMENT_H
#define AEGIS_SEGMENT_H

#include "frame.h"
#include "merkle.h"

#define SEGMENT_FRAMES 12288
#define SEGMENT_SLOT_COUNT 2
#define SEGMENT_SLOT_AT(n) (4096u * (1u + (n)))
#define SEGMENT_NAME_SIZE 24
#define SLOT_END 1           /* flag: no record follows in this file */

/* A watermark slot: how much of the log was durable when it was written. */
typedef struct slot {
    uint64_t sequence;       /* 0: none */
    uint64_t size;           /* records of the log */
    uint64_t offset;         /* where they end in this file */
    uint8_t root[HASH_SIZE];
    uint32_t flags;
} slot;

typedef struct segment {
    uint64_t number;
    uint64_t generation;
    uint64_t first;          /* index of its first record */
    uint64_t count;          /* records in it */
    uint64_t tail;           /* offset where its frames end */
    uint8_t nonce[NONCE_SIZE];
    vfs_file *file;
    slot last_slot;          /* newest valid one */
    /* one of two: a sealed segment reads offsets from its footer, another one has them in memory, divided by 8 */
    bool sealed;
    bool is_signed;
    uint8_t root[HASH_SIZE];         /* sealed: at first + count */
    uint32_t *offsets;
    uint64_t offsets_capacity;
    merkle_range *frontier;  /* full but not sealed: the tree at its end; owned */
    uint32_t users;          /* who reads it outside the log's mutex; under that mutex */
    bool replaced;           /* no longer listed: the last of them closes it */
} segment;

static inline uint32_t segment_place(uint64_t number) { return (uint32_t)number; }
static inline uint32_t segment_rewrites(uint64_t number) { return (uint32_t)(number >> 32); }
/* The nonce that its links are made with; NULL: they are not looked at, and stubs may stand there. */
static inline const uint8_t *segment_links(const segment *seg) { return segment_rewrites(seg->number) > 0 ? NULL : seg->nonce; }

/* "0000002a.seg", and "0000002a-00000001.seg" once it was rewritten */
void segment_name(uint64_t number, char out[SEGMENT_NAME_SIZE]);
/* Its number, or false where it is no segment's name. */
bool segment_number(const char *name, uint64_t *number);

/* Makes the file with its header and `zeroed` bytes of zeros in all, synced; the directory is not. Replaces nothing. */
int segment_create(const scope *s, vfs_dir *dir, uint64_t number, uint64_t generation, uint64_t zeroed, segment *out);
/* Generation and alignment as the header of segment `number` gives them, where no manifest says what they should be. */
int segment_probe(const scope *s, vfs_dir *dir, uint64_t number, uint64_t *generation, uint32_t *align);
/* Opens the file and reads header and slots. first, count and tail stay 0: they are the caller's to find. FOREIGN, VERSION,
 * NOTFOUND, CORRUPT by name of what is wrong. */
int segment_open(const scope *s, vfs_dir *dir, uint64_t number, uint64_t generation, bool writable, segment *out);
void segment_close(const scope *s, segment *seg);

/* Back to what segment_open leaves: no record is known. */
void segment_forget(segment *seg);
/* Room for `count` offsets in memory; NOMEM changes nothing. */
int segment_reserve_offsets(segment *seg, uint64_t count);
/* Writes zeros over [from, to), past what holds frames, and syncs: through a descriptor of its own, for Linux reports a failed write
 * once for each open descriptor, and a report that was taken here would be missing where a group waits for it. */
int segment_zero(const scope *s, vfs_dir *dir, const segment *seg, uint64_t from, uint64_t to);
/* Writes the next watermark slot in turn and syncs the file: everything written to it before is durable then. */
int segment_write_slot(const scope *s, segment *seg, uint64_t size, const uint8_t root[HASH_SIZE], uint32_t flags);

#endif
