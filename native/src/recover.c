/* recover: see recover.h. */
#include "recover.h"

#include <stdlib.h>

#include "commit.h"
#include "follow.h"
#include "footer.h"
#include "outline.h"
#include "scan.h"
#include "unlisted.h"

/* What a scan of one segment's frames found. */
typedef struct tail {
    uint64_t count;          /* records of whole groups */
    uint64_t end;            /* offset behind the last whole group */
    uint64_t seen;           /* records that are valid, the last group being whole or not */
    uint64_t stop;           /* offset of what is not valid */
    uint64_t watermark;      /* highest one of any valid frame, behind a bad one too */
    uint8_t (*leaves)[HASH_SIZE];
    uint64_t leaves_capacity;
} tail;

static int add_record(log *l, segment *seg, tail *t, const scanned *frame) {
    if (t->seen == t->leaves_capacity) {
        uint64_t capacity = max_u64(1024, t->leaves_capacity * 2);
        uint8_t(*grown)[HASH_SIZE] = realloc(t->leaves, (size_t)capacity * HASH_SIZE);
        if (grown == NULL) return fail(AEGIS_E_NOMEM, "no memory for the leaves of a segment");
        t->leaves = grown;
        t->leaves_capacity = capacity;
    }
    /* Where a log is followed, others read meanwhile: the table moves under their mutex only. */
    pthread_mutex_lock(&l->state);
    int code = segment_reserve_offsets(seg, seg->count + t->seen + 1);
    pthread_mutex_unlock(&l->state);
    TRY(code);
    memcpy(t->leaves[t->seen], frame->leaf, HASH_SIZE);
    seg->offsets[seg->count + t->seen] = (uint32_t)(frame->offset / FRAME_ALIGN);
    t->seen++;
    return AEGIS_OK;
}

/* Valid frames from the scan's place on, until there are `most` or one is not valid (TORN, CORRUPT). */
static int scan_valid(log *l, segment *seg, scan *sc, uint64_t most, tail *t) {
    scanned frame;
    while (t->seen < most) {
        TRY(scan_next(sc, &frame));
        TRY(add_record(l, seg, t, &frame));
        if (!MUTANT(NO_WATERMARK_BEFORE)) t->watermark = max_u64(t->watermark, frame.head.watermark);
        if (frame.head.flags & FRAME_LAST) {
            t->count = t->seen;
            t->end = sc->offset;
        }
    }
    return AEGIS_OK;
}

static void move_scan(scan *sc, uint64_t offset, uint64_t index) {
    sc->offset = offset;
    sc->index = index;
}

/* What the watermarks of all valid frames behind the scan's place say; the scan stays there. */
static int look_behind(scan *sc, tail *t) {
    const uint64_t offset = sc->offset, index = sc->index;
    scanned frame;
    int code;
    while ((code = scan_find(sc, &frame)) == AEGIS_OK)
        if (!MUTANT(NO_WATERMARK_BEHIND)) t->watermark = max_u64(t->watermark, frame.head.watermark);
    move_scan(sc, offset, index);
    return code == AEGIS_E_TORN ? AEGIS_OK : code;
}

/* ---- records that were durable and are damaged -------------------------------------------------------------------------- */

/* Moves the scan from a damaged frame of `size` bytes, if that length is not damaged as well, to where the next one starts or the frames
 * end: that of all `durable` records was then the last. AEGIS_E_PROOF: nobody can say where that is. */
static int move_behind(const segment *seg, scan *sc, uint64_t size, uint64_t durable) {
    const uint64_t at = sc->offset, index = sc->index + 1, packed = at + size;
    const uint64_t ends[2] = {packed, align_up(packed, sc->s->align)};
    const slot *mark = &seg->last_slot;
    scanned next = {.offset = at};
    bool zeros = false;
    uint8_t leaf[HASH_SIZE];
    uint64_t ignored = 0;
    if (mark->size == index && mark->offset > at) {
        move_scan(sc, mark->offset, index);
        return mark->offset <= sc->end ? AEGIS_OK : AEGIS_E_PROOF;    /* the file was cut: not the record's damage alone */
    }
    for (int i = 0; i < 2; i++) {
        move_scan(sc, ends[i], index);
        int code = scan_next(sc, &next);
        move_scan(sc, ends[i], index);
        if (code != AEGIS_E_TORN && code != AEGIS_E_CORRUPT) return code;
    }
    /* Its length is damaged, or the next frame is as well. */
    move_scan(sc, at + FRAME_ALIGN, index);
    int code = scan_find(sc, &next);
    if (code != AEGIS_OK && code != AEGIS_E_TORN) return code;
    move_scan(sc, next.offset, index);
    if (code == AEGIS_OK && next.head.index == index) return AEGIS_OK;
    for (int i = 0; i < 2 && index < durable; i++) {
        move_scan(sc, ends[i], index);
        code = scan_remains(sc, NULL, leaf, &ignored);
        if (code != AEGIS_E_PROOF) return code;
    }
    move_scan(sc, ends[1], index);
    if (index < durable || packed > sc->end) return AEGIS_E_PROOF;
    TRY(scan_zeros(sc, packed, sc->end, &zeros));
    return zeros ? AEGIS_OK : AEGIS_E_PROOF;
}

/* Takes the damaged frame at the scan's place for the record that it was, if it still proves that, and goes on behind it. The record is
 * there and cannot be read: log_read finds it damaged each time, and the tree has its leaf. AEGIS_E_PROOF: it proves nothing. */
static int step_over(log *l, segment *seg, scan *sc, uint64_t durable, tail *t) {
    scanned frame = {.offset = sc->offset};
    uint8_t hint[HASH_SIZE];
    uint64_t index = sc->index, size = 0;
    bool hinted = tree_hint(&l->tree, index, hint);
    TRY(scan_remains(sc, hinted ? hint : NULL, frame.leaf, &size));
    TRY(move_behind(seg, sc, size, durable));
    TRY(add_record(l, seg, t, &frame));
    TRY(log_note_damaged(l, index, frame.leaf));
    /* Whether it ended its group its flags no longer say; what was durable ends with one. */
    if (index + 1 == durable) {
        t->count = t->seen;
        t->end = sc->offset;
    }
    return AEGIS_OK;
}

/* Scans from the segment's known end (seg->count, seg->tail) on, at most `most` records, of which those below `vouched` were durable.
 * Past a bad frame it looks on for valid ones, for what their watermarks say. If one of these or `vouched` says that the bad one was
 * durable, it is damage and stepped over. Else it is where the frames end, and so is damage that proves nothing. */
static int scan_tail(log *l, segment *seg, uint64_t most, uint64_t vouched, tail *t) {
    scan sc;
    uint64_t size = 0;
    bool looked = false;
    TRY(l->s.vfs->size(l->s.vfs, seg->file, &size));
    scan_start(&sc, &l->s, seg->file, segment_links(seg), seg->tail, size, seg->first + seg->count);
    *t = (tail){.end = seg->tail, .watermark = seg->first};
    int code = AEGIS_OK;
    while (code == AEGIS_OK) {
        code = scan_valid(l, seg, &sc, most, t);
        t->stop = sc.offset;
        if (code != AEGIS_E_TORN && code != AEGIS_E_CORRUPT) break;
        /* Without the secret no watermark is believed, and nothing bounds what a search costs. */
        code = l->s.keyed || MUTANT(BELIEVE_WITHOUT_SECRET) ? AEGIS_OK : AEGIS_E_PROOF;
        if (code == AEGIS_OK && !looked) code = look_behind(&sc, t);
        looked = true;
        uint64_t durable = max_u64(vouched, t->watermark);
        if (code == AEGIS_OK) code = sc.index < durable || MUTANT(STEP_OVER_ANYTHING) ? step_over(l, seg, &sc, durable, t) : AEGIS_E_PROOF;
    }
    scan_stop(&sc);
    return code == AEGIS_E_PROOF ? AEGIS_OK : code;
}

static int damaged(const log *l, const segment *seg, uint64_t first, uint64_t end, uint64_t offset) {
    char name[SEGMENT_NAME_SIZE];
    segment_name(seg->number, name);
    const place where = {.tier = l->s.tier, .segment = seg->number, .offset = offset, .first = first, .end = end, .path = name};
    if (end == first + 1)
        return fail_at(AEGIS_E_CORRUPT, &where, "record %llu was durable and is damaged or missing (segment %s from byte %llu)",
                       (unsigned long long)first, name, (unsigned long long)offset);
    return fail_at(AEGIS_E_CORRUPT, &where, "records %llu to %llu were durable and are damaged or missing (segment %s from byte %llu)",
                   (unsigned long long)first, (unsigned long long)end - 1, name, (unsigned long long)offset);
}

/* Takes `count` scanned records into the segment and the range. */
static void take_records(segment *seg, const tail *t, uint64_t count, uint64_t end, merkle_range *range) {
    for (uint64_t i = 0; i < count; i++) merkle_append(range, (const uint8_t *)t->leaves[i]);
    seg->count += count;
    seg->tail = end;
}

/* ---- full segments --------------------------------------------------------------------------------------------------- */

/* The tree at the end of a full segment that has no footer yet. */
static int keep_frontier(segment *seg, const merkle_range *range) {
    seg->frontier = malloc(sizeof *seg->frontier);
    if (seg->frontier == NULL) return fail(AEGIS_E_NOMEM, "no memory for a frontier");
    *seg->frontier = *range;
    return AEGIS_OK;
}

/* A segment that the manifest says is full, up to `end`. *range is the tree at its start on entry where it is known (size equals
 * first), and the tree at its end on return if the segment had to be scanned. */
static int recover_full(log *l, segment *seg, uint64_t end, merkle_range *range) {
    footer f;
    tail t = {0};
    char name[SEGMENT_NAME_SIZE];
    segment_name(seg->number, name);
    const place where = {.tier = l->s.tier, .segment = seg->number, .first = seg->first, .end = end, .path = name};
    merkle_range found;
    int code = footer_read(&l->s, seg, &f);
    if (code == AEGIS_OK && (f.first != seg->first || f.first + f.count != end) && !MUTANT(NO_FOOTER_RANGE_TEST))
        return fail_at(AEGIS_E_CORRUPT, &where, "the footer of %s says records %llu to %llu, the manifest %llu to %llu", name,
                       (unsigned long long)f.first, (unsigned long long)(f.first + f.count) - 1, (unsigned long long)seg->first,
                       (unsigned long long)end - 1);
    if (code == AEGIS_OK) code = footer_frontier(&l->s, seg, &f, &found);
    if (code == AEGIS_OK) {
        seg->sealed = true;
        seg->is_signed = f.is_signed;
        seg->count = f.count;
        seg->tail = f.frames_end;
        memcpy(seg->root, f.root, HASH_SIZE);
        *range = found;
        return AEGIS_OK;
    }
    if (code != AEGIS_E_TORN && code != AEGIS_E_CORRUPT) return code;
    /* Full, and its footer not written before the power went, or damaged: the frames are the truth. */
    code = scan_tail(l, seg, end - seg->first, end, &t);
    if (code == AEGIS_OK && t.count != end - seg->first && !MUTANT(NO_FULL_COUNT_TEST)) code = damaged(l, seg, seg->first + t.seen, end, t.stop);
    if (code == AEGIS_OK) {
        take_records(seg, &t, t.count, t.end, range);
        code = keep_frontier(seg, range);
    }
    free(t.leaves);
    return code;
}

/* ---- the active segment ---------------------------------------------------------------------------------------------- */

/* Copies [from, size) of the segment, less its trailing zeros, to a file of its own. */
static int save_cut(log *l, const segment *seg, uint64_t from, uint64_t size, aegis_verdict *verdict) {
    vfs *v = l->s.vfs;
    vfs_file *out = NULL;
    char name[SEGMENT_NAME_SIZE + 8] = "tail-";
    size_t got = 0, length = (size_t)(size - from);
    uint8_t *bytes = malloc(length + 1);
    if (bytes == NULL) return fail(AEGIS_E_NOMEM, "no memory for a cut tail of %zu bytes", length);
    int code = v->read(v, seg->file, from, bytes, length, &got);
    while (got > 0 && bytes[got - 1] == 0) got--;
    verdict->cut_bytes = got;
    /* What was cut off earlier, under the same manifest, stays. */
    for (uint64_t number = manifest_next_generation(l->manifest); code == AEGIS_OK; number++) {
        segment_name(number, name + 5);
        memcpy(name + 5 + 8, ".cut", 5);
        code = v->open(v, l->dir, name, VFS_WRITE | VFS_CREATE | VFS_EXCLUSIVE, &out);
        if (code != AEGIS_E_EXISTS) break;
        code = AEGIS_OK;
    }
    if (code == AEGIS_OK) code = v->write(v, out, 0, bytes, got);
    if (code == AEGIS_OK && !MUTANT(NO_CUT_SYNC)) code = v->sync(v, out);
    if (out != NULL) v->close(v, out);
    if (code == AEGIS_OK && !MUTANT(NO_CUT_NAME_SYNC)) code = v->sync_dir(v, l->dir);
    free(bytes);
    if (code != AEGIS_OK) {
        aegis_error cause;
        aegis_last_error(&cause);
        if (out != NULL) (void)v->unlink(v, l->dir, name);
        fail_again(&cause);
        return code;
    }
    size_t tier = strlen(tier_name(l->s.tier));
    memcpy(verdict->saved, tier_name(l->s.tier), tier);
    verdict->saved[tier] = '/';
    memcpy(verdict->saved + tier + 1, name, strlen(name) + 1);
    return AEGIS_OK;
}

/* Writes [from, to) of the file again, as it reads, and syncs: after a failed or interrupted write the page cache may hold what
 * the device does not. */
static int rewrite(log *l, const segment *seg, uint64_t from, uint64_t to) {
    vfs *v = l->s.vfs;
    enum { CHUNK = 1 << 16 };
    uint8_t *bytes = malloc(CHUNK);
    if (bytes == NULL) return fail(AEGIS_E_NOMEM, "no memory to write a tail again");
    int code = AEGIS_OK;
    while (from < to && code == AEGIS_OK) {
        size_t got = 0;
        code = v->read(v, seg->file, from, bytes, (size_t)min_u64(CHUNK, to - from), &got);
        if (code == AEGIS_OK && got == 0) code = fail(AEGIS_E_CORRUPT, "a segment shrank while it was recovered");
        if (code == AEGIS_OK) code = v->write(v, seg->file, from, bytes, got);
        from += got;
    }
    free(bytes);
    return code;
}

/* Whether only zeros, as pre-zeroed space has, follow the segment's frames. */
static int zeros_follow(log *l, const segment *seg, uint64_t size, bool *zeros) {
    scan sc;
    scan_start(&sc, &l->s, seg->file, seg->nonce, seg->tail, size, 0);
    int code = scan_zeros(&sc, seg->tail, size, zeros);
    scan_stop(&sc);
    return code;
}

/* A writer's part: what is served from now on is durable, and nothing but zeros follows it. `durable` records were so before. */
static int settle(log *l, segment *seg, bool clean, uint64_t durable, aegis_verdict *verdict, uint64_t *zeroed) {
    vfs *v = l->s.vfs;
    uint64_t size = 0;
    bool zeros = true;
    TRY(v->size(v, seg->file, &size));
    TRY(zeros_follow(l, seg, size, &zeros));
    if (!zeros && !MUTANT(NO_CUT_SAVED)) {
        TRY(save_cut(l, seg, seg->tail, size, verdict));
        verdict->flags |= AEGIS_VERDICT_TAIL_CUT | AEGIS_VERDICT_TAIL_AMBIGUOUS;
    }
    if (!clean && durable < seg->first + seg->count && !MUTANT(NO_TAIL_REWRITE)) {
        uint64_t n = durable > seg->first ? durable - seg->first : 0;
        TRY(rewrite(l, seg, n == seg->count ? seg->tail : (uint64_t)seg->offsets[n] * FRAME_ALIGN, min_u64(seg->tail, size)));
    }
    if (!zeros && !MUTANT(NO_ZERO_PAST_CUT)) {
        TRY(v->truncate(v, seg->file, seg->tail));
        size = seg->tail;
    }
    if ((!clean || !zeros) && !MUTANT(NO_SETTLE_SYNC)) TRY(v->sync(v, seg->file));
    *zeroed = max_u64(size, seg->tail);
    return AEGIS_OK;
}

/* How many records of the log were durable by what is believed before a frame is looked at. Without the secret only the manifest is:
 * everything else could have been written by anybody. */
static uint64_t vouched_for(const log *l, const segment *seg, const recovery *how) {
    uint64_t listed = max_u64(MUTANT(NO_MANIFEST_SIZE_TEST) ? 0 : l->manifest->tiers[l->s.tier].size, seg->first);
    if (!l->s.keyed && !MUTANT(BELIEVE_WITHOUT_SECRET)) return listed;
    uint64_t known = max_u64(listed, MUTANT(NO_SLOT_SIZE_TEST) ? 0 : seg->last_slot.size);
    return !l->writable && how->live && !MUTANT(NO_LIVE_SIZE_TEST) ? max_u64(known, how->limit) : known;
}

/* … and by what the frames say. */
static uint64_t known_durable(const log *l, const segment *seg, const recovery *how, const tail *t) {
    uint64_t known = vouched_for(l, seg, how), found = seg->first + t->count;
    if (!l->s.keyed && !MUTANT(BELIEVE_WITHOUT_SECRET)) return known;
    known = max_u64(known, t->watermark);
    /* A released head covers durable records only; one that is longer than all that was found is check_heads' to name. */
    for (uint32_t i = 0; i < how->anchor_count; i++)
        if (how->anchors[i].tier == l->s.tier && how->anchors[i].size <= found && !MUTANT(NO_ANCHOR_SIZE_TEST)) known = max_u64(known, how->anchors[i].size);
    return known;
}

/* Takes what an undisturbed clean close left: the records of the end mark, by the outline beside it, and no frame is looked at. A
 * damaged one is found when it is read, as in a full segment. *taken is false where the frames have to be scanned.
 *
 * What follows the last frame is looked at, because the slot that took the end mark back may be the damaged one: then there are
 * records behind it, and they were acknowledged. */
static int take_outline(log *l, segment *seg, const recovery *how, merkle_range *range, bool *taken) {
    uint64_t size = 0;
    bool zeros = false;
    *taken = false;
    if (((how->poisoned || how->live) && !MUTANT(OUTLINE_OF_A_LIVE_STORE)) || (seg->last_slot.size < l->manifest->tiers[l->s.tier].size && !MUTANT(NO_OUTLINE_AGE_TEST)))
        return AEGIS_OK;
    merkle_range found;
    if (!outline_read(&l->s, l->dir, seg, &found)) return AEGIS_OK;
    TRY(l->s.vfs->size(l->s.vfs, seg->file, &size));
    if (size >= seg->tail) TRY(zeros_follow(l, seg, size, &zeros));
    zeros = zeros || MUTANT(NO_ZEROS_BEHIND_OUTLINE);
    *taken = zeros;
    if (zeros) *range = found;
    else segment_forget(seg);
    return AEGIS_OK;
}

/* Takes what is served of the active segment. *durable and *clean are for settle. */
static int scan_active(log *l, segment *seg, const recovery *how, merkle_range *range, aegis_verdict *verdict, uint64_t *durable,
                          bool *clean) {
    tail t = {0};
    const slot *mark = &seg->last_slot;
    int code = scan_tail(l, seg, UINT64_MAX, vouched_for(l, seg, how), &t);
    uint64_t found = seg->first + t.count;
    *durable = known_durable(l, seg, how, &t);
    *clean = l->s.keyed && (mark->flags & SLOT_END) && mark->size == found && mark->offset == t.end && (!how->poisoned || MUTANT(POISON_WORD_IGNORED));
    if (code == AEGIS_OK && *durable > found && !MUTANT(NO_DURABLE_TEST)) code = damaged(l, seg, seg->first + t.seen, max_u64(*durable, seg->first + t.seen + 1), t.stop);
    if (code == AEGIS_OK) {
        uint64_t served = l->writable || MUTANT(READERS_SERVE_ALL) ? found : *durable;
        uint64_t count = served - seg->first;
        take_records(seg, &t, count, count == t.count ? t.end : (uint64_t)seg->offsets[count] * FRAME_ALIGN, range);
        verdict->flags |= *clean ? AEGIS_VERDICT_CLEAN : AEGIS_VERDICT_UNCLEAN;
        if (!l->s.keyed && found > served) verdict->flags |= AEGIS_VERDICT_UNAUTHENTICATED;
    }
    free(t.leaves);
    return code;
}

/* ---- heads ----------------------------------------------------------------------------------------------------------- */

static int check_head(log *l, uint64_t size, const uint8_t root[HASH_SIZE], int code, const char *whose) {
    uint8_t ours[HASH_SIZE];
    const place where = {.tier = l->s.tier, .first = min_u64(size, l->tree.range.size), .end = size};
    if (size > l->tree.range.size)
        return fail_at(code, &where, "tier %s has %llu records; %s says %llu", tier_name(l->s.tier),
                       (unsigned long long)l->tree.range.size, whose, (unsigned long long)size);
    TRY(tree_root_at(&l->tree, size, ours));
    if (memcmp(ours, root, HASH_SIZE) != 0)
        return fail_at(code, &where, "the first %llu records of tier %s are not those that %s was made for", (unsigned long long)size,
                       tier_name(l->s.tier), whose);
    return AEGIS_OK;
}

static int check_heads(log *l, const recovery *how, const slot *mark) {
    const manifest_tier *listed = &l->manifest->tiers[l->s.tier];
    if (!MUTANT(NO_MANIFEST_HEAD_TEST)) TRY(check_head(l, listed->size, listed->root, AEGIS_E_CORRUPT, "the manifest"));
    if (!MUTANT(NO_WATERMARK_HEAD_TEST) && l->s.keyed && mark->sequence > 0 && mark->size <= l->tree.range.size)
        TRY(check_head(l, mark->size, mark->root, AEGIS_E_CORRUPT, "the watermark"));
    for (uint32_t i = 0; i < how->anchor_count && !MUTANT(NO_ANCHOR_TEST); i++)
        if (how->anchors[i].tier == l->s.tier && (l->s.keyed || how->anchors[i].size <= l->tree.range.size))
            TRY(check_head(l, how->anchors[i].size, how->anchors[i].root, AEGIS_E_ROLLBACK, "a head that was kept outside"));
    return AEGIS_OK;
}

/* ---- opening --------------------------------------------------------------------------------------------------------- */

static int open_listed(log *l, uint32_t position, segment **out) {
    const manifest_segment *listed = &l->manifest->tiers[l->s.tier].segments[position];
    segment seg;
    TRY(segment_open(&l->s, l->dir, listed->number, listed->generation, l->writable, &seg));
    seg.first = listed->first;
    int code = log_add_segment(l, &seg, out);
    if (code != AEGIS_OK) segment_close(&l->s, &seg);
    return code;
}

/* A sealed segment whose offset table is damaged is as good as one without a footer: its frames say where they are. */
static int check_offsets(log *l, segment *seg) {
    footer f;
    tail t = {0};
    merkle_range range;
    if (!seg->sealed) return AEGIS_OK;
    TRY(footer_read(&l->s, seg, &f));
    TRY(footer_frontier(&l->s, seg, &f, &range));
    int code = footer_check_table(&l->s, seg, &f);
    if (code != AEGIS_E_CORRUPT) return code;
    seg->sealed = seg->is_signed = false;
    segment_forget(seg);
    code = scan_tail(l, seg, f.count, range.size, &t);
    if (code == AEGIS_OK && t.count != f.count) code = damaged(l, seg, seg->first + t.seen, range.size, t.stop);
    if (code == AEGIS_OK) {
        seg->count = t.count;
        seg->tail = t.end;
        code = keep_frontier(seg, &range);
    }
    free(t.leaves);
    return code;
}

/* Asks the records of the tree's unfinished edge, which is read from their entries, whether they are damaged and what they were. */
static int ask_edge(log *l, uint64_t size) {
    uint64_t index = size - size % TILE_WIDTH;
    for (uint64_t i = 0; i < l->segment_count; i++) {
        segment *seg = l->segments[i];
        if (index >= seg->first + seg->count) continue;
        TRY(check_offsets(l, seg));
        for (; index < seg->first + seg->count; index++) {
            uint64_t offsets[2], ignored = 0;
            uint8_t leaf[HASH_SIZE];
            scan sc;
            scanned frame;
            TRY(segment_locate(&l->s, seg, index - seg->first, 1, offsets));
            scan_start(&sc, &l->s, seg->file, seg->sealed ? NULL : segment_links(seg), offsets[0], offsets[1], index);
            sc.stubs = segment_links(seg) == NULL;
            int code = scan_next(&sc, &frame);
            if (code == AEGIS_E_TORN || code == AEGIS_E_CORRUPT) {
                sc.nonce = segment_links(seg);
                code = scan_remains(&sc, NULL, leaf, &ignored);
                if (code == AEGIS_OK) code = log_note_damaged(l, index, leaf);
            }
            scan_stop(&sc);
            if (code == AEGIS_E_PROOF) return damaged(l, seg, index, index + 1, offsets[0]);
            TRY(code);
        }
    }
    return AEGIS_OK;
}

/* Starts the tree with what the segments say that it is. */
static int start_tree(log *l, const merkle_range *range) {
    int code = tree_start(&l->tree, range);
    if (code != AEGIS_E_CORRUPT || !l->s.keyed) return code;
    TRY(ask_edge(l, range->size));
    return tree_start(&l->tree, range);
}

/* The active segment, and the tree at its end; *range is the tree at its start on entry. */
static int recover_active(log *l, segment *seg, const recovery *how, merkle_range *range, aegis_verdict *verdict, uint64_t *durable,
                          bool *clean) {
    merkle_range before = *range;
    bool outlined = false;
    TRY(take_outline(l, seg, how, range, &outlined));
    if (outlined) {
        int code = start_tree(l, range);
        *durable = range->size;
        *clean = true;
        if (code == AEGIS_OK) verdict->flags |= AEGIS_VERDICT_CLEAN;
        /* The newest entries are read for the tree's edge, and one of them is damaged and proves nothing: a scan says which. */
        if (code != AEGIS_E_CORRUPT) return code;
        segment_forget(seg);
        *range = before;
    }
    TRY(scan_active(l, seg, how, range, verdict, durable, clean));
    return start_tree(l, range);
}

static void report_damaged(const log *l, aegis_verdict *verdict) {
    verdict->damaged = l->damaged_count;
    verdict->first_damaged = UINT64_MAX;
    for (uint64_t i = 0; i < l->damaged_count; i++) verdict->first_damaged = min_u64(verdict->first_damaged, l->damaged[i].index);
    if (l->damaged_count > 0) verdict->flags |= AEGIS_VERDICT_DAMAGED;
}

int recover_log(log *l, const recovery *how, aegis_verdict *verdict, uint64_t *zeroed) {
    const manifest_tier *listed = &l->manifest->tiers[l->s.tier];
    merkle_range range;
    segment *seg = NULL;
    merkle_clear(&range);
    *verdict = (aegis_verdict){.tier = l->s.tier, .flags = how->poisoned ? AEGIS_VERDICT_POISON : 0};
    CHECK(listed->count > 0);
    for (uint32_t i = 0; i + 1 < listed->count; i++) {
        TRY(open_listed(l, i, &seg));
        TRY(recover_full(l, seg, listed->segments[i + 1].first, &range));
    }
    uint64_t durable = 0;
    bool clean = false;
    TRY(open_listed(l, listed->count - 1, &seg));
    TRY(recover_active(l, seg, how, &range, verdict, &durable, &clean));
    /* Nothing on disk has been changed so far, and nothing is unless every kept head agrees. */
    if (MUTANT(SETTLE_BEFORE_HEADS) && l->writable) TRY(settle(l, seg, clean, durable, verdict, zeroed));
    TRY(check_heads(l, how, &seg->last_slot));
    verdict->size = range.size;
    report_damaged(l, verdict);
    if (!l->writable) return l->s.vfs->size(l->s.vfs, seg->file, zeroed);
    TRY(unlisted_remove_empty(l, &l->compaction_left));
    TRY(settle(l, seg, clean, durable, verdict, zeroed));
    /* From here on the tail is durable, and an older end mark no longer says that nothing follows. */
    uint8_t root[HASH_SIZE];
    merkle_root(&range, root);
    return MUTANT(NO_SLOT_AT_OPEN) ? AEGIS_OK : segment_write_slot(&l->s, seg, range.size, root, 0);
}

/* Takes scanned records into the segment and the running tree. */
static void follow_records(log *l, segment *seg, const tail *t, uint64_t count, uint64_t end) {
    pthread_mutex_lock(&l->state);
    for (uint64_t i = 0; i < count; i++) tree_append(&l->tree, (const uint8_t *)t->leaves[i]);
    seg->count += count;
    seg->tail = end;
    pthread_mutex_unlock(&l->state);
}

/* Brings a segment that was active up to `size` records of the log. */
static int follow_segment(log *l, segment *seg, uint64_t size) {
    tail t = {0};
    uint64_t known = seg->first + seg->count;
    if (size <= known) return AEGIS_OK;
    int code = scan_tail(l, seg, size - known, size, &t);
    if (code == AEGIS_OK && t.count < size - known && !MUTANT(NO_FOLLOW_COUNT_TEST)) code = damaged(l, seg, known + t.seen, size, t.stop);
    if (code == AEGIS_OK) follow_records(l, seg, &t, t.count, t.end);
    free(t.leaves);
    return code;
}

int recover_follow(log *l, uint64_t limit) {
    const manifest_tier *listed = &l->manifest->tiers[l->s.tier];
    CHECK(listed->count >= l->segment_count);
    for (uint32_t i = 0; i < l->segment_count && i + 1 < listed->count; i++) {
        const manifest_segment *now = &listed->segments[i];
        if (l->segments[i]->number != now->number || l->segments[i]->generation != now->generation) TRY(follow_replaced(l, i, listed->segments[i + 1].first));
    }
    for (uint32_t i = (uint32_t)l->segment_count - 1; i < listed->count; i++) {
        segment *seg = i < l->segment_count ? l->segments[i] : NULL;
        if (seg == NULL) TRY(open_listed(l, i, &seg));
        TRY(follow_segment(l, seg, i + 1 < listed->count ? listed->segments[i + 1].first : max_u64(limit, listed->size)));
    }
    return AEGIS_OK;
}

int recover_create(log *l, uint64_t *zeroed) {
    segment seg, *added = NULL;
    merkle_range empty;
    uint8_t root[HASH_SIZE];
    merkle_clear(&empty);
    merkle_root(&empty, root);
    TRY(unlisted_remove_empty(l, &l->compaction_left));
    *zeroed = min_u64(SEGMENT_FRAMES + ZERO_STEP_MIN, l->manifest->segment_bytes);
    TRY(segment_create(&l->s, l->dir, 0, manifest_next_generation(l->manifest), *zeroed, &seg));
    int code = MUTANT(NO_FIRST_SEGMENT_NAME_SYNC) ? AEGIS_OK : l->s.vfs->sync_dir(l->s.vfs, l->dir);
    const manifest_segment first = {.number = 0, .generation = seg.generation, .first = 0};
    if (code == AEGIS_OK) code = manifest_rotate(l->manifest, l->s.tier, &first, 0, root);
    if (code == AEGIS_OK) code = log_add_segment(l, &seg, &added);
    if (code != AEGIS_OK) {
        segment_close(&l->s, &seg);
        return code;
    }
    return tree_start(&l->tree, &empty);
}
