/* vfs_sim_cut: see vfs_sim_cut.h. */
#include "vfs_sim_cut.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- a cut ------------------------------------------------------------------------------------------------------------ */

void cut_leave(sim_cut *cut) {
    for (size_t f = 0; f < cut->file_count; f++) content_drop(cut->files[f].content);
    for (size_t i = 0; i < cut->subset_count; i++) {
        subset *s = &cut->subsets[i];
        for (size_t n = 0; s->tables != NULL && n < cut->disk.file_count; n++) table_drop(s->tables[n]);
        free(s->tables);
        free(s->reached);
        free(s->kept);
    }
    cut->file_count = cut->variable_count = cut->subset_count = 0;
    free(cut->pending_of);
    cut->pending_of = NULL;
    cut->shown = NULL;
}

static int add_variable(sim_cut *cut, const sim_cell *cell, size_t values) {
    TRY(sim_room(&cut->variables, cut->variable_count, &cut->variable_room, sizeof *cut->variables));
    cut->variables[cut->variable_count++] = (variable){cut->file_count, cell, values, 0, false};
    return AEGIS_OK;
}

static int add_pending(sim_cut *cut, uint32_t node) {
    const sim_file *file = &cut->disk.files[node];
    pending_file p = {.node = node, .file = file, .first = cut->variable_count, .size_variable = NONE, .stale = true};
    TRY(sim_room(&cut->files, cut->file_count, &cut->file_room, sizeof *cut->files));
    for (size_t i = 0; i < file->cell_count; i++) TRY(add_variable(cut, &file->cells[i], file->cells[i].count + 1));
    for (size_t i = 1; i < file->size_count; i++) p.shrinks |= file->sizes[i].shrinks;
    if (file->size_count > 1) {
        p.size_variable = cut->variable_count;
        TRY(add_variable(cut, NULL, file->size_count));
    }
    p.end = cut->variable_count;
    cut->files[cut->file_count++] = p;
    return AEGIS_OK;
}

int cut_enter(sim_cut *cut) {
    const sim_disk *disk = &cut->disk;
    bool *named = calloc(disk->file_count + 1, sizeof *named);
    cut->pending_of = malloc((disk->file_count + 1) * sizeof *cut->pending_of);
    int code = cut->pending_of != NULL && named != NULL ? AEGIS_OK : sim_no_memory();
    for (size_t d = 0; d < disk->file_count && code == AEGIS_OK; d++) {
        const sim_table *table = disk->files[d].table;
        for (size_t i = 0; table != NULL && i < table->count; i++) named[table->entries[i].node] = true;
    }
    for (size_t i = 0; i < disk->change_count && code == AEGIS_OK; i++) named[disk->changes[i].node] = true;
    for (size_t n = 0; n < disk->file_count && code == AEGIS_OK; n++) {
        bool pending = named[n] && disk_pending(&disk->files[n]);
        cut->pending_of[n] = pending ? cut->file_count : NONE;
        if (pending) code = add_pending(cut, (uint32_t)n);
    }
    free(named);
    return code;
}

int cut_start(sim_cut *cut, const vfs_sim *recording, uint64_t seed) {
    *cut = (sim_cut){.random = seed, .tear = {.file = NONE}};
    return disk_start(&cut->disk, recording);
}

void cut_end(sim_cut *cut) {
    cut_leave(cut);
    disk_end(&cut->disk);
    free(cut->files);
    free(cut->variables);
    free(cut->subsets);
}

uint64_t cut_draw(sim_cut *cut, uint64_t below) { return hash_bytes(cut->random++, "draw", 4).a % below; }

/* ---- one file under a choice ------------------------------------------------------------------------------------------ */

void cut_choose(sim_cut *cut, size_t v, size_t value) {
    variable *var = &cut->variables[v];
    if (var->chosen == value) return;
    var->chosen = value;
    cut->files[var->file].stale = true;
}

void cut_spoil(sim_cut *cut, size_t v, bool spoilt) {
    variable *var = &cut->variables[v];
    if (var->cell == NULL || var->spoilt == spoilt) return;
    var->spoilt = spoilt;
    cut->files[var->file].stale = true;
}

void cut_tear(sim_cut *cut, tear t) {
    if (cut->tear.file != NONE) cut->files[cut->tear.file].stale = true;
    if (t.file != NONE) cut->files[t.file].stale = true;
    cut->tear = t;
}

size_t cut_chosen_size(const sim_cut *cut, const pending_file *p) {
    return p->size_variable != NONE ? cut->variables[p->size_variable].chosen : 0;
}

static uint64_t size_of(const sim_cut *cut, const pending_file *p) {
    const tear *t = &cut->tear;
    if (t->file != NONE && &cut->files[t->file] == p && t->sized) return t->size;
    return p->file->sizes[cut_chosen_size(cut, p)].size;
}

/* Hash of a sector of which a file's end leaves `keep` bytes; `whole` is that of all its bytes, NULL if nobody has it yet. */
static sim_hash short_hash(uint64_t sector, const uint8_t *bytes, const sim_hash *whole, size_t keep) {
    uint8_t copy[SECTOR] = {0};
    if (keep >= SECTOR || all_zero(bytes + keep, SECTOR - keep)) return whole != NULL ? *whole : hash_sector(sector, bytes);
    memcpy(copy, bytes, keep);
    return hash_sector(sector, copy);
}

static sim_hash durable_hash(const sim_file *file, uint64_t sector, size_t keep) {
    uint8_t bytes[SECTOR];
    if (sector >= file->hash_count) return (sim_hash){0, 0};
    if (keep >= SECTOR) return file->hashes[sector];
    content_read(file->durable, sector * SECTOR, bytes, SECTOR);
    return short_hash(sector, bytes, &file->hashes[sector], keep);
}

/* Sum of the durable sectors up to `size`. */
static sim_hash durable_sum(const sim_file *file, uint64_t size) {
    sim_hash sum = file->sum;
    for (uint64_t s = size / SECTOR; s < file->hash_count; s++) sum = hash_minus(sum, file->hashes[s]);
    if (size % SECTOR != 0) sum = hash_plus(sum, durable_hash(file, size / SECTOR, (size_t)(size % SECTOR)));
    return sum;
}

/* The bytes of a sector's version, without what the truncations that happened took from it. `value` 0 is durable. */
static void version_bytes(const sim_cut *cut, const pending_file *p, const sim_cell *cell, size_t value, uint8_t bytes[SECTOR]) {
    uint64_t start = cell->sector * SECTOR;
    size_t op = 0;
    if (value == 0) content_read(p->file->durable, start, bytes, SECTOR);
    else {
        memcpy(bytes, cell->versions[value - 1]->bytes, SECTOR);
        op = cell->versions[value - 1]->op;
    }
    for (size_t i = 1; i <= cut_chosen_size(cut, p); i++) {
        const sim_size *size = &p->file->sizes[i];
        if (!size->shrinks || size->op < op || size->size >= start + SECTOR) continue;
        size_t keep = size->size > start ? (size_t)(size->size - start) : 0;
        memset(bytes + keep, 0, SECTOR - keep);
    }
}

static bool torn_here(const sim_cut *cut, const pending_file *p, const variable *var) {
    return cut->tear.file != NONE && &cut->files[cut->tear.file] == p && cut->tear.sector == var->cell->sector;
}

/* Bytes that no version of the sector has, the same each time. */
static void garbage_bytes(const sim_cell *cell, uint8_t bytes[SECTOR]) {
    sim_hash word = hash_pair((sim_hash){cell->sector, 9}, cell->versions[cell->count - 1]->hash);
    for (size_t i = 0; i < SECTOR; i += sizeof word) {
        memcpy(bytes + i, &word, sizeof word);
        word = hash_pair(word, (sim_hash){i, 9});
    }
}

/* What a sector holds by the choice: its version, torn where there is a tear, or garbage. */
static void chosen_bytes(const sim_cut *cut, const pending_file *p, const variable *var, uint8_t bytes[SECTOR]) {
    uint8_t torn[SECTOR];
    if (var->spoilt) {
        garbage_bytes(var->cell, bytes);
        return;
    }
    version_bytes(cut, p, var->cell, var->chosen, bytes);
    if (var->chosen == 0 || !torn_here(cut, p, var)) return;
    version_bytes(cut, p, var->cell, var->chosen - 1, torn);
    memcpy(bytes + cut->tear.keep, torn + cut->tear.keep, SECTOR - cut->tear.keep);
}

/* Hash of a file that no pending truncation touches, as though it ended at `end`: no content is built for it. */
static sim_hash fast_hash(const sim_cut *cut, const pending_file *p, uint64_t end) {
    uint64_t size = min_u64(size_of(cut, p), end);
    sim_hash sum = durable_sum(p->file, size);
    for (size_t v = p->first; v < p->end; v++) {
        const variable *var = &cut->variables[v];
        if (var->cell == NULL || (var->chosen == 0 && !var->spoilt)) continue;
        uint64_t start = var->cell->sector * SECTOR;
        if (start >= size) continue;
        size_t keep = (size_t)min_u64(size - start, SECTOR);
        sum = hash_minus(sum, durable_hash(p->file, var->cell->sector, keep));
        if (var->spoilt || torn_here(cut, p, var)) {
            uint8_t bytes[SECTOR];
            chosen_bytes(cut, p, var, bytes);
            sum = hash_plus(sum, short_hash(var->cell->sector, bytes, NULL, keep));
            continue;
        }
        const sim_version *version = var->cell->versions[var->chosen - 1];
        sum = hash_plus(sum, short_hash(var->cell->sector, version->bytes, &version->hash, keep));
    }
    return hash_file(sum, size);
}

static int build_content(const sim_cut *cut, const pending_file *p, sim_content **out) {
    for (size_t i = 1; i <= cut_chosen_size(cut, p); i++) {
        const sim_size *size = &p->file->sizes[i];
        if (size->shrinks && size->size < (*out)->size) TRY(content_resize(out, size->size));
    }
    for (size_t v = p->first; v < p->end; v++) {
        const variable *var = &cut->variables[v];
        uint8_t bytes[SECTOR];
        if (var->cell == NULL || (var->chosen == 0 && !var->spoilt)) continue;
        chosen_bytes(cut, p, var, bytes);
        TRY(content_write(out, var->cell->sector * SECTOR, bytes, SECTOR));
    }
    return content_resize(out, size_of(cut, p));
}

static int need_content(const sim_cut *cut, pending_file *p) {
    if (p->content != NULL) return AEGIS_OK;
    p->content = content_share(p->file->durable);
    return build_content(cut, p, &p->content);
}

/* The hash of a file as though it ended at `end`. */
static int hash_up_to(sim_cut *cut, pending_file *p, uint64_t end, sim_hash *hash) {
    if (!p->shrinks) {
        *hash = fast_hash(cut, p, end);
        return AEGIS_OK;
    }
    /* A truncation reaches into versions of sectors: rare enough to build the file first. */
    TRY(need_content(cut, p));
    sim_content *content = content_share(p->content);
    int code = content_resize(&content, min_u64(content->size, end));
    *hash = hash_file(content_sum(content), content->size);
    content_drop(content);
    return code;
}

static int refresh(sim_cut *cut, size_t f) {
    pending_file *p = &cut->files[f];
    if (!p->stale) return AEGIS_OK;
    p->stale = false;
    content_drop(p->content);
    p->content = NULL;
    return hash_up_to(cut, p, UINT64_MAX, &p->hash);
}

size_t cut_op(const sim_cut *cut, size_t v, size_t value) {
    const variable *var = &cut->variables[v];
    if (value == 0) return 0;
    return var->cell != NULL ? var->cell->versions[value - 1]->op : cut->files[var->file].file->sizes[value].op;
}

int cut_refresh(sim_cut *cut) {
    for (size_t f = 0; f < cut->file_count; f++) TRY(refresh(cut, f));
    return AEGIS_OK;
}

sim_hash cut_image_hash(const sim_cut *cut, const subset *s) {
    sim_hash hash = s->fixed;
    for (size_t i = 0; i < s->reach_count; i++) {
        const reach *at = &s->reached[i];
        if (at->pending != NONE) hash = hash_plus(hash, hash_pair(at->path, cut->files[at->pending].hash));
    }
    return hash;
}

static sim_hash path_hash(sim_hash above, const char *name, size_t length) { return hash_pair(above, hash_bytes(3, name, length)); }

/* The hash of "session/00000000.seg" as `visit` has it. */
static sim_hash hash_of_path(const char *path) {
    sim_hash hash = path_hash((sim_hash){5, 5}, SIM_ROOT_NAME, strlen(SIM_ROOT_NAME));
    while (*path != '\0') {
        size_t length = strcspn(path, "/");
        hash = path_hash(hash, path, length);
        path += length + (path[length] == '/');
    }
    return hash;
}

int vfs_sim_image_id(const vfs_sim *image, const vfs_sim_end *ends, size_t count, vfs_sim_id *out) {
    sim_cut *cut = (sim_cut *)(uintptr_t)image->origin;
    if (cut == NULL || cut->shown == NULL) return fail(AEGIS_E_ARGUMENT, "not the image of an enumeration");
    *out = cut_image_hash(cut, cut->shown);
    for (size_t e = 0; e < count; e++) {
        sim_hash path = hash_of_path(ends[e].path);
        for (size_t i = 0; i < cut->shown->reach_count; i++) {
            const reach *at = &cut->shown->reached[i];
            const sim_file *file = &cut->disk.files[at->node];
            sim_hash now, then;
            if (!hash_equal(at->path, path) || file->is_dir) continue;
            if (at->pending == NONE) {
                uint64_t size = file->sizes[0].size, end = min_u64(size, ends[e].size);
                now = hash_file(file->sum, size);
                then = hash_file(durable_sum(file, end), end);
            } else {
                now = cut->files[at->pending].hash;
                TRY(hash_up_to(cut, &cut->files[at->pending], ends[e].size, &then));
            }
            *out = hash_plus(hash_minus(*out, hash_pair(path, now)), hash_pair(path, then));
        }
    }
    return AEGIS_OK;
}

/* ---- subsets of names ------------------------------------------------------------------------------------------------- */

static int visit(sim_cut *cut, subset *s, uint32_t dir, sim_hash path) {
    const sim_table *table = s->tables[dir];
    for (size_t i = 0; i < table->count; i++) {
        uint32_t node = table->entries[i].node;
        const sim_file *file = &cut->disk.files[node];
        sim_hash here = path_hash(path, table->entries[i].name, strlen(table->entries[i].name));
        TRY(sim_room(&s->reached, s->reach_count, &s->reach_room, sizeof *s->reached));
        s->reached[s->reach_count++] = (reach){node, file->is_dir ? NONE : cut->pending_of[node], here};
        if (file->is_dir) {
            s->fixed = hash_plus(s->fixed, hash_pair(here, (sim_hash){0, 4}));
            TRY(visit(cut, s, node, here));
        } else if (cut->pending_of[node] == NONE)
            s->fixed = hash_plus(s->fixed, hash_pair(here, hash_file(file->sum, file->sizes[0].size)));
    }
    return AEGIS_OK;
}

int cut_add_subset(sim_cut *cut, bool *kept) {
    if (kept == NULL || sim_room(&cut->subsets, cut->subset_count, &cut->subset_room, sizeof *cut->subsets) != AEGIS_OK) {
        free(kept);
        return sim_no_memory();
    }
    subset *s = &cut->subsets[cut->subset_count++];
    /* Some number to start from: zero means nothing to who keeps hashes, and a disk may be empty. */
    *s = (subset){.kept = kept, .fixed = {6, 6}};
    s->tables = calloc(cut->disk.file_count, sizeof *s->tables);
    if (s->tables == NULL) return sim_no_memory();
    for (size_t i = 0; i < cut->disk.file_count; i++) s->tables[i] = table_share(cut->disk.files[i].table);
    for (size_t i = 0; i < cut->disk.change_count; i++)
        if (kept[i]) TRY(disk_apply_change(&s->tables[cut->disk.changes[i].dir], &cut->disk.changes[i]));
    return visit(cut, s, SIM_ABOVE, (sim_hash){5, 5});
}

bool *cut_kept(const sim_cut *cut, bool value) {
    bool *kept = malloc(cut->disk.change_count + 1);
    for (size_t i = 0; kept != NULL && i < cut->disk.change_count; i++) kept[i] = value;
    return kept;
}

/* ---- an image --------------------------------------------------------------------------------------------------------- */

vfs_sim *cut_image(sim_cut *cut, const subset *s, bool record, uint64_t seed) {
    sim_state live = {0, cut->disk.file_count, NULL};
    live.nodes = calloc(cut->disk.file_count, sizeof *live.nodes);
    if (live.nodes == NULL) return NULL;
    live.count = cut->disk.file_count;
    live.nodes[SIM_ABOVE].table = table_share(s->tables[SIM_ABOVE]);
    live.nodes[SIM_ABOVE].names = 1;
    for (size_t i = 0; i < s->reach_count; i++) {
        const reach *at = &s->reached[i];
        sim_node *node = &live.nodes[at->node];
        node->names++;
        if (s->tables[at->node] != NULL) node->table = table_share(s->tables[at->node]);
        else if (at->pending == NONE) node->content = content_share(cut->disk.files[at->node].durable);
        else if (need_content(cut, &cut->files[at->pending]) == AEGIS_OK)
            node->content = content_share(cut->files[at->pending].content);
        else {
            state_clear(&live);
            return NULL;
        }
    }
    vfs_sim *image = sim_make(&live, record, seed);
    if (image != NULL) image->clock_ms = cut->disk.recording->clock_ms;
    return image;
}

/* ---- for people ------------------------------------------------------------------------------------------------------- */

typedef struct writer {
    char *text;
    size_t capacity, used;
} writer;

static void say(writer *w, const char *format, ...) __attribute__((format(printf, 2, 3)));

void vfs_sim_explain(const vfs_sim *image, char *text, size_t capacity) {
    const sim_cut *cut = image->origin;
    writer w = {text, capacity, 0};
    char op[256];
    if (capacity > 0) text[0] = '\0';
    if (cut == NULL || cut->shown == NULL) return;
    if (cut->disk.at == 0) snprintf(op, sizeof op, "nothing");
    else vfs_sim_op_text(cut->disk.recording, cut->disk.at - 1, op, sizeof op);
    say(&w, "power cut after %s;", op);
    for (size_t i = 0; i < cut->disk.change_count; i++) {
        vfs_sim_op_text(cut->disk.recording, cut->disk.changes[i].op - 1, op, sizeof op);
        say(&w, " %s: %s;", op, cut->shown->kept[i] ? "kept" : "lost");
    }
    for (size_t f = 0; f < cut->file_count; f++) {
        const pending_file *p = &cut->files[f];
        say(&w, " %s (node %u): size %llu of %llu, pending sectors", p->file->path, (unsigned)p->node,
            (unsigned long long)size_of(cut, p), (unsigned long long)p->file->cache->size);
        for (size_t v = p->first; v < p->end; v++) {
            const variable *var = &cut->variables[v];
            if (var->cell == NULL) continue;
            say(&w, " %llu=%zu/%zu%s", (unsigned long long)var->cell->sector, var->chosen, var->values - 1, var->spoilt ? " spoilt" : "");
            if (cut->tear.file == f && cut->tear.sector == var->cell->sector) say(&w, " torn at %zu", cut->tear.keep);
        }
        say(&w, ";");
    }
}

static void say(writer *w, const char *format, ...) {
    va_list arguments;
    if (w->used >= w->capacity) return;
    va_start(arguments, format);
    int n = vsnprintf(w->text + w->used, w->capacity - w->used, format, arguments);
    va_end(arguments);
    if (n > 0) w->used += (size_t)n;
}
