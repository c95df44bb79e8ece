/* scopes: what the tests of the floors below the store share: a scope over a simulated directory, and frames and segments made
 * by hand, as a writer would make them. */
#ifndef AEGIS_TESTS_SCOPES_H
#define AEGIS_TESTS_SCOPES_H

#include "crc32c.h"
#include "footer.h"
#include "stores.h"

static vfs_sim *sim;
static vfs *v;
static vfs_dir *root;
static scope s;

static inline scope scope_of(vfs *over, uint32_t tier, uint32_t align) {
    scope made = {.vfs = over, .tier = tier, .align = align, .keyed = true};
    memcpy(made.store_id, TEST_ID, STORE_ID_SIZE);
    hmac_prepare(&made.key, TEST_SECRET, sizeof TEST_SECRET);
    return made;
}

static inline bool begin(uint64_t seed) {
    sim = vfs_sim_new(seed);
    if (!EXPECT(sim != NULL)) return false;
    v = vfs_sim_vfs(sim);
    s = scope_of(v, SESSION, FRAME_ALIGN);
    return EXPECT_OK(v->open_root(v, "store", VFS_CREATE, &root));
}

/* Everything that was opened was closed again. */
static inline void end(void) {
    v->close_dir(v, root);
    EXPECT_EQ_U64(vfs_sim_open_count(sim), 0);
    vfs_sim_free(sim);
}

static inline vfs_file *file_named(const char *name, unsigned flags) {
    vfs_file *file = NULL;
    EXPECT_OK(v->open(v, root, name, flags, &file));
    return file;
}

/* The last failure, by what a person reads. */
static inline bool said_path(const char *path) {
    aegis_error error;
    aegis_last_error(&error);
    return check_string(error.path, path, "error.path", __FILE__, __LINE__);
}

/* Flips one bit of a file; flipping it again mends it. */
static inline void flip(const char *path, uint64_t bit) {
    uint8_t byte = 0;
    size_t got = 0;
    EXPECT_OK(vfs_sim_get(sim, path, bit / 8, &byte, 1, &got));
    if (!EXPECT_EQ_U64(got, 1)) return;
    byte ^= (uint8_t)(1u << bit % 8);
    EXPECT_OK(vfs_sim_patch(sim, path, bit / 8, &byte, 1));
}

/* A frame at `offset` of a segment with this nonce; returns its size. */
static inline uint64_t put_frame(const scope *in, uint8_t *to, uint64_t index, uint8_t flags, uint64_t watermark, const uint8_t *nonce,
                                 uint64_t offset, const uint8_t *entry, uint32_t entry_length, const uint8_t *payload,
                                 uint32_t payload_length) {
    uint8_t leaf[HASH_SIZE];
    leaf_hash(entry, entry_length, leaf);
    uint8_t kind = (uint8_t)(1 + index % 9);
    uint32_t open_body = frame_body_open(in, kind, entry, entry_length, payload, payload_length);
    frame_begin(to, kind, open_body, index, entry, entry_length, payload, payload_length);
    frame_finish(in, to, flags, watermark, nonce, offset, leaf);
    return frame_size(entry_length, payload_length);
}

/* Appends `count` records (those of make_record, from index seg->first + seg->count on) as one group, and takes them in. */
static inline void put_group(const scope *in, segment *seg, unsigned count, uint32_t payload_max, merkle_range *range) {
    uint64_t watermark = seg->first + seg->count, at = seg->tail;
    EXPECT_OK(segment_reserve_offsets(seg, seg->count + count));
    for (unsigned i = 0; i < count; i++) {
        uint8_t bytes[4096], leaf[HASH_SIZE];
        test_record r;
        make_record(in->tier, seg->first + seg->count, payload_max, &r);
        uint64_t size = put_frame(in, bytes, seg->first + seg->count, i + 1 == count ? FRAME_LAST : 0, watermark, seg->nonce, at,
                                  r.entry, r.entry_length, r.payload, r.payload_length);
        EXPECT_OK(in->vfs->write(in->vfs, seg->file, at, bytes, (size_t)size));
        leaf_hash(r.entry, r.entry_length, leaf);
        merkle_append(range, leaf);
        seg->offsets[seg->count++] = (uint32_t)(at / FRAME_ALIGN);
        at += size;
    }
    seg->tail = align_up(at, in->align);
}

/* A new segment with `groups` groups of three records, not sealed; its frontier is that of the log. */
static inline bool new_segment(const scope *in, vfs_dir *dir, uint64_t number, merkle_range *range, unsigned groups, segment *seg) {
    if (!EXPECT_OK(segment_create(in, dir, number, 7, 200000, seg))) return false;
    seg->first = range->size;
    for (unsigned i = 0; i < groups; i++) put_group(in, seg, 3, 300, range);
    seg->frontier = malloc(sizeof *seg->frontier);
    if (!EXPECT(seg->frontier != NULL)) return false;
    *seg->frontier = *range;
    return EXPECT_OK(in->vfs->sync(in->vfs, seg->file)) && EXPECT_OK(in->vfs->sync_dir(in->vfs, dir));
}

#endif
