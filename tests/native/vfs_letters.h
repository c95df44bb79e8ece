/* vfs_letters: files of letters and images described by them, for the tests of the simulated power cuts. Include after check.h.
 *
 * Files are made of sectors filled with one letter, and an image is described by them: "a:AB.+100" is a file of a sector of A's,
 * one of B's, and one of zeros that ends after 100 bytes; '?' is a mixture; a directory ends in "/", "none" is a disk without
 * a root, "-" an empty root. Most tests give a small workload and list every image that may come of it, no more and no fewer.
 */
#ifndef AEGIS_TESTS_VFS_LETTERS_H
#define AEGIS_TESTS_VFS_LETTERS_H

#include <errno.h>

#include "crc32c.h"
#include "vfs_sim.h"

#define SECTOR VFS_SIM_SECTOR
#define IMAGES_MAX 20000
#define TEXT_MAX 240

static vfs_sim *sim;
static vfs *v;
static vfs_dir *root;

/* A root that is durable, and nothing on record. */
static inline bool begin(void) {
    sim = vfs_sim_new(1);
    if (!EXPECT(sim != NULL)) return false;
    v = vfs_sim_vfs(sim);
    return EXPECT_OK(v->open_root(v, "store", VFS_CREATE, &root)) && EXPECT_OK(vfs_sim_settle(sim, true));
}

static inline void end(void) {
    v->close_dir(v, root);
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static inline vfs_file *open_file(const char *name) {
    vfs_file *file = NULL;
    EXPECT_OK(v->open(v, root, name, VFS_WRITE | VFS_CREATE, &file));
    return file;
}

/* Letters from sector `at` on; the last one may be short by `less` bytes. */
static inline void put_short(vfs_file *file, uint64_t at, const char *letters, size_t less) {
    uint8_t bytes[64 * SECTOR];
    size_t count = strlen(letters);
    for (size_t i = 0; i < count * SECTOR; i++) bytes[i] = (uint8_t)(letters[i / SECTOR] == '.' ? 0 : letters[i / SECTOR]);
    EXPECT_OK(v->write(v, file, at * SECTOR, bytes, count * SECTOR - less));
}

static inline void put(vfs_file *file, uint64_t at, const char *letters) { put_short(file, at, letters, 0); }

/* A file that is on the disk before the record starts. */
static inline vfs_file *durable_file(const char *name, const char *letters) {
    vfs_file *file = open_file(name);
    put(file, 0, letters);
    EXPECT_OK(vfs_sim_settle(sim, true));
    return file;
}

static inline void fail_next_sync(vfs_file *file) {
    vfs_sim_fail(sim, &(vfs_sim_fault){.nth = 1, .kinds = 1u << VFS_SIM_SYNC, .system_errno = EIO});
    EXPECT_CODE(v->sync(v, file), AEGIS_E_IO);
    vfs_sim_fail(sim, NULL);
}

/* ---- descriptions ----------------------------------------------------------------------------------------------------- */

/* Mixtures are told apart too. */
static bool exact;

typedef struct description {
    vfs_sim *image;
    char text[TEXT_MAX];
} description;

static inline void add(char *text, const char *more) { strncat(text, more, TEXT_MAX - strlen(text) - 1); }

static inline int describe_file(void *context, const char *path) {
    description *d = context;
    uint8_t bytes[SECTOR];
    uint64_t size = 0;
    size_t got = 0;
    if (d->text[0] != '\0') add(d->text, " ");
    add(d->text, path);
    if (path[strlen(path) - 1] == '/') return AEGIS_OK;
    add(d->text, ":");
    TRY(vfs_sim_file_size(d->image, path, &size));
    for (uint64_t at = 0; at < size; at += SECTOR) {
        TRY(vfs_sim_get(d->image, path, at, bytes, SECTOR, &got));
        char letter[2] = {bytes[0] == 0 ? '.' : (char)bytes[0], 0};
        for (size_t i = 1; i < got; i++)
            if (bytes[i] != bytes[0]) letter[0] = '?';
        char rest[24] = "";
        if (got < SECTOR) snprintf(rest, sizeof rest, "+%zu", got);
        if (exact && letter[0] == '?') snprintf(rest + strlen(rest), 12, "%08x", (unsigned)crc32c(0, bytes, got));
        add(d->text, letter);
        add(d->text, rest);
    }
    return AEGIS_OK;
}

static inline void describe(vfs_sim *image, description *d) {
    vfs *i = vfs_sim_vfs(image);
    vfs_dir *dir = NULL;
    *d = (description){.image = image};
    if (i->open_root(i, "store", VFS_READ, &dir) != AEGIS_OK) strcpy(d->text, "none");
    else EXPECT_OK(vfs_sim_files(image, describe_file, d));
    i->close_dir(i, dir);
}

typedef struct images {
    size_t count;
    char (*texts)[TEXT_MAX];
    size_t last_cut;
} images;

static inline int collect(void *context, vfs_sim *image, size_t cut) {
    images *found = context;
    description d;
    describe(image, &d);
    if (!EXPECT(found->count < IMAGES_MAX)) return AEGIS_E_LIMIT;
    memcpy(found->texts[found->count++], d.text, TEXT_MAX);
    EXPECT(cut >= found->last_cut);
    found->last_cut = cut;
    return AEGIS_OK;
}

static inline int by_text(const void *x, const void *y) { return strcmp(x, y); }

static inline images all_images(size_t from, size_t to, const vfs_sim_limits *limits, vfs_sim_counts *counts) {
    images found = {0, malloc(IMAGES_MAX * TEXT_MAX), 0};
    EXPECT_OK(vfs_sim_enumerate(sim, from, to, limits, collect, &found, counts));
    qsort(found.texts, found.count, TEXT_MAX, by_text);
    return found;
}

static inline bool has(const images *found, const char *text) {
    return bsearch(text, found->texts, found->count, TEXT_MAX, by_text) != NULL;
}

/* The images of one cut are these, each once: descriptions with "|" between them. */
static inline void expect_at(size_t cut, const char *expected) {
    images found = all_images(cut, cut, NULL, NULL);
    char wanted[4000], *place = NULL;
    size_t count = 0;
    snprintf(wanted, sizeof wanted, "%s", expected);
    /* strtok passes over empty texts; "-" stands for an empty root. */
    for (char *text = strtok_r(wanted, "|", &place); text != NULL; text = strtok_r(NULL, "|", &place), count++)
        if (!EXPECT(has(&found, strcmp(text, "-") == 0 ? "" : text))) printf("      missing: %s\n", text);
    if (!EXPECT_EQ_U64(found.count, count))
        for (size_t i = 0; i < found.count; i++) printf("      there is: %s\n", found.texts[i]);
    free(found.texts);
}

/* After everything on record. */
static inline void expect_now(const char *expected) { expect_at(vfs_sim_op_count(sim), expected); }

/* No image of an interval without marks is seen twice: those of neighbouring cuts are worked out from different disks. */
static inline void expect_distinct(size_t from, size_t to) {
    images found = all_images(from, to, NULL, NULL);
    for (size_t i = 1; i < found.count; i++)
        if (!EXPECT(strcmp(found.texts[i - 1], found.texts[i]) != 0)) printf("      twice: %s\n", found.texts[i]);
    free(found.texts);
}

#endif
