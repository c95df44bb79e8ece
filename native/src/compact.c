/* compact: see compact.h. */
#include "compact.h"

#include <stdlib.h>

#define WINDOW (512u << 10)    /* what is read at a time lies in the processor's cache while it is checked and copied */
#define PENDING (512u << 10)
#define DIRECT (64u << 10)    /* what is as large goes from where it was read, and is not gathered first */
#define PUSHED (4u << 20)     /* so much the device gets at a time, while the next part is copied */

static const uint8_t ZEROS[4096];

static const scope *scope_of(const compaction *c) { return &c->w->l->s; }

/* ---- the start ------------------------------------------------------------------------------------------------------ */

static int refused(uint64_t index, const char *why) {
    return fail(AEGIS_E_ARGUMENT, "the change of record %llu %s", (unsigned long long)index, why);
}

static int check_changes(const compaction *c, uint64_t payloads_length) {
    const uint64_t first = c->source->first, end = first + c->footer.count;
    for (uint32_t i = 0; i < c->change_count; i++) {
        const aegis_change *change = &c->changes[i];
        if (i > 0 && change->index <= c->changes[i - 1].index) return refused(change->index, "does not come behind the one before it");
        if (change->index < first || change->index >= end) return refused(change->index, "is of another segment");
        if (change->cause == AEGIS_NO_CAUSE) {
            uint64_t payload_end = 0;
            if (change->payload_length > AEGIS_PAYLOAD_MAX) return fail(AEGIS_E_LIMIT, "a payload has at most %d bytes", AEGIS_PAYLOAD_MAX);
            if (!add_u64(change->payload_at, change->payload_length, &payload_end) || payload_end > payloads_length)
                return refused(change->index, "has a payload that is not there");
        } else if (change->cause <= change->index) {
            return refused(change->index, "is a gap whose cause came before it");
        } else if (change->cause >= c->durable.size && !MUTANT(NO_CAUSE_DURABLE_TEST)) {
            return refused(change->index, "is a gap whose cause is not durable");
        }
    }
    return AEGIS_OK;
}

/* Takes the segment at `position`, if it is sealed and no other compaction of the tier is at work. */
static int take_source(compaction *c, uint64_t position) {
    writer *w = c->w;
    log *l = w->l;
    pthread_mutex_lock(&w->mutex);
    c->holds = !w->compacting;
    w->compacting = true;
    pthread_mutex_unlock(&w->mutex);
    if (!c->holds) return fail(AEGIS_E_ARGUMENT, "another compaction of tier %s is at work", tier_name(l->s.tier));
    pthread_mutex_lock(&l->state);
    uint64_t count = l->segment_count;
    segment *source = position < count ? l->segments[position] : NULL;
    bool sealed = source != NULL && source->sealed;
    if (sealed) log_take_segment(source);
    pthread_mutex_unlock(&l->state);
    if (source == NULL) return fail(AEGIS_E_RANGE, "tier %s has %llu segments", tier_name(l->s.tier), (unsigned long long)count);
    if (!sealed) return fail(AEGIS_E_ARGUMENT, "the segment at position %llu is not sealed", (unsigned long long)position);
    c->source = source;
    c->position = (uint32_t)position;
    return AEGIS_OK;
}

static int read_footer(compaction *c, merkle_range *frontier) {
    const scope *s = scope_of(c);
    char name[SEGMENT_NAME_SIZE];
    int code = footer_read(s, c->source, &c->footer);
    segment_name(c->source->number, name);
    const place where = {.tier = s->tier, .segment = c->source->number, .offset = c->source->tail, .first = c->source->first,
                         .end = c->source->first + c->source->count, .path = name};
    if (code == AEGIS_E_TORN) return fail_at(AEGIS_E_CORRUPT, &where, "the footer of segment %s is damaged", name);
    TRY(code);
    return footer_frontier(s, c->source, &c->footer, frontier);
}

/* The file, with its header. What an attempt before this one left is in the way of nobody: no manifest has ever listed that name. */
static int make_file(compaction *c) {
    const scope *s = scope_of(c);
    log *l = c->w->l;
    const uint64_t number = c->source->number + (1ull << 32);
    char name[SEGMENT_NAME_SIZE];
    segment made;
    int code = segment_create(s, l->dir, number, manifest_next_generation(l->manifest), SEGMENT_FRAMES, &made);
    if (code == AEGIS_E_EXISTS) {
        segment_name(number, name);
        TRY(s->vfs->unlink(s->vfs, l->dir, name));
        code = segment_create(s, l->dir, number, manifest_next_generation(l->manifest), SEGMENT_FRAMES, &made);
    }
    TRY(code);
    made.offsets = c->made->offsets;
    made.offsets_capacity = c->made->offsets_capacity;
    made.frontier = c->made->frontier;
    made.first = c->source->first;
    *c->made = made;
    return AEGIS_OK;
}

/* All that a compaction needs, but for larger records and changed ones. */
static int take_memory(compaction *c, const merkle_range *frontier) {
    c->made = calloc(1, sizeof *c->made);
    if (c->made != NULL) c->made->frontier = malloc(sizeof *frontier);
    for (int i = 0; i < 2; i++) c->pendings[i].bytes = malloc(PENDING);
    if (c->made == NULL || c->made->frontier == NULL || c->pendings[0].bytes == NULL || c->pendings[1].bytes == NULL)
        return fail(AEGIS_E_NOMEM, "no memory for a compaction");
    *c->made->frontier = *frontier;
    c->window = &c->windows[0];
    c->pending = &c->pendings[0];
    return segment_reserve_offsets(c->made, c->footer.count);
}

int compact_start(compaction *c, writer *w, uint64_t position, const aegis_change *changes, uint32_t count, const uint8_t *payloads,
                  uint64_t payloads_length) {
    merkle_range frontier;
    *c = (compaction){.w = w, .changes = changes, .change_count = count, .payloads = payloads, .at = SEGMENT_FRAMES, .written_to = SEGMENT_FRAMES};
    if (count == 0) return fail(AEGIS_E_ARGUMENT, "a compaction that changes nothing");
    TRY(take_source(c, position));
    TRY(read_footer(c, &frontier));
    TRY(writer_make_durable(w, &c->durable));    /* (2) */
    TRY(check_changes(c, payloads_length));
    c->index = c->source->first;
    c->progress.records_total = c->footer.count;
    c->progress.bytes_total = c->footer.frames_end - SEGMENT_FRAMES;
    sha256_start(&c->read);
    sha256_start(&c->written);
    TRY(take_memory(c, &frontier));
    TRY(make_file(c));
    hashing_start(&c->hashing);
    c->hashes = true;
    return AEGIS_OK;
}

/* ---- copying -------------------------------------------------------------------------------------------------------- */

static int damaged(const compaction *c, const char *what) {
    char name[SEGMENT_NAME_SIZE];
    segment_name(c->source->number, name);
    const place where = {.tier = scope_of(c)->tier, .segment = c->source->number, .offset = c->at, .first = c->index, .end = c->index + 1, .path = name};
    return fail_at(AEGIS_E_CORRUPT, &where, "record %llu is damaged (%s of segment %s at byte %llu): the segment is left as it is",
                   (unsigned long long)c->index, what, name, (unsigned long long)c->at);
}

static compaction_buffer *other(compaction_buffer pair[2], const compaction_buffer *of) { return of == &pair[0] ? &pair[1] : &pair[0]; }

/* Appends to the new file, and hashes that with as much of what was read, or the rest of it. The bytes stay until piece *number is taken in. */
static int write_out(compaction *c, const uint8_t *bytes, size_t length, bool rest, uint64_t *number) {
    const scope *s = scope_of(c);
    size_t unread = c->filled - c->given, part = rest ? unread : (size_t)min_u64(unread, length);
    if (part + length == 0) return AEGIS_OK;
    c->window->piece = *number = hashing_give(&c->hashing, (hashing_part){&c->read, c->window->bytes + c->given, part},
                                              (hashing_part){&c->written, bytes, length});
    c->given += part;
    if (length == 0) return AEGIS_OK;
    TRY(s->vfs->write(s->vfs, c->made->file, c->written_to, bytes, length));
    c->written_to += length;
    if (c->written_to - c->pushed_to >= PUSHED) {
        s->vfs->push(s->vfs, c->made->file, c->pushed_to, c->written_to - c->pushed_to);
        c->pushed_to = c->written_to;
    }
    return AEGIS_OK;
}

/* What is pending. */
static int flush(compaction *c, bool rest) {
    bool any = c->pending_length > 0;
    TRY(write_out(c, c->pending->bytes, c->pending_length, rest, &c->pending->piece));
    c->pending_length = 0;
    if (!any) return AEGIS_OK;
    c->pending = other(c->pendings, c->pending);
    hashing_wait(&c->hashing, c->pending->piece);
    return AEGIS_OK;
}

/* Makes `length` bytes from the source's place on readable at window->bytes + used. AEGIS_E_TORN: its frames end before that. */
static int need(compaction *c, uint64_t length) {
    const scope *s = scope_of(c);
    size_t have = c->filled - c->used;
    if (have >= length) return AEGIS_OK;
    if (length > c->footer.frames_end - c->at) return AEGIS_E_TORN;
    TRY(flush(c, true));
    compaction_buffer *next = other(c->windows, c->window);
    hashing_wait(&c->hashing, next->piece);
    if (next->capacity < length + WINDOW) {
        size_t capacity = (size_t)align_up(length, WINDOW) + WINDOW;
        uint8_t *grown = realloc(next->bytes, capacity);
        if (grown == NULL) return fail(AEGIS_E_NOMEM, "no memory for a window of %zu bytes", capacity);
        next->bytes = grown;
        next->capacity = capacity;
    }
    if (have > 0) memcpy(next->bytes, c->window->bytes + c->used, have);
    c->window = next;
    c->used = 0;
    c->filled = c->given = have;
    size_t wanted = (size_t)min_u64(next->capacity - have, c->footer.frames_end - c->at - have), got = 0;
    TRY(s->vfs->read(s->vfs, c->source->file, c->at + have, next->bytes + have, wanted, &got));
    c->filled += got;
    return c->filled >= length ? AEGIS_OK : AEGIS_E_TORN;
}

/* Appends to the new file. */
static int put(compaction *c, const uint8_t *bytes, uint64_t length) {
    while (length > 0) {
        size_t part = (size_t)min_u64(length, PENDING - c->pending_length);
        memcpy(c->pending->bytes + c->pending_length, bytes, part);
        c->pending_length += part;
        bytes += part;
        length -= part;
        if (c->pending_length == PENDING) TRY(flush(c, false));
    }
    return AEGIS_OK;
}

/* Appends what lies in the window: what is large from there. */
static int put_copied(compaction *c, const uint8_t *bytes, uint64_t length) {
    if (length < DIRECT) return put(c, bytes, length);
    TRY(flush(c, false));
    return write_out(c, bytes, (size_t)length, false, &c->window->piece);
}

static uint64_t made_to(const compaction *c) { return c->written_to + c->pending_length; }

/* The frame at the window's place anew, as the change says. */
static int put_changed(compaction *c, const aegis_change *change, const frame *old, const uint8_t *bytes) {
    uint8_t cause[FRAME_CAUSE_SIZE];
    bool gap = change->cause != AEGIS_NO_CAUSE;
    if (!gap && frame_is_stub(old)) return refused(change->index, "gives a payload to a record whose payload is gone");
    if (gap) store_u64(cause, change->cause);
    const uint8_t *payload = gap ? cause : c->payloads + change->payload_at;
    uint32_t payload_length = gap ? FRAME_CAUSE_SIZE : change->payload_length;
    uint8_t flags = (uint8_t)((old->flags & FRAME_LAST) | (gap ? FRAME_GAP : 0));
    uint64_t size = frame_size(old->entry_length, payload_length);
    uint8_t *made = malloc((size_t)size);
    if (made == NULL) return fail(AEGIS_E_NOMEM, "no memory for a frame of %llu bytes", (unsigned long long)size);
    frame_remake(scope_of(c), made, old, frame_entry(bytes), flags, payload, payload_length);
    int code = put(c, made, size);
    free(made);
    return code;
}

static int copy_record(compaction *c) {
    const scope *s = scope_of(c);
    frame f = {.size = 0};
    int code = need(c, FRAME_HEADER);
    if (code == AEGIS_OK) code = frame_parse(c->window->bytes + c->used, c->footer.frames_end - c->at, &f);
    if (code == AEGIS_OK) code = need(c, f.size);
    if (code == AEGIS_E_TORN || code == AEGIS_E_CORRUPT) return damaged(c, "frame header");
    TRY(code);
    const uint8_t *bytes = c->window->bytes + c->used;
    if (!MUTANT(NO_COMPACTION_CHECKSUM) && frame_check_body(s, &f, bytes, c->index) != AEGIS_OK) return damaged(c, "checksum");
    c->made->offsets[c->made->count++] = (uint32_t)(made_to(c) / FRAME_ALIGN);
    const aegis_change *change = c->next_change < c->change_count ? &c->changes[c->next_change] : NULL;
    if (change != NULL && change->index == c->index) {
        TRY(put_changed(c, change, &f, bytes));
        c->next_change++;
    } else {
        TRY(put_copied(c, bytes, f.size));
    }
    c->used += (size_t)f.size;
    c->at += f.size;
    c->index++;
    if (!(f.flags & FRAME_LAST)) return AEGIS_OK;
    /* What stands between groups is zero on both sides. */
    uint64_t skipped = align_up(c->at, s->align) - c->at, padding = align_up(made_to(c), s->align) - made_to(c);
    if (need(c, skipped) != AEGIS_OK) return damaged(c, "what follows the frame");
    c->used += (size_t)skipped;
    c->at += skipped;
    return put(c, ZEROS, padding);
}

/* ---- the end -------------------------------------------------------------------------------------------------------- */

/* (1) for the whole, and what the frames alone do not show: that there are no more of them. */
static int check_source(compaction *c) {
    uint8_t digest[HASH_SIZE];
    hashing_wait(&c->hashing, c->window->piece);
    sha256_end(&c->read, digest);
    if (c->at == c->footer.frames_end && (memcmp(digest, c->footer.frames_sha256, HASH_SIZE) == 0 || MUTANT(NO_COMPACTION_DIGEST))) return AEGIS_OK;
    char name[SEGMENT_NAME_SIZE];
    segment_name(c->source->number, name);
    const place where = {.tier = scope_of(c)->tier, .segment = c->source->number, .offset = SEGMENT_FRAMES, .first = c->source->first, .end = c->index, .path = name};
    return fail_at(AEGIS_E_CORRUPT, &where, "the frames of segment %s are not those that its footer was made for: it is left as it is", name);
}

/* The file is whole and durable, and so is its name. */
static int finish_file(compaction *c) {
    const scope *s = scope_of(c);
    uint8_t digest[HASH_SIZE];
    TRY(flush(c, true));
    TRY(check_source(c));
    CHECK(c->made->count == c->footer.count && c->next_change == c->change_count);
    c->made->tail = made_to(c);
    hashing_wait(&c->hashing, max_u64(c->pendings[0].piece, c->pendings[1].piece));
    sha256_end(&c->written, digest);
    TRY(footer_put(s, c->made, digest, c->made->root));
    CHECK(memcmp(c->made->root, c->footer.root, HASH_SIZE) == 0);
    return MUTANT(NO_COMPACTED_NAME_SYNC) ? AEGIS_OK : s->vfs->sync_dir(s->vfs, c->w->l->dir);    /* (3) */
}

/* Lists the new file in place of the source, here and on disk. */
static int publish(compaction *c) {
    const scope *s = scope_of(c);
    log *l = c->w->l;
    segment *made = c->made;
    const manifest_segment listed = {.number = made->number, .generation = made->generation, .first = made->first};
    const uint64_t old_number = c->source->number;
    char old_name[SEGMENT_NAME_SIZE];
    uint8_t root[HASH_SIZE];
    merkle_root(&c->durable, root);
    int code = MUTANT(SOURCE_REMOVED_FIRST) ? (segment_name(old_number, old_name), s->vfs->unlink(s->vfs, l->dir, old_name)) : AEGIS_OK;
    if (code == AEGIS_OK) code = manifest_replace(l->manifest, s->tier, c->position, &listed, c->durable.size, root, &c->published);
    if (!c->published) return code;
    made->sealed = true;
    free(made->offsets);
    free(made->frontier);
    made->offsets = NULL;
    made->frontier = NULL;
    made->offsets_capacity = 0;
    log_replace_segment(l, c->position, made);
    c->made = NULL;
    pthread_mutex_lock(&c->w->mutex);
    c->w->stats.rewrites++;
    pthread_mutex_unlock(&c->w->mutex);
    /* (4): where the manifest's name is in doubt, the old file may be the one that the next open needs. That open removes it. */
    if (code != AEGIS_OK || MUTANT(SOURCE_REMOVED_FIRST)) return code;
    segment_name(old_number, old_name);
    TRY(s->vfs->unlink(s->vfs, l->dir, old_name));
    return MUTANT(NO_SYNC_OF_REMOVAL) ? AEGIS_OK : s->vfs->sync_dir(s->vfs, l->dir);    /* what was erased does not come back */
}

int compact_step(compaction *c, uint64_t budget, aegis_progress *progress) {
    const uint64_t end = c->footer.first + c->footer.count, stop = c->at + max_u64(budget, 1);
    int code = AEGIS_OK;
    if (c->failed) return fail(AEGIS_E_ARGUMENT, "the compaction has failed");
    if (!c->published) {
        while (code == AEGIS_OK && c->index < end && c->at < stop) code = copy_record(c);
        c->progress.records = c->index - c->footer.first;
        c->progress.bytes = c->at - SEGMENT_FRAMES;
        bool copied = code == AEGIS_OK && c->index == end;
        if (copied) code = finish_file(c);
        if (copied && code == AEGIS_OK) code = publish(c);
        c->failed = code != AEGIS_OK;
        TRY(code);
        c->progress.done = copied;
        if (copied) memcpy(c->progress.root, c->footer.root, HASH_SIZE);
    }
    *progress = c->progress;
    return AEGIS_OK;
}

void compact_end(compaction *c) {
    const scope *s = scope_of(c);
    if (c->hashes) hashing_stop(&c->hashing);
    if (c->made != NULL) {
        char name[SEGMENT_NAME_SIZE];
        bool there = c->made->file != NULL;
        segment_name(c->made->number, name);
        segment_close(s, c->made);
        if (there) (void)s->vfs->unlink(s->vfs, c->w->l->dir, name);    /* else the next open does */
        free(c->made);
    }
    if (c->source != NULL && c->published) log_release_removed(c->w->l, c->source);
    else if (c->source != NULL) log_release_segment(c->w->l, c->source);
    for (int i = 0; i < 2; i++) {
        free(c->windows[i].bytes);
        free(c->pendings[i].bytes);
    }
    if (!c->holds) return;
    pthread_mutex_lock(&c->w->mutex);
    c->w->compacting = false;
    pthread_mutex_unlock(&c->w->mutex);
}
