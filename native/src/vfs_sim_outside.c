/* vfs_sim_outside: the simulated disk as a test sees it from outside the engine: reads, patches, listings. See vfs_sim.h.
 *
 * None of this passes the gate or is recorded. A change would leave a record that no longer leads to what is there, so each
 * one settles.
 */
#include "vfs_sim_state.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH_MAX_HERE 600

int sim_walk(const vfs_sim *sim, const char *path, uint32_t *dir, uint32_t *node) {
    const char *rest = path;
    *dir = SIM_ABOVE;
    *node = table_find(sim->live.nodes[SIM_ABOVE].table, SIM_ROOT_NAME);
    while (*rest != '\0' && *node != SIM_NO_NODE) {
        char name[PATH_MAX_HERE];
        size_t length = strcspn(rest, "/");
        const sim_table *table = sim->live.nodes[*node].table;
        if (table == NULL || length >= sizeof name) return fail_system(ENOTDIR, "look up", path);
        memcpy(name, rest, length);
        name[length] = '\0';
        rest += length + (rest[length] == '/');
        *dir = *node;
        *node = table_find(table, name);
        /* A directory on the way is missing: the last name has no place either. */
        if (*node == SIM_NO_NODE && *rest != '\0') *dir = SIM_NO_NODE;
    }
    if (*node == SIM_NO_NODE && *rest != '\0' && *dir == SIM_ABOVE) *dir = SIM_NO_NODE;
    return *node != SIM_NO_NODE ? AEGIS_OK : fail_system(ENOENT, "look up", path);
}

static int find_file(vfs_sim *sim, const char *path, sim_content ***content) {
    uint32_t dir, node;
    TRY(sim_walk(sim, path, &dir, &node));
    *content = &sim->live.nodes[node].content;
    return **content != NULL ? AEGIS_OK : fail(AEGIS_E_NOTSTORE, "%s is not a regular file", path);
}

/* The file, made where only its own name is missing. */
static int find_or_make(vfs_sim *sim, const char *path, sim_content ***content) {
    uint32_t dir, node;
    int code = sim_walk(sim, path, &dir, &node);
    if (code == AEGIS_OK) return find_file(sim, path, content);
    if (code != AEGIS_E_NOTFOUND || dir == SIM_NO_NODE || dir == SIM_ABOVE) return code;
    TRY(state_add(&sim->live, &node));
    sim->live.nodes[node].content = content_new();
    if (sim->live.nodes[node].content == NULL) return sim_no_memory();
    TRY(sim_point(sim, dir, sim_last_name(path), node));
    *content = &sim->live.nodes[node].content;
    return AEGIS_OK;
}

/* What was changed is durable from now on. */
static int changed(vfs_sim *sim, int code) {
    int settled = sim_settle(sim, sim->recording);
    return sim_done(sim, code != AEGIS_OK ? code : settled);
}

int vfs_sim_get(vfs_sim *sim, const char *path, uint64_t offset, void *bytes, size_t length, size_t *got) {
    sim_content **content = NULL;
    *got = 0;
    pthread_mutex_lock(&sim->mutex);
    int code = find_file(sim, path, &content);
    if (code != AEGIS_OK) return sim_done(sim, code);
    if (offset < (*content)->size) *got = (size_t)min_u64(length, (*content)->size - offset);
    content_read(*content, offset, bytes, *got);
    return sim_done(sim, AEGIS_OK);
}

int vfs_sim_file_size(vfs_sim *sim, const char *path, uint64_t *size) {
    sim_content **content = NULL;
    pthread_mutex_lock(&sim->mutex);
    int code = find_file(sim, path, &content);
    if (code == AEGIS_OK) *size = (*content)->size;
    return sim_done(sim, code);
}

int vfs_sim_patch(vfs_sim *sim, const char *path, uint64_t offset, const void *bytes, size_t length) {
    sim_content **content = NULL;
    pthread_mutex_lock(&sim->mutex);
    int code = find_or_make(sim, path, &content);
    if (code == AEGIS_OK) code = content_write(content, offset, bytes, length);
    return changed(sim, code);
}

int vfs_sim_resize(vfs_sim *sim, const char *path, uint64_t size) {
    sim_content **content = NULL;
    pthread_mutex_lock(&sim->mutex);
    int code = find_file(sim, path, &content);
    if (code == AEGIS_OK) code = content_resize(content, size);
    return changed(sim, code);
}

static int remove_all(vfs_sim *sim, uint32_t dir, const char *name, uint32_t node) {
    sim_table *names = sim->live.nodes[node].table;
    if (names != NULL) {
        /* A share: taking the first name out of the table itself would move the others. */
        table_share(names);
        int code = AEGIS_OK;
        for (size_t i = 0; i < names->count && code == AEGIS_OK; i++)
            code = remove_all(sim, node, names->entries[i].name, names->entries[i].node);
        table_drop(names);
        TRY(code);
    }
    return sim_point(sim, dir, name, SIM_NO_NODE);
}

int vfs_sim_remove(vfs_sim *sim, const char *path) {
    uint32_t dir, node;
    pthread_mutex_lock(&sim->mutex);
    int code = sim_walk(sim, path, &dir, &node);
    if (code == AEGIS_OK) code = remove_all(sim, dir, path[0] == '\0' ? SIM_ROOT_NAME : sim_last_name(path), node);
    return changed(sim, code);
}

int vfs_sim_copy_file(vfs_sim *from, const char *path, vfs_sim *to, const char *to_path) {
    sim_content **source = NULL, **target = NULL;
    pthread_mutex_lock(&from->mutex);
    int code = find_file(from, path, &source);
    sim_content *copy = code == AEGIS_OK ? content_share(*source) : NULL;
    pthread_mutex_unlock(&from->mutex);
    TRY(code);
    pthread_mutex_lock(&to->mutex);
    code = find_or_make(to, to_path, &target);
    if (code == AEGIS_OK) {
        content_drop(*target);
        *target = copy;
    } else content_drop(copy);
    return changed(to, code);
}

/* ---- listings --------------------------------------------------------------------------------------------------------- */

typedef struct listed {
    char *path;
    sim_content *content;       /* a share; NULL: a directory */
} listed;

typedef struct listing {
    size_t count, room;
    listed *all;
} listing;

static int list_under(const vfs_sim *sim, uint32_t node, const char *path, listing *out) {
    const sim_table *table = sim->live.nodes[node].table;
    for (size_t i = 0; i < table->count; i++) {
        char name[PATH_MAX_HERE];
        uint32_t below = table->entries[i].node;
        bool is_dir = sim->live.nodes[below].table != NULL;
        int n = snprintf(name, sizeof name, "%s%s%s", path, table->entries[i].name, is_dir ? "/" : "");
        if (n < 0 || (size_t)n >= sizeof name) return fail_system(ENAMETOOLONG, "list", path);
        TRY(sim_room(&out->all, out->count, &out->room, sizeof *out->all));
        char *copy = strdup(name);
        if (copy == NULL) return sim_no_memory();
        out->all[out->count++] = (listed){copy, content_share(sim->live.nodes[below].content)};
        if (is_dir) TRY(list_under(sim, below, name, out));
    }
    return AEGIS_OK;
}

static int by_path(const void *x, const void *y) { return strcmp(((const listed *)x)->path, ((const listed *)y)->path); }

static void listing_free(listing *l) {
    for (size_t i = 0; i < l->count; i++) {
        free(l->all[i].path);
        content_drop(l->all[i].content);
    }
    free(l->all);
}

/* Empty where there is no root. */
static int list_all(vfs_sim *sim, listing *out) {
    *out = (listing){0, 0, NULL};
    pthread_mutex_lock(&sim->mutex);
    uint32_t root = table_find(sim->live.nodes[SIM_ABOVE].table, SIM_ROOT_NAME);
    int code = root != SIM_NO_NODE ? list_under(sim, root, "", out) : AEGIS_OK;
    pthread_mutex_unlock(&sim->mutex);
    if (out->count > 0) qsort(out->all, out->count, sizeof *out->all, by_path);
    return code;
}

int vfs_sim_files(vfs_sim *sim, vfs_name_fn fn, void *context) {
    listing all;
    int code = list_all(sim, &all);
    for (size_t i = 0; i < all.count && code == AEGIS_OK; i++) code = fn(context, all.all[i].path);
    listing_free(&all);
    return code;
}

static void say_difference(const listed *x, const listed *y, char *text, size_t capacity) {
    uint64_t at = 0, end = min_u64(x->content->size, y->content->size);
    uint8_t a = 0, b = 0;
    for (; at < end; at++) {
        content_read(x->content, at, &a, 1);
        content_read(y->content, at, &b, 1);
        if (a != b) break;
    }
    if (at < end) snprintf(text, capacity, "%s: byte %llu is %02x and %02x", x->path, (unsigned long long)at, a, b);
    else
        snprintf(text, capacity, "%s: %llu and %llu bytes", x->path, (unsigned long long)x->content->size,
                 (unsigned long long)y->content->size);
}

static bool same(const listing *x, const listing *y, char *text, size_t capacity) {
    for (size_t i = 0; i < x->count || i < y->count; i++) {
        const listed *p = i < x->count ? &x->all[i] : NULL, *q = i < y->count ? &y->all[i] : NULL;
        int order = p == NULL ? 1 : q == NULL ? -1 : strcmp(p->path, q->path);
        if (order != 0) {
            snprintf(text, capacity, "only one has %s", order < 0 ? p->path : q->path);
            return false;
        }
        if (p->content != NULL && !content_equal(p->content, q->content)) {
            say_difference(p, q, text, capacity);
            return false;
        }
    }
    return true;
}

static int differing_sectors(const listed *x, const listed *y, vfs_sim_difference_fn fn, void *context) {
    const sim_content *a = x->content, *b = y->content;
    if ((a == NULL) != (b == NULL)) return fn(context, x->path, UINT64_MAX);
    if (a == NULL || a == b) return AEGIS_OK;
    if (a->size != b->size) TRY(fn(context, x->path, UINT64_MAX));
    for (uint64_t at = 0; at < max_u64(a->size, b->size); at += VFS_SIM_SECTOR) {
        uint64_t page = at / SIM_PAGE;
        uint8_t p[VFS_SIM_SECTOR], q[VFS_SIM_SECTOR];
        if ((page < a->count ? a->pages[page] : NULL) == (page < b->count ? b->pages[page] : NULL)) {
            at = (page + 1) * SIM_PAGE - VFS_SIM_SECTOR;
            continue;
        }
        content_read(a, at, p, sizeof p);
        content_read(b, at, q, sizeof q);
        if (memcmp(p, q, sizeof p) != 0) TRY(fn(context, x->path, at / VFS_SIM_SECTOR));
    }
    return AEGIS_OK;
}

int vfs_sim_differences(vfs_sim *a, vfs_sim *b, vfs_sim_difference_fn fn, void *context) {
    listing x, y = {0, 0, NULL};
    int code = list_all(a, &x);
    if (code == AEGIS_OK) code = list_all(b, &y);
    for (size_t i = 0, j = 0; code == AEGIS_OK && (i < x.count || j < y.count);) {
        const listed *p = i < x.count ? &x.all[i] : NULL, *q = j < y.count ? &y.all[j] : NULL;
        int order = p == NULL ? 1 : q == NULL ? -1 : strcmp(p->path, q->path);
        code = order == 0 ? differing_sectors(p, q, fn, context) : fn(context, order < 0 ? p->path : q->path, UINT64_MAX);
        i += order <= 0;
        j += order >= 0;
    }
    listing_free(&x);
    listing_free(&y);
    return code;
}

bool vfs_sim_same(vfs_sim *a, vfs_sim *b, char *difference, size_t capacity) {
    listing x, y = {0, 0, NULL};
    bool listed_both = list_all(a, &x) == AEGIS_OK && list_all(b, &y) == AEGIS_OK;
    if (capacity > 0) snprintf(difference, capacity, "%s", listed_both ? "" : "no memory to compare");
    bool result = listed_both && same(&x, &y, difference, capacity);
    listing_free(&x);
    listing_free(&y);
    return result;
}
