/* rebuild: see rebuild.h. */
#include "rebuild.h"

#include <stdlib.h>

#include "footer.h"
#include "log.h"
#include "scan.h"

typedef struct numbers {
    uint64_t *list;
    uint32_t count;
    uint32_t capacity;
} numbers;

static int collect(void *context, const char *name) {
    numbers *n = context;
    uint64_t number = 0;
    if (!segment_number(name, &number)) return AEGIS_OK;
    if (n->count == n->capacity) {
        uint32_t capacity = n->capacity == 0 ? 64 : n->capacity * 2;
        uint64_t *grown = realloc(n->list, capacity * sizeof *grown);
        if (grown == NULL) return fail(AEGIS_E_NOMEM, "no memory for a list of segments");
        n->list = grown;
        n->capacity = capacity;
    }
    n->list[n->count++] = number;
    return AEGIS_OK;
}

/* By place, and there by how often it was rewritten. */
static int ascending(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    if (segment_place(x) != segment_place(y)) return segment_place(x) < segment_place(y) ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* Whether the file is whole by its own word: one that a compaction did not finish has no footer. */
static int has_footer(const scope *s, vfs_dir *dir, uint64_t number, bool *has) {
    scope own = *s;
    segment seg;
    footer f;
    uint64_t generation = 0;
    *has = false;
    int code = segment_probe(s, dir, number, &generation, &own.align);
    if (code == AEGIS_OK) code = segment_open(&own, dir, number, generation, false, &seg);
    if (code == AEGIS_OK) {
        code = footer_read(&own, &seg, &f);
        segment_close(&own, &seg);
    }
    *has = code == AEGIS_OK;
    return code == AEGIS_E_CORRUPT || code == AEGIS_E_TORN || code == AEGIS_E_FOREIGN ? AEGIS_OK : code;
}

/* Of several files of one place, the one that was rewritten most often and is whole; where none is, the one that was written first. What
 * authorises its gaps was durable before it had a footer. The others go when the store is opened for writing. */
static int choose(const scope *s, vfs_dir *dir, const uint64_t *files, uint32_t count, uint64_t *number) {
    bool has = false;
    *number = files[0];
    for (uint32_t i = count; count > 1 && i > 0 && !has; i--) {
        TRY(has_footer(s, dir, files[i - 1], &has));
        if (has) *number = files[i - 1];
    }
    return AEGIS_OK;
}

/* What the segments so far say about where the next one starts. */
typedef struct border {
    uint64_t first;
    bool known;              /* the segment before is sealed, or there is none */
} border;

/* The index of the segment's first record, from its footer, the border before it or that frame; NOTFOUND: it holds none. */
static int first_record(const scope *s, const segment *seg, const border *before, border *next, uint64_t *first) {
    footer f;
    scan sc;
    scanned frame;
    uint64_t size = 0;
    int code = footer_read(s, seg, &f);
    next->known = code == AEGIS_OK;
    if (code == AEGIS_OK) {
        *first = f.first;
        next->first = f.first + f.count;
    }
    if (code != AEGIS_E_TORN) return code;
    TRY(s->vfs->size(s->vfs, seg->file, &size));
    scan_start(&sc, s, seg->file, segment_links(seg), SEGMENT_FRAMES, size, 0);
    code = scan_find(&sc, &frame);
    bool found = code == AEGIS_OK, zeros = false;
    if (code == AEGIS_E_TORN) code = scan_zeros(&sc, SEGMENT_FRAMES, size, &zeros);
    scan_stop(&sc);
    TRY(code);
    if (zeros) return AEGIS_E_NOTFOUND;
    /* Damage, or another secret: never to be taken for an unfinished end, which recovery would cut off. */
    if (!found && !MUTANT(NO_REBUILD_DAMAGE_TEST)) return fail(AEGIS_E_CORRUPT, "segment %llu holds no record of this store", (unsigned long long)seg->number);
    /* A frame further on is not the first: whether what stands before it is a tear or damage, recovery says, if it knows where to start. */
    bool at_start = frame.offset == SEGMENT_FRAMES;
    *first = before->known ? before->first : frame.head.index;
    if ((at_start ? *first == frame.head.index : before->known) || MUTANT(NO_BORDER_TEST)) return AEGIS_OK;
    return fail(AEGIS_E_CORRUPT, "the first record of segment %llu is damaged or missing", (unsigned long long)seg->number);
}

static int add_segment(manifest *m, const scope *s, vfs_dir *dir, uint64_t number, bool is_last, border *next) {
    segment seg;
    manifest_segment listed = {.number = number};
    scope own = *s;
    const border before = *next;
    if (is_last && segment_rewrites(number) > 0) return fail(AEGIS_E_CORRUPT, "the segment behind segment %u, which is full, is missing", (unsigned)segment_place(number));
    TRY(segment_probe(s, dir, number, &listed.generation, &own.align));
    m->align = own.align;
    m->generation = max_u64(m->generation, listed.generation);
    TRY(segment_open(&own, dir, number, listed.generation, false, &seg));
    int code = first_record(&own, &seg, &before, next, &listed.first);
    segment_close(&own, &seg);
    if (code == AEGIS_E_NOTFOUND && is_last) {
        /* Without a record: it starts where a sealed one ended; behind an unsealed one nobody knows, and that one is the last. */
        if (!before.known) return AEGIS_OK;
        listed.first = before.first;
        code = AEGIS_OK;
    }
    if (code == AEGIS_E_NOTFOUND) code = fail(AEGIS_E_CORRUPT, "segment %llu holds no record", (unsigned long long)number);
    TRY(code);
    return manifest_add_segment(m, s->tier, &listed);
}

static int rebuild_tier(manifest *m, vfs_dir *dir, const scope *s) {
    numbers n = {0};
    border next = {.first = 0, .known = true};
    int code = s->vfs->list(s->vfs, dir, collect, &n);
    if (code == AEGIS_OK && n.count > 0) qsort(n.list, n.count, sizeof *n.list, ascending);
    for (uint32_t i = 0, place_now = 0; i < n.count && code == AEGIS_OK; place_now++) {
        char name[SEGMENT_NAME_SIZE];
        uint64_t number = 0;
        uint32_t same = 1;
        segment_name(place_now, name);
        const place where = {.tier = s->tier, .segment = place_now, .path = name};
        while (i + same < n.count && segment_place(n.list[i + same]) == segment_place(n.list[i])) same++;
        if (segment_place(n.list[i]) != place_now && !MUTANT(NO_GAP_TEST)) code = fail_at(AEGIS_E_CORRUPT, &where, "segment %s is missing", name);
        else code = choose(s, dir, n.list + i, same, &number);
        i += same;
        if (code == AEGIS_OK) code = add_segment(m, s, dir, number, i == n.count, &next);
    }
    free(n.list);
    return code;
}

int rebuild_manifest(manifest *m, vfs_dir *root, const scope *s) {
    if (!s->keyed) return fail(AEGIS_E_SECRET, "the manifest is damaged; making it again needs the store secret");
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        vfs_dir *dir = NULL;
        scope own = *s;
        own.tier = tier;
        m->tiers[tier].count = 0;
        m->tiers[tier].size = 0;
        m->tiers[tier].swept = 0;
        sha256_whole("", 0, m->tiers[tier].root);
        int code = s->vfs->open_dir(s->vfs, root, tier_name(tier), VFS_READ, &dir);
        if (code == AEGIS_E_NOTFOUND) continue;
        TRY(code);
        code = rebuild_tier(m, dir, &own);
        s->vfs->close_dir(s->vfs, dir);
        TRY(code);
    }
    return AEGIS_OK;
}
