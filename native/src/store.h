/* store: the directory as a whole: which tiers there are, who may write, and the thread that does the upkeep. */
#ifndef AEGIS_STORE_H
#define AEGIS_STORE_H

#include <stdatomic.h>

#include "commit.h"
#include "recover.h"
#include "watch.h"

struct aegis_store {
    vfs *vfs;
    vfs_dir *root;
    scope s;                 /* tier 0 */
    lockfile lock;
    manifest manifest;
    bool writable;
    bool rebuilt;            /* the manifest was made again from the segments */
    uint64_t fork_count;
    uint64_t cache_bytes;
    uint32_t durability[AEGIS_TIERS + 1];
    pthread_mutex_t mutex;   /* making a tier, refreshing */
    log logs[AEGIS_TIERS + 1];
    writer writers[AEGIS_TIERS + 1];
    atomic_bool present[AEGIS_TIERS + 1];
    watch_board *board;      /* of a writer */
    /* upkeep's thread */
    pthread_t thread;
    bool threaded;
    pthread_mutex_t sleep;
    pthread_cond_t woken;
    bool work;
    bool stop;
};

/* Over any backend; aegis_open is this over vfs_posix(). */
int store_open(vfs *v, const char *path, const aegis_options *options, aegis_store **out, aegis_report *report);
int store_close(aegis_store *store);
void store_abandon(aegis_store *store);
int store_refresh(aegis_store *store);
/* The tier's writer, made with its first segment where the tier has no record yet. */
int store_writer(aegis_store *store, uint32_t tier, writer **out);
/* The tier's log, or NULL where the tier has no record yet. */
log *store_log(aegis_store *store, uint32_t tier);
/* One turn of the upkeep of every tier. */
void store_upkeep(aegis_store *store, uint64_t *wait_ms);

#endif
