/* flips: small stores whose every byte is known, and what each may do to the answers when it is another one.
 *
 * What a file's bytes are for is written down here from docs/FORMAT.md before anything is flipped: a list of ranges, each with what
 * may become of a flipped bit in it. A trial opens the store, asks for every record and for the root at every size, verifies, and
 * says what happened; test_flips.c holds the one against the other.
 *
 *   harmless    everything is as before; allowed only where the format says that nobody reads the bytes
 *   repaired    everything is as before, since the bytes are a copy or a cache of what stands elsewhere
 *   record      one record is refused as damaged, by its tier, index, file and offset; all others and all roots are as before
 *   found       all records and roots are as before, and verifying names the file
 *   refused     the store does not open, and the error names tier and file
 *   tail        the last group of a killed store, which nothing vouches for, was cut off and saved, and the verdict says so
 *   withheld    a reader without the right to recover serves what is proven; the last group waits for a writer
 */
#ifndef AEGIS_TESTS_FLIPS_H
#define AEGIS_TESTS_FLIPS_H

#include "compactions.h"
#include "frame.h"

enum outcome { HARMLESS = 1, REPAIRED = 2, RECORD = 4, FOUND = 8, REFUSED = 16, TAIL = 32, WITHHELD = 64, WHOLE = HARMLESS | REPAIRED };
#define OUTCOMES 7
static const char *const OUTCOME_WORDS[OUTCOMES] = {"harmless", "repaired", "record", "found", "refused", "tail", "withheld"};

#define NO_RECORD UINT64_MAX
/* The sanitizers look at every path, not at every bit: with them, which cost tenfold, fewer are tried unless more are asked for. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define FLIP_STRIDE 8u
#else
#define FLIP_STRIDE 1u
#endif
#define FLIP_TIERS 2
#define FLIP_RECORDS 512
#define FLIP_SEGMENTS 16
#define FILES_MAX 48

/* A store as it was made: what it holds, and where. */
typedef struct flip_segment {
    uint64_t number, first, count, tail;
    bool sealed, scanned;    /* scanned: at open, all of it */
} flip_segment;

typedef struct flip_tier {
    uint32_t tier;
    uint64_t count;          /* records */
    uint64_t proven;         /* records that something believed vouches for: what lies behind is the last group of a killed store */
    uint32_t payload;
    unsigned segment_count;
    flip_segment segments[FLIP_SEGMENTS];
    uint64_t offsets[FLIP_RECORDS + 1];
    uint8_t roots[FLIP_RECORDS + 1][32];
    test_record records[FLIP_RECORDS];
} flip_tier;

enum store_end { CLOSED, KILLED, KILLED_IDLE };

typedef struct flip_plan {
    const char *name;
    unsigned tiers;
    uint64_t records;
    uint32_t payload;
    uint64_t segment_bytes;
    uint32_t align;
    enum store_end end;
    bool rewritten;          /* all sealed segments, as flip_rewrite says */
} flip_plan;

typedef struct flip_store {
    const flip_plan *plan;
    vfs_sim *sim;
    unsigned tier_count;
    flip_tier tiers[FLIP_TIERS];
    uint32_t flags[2];       /* of the verdict of the undamaged store, by mode: reading, appending */
    unsigned file_count;
    char files[FILES_MAX][64];
} flip_store;

/* Bytes [from, to) of a file, and what a flip in them may come to. */
typedef struct flip_range {
    uint64_t from, to;
    const char *what;
    unsigned allowed[2];     /* outcomes, by mode: reading, appending */
    bool structured;         /* not zeros and not a payload */
    uint64_t record;         /* the one that the bytes belong to */
    unsigned tier;           /* position in flip_store.tiers */
} flip_range;

#define RANGES_MAX 8192
typedef struct flip_layout {
    size_t count;
    flip_range ranges[RANGES_MAX];
} flip_layout;

/* ---- making one ------------------------------------------------------------------------------------------------------- */

static inline void flip_truth(flip_tier *t) {
    merkle_range range;
    merkle_clear(&range);
    merkle_root(&range, t->roots[0]);
    for (uint64_t i = 0; i < t->count; i++) {
        uint8_t leaf[32];
        make_record(t->tier, i, t->payload, &t->records[i]);
        aegis_leaf_hash(t->records[i].entry, t->records[i].entry_length, leaf);
        merkle_append(&range, leaf);
        merkle_root(&range, t->roots[i + 1]);
    }
}

static inline void flip_note_segments(flip_tier *t, aegis_store *store, const flip_plan *plan) {
    const log *l = store_log(store, t->tier);
    t->segment_count = (unsigned)l->segment_count;
    for (unsigned n = 0; n < t->segment_count; n++) {
        const segment *seg = l->segments[n];
        bool last = n + 1 == t->segment_count, sealed = seg->sealed || (!last && plan->end == CLOSED);
        t->segments[n] = (flip_segment){seg->number, seg->first, seg->count, seg->tail, sealed, !sealed && plan->end != CLOSED};
        uint64_t at = SEGMENT_FRAMES;
        for (uint64_t i = seg->first; i < seg->first + seg->count; i++) {
            t->offsets[i] = at;
            at += frame_size(t->records[i].entry_length, t->records[i].payload_length);
            if (i % 3 == 2 || i + 1 == t->count) at = align_up(at, plan->align);
        }
        EXPECT_EQ_U64(at, seg->tail);
    }
    t->offsets[t->count] = t->segments[t->segment_count - 1].tail;
}

static inline int flip_note_file(void *context, const char *path) {
    flip_store *f = context;
    if (path[strlen(path) - 1] == '/') return AEGIS_OK;
    EXPECT(f->file_count < FILES_MAX && strlen(path) < sizeof f->files[0]);
    strcpy(f->files[f->file_count++], path);
    return AEGIS_OK;
}

/* Every fifth record of the sealed segments becomes a gap and the one behind it gets another payload, as a compaction does that; what the
 * last record caused is followed. */
static inline void flip_rewrite(flip_tier *t, aegis_store *store) {
    EXPECT_OK(aegis_seal(store, t->tier));
    const log *l = store_log(store, t->tier);
    for (uint64_t position = 0; position + 1 < l->segment_count; position++) {
        aegis_change changes[FLIP_RECORDS];
        uint8_t payloads[4096];
        uint32_t count = 0, used = 0;
        const uint64_t end = l->segments[position]->first + l->segments[position]->count;
        for (uint64_t i = l->segments[position]->first; i < end; i++) {
            test_record *r = &t->records[i];
            if (i % 5 == 1) {
                r->payload_length = FRAME_CAUSE_SIZE;
                store_u64(r->payload, t->count - 1);
                changes[count++] = gap(i, t->count - 1);
            } else if (i % 5 == 2) {
                r->payload_length = (uint32_t)(i * 7 % 40);
                memset(r->payload, (int)i, r->payload_length);
                memcpy(payloads + used, r->payload, r->payload_length);
                changes[count++] = replacement(i, used, r->payload_length);
                used += r->payload_length;
            }
        }
        EXPECT_OK(compact_all(store, t->tier, position, changes, count, payloads, used));
    }
    EXPECT_OK(aegis_set_swept(store, t->tier, t->count));
}

/* Groups of three, so that some frames end one and some do not. The segments are smaller than the interface allows: the format has
 * no smallest one, and every bit is to be tried. */
static inline bool flip_make(const flip_plan *plan, uint64_t seed, const uint8_t id[16], flip_store *f) {
    static const uint32_t TIERS[FLIP_TIERS] = {AEGIS_TIER_SESSION, AEGIS_TIER_AUDIT};
    memset(f, 0, sizeof *f);
    f->plan = plan;
    f->sim = vfs_sim_new(seed);
    if (!EXPECT(f->sim != NULL) || !EXPECT_OK(vfs_sim_settle(f->sim, false))) return false;
    aegis_options o = test_options(AEGIS_MODE_APPEND);
    o.align = plan->align;
    o.store_id = id;
    aegis_store *store = open_with(vfs_sim_vfs(f->sim), &o, NULL);
    if (store == NULL) return false;
    store->manifest.segment_bytes = plan->segment_bytes;
    f->tier_count = plan->tiers;
    for (unsigned n = 0; n < plan->tiers; n++) {
        flip_tier *t = &f->tiers[n];
        *t = (flip_tier){.tier = TIERS[n], .count = plan->records, .proven = plan->records, .payload = plan->payload};
        for (uint64_t i = 0; i < t->count; i++) {
            EXPECT_OK(append_record(store, t->tier, i, plan->payload));
            if (i % 3 == 2 || i + 1 == t->count) EXPECT_OK(aegis_commit(store, t->tier, i));
            if (i % 3 == 2 && i + 4 <= t->count) upkeep_until_idle(store);
        }
        flip_truth(t);
        if (plan->rewritten) flip_rewrite(t, store);
    }
    if (plan->end == KILLED_IDLE) {
        uint64_t wait = 0;
        vfs_sim_set_clock(f->sim, 1000);
        upkeep_until_idle(store);
        EXPECT_OK(aegis_background(store, &wait));
    }
    for (unsigned n = 0; n < plan->tiers; n++) {
        flip_note_segments(&f->tiers[n], store, plan);
        if (plan->end == KILLED) f->tiers[n].proven = (plan->records - 1) / 3 * 3;
    }
    if (plan->end == CLOSED ? !EXPECT_OK(aegis_close(store)) : !EXPECT_OK(aegis_abandon(store))) return false;
    return EXPECT_OK(vfs_sim_settle(f->sim, false)) && EXPECT_OK(vfs_sim_files(f->sim, flip_note_file, f));
}

static inline void flip_end(flip_store *f) { vfs_sim_free(f->sim); }

/* ---- what the bytes are for ------------------------------------------------------------------------------------------- */

static inline flip_range *flip_add(flip_layout *l, uint64_t length, const char *what, unsigned allowed, bool structured) {
    flip_range *r = &l->ranges[l->count];
    uint64_t from = l->count > 0 ? r[-1].to : 0;
    if (length == 0 || !EXPECT(l->count < RANGES_MAX)) return r;
    *r = (flip_range){from, from + length, what, {allowed, allowed}, structured, NO_RECORD, 0};
    l->count++;
    return r;
}

static inline void flip_frame(const flip_store *f, unsigned tier, const flip_segment *seg, uint64_t i, flip_layout *l) {
    const flip_tier *t = &f->tiers[tier];
    const test_record *r = &t->records[i];
    uint64_t used = FRAME_HEADER + r->entry_length + r->payload_length, size = frame_size(r->entry_length, r->payload_length);
    const struct { uint64_t length; const char *what; bool linked, structured; } fields[] = {
        {24, "frame header", false, true}, {24, "watermark and link", true, true}, {r->entry_length, "entry", false, true},
        {r->payload_length, "payload", false, false}, {size - used, "frame padding", false, true},
    };
    for (size_t n = 0; n < sizeof fields / sizeof fields[0]; n++) {
        if (fields[n].length == 0) continue;
        flip_range *made = flip_add(l, fields[n].length, fields[n].what, RECORD, fields[n].structured);
        made->record = i;
        made->tier = tier;
        /* Whole records whose link is gone are served, and verifying says it. A watermark above the index is no frame's. */
        if (fields[n].linked) made->allowed[0] = made->allowed[1] = FOUND | RECORD;
        /* Where the last record of a full segment ends, only its own length says while there is no footer. */
        if (n == 0 && seg->scanned && i + 1 == seg->first + seg->count) made->allowed[0] = made->allowed[1] = RECORD | REFUSED;
        /* What a record's leaf was a link says, or a tile; in a rewritten segment nobody looks at links. */
        if (seg->number >> 32 != 0 && i >= t->count / TILE_WIDTH * TILE_WIDTH && (n == 0 || n == 2)) made->allowed[0] = made->allowed[1] = RECORD | REFUSED;
        if (seg->scanned && i >= t->proven) {
            made->allowed[0] = WITHHELD;
            made->allowed[1] = TAIL;
        }
    }
    /* What lies between a group and the next block belongs to no frame. */
    flip_add(l, (i + 1 < seg->first + seg->count ? t->offsets[i + 1] : seg->tail) - t->offsets[i] - size, "between groups", HARMLESS, false);
}

static inline void flip_segment_layout(const flip_store *f, unsigned tier, unsigned n, uint64_t size, flip_layout *l) {
    const flip_tier *t = &f->tiers[tier];
    const flip_segment *seg = &t->segments[n];
    bool active = n + 1 == t->segment_count;
    size_t before = l->count;
    flip_add(l, 512, "segment header", REFUSED, true);
    for (unsigned slot = 0; slot < SEGMENT_SLOT_COUNT; slot++) {
        flip_add(l, SEGMENT_SLOT_AT(slot) - l->ranges[l->count - 1].to, "gap", HARMLESS, false);
        /* Of a segment that is not the active one nobody asks for a watermark. */
        flip_range *made = flip_add(l, 88, "watermark slot", active ? REPAIRED : HARMLESS, true);
        if (active && f->plan->end == KILLED_IDLE) made->allowed[0] = REPAIRED | WITHHELD;
        flip_add(l, 8, "slot, reserved", HARMLESS, true);
    }
    flip_add(l, SEGMENT_FRAMES - l->ranges[l->count - 1].to, "gap", HARMLESS, false);
    for (uint64_t i = seg->first; i < seg->first + seg->count; i++) flip_frame(f, tier, seg, i, l);
    if (seg->sealed) {
        flip_add(l, seg->count * 4, "offset table", RECORD | FOUND | REPAIRED, true);
        flip_add(l, (uint64_t)merkle_peak_count(seg->first + seg->count) * 32, "frontier", REPAIRED, true);
        flip_add(l, 144, "footer", REPAIRED, true);
        /* The engine has no signature code: whoever has, checks it (tests/test_verification.py). */
        flip_add(l, 64, "footer signature", HARMLESS, true);
        flip_add(l, 16, "footer", REPAIRED, true);
        flip_add(l, 28, "footer, reserved", HARMLESS, true);
        flip_add(l, 4, "footer", REPAIRED, true);
    } else {
        /* A writer cuts off what stands behind the frames of the active segment and saves it. */
        flip_add(l, size - seg->tail, "pre-zeroed space", active ? REPAIRED : HARMLESS, false);
    }
    EXPECT_EQ_U64(l->ranges[l->count - 1].to, size);
    for (size_t i = before; i < l->count; i++) l->ranges[i].tier = tier;
}

/* The ranges of a file, all of it. */
static inline void flip_describe(const flip_store *f, const char *path, flip_layout *l) {
    uint64_t size = 0;
    l->count = 0;
    EXPECT_OK(vfs_sim_file_size(f->sim, path, &size));
    if (strcmp(path, "LOCK") == 0) flip_add(l, size, "LOCK", HARMLESS, true);
    else if (strcmp(path, "MANIFEST.new") == 0) flip_add(l, size, "space for the next manifest", HARMLESS, false);
    else if (strcmp(path, "MANIFEST") == 0) flip_add(l, size, "manifest", REPAIRED, true);
    else if (strstr(path, "/tiles/") != NULL) flip_add(l, size, "tile", REPAIRED, true);
    else if (strstr(path, "/outline") != NULL) flip_add(l, size, "outline", REPAIRED, true);
    else if (strstr(path, ".cut") != NULL) flip_add(l, size, "cut tail", HARMLESS, false);
    for (unsigned tier = 0; tier < f->tier_count; tier++) {
        for (unsigned n = 0; n < f->tiers[tier].segment_count; n++) {
            char own[64], name[SEGMENT_NAME_SIZE];
            segment_name(f->tiers[tier].segments[n].number, name);
            snprintf(own, sizeof own, "%s/%s", tier_name(f->tiers[tier].tier), name);
            if (strcmp(own, path) == 0) flip_segment_layout(f, tier, n, size, l);
        }
    }
    /* One more than the manifest lists may stand there, prepared. A writer removes it, unless something stands where a record would. */
    if (l->count == 0 && strstr(path, ".seg") != NULL) {
        flip_add(l, min_u64(size, SEGMENT_FRAMES), "prepared segment", HARMLESS, false);
        flip_add(l, FRAME_HEADER, "its first record", HARMLESS, false)->allowed[1] = REFUSED;
        flip_add(l, size - l->ranges[l->count - 1].to, "prepared segment", HARMLESS, false);
    }
    if (!EXPECT(l->count > 0)) printf("    nobody knows what %s is for\n", path);
}

/* ---- asking it everything --------------------------------------------------------------------------------------------- */

/* More calls than any open, read and verification of such a store needs. */
#define CALLS_MAX 60000

typedef struct answer {
    int code;                /* of opening */
    aegis_error error;       /* … and of the first record that was refused */
    uint32_t flags;          /* of all tiers */
    uint64_t bad_records;
    uint64_t sizes[FLIP_TIERS];
    uint64_t findings;
    aegis_error finding;     /* the first one */
    char wrong[160];         /* what nothing allows; empty: nothing */
} answer;

static inline void flip_wrong(answer *a, const char *what, uint64_t n) {
    if (a->wrong[0] == '\0') snprintf(a->wrong, sizeof a->wrong, "%.130s %" PRIu64, what, n);
}

static inline bool flip_same(const test_record *r, const aegis_record *found, const uint8_t *buffer) {
    return found->entry_length == r->entry_length && found->payload_length == r->payload_length &&
           memcmp(buffer + found->entry_at, r->entry, r->entry_length) == 0 &&
           memcmp(buffer + found->payload_at, r->payload, r->payload_length) == 0;
}

static inline void flip_read(const flip_tier *t, aegis_store *store, uint64_t size, answer *a) {
    static uint8_t buffer[1 << 17];
    static aegis_record found[FLIP_RECORDS];
    uint64_t end = size;
    for (uint64_t i = 0; i < size;) {
        uint32_t count = 0;
        int code = aegis_read_range(store, t->tier, i, (uint32_t)(end - i), buffer, sizeof buffer, found, &count);
        if (code == AEGIS_OK) {
            for (uint32_t k = 0; k < count; k++)
                if (!flip_same(&t->records[i + k], &found[k], buffer)) flip_wrong(a, "another record is served as", i + k);
            i += count;
            if (i == end) end = size;
            continue;
        }
        aegis_error error;
        aegis_last_error(&error);
        if (code != AEGIS_E_CORRUPT) flip_wrong(a, "not refused as damage:", i);
        if (end > i + 1) {
            /* One of several: up to the one that it names, then that one alone. */
            end = error.first > i && error.first < end ? error.first : i + 1;
            continue;
        }
        if (a->bad_records++ == 0) a->error = error;
        if (error.first != i || error.end != i + 1 || error.tier != t->tier) flip_wrong(a, "the error does not name record", i);
        i++;
        end = size;
    }
}

/* The entries alone, as who indexes a log reads them. */
static inline void flip_read_entries(const flip_tier *t, aegis_store *store, uint64_t size, answer *a) {
    static uint8_t buffer[1 << 17];
    static aegis_record found[AEGIS_ENTRIES_MAX];
    for (uint64_t i = 0, limit = size; i < size; limit = size) {
        uint32_t count = 0;
        aegis_error error;
        int code = aegis_read_entries(store, t->tier, i, (uint32_t)(limit - i), 0, buffer, sizeof buffer, found, &count);
        if (code != AEGIS_OK) {
            aegis_last_error(&error);
            if (code != AEGIS_E_CORRUPT || error.path[0] == '\0' || error.tier != t->tier) flip_wrong(a, "entries refused without the name:", i);
            count = 0;
            uint64_t bad = error.first >= i && error.first < size ? error.first : i;
            if (bad > i) code = aegis_read_entries(store, t->tier, i, (uint32_t)(bad - i), 0, buffer, sizeof buffer, found, &count);
            if (bad > i && code != AEGIS_OK) flip_wrong(a, "an entry is refused with another one:", i);
        }
        for (uint32_t k = 0; k < count; k++) {
            const test_record *r = &t->records[i + k];
            if (found[k].entry_length != r->entry_length || memcmp(buffer + found[k].entry_at, r->entry, r->entry_length) != 0)
                flip_wrong(a, "another entry is served as", i + k);
        }
        i += count > 0 ? count : 1;
    }
}

static inline void flip_verify(const flip_tier *t, aegis_store *store, answer *a) {
    aegis_verifier *verifier = NULL;
    aegis_progress progress = {0};
    if (aegis_verify_start(store, t->tier, &verifier) != AEGIS_OK) {
        flip_wrong(a, "cannot be verified: tier", t->tier);
        return;
    }
    while (!progress.done && a->findings < 1000) {
        int code = aegis_verify_step(verifier, 1 << 20, &progress);
        if (code == AEGIS_OK) continue;
        if (code != AEGIS_E_CORRUPT) flip_wrong(a, "verifying finds what is no damage: tier", t->tier);
        if (a->findings++ == 0) aegis_last_error(&a->finding);
    }
    aegis_verify_end(verifier);
    if (!progress.done) flip_wrong(a, "verifying has no end: tier", t->tier);
}

/* Everything there is to ask an open store. */
static inline void flip_ask(const flip_store *f, aegis_store *store, bool every_root, answer *a) {
    for (unsigned n = 0; n < f->tier_count; n++) {
        const flip_tier *t = &f->tiers[n];
        uint64_t size = UINT64_MAX;
        if (aegis_size(store, t->tier, &size) != AEGIS_OK || size > t->count) {
            flip_wrong(a, "a size that cannot be: tier", t->tier);
            continue;
        }
        a->sizes[n] = size;
        flip_read(t, store, size, a);
        if (every_root) flip_read_entries(t, store, size, a);
        for (uint64_t at = every_root ? 0 : size; at <= size; at++) {
            aegis_head head;
            if (aegis_head_at(store, t->tier, at, &head) != AEGIS_OK) flip_wrong(a, "no root at size", at);
            else if (memcmp(head.root, t->roots[at], 32) != 0) flip_wrong(a, "another root at size", at);
        }
        flip_verify(t, store, a);
    }
}

static inline void flip_open(const flip_store *f, vfs_sim *sim, bool appending, bool every_root, answer *a, aegis_store **store) {
    aegis_options o = test_options(appending ? AEGIS_MODE_WRITE : AEGIS_MODE_READ);
    aegis_report report;
    memset(a, 0, sizeof *a);
    *store = NULL;
    o.cache_bytes = 1;    /* as few tiles as there can be: a trial is short, and clearing memory would be most of it */
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = CALLS_MAX, .forever = true, .code = AEGIS_E_BUG});
    a->code = store_open(vfs_sim_vfs(sim), "store", &o, store, &report);
    if (a->code != AEGIS_OK) {
        aegis_last_error(&a->error);
        return;
    }
    for (uint32_t i = 0; i < report.tier_count; i++) a->flags |= report.tiers[i].flags;
    flip_ask(f, *store, every_root, a);
}

/* Opens what stands on `sim`, asks it everything and gives it up; a writer closes it, and what it left is opened `again`. */
static inline void flip_try(const flip_store *f, vfs_sim *sim, bool appending, bool again, answer *a) {
    aegis_store *store = NULL;
    flip_open(f, sim, appending, !appending || again, a, &store);
    if (store != NULL && appending && again) {
        answer second;
        if (aegis_close(store) != AEGIS_OK) flip_wrong(a, "it does not close", 0);
        flip_open(f, sim, false, true, &second, &store);
        if (second.code != AEGIS_OK) flip_wrong(a, "it does not open again: code", (uint64_t)-second.code);
        if (second.wrong[0] != '\0') flip_wrong(a, second.wrong, 2);
        if (second.bad_records + second.findings > a->bad_records + a->findings) flip_wrong(a, "opened again there is more damage:", second.findings);
        if (second.flags & AEGIS_VERDICT_MANIFEST_COPY) flip_wrong(a, "the manifest was not written again", 0);
    }
    if (store != NULL && aegis_abandon(store) != AEGIS_OK) flip_wrong(a, "it cannot be given up", 0);
    if (vfs_sim_fault_hits(sim) > 0) flip_wrong(a, "it does not come to an end: calls", vfs_sim_calls(sim));
    if (vfs_sim_open_count(sim) != 0) flip_wrong(a, "handles are left:", vfs_sim_open_count(sim));
    vfs_sim_fail(sim, NULL);
}

/* ---- what it came to -------------------------------------------------------------------------------------------------- */

static inline bool flip_names(const aegis_error *e, const flip_store *f, const char *path, const flip_range *r) {
    const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    return strcmp(e->path, name) == 0 && (name == path || e->tier == f->tiers[r->tier].tier);
}

/* The outcome of a trial with a flip in `r` of `path`, or 0 with the reason in a->wrong. */
static inline unsigned flip_judge(const flip_store *f, const char *path, const flip_range *r, bool appending, answer *a) {
    unsigned allowed = r->allowed[appending];
    const flip_tier *t = &f->tiers[r->tier];
    if (a->wrong[0] != '\0') return 0;
    if (a->code != AEGIS_OK) {
        if (a->code != AEGIS_E_CORRUPT) flip_wrong(a, "refused as something else: code", (uint64_t)-a->code);
        else if (!flip_names(&a->error, f, path, r)) flip_wrong(a, "refused without the name: segment", a->error.segment);
        else if (r->record != NO_RECORD && (a->error.first > r->record || a->error.end <= r->record))
            flip_wrong(a, "refused, but not the record:", a->error.first);
        return a->wrong[0] != '\0' ? 0 : REFUSED;
    }
    for (unsigned n = 0; n < f->tier_count; n++) {
        uint64_t expected = appending ? f->tiers[n].count : f->tiers[n].proven;
        if (a->sizes[n] == expected) continue;
        /* A reader has what is still proven: the group before the last one may have been vouched for by this very frame. */
        if (n == r->tier && !appending && (allowed & WITHHELD) && a->sizes[n] <= expected &&
            a->sizes[n] >= t->segments[t->segment_count - 1].first) return WITHHELD;
        if (n == r->tier && a->sizes[n] == (t->count - 1) / 3 * 3 && f->plan->end != CLOSED && (allowed & (TAIL | WITHHELD))) {
            if (!appending) return WITHHELD;
            if ((a->flags & AEGIS_VERDICT_TAIL_CUT) && (a->flags & AEGIS_VERDICT_TAIL_AMBIGUOUS)) return TAIL;
        }
        flip_wrong(a, "records are gone: size", a->sizes[n]);
        return 0;
    }
    if (a->bad_records > 0) {
        bool named = flip_names(&a->error, f, path, r);
        if (r->record != NO_RECORD) named = named && a->error.first == r->record && a->error.offset == t->offsets[r->record];
        if (!named) flip_wrong(a, "the error is without the name: record", a->error.first);
        else if (r->record != NO_RECORD && a->bad_records > 1) flip_wrong(a, "other records are refused too:", a->bad_records);
        else if (a->findings == 0 || !flip_names(&a->finding, f, path, r)) flip_wrong(a, "verifying does not name it:", a->findings);
        return a->wrong[0] != '\0' ? 0 : RECORD;
    }
    if (a->findings > 0) {
        if (!flip_names(&a->finding, f, path, r)) flip_wrong(a, "the finding is without the name:", a->finding.first);
        return a->wrong[0] != '\0' ? 0 : FOUND;
    }
    if (allowed & REPAIRED) return REPAIRED;
    if (!appending && (allowed & WITHHELD)) return WITHHELD;
    return HARMLESS;
}

#endif
