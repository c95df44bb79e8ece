/* recover: what an open makes of the files that it finds. docs/DURABILITY.md has the promises, engine.md's words are used.
 *
 * A bad frame means one of two things. If anything that is believed says that the record was durable (the manifest, a watermark slot,
 * the watermark of any valid frame before or after it, a head kept outside), it is damage. If its link still proves which record it was
 * (remains.h), that record is refused when it is read, all others are served, and the verdict says DAMAGED; else the open fails with
 * AEGIS_E_CORRUPT and changes nothing. If nothing says so, it is the unfinished end: everything from the last whole group on is cut off, in a writer durably, after a copy of
 * what was not zero was saved, because damage in the very last group looks the same.
 */
#ifndef AEGIS_RECOVER_H
#define AEGIS_RECOVER_H

#include "log.h"

typedef struct recovery {
    bool poisoned;           /* the last writer said so in LOCK */
    bool live;               /* readers: a writer is there, and `limit` records are durable by its word */
    uint64_t limit;
    const aegis_head *anchors;
    uint32_t anchor_count;
} recovery;

/* Opens every segment that the manifest lists for the log's tier, finds the end, starts the tree and compares it with every head
 * that was kept. In a writer the tail is then durable and the file clean behind it. *zeroed: how far the active segment's file goes. */
int recover_log(log *l, const recovery *how, aegis_verdict *verdict, uint64_t *zeroed);
/* Readers: takes in what has become durable since, under a manifest that was read anew. */
int recover_follow(log *l, uint64_t limit);
/* The first segment of a tier that has no record yet, listed in the manifest: durable when it returns. */
int recover_create(log *l, uint64_t *zeroed);

#endif
