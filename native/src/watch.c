/* watch: see watch.h. */
#include "watch.h"

#include <stdlib.h>

int watch_board_new(vfs *v, watch_board **out) {
    watch_board *board = calloc(1, sizeof *board);
    if (board == NULL) return fail(AEGIS_E_NOMEM, "no memory for a board of watchers");
    pthread_mutex_init(&board->mutex, NULL);
    board->vfs = v;
    board->fork_count = vfs_fork_count();
    board->holders = 1;
    *out = board;
    return AEGIS_OK;
}

/* Lets go of the mutex, and of the board for one holder. */
static void let_go(watch_board *board) {
    bool last = --board->holders == 0;
    pthread_mutex_unlock(&board->mutex);
    if (!last) return;
    pthread_mutex_destroy(&board->mutex);
    free(board);
}

/* Once until the next look: more would be system calls for nothing. */
static void ring(aegis_watcher *watcher) {
    if (watcher->rung) return;
    watcher->rung = true;
    watcher->board->vfs->bell_ring(watcher->board->vfs, watcher->bell);
}

/* Two who tell may overtake each other: a size never goes back. */
static void note(watch_board *board, uint32_t tier, uint64_t size, const aegis_error *poison) {
    board->sizes[tier] = max_u64(board->sizes[tier], size);
    if (poison != NULL && board->poison[tier].code == AEGIS_OK) board->poison[tier] = *poison;
}

void watch_tell(watch_board *board, uint32_t tier, uint64_t size, const aegis_error *poison) {
    pthread_mutex_lock(&board->mutex);
    note(board, tier, size, poison);
    for (aegis_watcher *w = board->watchers; w != NULL; w = w->next)
        if (w->until[tier] > w->seen[tier] && (board->sizes[tier] > w->seen[tier] || board->poison[tier].code != AEGIS_OK)) ring(w);
    pthread_mutex_unlock(&board->mutex);
}

void watch_board_close(watch_board *board) {
    if (board == NULL) return;
    pthread_mutex_lock(&board->mutex);
    board->closed = true;
    for (aegis_watcher *w = board->watchers; w != NULL; w = w->next) ring(w);
    let_go(board);
}

int watch_start(watch_board *board, aegis_watcher **out, int *fd) {
    aegis_watcher *watcher = calloc(1, sizeof *watcher);
    if (watcher == NULL) return fail(AEGIS_E_NOMEM, "no memory for a watcher");
    int code = board->vfs->bell_new(board->vfs, &watcher->bell, fd);
    if (code != AEGIS_OK) {
        free(watcher);
        return code;
    }
    watcher->board = board;
    pthread_mutex_lock(&board->mutex);
    board->holders++;
    watcher->next = board->watchers;
    if (watcher->next != NULL) watcher->next->previous = watcher;
    board->watchers = watcher;
    pthread_mutex_unlock(&board->mutex);
    *out = watcher;
    return AEGIS_OK;
}

void watch_want(aegis_watcher *watcher, uint32_t tier, uint64_t index, uint64_t size, const aegis_error *poison) {
    watch_board *board = watcher->board;
    pthread_mutex_lock(&board->mutex);
    watcher->until[tier] = max_u64(watcher->until[tier], index + 1);
    /* Who told the board between the writer's answer and here did not find this watcher wanting. */
    note(board, tier, size, poison);
    if (board->sizes[tier] > index || board->poison[tier].code != AEGIS_OK) ring(watcher);
    pthread_mutex_unlock(&board->mutex);
}

static int usable(const watch_board *board) {
    if (board->fork_count == vfs_fork_count()) return AEGIS_OK;
    return fail(AEGIS_E_FORKED, "the watcher was made before fork(); open the store again in the child, for reading");
}

int watch_look(aegis_watcher *watcher, aegis_landed *out) {
    watch_board *board = watcher->board;
    TRY(usable(board));
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&board->mutex);
    if (watcher->rung) board->vfs->bell_mute(board->vfs, watcher->bell);
    watcher->rung = false;
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        out->sizes[tier] = watcher->seen[tier] = board->sizes[tier];
        out->failed[tier] = board->poison[tier].code;
    }
    out->closed = board->closed;
    pthread_mutex_unlock(&board->mutex);
    return AEGIS_OK;
}

int watch_result(aegis_watcher *watcher, uint32_t tier, uint64_t index) {
    watch_board *board = watcher->board;
    const unsigned long long record = index;
    TRY(usable(board));
    pthread_mutex_lock(&board->mutex);
    bool there = index < board->sizes[tier], closed = board->closed;
    aegis_error poison = board->poison[tier];
    pthread_mutex_unlock(&board->mutex);
    if (there) return AEGIS_OK;
    if (poison.code != AEGIS_OK)
        return fail(AEGIS_E_UNKNOWN, "the write failed (%s: %.120s): whether record %llu is stored, the next open will tell",
                    aegis_error_name(poison.code), poison.message, record);
    if (closed) return fail(AEGIS_E_UNKNOWN, "the store was given up before record %llu was durable: the next open will tell", record);
    return fail(AEGIS_E_ARGUMENT, "record %llu has no answer yet", record);
}

void watch_end(aegis_watcher *watcher) {
    watch_board *board = watcher->board;
    /* In a forked child the mutex may be held by a thread that only the parent has; the bell is closed already. */
    if (usable(board) != AEGIS_OK) return;
    pthread_mutex_lock(&board->mutex);
    if (watcher->previous != NULL) watcher->previous->next = watcher->next;
    else board->watchers = watcher->next;
    if (watcher->next != NULL) watcher->next->previous = watcher->previous;
    board->vfs->bell_free(board->vfs, watcher->bell);
    let_go(board);
    free(watcher);
}
