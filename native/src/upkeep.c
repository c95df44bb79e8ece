/* upkeep: see upkeep.h. */
#include "upkeep.h"

#include <stdlib.h>

#include "footer.h"
#include "outline.h"

/* The oldest full segment without a footer, or NULL. */
static segment *to_seal(log *l) {
    segment *found = NULL;
    pthread_mutex_lock(&l->state);
    for (uint64_t i = 0; i + 1 < l->segment_count && found == NULL; i++)
        if (!l->segments[i]->sealed) found = l->segments[i];
    pthread_mutex_unlock(&l->state);
    return found;
}

/* A full segment is only read until its footer stands, so the work is done without the log's lock. */
static int seal(log *l, segment *full) {
    uint8_t root[HASH_SIZE];
    TRY(footer_write(&l->s, full, root));
    pthread_mutex_lock(&l->state);
    memcpy(full->root, root, HASH_SIZE);
    full->sealed = true;
    free(full->offsets);
    free(full->frontier);
    full->offsets = NULL;
    full->frontier = NULL;
    full->offsets_capacity = 0;
    pthread_mutex_unlock(&l->state);
    return AEGIS_OK;
}

/* Seals the oldest one that is to be sealed. *found: there was one. */
static int seal_oldest(writer *w, bool *found) {
    pthread_mutex_lock(&w->sealing);
    segment *full = to_seal(w->l);
    *found = full != NULL;
    int code = full != NULL ? seal(w->l, full) : AEGIS_OK;
    pthread_mutex_unlock(&w->sealing);
    return code;
}

int upkeep_seal(writer *w) {
    bool found = true;
    while (found) TRY(seal_oldest(w, &found));
    return AEGIS_OK;
}

static bool seal_one(writer *w) {
    pthread_mutex_lock(&w->mutex);
    bool failed = w->seal_failed, found = false;
    pthread_mutex_unlock(&w->mutex);
    if (failed) return false;
    if (seal_oldest(w, &found) == AEGIS_OK) return found;
    /* No space for a footer is no damage: the segment stays readable, and is tried again after the next rotation or open. */
    pthread_mutex_lock(&w->mutex);
    w->seal_failed = true;
    pthread_mutex_unlock(&w->mutex);
    return false;
}

static bool write_one_tile(log *l) {
    pending_tile *tile = malloc(sizeof *tile);
    if (tile == NULL) return false;
    pthread_mutex_lock(&l->state);
    bool any = tree_take_pending(&l->tree, tile);
    pthread_mutex_unlock(&l->state);
    if (any) (void)tree_write_tile(&l->tree, tile);
    free(tile);
    return any;
}

/* Tells the last group apart from a torn tail, once an idle period. Returns the time until it is due, or UPKEEP_NOTHING. The
 * mutex is held. */
static uint64_t idle_watermark(writer *w) {
    log *l = w->l;
    if (w->poison != AEGIS_OK || w->closing) return UPKEEP_NOTHING;
    if (w->busy || w->groups[w->building].count > 0) return IDLE_WATERMARK_MS;
    segment *active = l->segments[l->segment_count - 1];
    if (active->last_slot.size >= w->acknowledged) return UPKEEP_NOTHING;
    uint64_t idle = l->s.vfs->clock_ms(l->s.vfs) - w->last_work_ms;
    if (idle < IDLE_WATERMARK_MS) return IDLE_WATERMARK_MS - idle;
    uint8_t root[HASH_SIZE];
    merkle_root(&l->tree.range, root);
    uint64_t size = w->acknowledged;
    w->busy = true;
    pthread_mutex_unlock(&w->mutex);
    int code = w->sync_groups || MUTANT(NO_SYNC_BEFORE_WATERMARK) ? AEGIS_OK : l->s.vfs->sync(l->s.vfs, active->file);
    if (code == AEGIS_OK) code = segment_write_slot(&l->s, active, size, root, 0);
    pthread_mutex_lock(&w->mutex);
    if (code == AEGIS_OK) {
        w->synced = size;
        w->stats.syncs++;
    } else if (!MUTANT(NO_POISON_BY_WATERMARK)) {
        writer_poison(w, code);    /* a sync of the active file failed: nothing that it says later can be believed */
    }
    writer_give(w);
    return UPKEEP_NOTHING;
}

void upkeep_turn(writer *w, uint64_t *wait_ms) {
    pthread_mutex_lock(&w->mutex);
    /* Those who wait come first, but the rest has its turn after each group: zeros would be missed by those who append. */
    bool led = writer_lead_requested(w);
    bool worked = writer_zero_ahead(w);
    bool poisoned = w->poison != AEGIS_OK;
    pthread_mutex_unlock(&w->mutex);
    if (!worked && !poisoned) worked = seal_one(w) || write_one_tile(w->l);
    if (led || worked) {
        *wait_ms = 0;
        return;
    }
    pthread_mutex_lock(&w->mutex);
    *wait_ms = idle_watermark(w);
    w->asleep = *wait_ms == UPKEEP_NOTHING;
    pthread_mutex_unlock(&w->mutex);
}

/* An outline where a scan would take long; one of an earlier close serves nobody. */
static void keep_outline(log *l) {
    const segment *active = l->segments[l->segment_count - 1];
    if ((active->tail - SEGMENT_FRAMES) * OUTLINE_PART >= l->manifest->segment_bytes)
        (void)outline_write(&l->s, l->dir, active, &l->tree.range);
    else (void)l->s.vfs->unlink(l->s.vfs, l->dir, OUTLINE_NAME);
}

int upkeep_finish(writer *w) {
    TRY(upkeep_seal(w));
    while (write_one_tile(w->l)) {}
    pthread_mutex_lock(&w->l->state);
    (void)tree_write_edges(&w->l->tree);
    keep_outline(w->l);
    pthread_mutex_unlock(&w->l->state);
    return AEGIS_OK;
}
