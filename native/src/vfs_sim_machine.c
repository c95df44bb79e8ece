/* vfs_sim_machine: the simulated machine from outside the vfs: its life, its record, its faults. See vfs_sim.h. */
#include "vfs_sim_state.h"

#include <stdio.h>
#include <stdlib.h>

const char *const sim_kind_words[VFS_SIM_KINDS] = {
    "create", "make directory", "rename", "remove", "write", "allocate", "truncate", "sync", "sync directory", "sync above",
    "mark", "open root", "open directory", "open", "read", "size", "list", "place", "lock", "random",
};

int sim_no_memory(void) { return fail(AEGIS_E_NOMEM, "no memory for the simulated machine"); }

int sim_done(vfs_sim *sim, int code) {
    pthread_mutex_unlock(&sim->mutex);
    return code;
}

/* ---- the record ------------------------------------------------------------------------------------------------------- */

static void forget_op(const vfs_sim_op *op) {
    free((void *)(uintptr_t)op->path);
    free((void *)(uintptr_t)op->to);
    free((void *)(uintptr_t)op->bytes);
}

static void forget_record(vfs_sim *sim) {
    for (size_t i = 0; i < sim->op_count; i++) forget_op(&sim->ops[i]);
    free(sim->ops);
    sim->ops = NULL;
    sim->op_count = sim->op_room = 0;
}

int sim_record(vfs_sim *sim, vfs_sim_op op) {
    if (!sim->recording) return AEGIS_OK;
    TRY(sim_room(&sim->ops, sim->op_count, &sim->op_room, sizeof *sim->ops));
    vfs_sim_op kept = op;
    uint8_t *bytes = op.bytes != NULL ? malloc((size_t)op.length + 1) : NULL;
    if (bytes != NULL) memcpy(bytes, op.bytes, (size_t)op.length);
    kept.bytes = bytes;
    kept.path = op.path != NULL ? strdup(op.path) : NULL;
    kept.to = op.to != NULL ? strdup(op.to) : NULL;
    sim->ops[sim->op_count] = kept;
    if ((op.bytes != NULL && kept.bytes == NULL) || (op.path != NULL && kept.path == NULL) || (op.to != NULL && kept.to == NULL)) {
        forget_op(&kept);
        return sim_no_memory();
    }
    sim->op_count++;
    return AEGIS_OK;
}

int vfs_sim_mark(vfs_sim *sim, uint32_t kind, uint64_t id, const void *bytes, size_t length) {
    pthread_mutex_lock(&sim->mutex);
    return sim_done(sim, sim_record(sim, (vfs_sim_op){.kind = VFS_SIM_MARK, .mark = kind, .id = id, .length = length,
                                              .bytes = bytes}));
}

size_t vfs_sim_op_count(const vfs_sim *sim) { return sim->op_count; }
const vfs_sim_op *vfs_sim_op_at(const vfs_sim *sim, size_t index) { return index < sim->op_count ? &sim->ops[index] : NULL; }

void vfs_sim_op_text(const vfs_sim *sim, size_t index, char *text, size_t capacity) {
    const vfs_sim_op *op = vfs_sim_op_at(sim, index);
    if (op == NULL) {
        snprintf(text, capacity, "%zu none", index);
        return;
    }
    const char *word = sim_kind_words[op->kind], *path = op->path != NULL ? op->path : "";
    unsigned long long offset = op->offset, length = op->length, id = op->id;
    if (op->kind == VFS_SIM_MARK) snprintf(text, capacity, "%zu mark %u of %llu", index, (unsigned)op->mark, id);
    else if (op->kind == VFS_SIM_RENAME) snprintf(text, capacity, "%zu rename %s to %s", index, path, op->to);
    else if (op->kind == VFS_SIM_WRITE || op->kind == VFS_SIM_ALLOCATE)
        snprintf(text, capacity, "%zu %s %s %llu+%llu", index, word, path, offset, length);
    else if (op->kind == VFS_SIM_TRUNCATE) snprintf(text, capacity, "%zu truncate %s to %llu", index, path, offset);
    else snprintf(text, capacity, "%zu %s %s%s", index, word, path, op->failed ? " (failed)" : op->dropped ? " (dropped)" : "");
}

int sim_settle(vfs_sim *sim, bool record_on) {
    sim_state base = {0, 0, NULL};
    if (record_on) TRY(state_copy(&sim->live, &base));
    state_clear(&sim->base);
    forget_record(sim);
    sim->base = base;
    sim->recording = record_on;
    return AEGIS_OK;
}

int vfs_sim_settle(vfs_sim *sim, bool record_on) {
    pthread_mutex_lock(&sim->mutex);
    return sim_done(sim, sim_settle(sim, record_on));
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

vfs_sim *sim_make(sim_state *live, bool record_on, uint64_t seed) {
    vfs_sim *sim = calloc(1, sizeof *sim);
    if (sim == NULL) {
        state_clear(live);
        return NULL;
    }
    sim->calls = sim_calls;
    pthread_mutex_init(&sim->mutex, NULL);
    sim->live = *live;
    *live = (sim_state){0, 0, NULL};
    sim->space = UINT64_MAX;
    /* Stirred, so that machines with neighbouring seeds draw different numbers. */
    sim->random_state = hash_bytes(seed, "seed", 4).b;
    if (sim_settle(sim, record_on) == AEGIS_OK) return sim;
    vfs_sim_free(sim);
    return NULL;
}

vfs_sim *vfs_sim_new(uint64_t seed) {
    sim_state live = {0, 0, NULL};
    uint32_t above;
    if (state_add(&live, &above) != AEGIS_OK) return NULL;
    live.nodes[above].names = 1;
    live.nodes[above].table = table_new();
    if (live.nodes[above].table != NULL) return sim_make(&live, true, seed);
    state_clear(&live);
    return NULL;
}

vfs_sim *vfs_sim_clone(vfs_sim *sim) {
    sim_state live = {0, 0, NULL};
    pthread_mutex_lock(&sim->mutex);
    int code = state_copy(&sim->live, &live);
    /* Other random numbers than those to come: a clone is another machine. */
    vfs_sim *clone = code == AEGIS_OK ? sim_make(&live, true, sim->random_state + 1) : NULL;
    if (clone != NULL) clone->clock_ms = sim->clock_ms;
    pthread_mutex_unlock(&sim->mutex);
    return clone;
}

void vfs_sim_free(vfs_sim *sim) {
    if (sim == NULL) return;
    while (sim->files != NULL) sim->calls.close(&sim->calls, sim->files);
    while (sim->dirs != NULL) sim->calls.close_dir(&sim->calls, sim->dirs);
    forget_record(sim);
    state_clear(&sim->live);
    state_clear(&sim->base);
    free(sim->locks);
    free(sim->drop_pattern);
    pthread_mutex_destroy(&sim->mutex);
    free(sim);
}

vfs *vfs_sim_vfs(vfs_sim *sim) { return &sim->calls; }

/* ---- faults ----------------------------------------------------------------------------------------------------------- */

/* Counts the call and fails it where it was told to. */
int sim_gate(vfs_sim *sim, enum vfs_sim_kind kind, const char *path) {
    const vfs_sim_fault *fault = &sim->fault;
    sim->call_count++;
    if (fault->nth == 0 || (fault->kinds != 0 && (fault->kinds & 1u << kind) == 0)) return AEGIS_OK;
    sim->fault_calls++;
    if (fault->forever ? sim->fault_calls < fault->nth : sim->fault_calls != fault->nth) return AEGIS_OK;
    sim->fault_hits++;
    if (fault->system_errno != 0) return fail_system(fault->system_errno, sim_kind_words[kind], path);
    return fail(fault->code, "%s %s: told to fail", sim_kind_words[kind], path);
}

void vfs_sim_fail(vfs_sim *sim, const vfs_sim_fault *fault) {
    pthread_mutex_lock(&sim->mutex);
    sim->fault = fault != NULL ? *fault : (vfs_sim_fault){0};
    sim->fault_calls = 0;
    sim->fault_hits = 0;
    pthread_mutex_unlock(&sim->mutex);
}

uint64_t sim_read_locked(vfs_sim *sim, const uint64_t *value) {
    pthread_mutex_lock(&sim->mutex);
    uint64_t seen = *value;
    pthread_mutex_unlock(&sim->mutex);
    return seen;
}

uint64_t vfs_sim_fault_hits(vfs_sim *sim) { return sim_read_locked(sim, &sim->fault_hits); }
uint64_t vfs_sim_calls(vfs_sim *sim) { return sim_read_locked(sim, &sim->call_count); }

void vfs_sim_set_space(vfs_sim *sim, uint64_t bytes) {
    pthread_mutex_lock(&sim->mutex);
    sim->space = bytes;
    pthread_mutex_unlock(&sim->mutex);
}

int vfs_sim_drop_sync(vfs_sim *sim, const char *pattern) {
    char *copy = pattern != NULL ? strdup(pattern) : NULL;
    if (pattern != NULL && copy == NULL) return sim_no_memory();
    pthread_mutex_lock(&sim->mutex);
    free(sim->drop_pattern);
    sim->drop_pattern = copy;
    return sim_done(sim, AEGIS_OK);
}

void vfs_sim_drop_dir_sync(vfs_sim *sim, bool drop) {
    pthread_mutex_lock(&sim->mutex);
    sim->drop_dirs = drop;
    pthread_mutex_unlock(&sim->mutex);
}

/* ---- the rest of the machine ------------------------------------------------------------------------------------------ */

void vfs_sim_set_clock(vfs_sim *sim, uint64_t ms) {
    pthread_mutex_lock(&sim->mutex);
    sim->clock_ms = ms;
    pthread_mutex_unlock(&sim->mutex);
}

void vfs_sim_set_place(vfs_sim *sim, bool network, bool read_only) {
    pthread_mutex_lock(&sim->mutex);
    sim->network = network;
    sim->read_only = read_only;
    pthread_mutex_unlock(&sim->mutex);
}

size_t vfs_sim_open_count(vfs_sim *sim) {
    pthread_mutex_lock(&sim->mutex);
    size_t count = (size_t)sim->bells;
    for (const vfs_file *file = sim->files; file != NULL; file = file->next) count++;
    for (const vfs_dir *dir = sim->dirs; dir != NULL; dir = dir->next) count++;
    pthread_mutex_unlock(&sim->mutex);
    return count;
}

uint64_t vfs_sim_rings(vfs_sim *sim) { return sim_read_locked(sim, &sim->rings); }
