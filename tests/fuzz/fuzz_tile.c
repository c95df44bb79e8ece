/* fuzz_tile: the tiles of a tree, which are a cache that anybody may have written.
 *
 *   mode 1 | then, up to 64 times: file 1 | offset 2 | length 1 | bytes …      written over the tiles that a sound log has
 *
 * Length 255 cuts the file off at the offset, 254 removes it. The log of 600 records is sound; with MODE_OTHER the leaf of record 77 that
 * it gives is not the one that the tree was made with. Demanded: with a sound log every answer is the right one, whatever the tiles say;
 * with a damaged one each is right or an error; and tiles that were asked for come back as they were.
 */
#include "fuzz.h"
#include "tree.h"

FUZZ_WITHOUT(NO_OLD_ROOT_TEST)

enum { RECORDS = 600, DAMAGED = 77 };

static const char *const FILES[] = {"0/000", "0/001", "1/000.p/2"};
static const uint64_t SIZES[] = {0, 77, 78, 256, 257, 512, 599, 600};
enum { FILE_COUNT = 3, SIZE_COUNT = sizeof SIZES / sizeof SIZES[0] };

static bool damaged_log;
static vfs_sim *sound;       /* tiles/ as the tree wrote it */
static merkle_range range;
static uint8_t roots[SIZE_COUNT][HASH_SIZE];

static void leaf_of(uint64_t index, uint8_t out[HASH_SIZE]) {
    memset(out, 0x55, HASH_SIZE);
    store_u64(out, index);
}

static int leaves(void *context, uint64_t first, unsigned count, uint8_t (*out)[HASH_SIZE]) {
    (void)context;
    DEMAND(first + count <= RECORDS);
    for (unsigned i = 0; i < count; i++) leaf_of(damaged_log && first + i == DAMAGED ? 7777 : first + i, out[i]);
    return AEGIS_OK;
}

static void write_pending(tree *t) {
    static pending_tile waiting;
    while (tree_take_pending(t, &waiting)) DEMAND(tree_write_tile(t, &waiting) == AEGIS_OK);
}

static void make_sound(void) {
    vfs_dir *root = NULL;
    tree t;
    uint8_t leaf[HASH_SIZE];
    sound = fuzz_machine(&root);
    const scope s = fuzz_scope(vfs_sim_vfs(sound), 0);
    DEMAND(tree_init(&t, &s, root, true, 0, leaves, NULL) == AEGIS_OK);
    merkle_clear(&range);
    for (uint64_t i = 0, n = 0; i <= RECORDS; i++) {
        if (i == SIZES[n]) merkle_root(&t.range, roots[n++]);
        if (i == RECORDS) break;
        leaf_of(i, leaf);
        tree_append(&t, leaf);
        write_pending(&t);
    }
    range = t.range;
    DEMAND(tree_write_edges(&t) == AEGIS_OK);
    tree_free(&t);
    s.vfs->close_dir(s.vfs, root);
}

static void spoil(vfs_sim *sim, input *in) {
    for (unsigned n = 0; n < 64 && in->left > 0; n++) {
        const char *file = FILES[take_u8(in) % FILE_COUNT];
        uint64_t size = 0, offset = take_u16(in);
        uint8_t length = take_u8(in), bytes[256];
        if (vfs_sim_file_size(sim, file, &size) != AEGIS_OK) continue;
        if (length == 255) {
            DEMAND(vfs_sim_resize(sim, file, offset) == AEGIS_OK);
        } else if (length == 254) {
            DEMAND(vfs_sim_remove(sim, file) == AEGIS_OK);
        } else {
            take(in, bytes, length);
            DEMAND(vfs_sim_patch(sim, file, offset, bytes, length) == AEGIS_OK);
        }
    }
}

static bool right_or_refused(int code) {
    DEMAND(code == AEGIS_OK || (damaged_log && code == AEGIS_E_CORRUPT));
    return code == AEGIS_OK;
}

static void ask(tree *t) {
    uint8_t root[HASH_SIZE], leaf[HASH_SIZE], proof[MERKLE_MAX_PROOF][HASH_SIZE];
    unsigned count = 0;
    for (unsigned i = 0; i < SIZE_COUNT; i++)
        if (right_or_refused(tree_root_at(t, SIZES[i], root))) DEMAND(memcmp(root, roots[i], HASH_SIZE) == 0);
    for (unsigned i = 0; i < SIZE_COUNT; i++) {
        uint64_t index = SIZES[i];
        if (i + 1 < SIZE_COUNT && right_or_refused(tree_inclusion(t, index, SIZES[i + 1], proof, &count))) {
            leaf_of(index, leaf);
            DEMAND(merkle_check_inclusion(leaf, index, SIZES[i + 1], (const uint8_t(*)[HASH_SIZE])proof, count, roots[i + 1]) == AEGIS_OK);
        }
        if (right_or_refused(tree_consistency(t, index, RECORDS, proof, &count)))
            DEMAND(merkle_check_consistency(index, roots[i], RECORDS, roots[SIZE_COUNT - 1], (const uint8_t(*)[HASH_SIZE])proof, count) ==
                   AEGIS_OK);
        if (index == RECORDS) continue;
        leaf_of(index, leaf);
        right_or_refused(tree_prove(t, index, leaf));
    }
    leaf_of(DAMAGED + 1, leaf);
    DEMAND(tree_prove(t, DAMAGED - 1, leaf) == AEGIS_E_CORRUPT);
}

/* With a sound log the two full tiles are back. */
static void demand_back(vfs_sim *sim) {
    for (unsigned i = 0; i < 2; i++) {
        static uint8_t now[TILE_WIDTH * HASH_SIZE], before[TILE_WIDTH * HASH_SIZE];
        size_t got = 0;
        DEMAND(vfs_sim_get(sim, FILES[i], 0, now, sizeof now, &got) == AEGIS_OK && got == sizeof now);
        DEMAND(vfs_sim_get(sound, FILES[i], 0, before, sizeof before, &got) == AEGIS_OK && got == sizeof before);
        DEMAND(memcmp(now, before, sizeof now) == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    vfs_dir *root = NULL;
    tree t;
    unsigned mode = take_u8(&in);
    damaged_log = false;
    if (sound == NULL) make_sound();
    vfs_sim *sim = vfs_sim_clone(sound);
    DEMAND(sim != NULL);
    spoil(sim, &in);
    vfs *v = vfs_sim_vfs(sim);
    const scope s = fuzz_scope(v, mode);
    DEMAND(v->open_root(v, "store", VFS_READ, &root) == AEGIS_OK);
    DEMAND(tree_init(&t, &s, root, true, 0, leaves, NULL) == AEGIS_OK);
    damaged_log = mode & MODE_OTHER;
    if (right_or_refused(tree_start(&t, &range))) {
        ask(&t);
        write_pending(&t);
        if (!damaged_log) demand_back(sim);
    }
    tree_free(&t);
    fuzz_end(sim, root);
    return 0;
}
