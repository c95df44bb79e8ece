/* watch: telling event loops, which cannot wait in a commit.
 *
 *     request --> its record is marked in the writer --> somebody leads: upkeep, where nobody waits --> the group lands, or fails
 *             --> the board rings each watcher that has a request among those records --> its loop looks
 *
 * The board belongs to a store and its watchers together, whoever of them lasts longest: a watcher may look after the close, and
 * finds what the close made of its requests. What is not asked for rings nobody, so a store without watchers pays for none.
 *
 * The board's mutex covers everything here. It may be taken with a writer's mutex held, never the other way round.
 */
#ifndef AEGIS_WATCH_H
#define AEGIS_WATCH_H

#include <pthread.h>

#include "base.h"
#include "vfs.h"

typedef struct watch_board {
    pthread_mutex_t mutex;
    vfs *vfs;
    uint64_t fork_count;
    uint32_t holders;                   /* the store, and each watcher */
    bool closed;                        /* the store is gone: what has no answer gets none */
    uint64_t sizes[AEGIS_TIERS + 1];    /* acknowledged, as far as anybody was told */
    aegis_error poison[AEGIS_TIERS + 1];
    aegis_watcher *watchers;
} watch_board;

struct aegis_watcher {
    watch_board *board;
    vfs_bell *bell;
    uint64_t until[AEGIS_TIERS + 1];    /* records below it were asked for */
    uint64_t seen[AEGIS_TIERS + 1];     /* the size at the last look */
    bool rung;
    aegis_watcher *previous, *next;
};

int watch_board_new(vfs *v, watch_board **out);
/* The store lets go: every watcher is told. NULL is no board. */
void watch_board_close(watch_board *board);
/* A tier was acknowledged up to `size`, or its log poisoned. NULL, and a code of AEGIS_OK, is no poison. */
void watch_tell(watch_board *board, uint32_t tier, uint64_t size, const aegis_error *poison);

int watch_start(watch_board *board, aegis_watcher **out, int *fd);
/* Once the writer has the request, which found it at `size` and `poison`: the watcher is told when there is an answer, now if there
 * is one already. */
void watch_want(aegis_watcher *watcher, uint32_t tier, uint64_t index, uint64_t size, const aegis_error *poison);
int watch_look(aegis_watcher *watcher, aegis_landed *out);
int watch_result(aegis_watcher *watcher, uint32_t tier, uint64_t index);
void watch_end(aegis_watcher *watcher);

#endif
