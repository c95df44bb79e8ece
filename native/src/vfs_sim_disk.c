/* vfs_sim_disk: follows a record and knows at each point what a power cut would leave for certain, and what is pending.
 *
 * For each file:
 *
 *   durable ───── sector contents that are on the disk for certain, with a hash each
 *   cells ─────── sectors with pending versions, oldest first; the disk holds the durable one or any of these
 *   sizes ─────── sizes[0] is durable, the others pending, oldest first; the disk has any of them
 *   cache ─────── what the running system sees: all writes done
 *
 * A sync collapses each list to its newest member, unless a failed sync before it has put that member in doubt ("lost"): then
 * the list stays as it is until the sector is written again. A version with the bytes of the one before it is no version, so
 * pre-zeroing a file costs nothing but a size.
 *
 * Truncation is an entry among the sizes. It zeroes the bytes past it of every version older than itself, in those disks that
 * have this size or a later one.
 */
#include "vfs_sim_state.h"

#include <stdio.h>
#include <stdlib.h>

#define SECTOR VFS_SIM_SECTOR

int disk_apply_change(sim_table **table, const sim_change *change) {
    if (change->kind == VFS_SIM_CREATE || change->kind == VFS_SIM_MKDIR) return table_set(table, change->name, change->node);
    TRY(table_forget(table, change->node));
    if (change->kind == VFS_SIM_RENAME) return table_set(table, change->to, change->node);
    return AEGIS_OK;
}

/* ---- durable sectors -------------------------------------------------------------------------------------------------- */

static int set_hash(sim_file *file, uint64_t sector, sim_hash hash) {
    if (sector >= file->hash_count) {
        if (hash_equal(hash, (sim_hash){0, 0})) return AEGIS_OK;
        size_t count = (size_t)sector + 1;
        sim_hash *grown = realloc(file->hashes, count * sizeof *grown);
        if (grown == NULL) return sim_no_memory();
        for (size_t i = file->hash_count; i < count; i++) grown[i] = (sim_hash){0, 0};
        file->hashes = grown;
        file->hash_count = count;
    }
    file->sum = hash_plus(hash_minus(file->sum, file->hashes[sector]), hash);
    file->hashes[sector] = hash;
    return AEGIS_OK;
}

static int set_durable(sim_file *file, uint64_t sector, const sim_version *version) {
    TRY(content_write(&file->durable, sector * SECTOR, version->bytes, SECTOR));
    return set_hash(file, sector, version->hash);
}

/* The truncation to `size` is durable. */
static int cut_durable(sim_file *file, uint64_t size) {
    if (size >= file->durable->size) return AEGIS_OK;
    TRY(content_resize(&file->durable, size));
    for (uint64_t sector = size / SECTOR; sector < file->hash_count; sector++) {
        uint8_t bytes[SECTOR];
        content_read(file->durable, sector * SECTOR, bytes, SECTOR);
        TRY(set_hash(file, sector, hash_sector(sector, bytes)));
    }
    return AEGIS_OK;
}

/* ---- pending ---------------------------------------------------------------------------------------------------------- */

static void cell_free(sim_cell *cell) {
    for (size_t i = 0; i < cell->count; i++) free(cell->versions[i]);
    free(cell->versions);
}

/* The place in the sorted list where the cell of the sector is or belongs. */
static size_t cell_place(const sim_file *file, uint64_t sector) {
    size_t low = 0, high = file->cell_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (file->cells[middle].sector < sector) low = middle + 1;
        else high = middle;
    }
    return low;
}

static bool cut_since(const sim_file *file, size_t op, uint64_t sector) {
    for (size_t i = 1; i < file->size_count; i++)
        if (file->sizes[i].shrinks && file->sizes[i].op > op && file->sizes[i].size < (sector + 1) * SECTOR) return true;
    return false;
}

/* The sector was written and has these bytes now. */
static int add_version(sim_file *file, size_t op, uint64_t sector, const uint8_t bytes[SECTOR]) {
    size_t at = cell_place(file, sector);
    bool exists = at < file->cell_count && file->cells[at].sector == sector;
    if (exists) {
        sim_cell *cell = &file->cells[at];
        sim_version *newest = cell->versions[cell->count - 1];
        if (memcmp(newest->bytes, bytes, SECTOR) == 0 && !cut_since(file, newest->op, sector)) {
            /* Dirty again: the next sync does write it. */
            newest->lost = false;
            return AEGIS_OK;
        }
    } else {
        uint8_t durable[SECTOR];
        content_read(file->durable, sector * SECTOR, durable, SECTOR);
        if (memcmp(durable, bytes, SECTOR) == 0 && !cut_since(file, 0, sector)) return AEGIS_OK;
        TRY(sim_room(&file->cells, file->cell_count, &file->cell_room, sizeof *file->cells));
        memmove(&file->cells[at + 1], &file->cells[at], (file->cell_count - at) * sizeof *file->cells);
        file->cells[at] = (sim_cell){.sector = sector};
        file->cell_count++;
    }
    sim_cell *cell = &file->cells[at];
    TRY(sim_room(&cell->versions, cell->count, &cell->room, sizeof *cell->versions));
    sim_version *version = malloc(sizeof *version);
    if (version == NULL) return sim_no_memory();
    *version = (sim_version){.op = op, .hash = hash_sector(sector, bytes)};
    memcpy(version->bytes, bytes, SECTOR);
    cell->versions[cell->count++] = version;
    return AEGIS_OK;
}

static int add_size(sim_file *file, sim_size size) {
    TRY(sim_room(&file->sizes, file->size_count, &file->size_room, sizeof *file->sizes));
    file->sizes[file->size_count++] = size;
    return AEGIS_OK;
}

static int take_write(sim_file *file, size_t op, const vfs_sim_op *write) {
    uint64_t end = write->offset + write->length, before = file->cache->size;
    TRY(content_write(&file->cache, write->offset, write->bytes, (size_t)write->length));
    if (end > before) TRY(add_size(file, (sim_size){.op = op, .size = end, .by_write = true}));
    else if (end == before) file->sizes[file->size_count - 1].lost = false;
    for (uint64_t sector = write->offset / SECTOR; sector * SECTOR < end; sector++) {
        uint8_t bytes[SECTOR];
        content_read(file->cache, sector * SECTOR, bytes, SECTOR);
        TRY(add_version(file, op, sector, bytes));
    }
    return AEGIS_OK;
}

static int take_resize(sim_file *file, size_t op, uint64_t size) {
    uint64_t before = file->cache->size;
    if (size == before) return AEGIS_OK;
    TRY(content_resize(&file->cache, size));
    return add_size(file, (sim_size){.op = op, .size = size, .shrinks = size < before});
}

/* ---- syncs ------------------------------------------------------------------------------------------------------------ */

static void lose(sim_file *file) {
    for (size_t i = 0; i < file->cell_count; i++)
        for (size_t v = 0; v < file->cells[i].count; v++) file->cells[i].versions[v]->lost = true;
    for (size_t i = 1; i < file->size_count; i++) file->sizes[i].lost |= file->sizes[i].by_write;
}

/* A truncation is durable: what was written before it is gone past it, on any disk. */
static int cut_everywhere(sim_file *file, const sim_size *cut) {
    TRY(cut_durable(file, cut->size));
    for (size_t i = 0; i < file->cell_count; i++) {
        const sim_cell *cell = &file->cells[i];
        uint64_t start = cell->sector * SECTOR;
        if (cut->size >= start + SECTOR) continue;
        size_t keep = cut->size > start ? (size_t)(cut->size - start) : 0;
        for (size_t v = 0; v < cell->count && cell->versions[v]->op < cut->op; v++) {
            memset(cell->versions[v]->bytes + keep, 0, SECTOR - keep);
            cell->versions[v]->hash = hash_sector(cell->sector, cell->versions[v]->bytes);
        }
    }
    return AEGIS_OK;
}

static int settle_sizes(sim_file *file) {
    size_t last = file->size_count - 1;
    while (last > 0 && file->sizes[last].lost) last--;
    for (size_t i = 1; i <= last; i++)
        if (file->sizes[i].shrinks) TRY(cut_everywhere(file, &file->sizes[i]));
    file->size_count -= last;
    memmove(file->sizes, file->sizes + last, file->size_count * sizeof *file->sizes);
    return AEGIS_OK;
}

static int settle(sim_file *file) {
    size_t kept = 0;
    TRY(settle_sizes(file));
    for (size_t i = 0; i < file->cell_count; i++) {
        sim_cell *cell = &file->cells[i];
        if (cell->versions[cell->count - 1]->lost) {
            sim_cell moved = *cell;
            *cell = (sim_cell){0};
            file->cells[kept++] = moved;
            continue;
        }
        TRY(set_durable(file, cell->sector, cell->versions[cell->count - 1]));
        cell_free(cell);
        *cell = (sim_cell){0};
    }
    file->cell_count = kept;
    if (disk_pending(file)) return AEGIS_OK;
    return content_resize(&file->durable, file->sizes[0].size);
}

/* ---- names ------------------------------------------------------------------------------------------------------------ */

static bool same_name(const char *x, const char *y) { return x != NULL && y != NULL && strcmp(x, y) == 0; }

static bool touch_same(const sim_change *x, const sim_change *y) {
    return x->node == y->node || same_name(x->name, y->name) || same_name(x->name, y->to) || same_name(x->to, y->name) ||
           same_name(x->to, y->to);
}

static void sync_names(sim_disk *disk, uint32_t dir, bool failed, int *code) {
    size_t kept = 0;
    for (size_t i = 0; i < disk->change_count; i++) {
        sim_change *change = &disk->changes[i];
        if (change->dir == dir && failed) change->lost = true;
        if (change->dir != dir || change->lost) {
            disk->changes[kept++] = *change;
            continue;
        }
        if (*code == AEGIS_OK) *code = disk_apply_change(&disk->files[dir].table, change);
        /* What was in doubt about the same name or node before is decided by it. */
        sim_change settled = *change;
        size_t still = 0;
        for (size_t j = 0; j < kept; j++)
            if (disk->changes[j].dir != dir || !touch_same(&disk->changes[j], &settled)) disk->changes[still++] = disk->changes[j];
        kept = still;
    }
    disk->change_count = kept;
}

static int add_change(sim_disk *disk, const vfs_sim_op *op) {
    TRY(sim_room(&disk->changes, disk->change_count, &disk->change_room, sizeof *disk->changes));
    disk->changes[disk->change_count++] = (sim_change){
        .op = disk->at + 1, .dir = op->dir, .node = op->node, .kind = op->kind,
        .name = op->dir == SIM_ABOVE ? SIM_ROOT_NAME : sim_last_name(op->path),
        .to = op->to != NULL ? sim_last_name(op->to) : NULL};
    return AEGIS_OK;
}

/* ---- following -------------------------------------------------------------------------------------------------------- */

static int add_file(sim_disk *disk, sim_content *content, sim_table *table, const char *path) {
    TRY(sim_room(&disk->files, disk->file_count, &disk->file_room, sizeof *disk->files));
    sim_file *file = &disk->files[disk->file_count++];
    *file = (sim_file){.is_dir = table != NULL, .durable = content_share(content), .table = table_share(table)};
    file->path = strdup(path);
    if (file->path == NULL) return sim_no_memory();
    if (content == NULL) return AEGIS_OK;
    file->cache = content_share(content);
    TRY(add_size(file, (sim_size){.size = content->size}));
    for (size_t i = 0; i < content->count; i++) {
        if (content->pages[i] == NULL) continue;
        for (size_t at = 0; at < SIM_PAGE; at += SECTOR) {
            uint64_t sector = (i * SIM_PAGE + at) / SECTOR;
            TRY(set_hash(file, sector, hash_sector(sector, content->pages[i]->bytes + at)));
        }
    }
    return AEGIS_OK;
}

/* The paths of what was there when the record began. */
static int name_files(sim_disk *disk, uint32_t dir) {
    const sim_table *table = disk->files[dir].table;
    const char *above = disk->files[dir].path;
    for (size_t i = 0; table != NULL && i < table->count; i++) {
        const char *name = table->entries[i].name;
        uint32_t node = table->entries[i].node;
        size_t size = strlen(above) + strlen(name) + 2;
        char *path = malloc(size);
        if (path == NULL) return sim_no_memory();
        if (dir == SIM_ABOVE) path[0] = '\0';
        else snprintf(path, size, "%s%s%s", above, above[0] != '\0' ? "/" : "", name);
        free(disk->files[node].path);
        disk->files[node].path = path;
        TRY(name_files(disk, node));
    }
    return AEGIS_OK;
}

int disk_start(sim_disk *disk, const vfs_sim *recording) {
    *disk = (sim_disk){.recording = recording};
    if (!recording->recording) return fail(AEGIS_E_ARGUMENT, "the simulated machine has recorded nothing");
    for (size_t i = 0; i < recording->base.count; i++)
        TRY(add_file(disk, recording->base.nodes[i].content, recording->base.nodes[i].table, ""));
    return recording->base.count > 0 ? name_files(disk, SIM_ABOVE) : AEGIS_OK;
}

/* Nodes are numbered in the order in which they were made, but for one that no record was kept of. */
static int make_file(sim_disk *disk, const vfs_sim_op *op) {
    sim_content *content = op->kind == VFS_SIM_CREATE ? content_new() : NULL;
    sim_table *table = op->kind == VFS_SIM_MKDIR ? table_new() : NULL;
    int code = content != NULL || table != NULL ? AEGIS_OK : sim_no_memory();
    while (code == AEGIS_OK && disk->file_count < op->node) code = add_file(disk, NULL, NULL, "");
    if (code == AEGIS_OK) code = add_file(disk, content, table, op->path);
    content_drop(content);
    table_drop(table);
    return code;
}

int disk_step(sim_disk *disk) {
    const vfs_sim_op *op = vfs_sim_op_at(disk->recording, disk->at);
    int code = AEGIS_OK;
    CHECK(op != NULL);
    if (op->kind == VFS_SIM_CREATE || op->kind == VFS_SIM_MKDIR) TRY(make_file(disk, op));
    sim_file *file = op->kind != VFS_SIM_MARK ? &disk->files[op->node] : NULL;
    switch (op->kind) {
    case VFS_SIM_CREATE:
    case VFS_SIM_MKDIR:
    case VFS_SIM_RENAME:
    case VFS_SIM_UNLINK:
        code = add_change(disk, op);
        break;
    case VFS_SIM_WRITE:
        code = take_write(file, disk->at + 1, op);
        break;
    case VFS_SIM_ALLOCATE:
        if (op->offset + op->length > file->cache->size) code = take_resize(file, disk->at + 1, op->offset + op->length);
        break;
    case VFS_SIM_TRUNCATE:
        code = take_resize(file, disk->at + 1, op->offset);
        break;
    case VFS_SIM_SYNC:
        if (op->failed) lose(file);
        else if (!op->dropped) code = settle(file);
        break;
    case VFS_SIM_SYNC_DIR:
    case VFS_SIM_SYNC_PARENT:
        if (!op->dropped) sync_names(disk, op->node, op->failed, &code);
        break;
    case VFS_SIM_MARK:
        disk->marks += op->mark != VFS_SIM_SUBMIT;
        break;
    default:
        code = fail(AEGIS_E_BUG, "operation %zu can't be on record", disk->at);
        break;
    }
    disk->at++;
    return code;
}

void disk_end(sim_disk *disk) {
    for (size_t i = 0; i < disk->file_count; i++) {
        sim_file *file = &disk->files[i];
        content_drop(file->durable);
        content_drop(file->cache);
        table_drop(file->table);
        free(file->path);
        for (size_t c = 0; c < file->cell_count; c++) cell_free(&file->cells[c]);
        free(file->cells);
        free(file->sizes);
        free(file->hashes);
    }
    free(disk->files);
    free(disk->changes);
}
