/* Whole files that are not what they were: cut at a length, gone, under another's name, changed for another's. The stores and what is
 * asked of them are those of test_flips.c; here the answer is one of three: everything is as before, or the last group of a killed store
 * is cut off as a tear would be, or the store is refused and the error names a file that it was done to.
 *
 * Two things cannot be told from inside, and are in the list beforehand: the active segment of a killed store that was cut within its
 * frames, with all that vouched for what stood behind, is a shorter log; and a manifest that is gone together with the last segment
 * is made again without it. Heads that were kept outside tell both.
 *
 * AEGIS_FLIPS=all cuts at every length, otherwise near the borders of what the file holds and at each multiple of 64.
 */
#include "flips.h"

static const uint8_t OTHER_ID[16] = "another's own id";
static const flip_plan TILES = {"tiles", 1, 258, 4, 28672, 8, CLOSED, false}, CLOSED_STORE = {"closed", 1, 26, 50, 14336, 8, CLOSED, false},
                       KILLED_STORE = {"killed", 1, 26, 50, 14336, 8, KILLED, false}, TWO = {"two tiers", 2, 13, 50, 13824, 8, CLOSED, false};

typedef struct tally {
    uint64_t whole, tail, refused, failed;
} tally;

static bool is_named(const aegis_error *e, const char *path) {
    const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;
    return strcmp(e->path, name) == 0;
}

/* The log that ends with the last group before byte `at` of a killed store's active segment, if that is what `path` is; else all of it. */
static uint64_t size_before(const flip_store *f, const char *path, uint64_t at) {
    const flip_tier *tier = &f->tiers[0];
    const flip_segment *active = &tier->segments[tier->segment_count - 1];
    char name[SEGMENT_NAME_SIZE];
    segment_name(active->number, name);
    if (f->plan->end == CLOSED || at < SEGMENT_FRAMES || strncmp(path, "session/", 8) != 0 || strcmp(path + 8, name) != 0) return tier->count;
    uint64_t size = tier->count;
    while (size > active->first && tier->offsets[size] > at) size--;
    return size == tier->count ? size : max_u64(active->first, size / 3 * 3);
}

/* What stands on `sim` is a store to which something was done, to `path` and `other`. At least `least` records of the first tier are
 * left where it opens. */
static void judge(const flip_store *f, vfs_sim *sim, const char *what, const char *path, const char *other, uint64_t least, tally *t) {
    for (int appending = 0; appending < 2; appending++) {
        answer a;
        bool whole = true;
        vfs_sim *copy = vfs_sim_clone(sim);
        if (!EXPECT(copy != NULL && vfs_sim_settle(copy, false) == AEGIS_OK)) return;
        flip_try(f, copy, appending, true, &a);
        vfs_sim_free(copy);
        if (a.code == AEGIS_OK && a.bad_records + a.findings > 0) flip_wrong(&a, "records are damaged:", a.bad_records + a.findings);
        for (unsigned n = 0; n < f->tier_count && a.code == AEGIS_OK; n++) {
            const flip_tier *tier = &f->tiers[n];
            whole = whole && a.sizes[n] == (appending ? tier->count : tier->proven);
            uint64_t left = n == 0 ? least : tier->count;
            if (appending ? a.sizes[n] != left : a.sizes[n] > left) flip_wrong(&a, "records are gone: size", a.sizes[n]);
            if (!appending && left == tier->count && !whole) flip_wrong(&a, "records are gone: size", a.sizes[n]);
        }
        if (a.code != AEGIS_OK && a.code != AEGIS_E_CORRUPT && a.code != AEGIS_E_FOREIGN) flip_wrong(&a, "refused as something else:", (uint64_t)-a.code);
        if (a.code != AEGIS_OK && !is_named(&a.error, path) && !is_named(&a.error, other)) flip_wrong(&a, "refused without the name:", a.error.segment);
        if (a.wrong[0] != '\0') {
            if (t->failed++ < 12) printf("    %s %s %s, %s: %s; %s %s\n", what, path, other, appending ? "appending" : "reading", a.wrong, a.error.path, a.error.message);
        } else if (a.code != AEGIS_OK) t->refused++;
        else if (whole) t->whole++;
        else t->tail++;
    }
}

static bool near_border(const flip_layout *l, uint64_t at) {
    for (size_t i = 0; i < l->count; i++)
        if (i % FLIP_STRIDE == 0 && at + 2 >= l->ranges[i].to && at <= l->ranges[i].to + 2) return true;
    return at % (64 * FLIP_STRIDE) == 0;
}

static void cut_everywhere(const flip_store *f, tally *t) {
    static flip_layout layout;
    const char *wanted = getenv("AEGIS_FLIPS");
    bool all = wanted != NULL && strcmp(wanted, "all") == 0;
    for (unsigned n = 0; n < f->file_count; n++) {
        uint64_t size = 0;
        flip_describe(f, f->files[n], &layout);
        EXPECT_OK(vfs_sim_file_size(f->sim, f->files[n], &size));
        for (uint64_t at = 0; at < size; at++) {
            if (!all && !near_border(&layout, at)) continue;
            vfs_sim *sim = vfs_sim_clone(f->sim);
            EXPECT_OK(vfs_sim_resize(sim, f->files[n], at));
            char what[48];
            snprintf(what, sizeof what, "cut at %" PRIu64, at);
            judge(f, sim, what, f->files[n], f->files[n], size_before(f, f->files[n], at), t);
            vfs_sim_free(sim);
        }
    }
}

/* `path` gets what `from` has under `from_path`. */
static void put_in_place(const flip_store *f, vfs_sim *from, const char *from_path, const char *path, bool swap, const char *what, tally *t) {
    vfs_sim *sim = vfs_sim_clone(f->sim);
    EXPECT_OK(vfs_sim_copy_file(from, from_path, sim, path));
    if (swap) EXPECT_OK(vfs_sim_copy_file(f->sim, path, sim, from_path));
    judge(f, sim, what, path, from_path, f->tiers[0].count, t);
    vfs_sim_free(sim);
}

static bool is_last_segment(const flip_store *f, const char *path) {
    for (unsigned n = 0; n < f->tier_count; n++) {
        char own[64], name[SEGMENT_NAME_SIZE];
        segment_name(f->tiers[n].segments[f->tiers[n].segment_count - 1].number, name);
        snprintf(own, sizeof own, "%s/%s", tier_name(f->tiers[n].tier), name);
        if (strcmp(own, path) == 0) return true;
    }
    return false;
}

static void change_everything(const flip_store *f, const flip_store *other, tally *t) {
    for (unsigned n = 0; n < f->file_count; n++) {
        const char *path = f->files[n];
        uint64_t ignored = 0;
        vfs_sim *sim = vfs_sim_clone(f->sim);
        EXPECT_OK(vfs_sim_remove(sim, path));
        judge(f, sim, "removed", path, path, f->tiers[0].count, t);
        vfs_sim_free(sim);
        if (vfs_sim_file_size(other->sim, path, &ignored) == AEGIS_OK) put_in_place(f, other->sim, path, path, false, "another store's", t);
        for (unsigned k = 0; k < f->file_count; k++) {
            if (k == n) continue;
            put_in_place(f, f->sim, f->files[k], path, false, "has the content of", t);
            if (k < n) put_in_place(f, f->sim, f->files[k], path, true, "changed with", t);
            /* Under the other's name, and gone from its own place. */
            if (strcmp(f->files[k], "MANIFEST") == 0 && is_last_segment(f, path)) continue;
            sim = vfs_sim_clone(f->sim);
            EXPECT_OK(vfs_sim_copy_file(f->sim, path, sim, f->files[k]));
            EXPECT_OK(vfs_sim_remove(sim, path));
            judge(f, sim, "renamed to", path, f->files[k], f->tiers[0].count, t);
            vfs_sim_free(sim);
        }
    }
}

/* A copy of a segment under a number that nobody lists. */
static void copy_beside(const flip_store *f, tally *t) {
    for (unsigned n = 0; n < f->tiers[0].segment_count; n++) {
        char path[64], name[SEGMENT_NAME_SIZE];
        segment_name(f->tiers[0].segments[n].number, name);
        snprintf(path, sizeof path, "session/%s", name);
        vfs_sim *sim = vfs_sim_clone(f->sim);
        EXPECT_OK(vfs_sim_copy_file(f->sim, path, sim, "session/0000000f.seg"));
        judge(f, sim, "copied to", "session/0000000f.seg", path, f->tiers[0].count, t);
        vfs_sim_free(sim);
    }
}

static void try_files(const flip_plan *plan) {
    static flip_store f, other;
    tally cuts = {0}, changes = {0};
    if (!flip_make(plan, 1, TEST_ID, &f) || !flip_make(plan, 2, OTHER_ID, &other)) return;
    cut_everywhere(&f, &cuts);
    change_everything(&f, &other, &changes);
    copy_beside(&f, &changes);
    printf("    %-10s %-28s %7" PRIu64 " as before %6" PRIu64 " tail %7" PRIu64 " refused %4" PRIu64 " failed\n", plan->name, "cut", cuts.whole, cuts.tail, cuts.refused, cuts.failed);
    printf("    %-10s %-28s %7" PRIu64 " as before %6" PRIu64 " tail %7" PRIu64 " refused %4" PRIu64 " failed\n", plan->name, "gone, renamed, exchanged", changes.whole, changes.tail, changes.refused, changes.failed);
    EXPECT_EQ_U64(cuts.failed + changes.failed, 0);
    EXPECT(cuts.whole > 0 && cuts.refused > 0 && changes.whole > 0 && changes.refused > 0);
    flip_end(&f);
    flip_end(&other);
}

TEST(a_file_of_a_closed_store_that_is_cut_or_changed_is_made_up_for_or_refused_by_name) { try_files(&CLOSED_STORE); }
TEST(a_file_of_a_killed_store_that_is_cut_or_changed_is_made_up_for_or_refused_by_name) { try_files(&KILLED_STORE); }
TEST(a_file_of_two_tiers_that_is_cut_or_changed_is_made_up_for_or_refused_by_name) { try_files(&TWO); }
TEST(a_file_beside_whole_tiles_that_is_cut_or_changed_is_made_up_for_or_refused_by_name) { try_files(&TILES); }
