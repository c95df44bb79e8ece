/* vfs_sim_crash: which of the disks that a power cut may leave are shown to a test. See vfs_sim.h, vfs_sim_cut.h.
 *
 * At each cut all combinations of values and names, where they are few. Where they are many, those that have found bugs in
 * logs: every prefix of what was done; everything but one sector or size, nothing but one; the same with two, where there are
 * few enough; and random ones. In either case every prefix with its last write torn at every sector. With garbage, each sector
 * that was being written spoilt alone, among others that are all durable, all newest or up to it; all of them; and random ones.
 *
 * An image is built only if its hash is new since the last mark, or as the caller says.
 */
#include "vfs_sim_cut.h"

#include <stdlib.h>

#define PAIRS_MAX 64

typedef struct hash_set {
    size_t count, room;
    sim_hash *slots;
} hash_set;

typedef struct run {
    sim_cut cut;
    vfs_sim_limits limits;
    vfs_sim_image_fn fn;
    void *context;
    vfs_sim_counts counts;
    hash_set seen;
    uint64_t seen_marks;
} run;

/* ---- images seen ------------------------------------------------------------------------------------------------------ */

/* Zero in a slot is empty; a hash that is zero would count as seen, once in 2^128. */
static sim_hash *slot_of(const hash_set *set, sim_hash hash) {
    size_t at = (size_t)hash.a & (set->room - 1);
    while (!hash_equal(set->slots[at], (sim_hash){0, 0}) && !hash_equal(set->slots[at], hash)) at = (at + 1) & (set->room - 1);
    return &set->slots[at];
}

static int set_grow(hash_set *set) {
    hash_set grown = {set->count, set->room == 0 ? 1024 : set->room * 2, NULL};
    grown.slots = calloc(grown.room, sizeof *grown.slots);
    if (grown.slots == NULL) return sim_no_memory();
    for (size_t i = 0; i < set->room; i++)
        if (!hash_equal(set->slots[i], (sim_hash){0, 0})) *slot_of(&grown, set->slots[i]) = set->slots[i];
    free(set->slots);
    *set = grown;
    return AEGIS_OK;
}

static int set_add(hash_set *set, sim_hash hash, bool *added) {
    if (set->count * 2 >= set->room) TRY(set_grow(set));
    sim_hash *slot = slot_of(set, hash);
    *added = !hash_equal(*slot, hash);
    set->count += *added;
    *slot = hash;
    return AEGIS_OK;
}

static void set_clear(hash_set *set) {
    free(set->slots);
    *set = (hash_set){0, 0, NULL};
}

/* ---- showing ---------------------------------------------------------------------------------------------------------- */

static int show(run *r, const subset *s, sim_hash hash) {
    /* Random numbers of its own, the same in every run: a nonce drawn after a crash is not one drawn before it. */
    vfs_sim *image = cut_image(&r->cut, s, r->limits.record, hash.b);
    if (image == NULL) return sim_no_memory();
    image->origin = &r->cut;
    r->cut.shown = s;
    r->counts.images++;
    int code = r->fn(r->context, image, r->cut.disk.at);
    vfs_sim_free(image);
    return code;
}

/* The choice as it stands, with every subset of names. */
static int emit(run *r) {
    TRY(cut_refresh(&r->cut));
    for (size_t i = 0; i < r->cut.subset_count; i++) {
        const subset *s = &r->cut.subsets[i];
        sim_hash hash = cut_image_hash(&r->cut, s);
        bool added = false;
        r->counts.combinations++;
        if (r->limits.known != NULL) added = !r->limits.known(r->context, hash, r->cut.disk.at);
        else TRY(set_add(&r->seen, hash, &added));
        if (added) TRY(show(r, s, hash));
        else r->counts.duplicates++;
    }
    return AEGIS_OK;
}

/* ---- subsets of names ------------------------------------------------------------------------------------------------- */

static int all_names(sim_cut *cut) {
    for (uint64_t mask = 0; mask < (uint64_t)1 << cut->disk.change_count; mask++) {
        bool *kept = cut_kept(cut, false);
        for (size_t i = 0; kept != NULL && i < cut->disk.change_count; i++) kept[i] = (mask >> i & 1) != 0;
        TRY(cut_add_subset(cut, kept));
    }
    return AEGIS_OK;
}

static int some_names(sim_cut *cut) {
    size_t count = cut->disk.change_count;
    for (size_t prefix = 0; prefix <= count; prefix++) {
        bool *kept = cut_kept(cut, false);
        for (size_t i = 0; kept != NULL && i < prefix; i++) kept[i] = true;
        TRY(cut_add_subset(cut, kept));
    }
    for (size_t i = 0; i < count * 2; i++) {
        bool alone = i >= count;
        bool *kept = cut_kept(cut, !alone);
        if (kept != NULL) kept[i % count] = alone;
        TRY(cut_add_subset(cut, kept));
    }
    return AEGIS_OK;
}

/* ---- choices ---------------------------------------------------------------------------------------------------------- */

static void choose_all(sim_cut *cut, bool newest) {
    for (size_t v = 0; v < cut->variable_count; v++) cut_choose(cut, v, newest ? cut_newest(cut, v) : 0);
}

/* All that was done up to operation `op`. */
static void choose_prefix(sim_cut *cut, size_t op) {
    for (size_t v = 0; v < cut->variable_count; v++) {
        size_t value = cut_newest(cut, v);
        while (cut_op(cut, v, value) > op) value--;
        cut_choose(cut, v, value);
    }
}

/* ---- tears ------------------------------------------------------------------------------------------------------------ */

/* The choice twice, if the file grew by `op`: with all of its growth, and as if the write had ended at byte `end`. */
static int emit_torn(run *r, size_t f, size_t op, uint64_t end, tear t) {
    const pending_file *p = &r->cut.files[f];
    t.file = f;
    cut_tear(&r->cut, t);
    TRY(emit(r));
    size_t chosen = cut_chosen_size(&r->cut, p);
    if (chosen > 0 && p->file->sizes[chosen].op == op && end < p->file->sizes[chosen].size) {
        t.sized = true;
        t.size = max_u64(end, p->file->sizes[chosen - 1].size);
        cut_tear(&r->cut, t);
        TRY(emit(r));
    }
    cut_tear(&r->cut, (tear){.file = NONE});
    return AEGIS_OK;
}

/* The write that is operation `op`, if it is one, and its file. */
static const vfs_sim_op *write_at(const sim_cut *cut, size_t op, size_t *f) {
    const vfs_sim_op *write = op > 0 ? vfs_sim_op_at(cut->disk.recording, op - 1) : NULL;
    if (write == NULL || write->kind != VFS_SIM_WRITE) return NULL;
    *f = cut->pending_of[write->node];
    return *f != NONE ? write : NULL;
}

/* With all up to `op` chosen: if that is a write, what if it had stopped after each of its sectors but the last? Where the file
 * grew by it, this makes disks that no subset makes: their size lies inside the write. */
static int tear_sectors(run *r, size_t op) {
    sim_cut *cut = &r->cut;
    size_t f = NONE;
    const vfs_sim_op *write = write_at(cut, op, &f);
    if (write == NULL) return AEGIS_OK;
    uint64_t first = write->offset / SECTOR, last = (write->offset + write->length - 1) / SECTOR;
    size_t v = cut->files[f].end;
    /* From the back: what lies after the tear is as it was before the write already. */
    for (uint64_t sector = last; sector > first; sector--) {
        for (; v > cut->files[f].first; v--) {
            const variable *var = &cut->variables[v - 1];
            if (var->cell == NULL) continue;
            if (var->cell->sector < sector) break;
            if (cut_op(cut, v - 1, var->chosen) == op) cut_choose(cut, v - 1, var->chosen - 1);
        }
        TRY(emit_torn(r, f, op, sector * SECTOR, (tear){.keep = SECTOR}));
    }
    return AEGIS_OK;
}

/* The newest write torn at every byte, everything else done. */
static int tear_bytes(run *r) {
    sim_cut *cut = &r->cut;
    size_t op = 0, f = NONE;
    for (size_t v = 0; v < cut->variable_count; v++)
        if (cut->variables[v].cell != NULL) op = (size_t)max_u64(op, cut_op(cut, v, cut_newest(cut, v)));
    const vfs_sim_op *write = write_at(cut, op, &f);
    if (write == NULL) return AEGIS_OK;
    choose_all(cut, true);
    for (size_t v = cut->files[f].end; v > cut->files[f].first; v--) {
        const variable *var = &cut->variables[v - 1];
        if (var->cell == NULL || cut_op(cut, v - 1, var->chosen) != op) continue;
        uint64_t start = var->cell->sector * SECTOR;
        uint64_t from = max_u64(start, write->offset), to = min_u64(start + SECTOR, write->offset + write->length);
        for (uint64_t end = from + 1; end < to; end++)
            TRY(emit_torn(r, f, op, end, (tear){.sector = var->cell->sector, .keep = (size_t)(end - start)}));
        cut_choose(cut, v - 1, var->chosen - 1);
    }
    return AEGIS_OK;
}

/* ---- which choices ---------------------------------------------------------------------------------------------------- */

static int by_size(const void *x, const void *y) {
    size_t a = *(const size_t *)x, b = *(const size_t *)y;
    return (a > b) - (a < b);
}

/* What was done up to each operation, and that with its last write torn; the latter alone where the former are known. */
static int prefixes(run *r, bool torn_only) {
    sim_cut *cut = &r->cut;
    size_t count = 0, all = 0;
    for (size_t v = 0; v < cut->variable_count; v++) all += cut_newest(cut, v);
    size_t *ops = malloc((all + 1) * sizeof *ops);
    if (ops == NULL) return sim_no_memory();
    for (size_t v = 0; v < cut->variable_count; v++)
        for (size_t value = 1; value <= cut_newest(cut, v); value++) ops[count++] = cut_op(cut, v, value);
    qsort(ops, count, sizeof *ops, by_size);
    choose_all(cut, false);
    int code = torn_only ? AEGIS_OK : emit(r);
    for (size_t i = 0; i < count && code == AEGIS_OK; i++) {
        if (i > 0 && ops[i] == ops[i - 1]) continue;
        choose_prefix(cut, ops[i]);
        if (!torn_only) code = emit(r);
        if (code == AEGIS_OK) code = tear_sectors(r, ops[i]);
    }
    free(ops);
    return code;
}

/* Each variable at each value that differs from all others', which are all newest or all durable. */
static int singles(run *r, bool others_newest) {
    sim_cut *cut = &r->cut;
    choose_all(cut, others_newest);
    for (size_t v = 0; v < cut->variable_count; v++) {
        size_t rest = cut->variables[v].chosen;
        for (size_t value = 0; value <= cut_newest(cut, v); value++) {
            cut_choose(cut, v, value);
            if (value != rest) TRY(emit(r));
        }
        cut_choose(cut, v, rest);
    }
    return AEGIS_OK;
}

static int pairs(run *r, bool others_newest) {
    sim_cut *cut = &r->cut;
    choose_all(cut, others_newest);
    for (size_t v = 0; v < cut->variable_count; v++) {
        cut_choose(cut, v, others_newest ? 0 : cut_newest(cut, v));
        for (size_t w = v + 1; w < cut->variable_count; w++) {
            cut_choose(cut, w, others_newest ? 0 : cut_newest(cut, w));
            TRY(emit(r));
            cut_choose(cut, w, others_newest ? cut_newest(cut, w) : 0);
        }
        cut_choose(cut, v, others_newest ? cut_newest(cut, v) : 0);
    }
    return AEGIS_OK;
}

static void choose_random(sim_cut *cut) {
    for (size_t v = 0; v < cut->variable_count; v++) cut_choose(cut, v, (size_t)cut_draw(cut, cut->variables[v].values));
}

static int all_choices(run *r) {
    sim_cut *cut = &r->cut;
    choose_all(cut, false);
    for (;;) {
        TRY(emit(r));
        size_t v = 0;
        while (v < cut->variable_count && cut->variables[v].chosen == cut_newest(cut, v)) cut_choose(cut, v++, 0);
        if (v == cut->variable_count) return prefixes(r, true);
        cut_choose(cut, v, cut->variables[v].chosen + 1);
    }
}

static int some_choices(run *r) {
    TRY(prefixes(r, false));
    TRY(singles(r, true));
    TRY(singles(r, false));
    if (r->cut.variable_count <= PAIRS_MAX) {
        TRY(pairs(r, true));
        TRY(pairs(r, false));
    }
    for (size_t i = 0; i < r->limits.random; i++) {
        choose_random(&r->cut);
        TRY(emit(r));
    }
    return AEGIS_OK;
}

/* ---- garbage ---------------------------------------------------------------------------------------------------------- */

static void spoil_all(sim_cut *cut, bool spoilt) {
    for (size_t v = 0; v < cut->variable_count; v++) cut_spoil(cut, v, spoilt);
}

static int spoil_each(run *r, bool others_newest) {
    sim_cut *cut = &r->cut;
    choose_all(cut, others_newest);
    for (size_t v = 0; v < cut->variable_count; v++) {
        if (cut->variables[v].cell == NULL) continue;
        cut_spoil(cut, v, true);
        TRY(emit(r));
        cut_spoil(cut, v, false);
    }
    return AEGIS_OK;
}

static int spoil_last(run *r) {
    sim_cut *cut = &r->cut;
    for (size_t v = 0; v < cut->variable_count; v++) {
        if (cut->variables[v].cell == NULL) continue;
        choose_all(cut, false);
        for (size_t before = 0; before < v; before++) cut_choose(cut, before, cut_newest(cut, before));
        cut_spoil(cut, v, true);
        TRY(emit(r));
        cut_spoil(cut, v, false);
    }
    return AEGIS_OK;
}

static int garbage(run *r) {
    sim_cut *cut = &r->cut;
    TRY(spoil_each(r, true));
    TRY(spoil_each(r, false));
    TRY(spoil_last(r));
    choose_all(cut, true);
    spoil_all(cut, true);
    TRY(emit(r));
    for (size_t i = 0; i < r->limits.random; i++) {
        choose_random(cut);
        for (size_t v = 0; v < cut->variable_count; v++) cut_spoil(cut, v, cut_draw(cut, 2) == 1);
        TRY(emit(r));
    }
    spoil_all(cut, false);
    return AEGIS_OK;
}

/* ---- cuts ------------------------------------------------------------------------------------------------------------- */

static uint64_t times(uint64_t a, uint64_t b) {
    uint64_t product;
    return mul_u64(a, b, &product) ? product : UINT64_MAX;
}

static int try_cut(run *r) {
    sim_cut *cut = &r->cut;
    uint64_t choices = 1, names = 1;
    TRY(cut_enter(cut));
    for (size_t v = 0; v < cut->variable_count; v++) choices = times(choices, cut->variables[v].values);
    for (size_t i = 0; i < cut->disk.change_count; i++) names = times(names, 2);
    bool everything = times(choices, names) <= r->limits.all_subsets;
    bool every_name = everything || names <= r->limits.all_names;
    bool every_choice = everything || choices <= r->limits.all_subsets;
    r->counts.cuts++;
    if (!every_name || !every_choice) r->counts.sampled_cuts++;
    if (cut->disk.marks != r->seen_marks) set_clear(&r->seen);
    r->seen_marks = cut->disk.marks;
    TRY(every_name ? all_names(cut) : some_names(cut));
    TRY(every_choice ? all_choices(r) : some_choices(r));
    if (r->limits.torn_bytes) TRY(tear_bytes(r));
    if (r->limits.garbage) TRY(garbage(r));
    cut_leave(cut);
    return AEGIS_OK;
}

int vfs_sim_enumerate(const vfs_sim *recording, size_t from, size_t to, const vfs_sim_limits *limits, vfs_sim_image_fn fn,
                      void *context, vfs_sim_counts *counts) {
    static const vfs_sim_limits usual = VFS_SIM_LIMITS;
    run r = {.limits = limits != NULL ? *limits : usual, .fn = fn, .context = context};
    sim_disk *disk = &r.cut.disk;
    int code = cut_start(&r.cut, recording, r.limits.seed);
    while (code == AEGIS_OK && disk->at < from && disk->at < recording->op_count) code = disk_step(disk);
    while (code == AEGIS_OK && disk->at >= from && disk->at <= to) {
        code = try_cut(&r);
        if (code != AEGIS_OK || disk->at == recording->op_count) break;
        code = disk_step(disk);
    }
    if (counts != NULL) *counts = r.counts;
    set_clear(&r.seen);
    cut_end(&r.cut);
    return code;
}

int vfs_sim_image(const vfs_sim *recording, size_t at, enum vfs_sim_keep keep, uint64_t seed, vfs_sim **out) {
    sim_cut cut;
    *out = NULL;
    int code = cut_start(&cut, recording, seed);
    while (code == AEGIS_OK && cut.disk.at < at && cut.disk.at < recording->op_count) code = disk_step(&cut.disk);
    if (code == AEGIS_OK) code = cut_enter(&cut);
    if (code == AEGIS_OK) {
        bool *kept = cut_kept(&cut, keep == VFS_SIM_KEEP_ALL);
        for (size_t i = 0; kept != NULL && keep == VFS_SIM_KEEP_RANDOM && i < cut.disk.change_count; i++)
            kept[i] = cut_draw(&cut, 2) == 1;
        if (keep == VFS_SIM_KEEP_ALL) choose_all(&cut, true);
        if (keep == VFS_SIM_KEEP_RANDOM) choose_random(&cut);
        code = cut_add_subset(&cut, kept);
    }
    if (code == AEGIS_OK) code = cut_refresh(&cut);
    if (code == AEGIS_OK) *out = cut_image(&cut, &cut.subsets[0], true, seed);
    if (code == AEGIS_OK && *out == NULL) code = sim_no_memory();
    cut_end(&cut);
    return code;
}
