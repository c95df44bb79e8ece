/* log: see log.h. */
#include "log.h"

#include <stdlib.h>

#include "footer.h"

#define ENTRY_GUESS 512      /* header and entry of almost every record */
#define DENSE_BYTES 4096     /* of a record on average: up to here one long read is cheaper than a short one for each */
_Static_assert(SEGMENT_LOCATE_MAX >= TILE_WIDTH, "a whole tile can be located at once");

const char *tier_name(uint32_t tier) {
    static const char *const names[AEGIS_TIERS + 1] = {"", "audit", "memory", "session", "telemetry"};
    return tier <= AEGIS_TIERS ? names[tier] : "";
}

static int read_leaves(void *context, uint64_t first, unsigned count, uint8_t (*out)[HASH_SIZE]);

int log_init(log *l, const scope *s, vfs_dir *root, bool create, manifest *m, lockfile *lock, uint64_t cache_bytes) {
    vfs *v = s->vfs;
    vfs_dir *tiles = NULL;
    memset(l, 0, sizeof *l);
    l->s = *s;
    l->manifest = m;
    l->lock = lock;
    l->writable = lock != NULL && lock->writer;
    pthread_mutex_init(&l->state, NULL);
    int code = v->open_dir(v, root, tier_name(s->tier), create ? VFS_CREATE : VFS_READ, &l->dir);
    if (code == AEGIS_E_NOTFOUND && !create) {
        const place where = {.tier = s->tier, .path = tier_name(s->tier)};
        code = fail_at(AEGIS_E_CORRUPT, &where, "the directory of tier %s is missing", tier_name(s->tier));
    }
    if (code == AEGIS_OK && create && !MUTANT(NO_TIER_NAME_SYNC)) code = v->sync_dir(v, root);
    /* Tiles are a cache: a place that cannot hold them is no error. */
    if (code == AEGIS_OK && v->open_dir(v, l->dir, TILES_NAME, l->writable ? VFS_CREATE : VFS_READ, &tiles) != AEGIS_OK) tiles = NULL;
    /* Whatever comes of it, the tree has the folder then, and log_free closes it. */
    if (code == AEGIS_OK) code = tree_init(&l->tree, &l->s, tiles, l->writable, cache_bytes, read_leaves, l);
    if (code != AEGIS_OK) log_free(l);
    return code;
}

void log_free(log *l) {
    vfs *v = l->s.vfs;
    log_wait_for_removed(l);
    for (uint64_t i = 0; i < l->segment_count; i++) {
        segment_close(&l->s, l->segments[i]);
        free(l->segments[i]);
    }
    free(l->segments);
    free(l->damaged);
    l->segments = NULL;
    l->damaged = NULL;
    l->segment_count = 0;
    if (l->tree.dir != NULL) v->close_dir(v, l->tree.dir);
    tree_free(&l->tree);
    l->tree.dir = NULL;
    if (l->dir != NULL) v->close_dir(v, l->dir);
    l->dir = NULL;
    pthread_mutex_destroy(&l->state);
}

int log_add_segment(log *l, const segment *seg, segment **added) {
    segment *own = malloc(sizeof *own);
    if (own == NULL) return fail(AEGIS_E_NOMEM, "no memory for a segment");
    pthread_mutex_lock(&l->state);
    if (l->segment_count == l->segment_capacity) {
        uint64_t capacity = l->segment_capacity == 0 ? 8 : l->segment_capacity * 2;
        segment **grown = realloc(l->segments, (size_t)capacity * sizeof *grown);
        if (grown == NULL) {
            pthread_mutex_unlock(&l->state);
            free(own);
            return fail(AEGIS_E_NOMEM, "no memory for a list of %llu segments", (unsigned long long)capacity);
        }
        l->segments = grown;
        l->segment_capacity = capacity;
    }
    *own = *seg;
    l->segments[l->segment_count++] = own;
    pthread_mutex_unlock(&l->state);
    *added = own;
    return AEGIS_OK;
}

void log_take_segment(segment *seg) { seg->users++; }

static void close_and_free(log *l, segment *seg) {
    segment_close(&l->s, seg);
    free(seg);
}

void log_release_segment(log *l, segment *seg) {
    pthread_mutex_lock(&l->state);
    bool last = --seg->users == 0 && seg->replaced;
    pthread_mutex_unlock(&l->state);
    if (last) close_and_free(l, seg);
}

typedef struct removed_segment {
    log *l;
    segment *seg;
} removed_segment;

static void *release_removed(void *context) {
    removed_segment *removed = context;
    log_release_segment(removed->l, removed->seg);
    free(removed);
    return NULL;
}

void log_release_removed(log *l, segment *seg) {
    log_wait_for_removed(l);
    removed_segment *removed = malloc(sizeof *removed);
    if (removed != NULL) *removed = (removed_segment){l, seg};
    pthread_t closer;
    if (removed == NULL || pthread_create(&closer, NULL, release_removed, removed) != 0) {
        free(removed);
        log_release_segment(l, seg);
        return;
    }
    pthread_mutex_lock(&l->state);
    l->closer = closer;
    l->closes = true;
    pthread_mutex_unlock(&l->state);
}

void log_wait_for_removed(log *l) {
    pthread_mutex_lock(&l->state);
    const pthread_t closer = l->closer;
    bool closes = l->closes;
    l->closes = false;
    pthread_mutex_unlock(&l->state);
    if (closes) pthread_join(closer, NULL);
}

void log_replace_segment(log *l, uint64_t position, segment *with) {
    pthread_mutex_lock(&l->state);
    segment *old = l->segments[position];
    l->segments[position] = with;
    old->replaced = true;
    bool used = old->users > 0;
    pthread_mutex_unlock(&l->state);
    if (!used) close_and_free(l, old);
}

/* The leaf hash of a record that is known to be damaged, else NULL. */
static const uint8_t *leaf_of_damaged(const log *l, uint64_t index) {
    for (uint64_t i = 0; i < l->damaged_count; i++)
        if (l->damaged[i].index == index) return l->damaged[i].leaf;
    return NULL;
}

int log_note_damaged(log *l, uint64_t index, const uint8_t leaf[HASH_SIZE]) {
    int code = AEGIS_OK;
    pthread_mutex_lock(&l->state);
    if (leaf_of_damaged(l, index) == NULL) {
        damaged_record *grown = realloc(l->damaged, (size_t)(l->damaged_count + 1) * sizeof *grown);
        if (grown == NULL) code = fail(AEGIS_E_NOMEM, "no memory for a list of damaged records");
        else {
            l->damaged = grown;
            l->damaged[l->damaged_count].index = index;
            memcpy(l->damaged[l->damaged_count++].leaf, leaf, HASH_SIZE);
        }
    }
    pthread_mutex_unlock(&l->state);
    return code;
}

/* ---- reading -------------------------------------------------------------------------------------------------------- */

uint64_t log_size(log *l) {
    pthread_mutex_lock(&l->state);
    uint64_t size = l->tree.range.size;
    pthread_mutex_unlock(&l->state);
    return size;
}

/* The segment that holds record `index`. The caller holds the mutex and has checked that one does. */
static segment *segment_of(const log *l, uint64_t index) {
    uint64_t low = 0, high = l->segment_count;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (l->segments[middle]->first <= index) low = middle;
        else high = middle;
    }
    return l->segments[low];
}

/* Places of up to `limit` records from `first` on, all in one segment, which is taken: *count of them, and one offset more. */
static int locate(log *l, uint64_t first, uint32_t limit, segment **in, unsigned *count, uint64_t *offsets) {
    pthread_mutex_lock(&l->state);
    uint64_t size = l->tree.range.size;
    if (first >= size) {
        pthread_mutex_unlock(&l->state);
        const place where = {.tier = l->s.tier, .first = first, .end = first};
        return fail_at(AEGIS_E_RANGE, &where, "record %llu does not exist: the log has %llu", (unsigned long long)first,
                       (unsigned long long)size);
    }
    segment *seg = segment_of(l, first);
    uint64_t left = min_u64(seg->first + seg->count, size) - first;
    *in = seg;
    *count = (unsigned)min_u64(left, min_u64(limit, SEGMENT_LOCATE_MAX));
    bool sealed = seg->sealed;
    int code = sealed ? AEGIS_OK : segment_locate(&l->s, seg, first - seg->first, *count, offsets);
    log_take_segment(seg);
    pthread_mutex_unlock(&l->state);
    /* A sealed segment no longer changes: its footer is read without holding anybody up. */
    if (sealed) code = segment_locate(&l->s, seg, first - seg->first, *count, offsets);
    if (code != AEGIS_OK) log_release_segment(l, seg);
    return code;
}

static int damaged(const log *l, const segment *seg, uint64_t index, uint64_t offset, const char *what) {
    char name[SEGMENT_NAME_SIZE];
    segment_name(seg->number, name);
    const place where = {.tier = l->s.tier, .segment = seg->number, .offset = offset, .first = index, .end = index + 1, .path = name};
    return fail_at(AEGIS_E_CORRUPT, &where, "record %llu is damaged (%s of segment %s at byte %llu)", (unsigned long long)index, what,
                   name, (unsigned long long)offset);
}

/* One record, where what lies up to the next one is more than the caller's buffer: that may be the gap behind its group. *extent
 * becomes the frame's own; if that does not fit either, the record's lengths say what is needed. */
static int fit_one(const log *l, const segment *seg, uint64_t index, uint64_t offset, uint64_t capacity, uint64_t *extent,
                   aegis_record *record) {
    uint8_t header[FRAME_HEADER];
    size_t got = 0;
    frame f;
    TRY(l->s.vfs->read(l->s.vfs, seg->file, offset, header, sizeof header, &got));
    if (got < sizeof header || frame_parse(header, *extent, &f) != AEGIS_OK) return damaged(l, seg, index, offset, "frame header");
    *extent = f.size;
    if (f.size <= capacity) return AEGIS_OK;
    record->index = index;
    record->entry_length = f.entry_length;
    record->payload_length = f.payload_length;
    return fail(AEGIS_E_SPACE, "record %llu needs a buffer of %llu bytes", (unsigned long long)index, (unsigned long long)f.size);
}

/* Stubs stand in rewritten segments only: elsewhere nobody has taken a payload away. */
static bool may_stand(const segment *seg, const frame *f) { return !frame_is_stub(f) || segment_rewrites(seg->number) > 0 || MUTANT(NO_STUB_PLACE_TEST); }

/* Up to `n` records at these offsets, as many as fit; *count of them. */
static int read_frames(const log *l, const segment *seg, uint64_t first, unsigned n, const uint64_t *offsets, uint8_t *buffer,
                       uint64_t capacity, aegis_record *records, uint32_t *count) {
    size_t got = 0;
    while (n > 1 && offsets[n] - offsets[0] > capacity) n--;
    uint64_t extent = offsets[n] - offsets[0];
    if (extent > capacity) TRY(fit_one(l, seg, first, offsets[0], capacity, &extent, records));
    TRY(l->s.vfs->read(l->s.vfs, seg->file, offsets[0], buffer, (size_t)extent, &got));
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = offsets[i] - offsets[0];
        frame f;
        if (at >= got || frame_parse(buffer + at, got - at, &f) != AEGIS_OK || !may_stand(seg, &f))
            return damaged(l, seg, first + i, offsets[i], "frame header");
        if (!MUTANT(NO_READ_CHECKSUM) && frame_check_body(&l->s, &f, buffer + at, first + i) != AEGIS_OK)
            return damaged(l, seg, first + i, offsets[i], "checksum");
        records[i] = (aegis_record){.index = first + i, .kind = f.kind, .flags = f.flags, .entry_length = f.entry_length,
                                    .payload_length = f.payload_length, .entry_at = at + FRAME_HEADER,
                                    .payload_at = at + FRAME_HEADER + f.entry_length};
        leaf_hash(frame_entry(buffer + at), f.entry_length, records[i].leaf);
    }
    *count = n;
    return AEGIS_OK;
}

int log_read(log *l, uint64_t first, uint32_t limit, uint8_t *buffer, uint64_t capacity, aegis_record *records, uint32_t *count) {
    uint64_t offsets[SEGMENT_LOCATE_MAX + 1];
    segment *seg = NULL;
    unsigned located = 0;
    if (limit == 0) return fail(AEGIS_E_ARGUMENT, "a read of no records");
    TRY(locate(l, first, limit, &seg, &located, offsets));
    int code = read_frames(l, seg, first, located, offsets, buffer, capacity, records, count);
    log_release_segment(l, seg);
    TRY(code);
    pthread_mutex_lock(&l->state);
    for (unsigned i = 0; i < *count && code == AEGIS_OK && !MUTANT(NO_READ_PROOF); i++) code = tree_prove(&l->tree, first + i, records[i].leaf);
    pthread_mutex_unlock(&l->state);
    return code;
}

/* ---- entries alone -------------------------------------------------------------------------------------------------- */

/* The frame of record `index`, of which `got` bytes stand at `bytes` and `extent` in the file. */
static int parse_entry(const log *l, const segment *seg, uint64_t index, uint64_t offset, const uint8_t *bytes, uint64_t got,
                       uint64_t extent, frame *f) {
    if (got < FRAME_HEADER || frame_parse(bytes, extent, f) != AEGIS_OK || !may_stand(seg, f) || (f->index != index && !MUTANT(NO_ENTRY_INDEX_TEST)))
        return damaged(l, seg, index, offset, "frame header");
    return AEGIS_OK;
}

static bool payload_wanted(uint64_t payloads, const frame *f) { return f->kind < 64 && (payloads >> f->kind & 1) == 1; }

static void note_entry(const frame *f, uint64_t payloads, uint64_t at, const uint8_t *bytes, aegis_record *record) {
    *record = (aegis_record){.index = f->index, .kind = f->kind, .flags = f->flags, .entry_length = f->entry_length,
                             .payload_length = f->payload_length, .entry_at = at + FRAME_HEADER,
                             .payload_at = payload_wanted(payloads, f) ? at + FRAME_HEADER + f->entry_length : AEGIS_NO_PAYLOAD};
    leaf_hash(frame_entry(bytes), f->entry_length, record->leaf);
}

/* `n` records in one read. */
static int read_dense(const log *l, const segment *seg, uint64_t first, unsigned n, const uint64_t *offsets, uint64_t payloads,
                      uint8_t *buffer, aegis_record *records) {
    size_t got = 0;
    TRY(l->s.vfs->read(l->s.vfs, seg->file, offsets[0], buffer, (size_t)(offsets[n] - offsets[0]), &got));
    for (unsigned i = 0; i < n; i++) {
        uint64_t at = offsets[i] - offsets[0], extent = offsets[i + 1] - offsets[i];
        frame f;
        TRY(parse_entry(l, seg, first + i, offsets[i], buffer + at, at < got ? got - at : 0, extent, &f));
        if (f.size > got - at) return damaged(l, seg, first + i, offsets[i], "entry");
        note_entry(&f, payloads, at, buffer + at, &records[i]);
    }
    return AEGIS_OK;
}

/* Up to *n records, each in a read of its own, one behind the other in the buffer; *n becomes how many fitted. */
static int read_sparse(const log *l, const segment *seg, uint64_t first, unsigned *n, const uint64_t *offsets, uint64_t payloads,
                       uint8_t *buffer, uint64_t capacity, aegis_record *records) {
    uint64_t used = 0;
    for (unsigned i = 0; i < *n; i++) {
        uint8_t guess[ENTRY_GUESS];
        uint64_t extent = offsets[i + 1] - offsets[i];
        size_t got = 0, more = 0;
        frame f;
        TRY(l->s.vfs->read(l->s.vfs, seg->file, offsets[i], guess, (size_t)min_u64(extent, sizeof guess), &got));
        TRY(parse_entry(l, seg, first + i, offsets[i], guess, got, extent, &f));
        uint64_t wanted = (uint64_t)FRAME_HEADER + f.entry_length + (payload_wanted(payloads, &f) ? f.payload_length : 0);
        if (wanted > capacity - used && i > 0) {
            *n = i;
            break;
        }
        if (wanted > capacity - used) {
            records[0] = (aegis_record){.index = first, .entry_length = f.entry_length, .payload_length = f.payload_length};
            return fail(AEGIS_E_SPACE, "record %llu needs a buffer of %llu bytes", (unsigned long long)first, (unsigned long long)wanted);
        }
        memcpy(buffer + used, guess, (size_t)min_u64(got, wanted));
        if (wanted > got)
            TRY(l->s.vfs->read(l->s.vfs, seg->file, offsets[i] + got, buffer + used + got, (size_t)(wanted - got), &more));
        if (got + more < wanted) return damaged(l, seg, first + i, offsets[i], "entry");
        note_entry(&f, payloads, used, buffer + used, &records[i]);
        used += wanted;
    }
    return AEGIS_OK;
}

/* Root of the 256 leaves of a tile. */
static void tile_root(const aegis_record *records, uint8_t root[HASH_SIZE]) {
    uint8_t nodes[TILE_WIDTH / 2][HASH_SIZE];
    unsigned width = TILE_WIDTH / 2;
    for (unsigned i = 0; i < width; i++) node_hash(records[2 * i].leaf, records[2 * i + 1].leaf, nodes[i]);
    for (; width > 1; width /= 2)
        for (unsigned i = 0; i < width / 2; i++) node_hash(nodes[2 * i], nodes[2 * i + 1], nodes[i]);
    memcpy(root, nodes[0], HASH_SIZE);
}

/* Proves what was read: one path where it is a whole tile, else, and where that fails, one for each leaf. */
static int prove_entries(log *l, const segment *seg, uint64_t first, unsigned n, const uint64_t *offsets, const aegis_record *records) {
    uint8_t root[HASH_SIZE];
    char name[SEGMENT_NAME_SIZE];
    int code = AEGIS_E_PROOF;
    bool whole = n == TILE_WIDTH;
    if (whole) tile_root(records, root);
    pthread_mutex_lock(&l->state);
    if (whole) code = tree_prove_tile(&l->tree, first / TILE_WIDTH, root);
    if (code == AEGIS_E_PROOF) {
        code = AEGIS_OK;
        for (unsigned i = 0; i < n && code == AEGIS_OK; i++) {
            code = tree_prove(&l->tree, first + i, records[i].leaf);
            if (code != AEGIS_E_CORRUPT) continue;
            segment_name(seg->number, name);
            fail_add_place(&(place){.tier = l->s.tier, .segment = seg->number, .offset = offsets[i], .path = name});
        }
    }
    pthread_mutex_unlock(&l->state);
    return code;
}

int log_read_entries(log *l, uint64_t first, uint32_t limit, uint64_t payloads, uint8_t *buffer, uint64_t capacity,
                     aegis_record *records, uint32_t *count) {
    uint64_t offsets[SEGMENT_LOCATE_MAX + 1];
    segment *seg = NULL;
    unsigned n = 0;
    if (limit == 0) return fail(AEGIS_E_ARGUMENT, "a read of no records");
    TRY(locate(l, first, (uint32_t)min_u64(limit, TILE_WIDTH - first % TILE_WIDTH), &seg, &n, offsets));
    uint64_t stretch = offsets[n] - offsets[0];
    bool dense = stretch <= capacity && stretch <= (uint64_t)n * DENSE_BYTES;
    int code = dense ? read_dense(l, seg, first, n, offsets, payloads, buffer, records)
                     : read_sparse(l, seg, first, &n, offsets, payloads, buffer, capacity, records);
    if (code == AEGIS_OK && !MUTANT(NO_ENTRY_PROOF)) code = prove_entries(l, seg, first, n, offsets, records);
    log_release_segment(l, seg);
    *count = n;
    return code;
}

/* Leaf hashes for the tree, from the entries alone. Called with the mutex held, by the tree's functions. */
static int read_leaves(void *context, uint64_t first, unsigned count, uint8_t (*out)[HASH_SIZE]) {
    log *l = context;
    vfs *v = l->s.vfs;
    while (count > 0) {
        uint64_t offsets[SEGMENT_LOCATE_MAX + 1];
        segment *seg = segment_of(l, first);
        CHECK(first >= seg->first && first < seg->first + seg->count);
        unsigned n = (unsigned)min_u64(seg->first + seg->count - first, min_u64(count, SEGMENT_LOCATE_MAX));
        TRY(segment_locate(&l->s, seg, first - seg->first, n, offsets));
        for (unsigned i = 0; i < n; i++) {
            uint8_t guess[ENTRY_GUESS];
            uint8_t *bytes = guess, *larger = NULL;
            size_t got = 0;
            frame f;
            uint64_t extent = offsets[i + 1] - offsets[i];
            const uint8_t *known = leaf_of_damaged(l, first + i);
            if (known != NULL) {
                memcpy(out[i], known, HASH_SIZE);
                continue;
            }
            TRY(v->read(v, seg->file, offsets[i], bytes, (size_t)min_u64(extent, ENTRY_GUESS), &got));
            if (frame_parse(bytes, got < FRAME_HEADER ? got : extent, &f) != AEGIS_OK || (f.index != first + i && !MUTANT(NO_LEAF_INDEX_TEST)))
                return damaged(l, seg, first + i, offsets[i], "frame header");
            size_t wanted = FRAME_HEADER + f.entry_length;
            int code = AEGIS_OK;
            if (wanted > got) {
                larger = malloc(wanted);
                if (larger == NULL) return fail(AEGIS_E_NOMEM, "no memory for an entry");
                code = v->read(v, seg->file, offsets[i], larger, wanted, &got);
                bytes = larger;
            }
            if (code == AEGIS_OK && got < wanted) code = damaged(l, seg, first + i, offsets[i], "entry");
            if (code == AEGIS_OK) leaf_hash(frame_entry(bytes), f.entry_length, out[i]);
            free(larger);
            TRY(code);
        }
        first += n;
        count -= n;
        out += n;
    }
    return AEGIS_OK;
}
