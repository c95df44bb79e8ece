/* vfs_sim: the running system of the simulator: the vfs calls. See vfs_sim.h.
 *
 * Each call passes the gate first, which counts it and may fail it; then it is recorded; then it happens. What is durable is no
 * concern of this file: it shows the page cache, and the record is read by vfs_sim_disk.c.
 */
#include "vfs_sim_state.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>

#define FILE_MAX ((uint64_t)1 << 32)
#define LABEL_MAX 600

static vfs_sim *sim_of(vfs *self) { return (vfs_sim *)self; }

/* ---- space and dropped syncs ------------------------------------------------------------------------------------------ */

static bool drops(const vfs_sim *sim, const char *path) {
    if (sim->drop_pattern == NULL) return false;
    return fnmatch(sim->drop_pattern, path, 0) == 0 || fnmatch(sim->drop_pattern, sim_last_name(path), 0) == 0;
}

/* Takes `growth` from what is left. */
static bool spend(vfs_sim *sim, uint64_t growth) {
    if (sim->space == UINT64_MAX) return true;
    if (growth > sim->space) return false;
    sim->space -= growth;
    return true;
}

static void give_back(vfs_sim *sim, uint64_t bytes) {
    if (sim->space != UINT64_MAX) sim->space += bytes;
}

/* ---- names ------------------------------------------------------------------------------------------------------------ */

static int join(const char *dir, const char *name, char label[LABEL_MAX]) {
    if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/') != NULL)
        return fail(AEGIS_E_ARGUMENT, "\"%s\" is not the name of a file", name);
    int n = dir[0] == '\0' ? snprintf(label, LABEL_MAX, "%s", name) : snprintf(label, LABEL_MAX, "%s/%s", dir, name);
    if (n < 0 || n >= LABEL_MAX) return fail_system(ENAMETOOLONG, "use name", name);
    return AEGIS_OK;
}

static void release(vfs_sim *sim, uint32_t node) {
    sim_node *gone = &sim->live.nodes[node];
    if (gone->names > 0 || gone->handles > 0) return;
    if (gone->content != NULL) give_back(sim, gone->content->size);
    content_drop(gone->content);
    table_drop(gone->table);
    gone->content = NULL;
    gone->table = NULL;
}

int sim_point(vfs_sim *sim, uint32_t dir, const char *name, uint32_t node) {
    sim_table **table = &sim->live.nodes[dir].table;
    uint32_t old = table_find(*table, name);
    if (node == SIM_NO_NODE) TRY(table_remove(table, name));
    else TRY(table_set(table, name, node));
    if (node != SIM_NO_NODE) sim->live.nodes[node].names++;
    if (old == SIM_NO_NODE) return AEGIS_OK;
    sim->live.nodes[old].names--;
    release(sim, old);
    return AEGIS_OK;
}

/* A new node under a new name, recorded. */
static int make(vfs_sim *sim, enum vfs_sim_kind kind, uint32_t dir, const char *name, const char *path, uint32_t *node) {
    TRY(state_add(&sim->live, node));
    sim_node *made = &sim->live.nodes[*node];
    if (kind == VFS_SIM_MKDIR) made->table = table_new();
    else made->content = content_new();
    if (made->table == NULL && made->content == NULL) return sim_no_memory();
    TRY(sim_record(sim, (vfs_sim_op){.kind = kind, .dir = dir, .node = *node, .path = path}));
    return sim_point(sim, dir, name, *node);
}

/* ---- directories ------------------------------------------------------------------------------------------------------ */

static int enter(vfs_sim *sim, uint32_t above, const char *name, const char *path, unsigned flags, vfs_dir **out) {
    uint32_t node = table_find(sim->live.nodes[above].table, name);
    if (node == SIM_NO_NODE) {
        if ((flags & VFS_CREATE) == 0) return fail_system(ENOENT, "open directory", path);
        if (sim->read_only) return fail_system(EROFS, "make directory", path);
        TRY(make(sim, VFS_SIM_MKDIR, above, name, path, &node));
    } else if ((flags & VFS_EXCLUSIVE) != 0) return fail_system(EEXIST, "make directory", path);
    if (sim->live.nodes[node].table == NULL) return fail_system(ENOTDIR, "open directory", path);
    size_t length = strlen(path) + 1;
    vfs_dir *dir = malloc(sizeof *dir + length);
    if (dir == NULL) return sim_no_memory();
    memcpy(dir->path, path, length);
    dir->node = node;
    dir->next = sim->dirs;
    sim->dirs = dir;
    sim->live.nodes[node].handles++;
    *out = dir;
    return AEGIS_OK;
}

static int sim_open_root(vfs *self, const char *path, unsigned flags, vfs_dir **out) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    int code = sim_gate(sim, VFS_SIM_OPEN_ROOT, path);
    if (code == AEGIS_OK) code = enter(sim, SIM_ABOVE, SIM_ROOT_NAME, "", flags, out);
    return sim_done(sim, code);
}

static int sim_open_dir(vfs *self, vfs_dir *parent, const char *name, unsigned flags, vfs_dir **out) {
    vfs_sim *sim = sim_of(self);
    char path[LABEL_MAX];
    TRY(join(parent->path, name, path));
    pthread_mutex_lock(&sim->mutex);
    int code = sim_gate(sim, VFS_SIM_OPEN_DIR, path);
    if (code == AEGIS_OK) code = enter(sim, parent->node, name, path, flags, out);
    return sim_done(sim, code);
}

static void sim_close_dir(vfs *self, vfs_dir *dir) {
    vfs_sim *sim = sim_of(self);
    if (dir == NULL) return;
    pthread_mutex_lock(&sim->mutex);
    for (vfs_dir **at = &sim->dirs; *at != NULL; at = &(*at)->next) {
        if (*at != dir) continue;
        *at = dir->next;
        break;
    }
    sim->live.nodes[dir->node].handles--;
    release(sim, dir->node);
    pthread_mutex_unlock(&sim->mutex);
    free(dir);
}

/* A sync that fails is recorded too: it decides about what is pending. */
static int sync_any(vfs_sim *sim, enum vfs_sim_kind kind, uint32_t node, const char *path, bool dropped) {
    int code = sim_gate(sim, kind, path);
    int recorded = sim_record(sim, (vfs_sim_op){.kind = kind, .node = node, .path = path,
                                            .failed = code != AEGIS_OK, .dropped = code == AEGIS_OK && dropped});
    return code != AEGIS_OK ? code : recorded;
}

static int sim_sync_dir(vfs *self, vfs_dir *dir) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    return sim_done(sim, sync_any(sim, VFS_SIM_SYNC_DIR, dir->node, dir->path, sim->drop_dirs));
}

static int sim_sync_parent(vfs *self, vfs_dir *root) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    return sim_done(sim, sync_any(sim, VFS_SIM_SYNC_PARENT, SIM_ABOVE, root->path, sim->drop_dirs));
}

static int sim_list(vfs *self, vfs_dir *dir, vfs_name_fn fn, void *context) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    int code = sim_gate(sim, VFS_SIM_LIST, dir->path);
    /* A share of the table: `fn` may change the directory, which then gets a copy. */
    sim_table *names = table_share(sim->live.nodes[dir->node].table);
    pthread_mutex_unlock(&sim->mutex);
    for (size_t i = 0; i < names->count && code == AEGIS_OK; i++) code = fn(context, names->entries[i].name);
    table_drop(names);
    return code;
}

static int rename_locked(vfs_sim *sim, vfs_dir *dir, const char *from, const char *to, const char *path, const char *to_path) {
    TRY(sim_gate(sim, VFS_SIM_RENAME, path));
    if (sim->read_only) return fail_system(EROFS, "rename", path);
    uint32_t node = table_find(sim->live.nodes[dir->node].table, from);
    if (node == SIM_NO_NODE) return fail_system(ENOENT, "rename", path);
    if (strcmp(from, to) == 0) return AEGIS_OK;
    uint32_t replaced = table_find(sim->live.nodes[dir->node].table, to);
    if (replaced != SIM_NO_NODE && (sim->live.nodes[replaced].table != NULL) != (sim->live.nodes[node].table != NULL))
        return fail_system(EISDIR, "rename", path);
    TRY(sim_record(sim, (vfs_sim_op){.kind = VFS_SIM_RENAME, .dir = dir->node, .node = node, .path = path, .to = to_path}));
    TRY(sim_point(sim, dir->node, to, node));
    return sim_point(sim, dir->node, from, SIM_NO_NODE);
}

static int sim_rename(vfs *self, vfs_dir *dir, const char *from, const char *to) {
    vfs_sim *sim = sim_of(self);
    char path[LABEL_MAX], to_path[LABEL_MAX];
    TRY(join(dir->path, from, path));
    TRY(join(dir->path, to, to_path));
    pthread_mutex_lock(&sim->mutex);
    return sim_done(sim, rename_locked(sim, dir, from, to, path, to_path));
}

static int unlink_locked(vfs_sim *sim, vfs_dir *dir, const char *name, const char *path) {
    TRY(sim_gate(sim, VFS_SIM_UNLINK, path));
    if (sim->read_only) return fail_system(EROFS, "remove", path);
    uint32_t node = table_find(sim->live.nodes[dir->node].table, name);
    if (node == SIM_NO_NODE) return fail_system(ENOENT, "remove", path);
    if (sim->live.nodes[node].table != NULL) return fail_system(EISDIR, "remove", path);
    TRY(sim_record(sim, (vfs_sim_op){.kind = VFS_SIM_UNLINK, .dir = dir->node, .node = node, .path = path}));
    return sim_point(sim, dir->node, name, SIM_NO_NODE);
}

static int sim_unlink(vfs *self, vfs_dir *dir, const char *name) {
    vfs_sim *sim = sim_of(self);
    char path[LABEL_MAX];
    TRY(join(dir->path, name, path));
    pthread_mutex_lock(&sim->mutex);
    return sim_done(sim, unlink_locked(sim, dir, name, path));
}

static int sim_place(vfs *self, vfs_dir *dir, vfs_place_info *out) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    int code = sim_gate(sim, VFS_SIM_PLACE, dir->path);
    *out = (vfs_place_info){.network = sim->network, .read_only = sim->read_only, .free_bytes = sim->space, .type = "sim"};
    return sim_done(sim, code);
}

/* ---- files ------------------------------------------------------------------------------------------------------------ */

static int open_locked(vfs_sim *sim, vfs_dir *dir, const char *name, const char *path, unsigned flags, vfs_file **out) {
    TRY(sim_gate(sim, VFS_SIM_OPEN, path));
    bool writable = (flags & (VFS_WRITE | VFS_CREATE)) != 0;
    if (writable && sim->read_only) return fail_system(EROFS, "open", path);
    uint32_t node = table_find(sim->live.nodes[dir->node].table, name);
    if (node != SIM_NO_NODE && (flags & VFS_EXCLUSIVE) != 0) return fail_system(EEXIST, "open", path);
    if (node == SIM_NO_NODE && (flags & VFS_CREATE) == 0) return fail_system(ENOENT, "open", path);
    if (node != SIM_NO_NODE && sim->live.nodes[node].content == NULL)
        return fail(AEGIS_E_NOTSTORE, "%s is not a regular file", path);
    if (node != SIM_NO_NODE && writable && sim->live.nodes[node].is_protected) return fail_system(EACCES, "open", path);
    size_t length = strlen(path) + 1;
    vfs_file *file = malloc(sizeof *file + length);
    if (file == NULL) return sim_no_memory();
    int code = node != SIM_NO_NODE ? AEGIS_OK : make(sim, VFS_SIM_CREATE, dir->node, name, path, &node);
    if (code != AEGIS_OK) {
        free(file);
        return code;
    }
    memcpy(file->path, path, length);
    file->node = node;
    file->dir = dir->node;
    file->writable = writable;
    file->next = sim->files;
    sim->files = file;
    sim->live.nodes[node].handles++;
    *out = file;
    return AEGIS_OK;
}

static int sim_open(vfs *self, vfs_dir *dir, const char *name, unsigned flags, vfs_file **out) {
    vfs_sim *sim = sim_of(self);
    char path[LABEL_MAX];
    TRY(join(dir->path, name, path));
    pthread_mutex_lock(&sim->mutex);
    return sim_done(sim, open_locked(sim, dir, name, path, flags, out));
}

static void sim_close(vfs *self, vfs_file *file) {
    vfs_sim *sim = sim_of(self);
    if (file == NULL) return;
    pthread_mutex_lock(&sim->mutex);
    for (vfs_file **at = &sim->files; *at != NULL; at = &(*at)->next) {
        if (*at != file) continue;
        *at = file->next;
        break;
    }
    for (size_t i = sim->lock_count; i > 0; i--)
        if (sim->locks[i - 1].owner == file) sim->locks[i - 1] = sim->locks[--sim->lock_count];
    sim->live.nodes[file->node].handles--;
    release(sim, file->node);
    pthread_mutex_unlock(&sim->mutex);
    free(file);
}

static sim_content **content_of(vfs_sim *sim, const vfs_file *file) { return &sim->live.nodes[file->node].content; }

static int sim_read(vfs *self, vfs_file *file, uint64_t offset, void *bytes, size_t length, size_t *got) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    *got = 0;
    int code = sim_gate(sim, VFS_SIM_READ, file->path);
    if (code != AEGIS_OK) return sim_done(sim, code);
    const sim_content *content = *content_of(sim, file);
    if (offset < content->size) *got = (size_t)min_u64(length, content->size - offset);
    content_read(content, offset, bytes, *got);
    return sim_done(sim, AEGIS_OK);
}

static int check_change(const vfs_file *file, uint64_t offset, uint64_t length) {
    uint64_t end;
    if (!file->writable) return fail(AEGIS_E_READONLY, "%s is open for reading only", file->path);
    if (!add_u64(offset, length, &end)) return fail(AEGIS_E_ARGUMENT, "%s: no file reaches there", file->path);
    if (end > FILE_MAX) return fail_system(EFBIG, "grow", file->path);
    return AEGIS_OK;
}

/* Growth of the file if it is to reach to `end`. */
static uint64_t growth(const sim_content *content, uint64_t end) { return end > content->size ? end - content->size : 0; }

static int put(vfs_sim *sim, vfs_file *file, uint64_t offset, const void *bytes, uint64_t length) {
    if (length == 0) return AEGIS_OK;
    spend(sim, growth(*content_of(sim, file), offset + length));
    TRY(sim_record(sim, (vfs_sim_op){.kind = VFS_SIM_WRITE, .node = file->node, .dir = file->dir, .path = file->path, .offset = offset,
                                 .length = length, .bytes = bytes}));
    return content_write(content_of(sim, file), offset, bytes, (size_t)length);
}

static int sim_write(vfs *self, vfs_file *file, uint64_t offset, const void *bytes, size_t length) {
    vfs_sim *sim = sim_of(self);
    TRY(check_change(file, offset, length));
    pthread_mutex_lock(&sim->mutex);
    const sim_content *content = *content_of(sim, file);
    uint64_t fits = length;
    uint64_t more = growth(content, offset + length);
    int code = sim_gate(sim, VFS_SIM_WRITE, file->path);
    if (code != AEGIS_OK) fits = min_u64(length, sim->fault.written_bytes);
    if (code == AEGIS_OK && more > sim->space) {
        /* The disk is full somewhere inside: what fits is put, as the system does it. */
        uint64_t missing = more - sim->space;
        fits = missing < length ? length - missing : 0;
        code = fail_system(ENOSPC, "write", file->path);
    }
    int written = put(sim, file, offset, bytes, fits);
    return sim_done(sim, code != AEGIS_OK ? code : written);
}

static int allocate_locked(vfs_sim *sim, vfs_file *file, uint64_t offset, uint64_t length) {
    TRY(sim_gate(sim, VFS_SIM_ALLOCATE, file->path));
    uint64_t end = offset + length;
    if (length == 0) return AEGIS_OK;
    if (!spend(sim, growth(*content_of(sim, file), end))) return fail_system(ENOSPC, "allocate space for", file->path);
    TRY(sim_record(sim, (vfs_sim_op){.kind = VFS_SIM_ALLOCATE, .node = file->node, .dir = file->dir, .path = file->path,
                                 .offset = offset, .length = length}));
    if (end > (*content_of(sim, file))->size) return content_resize(content_of(sim, file), end);
    return AEGIS_OK;
}

static int sim_allocate(vfs *self, vfs_file *file, uint64_t offset, uint64_t length) {
    vfs_sim *sim = sim_of(self);
    TRY(check_change(file, offset, length));
    pthread_mutex_lock(&sim->mutex);
    return sim_done(sim, allocate_locked(sim, file, offset, length));
}

/* Nothing that anybody could rely on. */
static void sim_push(vfs *self, vfs_file *file, uint64_t offset, uint64_t length) {
    (void)self, (void)file, (void)offset, (void)length;
}

/* Rights are the running system's: an image of its disk has none. */
static void sim_protect(vfs *self, vfs_file *file) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    sim->live.nodes[file->node].is_protected = true;
    pthread_mutex_unlock(&sim->mutex);
}

static int sim_sync(vfs *self, vfs_file *file) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    return sim_done(sim, sync_any(sim, VFS_SIM_SYNC, file->node, file->path, drops(sim, file->path)));
}

static int truncate_locked(vfs_sim *sim, vfs_file *file, uint64_t size) {
    TRY(sim_gate(sim, VFS_SIM_TRUNCATE, file->path));
    uint64_t old = (*content_of(sim, file))->size;
    TRY(sim_record(sim, (vfs_sim_op){.kind = VFS_SIM_TRUNCATE, .node = file->node, .dir = file->dir, .path = file->path, .offset = size}));
    if (size < old) give_back(sim, old - size);
    return content_resize(content_of(sim, file), size);
}

static int sim_truncate(vfs *self, vfs_file *file, uint64_t size) {
    vfs_sim *sim = sim_of(self);
    TRY(check_change(file, size, 0));
    pthread_mutex_lock(&sim->mutex);
    return sim_done(sim, truncate_locked(sim, file, size));
}

static int sim_size_of(vfs *self, vfs_file *file, uint64_t *out) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    *out = (*content_of(sim, file))->size;
    return sim_done(sim, sim_gate(sim, VFS_SIM_SIZE, file->path));
}

/* ---- locks ------------------------------------------------------------------------------------------------------------ */

static int lock_locked(vfs_sim *sim, vfs_file *file, uint64_t byte, enum vfs_lock_mode mode) {
    size_t mine = SIZE_MAX;
    TRY(sim_gate(sim, VFS_SIM_LOCK, file->path));
    if (mode == VFS_EXCLUSIVE_LOCK && !file->writable) return fail(AEGIS_E_READONLY, "%s is open for reading only", file->path);
    for (size_t i = 0; i < sim->lock_count; i++) {
        const sim_lock *lock = &sim->locks[i];
        if (lock->node != file->node || lock->byte != byte) continue;
        if (lock->owner == file) mine = i;
        else if (mode == VFS_EXCLUSIVE_LOCK || (mode == VFS_SHARED && lock->exclusive))
            return fail(AEGIS_E_LOCKED, "%s is locked by somebody else", file->path);
    }
    if (mode == VFS_UNLOCK) {
        if (mine != SIZE_MAX) sim->locks[mine] = sim->locks[--sim->lock_count];
        return AEGIS_OK;
    }
    if (mine == SIZE_MAX) {
        TRY(sim_room(&sim->locks, sim->lock_count, &sim->lock_room, sizeof *sim->locks));
        mine = sim->lock_count++;
    }
    sim->locks[mine] = (sim_lock){file->node, mode == VFS_EXCLUSIVE_LOCK, byte, file};
    return AEGIS_OK;
}

static int sim_lock_byte(vfs *self, vfs_file *file, uint64_t byte, enum vfs_lock_mode mode) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    return sim_done(sim, lock_locked(sim, file, byte, mode));
}

static int sim_lock_held(vfs *self, vfs_file *file, uint64_t byte, bool *held) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    *held = false;
    for (size_t i = 0; i < sim->lock_count; i++) {
        const sim_lock *lock = &sim->locks[i];
        *held |= lock->node == file->node && lock->byte == byte && lock->exclusive && lock->owner != file;
    }
    return sim_done(sim, sim_gate(sim, VFS_SIM_LOCK, file->path));
}

/* ---- bells: counted, and heard by nobody ------------------------------------------------------------------------------ */

struct vfs_bell {
    uint64_t rings;
};

static int sim_bell_new(vfs *self, vfs_bell **out, int *fd) {
    vfs_sim *sim = sim_of(self);
    vfs_bell *bell = calloc(1, sizeof *bell);
    if (bell == NULL) return sim_no_memory();
    pthread_mutex_lock(&sim->mutex);
    int code = sim_gate(sim, VFS_SIM_OPEN, "bell");
    if (code == AEGIS_OK) sim->bells++;
    else free(bell);
    *out = bell;
    *fd = -1;
    return sim_done(sim, code);
}

static void sim_bell_ring(vfs *self, vfs_bell *bell) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    sim->rings++;
    bell->rings++;
    (void)sim_done(sim, AEGIS_OK);
}

static void sim_bell_mute(vfs *self, vfs_bell *bell) { (void)self, (void)bell; }

static void sim_bell_free(vfs *self, vfs_bell *bell) {
    vfs_sim *sim = sim_of(self);
    if (bell == NULL) return;
    pthread_mutex_lock(&sim->mutex);
    sim->bells--;
    (void)sim_done(sim, AEGIS_OK);
    free(bell);
}

/* ---- the rest of the machine ------------------------------------------------------------------------------------------ */

/* Nobody else runs on a machine in memory. */
static void sim_yield(vfs *self) { (void)self; }

static uint64_t sim_clock_ms(vfs *self) { return sim_read_locked(sim_of(self), &sim_of(self)->clock_ms); }

static int sim_random(vfs *self, void *bytes, size_t length) {
    vfs_sim *sim = sim_of(self);
    pthread_mutex_lock(&sim->mutex);
    int code = sim_gate(sim, VFS_SIM_RANDOM, "bytes");
    uint8_t *out = bytes;
    for (size_t i = 0; code == AEGIS_OK && i < length; i++) {
        if (i % 8 == 0) sim->random_state++;
        uint64_t word = hash_bytes(sim->random_state, "random", 6).a;
        out[i] = (uint8_t)(word >> 8 * (i % 8));
    }
    return sim_done(sim, code);
}

static void sim_identify(vfs *self, char *text, size_t capacity) {
    (void)self;
    snprintf(text, capacity, "pid 1 on a simulated machine");
}

const vfs sim_calls = {
    .open_root = sim_open_root, .open_dir = sim_open_dir, .close_dir = sim_close_dir, .sync_dir = sim_sync_dir,
    .sync_parent = sim_sync_parent, .list = sim_list, .rename = sim_rename, .unlink = sim_unlink, .place = sim_place,
    .open = sim_open, .close = sim_close, .read = sim_read, .write = sim_write, .allocate = sim_allocate, .sync = sim_sync, .push = sim_push,
    .protect = sim_protect,
    .truncate = sim_truncate, .size = sim_size_of, .lock = sim_lock_byte, .lock_held = sim_lock_held,
    .bell_new = sim_bell_new, .bell_ring = sim_bell_ring, .bell_mute = sim_bell_mute, .bell_free = sim_bell_free,
    .clock_ms = sim_clock_ms, .yield = sim_yield, .random = sim_random, .identify = sim_identify,
};
