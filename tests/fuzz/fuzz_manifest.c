/* fuzz_manifest: the file MANIFEST.
 *
 *   mode 1 | one copy, without padding …          (MODE_OTHER: the file as it stands)
 *
 * One copy is padded (MODE_BLOCKS: it is not, so that nothing stands behind the second) and doubled as the format has it; its length
 * field is made right with the checksum. Demanded of what is accepted: names and counts within their bounds, tiers and first indexes
 * ascending; writing it again gives the same copy; a copy that is damaged does not change what is read.
 */
#include "manifest.h"
#include "mend.h"

FUZZ_WITHOUT(NO_MANIFEST_COUNT_TEST)

static void demand_order(const manifest *m) {
    DEMAND(strlen(m->name) <= AEGIS_NAME_MAX && m->meta_length <= AEGIS_META_MAX && (m->align == 8 || m->align == 4096));
    for (uint32_t t = 1; t <= AEGIS_TIERS; t++) {
        const manifest_tier *tier = &m->tiers[t];
        DEMAND(tier->count <= tier->capacity);
        for (uint32_t i = 0; i < tier->count; i++)
            DEMAND(i == 0 ? tier->segments[0].first == 0 : tier->segments[i].first > tier->segments[i - 1].first);
    }
}

/* Written again under the same generation, the copy is the same, but for flags and reserved bytes, which are ignored, and so for the
 * codes over them. */
static void demand_same_again(const scope *s, vfs_sim *sim, manifest *m, const uint8_t *copy) {
    uint8_t *again = NULL, *plain;
    uint64_t size = 0;
    size_t got = 0, length = load_u32(copy + 12);
    m->generation--;
    DEMAND(manifest_write(m) == AEGIS_OK && vfs_sim_file_size(sim, MANIFEST_NAME, &size) == AEGIS_OK && size >= 2 * length);
    again = malloc((size_t)size);
    DEMAND(again != NULL && vfs_sim_get(sim, MANIFEST_NAME, 0, again, (size_t)size, &got) == AEGIS_OK && got == size);
    plain = own(copy, length);
    store_u32(plain + 48, 0);
    store_u32(plain + length - 4, 0);
    mend_manifest(s, MODE_SUMS | MODE_CODES, plain, length);
    DEMAND(memcmp(again, plain, length) == 0 && memcmp(again, again + size / 2, (size_t)size / 2) == 0);
    free(plain);
    free(again);
}

static uint8_t *lay_out(const scope *s, unsigned mode, const input *in, size_t *length) {
    if (mode & MODE_OTHER) {
        *length = in->left;
        return own(in->at, in->left);
    }
    size_t half = mode & MODE_BLOCKS ? in->left : (in->left + 511) / 512 * 512;
    *length = 2 * half;
    uint8_t *bytes = calloc(1, 2 * half + 1);
    DEMAND(bytes != NULL);
    memcpy(bytes, in->at, in->left);
    if (in->left >= 16 && (mode & MODE_SUMS)) store_u32(bytes + 12, (uint32_t)in->left);
    mend_manifest(s, mode, bytes, in->left);
    memcpy(bytes + half, bytes, half);
    return bytes;
}

static int load(const scope *s, vfs_dir *root, manifest *m, uint8_t id[STORE_ID_SIZE], bool *damaged) {
    manifest_init(m, s, root);
    int code = manifest_load(m, id, damaged);
    DEMAND(is_judgement(code));
    return code;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    input in = {data, size};
    vfs_dir *root = NULL;
    uint8_t id[STORE_ID_SIZE];
    bool damaged = false;
    size_t length = 0;
    manifest m;
    unsigned mode = take_u8(&in);
    if (in.left == 0) return 0;
    vfs_sim *sim = fuzz_machine(&root);
    scope s = fuzz_scope(vfs_sim_vfs(sim), mode);
    uint8_t *bytes = lay_out(&s, mode, &in, &length);
    DEMAND(vfs_sim_patch(sim, MANIFEST_NAME, 0, bytes, length) == AEGIS_OK);
    int code = load(&s, root, &m, id, &damaged);
    if (code == AEGIS_OK) {
        demand_order(&m);
        memcpy(s.store_id, id, STORE_ID_SIZE);
        size_t half = length / 2;
        const uint8_t *copy = bytes;
        if (damaged && (half < 8 || load_u32(bytes + 12) > half || load_u32(bytes + 12) < 112 ||
                        load_u32(bytes + load_u32(bytes + 12) - 8) != crc32c(0, bytes, load_u32(bytes + 12) - 8)))
            copy = bytes + half;
        if (!(mode & MODE_OTHER)) demand_same_again(&s, sim, &m, copy);
    }
    manifest_free(&m);
    if (code == AEGIS_OK && !(mode & MODE_OTHER)) {
        /* The first copy gone, the second says the same. */
        uint64_t generation = m.generation;
        DEMAND(vfs_sim_patch(sim, MANIFEST_NAME, 0, "damaged", 7) == AEGIS_OK);
        DEMAND(load(&s, root, &m, id, &damaged) == AEGIS_OK && damaged && m.generation == generation);
        manifest_free(&m);
    }
    free(bytes);
    fuzz_end(sim, root);
    return 0;
}
