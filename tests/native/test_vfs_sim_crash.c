/* vfs_sim_crash.c: which disks a test is shown, how many, each once; and what can be done with them. */
#include "check.h"

#include <time.h>

#include "vfs_letters.h"

/* ---- numbers worked out by hand --------------------------------------------------------------------------------------- */

/* A file replaced by way of a temporary one, as the manifest is. "a" holds A, one sector; the new text is 700 bytes of X.
 *
 *   cut  after                    pending                       combinations               images, and new ones
 *    0   nothing                  -                             1                          a:A                          1
 *    1   create tmp               name                          2                          with and without tmp:        1
 *    2   write tmp 0+700          name, 2 sectors, size         2 x 2 x 2 x 2 = 16         tmp: at size 0 (seen), and
 *                                                                                          4 at size 700                4
 *                                 torn at 512                   2 x 2 (whole size or not)  1 at size 512                1
 *    3   sync tmp                 name                          2                          both seen                    0
 *    4   rename tmp to a          name, rename                  4                          the new a                    1
 *    5   sync directory           -                             1                          seen                         0
 *    6   mark: submit             -                             1                          seen: forbids nothing        0
 *    7   mark: acknowledged       -                             1                          the new a, again             1
 *                                                              32                                                       9
 */
TEST(the_images_of_a_small_workload_are_those_worked_out_by_hand) {
    vfs_sim_counts counts;
    if (!begin()) return;
    v->close(v, durable_file("a", "A"));
    vfs_file *file = open_file("tmp");
    put_short(file, 0, "XX", 2 * SECTOR - 700);
    EXPECT_OK(v->sync(v, file));
    v->close(v, file);
    EXPECT_OK(v->rename(v, root, "tmp", "a"));
    EXPECT_OK(v->sync_dir(v, root));
    EXPECT_OK(vfs_sim_mark(sim, VFS_SIM_SUBMIT, 2, NULL, 0));
    EXPECT_OK(vfs_sim_mark(sim, VFS_SIM_ACK, 1, NULL, 0));
    EXPECT_EQ_U64(vfs_sim_op_count(sim), 7);
    images found = all_images(0, SIZE_MAX, NULL, &counts);
    EXPECT_EQ_U64(counts.cuts, 8);
    EXPECT_EQ_U64(counts.sampled_cuts, 0);
    EXPECT_EQ_U64(counts.combinations, 32);
    EXPECT_EQ_U64(counts.images, 9);
    EXPECT_EQ_U64(counts.duplicates, 23);
    EXPECT_EQ_U64(found.count, 9);
    EXPECT(has(&found, "a:A") && has(&found, "a:A tmp:") && has(&found, "a:XX+188"));
    EXPECT(has(&found, "a:A tmp:..+188") && has(&found, "a:A tmp:X.+188"));
    EXPECT(has(&found, "a:A tmp:X") && has(&found, "a:A tmp:.X+188") && has(&found, "a:A tmp:XX+188"));
    free(found.texts);
    /* From cut 7 on alone: one image; of an interval past the end: none. */
    found = all_images(7, 7, NULL, &counts);
    EXPECT_EQ_U64(found.count, 1);
    free(found.texts);
    found = all_images(8, 100, NULL, &counts);
    EXPECT_EQ_U64(found.count + counts.cuts, 0);
    free(found.texts);
    end();
}

/* Six sectors written by two writes over a durable file: 64 combinations, of which a limit of 63 allows samples only.
 *
 *   prefixes: nothing, first write (3 sectors), both                                       3
 *   tears: the first after 1 or 2 sectors, the second after 1 or 2                         4
 *   one missing: all but one (6); the last sector missing is a tear already                5
 *   one alone: (6); the first sector alone is a tear already                               5
 *   two missing: 15, of which sectors 4 and 5 is a tear                                   14
 *   two alone: 15, of which sectors 0 and 1 is a tear                                     14
 *                                                                                         45
 */
TEST(samples_are_the_prefixes_tears_singles_and_pairs) {
    vfs_sim_counts counts;
    vfs_sim_limits limits = VFS_SIM_LIMITS;
    if (!begin()) return;
    vfs_file *file = durable_file("a", "ABCDEF");
    put(file, 0, "UVW");
    put(file, 3, "XYZ");
    images found = all_images(2, 2, &limits, &counts);
    EXPECT_EQ_U64(found.count, 64);
    EXPECT_EQ_U64(counts.sampled_cuts, 0);
    free(found.texts);
    limits.all_subsets = 63;
    limits.random = 0;
    found = all_images(2, 2, &limits, &counts);
    EXPECT_EQ_U64(found.count, 45);
    EXPECT_EQ_U64(counts.sampled_cuts, 1);
    EXPECT(has(&found, "a:UVWXYF") && has(&found, "a:UBCDEF") && has(&found, "a:UVWXEF") && has(&found, "a:UVCDEF"));
    EXPECT(has(&found, "a:ABCDEZ") && has(&found, "a:ABWDEZ") && has(&found, "a:AVWXYF") && !has(&found, "a:UBWDYF"));
    free(found.texts);
    /* Random ones fill up to what there is, the same ones for a seed. */
    limits.random = 2000;
    found = all_images(2, 2, &limits, &counts);
    EXPECT_EQ_U64(found.count, 64);
    free(found.texts);
    v->close(v, file);
    end();
}

/* A write of three sectors past the end of one: size and data are torn together, as if the write had been shorter. */
TEST(a_torn_append_leaves_a_size_inside) {
    vfs_sim_limits limits = VFS_SIM_LIMITS;
    if (!begin()) return;
    vfs_file *file = durable_file("a", "A");
    put(file, 1, "XYZ");
    limits.all_subsets = 15;
    limits.random = 0;
    images found = all_images(1, 1, &limits, NULL);
    EXPECT(has(&found, "a:AX") && has(&found, "a:AXY") && has(&found, "a:AX..") && has(&found, "a:AXY."));
    EXPECT(has(&found, "a:A") && has(&found, "a:AXYZ") && has(&found, "a:A...") && has(&found, "a:A.YZ"));
    free(found.texts);
    v->close(v, file);
    end();
}

/* Against rule 4: 4 images by sectors, and the second sector torn after 1 to 511 bytes (the first one there), and the first
 * one after 1 to 511 bytes (the second one not). */
TEST(the_newest_write_can_be_torn_at_every_byte) {
    vfs_sim_limits limits = VFS_SIM_LIMITS;
    vfs_sim_counts counts;
    if (!begin()) return;
    vfs_file *file = durable_file("a", "AB");
    put(file, 0, "XY");
    limits.torn_bytes = true;
    images found = all_images(1, 1, &limits, &counts);
    EXPECT_EQ_U64(found.count, 4 + 511 + 511);
    EXPECT(has(&found, "a:X?") && has(&found, "a:?B") && !has(&found, "a:A?") && !has(&found, "a:?Y"));
    free(found.texts);
    v->close(v, file);
    end();
}

/* Seven changes of names: 128 subsets, of which a limit of 64 allows 8 prefixes, 7 with one missing, 7 with one alone; the
 * one missing last and the one alone first are prefixes. */
TEST(many_names_are_sampled) {
    char name[2] = "a";
    vfs_sim_limits limits = VFS_SIM_LIMITS;
    if (!begin()) return;
    for (; name[0] < 'h'; name[0]++) v->close(v, open_file(name));
    images found = all_images(7, 7, &limits, NULL);
    EXPECT_EQ_U64(found.count, 128);
    free(found.texts);
    limits.all_subsets = 127;
    found = all_images(7, 7, &limits, NULL);
    EXPECT_EQ_U64(found.count, 8 + 6 + 6);
    free(found.texts);
    end();
}

/* ---- images as machines ----------------------------------------------------------------------------------------------- */

static int run_on_image(void *context, vfs_sim *image, size_t cut) {
    vfs_sim_counts counts;
    images nested = {0, malloc(IMAGES_MAX * TEXT_MAX), 0};
    char text[TEXT_MAX];
    vfs_sim *outer = sim;
    vfs_dir *outer_root = root;
    vfs_sim_explain(image, text, sizeof text);
    EXPECT(strstr(text, "power cut after 0 write a 0+512; a (node 2): size 512 of 512, pending sectors 0=") != NULL);
    EXPECT_EQ_U64(cut, 1);
    EXPECT_EQ_U64(vfs_sim_open_count(image), 0);
    /* Recovery: a write of its own, cut in turn. */
    sim = image;
    v = vfs_sim_vfs(sim);
    EXPECT_EQ_U64(v->clock_ms(v), 77);
    EXPECT_OK(v->open_root(v, "store", VFS_READ, &root));
    vfs_file *file = open_file("a");
    EXPECT_OK(v->lock(v, file, 0, VFS_EXCLUSIVE_LOCK));
    put(file, 0, "R");
    v->close(v, file);
    v->close_dir(v, root);
    EXPECT_OK(vfs_sim_enumerate(image, 0, SIZE_MAX, NULL, collect, &nested, &counts));
    EXPECT_EQ_U64(nested.count, 2);
    free(nested.texts);
    sim = outer;
    root = outer_root;
    v = vfs_sim_vfs(sim);
    return ++*(int *)context == 2 ? 42 : AEGIS_OK;
}

TEST(an_image_is_a_machine_that_can_be_cut_again) {
    int seen = 0;
    char text[TEXT_MAX] = "x";
    vfs_sim_limits limits = VFS_SIM_LIMITS;
    if (!begin()) return;
    vfs_file *file = durable_file("a", "A");
    EXPECT_OK(v->lock(v, file, 0, VFS_EXCLUSIVE_LOCK));
    put(file, 0, "B");
    put(file, 0, "C");
    vfs_sim_set_clock(sim, 77);
    limits.record = true;
    /* The function can end it; what the images did is not seen here. */
    EXPECT_CODE(vfs_sim_enumerate(sim, 1, 1, &limits, run_on_image, &seen, NULL), 42);
    EXPECT_EQ_U64((uint64_t)seen, 2);
    expect_now("a:A|a:B|a:C");
    vfs_sim_explain(sim, text, sizeof text);
    EXPECT_STRING(text, "");
    v->close(v, file);
    end();
}

/* Ids of images, with and without what is past the first sector of "a". */
typedef struct ids {
    vfs_sim_id whole[16], asked[64], first[16];
    size_t count, asked_count;
} ids;

static size_t distinct_ids(const vfs_sim_id *all, size_t count) {
    size_t distinct = 0;
    for (size_t i = 0; i < count; i++) {
        size_t before = 0;
        while (before < i && (all[before].a != all[i].a || all[before].b != all[i].b)) before++;
        distinct += before == i;
    }
    return distinct;
}

static bool knows(void *context, vfs_sim_id id, size_t cut) {
    ids *all = context;
    (void)cut;
    if (all->asked_count < 64) all->asked[all->asked_count++] = id;
    return distinct_ids(all->asked, all->asked_count) == distinct_ids(all->asked, all->asked_count - 1);
}

static int take_ids(void *context, vfs_sim *image, size_t cut) {
    ids *all = context;
    const vfs_sim_end end = {"a", SECTOR};
    (void)cut;
    if (!EXPECT(all->count < 16)) return AEGIS_E_LIMIT;
    EXPECT_OK(vfs_sim_image_id(image, NULL, 0, &all->whole[all->count]));
    EXPECT_OK(vfs_sim_image_id(image, &end, 1, &all->first[all->count]));
    all->count++;
    return AEGIS_OK;
}

/* Sectors A, B of "a" become X, Y, and `size` sectors remain if that is fewer: a truncation in doubt is another way to the id. */
static void expect_ids(uint64_t size, size_t images, size_t without_the_end) {
    static ids all;
    vfs_sim_limits limits = VFS_SIM_LIMITS;
    vfs_sim_id id;
    if (!begin()) return;
    memset(&all, 0, sizeof all);
    vfs_file *file = durable_file("a", "AB");
    put(file, 0, "XY");
    if (size < 2) EXPECT_OK(v->truncate(v, file, size * SECTOR));
    limits.known = knows;
    EXPECT_OK(vfs_sim_enumerate(sim, vfs_sim_op_count(sim), SIZE_MAX, &limits, take_ids, &all, NULL));
    EXPECT_EQ_U64(all.count, images);
    EXPECT_EQ_U64(distinct_ids(all.whole, all.count), images);
    EXPECT_EQ_U64(distinct_ids(all.first, all.count), without_the_end);
    EXPECT_CODE(vfs_sim_image_id(sim, NULL, 0, &id), AEGIS_E_ARGUMENT);
    v->close(v, file);
    end();
}

TEST(images_have_ids_and_those_that_differ_past_an_end_have_one) {
    expect_ids(2, 4, 2);
    expect_ids(1, 6, 2);     /* and A and X alone */
}

static int keep_random(void *context, vfs_sim *image, size_t cut) {
    uint8_t(*drawn)[16] = context;
    (void)cut;
    if (!all_zero(drawn[0], 16)) drawn++;
    return vfs_sim_vfs(image)->random(vfs_sim_vfs(image), drawn[0], 16);
}

TEST(images_draw_random_numbers_of_their_own) {
    uint8_t first[2][16] = {{0}}, second[2][16] = {{0}}, here[16];
    if (!begin()) return;
    vfs_file *file = durable_file("a", "A");
    put(file, 0, "B");
    EXPECT_OK(vfs_sim_enumerate(sim, 1, 1, NULL, keep_random, first, NULL));
    EXPECT_OK(vfs_sim_enumerate(sim, 1, 1, NULL, keep_random, second, NULL));
    EXPECT_OK(v->random(v, here, sizeof here));
    EXPECT_BYTES(first, second, sizeof first);
    EXPECT(memcmp(first[0], first[1], 16) != 0 && memcmp(first[0], here, 16) != 0);
    v->close(v, file);
    end();
}

TEST(a_machine_that_recorded_nothing_has_no_images) {
    if (!begin()) return;
    EXPECT_OK(vfs_sim_settle(sim, false));
    EXPECT_CODE(vfs_sim_enumerate(sim, 0, 1, NULL, collect, NULL, NULL), AEGIS_E_ARGUMENT);
    end();
}

static void expect_image(size_t cut, enum vfs_sim_keep keep, const char *expected) {
    vfs_sim *image = NULL;
    description d;
    if (!EXPECT_OK(vfs_sim_image(sim, cut, keep, 1, &image))) return;
    describe(image, &d);
    EXPECT_STRING(d.text, expected);
    vfs_sim_free(image);
}

TEST(one_image_keeps_nothing_or_everything) {
    if (!begin()) return;
    vfs_file *a = durable_file("a", "A"), *b = open_file("b");
    put(a, 0, "B");
    put(b, 0, "C");
    expect_image(SIZE_MAX, VFS_SIM_KEEP_NOTHING, "a:A");
    expect_image(SIZE_MAX, VFS_SIM_KEEP_ALL, "a:B b:C");
    expect_image(1, VFS_SIM_KEEP_ALL, "a:A b:");
    v->close(v, a);
    v->close(v, b);
    end();
}

/* ---- random workloads ------------------------------------------------------------------------------------------------- */

/* One random operation on one of three files; few sectors and few values, so that everything meets everything. */
static void random_operation(uint64_t *seed) {
    static const char *const names[] = {"a", "b", "c"};
    const char *name = names[next_random(seed) % 3], *other = names[next_random(seed) % 3];
    uint64_t what = next_random(seed) % 16;
    if (what == 0) (void)v->unlink(v, root, name);
    else if (what == 1) (void)v->rename(v, root, name, other);
    else if (what == 2) EXPECT_OK(v->sync_dir(v, root));
    else {
        vfs_file *file = open_file(name);
        char letters[3] = {(char)('A' + next_random(seed) % 3), (char)('A' + next_random(seed) % 3), 0};
        if (what < 9) put_short(file, next_random(seed) % 3, letters, next_random(seed) % 2 * 300);
        else if (what < 11) EXPECT_OK(v->truncate(v, file, next_random(seed) % 4 * 400));
        else if (what < 12) EXPECT_OK(v->allocate(v, file, 0, next_random(seed) % 4 * 500));
        else if (what < 15) EXPECT_OK(v->sync(v, file));
        else fail_next_sync(file);
        v->close(v, file);
    }
}

/* Hashes and images are made by different code, and images of one cut by two ways: they must agree. If two equal images had
 * different hashes, one would be seen twice; if two different ones had the same hash, or a combination were left out, a
 * randomly chosen image would not be among those enumerated. */
TEST(no_image_is_seen_twice_and_none_is_left_out) {
    size_t cuts = 0, total = 0;
    exact = true;
    for (uint64_t round = 0; round < 60; round++) {
        uint64_t seed = round;
        vfs_sim_counts counts;
        if (!begin()) return;
        for (size_t i = 0; i < 12; i++) random_operation(&seed);
        for (size_t cut = 0; cut <= vfs_sim_op_count(sim); cut++) {
            images found = all_images(cut, cut, NULL, &counts);
            cuts++;
            total += found.count;
            for (size_t i = 1; i < found.count; i++)
                if (!EXPECT(strcmp(found.texts[i - 1], found.texts[i]) != 0)) printf("      twice: %s\n", found.texts[i]);
            for (uint64_t i = 0; i < 20 && counts.sampled_cuts == 0; i++) {
                vfs_sim *image = NULL;
                description d;
                EXPECT_OK(vfs_sim_image(sim, cut, VFS_SIM_KEEP_RANDOM, seed + i, &image));
                describe(image, &d);
                if (!EXPECT(has(&found, d.text))) printf("      left out: %s\n", d.text);
                vfs_sim_free(image);
            }
            free(found.texts);
        }
        expect_distinct(0, SIZE_MAX);
        end();
    }
    exact = false;
    printf("    %zu cuts, %zu images\n", cuts, total);
}

/* The running system and the disk are followed by different code too. */
TEST(keeping_everything_is_what_the_running_system_shows) {
    for (uint64_t round = 1000; round < 1200; round++) {
        uint64_t seed = round;
        char difference[200];
        vfs_sim *image = NULL;
        if (!begin()) return;
        for (size_t i = 0; i < 25; i++) random_operation(&seed);
        EXPECT_OK(vfs_sim_image(sim, SIZE_MAX, VFS_SIM_KEEP_ALL, 0, &image));
        if (!EXPECT(vfs_sim_same(sim, image, difference, sizeof difference)))
            printf("      round %" PRIu64 ": %s\n", round, difference);
        vfs_sim_free(image);
        end();
    }
}

static int count_only(void *context, vfs_sim *image, size_t cut) {
    (void)image, (void)cut;
    ++*(uint64_t *)context;
    return AEGIS_OK;
}

/* Not a promise: printed so that a slow enumerator is noticed. A pre-zeroed segment of 256 KiB, twelve pending sectors. */
TEST(images_are_made_fast) {
    uint64_t images_seen = 0;
    vfs_sim_counts counts;
    struct timespec before, after;
    static uint8_t zeros[65536];
    if (!begin()) return;
    vfs_file *file = open_file("00000000.seg");
    for (uint64_t at = 0; at < 4; at++) EXPECT_OK(v->write(v, file, at * sizeof zeros, zeros, sizeof zeros));
    EXPECT_OK(vfs_sim_settle(sim, true));
    for (int group = 0; group < 6; group++) {
        put(file, (uint64_t)group * 12, "ABCDEFGHIJKL");
        EXPECT_OK(v->sync(v, file));
        EXPECT_OK(vfs_sim_mark(sim, VFS_SIM_ACK, (uint64_t)group, NULL, 0));
    }
    clock_gettime(CLOCK_MONOTONIC, &before);
    EXPECT_OK(vfs_sim_enumerate(sim, 0, SIZE_MAX, NULL, count_only, &images_seen, &counts));
    clock_gettime(CLOCK_MONOTONIC, &after);
    double seconds = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9;
    /* 4,096 in each group; all of them written is the same disk as none of the next group, and that is seen again only after
     * the acknowledgement. */
    EXPECT_EQ_U64(images_seen, 6 * 4096 + 1);
    printf("    %.0f images a second\n", (double)images_seen / seconds);
    v->close(v, file);
    end();
}
