/* follow: see follow.h. */
#include "follow.h"

#include <stdlib.h>

#include "footer.h"
#include "scan.h"

static int refused(const log *l, const segment *seg, uint64_t end, const char *what) {
    char name[SEGMENT_NAME_SIZE];
    segment_name(seg->number, name);
    const place where = {.tier = l->s.tier, .segment = seg->number, .first = seg->first, .end = end, .path = name};
    return fail_at(AEGIS_E_CORRUPT, &where, "segment %s was rewritten, and %s", name, what);
}

static int take_footer(const log *l, segment *seg, uint64_t end) {
    footer f;
    merkle_range frontier;
    int code = footer_read(&l->s, seg, &f);
    if (code == AEGIS_E_TORN) return refused(l, seg, end, "its footer is damaged");
    TRY(code);
    if (f.first != seg->first || f.first + f.count != end) return refused(l, seg, end, "its footer says other records than the manifest");
    TRY(footer_frontier(&l->s, seg, &f, &frontier));
    TRY(footer_check_table(&l->s, seg, &f));
    seg->sealed = true;
    seg->is_signed = f.is_signed;
    seg->count = f.count;
    seg->tail = f.frames_end;
    memcpy(seg->root, f.root, HASH_SIZE);
    return AEGIS_OK;
}

/* Leaf hashes of the records from `known` on, which go on from *range; it is at the segment's end then. */
static int read_new(const log *l, const segment *seg, uint64_t known, merkle_range *range, uint8_t (*leaves)[HASH_SIZE]) {
    uint64_t offsets[2];
    scan sc;
    scanned frame;
    TRY(segment_locate(&l->s, seg, known - seg->first, 1, offsets));
    scan_start(&sc, &l->s, seg->file, NULL, offsets[0], seg->tail, known);
    int code = AEGIS_OK;
    for (uint64_t i = known; i < seg->first + seg->count && code == AEGIS_OK; i++) {
        code = scan_next(&sc, &frame);
        if (code == AEGIS_E_TORN || code == AEGIS_E_CORRUPT) code = refused(l, seg, i + 1, "a record of it is damaged");
        if (code != AEGIS_OK) break;
        memcpy(leaves[i - known], frame.leaf, HASH_SIZE);
        merkle_append(range, frame.leaf);
    }
    scan_stop(&sc);
    return code;
}

static int take_records(log *l, uint32_t position, segment *fresh) {
    const uint64_t end = fresh->first + fresh->count;
    uint8_t root[HASH_SIZE], (*leaves)[HASH_SIZE] = NULL;
    int code = AEGIS_OK;
    pthread_mutex_lock(&l->state);
    merkle_range range = l->tree.range;
    if (range.size >= end) code = tree_root_at(&l->tree, end, root);
    pthread_mutex_unlock(&l->state);
    TRY(code);
    const uint64_t known = range.size;
    if (known < end) {
        leaves = malloc((size_t)(end - known) * HASH_SIZE);
        if (leaves == NULL) return fail(AEGIS_E_NOMEM, "no memory for the leaves of a segment");
        code = read_new(l, fresh, known, &range, leaves);
        merkle_root(&range, root);
    }
    if (code == AEGIS_OK && memcmp(root, fresh->root, HASH_SIZE) != 0 && !MUTANT(NO_FOLLOW_ROOT_TEST)) code = refused(l, fresh, end, "its records are others");
    if (code == AEGIS_OK) {
        /* First the place that they are read from, then the records. */
        log_replace_segment(l, position, fresh);
        pthread_mutex_lock(&l->state);
        for (uint64_t i = known; i < end; i++) tree_append(&l->tree, leaves[i - known]);
        pthread_mutex_unlock(&l->state);
    }
    free(leaves);
    return code;
}

int follow_replaced(log *l, uint32_t position, uint64_t end) {
    const manifest_segment *listed = &l->manifest->tiers[l->s.tier].segments[position];
    segment *fresh = malloc(sizeof *fresh);
    if (fresh == NULL) return fail(AEGIS_E_NOMEM, "no memory for a segment");
    int code = segment_open(&l->s, l->dir, listed->number, listed->generation, false, fresh);
    if (code == AEGIS_OK) {
        fresh->first = listed->first;
        code = take_footer(l, fresh, end);
        if (code == AEGIS_OK) code = take_records(l, position, fresh);
        if (code != AEGIS_OK) segment_close(&l->s, fresh);
    }
    if (code != AEGIS_OK) free(fresh);
    return code;
}
