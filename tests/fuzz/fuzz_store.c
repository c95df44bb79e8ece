/* fuzz_store: a whole store, to which a stranger has done something.
 *
 *   mode 1 | how 1 | with HOW_KEEPS: count 1, as often: what 1 | a 2 | b 1 | then, up to 32 times: what 1 | file 1 | offset 4 | length 1 | bytes …
 *
 * The store was written by the engine: 330 records in three segments of the session tier, some in the audit tier, tiles, an outline; with
 * HOW_REWRITTEN one that has been compacted: every seventh record of both sealed segments is a gap, the one behind it has another payload.
 * What is done to a file: 0 bytes written at an offset, 1 the same counted from the end, 2 the same from the start of a frame (offset: which
 * frame, and where in it), 3 cut off, 4 removed, 5 replaced by another file, 6 one bit flipped. Then checksums and codes are made
 * right where the mode asks for it, and the store is opened (`how`: 0 for reading, 1 for writing; 2 without an identity to compare
 * with; MODE_STRANGER: without the secret), read, verified and closed. Between, who writes keeps the store (HOW_KEEPS): 0 appends, 1 rotates, 2
 * seals, 3 compacts a segment (a: which, and which of its records; b: how many, KEEP_ODD_CAUSE: with a cause that authorises nothing),
 * 4 says up to where it has swept, 5 reads all, 6 closes and opens.
 *
 * Demanded: no answer is AEGIS_E_BUG; nothing stays open; for who has the secret, as long as the stranger has not, every entry that is
 * served is the one that was written, and so is its payload where its checksum was not made right; entries, ranges and single records
 * agree; a root is that of the entries; what is appended is there after another open.
 */
#include "manifest.h"
#include "mend.h"
#include "store.h"

FUZZ_WITHOUT(NO_READ_PROOF)

enum { RECORDS = 330, AUDIT_RECORDS = 5, CHANGES = 32, FILES_MAX = 16, FRAMES_MAX = 400, HOW_WRITE = 1, HOW_NO_ID = 2, HOW_KEEPS = 4, HOW_REWRITTEN = 8 };
enum { KEPT_MAX = 8, KEEP_ODD_CAUSE = 128, CHANGED_MAX = 16, APPENDED_MAX = 2 * KEPT_MAX };
enum { BUFFER = 1 << 20, BATCH = 64, STEP = 7 };    /* so many at once; past a failure so many are left out */

typedef struct known_record {
    uint8_t entry[64], payload[600];
    uint32_t entry_length, payload_length;
} known_record;

/* What became of a record's payload. */
typedef struct fate {
    uint64_t cause;          /* 0: it is no gap */
    bool replaced;
} fate;

typedef struct made_store {
    vfs_sim *sim;
    char files[FILES_MAX][64];
    unsigned file_count;
    uint32_t frames[FILES_MAX][FRAMES_MAX];
    unsigned frame_counts[FILES_MAX];
    fate fates[RECORDS + APPENDED_MAX];
} made_store;

static made_store stores[2];       /* as written, rewritten */
static const made_store *sound;    /* the one of this run */
static fate fates[RECORDS + APPENDED_MAX];
static uint64_t sizes_before[AEGIS_TIERS + 1];
static uint8_t buffer[BUFFER], other_buffer[BUFFER];

/* ---- the store ----------------------------------------------------------------------------------------------------------- */

/* Its index, then what follows from it. */
static void record_of(uint32_t tier, uint64_t i, known_record *r) {
    r->entry_length = 8 + (uint32_t)(i * 7 % 56);
    r->payload_length = i % 5 == 0 ? 0 : (uint32_t)(i * 31 % 600);
    for (uint32_t k = 0; k < r->entry_length; k++) r->entry[k] = (uint8_t)(i + tier + 3 * k);
    for (uint32_t k = 0; k < r->payload_length; k++) r->payload[k] = (uint8_t)(i * 5 + k);
    store_u64(r->entry, i);
}

static aegis_options options_for(uint32_t mode, bool secret, bool id) {
    return (aegis_options){.struct_size = sizeof(aegis_options), .mode = mode, .flags = AEGIS_OPEN_NO_THREAD,
                           .secret = secret ? FUZZ_SECRET : NULL, .store_id = id ? FUZZ_ID : NULL, .name = "fuzz",
                           .meta = (const uint8_t *)"meta", .meta_length = 4, .segment_bytes = 65536, .cache_bytes = 1};
}

static int append(aegis_store *store, uint32_t tier, uint64_t i) {
    known_record r;
    uint64_t index = 0;
    record_of(tier, i, &r);
    TRY(aegis_append(store, tier, 2, r.entry, r.entry_length, r.payload, r.payload_length, &index));
    return aegis_commit(store, tier, index);
}

/* The payload that a compaction gives to record `i`. */
static void replace_payload(uint64_t i, known_record *r) {
    r->payload_length = (uint32_t)(i % 90);
    memset(r->payload, (int)(i ^ 0x5a), r->payload_length);
}

/* `count` records from the segment's `from`th on, every seventh, become gaps by `cause`, and those behind them get another payload. */
static int compact(aegis_store *store, uint64_t position, uint64_t from, unsigned count, uint64_t cause) {
    static uint8_t payloads[CHANGED_MAX * 90];
    aegis_change changes[2 * CHANGED_MAX];
    aegis_footer f = {.first = 0};
    aegis_compactor *compactor = NULL;
    aegis_progress progress = {0};
    uint32_t used = 0, n = 0;
    TRY(aegis_segment(store, FUZZ_TIER, position, &f));
    for (uint64_t i = f.first + from % (f.count + 1); i < f.first + f.count && n < 2 * count; i += 7) {
        known_record r;
        changes[n++] = (aegis_change){.index = i, .cause = cause};
        if (i + 1 >= f.first + f.count) break;
        replace_payload(i + 1, &r);
        memcpy(payloads + used, r.payload, r.payload_length);
        changes[n++] = (aegis_change){.index = i + 1, .cause = AEGIS_NO_CAUSE, .payload_at = used, .payload_length = r.payload_length};
        used += r.payload_length;
    }
    int code = aegis_compact_start(store, FUZZ_TIER, position, changes, n, payloads, used, &compactor);
    while (code == AEGIS_OK && !progress.done) code = aegis_compact_step(compactor, 1 << 14, &progress);
    aegis_compact_end(compactor);
    for (uint32_t k = 0; code == AEGIS_OK && k < n; k++) {
        bool replaced = changes[k].cause == AEGIS_NO_CAUSE;
        if (changes[k].index < RECORDS + APPENDED_MAX) fates[changes[k].index] = (fate){replaced ? 0 : changes[k].cause, replaced};
    }
    return code;
}

static int note_file(void *context, const char *name) {
    made_store *made = context;
    size_t length = strlen(name);
    if (name[length - 1] == '/' || strcmp(name, LOCK_NAME) == 0) return AEGIS_OK;
    DEMAND(made->file_count < FILES_MAX && length < sizeof made->files[0]);
    memcpy(made->files[made->file_count++], name, length + 1);
    return AEGIS_OK;
}

static bool is_segment(const char *file) { return strstr(file, ".seg") != NULL; }

static size_t whole_file(vfs_sim *sim, const char *file, uint8_t *to) {
    size_t got = 0;
    if (vfs_sim_get(sim, file, 0, to, BUFFER, &got) != AEGIS_OK) return 0;
    return got;
}

static void make_store(made_store *made, bool rewritten) {
    aegis_store *store = NULL;
    const aegis_options o = options_for(AEGIS_MODE_APPEND, true, true);
    memset(fates, 0, sizeof fates);
    made->sim = vfs_sim_new(1);
    DEMAND(made->sim != NULL && store_open(vfs_sim_vfs(made->sim), "store", &o, &store, NULL) == AEGIS_OK);
    for (uint64_t i = 0; i < RECORDS; i++) DEMAND(append(store, FUZZ_TIER, i) == AEGIS_OK);
    for (uint64_t i = 0; i < AUDIT_RECORDS; i++) DEMAND(append(store, AEGIS_TIER_AUDIT, i) == AEGIS_OK);
    if (rewritten) {
        DEMAND(aegis_seal(store, FUZZ_TIER) == AEGIS_OK);
        for (uint64_t position = 0; position < 2; position++) DEMAND(compact(store, position, 1, CHANGED_MAX, RECORDS - 1) == AEGIS_OK);
        DEMAND(aegis_set_swept(store, FUZZ_TIER, RECORDS) == AEGIS_OK);
    }
    memcpy(made->fates, fates, sizeof fates);
    DEMAND(store_close(store) == AEGIS_OK && vfs_sim_settle(made->sim, false) == AEGIS_OK);
    DEMAND(vfs_sim_files(made->sim, note_file, made) == AEGIS_OK && made->file_count < FILES_MAX);
    memcpy(made->files[made->file_count++], LOCK_NAME, sizeof LOCK_NAME);    /* the last one: what is done to it matters least */
    for (unsigned n = 0; n < made->file_count; n++) {
        size_t length = is_segment(made->files[n]) ? whole_file(made->sim, made->files[n], buffer) : 0;
        for (size_t at = SEGMENT_FRAMES; at + FRAME_HEADER <= length && made->frame_counts[n] < FRAMES_MAX; at += 8)
            if (frame_may_start(buffer + at)) made->frames[n][made->frame_counts[n]++] = (uint32_t)at;
    }
}

static void make_stores(void) {
    for (unsigned n = 0; n < 2; n++) make_store(&stores[n], n == 1);
    sizes_before[FUZZ_TIER] = RECORDS;
    sizes_before[AEGIS_TIER_AUDIT] = AUDIT_RECORDS;
}

/* ---- what the stranger does ------------------------------------------------------------------------------------------------ */

static void change(vfs_sim *sim, input *in) {
    unsigned what = take_u8(in) % 7, n = take_u8(in) % sound->file_count;
    uint32_t offset = take_u32(in);
    uint8_t length = take_u8(in), bytes[256] = {0};
    const char *file = sound->files[n];
    uint64_t size = 0;
    size_t got = 0;
    if (vfs_sim_file_size(sim, file, &size) != AEGIS_OK || size == 0) return;
    if (what == 1) offset = (uint32_t)(size - 1 - offset % size);
    if (what == 2) offset = sound->frame_counts[n] == 0 ? offset : sound->frames[n][(offset & 0xffff) % sound->frame_counts[n]] + (offset >> 16) % 600;
    if (what != 3) offset %= (uint32_t)size;
    if (what < 3) {
        take(in, bytes, length);
        DEMAND(vfs_sim_patch(sim, file, offset, bytes, length) == AEGIS_OK);
    } else if (what == 3) {
        DEMAND(vfs_sim_resize(sim, file, offset % (size + 4096)) == AEGIS_OK);
    } else if (what == 4) {
        DEMAND(vfs_sim_remove(sim, file) == AEGIS_OK);
    } else if (what == 5) {
        DEMAND(vfs_sim_copy_file(sound->sim, sound->files[length % sound->file_count], sim, file) == AEGIS_OK);
    } else {
        DEMAND(vfs_sim_get(sim, file, offset, bytes, 1, &got) == AEGIS_OK);
        bytes[0] ^= (uint8_t)(1u << length % 8);
        DEMAND(vfs_sim_patch(sim, file, offset, bytes, 1) == AEGIS_OK);
    }
}

static void mend_file(vfs_sim *sim, unsigned mode, const char *file) {
    scope s = fuzz_scope(NULL, mode);
    size_t length = whole_file(sim, file, buffer), other = 0;
    if (strncmp(file, "audit", 5) == 0) s.tier = AEGIS_TIER_AUDIT;
    if (is_segment(file)) {
        mend_segment(&s, mode, buffer, length);
    } else if (strcmp(file, MANIFEST_NAME) == 0) {
        for (unsigned copy = 0; copy < 2 && length >= 32; copy++) {
            uint8_t *at = buffer + copy * (length / 2);
            if (load_u32(at + 12) <= length / 2) mend_manifest(&s, mode, at, load_u32(at + 12));
        }
    } else if (strcmp(file, "session/outline") == 0) {
        other = whole_file(sim, "session/00000002.seg", other_buffer);
        if (other >= 64) mend_outline(&s, mode, other_buffer + 48, buffer, length);
    } else {
        return;
    }
    DEMAND(vfs_sim_patch(sim, file, 0, buffer, length) == AEGIS_OK);
}

/* ---- what the owner sees --------------------------------------------------------------------------------------------------- */

static bool answered(int code) {
    DEMAND(code == AEGIS_OK || code == AEGIS_E_CORRUPT || code == AEGIS_E_FOREIGN || code == AEGIS_E_UNAUTHENTICATED ||
           code == AEGIS_E_VERSION || code == AEGIS_E_SPACE || code == AEGIS_E_RANGE);
    return code == AEGIS_OK;
}

/* `honest`: only who has the secret could have written what the reader believes. */
static void demand_written(unsigned mode, bool honest, uint32_t tier, const aegis_record *r, const uint8_t *bytes, bool payload) {
    known_record known;
    uint8_t leaf[HASH_SIZE];
    leaf_hash(bytes + r->entry_at, r->entry_length, leaf);
    DEMAND(memcmp(leaf, r->leaf, HASH_SIZE) == 0);
    if (!honest) return;
    record_of(tier, r->index, &known);
    DEMAND(r->entry_length == known.entry_length && memcmp(bytes + r->entry_at, known.entry, known.entry_length) == 0);
    if (!payload || (mode & MODE_SUMS)) return;
    const fate *was = tier == FUZZ_TIER ? &fates[r->index] : &(fate){.cause = 0};
    DEMAND(((r->flags & AEGIS_RECORD_GAP) != 0) == (was->cause != 0));
    if (was->cause != 0) {
        DEMAND(r->payload_length == FRAME_CAUSE_SIZE && load_u64(bytes + r->payload_at) == was->cause);
        return;
    }
    if (was->replaced) replace_payload(r->index, &known);
    DEMAND(r->payload_length == known.payload_length && memcmp(bytes + r->payload_at, known.payload, known.payload_length) == 0);
}

static bool verify_all(aegis_store *store, uint32_t tier, uint64_t size, uint8_t root[HASH_SIZE]) {
    aegis_verifier *verifier = NULL;
    aegis_progress progress = {0};
    bool sound_log = true;
    DEMAND(aegis_verify_start(store, tier, &verifier) == AEGIS_OK);
    for (unsigned findings = 0; !progress.done; findings++) {
        /* Each finding is about a record or a segment, so there is an end to them. */
        DEMAND(findings < 4 * (size + 64));
        sound_log &= answered(aegis_verify_step(verifier, 1 << 20, &progress));
    }
    aegis_verify_end(verifier);
    memcpy(root, progress.root, HASH_SIZE);
    return sound_log;
}

static void read_all(aegis_store *store, uint32_t tier, unsigned mode, bool honest) {
    static aegis_record records[BATCH];
    uint64_t size = 0;
    uint32_t count = 0;
    aegis_record one;
    uint8_t root[HASH_SIZE];
    merkle_range range;
    aegis_head head;
    merkle_clear(&range);
    if (!answered(aegis_size(store, tier, &size))) return;
    for (uint64_t i = 0; i < size && i < 1000;) {
        if (answered(aegis_read_entries(store, tier, i, BATCH, UINT64_MAX, buffer, sizeof buffer, records, &count))) {
            DEMAND(count > 0 && count <= BATCH);
            for (uint32_t k = 0; k < count; k++) {
                DEMAND(records[k].index == i + k);
                demand_written(mode, honest, tier, &records[k], buffer, false);
                if (range.size == i + k) merkle_append(&range, records[k].leaf);
            }
            i += count;
        } else {
            i += STEP;
        }
    }
    for (uint64_t i = 0; i < size && i < 1000;) {
        if (answered(aegis_read_range(store, tier, i, BATCH, buffer, sizeof buffer, records, &count))) {
            DEMAND(count > 0);
            for (uint32_t k = 0; k < count; k++) demand_written(mode, honest, tier, &records[k], buffer, true);
            DEMAND(aegis_read(store, tier, i, other_buffer, sizeof other_buffer, &one) == AEGIS_OK && one.index == i);
            DEMAND(memcmp(one.leaf, records[0].leaf, HASH_SIZE) == 0);
            i += count;
        } else {
            if (answered(aegis_read(store, tier, i, other_buffer, sizeof other_buffer, &one))) demand_written(mode, honest, tier, &one, other_buffer, true);
            i += STEP;
        }
    }
    bool all_read = range.size == size;
    if (answered(aegis_head_at(store, tier, size, &head)) && all_read) {
        merkle_root(&range, root);
        DEMAND(memcmp(head.root, root, HASH_SIZE) == 0);
    }
    if (verify_all(store, tier, size, root) && all_read && size < 1000) DEMAND(memcmp(head.root, root, HASH_SIZE) == 0);
}

/* One thing that its owner does to a store that is open for writing. False: it is not open any more. */
static bool keep(vfs_sim *sim, aegis_store **store, input *in, unsigned mode, bool honest) {
    const aegis_options again = options_for(AEGIS_MODE_WRITE, true, true);
    unsigned what = take_u8(in) % 7;
    uint64_t a = take_u16(in), size = 0;
    unsigned b = take_u8(in);
    aegis_tier_stats stats = {.segments = 0};
    if (!answered(aegis_size(*store, FUZZ_TIER, &size))) return true;
    int code = AEGIS_OK;
    if (what == 0) {
        code = append(*store, FUZZ_TIER, size);
    } else if (what == 1) {
        code = aegis_rotate(*store, FUZZ_TIER);
    } else if (what == 2) {
        code = aegis_seal(*store, FUZZ_TIER);
    } else if (what == 3) {
        bool odd = b & KEEP_ODD_CAUSE;
        if (aegis_stats(*store, FUZZ_TIER, &stats) != AEGIS_OK) return true;
        code = compact(*store, a % (stats.segments + 1), a / 8, b % CHANGED_MAX, odd ? size + b % 3 : size - 1);
        DEMAND(code != AEGIS_OK || (!odd && b % CHANGED_MAX > 0));
    } else if (what == 4) {
        code = aegis_set_swept(*store, FUZZ_TIER, a % (size + 3));
        DEMAND(code != AEGIS_OK || a % (size + 3) <= size);
    } else if (what == 5) {
        read_all(*store, FUZZ_TIER, mode, honest);
    } else {
        DEMAND(store_close(*store) != AEGIS_E_BUG);
        code = store_open(vfs_sim_vfs(sim), "store", &again, store, NULL);
        DEMAND(code == AEGIS_OK || !honest || (mode & MODE_SUMS));
        return code == AEGIS_OK;
    }
    DEMAND(code == AEGIS_E_ARGUMENT || is_judgement(code) || code == AEGIS_E_RANGE || code == AEGIS_E_POISONED || code == AEGIS_E_UNAUTHENTICATED);
    return true;
}

static void go_on(vfs_sim *sim, aegis_store *store, bool honest) {
    const aegis_options again = options_for(AEGIS_MODE_WRITE, true, true);
    uint64_t size = 0, more = 0;
    known_record r;
    aegis_record found;
    if (!answered(aegis_size(store, FUZZ_TIER, &size)) || (honest && size < RECORDS)) {
        store_abandon(store);
        return;
    }
    int code = append(store, FUZZ_TIER, size);
    DEMAND(code != AEGIS_E_BUG && code != AEGIS_E_ARGUMENT);
    int closed = store_close(store);
    DEMAND(closed != AEGIS_E_BUG);
    if (code != AEGIS_OK || closed != AEGIS_OK) return;
    int opened = store_open(vfs_sim_vfs(sim), "store", &again, &store, NULL);
    DEMAND(opened == AEGIS_OK || !honest);
    if (opened != AEGIS_OK) return;
    DEMAND(aegis_size(store, FUZZ_TIER, &more) == AEGIS_OK && (more == size + 1 || !honest));
    record_of(FUZZ_TIER, size, &r);
    if (honest) {
        DEMAND(aegis_read(store, FUZZ_TIER, size, buffer, sizeof buffer, &found) == AEGIS_OK && found.entry_length == r.entry_length);
        DEMAND(memcmp(buffer + found.entry_at, r.entry, r.entry_length) == 0);
    }
    store_abandon(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    aegis_store *store = NULL;
    aegis_report report;
    unsigned mode = take_u8(&in), how = take_u8(&in);
    input kept = {NULL, 0};
    if (stores[0].sim == NULL) make_stores();
    sound = &stores[(how & HOW_REWRITTEN) != 0];
    memcpy(fates, sound->fates, sizeof fates);
    if (how & HOW_KEEPS) {
        size_t length = 4 * (size_t)(take_u8(&in) % (KEPT_MAX + 1));
        kept = (input){in.at, length < in.left ? length : in.left};
        in.at += kept.left;
        in.left -= kept.left;
    }
    vfs_sim *sim = vfs_sim_clone(sound->sim);
    DEMAND(sim != NULL && vfs_sim_settle(sim, false) == AEGIS_OK);
    for (unsigned n = 0; n < CHANGES && in.left > 0; n++) change(sim, &in);
    for (unsigned n = 0; n < sound->file_count && (mode & (MODE_SUMS | MODE_CODES)); n++) mend_file(sim, mode, sound->files[n]);

    bool stranger = mode & MODE_STRANGER, write = (how & HOW_WRITE) && !stranger, honest = !stranger && !(mode & MODE_CODES);
    const aegis_options o = options_for(write ? AEGIS_MODE_WRITE : AEGIS_MODE_READ, !stranger, !(how & HOW_NO_ID));
    int code = store_open(vfs_sim_vfs(sim), "store", &o, &store, &report);
    DEMAND(is_judgement(code));
    if (code == AEGIS_OK) {
        for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
            uint64_t served = 0;
            if (aegis_size(store, tier, &served) != AEGIS_OK) continue;
            DEMAND(!honest || served <= sizes_before[tier]);
            read_all(store, tier, mode, honest);
        }
        bool open = true;
        while (write && open && kept.left > 0) open = keep(sim, &store, &kept, mode, honest);
        if (open && write && (how & HOW_KEEPS)) read_all(store, FUZZ_TIER, mode, honest);
        if (open && write) go_on(sim, store, honest);
        else if (open) store_abandon(store);
    }
    DEMAND(vfs_sim_open_count(sim) == 0);
    vfs_sim_free(sim);
    return 0;
}
