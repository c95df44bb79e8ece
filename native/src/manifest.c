/* manifest: see manifest.h and docs/FORMAT.md.
 *
 * A copy is valid if and only if (1) magic and checksum match, (2) the format version is known, (3) its length lies inside its half of
 * the file, (4) for who has the secret, its code matches, (5) its counts and lengths add up to its length, (6) tiers and first
 * indexes ascend, (7) a tier is swept up to its size at most, and its active segment was never rewritten. Of two valid copies the first is used: they are identical unless the file was damaged.
 * (1)-(7) each have a test of that number in tests/native/test_manifest.c.
 */
#include "manifest.h"

#include <stdlib.h>

#include "crc32c.h"

static const uint8_t MAGIC[8] = {'A', 'E', 'G', 'I', 'S', 'M', 'A', 'N'};

enum {
    M_VERSION = 8, M_LENGTH = 12, M_STORE = 16, M_GENERATION = 32, M_EPOCH = 40, M_FLAGS = 48, M_ALIGN = 52, M_SEGMENT = 56,
    M_NAME = 64, M_META = 66, M_TIERS = 68, M_HEADER = 72,
    T_TIER = 0, T_COUNT = 4, T_SIZE = 8, T_ROOT = 16, T_SWEPT = 48, T_HEADER = 56, SEGMENT_ENTRY = 24, TRAILER = 40,
};

#define COPY_ALIGN 512
#define FILE_MAX (64u << 20)

static const place WHERE = {.path = MANIFEST_NAME};

void manifest_init(manifest *m, const scope *s, vfs_dir *dir) {
    memset(m, 0, sizeof *m);
    pthread_mutex_init(&m->mutex, NULL);
    m->s = s;
    m->dir = dir;
    for (uint32_t t = 1; t <= AEGIS_TIERS; t++) m->tiers[t].tier = t;
}

void manifest_free(manifest *m) {
    for (uint32_t t = 1; t <= AEGIS_TIERS; t++) free(m->tiers[t].segments);
    pthread_mutex_destroy(&m->mutex);
}

int manifest_add_segment(manifest *m, uint32_t tier, const manifest_segment *added) {
    manifest_tier *t = &m->tiers[tier];
    if (t->count == t->capacity) {
        uint32_t capacity = t->capacity == 0 ? 8 : t->capacity * 2;
        manifest_segment *grown = realloc(t->segments, capacity * sizeof *grown);
        if (grown == NULL) return fail(AEGIS_E_NOMEM, "no memory for the list of %u segments", (unsigned)capacity);
        t->segments = grown;
        t->capacity = capacity;
    }
    t->segments[t->count++] = *added;
    return AEGIS_OK;
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

static size_t encoded_length(const manifest *m) {
    size_t length = M_HEADER + (size_t)align_up(strlen(m->name) + m->meta_length, 8) + TRAILER;
    for (uint32_t t = 1; t <= AEGIS_TIERS; t++)
        if (m->tiers[t].count > 0) length += T_HEADER + (size_t)m->tiers[t].count * SEGMENT_ENTRY;
    return length;
}

static void seal_copy(const manifest *m, uint8_t *copy, size_t length) {
    uint8_t domain = MAC_MANIFEST;
    uint8_t *trailer = copy + length - TRAILER;
    /* Hashed first: a list of segments has any length, and the code's message then has one. */
    sha256 inner;
    uint8_t digest[HASH_SIZE];
    sha256_start(&inner);
    sha256_add(&inner, &domain, 1);
    sha256_add(&inner, copy, length - TRAILER);
    sha256_end(&inner, digest);
    hmac_whole(&m->s->key, digest, sizeof digest, trailer);
    store_u32(trailer + HASH_SIZE, crc32c(0, copy, length - 8));
}

static void encode(const manifest *m, uint64_t generation, uint8_t *copy, size_t length) {
    size_t name = strlen(m->name);
    memcpy(copy, MAGIC, 8);
    store_u32(copy + M_VERSION, FORMAT_VERSION);
    store_u32(copy + M_LENGTH, (uint32_t)length);
    memcpy(copy + M_STORE, m->s->store_id, STORE_ID_SIZE);
    store_u64(copy + M_GENERATION, generation);
    store_u64(copy + M_EPOCH, m->epoch);
    store_u32(copy + M_FLAGS, 0);
    store_u32(copy + M_ALIGN, m->align);
    store_u64(copy + M_SEGMENT, m->segment_bytes);
    store_u16(copy + M_NAME, (uint16_t)name);
    store_u16(copy + M_META, (uint16_t)m->meta_length);
    uint8_t *p = copy + M_HEADER;
    memcpy(p, m->name, name);
    memcpy(p + name, m->meta, m->meta_length);
    p += align_up(name + m->meta_length, 8);
    uint32_t tiers = 0;
    for (uint32_t t = 1; t <= AEGIS_TIERS; t++) {
        const manifest_tier *tier = &m->tiers[t];
        if (tier->count == 0) continue;
        tiers++;
        store_u32(p + T_TIER, t);
        store_u32(p + T_COUNT, tier->count);
        store_u64(p + T_SIZE, tier->size);
        memcpy(p + T_ROOT, tier->root, HASH_SIZE);
        store_u64(p + T_SWEPT, tier->swept);
        p += T_HEADER;
        for (uint32_t i = 0; i < tier->count; i++, p += SEGMENT_ENTRY) {
            store_u64(p, tier->segments[i].number);
            store_u64(p + 8, tier->segments[i].generation);
            store_u64(p + 16, tier->segments[i].first);
        }
    }
    store_u32(copy + M_TIERS, tiers);
    seal_copy(m, copy, length);
}

/* How much the file may take with a segment more in each tier. */
static uint64_t most_bytes(const manifest *m) {
    return 2 * align_up(encoded_length(m) + AEGIS_TIERS * (T_HEADER + SEGMENT_ENTRY), COPY_ALIGN);
}

int manifest_reserve(manifest *m) {
    vfs *v = m->s->vfs;
    vfs_file *file = NULL;
    pthread_mutex_lock(&m->mutex);
    uint64_t needed = most_bytes(m);
    int code = m->reserved >= needed ? AEGIS_OK : v->open(v, m->dir, MANIFEST_NEW_NAME, VFS_WRITE | VFS_CREATE, &file);
    if (file != NULL) {
        code = v->allocate(v, file, 0, needed);
        if (code == AEGIS_OK) m->reserved = needed;
        else (void)v->truncate(v, file, m->reserved);    /* what little there was is somebody's */
        v->close(v, file);
    }
    pthread_mutex_unlock(&m->mutex);
    return code;
}

/* Replaces the file as a whole; m->generation is what the name leads to from the rename on. */
static int replace(manifest *m, uint64_t generation) {
    vfs *v = m->s->vfs;
    size_t length = encoded_length(m), half = (size_t)align_up(length, COPY_ALIGN);
    uint8_t *bytes = calloc(2, half);
    vfs_file *file = NULL;
    if (bytes == NULL) return fail(AEGIS_E_NOMEM, "no memory for a manifest of %zu bytes", 2 * half);
    encode(m, generation, bytes, length);
    memcpy(bytes + half, bytes, half);
    const char *name = MUTANT(MANIFEST_IN_PLACE) ? MANIFEST_NAME : MANIFEST_NEW_NAME;
    int code = v->open(v, m->dir, name, VFS_WRITE | VFS_CREATE, &file);
    /* Over what was reserved, and then cut to size: emptied first, its space could go to somebody else. */
    if (code == AEGIS_OK) code = v->write(v, file, 0, bytes, 2 * half);
    if (code == AEGIS_OK) code = v->truncate(v, file, 2 * half);
    if (code == AEGIS_OK && !MUTANT(NO_MANIFEST_SYNC)) code = v->sync(v, file);
    if (file != NULL) v->close(v, file);
    free(bytes);
    m->reserved = 0;
    if (code == AEGIS_OK && !MUTANT(MANIFEST_IN_PLACE)) code = v->rename(v, m->dir, MANIFEST_NEW_NAME, MANIFEST_NAME);
    if (code != AEGIS_OK) return code;
    m->generation = generation;
    return MUTANT(NO_MANIFEST_NAME_SYNC) ? AEGIS_OK : v->sync_dir(v, m->dir);
}

int manifest_write(manifest *m) { return replace(m, m->generation + 1); }

int manifest_renew(manifest *m) { return replace(m, m->generation); }

uint64_t manifest_next_generation(manifest *m) {
    pthread_mutex_lock(&m->mutex);
    uint64_t next = m->generation + 1;
    pthread_mutex_unlock(&m->mutex);
    return next;
}

static void note_head(manifest_tier *t, uint64_t size, const uint8_t root[HASH_SIZE]) {
    if (size < t->size) return;    /* a rotation came first */
    t->size = size;
    memcpy(t->root, root, HASH_SIZE);
}

/* Writes what was changed in a tier whose numbers were *before. On failure they are put back, and false is in *stands, unless the name
 * leads to the new file already: it is what the next open reads, whether or not its name is durable. */
static int write_change(manifest *m, manifest_tier *t, const manifest_tier *before, bool *stands) {
    uint64_t generation = m->generation;
    int code = manifest_write(m);
    *stands = m->generation != generation || MUTANT(NO_ROTATION_TAKEN_BACK);
    if (*stands) return code;
    t->count = before->count;
    t->size = before->size;
    t->swept = before->swept;
    memcpy(t->root, before->root, HASH_SIZE);
    return code;
}

int manifest_rotate(manifest *m, uint32_t tier, const manifest_segment *added, uint64_t size, const uint8_t root[HASH_SIZE]) {
    bool stands = false;
    pthread_mutex_lock(&m->mutex);
    manifest_tier *t = &m->tiers[tier];
    const manifest_tier before = *t;
    int code = manifest_add_segment(m, tier, added);
    if (code == AEGIS_OK) {
        note_head(t, size, root);
        code = write_change(m, t, &before, &stands);
    }
    pthread_mutex_unlock(&m->mutex);
    return code;
}

/* The space that a rotation counts on was used up: the old manifest's is free now, and is taken for the next one. What fails here has not
 * failed yet. */
static void reserve_again(manifest *m) {
    aegis_error last;
    aegis_last_error(&last);
    if (!MUTANT(NO_SPACE_TAKEN_AGAIN) && manifest_reserve(m) != AEGIS_OK) fail_again(&last);
}

int manifest_replace(manifest *m, uint32_t tier, uint32_t position, const manifest_segment *with, uint64_t size,
                     const uint8_t root[HASH_SIZE], bool *listed) {
    pthread_mutex_lock(&m->mutex);
    manifest_tier *t = &m->tiers[tier];
    const manifest_tier before = *t;
    const manifest_segment old = t->segments[position];
    t->segments[position] = *with;
    note_head(t, size, root);
    bool had_space = m->reserved > 0;
    int code = write_change(m, t, &before, listed);
    if (!*listed) t->segments[position] = old;
    pthread_mutex_unlock(&m->mutex);
    if (had_space) reserve_again(m);
    return code;
}

int manifest_sweep(manifest *m, uint32_t tier, uint64_t swept, uint64_t size, const uint8_t root[HASH_SIZE]) {
    bool stands = false;
    int code = AEGIS_OK;
    pthread_mutex_lock(&m->mutex);
    manifest_tier *t = &m->tiers[tier];
    const manifest_tier before = *t;
    bool had_space = m->reserved > 0, raised = swept > t->swept;
    if (raised) {
        t->swept = swept;
        note_head(t, size, root);
        code = write_change(m, t, &before, &stands);
    }
    pthread_mutex_unlock(&m->mutex);
    if (raised && had_space) reserve_again(m);
    return code;
}

/* ---- reading -------------------------------------------------------------------------------------------------------- */

/* Takes the body of a copy whose checksum and code hold. CORRUPT, without detail: one of (5) to (7) is broken. */
static int decode_body(manifest *m, const uint8_t *copy, size_t length) {
    size_t name = load_u16(copy + M_NAME), meta = load_u16(copy + M_META), end = length - TRAILER;
    size_t at = M_HEADER + (size_t)align_up(name + meta, 8);
    uint32_t previous = 0;
    if (at > end || name > AEGIS_NAME_MAX || meta > AEGIS_META_MAX) return AEGIS_E_CORRUPT;
    /* In one form only: the name ends where its length says, and zeros fill up behind the meta block. */
    const uint8_t *filled = copy + M_HEADER + name + meta;
    if (memchr(copy + M_HEADER, 0, name) != NULL || !all_zero(filled, (size_t)(copy + at - filled))) return AEGIS_E_CORRUPT;
    memcpy(m->name, copy + M_HEADER, name);
    m->name[name] = 0;
    memcpy(m->meta, copy + M_HEADER + name, meta);
    m->meta_length = (uint32_t)meta;
    m->generation = load_u64(copy + M_GENERATION);
    m->epoch = load_u64(copy + M_EPOCH);
    m->align = load_u32(copy + M_ALIGN);
    m->segment_bytes = load_u64(copy + M_SEGMENT);
    if (m->align != 8 && m->align != 4096) return AEGIS_E_CORRUPT;
    for (uint32_t t = 1; t <= AEGIS_TIERS; t++) m->tiers[t].count = 0;
    for (uint32_t left = load_u32(copy + M_TIERS); left > 0; left--) {
        if (end - at < T_HEADER) return AEGIS_E_CORRUPT;
        const uint8_t *p = copy + at;
        uint32_t tier = load_u32(p + T_TIER), count = load_u32(p + T_COUNT);
        at += T_HEADER;
        if (tier <= previous || tier > AEGIS_TIERS || count == 0) return AEGIS_E_CORRUPT;
        if (count > (end - at) / SEGMENT_ENTRY && !MUTANT(NO_MANIFEST_COUNT_TEST)) return AEGIS_E_CORRUPT;
        previous = tier;
        m->tiers[tier].size = load_u64(p + T_SIZE);
        memcpy(m->tiers[tier].root, p + T_ROOT, HASH_SIZE);
        m->tiers[tier].swept = load_u64(p + T_SWEPT);
        if (m->tiers[tier].swept > m->tiers[tier].size && !MUTANT(NO_MANIFEST_SWEPT_TEST)) return AEGIS_E_CORRUPT;
        uint64_t first = 0;
        for (uint32_t i = 0; i < count; i++, at += SEGMENT_ENTRY) {
            p = copy + at;
            manifest_segment seg = {.number = load_u64(p), .generation = load_u64(p + 8), .first = load_u64(p + 16)};
            if (!MUTANT(NO_MANIFEST_ORDER_TEST) && (i == 0 ? seg.first != 0 : seg.first <= first)) return AEGIS_E_CORRUPT;
            first = seg.first;
            TRY(manifest_add_segment(m, tier, &seg));
            if (i + 1 == count && seg.number >> 32 != 0 && !MUTANT(NO_MANIFEST_ACTIVE_TEST)) return AEGIS_E_CORRUPT;
        }
    }
    return at == end ? AEGIS_OK : AEGIS_E_CORRUPT;
}

static int decode_copy(manifest *m, const uint8_t *copy, size_t half, uint8_t store_id[STORE_ID_SIZE]) {
    if (half < M_HEADER + TRAILER || memcmp(copy, MAGIC, 8) != 0) return AEGIS_E_CORRUPT;
    size_t length = load_u32(copy + M_LENGTH);
    if (length < M_HEADER + TRAILER || length > half) return AEGIS_E_CORRUPT;
    if (!MUTANT(NO_MANIFEST_CHECKSUM) && load_u32(copy + length - 8) != crc32c(0, copy, length - 8)) return AEGIS_E_CORRUPT;
    if (!MUTANT(NO_MANIFEST_VERSION_TEST) && load_u32(copy + M_VERSION) != FORMAT_VERSION)
        return fail_at(AEGIS_E_VERSION, &WHERE, "the store has format %u; this engine reads %u",
                       (unsigned)load_u32(copy + M_VERSION), (unsigned)FORMAT_VERSION);
    if (m->s->keyed) {
        uint8_t *again = malloc(length);
        if (again == NULL) return fail(AEGIS_E_NOMEM, "no memory for a manifest of %zu bytes", length);
        memcpy(again, copy, length);
        seal_copy(m, again, length);
        bool equal = equal_secret(again + length - TRAILER, copy + length - TRAILER, HASH_SIZE);
        free(again);
        if (!equal && !MUTANT(NO_MANIFEST_CODE)) return fail_at(AEGIS_E_SECRET, &WHERE, "the manifest was not written under this store secret");
    }
    memcpy(store_id, copy + M_STORE, STORE_ID_SIZE);
    return decode_body(m, copy, length);
}

static int decode_file(manifest *m, const uint8_t *bytes, size_t size, uint8_t store_id[STORE_ID_SIZE], bool *copy_damaged) {
    size_t half = size / 2;
    int first = decode_copy(m, bytes, half, store_id);
    if (first == AEGIS_OK) {
        *copy_damaged = !MUTANT(NO_COPIES_COMPARED) && (size % 2 != 0 || memcmp(bytes, bytes + half, half) != 0);
        return AEGIS_OK;
    }
    if (first == AEGIS_E_NOMEM) return first;    /* not damage, though the second copy might be decoded */
    *copy_damaged = true;
    int second = MUTANT(NO_SECOND_COPY) ? AEGIS_E_CORRUPT : decode_copy(m, bytes + half, half, store_id);
    if (second == AEGIS_OK || second == AEGIS_E_VERSION || second == AEGIS_E_SECRET || second == AEGIS_E_NOMEM) return second;
    if (first == AEGIS_E_VERSION || first == AEGIS_E_SECRET) return first;
    return fail_at(AEGIS_E_CORRUPT, &WHERE, "both copies of the manifest are damaged");
}

int manifest_load(manifest *m, uint8_t store_id[STORE_ID_SIZE], bool *copy_damaged) {
    vfs *v = m->s->vfs;
    vfs_file *file = NULL;
    uint64_t size = 0;
    size_t got = 0;
    TRY(v->open(v, m->dir, MANIFEST_NAME, VFS_READ, &file));
    int code = v->size(v, file, &size);
    if (code == AEGIS_OK && size > FILE_MAX) code = fail_at(AEGIS_E_CORRUPT, &WHERE, "the manifest is larger than one can be");
    uint8_t *bytes = code == AEGIS_OK ? malloc((size_t)size + 1) : NULL;
    if (code == AEGIS_OK && bytes == NULL) code = fail(AEGIS_E_NOMEM, "no memory for a manifest");
    if (code == AEGIS_OK) code = v->read(v, file, 0, bytes, (size_t)size, &got);
    v->close(v, file);
    if (code == AEGIS_OK) code = decode_file(m, bytes, got, store_id, copy_damaged);
    free(bytes);
    return code;
}
