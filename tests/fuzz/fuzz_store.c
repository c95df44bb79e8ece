/* fuzz_store: a whole store, to which a stranger has done something.
 *
 *   mode 1 | how 1 | then, up to 32 times: what 1 | file 1 | offset 4 | length 1 | bytes …
 *
 * The store was written by the engine: 330 records in three segments of the session tier, some in the audit tier, tiles, an outline. What is
 * done to a file: 0 bytes written at an offset, 1 the same counted from the end, 2 the same from the start of a frame (offset: which
 * frame, and where in it), 3 cut off, 4 removed, 5 replaced by another file, 6 one bit flipped. Then checksums and codes are made
 * right where the mode asks for it, and the store is opened (`how`: 0 for reading, 1 for writing; 2 without an identity to compare
 * with; MODE_STRANGER: without the secret), read, verified and closed.
 *
 * Demanded: no answer is AEGIS_E_BUG; nothing stays open; for who has the secret, as long as the stranger has not, every entry that is
 * served is the one that was written, and so is its payload where its checksum was not made right; entries, ranges and single records
 * agree; a root is that of the entries; what is appended is there after another open.
 */
#include "manifest.h"
#include "mend.h"
#include "store.h"

FUZZ_WITHOUT(NO_READ_PROOF)

enum { RECORDS = 330, AUDIT_RECORDS = 5, CHANGES = 32, FILES_MAX = 16, FRAMES_MAX = 400, HOW_WRITE = 1, HOW_NO_ID = 2 };
enum { BUFFER = 1 << 20, BATCH = 64, STEP = 7 };    /* so many at once; past a failure so many are left out */

typedef struct known_record {
    uint8_t entry[64], payload[600];
    uint32_t entry_length, payload_length;
} known_record;

static vfs_sim *sound;
static char files[FILES_MAX][64];
static unsigned file_count;
static uint32_t frames[FILES_MAX][FRAMES_MAX];
static unsigned frame_counts[FILES_MAX];
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

static int note_file(void *context, const char *name) {
    (void)context;
    size_t length = strlen(name);
    if (name[length - 1] == '/' || strcmp(name, LOCK_NAME) == 0) return AEGIS_OK;
    DEMAND(file_count < FILES_MAX && length < sizeof files[0]);
    memcpy(files[file_count++], name, length + 1);
    return AEGIS_OK;
}

static bool is_segment(const char *file) { return strstr(file, ".seg") != NULL; }

static size_t whole_file(vfs_sim *sim, const char *file, uint8_t *to) {
    size_t got = 0;
    if (vfs_sim_get(sim, file, 0, to, BUFFER, &got) != AEGIS_OK) return 0;
    return got;
}

static void make_sound(void) {
    aegis_store *store = NULL;
    const aegis_options o = options_for(AEGIS_MODE_APPEND, true, true);
    sound = vfs_sim_new(1);
    DEMAND(sound != NULL && store_open(vfs_sim_vfs(sound), "store", &o, &store, NULL) == AEGIS_OK);
    for (uint64_t i = 0; i < RECORDS; i++) DEMAND(append(store, FUZZ_TIER, i) == AEGIS_OK);
    for (uint64_t i = 0; i < AUDIT_RECORDS; i++) DEMAND(append(store, AEGIS_TIER_AUDIT, i) == AEGIS_OK);
    DEMAND(store_close(store) == AEGIS_OK && vfs_sim_settle(sound, false) == AEGIS_OK);
    DEMAND(vfs_sim_files(sound, note_file, NULL) == AEGIS_OK && file_count < FILES_MAX);
    memcpy(files[file_count++], LOCK_NAME, sizeof LOCK_NAME);    /* the last one: what is done to it matters least */
    for (unsigned n = 0; n < file_count; n++) {
        size_t length = is_segment(files[n]) ? whole_file(sound, files[n], buffer) : 0;
        for (size_t at = SEGMENT_FRAMES; at + FRAME_HEADER <= length && frame_counts[n] < FRAMES_MAX; at += 8)
            if (frame_may_start(buffer + at)) frames[n][frame_counts[n]++] = (uint32_t)at;
    }
    sizes_before[FUZZ_TIER] = RECORDS;
    sizes_before[AEGIS_TIER_AUDIT] = AUDIT_RECORDS;
}

/* ---- what the stranger does ------------------------------------------------------------------------------------------------ */

static void change(vfs_sim *sim, input *in) {
    unsigned what = take_u8(in) % 7, n = take_u8(in) % file_count;
    uint32_t offset = take_u32(in);
    uint8_t length = take_u8(in), bytes[256] = {0};
    const char *file = files[n];
    uint64_t size = 0;
    size_t got = 0;
    if (vfs_sim_file_size(sim, file, &size) != AEGIS_OK || size == 0) return;
    if (what == 1) offset = (uint32_t)(size - 1 - offset % size);
    if (what == 2) offset = frame_counts[n] == 0 ? offset : frames[n][(offset & 0xffff) % frame_counts[n]] + (offset >> 16) % 600;
    if (what != 3) offset %= (uint32_t)size;
    if (what < 3) {
        take(in, bytes, length);
        DEMAND(vfs_sim_patch(sim, file, offset, bytes, length) == AEGIS_OK);
    } else if (what == 3) {
        DEMAND(vfs_sim_resize(sim, file, offset % (size + 4096)) == AEGIS_OK);
    } else if (what == 4) {
        DEMAND(vfs_sim_remove(sim, file) == AEGIS_OK);
    } else if (what == 5) {
        DEMAND(vfs_sim_copy_file(sound, files[length % file_count], sim, file) == AEGIS_OK);
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

static void go_on(vfs_sim *sim, aegis_store *store, bool honest) {
    const aegis_options again = options_for(AEGIS_MODE_WRITE, true, true);
    uint64_t size = 0, more = 0;
    known_record r;
    aegis_record found;
    if (!answered(aegis_size(store, FUZZ_TIER, &size)) || (honest && size != RECORDS)) {
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
    if (sound == NULL) make_sound();
    vfs_sim *sim = vfs_sim_clone(sound);
    DEMAND(sim != NULL && vfs_sim_settle(sim, false) == AEGIS_OK);
    for (unsigned n = 0; n < CHANGES && in.left > 0; n++) change(sim, &in);
    for (unsigned n = 0; n < file_count && (mode & (MODE_SUMS | MODE_CODES)); n++) mend_file(sim, mode, files[n]);

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
        if (write) go_on(sim, store, honest);
        else store_abandon(store);
    }
    DEMAND(vfs_sim_open_count(sim) == 0);
    vfs_sim_free(sim);
    return 0;
}
