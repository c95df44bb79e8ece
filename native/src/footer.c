/* footer: see footer.h and docs/FORMAT.md.
 *
 * A footer is valid if and only if (1) magic, version and both checksums match, (2) store, tier, number and generation are those of
 * the header, (3) first + count does not overflow and equals what the manifest says, (4) the offset table is increasing and ends
 * before where the frames end, (5) the frontier gives the root, (6) for who has the secret, the code matches.
 * (1)-(6) each have a test of that number in tests/native/test_footer.c. (3) is recovery's to ask: only it knows the manifest.
 */
#include "footer.h"

#include <stdlib.h>

#include "crc32c.h"

static const uint8_t MAGIC[8] = {'A', 'E', 'G', 'I', 'S', 'F', 'T', 'R'};

enum {
    F_VERSION = 8, F_TIER = 12, F_STORE = 16, F_NUMBER = 32, F_GENERATION = 40, F_FIRST = 48, F_COUNT = 56, F_END = 64,
    F_TABLE_CRC = 72, F_ROOT = 80, F_FRAMES = 112, F_SIGNATURE = 144, F_MAC = 208, F_CRC = 252,
};
_Static_assert(F_SIGNATURE == FOOTER_MESSAGE && F_CRC + 4 == FOOTER_FIXED, "FORMAT.md shows 256 bytes");

#define CHUNK 65536

static void footer_mac(const scope *s, const uint8_t *fixed, uint8_t out[MAC_SIZE]) {
    uint8_t message[1 + FOOTER_MESSAGE];
    message[0] = MAC_FOOTER;
    memcpy(message + 1, fixed, FOOTER_MESSAGE);
    scope_mac(s, message, sizeof message, out);
}

static place where_of(const scope *s, const segment *seg, char name[SEGMENT_NAME_SIZE]) {
    segment_name(seg->number, name);
    return (place){.tier = s->tier, .segment = seg->number, .path = name};
}

int footer_read(const scope *s, const segment *seg, footer *out) {
    uint8_t fixed[FOOTER_FIXED];
    char name[SEGMENT_NAME_SIZE];
    place where = where_of(s, seg, name);
    uint64_t size = 0;
    size_t got = 0;
    TRY(s->vfs->size(s->vfs, seg->file, &size));
    if (size < SEGMENT_FRAMES + FOOTER_FIXED) return AEGIS_E_TORN;
    where.offset = size - FOOTER_FIXED;
    TRY(s->vfs->read(s->vfs, seg->file, where.offset, fixed, sizeof fixed, &got));
    if (got < sizeof fixed || memcmp(fixed, MAGIC, 8) != 0) return AEGIS_E_TORN;
    if (!MUTANT(NO_FOOTER_CHECKSUM) && load_u32(fixed + F_CRC) != crc32c(0, fixed, FOOTER_MESSAGE)) return AEGIS_E_TORN;
    if (load_u32(fixed + F_VERSION) != FORMAT_VERSION)
        return fail_at(AEGIS_E_VERSION, &where, "the footer of %s has a newer format", name);
    if (!MUTANT(NO_FOOTER_OWNER_TEST) &&
        (memcmp(fixed + F_STORE, s->store_id, STORE_ID_SIZE) != 0 || load_u32(fixed + F_TIER) != s->tier ||
         load_u64(fixed + F_NUMBER) != seg->number || load_u64(fixed + F_GENERATION) != seg->generation))
        return fail_at(AEGIS_E_FOREIGN, &where, "the footer of %s belongs to another segment", name);
    if (s->keyed && !MUTANT(NO_FOOTER_CODE)) {
        uint8_t expected[MAC_SIZE];
        footer_mac(s, fixed, expected);
        if (!equal_secret(expected, fixed + F_MAC, MAC_SIZE))
            return fail_at(AEGIS_E_CORRUPT, &where, "the footer of %s was not written by this store", name);
    }
    out->first = load_u64(fixed + F_FIRST);
    out->count = load_u64(fixed + F_COUNT);
    out->frames_end = load_u64(fixed + F_END);
    out->table_crc = load_u32(fixed + F_TABLE_CRC);
    memcpy(out->root, fixed + F_ROOT, HASH_SIZE);
    memcpy(out->frames_sha256, fixed + F_FRAMES, HASH_SIZE);
    memcpy(out->message, fixed, FOOTER_MESSAGE);
    memcpy(out->signature, fixed + F_SIGNATURE, SIGNATURE_SIZE);
    out->is_signed = !all_zero(out->signature, SIGNATURE_SIZE);
    /* The file's length follows from the rest, which bounds `count` by what is really there. */
    uint64_t end = 0, table = 0;
    bool fits = out->count > 0 && add_u64(out->first, out->count, &end) && mul_u64(out->count, 4, &table) && table <= size &&
                out->frames_end >= SEGMENT_FRAMES && out->frames_end <= size &&
                out->frames_end + table + (uint64_t)merkle_peak_count(end) * HASH_SIZE + FOOTER_FIXED == size;
    if (!fits && !MUTANT(NO_FOOTER_FIT_TEST))
        return fail_at(AEGIS_E_CORRUPT, &where, "the footer of %s does not fit its file", name);
    return AEGIS_OK;
}

int footer_frontier(const scope *s, const segment *seg, const footer *f, merkle_range *out) {
    char name[SEGMENT_NAME_SIZE];
    place where = where_of(s, seg, name);
    uint8_t root[HASH_SIZE];
    size_t got = 0;
    out->size = f->first + f->count;
    unsigned peaks = merkle_peak_count(out->size);
    where.offset = f->frames_end + f->count * 4;
    TRY(s->vfs->read(s->vfs, seg->file, where.offset, out->peaks, (size_t)peaks * HASH_SIZE, &got));
    merkle_root(out, root);
    if (!MUTANT(NO_FRONTIER_TEST) && (got != (size_t)peaks * HASH_SIZE || memcmp(root, f->root, HASH_SIZE) != 0))
        return fail_at(AEGIS_E_CORRUPT, &where, "the frontier in the footer of %s does not give its root", name);
    return AEGIS_OK;
}

int footer_check_table(const scope *s, const segment *seg, const footer *f) {
    char name[SEGMENT_NAME_SIZE];
    place where = where_of(s, seg, name);
    where.offset = f->frames_end;
    uint64_t left = f->count * 4 + (uint64_t)merkle_peak_count(f->first + f->count) * HASH_SIZE;
    uint64_t at = f->frames_end, table_end = f->frames_end + f->count * 4;
    uint64_t previous = 0;
    uint32_t crc = 0;
    uint8_t *chunk = malloc(CHUNK);
    if (chunk == NULL) return fail(AEGIS_E_NOMEM, "no memory to check a footer");
    int code = AEGIS_OK;
    bool ordered = true;
    while (left > 0 && code == AEGIS_OK) {
        size_t got = 0, length = (size_t)min_u64(CHUNK, left);
        code = s->vfs->read(s->vfs, seg->file, at, chunk, length, &got);
        if (code == AEGIS_OK && got < length) code = AEGIS_E_CORRUPT;
        crc = crc32c(crc, chunk, got);
        for (size_t i = 0; i + 4 <= got && at + i < table_end; i += 4) {
            uint64_t offset = (uint64_t)load_u32(chunk + i) * FRAME_ALIGN;
            ordered = ordered && offset >= SEGMENT_FRAMES && offset > previous && offset < f->frames_end;
            previous = offset;
        }
        at += length;
        left -= length;
    }
    free(chunk);
    if (code != AEGIS_OK && code != AEGIS_E_CORRUPT) return code;
    if (code != AEGIS_OK || (!ordered && !MUTANT(NO_TABLE_ORDER_TEST)) || (crc != f->table_crc && !MUTANT(NO_TABLE_CHECKSUM)))
        return fail_at(AEGIS_E_CORRUPT, &where, "the offset table in the footer of %s is damaged", name);
    return AEGIS_OK;
}

int footer_offsets(const scope *s, const segment *seg, uint64_t n, unsigned count, uint64_t *offsets) {
    char name[SEGMENT_NAME_SIZE];
    place where = where_of(s, seg, name);
    uint8_t bytes[4 * (SEGMENT_LOCATE_MAX + 1)];
    size_t got = 0;
    bool last = n + count == seg->count;
    size_t wanted = 4 * ((size_t)count + (last ? 0 : 1));
    where.offset = seg->tail + n * 4;
    where.first = seg->first + n;
    where.end = where.first + count;
    TRY(s->vfs->read(s->vfs, seg->file, where.offset, bytes, wanted, &got));
    for (size_t i = 0; 4 * i + 4 <= got; i++) offsets[i] = (uint64_t)load_u32(bytes + 4 * i) * FRAME_ALIGN;
    if (last) offsets[count] = seg->tail;
    bool right = got == wanted && offsets[0] >= SEGMENT_FRAMES && offsets[count] <= seg->tail;
    for (unsigned i = 0; right && i < count; i++) right = offsets[i] + FRAME_HEADER < offsets[i + 1];
    if (!right && !MUTANT(NO_OFFSETS_TEST)) return fail_at(AEGIS_E_CORRUPT, &where, "the offset table in the footer of %s is damaged", name);
    return AEGIS_OK;
}

int segment_locate(const scope *s, const segment *seg, uint64_t n, unsigned count, uint64_t *offsets) {
    CHECK(count > 0 && count <= SEGMENT_LOCATE_MAX && n + count <= seg->count);
    if (seg->sealed) return footer_offsets(s, seg, n, count, offsets);
    for (unsigned i = 0; i < count; i++) offsets[i] = (uint64_t)seg->offsets[n + i] * FRAME_ALIGN;
    offsets[count] = n + count < seg->count ? (uint64_t)seg->offsets[n + count] * FRAME_ALIGN : seg->tail;
    return AEGIS_OK;
}

static int hash_frames(const scope *s, const segment *seg, uint8_t digest[HASH_SIZE]) {
    uint8_t *chunk = malloc(CHUNK);
    if (chunk == NULL) return fail(AEGIS_E_NOMEM, "no memory to seal a segment");
    sha256 hash;
    sha256_start(&hash);
    int code = AEGIS_OK;
    for (uint64_t at = SEGMENT_FRAMES; at < seg->tail && code == AEGIS_OK;) {
        size_t got = 0, length = (size_t)min_u64(CHUNK, seg->tail - at);
        code = s->vfs->read(s->vfs, seg->file, at, chunk, length, &got);
        if (code == AEGIS_OK && got < length) code = fail(AEGIS_E_CORRUPT, "a segment shrank while it was sealed");
        sha256_add(&hash, chunk, got);
        at += length;
    }
    free(chunk);
    sha256_end(&hash, digest);
    return code;
}

int footer_write(const scope *s, const segment *seg, uint8_t root[HASH_SIZE]) {
    uint8_t digest[HASH_SIZE];
    TRY(hash_frames(s, seg, digest));
    return footer_put(s, seg, digest, root);
}

int footer_put(const scope *s, const segment *seg, const uint8_t frames_sha256[HASH_SIZE], uint8_t root[HASH_SIZE]) {
    uint64_t end = seg->first + seg->count;
    CHECK(!seg->sealed && seg->frontier != NULL && seg->frontier->size == end && seg->count > 0);
    size_t table = (size_t)seg->count * 4, peaks = (size_t)merkle_peak_count(end) * HASH_SIZE;
    size_t whole = table + peaks + FOOTER_FIXED;
    uint8_t *bytes = calloc(1, whole);
    if (bytes == NULL) return fail(AEGIS_E_NOMEM, "no memory for a footer of %zu bytes", whole);
    for (size_t i = 0; i < seg->count; i++) store_u32(bytes + 4 * i, seg->offsets[i]);
    memcpy(bytes + table, seg->frontier->peaks, peaks);
    merkle_root(seg->frontier, root);
    uint8_t *fixed = bytes + table + peaks;
    memcpy(fixed, MAGIC, 8);
    store_u32(fixed + F_VERSION, FORMAT_VERSION);
    store_u32(fixed + F_TIER, s->tier);
    memcpy(fixed + F_STORE, s->store_id, STORE_ID_SIZE);
    store_u64(fixed + F_NUMBER, seg->number);
    store_u64(fixed + F_GENERATION, seg->generation);
    store_u64(fixed + F_FIRST, seg->first);
    store_u64(fixed + F_COUNT, seg->count);
    store_u64(fixed + F_END, seg->tail);
    store_u32(fixed + F_TABLE_CRC, crc32c(0, bytes, table + peaks));
    memcpy(fixed + F_ROOT, root, HASH_SIZE);
    memcpy(fixed + F_FRAMES, frames_sha256, HASH_SIZE);
    footer_mac(s, fixed, fixed + F_MAC);
    store_u32(fixed + F_CRC, crc32c(0, fixed, FOOTER_MESSAGE));
    /* Two syncs: a fixed part that is there vouches for table and frontier, so they are durable before it is written. A power cut
     * on the way leaves zeros, or the old end of the file, where it would stand: not a footer, and the frames are scanned again. */
    int code = s->vfs->write(s->vfs, seg->file, seg->tail, bytes, table + peaks);
    if (code == AEGIS_OK) code = s->vfs->truncate(s->vfs, seg->file, seg->tail + whole);
    if (code == AEGIS_OK && !MUTANT(NO_SYNC_BEFORE_FOOTER)) code = s->vfs->sync(s->vfs, seg->file);
    if (code == AEGIS_OK) code = s->vfs->write(s->vfs, seg->file, seg->tail + table + peaks, fixed, FOOTER_FIXED);
    if (code == AEGIS_OK && !MUTANT(NO_FOOTER_SYNC)) code = s->vfs->sync(s->vfs, seg->file);
    free(bytes);
    return code;
}

/* Whether what stands is the signature as far as a crash let it be written: a footer begins anywhere, so 64 bytes of it may lie in two
 * sectors, and two pages. */
static bool begun_to_be(const uint8_t stands[SIGNATURE_SIZE], const uint8_t signature[SIGNATURE_SIZE]) {
    for (int i = 0; i < SIGNATURE_SIZE; i++)
        if (stands[i] != 0 && stands[i] != signature[i]) return false;
    return true;
}

/* After the signature is durable, never before: what a crash cut short has to be written again, by whom may be anybody but root. */
static void finish(const scope *s, const segment *seg) {
    if (s->tier == AEGIS_TIER_AUDIT && !MUTANT(NO_PROTECTION)) s->vfs->protect(s->vfs, seg->file);
}

int footer_sign(const scope *s, segment *seg, const uint8_t signature[SIGNATURE_SIZE]) {
    footer f;
    CHECK(seg->sealed);
    int code = footer_read(s, seg, &f);
    if (code == AEGIS_E_TORN) return fail(AEGIS_E_CORRUPT, "the footer of segment %llu is damaged", (unsigned long long)seg->number);
    TRY(code);
    if (memcmp(f.signature, signature, SIGNATURE_SIZE) == 0) {
        finish(s, seg);
        return AEGIS_OK;
    }
    if (!begun_to_be(f.signature, signature) && !MUTANT(SIGN_AGAIN))
        return fail(AEGIS_E_EXISTS, "segment %llu is signed already", (unsigned long long)seg->number);
    uint64_t size = 0;
    TRY(s->vfs->size(s->vfs, seg->file, &size));
    TRY(s->vfs->write(s->vfs, seg->file, size - FOOTER_FIXED + F_SIGNATURE, signature, SIGNATURE_SIZE));
    if (!MUTANT(NO_SIGNATURE_SYNC)) TRY(s->vfs->sync(s->vfs, seg->file));
    seg->is_signed = true;
    finish(s, seg);
    return AEGIS_OK;
}
