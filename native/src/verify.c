/* verify: see verify.h. */
#include "verify.h"

#include <stdlib.h>

void verify_start(verify *v, log *l) {
    memset(v, 0, sizeof *v);
    v->l = l;
    merkle_clear(&v->range);
    pthread_mutex_lock(&l->state);
    v->size = l->tree.range.size;
    for (uint64_t i = 0; i < l->segment_count; i++) v->bytes_total += l->segments[i]->tail - SEGMENT_FRAMES;
    pthread_mutex_unlock(&l->state);
    v->progress.records_total = v->size;
    v->progress.bytes_total = v->bytes_total;
}

static void stop_scanning(verify *v) {
    scan_stop(&v->sc);
    log_release_segment(v->l, v->seg);
    v->scanning = false;
}

void verify_end(verify *v) {
    if (v->scanning) stop_scanning(v);
    free(v->gaps);
    v->gaps = NULL;
}

void verify_gaps(verify *v, aegis_gap_run *out, uint32_t capacity, uint32_t *count) {
    *count = (uint32_t)min_u64(capacity, v->gaps_count - v->gaps_told);
    if (*count > 0) memcpy(out, v->gaps + v->gaps_told, *count * sizeof *out);
    v->gaps_told += *count;
    if (v->gaps_told == v->gaps_count) v->gaps_told = v->gaps_count = 0;
}

static int finding(const verify *v, uint64_t first, uint64_t end, uint64_t offset, const char *what) {
    char name[SEGMENT_NAME_SIZE];
    segment_name(v->seg->number, name);
    const place where = {.tier = v->l->s.tier, .segment = v->seg->number, .offset = offset, .first = first, .end = end, .path = name};
    if (end == first + 1)
        return fail_at(AEGIS_E_CORRUPT, &where, "record %llu is damaged (%s of segment %s at byte %llu)", (unsigned long long)first, what,
                       name, (unsigned long long)offset);
    return fail_at(AEGIS_E_CORRUPT, &where, "%s of segment %s, records %llu to %llu", what, name, (unsigned long long)first,
                   (unsigned long long)end - 1);
}

static bool segment_left(const verify *v) {
    pthread_mutex_lock(&v->l->state);
    bool left = v->position < v->l->segment_count && v->l->segments[v->position]->first < v->size;
    pthread_mutex_unlock(&v->l->state);
    return left;
}

static int segment_start(verify *v) {
    log *l = v->l;
    pthread_mutex_lock(&l->state);
    segment *seg = l->segments[v->position];
    v->seg = seg;
    log_take_segment(seg);
    v->sealed = seg->sealed;
    v->end = min_u64(seg->first + seg->count, v->size);
    uint64_t tail = seg->tail;
    pthread_mutex_unlock(&l->state);
    /* Links guard what is not sealed; a sealed segment's frames may come from elsewhere, and its footer guards them. */
    scan_start(&v->sc, &l->s, seg->file, v->sealed ? NULL : segment_links(seg), SEGMENT_FRAMES, tail, seg->first);
    v->sc.stubs = segment_links(seg) == NULL;
    v->scanning = true;
    v->footer_bad = false;
    if (!v->sealed) return AEGIS_OK;
    sha256_start(&v->frames);
    scan_digest(&v->sc, &v->frames);
    int code = footer_read(&l->s, seg, &v->f);
    if (code == AEGIS_OK) code = footer_check_table(&l->s, seg, &v->f);
    v->footer_bad = code != AEGIS_OK;
    return code == AEGIS_E_TORN ? finding(v, seg->first, v->end, tail, "the footer is damaged") : code;
}

static int end_of_segment(verify *v) {
    uint8_t digest[HASH_SIZE], root[HASH_SIZE];
    bool asked = v->sealed && !v->footer_bad && !v->holes && v->end == v->seg->first + v->seg->count, whole = true;
    int code = asked ? scan_digest_rest(&v->sc, &whole) : AEGIS_OK;
    v->position++;
    /* A segment that was filled and sealed since the start goes on behind what is verified: its footer is for the next time. */
    if (!asked || code != AEGIS_OK) return code;
    sha256_end(&v->frames, digest);
    merkle_root(&v->range, root);
    bool same_frames = whole && memcmp(digest, v->f.frames_sha256, HASH_SIZE) == 0, same_root = memcmp(root, v->f.root, HASH_SIZE) == 0;
    /* From here on the footer's word is taken, so that a segment that is not what it was is found once and not in all behind it. */
    if (!same_root) TRY(footer_frontier(&v->l->s, v->seg, &v->f, &v->range));
    if (!same_frames && !MUTANT(NO_VERIFY_FRAMES))
        return finding(v, v->seg->first, v->end, SEGMENT_FRAMES, "the frames are not those that the footer was made for");
    if (!same_root && !MUTANT(NO_VERIFY_SEGMENT_ROOT)) return finding(v, v->seg->first, v->end, SEGMENT_FRAMES, "the entries do not lead to the root in the footer");
    return AEGIS_OK;
}

static int segment_end(verify *v) {
    int code = end_of_segment(v);
    stop_scanning(v);
    return code;
}

/* Notes a stub. What authorises it has to be in the log by now: it was durable before the stub was made. */
static int note_gap(verify *v, const scanned *stub) {
    uint64_t cause = frame_cause(&stub->head, stub->bytes), index = stub->head.index;
    aegis_gap_run *last = v->gaps_count > v->gaps_told ? &v->gaps[v->gaps_count - 1] : NULL;
    if (cause >= log_size(v->l) && !MUTANT(NO_VERIFY_CAUSE)) return finding(v, index, index + 1, stub->offset, "a gap by a record that is not there");
    if (last != NULL && last->cause == cause && last->first + last->count == index) {
        last->count++;
        return AEGIS_OK;
    }
    if (v->gaps_count == v->gaps_capacity) {
        uint32_t capacity = v->gaps_capacity == 0 ? 64 : v->gaps_capacity * 2;
        aegis_gap_run *grown = realloc(v->gaps, capacity * sizeof *grown);
        if (grown == NULL) return fail(AEGIS_E_NOMEM, "no memory for %u runs of gaps", (unsigned)capacity);
        v->gaps = grown;
        v->gaps_capacity = capacity;
    }
    v->gaps[v->gaps_count++] = (aegis_gap_run){.first = index, .count = 1, .cause = cause};
    return AEGIS_OK;
}

/* Steps over a damaged record, by the list of offsets. */
static int skip_record(verify *v) {
    uint64_t offsets[2] = {0, 0}, index = v->sc.index, at = v->sc.offset;
    v->holes = true;
    pthread_mutex_lock(&v->l->state);
    int code = segment_locate(&v->l->s, v->seg, index - v->seg->first, 1, offsets);
    pthread_mutex_unlock(&v->l->state);
    if (code == AEGIS_OK && offsets[1] > at) {
        v->sc.offset = offsets[1];
        v->sc.index = index + 1;
        v->progress.records++;
        v->progress.bytes += offsets[1] - at;
        return finding(v, index, index + 1, at, "checksum");
    }
    v->sc.index = v->end;
    v->progress.records += v->end - index;
    v->progress.bytes += v->sc.end - at;
    return finding(v, index, v->end, at, "frames that cannot be told apart");
}

static int finish(verify *v) {
    uint8_t expected[HASH_SIZE];
    v->done = true;
    if (v->holes) return AEGIS_OK;
    merkle_root(&v->range, v->progress.root);
    pthread_mutex_lock(&v->l->state);
    int code = tree_root_at(&v->l->tree, v->size, expected);
    pthread_mutex_unlock(&v->l->state);
    TRY(code);
    if (memcmp(expected, v->progress.root, HASH_SIZE) == 0 || MUTANT(NO_VERIFY_ROOT)) return AEGIS_OK;
    const place where = {.tier = v->l->s.tier, .end = v->size};
    return fail_at(AEGIS_E_CORRUPT, &where, "the entries of the log do not lead to its root");
}

int verify_step(verify *v, uint64_t budget, aegis_progress *progress) {
    uint64_t stop = v->progress.bytes + max_u64(budget, 1);
    int code = AEGIS_OK;
    while (code == AEGIS_OK && !v->done && v->progress.bytes < stop) {
        scanned frame;
        if (!v->scanning) {
            code = segment_left(v) ? segment_start(v) : finish(v);
        } else if (v->sc.index >= v->end) {
            code = segment_end(v);
        } else {
            uint64_t at = v->sc.offset;
            code = scan_next(&v->sc, &frame);
            if (code == AEGIS_E_TORN || code == AEGIS_E_CORRUPT) {
                code = skip_record(v);
            } else if (code == AEGIS_OK) {
                merkle_append(&v->range, frame.leaf);
                v->progress.records++;
                v->progress.bytes += v->sc.offset - at;
                if (frame_is_stub(&frame.head)) code = note_gap(v, &frame);
            }
        }
    }
    v->progress.done = v->done;
    *progress = v->progress;
    return code;
}
