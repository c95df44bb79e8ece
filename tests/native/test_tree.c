/* tree.c: a log's tree against one made by the words of RFC 6962, over tiles that are there, missing, damaged or late. */
#include "trees.h"

/* ---- all sizes -------------------------------------------------------------------------------------------------------- */

TEST(every_size_has_the_root_and_the_proofs_of_the_rfc) {
    tree t;
    if (!begin_tree(&t, 0)) return;
    for (uint64_t n = 1; n <= SMALL; n++) {
        tree_append(&t, leaves[n - 1]);
        if (!root_is(&t, n, roots[n]) || !includes(&t, n - 1, n, roots[n])) return;
        for (uint64_t i = n % 5; i < n; i += 5) {
            if (!includes(&t, i, n, roots[n]) || !EXPECT_OK(tree_prove(&t, i, leaves[i])) || !root_is(&t, i, roots[i]) ||
                !consistent(&t, i, roots[i], n, roots[n]))
                return;
        }
    }
    /* The proofs of older sizes, from the newest tree. */
    for (uint64_t n = 1; n <= SMALL; n += 3)
        for (uint64_t i = n % 11; i < n; i += 11)
            if (!includes(&t, i, n, roots[n]) || !consistent(&t, i, roots[i], n, roots[n])) return;
    EXPECT_EQ_U64(leaves_asked, 0);
    end_tree(&t);
}

TEST(sizes_around_the_first_full_tile_of_the_second_level) {
    tree t;
    uint8_t top[HASH_SIZE];
    if (!begin_tree(&t, 0)) return;
    grow(&t, 65533);
    for (uint64_t n = 65534; n <= 65538; n++) {
        tree_append(&t, leaves[n - 1]);
        naive_root(0, n, top);
        if (!root_is(&t, n, top)) return;
        const uint64_t places[] = {0, 1, 255, 256, 511, 32767, 32768, 65023, 65024, 65279, 65280, 65533, 65535, 65536, 65537};
        for (size_t i = 0; i < sizeof places / sizeof places[0] && places[i] < n; i++) {
            if (!includes(&t, places[i], n, top) || !EXPECT_OK(tree_prove(&t, places[i], leaves[places[i]]))) return;
            if (places[i] <= SMALL && (!root_is(&t, places[i], roots[places[i]]) || !consistent(&t, places[i], roots[places[i]], n, top)))
                return;
        }
    }
    write_pending(&t);
    answers(&t, 65538, 9973);
    uint64_t size = 0;
    EXPECT_OK(vfs_sim_file_size(sim, "tiles/1/000", &size));
    EXPECT_EQ_U64(size, 8192);
    EXPECT_OK(vfs_sim_file_size(sim, "tiles/0/255", &size));
    EXPECT_CODE(vfs_sim_file_size(sim, "tiles/0/256", &size), AEGIS_E_NOTFOUND);
    end_tree(&t);
}

TEST(tiles_have_the_names_and_bytes_of_c2sp) {
    uint8_t bytes[8200];
    size_t got = 0;
    tree t;
    pending_tile *far = calloc(1, sizeof *far);
    if (far == NULL || !begin_tree(&t, 0)) return;
    grow(&t, 600);
    EXPECT_OK(vfs_sim_get(sim, "tiles/0/001", 0, bytes, sizeof bytes, &got));
    EXPECT_EQ_U64(got, 8192);
    EXPECT_BYTES(bytes, leaves[256], 8192);
    far->number = 1234067;
    far->level = 2;
    EXPECT_OK(tree_write_tile(&t, far));
    EXPECT_OK(vfs_sim_get(sim, "tiles/2/x001/x234/067", 0, bytes, sizeof bytes, &got));
    EXPECT_EQ_U64(got, 8192);
    far->number = 1000;
    far->level = 7;
    EXPECT_OK(tree_write_tile(&t, far));
    EXPECT_OK(vfs_sim_get(sim, "tiles/7/x001/000", 0, bytes, sizeof bytes, &got));
    EXPECT_OK(tree_write_edges(&t));
    EXPECT_OK(vfs_sim_get(sim, "tiles/1/000.p/2", 0, bytes, sizeof bytes, &got));
    EXPECT_EQ_U64(got, 64);
    uint8_t expected[HASH_SIZE];
    naive_root(256, 512, expected);
    EXPECT_BYTES(bytes + 32, expected, HASH_SIZE);
    free(far);
    end_tree(&t);
}

/* ---- a cache, and no more --------------------------------------------------------------------------------------------- */

typedef struct tile_list {
    unsigned count;
    char paths[300][40];
} tile_list;

static int add_tile(void *into, const char *path) {
    tile_list *list = into;
    if (strncmp(path, "tiles/", 6) == 0 && path[strlen(path) - 1] != '/' && strstr(path, ".p") == NULL && list->count < 300)
        snprintf(list->paths[list->count++], 40, "%s", path);
    return AEGIS_OK;
}

static tile_list *all_tiles(void) {
    static tile_list list;
    list.count = 0;
    EXPECT_OK(vfs_sim_files(sim, add_tile, &list));
    return &list;
}

static void remove_file(const char *path, uint64_t seed) { (void)seed, EXPECT_OK(vfs_sim_remove(sim, path)); }
static void flip_bit(const char *path, uint64_t seed) { flip(path, seed * 1000003 % 65536); }
static void cut_file(const char *path, uint64_t seed) { EXPECT_OK(vfs_sim_resize(sim, path, seed * 1000003 % 8192)); }
static void lengthen_file(const char *path, uint64_t seed) { EXPECT_OK(vfs_sim_resize(sim, path, 8193 + seed)); }

/* Each tile damaged alone: the answers are the same, and so is the tile once what was rebuilt is written. */
static void damage_each(uint64_t size, uint64_t step, unsigned every, void (*damage)(const char *path, uint64_t seed)) {
    tree t, again;
    char text[200];
    if (!begin_tree(&t, 0)) return;
    grow(&t, size);
    EXPECT_OK(tree_write_edges(&t));
    vfs_sim *whole = vfs_sim_clone(sim);
    const tile_list *list = all_tiles();
    EXPECT_EQ_U64(list->count, size / 256 + size / 65536);
    for (unsigned i = 0; i < list->count; i++) {
        uint64_t first = 256 * strtoull(list->paths[i] + 8, NULL, 10);
        bool lowest = list->paths[i][6] == '0';
        if (i % every != 0 && lowest) continue;
        damage(list->paths[i], i);
        if (!reopen(&again, true, size)) return;
        for (uint64_t n = first; n < first + 256 && lowest; n++) EXPECT_OK(tree_prove(&again, n, leaves[n]));
        if (!answers(&again, size, step)) printf("    %s\n", list->paths[i]);
        write_pending(&again);
        EXPECT(again.rebuilt > 0);
        if (!EXPECT(vfs_sim_same(sim, whole, text, sizeof text))) printf("    %s: %s\n", list->paths[i], text);
        tree_free(&again);
    }
    vfs_sim_free(whole);
    end_tree(&t);
}

TEST(a_missing_tile_is_made_again) { damage_each(1500, 13, 1, remove_file); }
TEST(a_tile_with_a_flipped_bit_is_made_again) { damage_each(1500, 1, 1, flip_bit); }
TEST(a_tile_that_was_cut_is_made_again) { damage_each(1500, 13, 1, cut_file); }
TEST(a_tile_that_is_too_long_is_made_again) { damage_each(1500, 13, 1, lengthen_file); }
TEST(a_missing_tile_of_the_second_level_is_made_again) { damage_each(LARGE, 17777, 50, remove_file); }
TEST(a_flipped_tile_of_the_second_level_is_made_again) { damage_each(LARGE, 17777, 50, flip_bit); }

TEST(every_hash_of_a_tile_may_be_flipped) {
    tree t, again;
    char text[200];
    if (!begin_tree(&t, 0)) return;
    grow(&t, 700);
    vfs_sim *whole = vfs_sim_clone(sim);
    for (uint64_t i = 0; i < 256; i++) {
        flip("tiles/0/001", i * 256 + (i * 37) % 256);
        if (!reopen(&again, true, 700)) return;
        EXPECT_OK(tree_prove(&again, 256 + i, leaves[256 + i]));
        EXPECT_OK(tree_prove(&again, 256 + (i ^ 1), leaves[256 + (i ^ 1)]));
        write_pending(&again);
        if (!EXPECT(vfs_sim_same(sim, whole, text, sizeof text))) printf("    hash %llu: %s\n", (unsigned long long)i, text);
        tree_free(&again);
    }
    vfs_sim_free(whole);
    end_tree(&t);
}

/* How many tiles in memory are taken at their word. */
static unsigned proven(const tree *t) {
    unsigned count = 0;
    for (uint32_t i = 0; i < t->cache_count; i++) count += t->cache_proven[i];
    return count;
}

TEST(a_proof_of_one_leaf_proves_its_tile_and_no_wrong_leaf_of_it) {
    tree t, again;
    if (!begin_tree(&t, 0)) return;
    grow(&t, 700);
    if (!reopen(&again, true, 700)) return;
    EXPECT_EQ_U64(proven(&again), 0);
    EXPECT_OK(tree_prove(&again, 300, leaves[300]));
    EXPECT_EQ_U64(proven(&again), 1);
    grow(&again, 800);
    for (uint64_t i = 256; i < 512; i++) {
        EXPECT_OK(tree_prove(&again, i, leaves[i]));
        EXPECT_CODE(tree_prove(&again, i, leaves[i ^ 1]), AEGIS_E_CORRUPT);
    }
    EXPECT_OK(tree_prove(&again, 300, leaves[300]));
    EXPECT_OK(tree_prove(&again, 5, leaves[5]));
    EXPECT_EQ_U64(proven(&again), 2);
    tree_free(&again);
    end_tree(&t);
}

TEST(a_tile_in_memory_is_not_proven_by_being_there) {
    tree t, again;
    if (!begin_tree(&t, 0)) return;
    grow(&t, 700);
    for (uint64_t i = 256; i < 512; i += 51) {
        uint8_t wrong[HASH_SIZE];
        memcpy(wrong, leaves[i], HASH_SIZE);
        wrong[0] ^= 1;
        flip("tiles/0/001", (i - 256) * HASH_SIZE * 8);
        if (!reopen(&again, false, 700)) return;
        for (int turn = 0; turn < 2; turn++) EXPECT_CODE(tree_prove(&again, i, wrong), AEGIS_E_CORRUPT);
        EXPECT_OK(tree_prove(&again, i, leaves[i]));
        tree_free(&again);
        flip("tiles/0/001", (i - 256) * HASH_SIZE * 8);
    }
    end_tree(&t);
}

/* Whatever is asked first of a damaged tile. */
TEST(a_damaged_tile_misleads_no_question) {
    tree t, again;
    if (!begin_tree(&t, 0)) return;
    grow(&t, 700);
    EXPECT_OK(tree_write_edges(&t));    /* so that the start reads no tile */
    for (uint64_t i = 0; i < 4 * 256; i++) {
        uint64_t at = 256 + i / 4;
        flip("tiles/0/001", (at - 256) * 256 + i % 256);
        if (!reopen(&again, true, 700)) return;
        if (i % 4 == 0) root_is(&again, at + 1, roots[at + 1]);
        if (i % 4 == 1) includes(&again, at, 700, roots[700]);
        if (i % 4 == 2) consistent(&again, at + 1, roots[at + 1], 700, roots[700]);
        if (i % 4 == 3) consistent(&again, 3, roots[3], at + 1, roots[at + 1]);
        write_pending(&again);
        tree_free(&again);
    }
    end_tree(&t);
}

TEST(all_tiles_lost_at_once_come_back) {
    tree t, again;
    char text[200];
    if (!begin_tree(&t, 0)) return;
    grow(&t, 3000);
    vfs_sim *whole = vfs_sim_clone(sim);
    const tile_list *list = all_tiles();
    for (unsigned i = 0; i < list->count; i++) EXPECT_OK(vfs_sim_remove(sim, list->paths[i]));
    if (!reopen(&again, true, 3000)) return;
    answers(&again, 3000, 7);
    write_pending(&again);
    EXPECT(vfs_sim_same(sim, whole, text, sizeof text));
    tree_free(&again);
    vfs_sim_free(whole);
    end_tree(&t);
}

/* One tile missing and another one damaged: the missing one is made from the damaged one first, and must not stay so. */
TEST(a_tile_made_from_a_damaged_one_is_made_again) {
    tree t, again;
    char text[200];
    if (!begin_tree(&t, 0)) return;
    grow(&t, LARGE);
    vfs_sim *whole = vfs_sim_clone(sim);
    for (unsigned i = 0; i < 256; i += 51) {
        char path[40];
        snprintf(path, sizeof path, "tiles/0/%03u", i);
        flip(path, i * 101);
        EXPECT_OK(vfs_sim_remove(sim, "tiles/1/000"));
        if (!reopen(&again, true, LARGE)) return;
        for (uint64_t n = 100; n < 65536; n += 25600) EXPECT_OK(tree_prove(&again, n, leaves[n]));
        EXPECT_OK(tree_prove(&again, 256 * i + 7, leaves[256 * i + 7]));
        write_pending(&again);
        tree_free(&again);
        /* What the first asking could not write for want of room in the ring, the second does. */
        if (!reopen(&again, true, LARGE)) return;
        EXPECT_OK(tree_prove(&again, 256 * i + 7, leaves[256 * i + 7]));
        write_pending(&again);
        tree_free(&again);
        if (!EXPECT(vfs_sim_same(sim, whole, text, sizeof text))) printf("    tile %u: %s\n", i, text);
    }
    vfs_sim_free(whole);
    end_tree(&t);
}

/* ---- edges ------------------------------------------------------------------------------------------------------------ */

TEST(edges_after_reopen_take_their_own_hashes_and_no_more) {
    tree t, again;
    if (!begin_tree(&t, 0)) return;
    const uint64_t sizes[] = {1, 255, 256, 257, 511, 512, 700, 1023, 1024, 1500, 65535, 65536, 65537, LARGE};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t n = sizes[i];
        grow(&t, n);
        EXPECT_OK(tree_write_edges(&t));
        if (!reopen(&again, true, n)) return;
        EXPECT_EQ_U64(leaves_asked, n % 256);
        EXPECT_EQ_U64(again.rebuilt, 0);
        if (!answers(&again, n, 1 + n / 5)) return;
        /* It grows on as the first one does. */
        for (uint64_t m = n; m < n + 300 && m < LARGE; m++) tree_append(&again, leaves[m]);
        if (!answers(&again, n + 300 < LARGE ? n + 300 : LARGE, 1 + n / 3)) return;
        tree_free(&again);
    }
    end_tree(&t);
}

TEST(damaged_edges_are_made_from_the_tiles_or_the_log) {
    tree t, again;
    if (!begin_tree(&t, 0)) return;
    grow(&t, 1500);
    EXPECT_OK(tree_write_edges(&t));
    for (uint64_t bit = 0; bit < 5 * 256; bit += 3) {
        flip("tiles/1/000.p/5", bit);
        if (!reopen(&again, true, 1500) || !answers(&again, 1500, 199)) return;
        tree_free(&again);
        flip("tiles/1/000.p/5", bit);
    }
    EXPECT_OK(vfs_sim_resize(sim, "tiles/1/000.p/5", 32));
    if (!reopen(&again, true, 1500)) return;
    EXPECT_EQ_U64(leaves_asked, 1500 % 256);    /* the tiles below are enough */
    answers(&again, 1500, 199);
    tree_free(&again);
    /* The tile below is damaged too. */
    EXPECT_OK(vfs_sim_remove(sim, "tiles/1/000.p/5"));
    flip("tiles/0/003", 77);
    if (!reopen(&again, true, 1500)) return;
    answers(&again, 1500, 199);
    tree_free(&again);
    end_tree(&t);
}

TEST(a_log_that_does_not_lead_to_the_root_is_refused) {
    tree t, again;
    if (!begin_tree(&t, 0)) return;
    grow(&t, 1500);
    const merkle_range range = range_of(1500);
    wrong_leaf = 1400;    /* in the edge of level 0 */
    EXPECT_OK(tree_init(&again, &s, tiles, true, 0, give_leaves, &context));
    EXPECT_CODE(tree_start(&again, &range), AEGIS_E_CORRUPT);
    tree_free(&again);
    wrong_leaf = 300;
    flip("tiles/0/001", 0);
    EXPECT_OK(tree_init(&again, &s, tiles, true, 0, give_leaves, &context));
    EXPECT_CODE(tree_start(&again, &range), AEGIS_E_CORRUPT);
    EXPECT(message_has("do not lead to the root"));
    tree_free(&again);
    end_tree(&t);
}

/* ---- pending tiles ---------------------------------------------------------------------------------------------------- */

TEST(where_the_disk_is_slower_the_oldest_tiles_are_given_up) {
    static pending_tile one;
    tree t;
    if (!begin_tree(&t, 0)) return;
    for (uint64_t i = 0; i < 40 * 256; i++) tree_append(&t, leaves[i]);
    EXPECT_EQ_U64(t.pending_count, TREE_PENDING);
    answers(&t, 40 * 256, 411);
    EXPECT(t.rebuilt > 0);
    tree_free(&t);
    EXPECT_OK(tree_init(&t, &s, tiles, true, 0, give_leaves, &context));
    for (uint64_t i = 0; i < 40 * 256; i++) tree_append(&t, leaves[i]);
    for (uint64_t number = 40 - TREE_PENDING; number < 40; number++) {
        EXPECT(tree_take_pending(&t, &one));
        EXPECT_EQ_U64(one.number, number);
        EXPECT_EQ_U64(one.level, 0);
        EXPECT_BYTES(one.hashes[0], leaves[256 * number], 8192);
    }
    EXPECT(!tree_take_pending(&t, &one));
    EXPECT_EQ_U64(t.written, TREE_PENDING);
    end_tree(&t);
}

TEST(a_tile_that_waits_is_not_read_from_the_disk) {
    tree t;
    if (!begin_tree(&t, 0)) return;
    for (uint64_t i = 0; i < 10 * 256; i++) tree_append(&t, leaves[i]);
    answers(&t, 2560, 97);
    EXPECT_EQ_U64(t.rebuilt, 0);
    EXPECT_EQ_U64(leaves_asked, 0);
    end_tree(&t);
}

TEST(a_reader_and_a_place_without_tiles_write_nothing) {
    tree t, again;
    char text[200];
    if (!begin_tree(&t, 0)) return;
    grow(&t, 1500);
    flip("tiles/0/002", 5);
    vfs_sim *before = vfs_sim_clone(sim);
    if (!reopen(&again, false, 1500)) return;
    answers(&again, 1500, 3);
    EXPECT_EQ_U64(again.pending_count, 0);
    EXPECT_OK(tree_write_edges(&again));
    tree_free(&again);
    vfs_dir *kept = tiles;
    tiles = NULL;
    if (!reopen(&again, true, 1500)) return;
    answers(&again, 1500, 3);
    EXPECT_EQ_U64(again.pending_count, 0);
    EXPECT_OK(tree_write_edges(&again));
    tree_free(&again);
    tiles = kept;
    EXPECT(vfs_sim_same(sim, before, text, sizeof text));
    vfs_sim_free(before);
    end_tree(&t);
}
