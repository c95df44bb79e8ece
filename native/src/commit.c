/* commit: see commit.h. */
#include "commit.h"

#include <stdlib.h>

#define GROUP_BYTES_FIRST (256u << 10)

static int group_init(group *g) {
    g->capacity = GROUP_BYTES_FIRST;
    g->bytes = malloc((size_t)g->capacity);
    g->offsets = malloc(GROUP_FRAMES_MAX * sizeof *g->offsets);
    g->leaves = malloc((size_t)GROUP_FRAMES_MAX * HASH_SIZE);
    if (g->bytes != NULL && g->offsets != NULL && g->leaves != NULL) return AEGIS_OK;
    return fail(AEGIS_E_NOMEM, "no memory for a commit group");
}

static void group_free(group *g) {
    free(g->bytes);
    free(g->offsets);
    free(g->leaves);
}

int writer_init(writer *w, log *l, uint64_t segment_bytes, bool sync_groups, uint64_t zeroed) {
    memset(w, 0, sizeof *w);
    w->l = l;
    w->segment_bytes = segment_bytes;
    w->sync_groups = sync_groups;
    pthread_mutex_init(&w->mutex, NULL);
    pthread_cond_init(&w->landed[0], NULL);
    pthread_cond_init(&w->landed[1], NULL);
    pthread_cond_init(&w->room, NULL);
    pthread_mutex_init(&w->sealing, NULL);
    int code = group_init(&w->groups[0]);
    if (code == AEGIS_OK) code = group_init(&w->groups[1]);
    if (code != AEGIS_OK) {
        writer_free(w);
        return code;
    }
    const segment *active = l->segments[l->segment_count - 1];
    w->next_index = w->acknowledged = w->synced = log_size(l);
    w->rounds = 1;
    w->groups[0].round = 1;
    w->groups[0].first = w->next_index;
    w->tail = active->tail;
    w->zeroed = zeroed;
    w->holds_records = active->count > 0;
    w->full_bytes = (l->segment_count - 1) * segment_bytes;
    w->last_work_ms = l->s.vfs->clock_ms(l->s.vfs);
    return AEGIS_OK;
}

void writer_free(writer *w) {
    group_free(&w->groups[0]);
    group_free(&w->groups[1]);
    segment_close(&w->l->s, &w->next);    /* not ready, but open, where a rotation failed */
    pthread_cond_destroy(&w->landed[0]);
    pthread_cond_destroy(&w->landed[1]);
    pthread_cond_destroy(&w->room);
    pthread_mutex_destroy(&w->sealing);
    pthread_mutex_destroy(&w->mutex);
}

/* Upkeep is woken for work that should not wait, and by the first commit after an idle time; else it looks by itself. */
static void wake(writer *w) {
    w->asleep = false;
    if (w->wake != NULL) w->wake(w->wake_context);
}

static void tell(writer *w, uint64_t size, const aegis_error *poison) {
    if (w->tell != NULL) w->tell(w->wake_context, w->l->s.tier, size, poison);
}

/* Whether the group being built holds records that were requested and no thread waits for, which would lead it. */
static bool only_requested(const writer *w) {
    const group *g = &w->groups[w->building];
    return w->requested > g->first && atomic_load(&w->waiting[g->round & 1]) == 0;
}

/* ---- appending ------------------------------------------------------------------------------------------------------- */

static int group_grow(group *g, uint64_t size) {
    if (size <= g->capacity) return AEGIS_OK;
    uint64_t capacity = max_u64(size, min_u64(g->capacity * 2, GROUP_BYTES_MAX));
    uint8_t *grown = realloc(g->bytes, (size_t)capacity);
    if (grown == NULL) return fail(AEGIS_E_NOMEM, "no memory for a group of %llu bytes", (unsigned long long)capacity);
    g->bytes = grown;
    g->capacity = capacity;
    return AEGIS_OK;
}

static bool group_full(const writer *w, uint64_t size) {
    const group *g = &w->groups[w->building];
    uint64_t limit = min_u64(GROUP_BYTES_MAX, w->segment_bytes - SEGMENT_FRAMES);
    return g->count > 0 && (g->count == GROUP_FRAMES_MAX || g->used + size > limit);
}

static int refused(const writer *w) {
    if (w->poison != AEGIS_OK)
        return fail(AEGIS_E_POISONED, "an earlier write failed (%s: %.120s); close the store and open it again",
                    aegis_error_name(w->poison), w->cause.message);
    return fail(AEGIS_E_ARGUMENT, "the store is being closed");
}

static void lead(writer *w);

/* What is broadcast when whoever is busy now is done. The other condition of the two wakes one waiter only, who is to lead. */
static pthread_cond_t *landing(writer *w) {
    return &w->landed[(w->groups[w->building].round + (w->turning && !MUTANT(WRONG_LANDING) ? 0 : 1)) & 1];
}

/* Takes a place in the group being built. The mutex is held. */
static int enqueue(writer *w, uint64_t size) {
    for (;;) {
        if (w->poison != AEGIS_OK || w->closing) return refused(w);
        if (group_full(w, size)) {
            if (!w->busy) lead(w);
            else pthread_cond_wait(landing(w), &w->mutex);
            continue;
        }
        if (writer_has_room(w, size)) break;
        TRY(writer_make_room(w, size));
    }
    group *g = &w->groups[w->building];
    TRY(group_grow(g, g->used + size));
    /* Published frames need a place for their offsets: taken now, when saying no costs nothing. */
    log *l = w->l;
    pthread_mutex_lock(&l->state);
    segment *active = l->segments[l->segment_count - 1];
    int code = segment_reserve_offsets(active, active->count + 2 * GROUP_FRAMES_MAX);
    pthread_mutex_unlock(&l->state);
    return code;
}

int writer_append(writer *w, uint8_t kind, const uint8_t *entry, uint32_t entry_length, const uint8_t *payload,
                  uint32_t payload_length, uint64_t *index) {
    uint8_t leaf[HASH_SIZE];
    uint64_t size = frame_size(entry_length, payload_length);
    /* The two things that cost by the byte, before any lock. */
    leaf_hash(entry, entry_length, leaf);
    uint32_t open_body = frame_body_open(&w->l->s, kind, entry, entry_length, payload, payload_length);
    pthread_mutex_lock(&w->mutex);
    int code = enqueue(w, size);
    if (code == AEGIS_OK) {
        group *g = &w->groups[w->building];
        uint64_t next = w->next_index++;
        frame_begin(g->bytes + g->used, kind, open_body, next, entry, entry_length, payload, payload_length);
        *index = next;    /* last: it may lie in the caller's entry */
        memcpy(g->leaves[g->count], leaf, HASH_SIZE);
        g->offsets[g->count++] = (uint32_t)g->used;
        g->used += size;
        w->stats.appends++;
    }
    pthread_mutex_unlock(&w->mutex);
    return code;
}

/* ---- leading --------------------------------------------------------------------------------------------------------- */

/* Flags, checksums and links, now that the frames' place is known; then the write and the sync. Without the mutex. */
static int write_group(writer *w, group *g, uint64_t offset, uint64_t watermark, const segment *active) {
    vfs *v = w->l->s.vfs;
    for (uint32_t i = 0; i < g->count; i++) {
        bool last = i + 1 == g->count || MUTANT(NO_GROUP_FLAG);
        frame_finish(&w->l->s, g->bytes + g->offsets[i], last ? FRAME_LAST : 0, watermark, active->nonce, offset + g->offsets[i],
                     (const uint8_t *)g->leaves[i]);
    }
    TRY(v->write(v, active->file, offset, g->bytes, (size_t)g->used));
    if (MUTANT(SYNC_TRIED_AGAIN) && v->sync(v, active->file) == AEGIS_OK) return AEGIS_OK;
    return w->sync_groups && !MUTANT(NO_GROUP_SYNC) ? v->sync(v, active->file) : AEGIS_OK;
}

/* Makes the prepared segment the active one. Without the mutex; `making` is off and `busy` on, so that nobody else touches either. */
static int rotate(writer *w) {
    log *l = w->l;
    segment *full = l->segments[l->segment_count - 1], *added = NULL;
    uint8_t root[HASH_SIZE];
    /* With `write` durability the full segment may not have been synced yet. */
    if (!w->sync_groups && !MUTANT(NO_SYNC_BEFORE_ROTATION)) TRY(l->s.vfs->sync(l->s.vfs, full->file));
    full->frontier = malloc(sizeof *full->frontier);
    if (full->frontier == NULL) return fail(AEGIS_E_NOMEM, "no memory to close a segment");
    pthread_mutex_lock(&l->state);
    *full->frontier = l->tree.range;
    pthread_mutex_unlock(&l->state);
    merkle_root(full->frontier, root);
    w->next.first = full->frontier->size;
    TRY(segment_reserve_offsets(&w->next, 2 * GROUP_FRAMES_MAX));
    const manifest_segment listed = {.number = w->next.number, .generation = w->next.generation, .first = w->next.first};
    if (!MUTANT(MANIFEST_AFTER_FRAME)) TRY(manifest_rotate(l->manifest, l->s.tier, &listed, listed.first, root));
    TRY(log_add_segment(l, &w->next, &added));
    memset(&w->next, 0, sizeof w->next);
    return AEGIS_OK;
}

/* The group is as durable as was asked: its records become readable and acknowledged. With the mutex. */
static void publish(writer *w, group *g, uint64_t offset) {
    log *l = w->l;
    segment *active = l->segments[l->segment_count - 1];
    pthread_mutex_lock(&l->state);
    for (uint32_t i = 0; i < g->count; i++) {
        active->offsets[active->count++] = (uint32_t)((offset + g->offsets[i]) / FRAME_ALIGN);
        tree_append(&l->tree, (const uint8_t *)g->leaves[i]);
    }
    active->tail = align_up(offset + g->used, l->s.align);
    pthread_mutex_unlock(&l->state);
    w->acknowledged = g->first + g->count;
    if (w->sync_groups) w->synced = w->acknowledged;
    w->cohort = atomic_exchange(&w->waiting[g->round & 1], 0) + atomic_load(&w->waiting[(g->round + 1) & 1]);
}

void writer_poison(writer *w, int code) {
    if (w->poison != AEGIS_OK || MUTANT(NO_POISON)) return;
    w->poison = code;
    aegis_last_error(&w->cause);    /* now: telling LOCK may fail as well, and other threads have other last errors */
    w->cause.code = code;
    w->stats.poisoned = 1;
    if (!MUTANT(NO_POISON_WORD)) lockfile_poison(w->l->lock);
    if (w->requested > w->acknowledged) tell(w, w->acknowledged, &w->cause);
    pthread_cond_broadcast(&w->landed[0]);
    pthread_cond_broadcast(&w->landed[1]);
    pthread_cond_broadcast(&w->room);
}

void writer_take(writer *w) {
    while (w->busy) pthread_cond_wait(landing(w), &w->mutex);
    w->busy = true;
}

/* Wakes those whose group landed, and one of those whose group is next: it will lead. */
static void wake_waiting(writer *w, uint64_t building) {
    pthread_cond_broadcast(&w->landed[(building + 1) & 1]);
    pthread_cond_signal(&w->landed[building & 1]);
}

void writer_give(writer *w) {
    w->busy = false;
    w->last_work_ms = w->l->s.vfs->clock_ms(w->l->s.vfs);
    if (only_requested(w)) wake(w);
    wake_waiting(w, w->groups[w->building].round);
}

/* The next segment is the active one from here on, as far as what is queued goes. The mutex is held. */
static void turn(writer *w) {
    w->full_bytes += w->tail;
    w->tail = SEGMENT_FRAMES;
    w->zeroed = w->next_zeroed;
    w->next_ready = false;
    w->next_zeroed = 0;
    w->holds_records = false;
    w->turn_asked = false;
    w->stats.rotations++;
    w->seal_failed = false;
}

/* Writes the group being built, which has frames unless a turn to the next segment was asked for. The mutex is held, nobody is busy. */
static void lead(writer *w) {
    group *g = &w->groups[w->building];
    bool rotating = writer_turns(w);
    w->busy = true;
    w->turning = true;
    while (rotating && w->making) pthread_cond_wait(&w->room, &w->mutex);
    w->turning = false;
    if (rotating) turn(w);
    uint64_t offset = w->tail, watermark = MUTANT(WATERMARK_NOT_SYNCED) ? w->acknowledged : w->synced, first = g->first;
    bool any = g->count > 0;
    if (any) w->tail = align_up(offset + g->used, w->l->s.align);
    w->holds_records = w->holds_records || any;
    w->building ^= 1;
    group *fresh = &w->groups[w->building];
    fresh->round = ++w->rounds;
    fresh->first = w->next_index;
    fresh->used = 0;
    fresh->count = 0;
    /* From here a maker of room works on the new active segment: not before it is there. */
    if (rotating) w->making = true;
    pthread_mutex_unlock(&w->mutex);
    int code = rotating ? rotate(w) : AEGIS_OK;
    if (rotating) {
        pthread_mutex_lock(&w->mutex);
        /* At once: whoever waits for room would make it in the segment that is still the active one, over its records. */
        if (code != AEGIS_OK) writer_poison(w, code);
        w->making = false;
        pthread_cond_broadcast(&w->room);
        pthread_mutex_unlock(&w->mutex);
    }
    if (any && MUTANT(LOCK_BEFORE_GROUP)) lockfile_publish(w->l->lock, w->l->s.tier, g->first + g->count);
    if (any && code == AEGIS_OK) code = write_group(w, g, offset, watermark, w->l->segments[w->l->segment_count - 1]);
    /* For readers elsewhere; while busy, so that sizes go out in order. */
    if (any && code == AEGIS_OK && !MUTANT(LOCK_BEFORE_GROUP)) lockfile_publish(w->l->lock, w->l->s.tier, g->first + g->count);
    pthread_mutex_lock(&w->mutex);
    if (code == AEGIS_OK) {
        if (any) publish(w, g, offset);
        w->stats.groups += any;
        w->stats.syncs += any && w->sync_groups;
        if (w->asleep || rotating || writer_wants_zeros(w) || only_requested(w)) wake(w);
    } else {
        writer_poison(w, code);
    }
    uint64_t building = w->groups[w->building].round, size = w->acknowledged;
    bool was_requested = code == AEGIS_OK && w->requested > first;
    w->busy = false;
    w->last_work_ms = w->l->s.vfs->clock_ms(w->l->s.vfs);
    /* Without the mutex, or those who wake would all wait for it at once. */
    pthread_mutex_unlock(&w->mutex);
    wake_waiting(w, building);
    if (was_requested) tell(w, size, NULL);
    pthread_mutex_lock(&w->mutex);
}

bool writer_lead_requested(writer *w) {
    if (w->requested <= w->groups[w->building].first || w->busy || w->gathering || w->closing || w->poison != AEGIS_OK) return false;
    lead(w);
    return true;
}

/* Whether those whom the last group released may still come back to the group being built. The mutex is held. */
static bool worth_gathering(writer *w) {
    vfs *v = w->l->s.vfs;
    if (atomic_load(&w->waiting[w->groups[w->building].round & 1]) >= w->cohort) return false;
    if (w->gather_skip > 0) {
        w->gather_skip--;
        return false;
    }
    return v->clock_ms(v) - w->last_work_ms <= GATHER_MS_MAX;
}

/* Lets them come. Anything may have happened afterwards, but for somebody else gathering. The mutex is held, but not meanwhile. */
static void gather(writer *w) {
    vfs *v = w->l->s.vfs;
    uint64_t round = w->groups[w->building].round;
    _Atomic uint32_t *waiting = &w->waiting[round & 1];
    uint32_t cohort = w->cohort;
    w->gathering = true;
    pthread_mutex_unlock(&w->mutex);
    uint64_t begun = v->clock_ms(v);
    for (uint32_t i = 0; i < GATHER_YIELDS_MAX && atomic_load(waiting) < cohort && v->clock_ms(v) - begun <= GATHER_MS_MAX; i++)
        v->yield(v);
    pthread_mutex_lock(&w->mutex);
    w->gathering = false;
    /* An appender found the group full and led it: who was woken for the one after it may have gone back to sleep. */
    if (w->groups[w->building].round != round) pthread_cond_signal(&w->landed[w->groups[w->building].round & 1]);
    /* Threads that do other things between commits are not waited for again and again. */
    bool vain = 2 * atomic_load(waiting) <= cohort;
    w->gather_vain = vain ? (uint32_t)min_u64(2 * (uint64_t)w->gather_vain + 1, GATHER_SKIP_MAX) : 0;
    w->gather_skip = w->gather_vain;
}

static int never_appended(uint64_t index, uint64_t next) {
    return fail(AEGIS_E_RANGE, "record %llu was never appended: the next one is %llu", (unsigned long long)index,
                (unsigned long long)next);
}

int writer_request(writer *w, uint64_t index, uint64_t *size, aegis_error *poison) {
    pthread_mutex_lock(&w->mutex);
    uint64_t next = w->next_index;
    if (index < next) {
        w->requested = max_u64(w->requested, index + 1);
        /* Who flies a group looks for requests when it has landed. */
        if (!w->busy && only_requested(w)) wake(w);
    }
    *size = w->acknowledged;
    *poison = w->cause;
    pthread_mutex_unlock(&w->mutex);
    return index < next ? AEGIS_OK : never_appended(index, next);
}

int writer_commit(writer *w, uint64_t index) {
    pthread_mutex_lock(&w->mutex);
    if (index >= w->next_index) {
        uint64_t next = w->next_index;
        pthread_mutex_unlock(&w->mutex);
        return never_appended(index, next);
    }
    bool counted = false, gathered = false;
    while (w->acknowledged <= index && w->poison == AEGIS_OK) {
        const group *building = &w->groups[w->building];
        bool flying = index < building->first;
        if (!counted) atomic_fetch_add(&w->waiting[(flying ? building->round + 1 : building->round) & 1], 1);
        counted = true;
        if (!w->busy && !flying && !w->gathering) {
            if (gathered || !worth_gathering(w)) lead(w);
            else gather(w);
            gathered = true;
        } else pthread_cond_wait(&w->landed[flying ? (building->round + 1) & 1 : building->round & 1], &w->mutex);
    }
    bool there = w->acknowledged > index || MUTANT(NO_OUTCOME_UNKNOWN);
    pthread_mutex_unlock(&w->mutex);
    if (there) return AEGIS_OK;
    /* Only poison ends the wait early, and what poisoned does not change any more. */
    return fail(AEGIS_E_UNKNOWN, "the write failed (%s: %.120s): whether record %llu is stored, the next open will tell",
                aegis_error_name(w->poison), w->cause.message, (unsigned long long)index);
}

int writer_flush(writer *w) {
    pthread_mutex_lock(&w->mutex);
    uint64_t next = w->next_index;
    pthread_mutex_unlock(&w->mutex);
    return next == 0 ? AEGIS_OK : writer_commit(w, next - 1);
}

/* Whether all records below `end` are in segments before the active one. The mutex is held and nobody is busy. */
static bool turned_behind(writer *w, uint64_t end) {
    log *l = w->l;
    pthread_mutex_lock(&l->state);
    bool behind = l->segments[l->segment_count - 1]->first >= end;
    pthread_mutex_unlock(&l->state);
    return behind;
}

int writer_rotate(writer *w) {
    TRY(writer_flush(w));
    pthread_mutex_lock(&w->mutex);
    uint64_t end = w->acknowledged;
    int code = AEGIS_OK;
    for (;;) {
        if (w->poison != AEGIS_OK || w->closing) {
            code = refused(w);
            break;
        }
        if (w->busy) {
            pthread_cond_wait(landing(w), &w->mutex);
            continue;
        }
        if (turned_behind(w, end)) break;
        w->turn_asked = true;
        if (writer_turns(w)) {
            lead(w);
            continue;
        }
        code = writer_make_room(w, 0);
        /* Where there is room all the same, frames may have been accepted for it: the turn stays asked for. */
        if (code != AEGIS_OK && !writer_turns(w)) {
            w->turn_asked = false;
            break;
        }
    }
    pthread_mutex_unlock(&w->mutex);
    return code;
}

int writer_make_durable(writer *w, merkle_range *range) {
    log *l = w->l;
    bool taken = !w->sync_groups;
    pthread_mutex_lock(&w->mutex);
    if (taken) writer_take(w);
    int code = w->poison != AEGIS_OK || w->closing ? refused(w) : AEGIS_OK;
    uint64_t size = w->acknowledged;
    if (taken && code == AEGIS_OK) {
        pthread_mutex_unlock(&w->mutex);
        if (!MUTANT(NO_SYNC_OF_CAUSES)) code = l->s.vfs->sync(l->s.vfs, l->segments[l->segment_count - 1]->file);
        pthread_mutex_lock(&w->mutex);
        if (code == AEGIS_OK) w->synced = size;
        else writer_poison(w, code);    /* a sync of the active file failed: nothing that it says later can be believed */
    }
    pthread_mutex_lock(&l->state);
    *range = l->tree.range;
    pthread_mutex_unlock(&l->state);
    if (taken) writer_give(w);
    pthread_mutex_unlock(&w->mutex);
    return code;
}

int writer_close(writer *w) {
    log *l = w->l;
    vfs *v = l->s.vfs;
    uint8_t root[HASH_SIZE];
    TRY(writer_flush(w));
    pthread_mutex_lock(&w->mutex);
    if (w->poison != AEGIS_OK) {
        int code = refused(w);
        pthread_mutex_unlock(&w->mutex);
        return code;
    }
    w->closing = true;
    while (w->making) pthread_cond_wait(&w->room, &w->mutex);
    writer_take(w);
    pthread_mutex_unlock(&w->mutex);
    segment *active = l->segments[l->segment_count - 1];
    merkle_root(&l->tree.range, root);
    int code = AEGIS_OK;
    if (!w->sync_groups && !MUTANT(NO_SYNC_BEFORE_END_MARK)) code = v->sync(v, active->file);    /* the mark must not be durable before what it marks */
    if (code == AEGIS_OK) code = segment_write_slot(&l->s, active, l->tree.range.size, root, SLOT_END);
    if (code == AEGIS_OK) code = v->truncate(v, active->file, active->tail);
    if (code == AEGIS_OK && !MUTANT(NO_SYNC_OF_CLOSED_FILE)) code = v->sync(v, active->file);
    if (w->next_ready) {
        char name[SEGMENT_NAME_SIZE];
        segment_name(w->next.number, name);
        segment_close(&l->s, &w->next);
        w->next_ready = false;
        if (code == AEGIS_OK) code = v->unlink(v, l->dir, name);
    }
    pthread_mutex_lock(&w->mutex);
    w->synced = w->acknowledged;
    writer_give(w);
    pthread_mutex_unlock(&w->mutex);
    return code;
}
