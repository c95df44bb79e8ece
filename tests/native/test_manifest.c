/* manifest.c: the conditions of a valid copy, each by its number; two copies, replacement as a whole, arbitrary bytes. */
#include "manifest.h"
#include "scopes.h"

#define PATH "MANIFEST"

static scope reader_scope;
static uint8_t read_id[STORE_ID_SIZE];

/* Two tiers: three segments of tier 1, two of tier 3. */
static bool fill(manifest *m) {
    static const manifest_segment one[] = {{0, 1, 0}, {1, 2, 100}, {2, 5, 250}}, three[] = {{0, 3, 0}, {1, 4, 7}};
    manifest_init(m, &s, root);
    m->align = 8;
    m->segment_bytes = 1 << 20;
    m->epoch = 9;
    m->generation = 11;
    strcpy(m->name, "a name: größer");
    memcpy(m->meta, "\x81\xa1k\x00meta", 8);
    m->meta_length = 8;
    bool added = true;
    for (unsigned i = 0; i < 3; i++) added = added && EXPECT_OK(manifest_add_segment(m, 1, &one[i]));
    for (unsigned i = 0; i < 2; i++) added = added && EXPECT_OK(manifest_add_segment(m, 3, &three[i]));
    m->tiers[1].size = 260;
    m->tiers[3].size = 8;
    memset(m->tiers[1].root, 0x11, HASH_SIZE);
    memset(m->tiers[3].root, 0x33, HASH_SIZE);
    return added;
}

static bool begin_written(manifest *m) { return begin(1) && fill(m) && EXPECT_OK(manifest_write(m)); }

static void end_with(manifest *m) {
    manifest_free(m);
    end();
}

/* Reads it as another would. */
static int load(manifest *m, bool *copy_damaged) {
    reader_scope = s;
    memset(reader_scope.store_id, 0, STORE_ID_SIZE);    /* a reader learns it from the manifest */
    manifest_init(m, &reader_scope, root);
    *copy_damaged = false;
    memset(read_id, 0, sizeof read_id);
    return manifest_load(m, read_id, copy_damaged);
}

static int load_and_forget(bool *copy_damaged) {
    manifest m;
    int code = load(&m, copy_damaged);
    manifest_free(&m);
    return code;
}

static bool same(const manifest *a, const manifest *b) {
    bool right = EXPECT_EQ_U64(a->generation, b->generation) && EXPECT_EQ_U64(a->epoch, b->epoch) && EXPECT_EQ_U64(a->align, b->align) &&
                 EXPECT_EQ_U64(a->segment_bytes, b->segment_bytes) && EXPECT_STRING(a->name, b->name) &&
                 EXPECT_EQ_U64(a->meta_length, b->meta_length) && EXPECT_BYTES(a->meta, b->meta, b->meta_length);
    for (uint32_t t = 1; t <= AEGIS_TIERS && right; t++) {
        right = EXPECT_EQ_U64(a->tiers[t].count, b->tiers[t].count);
        if (!right || b->tiers[t].count == 0) continue;
        right = EXPECT_EQ_U64(a->tiers[t].size, b->tiers[t].size) && EXPECT_BYTES(a->tiers[t].root, b->tiers[t].root, HASH_SIZE) &&
                EXPECT_BYTES(a->tiers[t].segments, b->tiers[t].segments, b->tiers[t].count * sizeof *b->tiers[t].segments);
    }
    return right;
}

/* ---- forged copies ---------------------------------------------------------------------------------------------------- */

static uint8_t image[16384];
static size_t image_size, copy_length;

static void read_image(void) {
    uint64_t size = 0;
    EXPECT_OK(vfs_sim_file_size(sim, PATH, &size));
    EXPECT_OK(vfs_sim_get(sim, PATH, 0, image, sizeof image, &image_size));
    EXPECT_EQ_U64(size, image_size);
    copy_length = load_u32(image + 12);
}

/* Both copies as `image` has the first one, `length` long, under a code and a checksum that fit. */
static void write_forged(const scope *as, size_t length) {
    uint8_t digest[HASH_SIZE], domain = 'M', *trailer = image + length - 40;
    sha256 inner;
    sha256_start(&inner);
    sha256_add(&inner, &domain, 1);
    sha256_add(&inner, image, length - 40);
    sha256_end(&inner, digest);
    if (as != NULL) hmac_whole(&as->key, digest, sizeof digest, trailer);
    store_u32(trailer + 32, crc32c(0, image, length - 8));
    memcpy(image + image_size / 2, image, image_size / 2);
    EXPECT_OK(vfs_sim_patch(sim, PATH, 0, image, image_size));
}

static int load_forged(unsigned at, uint64_t value, size_t size) {
    uint8_t word[8], kept[sizeof image];
    bool damaged;
    store_u64(word, value);
    memcpy(kept, image, image_size);
    memcpy(image + at, word, size);
    write_forged(&s, copy_length);
    int code = load_and_forget(&damaged);
    memcpy(image, kept, image_size);
    return code;
}

TEST(manifest_condition_1_magic_and_checksum_match) {
    manifest m;
    bool damaged;
    if (!begin_written(&m)) return;
    read_image();
    /* The other copy is no help here: each bit is flipped in both. What is reserved and the padding do not count. */
    for (size_t bit = 0; bit < (copy_length - 4) * 8; bit++) {
        flip(PATH, bit);
        flip(PATH, bit + image_size / 2 * 8);
        if (!EXPECT_CODE(load_and_forget(&damaged), AEGIS_E_CORRUPT)) printf("    bit %zu\n", bit);
        flip(PATH, bit);
        flip(PATH, bit + image_size / 2 * 8);
    }
    EXPECT(message_has("both copies"));
    EXPECT(said_path(PATH));
    EXPECT_OK(load_and_forget(&damaged));
    EXPECT_CODE(load_forged(0, 'B', 1), AEGIS_E_CORRUPT);
    end_with(&m);
}

TEST(manifest_condition_2_the_format_version_is_known) {
    manifest m;
    if (!begin_written(&m)) return;
    read_image();
    EXPECT_CODE(load_forged(8, 1, 4), AEGIS_E_VERSION);
    EXPECT(message_has("format 1"));
    EXPECT_OK(load_forged(8, 0, 4));
    end_with(&m);
}

TEST(manifest_condition_3_its_length_lies_inside_its_half_of_the_file) {
    manifest m;
    bool damaged;
    if (!begin_written(&m)) return;
    read_image();
    const uint64_t lengths[] = {0, 1, 39, 111, copy_length - 8, copy_length + 8, image_size / 2 + 8, image_size, UINT32_MAX};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) EXPECT_CODE(load_forged(12, lengths[i], 4), AEGIS_E_CORRUPT);
    write_forged(&s, copy_length);
    /* Cut off: a half is then too short for a copy, or has none at its start. */
    for (uint64_t size = 0; size < 2 * copy_length; size += 5) {
        EXPECT_OK(vfs_sim_resize(sim, PATH, size));
        EXPECT_CODE(load_and_forget(&damaged), AEGIS_E_CORRUPT);
    }
    end_with(&m);
}

TEST(manifest_condition_4_the_code_matches_for_who_has_the_secret) {
    manifest m;
    bool damaged;
    if (!begin_written(&m)) return;
    read_image();
    scope other = s;
    hmac_prepare(&other.key, "another secret", 14);
    write_forged(&other, copy_length);
    EXPECT_CODE(load_and_forget(&damaged), AEGIS_E_SECRET);
    image[40] ^= 1;    /* the epoch */
    write_forged(NULL, copy_length);
    EXPECT_CODE(load_and_forget(&damaged), AEGIS_E_SECRET);
    s.keyed = false;
    EXPECT_OK(load_and_forget(&damaged));
    end_with(&m);
}

TEST(manifest_condition_5_counts_and_lengths_add_up_to_its_length) {
    manifest m;
    if (!begin_written(&m)) return;
    read_image();
    const size_t tiers = 72 + 24;    /* name and meta block */
    EXPECT_EQ_U64(load_u32(image + tiers), 1);
    EXPECT_EQ_U64(load_u32(image + tiers + 4), 3);
    EXPECT_OK(load_forged(64, load_u16(image + 64), 2));
    for (uint64_t n = 0; n < 65536; n += n < 300 ? 1 : 997) {
        /* Some lengths of the name end at the same multiple of 8: then the meta block's end is where zeros belong. */
        if (n != 16) EXPECT_CODE(load_forged(64, n, 2), AEGIS_E_CORRUPT);
        if (n != 2) EXPECT_CODE(load_forged(68, n, 4), AEGIS_E_CORRUPT);
        if (n != 3) EXPECT_CODE(load_forged((unsigned)tiers + 4, n, 4), AEGIS_E_CORRUPT);
    }
    EXPECT_CODE(load_forged(66, AEGIS_META_MAX + 1, 2), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged(68, UINT32_MAX, 4), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged((unsigned)tiers + 4, UINT32_MAX, 4), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged((unsigned)tiers + 4, 0x0aaaaaad, 4), AEGIS_E_CORRUPT);    /* times 24 it is small in 32 bits */
    const uint64_t aligns[] = {0, 1, 16, 4095, 4097, 1ull << 31};
    for (size_t i = 0; i < sizeof aligns / sizeof aligns[0]; i++) EXPECT_CODE(load_forged(52, aligns[i], 4), AEGIS_E_CORRUPT);
    EXPECT_OK(load_forged(52, 4096, 4));
    end_with(&m);
}

/* Found by tests/fuzz: what was accepted was not what writing it again gave. */
TEST(manifest_condition_5_a_name_has_no_zero_in_it_and_only_zeros_fill_up) {
    manifest m;
    if (!begin_written(&m)) return;
    read_image();
    EXPECT_CODE(load_forged(72 + 3, 0, 1), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged(72 + 15, 0, 1), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged(66, 7, 2), AEGIS_E_CORRUPT);     /* the last byte of the meta block would be filling */
    EXPECT_OK(load_forged(72 + 3, 'x', 1));
    end_with(&m);
}

TEST(manifest_condition_6_tiers_and_first_indexes_ascend) {
    manifest m;
    if (!begin_written(&m)) return;
    read_image();
    const unsigned one = 72 + 24, three = one + 56 + 3 * 24;
    EXPECT_EQ_U64(load_u32(image + three), 3);
    EXPECT_OK(load_forged(one, 2, 4));
    EXPECT_CODE(load_forged(one, 3, 4), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged(one, 4, 4), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged(one, 0, 4), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged(three, 5, 4), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged(three, UINT32_MAX, 4), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged(three, 1, 4), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged(one + 56 + 16, 1, 8), AEGIS_E_CORRUPT);      /* the first one starts at 0 */
    EXPECT_CODE(load_forged(one + 56 + 24 + 16, 0, 8), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged(one + 56 + 24 + 16, 250, 8), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged(one + 56 + 48 + 16, 100, 8), AEGIS_E_CORRUPT);
    EXPECT_OK(load_forged(one + 56 + 48 + 16, 101, 8));
    end_with(&m);
}

TEST(manifest_condition_7_a_tier_is_swept_up_to_its_size_and_its_active_segment_is_an_original) {
    manifest m;
    if (!begin_written(&m)) return;
    read_image();
    const unsigned one = 72 + 24, list = one + 56;
    const uint64_t size = load_u64(image + one + 8);
    EXPECT_EQ_U64(load_u64(image + one + 48), 0);
    EXPECT_OK(load_forged(one + 48, size, 8));
    EXPECT_CODE(load_forged(one + 48, size + 1, 8), AEGIS_E_CORRUPT);
    EXPECT_CODE(load_forged(one + 48, UINT64_MAX, 8), AEGIS_E_CORRUPT);
    /* Of three segments the first two may have been rewritten. */
    EXPECT_OK(load_forged(list, (uint64_t)7 << 32, 8));
    EXPECT_OK(load_forged(list + 24, (uint64_t)1 << 32 | 1, 8));
    EXPECT_CODE(load_forged(list + 48, (uint64_t)1 << 32 | 2, 8), AEGIS_E_CORRUPT);
    end_with(&m);
}

/* ---- round trips ------------------------------------------------------------------------------------------------------ */

TEST(a_manifest_comes_back_as_it_was_written) {
    manifest m, again;
    bool damaged;
    if (!begin_written(&m)) return;
    EXPECT_EQ_U64(m.generation, 12);
    for (unsigned round = 0; round < 40; round++) {
        EXPECT_OK(load(&again, &damaged));
        EXPECT(!damaged);
        EXPECT_BYTES(read_id, TEST_ID, STORE_ID_SIZE);
        same(&again, &m);
        manifest_free(&again);
        const manifest_segment added = {round + 2, m.generation, 100 * round + 100};
        EXPECT_OK(manifest_add_segment(&m, 3, &added));
        m.name[round] = 'x';
        m.name[round + 1] = 0;
        m.meta_length = round * 100;
        EXPECT_OK(manifest_write(&m));
    }
    read_image();
    EXPECT_EQ_U64(image_size % 1024, 0);
    EXPECT_BYTES(image, image + image_size / 2, image_size / 2);
    EXPECT(all_zero(image + copy_length, image_size / 2 - copy_length));
    end_with(&m);
}

TEST(an_empty_manifest_and_the_longest_name_come_back) {
    manifest m, again;
    bool damaged;
    if (!begin(1)) return;
    manifest_init(&m, &s, root);
    m.align = 4096;
    m.segment_bytes = 65536;
    EXPECT_OK(manifest_write(&m));
    EXPECT_OK(load(&again, &damaged));
    same(&again, &m);
    manifest_free(&again);
    memset(m.name, 'n', AEGIS_NAME_MAX);
    memset(m.meta, 0xff, AEGIS_META_MAX);
    m.meta_length = AEGIS_META_MAX;
    EXPECT_OK(manifest_write(&m));
    EXPECT_OK(load(&again, &damaged));
    same(&again, &m);
    EXPECT_EQ_U64(strlen(again.name), AEGIS_NAME_MAX);
    manifest_free(&again);
    end_with(&m);
}

TEST(where_there_is_none_it_is_not_found) {
    bool damaged;
    if (!begin(1)) return;
    EXPECT_CODE(load_and_forget(&damaged), AEGIS_E_NOTFOUND);
    end();
}

TEST(one_damaged_copy_is_harmless) {
    manifest m, again;
    bool damaged;
    if (!begin_written(&m)) return;
    read_image();
    for (size_t copy = 0; copy < 2; copy++) {
        for (size_t bit = 0; bit < image_size / 2 * 8; bit++) {
            flip(PATH, copy * image_size / 2 * 8 + bit);
            if (EXPECT_OK(load(&again, &damaged))) {
                EXPECT(damaged);
                same(&again, &m);
            } else {
                printf("    bit %zu of copy %zu\n", bit, copy);
            }
            manifest_free(&again);
            flip(PATH, copy * image_size / 2 * 8 + bit);
        }
    }
    end_with(&m);
}

/* ---- replacing -------------------------------------------------------------------------------------------------------- */

static int see_image(void *context, vfs_sim *machine, size_t cut) {
    const manifest *both = context;
    uint8_t id[STORE_ID_SIZE];
    bool damaged = false;
    vfs_dir *dir = NULL;
    manifest found;
    (void)cut;
    scope there = scope_of(vfs_sim_vfs(machine), 0, 8);
    EXPECT_OK(there.vfs->open_root(there.vfs, "store", VFS_READ, &dir));
    manifest_init(&found, &there, dir);
    if (EXPECT_OK(manifest_load(&found, id, &damaged))) {
        EXPECT(!damaged);
        same(&found, found.generation == both[0].generation ? &both[0] : &both[1]);
    }
    manifest_free(&found);
    there.vfs->close_dir(there.vfs, dir);
    return 0;
}

TEST(a_manifest_is_replaced_whole_or_not_at_all) {
    manifest both[2];
    vfs_sim_limits limits = VFS_SIM_LIMITS;
    vfs_sim_counts counts;
    const manifest_segment added = {3, 12, 400};
    limits.torn_bytes = true;
    if (!begin(1) || !fill(&both[0]) || !fill(&both[1])) return;
    EXPECT_OK(manifest_write(&both[0]));
    EXPECT_OK(v->sync_parent(v, root));
    EXPECT_OK(vfs_sim_settle(sim, true));
    both[1].generation = both[0].generation;
    uint8_t top[HASH_SIZE] = "root";
    EXPECT_OK(manifest_rotate(&both[1], 1, &added, 400, top));
    EXPECT(vfs_sim_enumerate(sim, 0, SIZE_MAX, &limits, see_image, both, &counts) == 0);
    EXPECT(counts.images > 3);
    /* Once written, it is durable. */
    vfs_sim *after = NULL;
    EXPECT_OK(vfs_sim_image(sim, vfs_sim_op_count(sim), VFS_SIM_KEEP_NOTHING, 1, &after));
    both[0].generation = 0;
    see_image(both, after, 0);
    vfs_sim_free(after);
    manifest_free(&both[0]);
    end_with(&both[1]);
}

/* Whether the file has its new name decides, for that is what the next open reads: after the rename the rotation stands in memory too,
 * though a failed sync of the directory leaves open whether it is durable. */
TEST(a_rotation_that_fails_leaves_in_memory_what_the_file_says) {
    manifest m, kept;
    uint8_t top[HASH_SIZE] = "root";
    const manifest_segment added = {3, 12, 400};
    if (!begin_written(&m) || !fill(&kept)) return;
    kept.generation = m.generation;
    size_t handles = vfs_sim_open_count(sim);
    bool renamed = false;
    for (uint64_t nth = 1;; nth++) {
        vfs_sim_fail(sim, &(vfs_sim_fault){.nth = nth, .code = AEGIS_E_NOSPACE, .written_bytes = 300});
        int code = manifest_rotate(&m, 1, &added, 400, top);
        uint64_t hits = vfs_sim_fault_hits(sim);
        vfs_sim_fail(sim, NULL);
        EXPECT_EQ_U64(vfs_sim_open_count(sim), handles);
        if (hits == 0) break;
        EXPECT_CODE(code, AEGIS_E_NOSPACE);
        manifest found;
        bool damaged = false;
        EXPECT_OK(load(&found, &damaged));
        bool stands = found.generation > kept.generation;
        if (!same(&m, stands ? &found : &kept)) return;
        manifest_free(&found);
        EXPECT_EQ_U64(m.tiers[1].count, stands ? 4 : 3);
        renamed = stands;
        if (stands) break;
    }
    EXPECT(renamed);
    EXPECT_EQ_U64(m.generation, kept.generation + 1);
    EXPECT_EQ_U64(m.tiers[1].count, 4);
    EXPECT_EQ_U64(m.tiers[1].size, 400);
    EXPECT_BYTES(m.tiers[1].root, top, HASH_SIZE);
    manifest_free(&kept);
    end_with(&m);
}

TEST(a_manifest_is_written_into_the_space_that_was_reserved) {
    manifest m, again;
    bool damaged;
    uint64_t size = 0;
    uint8_t top[HASH_SIZE] = "root";
    const manifest_segment added = {3, 12, 400};
    if (!begin_written(&m)) return;
    EXPECT_OK(manifest_reserve(&m));
    EXPECT_OK(vfs_sim_file_size(sim, "MANIFEST.new", &size));
    vfs_sim_set_space(sim, 0);
    uint64_t calls = vfs_sim_calls(sim);
    EXPECT_OK(manifest_reserve(&m));
    EXPECT_EQ_U64(vfs_sim_calls(sim), calls);
    EXPECT_OK(manifest_rotate(&m, 1, &added, 400, top));
    EXPECT_OK(load(&again, &damaged));
    same(&again, &m);
    manifest_free(&again);
    end_with(&m);
}

TEST(a_reservation_that_fails_keeps_the_one_before_and_no_more) {
    manifest m;
    uint64_t size = 0, reserved = 0;
    uint8_t top[HASH_SIZE] = "root";
    if (!begin_written(&m)) return;
    vfs_sim_set_space(sim, 100);
    EXPECT_CODE(manifest_reserve(&m), AEGIS_E_NOSPACE);
    EXPECT_OK(vfs_sim_file_size(sim, "MANIFEST.new", &size));
    EXPECT_EQ_U64(size, 0);
    vfs_sim_set_space(sim, UINT64_MAX);
    EXPECT_OK(manifest_reserve(&m));
    EXPECT_OK(vfs_sim_file_size(sim, "MANIFEST.new", &reserved));
    /* So many segments more that it is not enough. */
    for (uint64_t i = 0; i < 100; i++) {
        const manifest_segment added = {3 + i, 12 + i, 400 + i};
        EXPECT_OK(manifest_add_segment(&m, 1, &added));
    }
    vfs_sim_set_space(sim, 100);
    EXPECT_CODE(manifest_reserve(&m), AEGIS_E_NOSPACE);
    EXPECT_OK(vfs_sim_file_size(sim, "MANIFEST.new", &size));
    EXPECT_EQ_U64(size, reserved);
    vfs_sim_set_space(sim, UINT64_MAX);
    EXPECT_OK(manifest_rotate(&m, 1, &(const manifest_segment){200, 200, 1000}, 1000, top));
    end_with(&m);
}

TEST(what_an_unfinished_replacement_left_is_no_obstacle) {
    manifest m, again;
    bool damaged;
    uint8_t garbage[5000];
    if (!begin_written(&m)) return;
    memset(garbage, 0xa5, sizeof garbage);
    EXPECT_OK(vfs_sim_patch(sim, "MANIFEST.new", 0, garbage, sizeof garbage));
    EXPECT_OK(manifest_write(&m));
    EXPECT_OK(load(&again, &damaged));
    EXPECT(!damaged);
    same(&again, &m);
    manifest_free(&again);
    end_with(&m);
}

/* ---- arbitrary bytes -------------------------------------------------------------------------------------------------- */

/* Under a checksum that fits, read without the secret: whatever is in it, it is refused or taken, and nothing else. */
TEST(arbitrary_bytes_are_refused_or_read_and_never_crash) {
    manifest m;
    uint8_t kept[sizeof image];
    uint64_t seed = 1;
    unsigned taken = 0;
    bool damaged;
    if (!begin_written(&m)) return;
    read_image();
    memcpy(kept, image, sizeof kept);
    EXPECT_OK(vfs_sim_settle(sim, false));
    for (unsigned round = 0; round < 40000; round++) {
        memcpy(image, kept, image_size);
        s.keyed = round % 4 != 0;
        if (round % 3 == 0) {
            size_t from = next_random(&seed) % copy_length;
            fill_random(&seed, image + from, min_u64(copy_length - from, 1 + next_random(&seed) % 200));
        } else {
            for (uint64_t n = 1 + next_random(&seed) % 4; n > 0; n--) {
                size_t at = next_random(&seed) % (copy_length - 40);
                uint64_t kind = next_random(&seed) % 4;
                image[at] = kind == 0 ? 0xff : kind == 1 ? 0 : kind == 2 ? (uint8_t)next_random(&seed) : (uint8_t)(image[at] + 1);
            }
        }
        size_t length = load_u32(image + 12);
        bool fits = length >= 112 && length <= image_size / 2;
        write_forged(&s, fits ? length : copy_length);
        int code = load_and_forget(&damaged);
        if (code == AEGIS_OK) taken++;
        else if (code != AEGIS_E_CORRUPT && code != AEGIS_E_VERSION) EXPECT_CODE(code, AEGIS_E_CORRUPT);
    }
    EXPECT(taken > 100 && taken < 39000);
    end_with(&m);
}

TEST(random_files_of_every_length_are_refused) {
    bool damaged;
    uint64_t seed = 2;
    uint8_t bytes[1500];
    if (!begin(1)) return;
    EXPECT_OK(vfs_sim_settle(sim, false));
    for (size_t size = 0; size < sizeof bytes; size++) {
        fill_random(&seed, bytes, size);
        if (size % 2 == 0) memcpy(bytes, "AEGISMAN", size < 8 ? size : 8);
        EXPECT_OK(vfs_sim_patch(sim, PATH, 0, bytes, size));
        EXPECT_OK(vfs_sim_resize(sim, PATH, size));
        EXPECT_CODE(load_and_forget(&damaged), AEGIS_E_CORRUPT);
    }
    EXPECT_OK(vfs_sim_resize(sim, PATH, (64u << 20) + 1));
    EXPECT_CODE(load_and_forget(&damaged), AEGIS_E_CORRUPT);
    EXPECT(message_has("larger than one can be"));
    end();
}
