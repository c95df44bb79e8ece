/* seeds: makes the first corpora from stores that the engine writes here. `seeds FOLDER` writes FOLDER/TARGET/seed-*.
 *
 * What each target's input looks like is in the head of its file. */
#include <sys/stat.h>

#include "chains.h"
#include "manifest.h"
#include "mend.h"
#include "outline.h"
#include "store.h"

static const char *folder;
static uint8_t whole[1 << 20];

/* An input that is put together. */
typedef struct seed {
    uint8_t bytes[4096];
    size_t used;
} seed;

static void put(seed *to, const void *bytes, size_t length) {
    DEMAND(length <= sizeof to->bytes - to->used);
    memcpy(to->bytes + to->used, bytes, length);
    to->used += length;
}

static void put_u8(seed *to, unsigned v) { put(to, &(uint8_t){(uint8_t)v}, 1); }

static void put_u64(seed *to, uint64_t v) {
    uint8_t bytes[8];
    store_u64(bytes, v);
    put(to, bytes, sizeof bytes);
}

static void save(const seed *s, const char *target, const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, target);
    mkdir(path, 0777);
    snprintf(path, sizeof path, "%s/%s/seed-%s", folder, target, name);
    FILE *file = fopen(path, "wb");
    DEMAND(file != NULL && fwrite(s->bytes, 1, s->used, file) == s->used && fclose(file) == 0);
}

/* ---- a store ------------------------------------------------------------------------------------------------------------ */

static vfs_sim *sim;

static aegis_store *open_store(uint32_t align) {
    aegis_store *store = NULL;
    const aegis_options o = {.struct_size = sizeof o, .mode = AEGIS_MODE_APPEND, .flags = AEGIS_OPEN_NO_THREAD, .secret = FUZZ_SECRET,
                             .store_id = FUZZ_ID, .name = "seed", .meta = (const uint8_t *)"meta", .meta_length = 4,
                             .segment_bytes = 65536, .align = align};
    DEMAND(store_open(vfs_sim_vfs(sim), "store", &o, &store, NULL) == AEGIS_OK);
    return store;
}

/* `records` of entry [40] and a payload, in groups of `group`. */
static void write_store(uint32_t align, unsigned records, uint32_t payload_length, unsigned group) {
    static uint8_t payload[60000];
    sim = vfs_sim_new(1);
    DEMAND(sim != NULL);
    aegis_store *store = open_store(align);
    for (unsigned i = 0; i < records; i++) {
        uint8_t entry[40];
        uint64_t index = 0;
        memset(entry, (int)i, sizeof entry);
        memset(payload, (int)(i + 1), payload_length);
        DEMAND(aegis_append(store, FUZZ_TIER, 2, entry, sizeof entry, payload, payload_length, &index) == AEGIS_OK);
        if ((i + 1) % group == 0 || i + 1 == records) DEMAND(aegis_commit(store, FUZZ_TIER, index) == AEGIS_OK);
    }
    DEMAND(store_close(store) == AEGIS_OK);
}

static size_t read_file(const char *path) {
    size_t got = 0;
    DEMAND(vfs_sim_get(sim, path, 0, whole, sizeof whole, &got) == AEGIS_OK);
    return got;
}

/* ---- one function a target ------------------------------------------------------------------------------------------------ */

static void put_segment(seed *to, unsigned mode, size_t frames) {
    put_u8(to, mode);
    put(to, whole, 68);
    put(to, whole + 508, 4);
    put(to, whole + 4096, 88);
    put(to, whole + 8192, 88);
    put(to, whole + SEGMENT_FRAMES, frames);
}

static void frames_and_segments(void) {
    for (unsigned blocks = 0; blocks < 2; blocks++) {
        char name[64];
        write_store(blocks ? 4096 : 8, 9, 30, blocks ? 9 : 3);
        read_file("session/00000000.seg");
        uint64_t at = SEGMENT_FRAMES, size = 0;
        const scope s = fuzz_scope(NULL, 0);
        for (unsigned i = 0; (size = mend_frame(&s, 0, whole + at, sizeof whole - at, whole + 48, at)) > 0; at += size, i++) {
            seed f = {.used = 0};
            if (i > 1) continue;
            put_u8(&f, i == 0 ? 0 : MODE_SUMS | MODE_CODES);
            put(&f, whole + 48, NONCE_SIZE);
            put_u64(&f, at);
            put(&f, whole + at, (size_t)size);
            snprintf(name, sizeof name, "%s-%u", blocks ? "blocks" : "packed", i);
            save(&f, "frame", name);
        }
        for (unsigned mode = 0; mode < 4; mode++) {
            static const unsigned modes[] = {0, MODE_SUMS | MODE_CODES, MODE_STRANGER | MODE_SUMS, MODE_OTHER | MODE_SUMS | MODE_CODES};
            seed f = {.used = 0};
            put_segment(&f, modes[mode] | (blocks ? MODE_BLOCKS : 0), (size_t)(at - SEGMENT_FRAMES));
            snprintf(name, sizeof name, "%s-%u", blocks ? "blocks" : "packed", mode);
            save(&f, "segment", name);
        }
        vfs_sim_free(sim);
    }
}

static void footers_and_manifests(void) {
    static const unsigned modes[] = {0, MODE_SUMS | MODE_CODES, MODE_STRANGER, MODE_OTHER | MODE_SUMS | MODE_CODES};
    char name[64];
    write_store(8, 40, 6000, 1);
    size_t length = read_file("session/00000000.seg");
    uint64_t frames_end = load_u64(whole + length - FOOTER_FIXED + 64);
    for (unsigned mode = 0; mode < 4; mode++) {
        seed f = {.used = 0};
        put_u8(&f, modes[mode]);
        uint8_t units[2];
        store_u16(units, (uint16_t)((frames_end - SEGMENT_FRAMES) / 8));
        put(&f, units, 2);
        put(&f, whole + frames_end, length - (size_t)frames_end);
        snprintf(name, sizeof name, "%u", mode);
        save(&f, "footer", name);
    }
    length = read_file(MANIFEST_NAME);
    for (unsigned mode = 0; mode < 5; mode++) {
        seed f = {.used = 0};
        put_u8(&f, mode == 4 ? MODE_BLOCKS | MODE_SUMS | MODE_CODES : modes[mode]);
        put(&f, whole, mode == 3 ? length : load_u32(whole + 12));
        snprintf(name, sizeof name, "%u", mode);
        save(&f, "manifest", name);
    }
    vfs_sim_free(sim);
}

static void outlines(void) {
    static const unsigned modes[] = {0, MODE_CODES, MODE_CODES | MODE_OTHER, MODE_STRANGER};
    char name[64];
    write_store(8, 100, 10, 10);
    read_file("session/00000000.seg");
    const uint8_t *slots = whole + 4096;
    const uint8_t *mark = load_u64(slots + 8) > load_u64(slots + 4096 + 8) ? slots : slots + 4096;
    for (unsigned mode = 0; mode < 4; mode++) {
        seed f = {.used = 0};
        size_t length = 0;
        put_u8(&f, modes[mode]);
        put(&f, whole + 48, NONCE_SIZE);
        put_u64(&f, 0);
        put(&f, mark + 8, 8);
        put(&f, mark + 16, 8);
        put(&f, mark + 24, 8);
        put(&f, mark + 32, HASH_SIZE);
        put(&f, mark + 64, 4);
        DEMAND(vfs_sim_get(sim, "session/outline", 0, f.bytes + f.used, sizeof f.bytes - f.used, &length) == AEGIS_OK && length > 0);
        f.used += length;
        snprintf(name, sizeof name, "%u", mode);
        save(&f, "outline", name);
    }
    vfs_sim_free(sim);
}

static void tiles(void) {
    static const uint8_t some[][12] = {
        {0}, {0, 0, 0, 0, 4, 1, 2, 3, 4}, {0, 1, 32, 0, 1, 9}, {0, 2, 0, 0, 254}, {0, 2, 31, 0, 1, 5},
        {0, 0, 64, 0, 255}, {MODE_OTHER, 0, 160, 9, 1, 7}, {MODE_OTHER},
    };
    static const size_t lengths[] = {1, 9, 6, 5, 6, 5, 6, 1};
    for (unsigned i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        char name[8];
        seed f = {.used = 0};
        put(&f, some[i], lengths[i]);
        snprintf(name, sizeof name, "%u", i);
        save(&f, "tile", name);
    }
}

static void proofs(void) {
    static const uint64_t cases[][5] = {    /* what, size, index, level, hashes */
        {0, 7, 3, 0, 3}, {0, 40, 39, 0, 2}, {0, 1, 0, 0, 0}, {1, 7, 3, 0, 4}, {1, 40, 32, 0, 1}, {1, 8, 8, 0, 0}, {1, 9, 0, 0, 0},
        {2, 24, 2, 3, 1}, {2, 40, 1, 2, 4}, {3, UINT64_MAX, 12345678901, 5, 0}, {3, (uint64_t)1 << 63, 770, 0, 0}, {4, 1000, 3, 0, 3},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char name[8];
        seed f = {.used = 0};
        uint64_t what = cases[i][0];
        put_u8(&f, (unsigned)what);
        put_u64(&f, cases[i][1]);
        put_u64(&f, cases[i][2]);
        put_u8(&f, (unsigned)cases[i][3]);
        put_u8(&f, 7);
        put_u8(&f, what == 2 ? (unsigned)(40 * cases[i][3] + (cases[i][2] << cases[i][3])) % 240 : (unsigned)cases[i][2]);
        for (unsigned n = 0; n < cases[i][4]; n++) put_u8(&f, n);
        snprintf(name, sizeof name, "%u", i);
        save(&f, "proof", name);
    }
}

/* An entry of 176 bytes, or 184. */
static void put_entry(seed *to, unsigned form, unsigned kind, unsigned session, uint32_t ordinal, bool request) {
    uint8_t entry[184] = {0};
    entry[1] = (uint8_t)kind;
    entry[2] = FUZZ_TIER;
    entry[3] = request;
    if (kind != 4 && kind != 5 && kind != 8 && kind != 14) memset(entry + 8, (int)session, 16);
    store_u32(entry + 24, ordinal);
    memset(entry + 34, 0xff, 6);
    memset(entry + 72, 7, 32);
    put_u8(to, form | request);
    put(to, entry, request ? 184 : 176);
}

static void entries(void) {
    for (unsigned batch = 1; batch <= 4; batch *= 4) {
        char name[8];
        seed f = {.used = 0};
        put_u8(&f, FUZZ_TIER);
        put_u8(&f, batch - 1);
        put_entry(&f, 0, 4, 0, 0, false);
        put_entry(&f, 0, 1, 1, 0, false);
        put_entry(&f, 4, 2, 1, 0, false);
        put_entry(&f, 4, 2, 1, 0, true);
        put_entry(&f, 0, 7, 1, 2, false);
        put_entry(&f, 0, 1, 2, 0, false);
        put_entry(&f, 4, 2, 2, 0, false);
        put_entry(&f, 4, 3, 1, 0, false);
        put_entry(&f, 4, 2, 2, 0, false);
        put_entry(&f, 0, 5, 0, 0, false);
        snprintf(name, sizeof name, "%u", batch);
        save(&f, "chains", name);
    }
    static const unsigned kinds[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 13, 14, 15};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        unsigned kind = kinds[i];
        char name[16];
        seed f = {.used = 0};
        put_u8(&f, FUZZ_TIER);
        put_u8(&f, 0);
        put_entry(&f, 0, 1, 3, 0, false);
        put_entry(&f, 4, kind, kind == 1 ? 4 : 3, 0, kind == 2);
        snprintf(name, sizeof name, "kind-%u", kind);
        save(&f, "chains", name);
    }
}

static void stores(void) {
    static const uint8_t changes[][2][16] = {    /* one or two: what, file, offset 4, length, bytes */
        {{0, 0, 0, 0, 0, 0, 1, 0}}, {{6, 0, 20, 0, 0, 0, 3}}, {{6, 1, 0, 64, 0, 0, 3}}, {{2, 3, 5, 0, 48, 0, 1, 9}},
        {{2, 3, 5, 0, 100, 0, 1, 9}}, {{2, 4, 5, 0, 48, 0, 1, 9}}, {{1, 3, 10, 0, 0, 0, 1, 9}}, {{4, 3}}, {{3, 4, 0, 64}},
        {{5, 3, 0, 0, 0, 0, 4}}, {{2, 5, 5, 0, 48, 0, 1, 9}}, {{4, 0}}, {{1, 6, 40, 0, 0, 0, 1, 9}}, {{4, 6}, {4, 0}},
        {{4, 7}, {6, 7, 0, 0, 0, 0, 1}}, {{1, 3, 0, 1, 0, 0, 1, 9}},
    };
    static const unsigned modes[] = {0, MODE_SUMS, MODE_SUMS | MODE_CODES, MODE_STRANGER | MODE_SUMS};
    for (unsigned i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char name[8];
        seed f = {.used = 0};
        put_u8(&f, modes[i % 4]);
        put_u8(&f, i / 4 % 4);
        for (unsigned n = 0; n < 2; n++) {
            const uint8_t *c = changes[i][n];
            if (n == 0 || c[0] != 0) put(&f, c, 7u + (c[0] < 3 ? c[6] : 0u));
        }
        snprintf(name, sizeof name, "%u", i);
        save(&f, "store", name);
    }
}

/* What its owner does to a store, and, with an odd number, what a stranger has done before. */
static void kept_stores(void) {
    enum { APPEND, ROTATE, SEAL, COMPACT, SWEPT, READ, REOPEN, WRITE = 1, KEEPS = 4, REWRITTEN = 8, ODD_CAUSE = 128 };
    static const struct { uint8_t how, mode, count, kept[8][4], change[12]; } made[] = {    /* what, a 2, b */
        {WRITE | KEEPS, 0, 4, {{SEAL}, {COMPACT, 8, 0, 5}, {SWEPT, 4, 1}, {READ}}, {0}},
        {WRITE | KEEPS, 0, 6, {{ROTATE}, {SEAL}, {APPEND}, {COMPACT, 2, 1, 15}, {REOPEN}, {COMPACT, 9, 0, 3}}, {0}},
        {WRITE | KEEPS | REWRITTEN, 0, 5, {{COMPACT, 24, 0, 9}, {REOPEN}, {COMPACT, 4, 0, 5 | ODD_CAUSE}, {SWEPT, 77, 1}, {READ}}, {0}},
        {WRITE | KEEPS | REWRITTEN, MODE_SUMS, 2, {{COMPACT, 0, 1, 5}, {READ}}, {6, 4, 5, 0, 60, 0, 3}},
        {WRITE | KEEPS, 0, 3, {{SEAL}, {COMPACT, 0, 1, 4}, {REOPEN}}, {2, 3, 5, 0, 48, 0, 1, 9}},
        {REWRITTEN, 0, 0, {{0}}, {2, 3, 1, 0, 5, 0, 1, 0}},
        {REWRITTEN, MODE_SUMS | MODE_CODES, 0, {{0}}, {2, 3, 6, 0, 5, 0, 1, 2}},
        {WRITE | REWRITTEN, MODE_SUMS, 0, {{0}}, {2, 3, 1, 0, 50, 0, 1, 9}},
    };
    for (unsigned i = 0; i < sizeof made / sizeof made[0]; i++) {
        char name[16];
        seed f = {.used = 0};
        put_u8(&f, made[i].mode);
        put_u8(&f, made[i].how);
        if (made[i].how & KEEPS) put_u8(&f, made[i].count);
        for (unsigned n = 0; n < made[i].count; n++) put(&f, made[i].kept[n], 4);
        if (made[i].change[0] != 0) put(&f, made[i].change, 8);
        snprintf(name, sizeof name, "kept-%u", i);
        save(&f, "store", name);
    }
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "seeds FOLDER\n");
        return 2;
    }
    folder = argv[1];
    frames_and_segments();
    footers_and_manifests();
    outlines();
    tiles();
    proofs();
    entries();
    stores();
    kept_stores();
    return 0;
}
