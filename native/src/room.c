/* room: space for records before they are accepted: see commit.h.
 *
 * Frames of the group being built were accepted for bytes that are zeroed: of the active segment, or of the next one where the group goes
 * there. Which one is said anew for the group as a whole with each frame. Where a turn to the next segment is asked for, what was accepted for
 * the active one before still has its place there, and goes there if the next segment hasn't got as many zeros yet; what is
 * accepted from then on has them in the next one.
 */
#include "commit.h"

/* How far ahead to zero: an eighth of what the log has, between the two bounds. */
static uint64_t zero_step(const writer *w) {
    return max_u64(ZERO_STEP_MIN, min_u64((w->full_bytes + w->tail) / 8, ZERO_STEP_MAX));
}

static bool overflows(const writer *w, uint64_t size) { return w->tail + w->groups[w->building].used + size > w->segment_bytes; }

/* Whether the group being built is to go to the next segment if it takes `size` more bytes. */
static bool passes_end(const writer *w, uint64_t size) { return w->holds_records && (w->turn_asked || overflows(w, size)); }

bool writer_has_room(const writer *w, uint64_t size) {
    uint64_t used = w->groups[w->building].used + size;
    if (MUTANT(NO_ROOM_TEST)) return !passes_end(w, size) || w->next_ready;
    if (passes_end(w, size)) return w->next_ready && SEGMENT_FRAMES + used <= w->next_zeroed;
    return w->tail + used <= w->zeroed;
}

bool writer_turns(const writer *w) { return passes_end(w, 0) && (overflows(w, 0) || writer_has_room(w, 0)); }

/* Zeroes [from, to) of the active segment or the next one, which it makes where there is none. Called without the mutex, by the one
 * who set `making`; the active segment cannot change meanwhile, for a rotation waits for `making`. */
static int zero_range(writer *w, bool in_next, uint64_t from, uint64_t to) {
    log *l = w->l;
    segment *active = l->segments[l->segment_count - 1];
    if (!in_next) return segment_zero(&l->s, l->dir, active, from, to);
    if (w->next_ready) return segment_zero(&l->s, l->dir, &w->next, from, to);
    TRY(manifest_reserve(l->manifest));
    int code = segment_create(&l->s, l->dir, active->number + 1, manifest_next_generation(l->manifest), to, &w->next);
    if (code == AEGIS_E_EXISTS) {
        /* An attempt before this one failed, and so did taking its file away: no manifest lists it, and nobody else makes any. */
        char name[SEGMENT_NAME_SIZE];
        segment_name(active->number + 1, name);
        TRY(l->s.vfs->unlink(l->s.vfs, l->dir, name));
        code = segment_create(&l->s, l->dir, active->number + 1, manifest_next_generation(l->manifest), to, &w->next);
    }
    TRY(code);
    return MUTANT(NO_NEXT_SEGMENT_NAME_SYNC) ? AEGIS_OK : l->s.vfs->sync_dir(l->s.vfs, l->dir);
}

static int make_range(writer *w, bool in_next, uint64_t to) {
    uint64_t from = in_next ? (w->next_ready ? w->next_zeroed : SEGMENT_FRAMES) : w->zeroed;
    w->making = true;
    pthread_mutex_unlock(&w->mutex);
    int code = zero_range(w, in_next, from, to);
    pthread_mutex_lock(&w->mutex);
    w->making = false;
    if (code == AEGIS_OK) {
        if (in_next) {
            w->next_ready = true;
            w->next_zeroed = to;
        } else {
            w->zeroed = to;
        }
        w->stats.zeroed_bytes += to - from;
        w->stats.syncs++;
    } else if (in_next && !w->next_ready && w->next.file != NULL) {
        /* Made, but its name may not be durable: take it away; the next append tries again. */
        char name[SEGMENT_NAME_SIZE];
        aegis_error cause;
        aegis_last_error(&cause);
        segment_name(w->next.number, name);
        segment_close(&w->l->s, &w->next);
        (void)w->l->s.vfs->unlink(w->l->s.vfs, w->l->dir, name);
        fail_again(&cause);
    }
    pthread_cond_broadcast(&w->room);
    return code;
}

int writer_make_room(writer *w, uint64_t size) {
    while (!writer_has_room(w, size)) {
        if (w->poison != AEGIS_OK || w->closing) return AEGIS_OK;
        if (w->making) {
            pthread_cond_wait(&w->room, &w->mutex);
            continue;
        }
        bool in_next = passes_end(w, size);
        uint64_t start = in_next ? SEGMENT_FRAMES : w->tail;
        uint64_t needed = start + w->groups[w->building].used + size;
        /* A record larger than a segment gets a segment of its own size; else zeroing stops at the segment's end. */
        uint64_t to = max_u64(needed, min_u64(needed + ZERO_STEP_MIN, w->segment_bytes));
        TRY(make_range(w, in_next, align_up(to, 4096)));
    }
    return AEGIS_OK;
}

/* Bytes that are zeroed and not taken, in the active segment and the one after it. */
static uint64_t zeros_ahead(const writer *w) {
    uint64_t in_next = w->next_ready ? w->next_zeroed - SEGMENT_FRAMES : 0;
    return w->zeroed - min_u64(w->zeroed, w->tail) + in_next;
}

bool writer_wants_zeros(const writer *w) {
    bool next_full = w->next_ready && w->next_zeroed >= w->segment_bytes;
    return zeros_ahead(w) < zero_step(w) / 2 && !(w->zeroed >= w->segment_bytes && next_full);
}

bool writer_zero_ahead(writer *w) {
    if (w->making || w->closing || w->poison != AEGIS_OK) return false;
    /* Once begun, a step is finished: its chunks come one a turn, so that nobody waits long for room. How much it is was said at its
     * beginning: what is taken meanwhile is for the next one, or each commit would be followed by a sync of some zeros. */
    if (w->zeros_due == 0 && writer_wants_zeros(w)) w->zeros_due = zero_step(w) - zeros_ahead(w);
    if (w->zeros_due == 0) return false;
    bool in_next = w->zeroed >= w->segment_bytes;
    uint64_t from = !in_next ? w->zeroed : w->next_ready ? w->next_zeroed : SEGMENT_FRAMES;
    uint64_t to = min_u64(align_up(from + min_u64(w->zeros_due, ZERO_CHUNK_MAX), 4096), w->segment_bytes);
    uint64_t left = w->zeros_due - min_u64(w->zeros_due, to - min_u64(from, to));
    bool made = to > from && make_range(w, in_next, to) == AEGIS_OK;
    w->zeros_due = made ? left : 0;
    return made;
}
