/* crash_workloads: what the machine does whose power is cut. Each workload follows a seed: sizes, groups and turns differ with it, so
 * more seeds are more crash states of the same kind.
 *
 * A workload says between its operations what it submits, where groups end, what was acknowledged, which heads it gave out, and how
 * many records an open found.
 */
#ifndef AEGIS_TESTS_CRASH_WORKLOADS_H
#define AEGIS_TESTS_CRASH_WORKLOADS_H

#include "crash_script.h"

enum { MARK_GROUP = 3, MARK_HEAD = 4, MARK_OPENED = 5, MARK_COMPACTING = 6, MARK_COMPACTED = 7 };     /* id = tier << 32 | size, or round */

/* What was said of a tier so far. */
typedef struct said {
    uint64_t submitted;
    uint64_t acknowledged;
    uint64_t released;                       /* size of the largest head that was given out */
    uint64_t compacting, compacted;          /* rounds of compaction that were begun, that were done */
    uint64_t ends[RECORDS_MAX / 64 + 1];     /* sizes at which a group ends, one bit each */
} said;

typedef struct play {
    vfs_sim *sim;
    const script *script;
    const struct workload *work;
    aegis_store *store;
    uint64_t turn;                           /* the seed that it started from */
    uint64_t seed;
    uint64_t next[TIERS_USED];               /* record to submit */
    said start[TIERS_USED];                  /* what was said before the record begins */
} play;

typedef struct workload {
    const char *name;
    void (*run)(play *p);
    uint32_t payload_max;
    uint32_t large;          /* records that fill the first segment */
    uint32_t tiers;
    uint32_t align;          /* with 4096, sectors that were being written may hold garbage */
} workload;

static inline aegis_options crash_options(const workload *work, uint32_t mode) {
    aegis_options o = test_options(mode);
    o.align = work->align;
    o.cache_bytes = 1;       /* as few tiles as can be */
    return o;
}

static inline void say(vfs_sim *sim, uint32_t mark, uint32_t t, uint64_t size) {
    EXPECT_OK(vfs_sim_mark(sim, mark, (uint64_t)t << 32 | size, NULL, 0));
}

static inline uint64_t draw(play *p, uint64_t least, uint64_t most) { return least + next_random(&p->seed) % (most - least + 1); }

static inline int append_scripted(aegis_store *store, const script *s, uint32_t t, uint64_t i) {
    const scripted *r = &s->records[t][i];
    uint64_t index = 0;
    TRY(aegis_append(store, TIER[t], r->kind, r->entry, r->entry_length, r->payload, r->payload_length, &index));
    return index == i ? AEGIS_OK : AEGIS_E_BUG;
}

static inline bool ends_at(const said *of, uint64_t size) { return size <= RECORDS_MAX && (of->ends[size / 64] >> size % 64 & 1) == 1; }

static inline said said_all(uint64_t size) {
    said all = {.submitted = size, .acknowledged = size, .released = size};
    for (uint64_t n = 0; n <= size; n++) all.ends[n / 64] |= (uint64_t)1 << n % 64;
    return all;
}

/* Follows the record: what has been said behind this operation. */
static inline void said_take(said now[TIERS_USED], const vfs_sim_op *op) {
    if (op->kind != VFS_SIM_MARK) return;
    said *of = &now[op->id >> 32];
    uint64_t size = op->id & UINT32_MAX;
    if (op->mark == VFS_SIM_SUBMIT) of->submitted = size;
    if (op->mark == VFS_SIM_ACK) of->acknowledged = size;
    if (op->mark == MARK_HEAD) of->released = max_u64(of->released, size);
    if (op->mark == MARK_GROUP) of->ends[size / 64] |= (uint64_t)1 << size % 64;
    if (op->mark == MARK_COMPACTING) of->compacting = size;
    if (op->mark == MARK_COMPACTED) of->compacted = size;
    if (op->mark == MARK_OPENED) {
        /* What an open found it has made durable, and what it did not find is gone for ever. */
        const said served = said_all(size);
        of->submitted = of->acknowledged = size;
        for (size_t i = 0; i < sizeof of->ends / sizeof of->ends[0]; i++) of->ends[i] &= served.ends[i];
    }
}

/* ---- steps ------------------------------------------------------------------------------------------------------------ */

/* A head that whoever holds the store may show to anybody: it must never be taken back. */
static inline void play_release(play *p, uint32_t t) {
    aegis_head head;
    uint64_t size = size_of(p->store, TIER[t]);
    EXPECT_OK(aegis_head_at(p->store, TIER[t], size, &head));
    EXPECT_BYTES(head.root, p->script->roots[t][size], 32);
    say(p->sim, MARK_HEAD, t, size);
}

static inline void play_open(play *p) {
    const aegis_options o = crash_options(p->work, AEGIS_MODE_APPEND);
    p->store = open_with(vfs_sim_vfs(p->sim), &o, NULL);
    for (uint32_t t = 0; t < TIERS_USED; t++) {
        p->next[t] = size_of(p->store, TIER[t]);
        say(p->sim, MARK_OPENED, t, p->next[t]);
        play_release(p, t);
    }
}

static inline void play_submit(play *p, uint32_t t, uint64_t count) {
    for (; count > 0; count--) {
        say(p->sim, VFS_SIM_SUBMIT, t, p->next[t] + 1);
        EXPECT_OK(append_scripted(p->store, p->script, t, p->next[t]));
        p->next[t]++;
    }
    play_release(p, t);      /* with records that wait: they are not in it */
}

static inline void play_commit(play *p, uint32_t t) {
    say(p->sim, MARK_GROUP, t, p->next[t]);
    EXPECT_OK(aegis_commit(p->store, TIER[t], p->next[t] - 1));
    say(p->sim, VFS_SIM_ACK, t, p->next[t]);
    play_release(p, t);
}

/* `count` groups of one to `most` records. */
static inline void play_groups(play *p, uint32_t t, uint64_t count, uint64_t most) {
    for (; count > 0; count--) {
        play_submit(p, t, draw(p, 1, most));
        play_commit(p, t);
    }
}

/* A group whose sync fails: nobody is told that it is there, and the page cache shows it while the disk may not have it. */
static inline void play_fail(play *p, uint32_t t) {
    const vfs_sim_fault fault = {.nth = 1, .kinds = 1u << VFS_SIM_SYNC, .code = AEGIS_E_IO};
    play_submit(p, t, draw(p, 1, 3));
    say(p->sim, MARK_GROUP, t, p->next[t]);
    vfs_sim_fail(p->sim, &fault);
    EXPECT_CODE(aegis_commit(p->store, TIER[t], p->next[t] - 1), AEGIS_E_UNKNOWN);
    vfs_sim_fail(p->sim, NULL);
}

static inline void play_rotate(play *p, uint32_t t) {
    EXPECT_OK(aegis_rotate(p->store, TIER[t]));
    EXPECT_OK(aegis_seal(p->store, TIER[t]));
}

/* A round of the first segment, in steps. */
static inline void play_compact(play *p, uint32_t t, uint64_t round) {
    aegis_change changes[3];
    aegis_compactor *compactor = NULL;
    aegis_progress progress = {0};
    uint32_t count = 0;
    uint8_t payload[100];
    for (uint64_t i = 0; i < 3; i++) {
        const scripted before = script_as_of(p->script, t, i, round - 1), after = script_as_of(p->script, t, i, round);
        if (before.payload == after.payload) continue;
        changes[count++] = (aegis_change){.index = i, .cause = after.gap ? load_u64(after.payload) : AEGIS_NO_CAUSE, .payload_length = after.gap ? 0 : after.payload_length};
        if (!after.gap) memcpy(payload, after.payload, after.payload_length);
    }
    say(p->sim, MARK_COMPACTING, t, round);
    if (!EXPECT_OK(aegis_compact_start(p->store, TIER[t], 0, changes, count, payload, sizeof payload, &compactor))) return;
    while (!progress.done && EXPECT_OK(aegis_compact_step(compactor, 700, &progress))) {}
    aegis_compact_end(compactor);
    say(p->sim, MARK_COMPACTED, t, round);
}

/* Long enough for a watermark slot, and for all else that waits for an idle moment. */
static inline void play_idle(play *p) {
    static uint64_t clock;
    vfs_sim_set_clock(p->sim, clock += 1000);
    upkeep_until_idle(p->store);
}

static inline void play_kill(play *p) { aegis_abandon(p->store); }
static inline void play_close(play *p) { EXPECT_OK(aegis_close(p->store)); }

/* From here on the machine records; all that is there is durable. */
static inline void play_record(play *p) {
    EXPECT_OK(vfs_sim_settle(p->sim, true));
    for (uint32_t t = 0; t < TIERS_USED; t++) p->start[t] = said_all(p->next[t]);
}

/* The power is cut at some moment of the last third; what was not synced is there or not. The machine that starts again records. */
static inline void play_power_cut(play *p) {
    vfs_sim *after = NULL;
    size_t count = vfs_sim_op_count(p->sim), cut = count - (size_t)draw(p, 0, count / 3);
    for (size_t k = 0; k < cut; k++) said_take(p->start, vfs_sim_op_at(p->sim, k));
    aegis_abandon(p->store);
    EXPECT_OK(vfs_sim_image(p->sim, cut, VFS_SIM_KEEP_RANDOM, draw(p, 0, 1000), &after));
    vfs_sim_free(p->sim);
    p->sim = after;
}

/* ---- workloads -------------------------------------------------------------------------------------------------------- */

static void first_open(play *p) {
    play_open(p);
    play_groups(p, 0, draw(p, 1, 3), 2);
    play_kill(p);
}

static void steady_appends(play *p) {
    play_open(p);
    play_groups(p, 0, 8, 1);
    play_kill(p);
}

static void groups(play *p) {
    play_open(p);
    play_groups(p, 0, 2, 5);
    play_idle(p);            /* a watermark slot between groups */
    play_groups(p, 0, 2, 4);
    play_kill(p);
}

/* The first segment is almost full; its footer and the next one's tiles are written after the record that no longer fits. */
static void rotation(play *p) {
    EXPECT_OK(vfs_sim_settle(p->sim, false));
    play_open(p);
    play_groups(p, 0, p->work->large, 1);
    play_idle(p);
    play_record(p);
    play_groups(p, 0, draw(p, 3, 5), 3);
    play_idle(p);
    play_groups(p, 0, draw(p, 1, 2), 2);
    if (draw(p, 0, 1) == 1) play_close(p);
    else play_kill(p);
}

/* Everything that replaces MANIFEST: the store's first, each tier's first record, each close. */
static void manifest_swap(play *p) {
    for (uint32_t round = 0; round < 3; round++) {
        play_open(p);
        play_groups(p, round % 2, draw(p, 1, 2), 2);
        play_close(p);
    }
}

static void close_and_reopen(play *p) {
    for (uint32_t round = 0; round < 3; round++) {
        play_open(p);
        play_groups(p, 0, 2, 2);
        play_close(p);
    }
    play_open(p);
    play_kill(p);
}

/* Killed, or killed after a sync failed, or without power in the middle of something, and opened again: with a tail to cut, and with one
 * to write again. */
static void reopen_after_a_crash(play *p) {
    play_open(p);
    play_groups(p, 0, draw(p, 1, 3), 3);
    if (draw(p, 0, 1) == 1) play_idle(p);
    play_groups(p, 0, 1, 3);
    if (p->turn % 3 == 1) play_fail(p, 0);
    if (p->turn % 3 == 2) play_power_cut(p);
    else play_kill(p);
    play_open(p);
    play_groups(p, 0, 1, 2);
    play_kill(p);
    play_open(p);
    play_groups(p, 0, 1, 3);
    play_kill(p);
}

static void two_tiers(play *p) {
    play_open(p);
    for (uint32_t i = 0; i < 3; i++) {
        play_submit(p, 1, draw(p, 1, 2));
        play_groups(p, 0, 1, 2);
        play_commit(p, 1);
    }
    play_close(p);
}

/* Enough in each round that a close leaves an outline; the last round is killed, with an outline there of the one before. */
static void closed_with_an_outline(play *p) {
    for (uint32_t round = 0; round < 3; round++) {
        uint64_t outline = 0;
        play_open(p);
        play_groups(p, 0, 2, 3);
        if (round == 2) play_kill(p);
        else play_close(p);
        if (p->next[0] > 6) EXPECT_OK(vfs_sim_file_size(p->sim, "session/outline", &outline));
    }
}

/* Groups in blocks of their own, on a device that may spoil what it writes. */
static void blocks(play *p) {
    play_open(p);
    play_groups(p, 0, 3, 3);
    play_idle(p);
    play_groups(p, 0, 2, 2);
    play_kill(p);
    play_open(p);
    play_groups(p, 0, 1, 2);
    play_close(p);
}

/* The next segment before the active one is full, again and again. */
static void asked_rotations(play *p) {
    play_open(p);
    for (uint32_t round = 0; round < 3; round++) {
        play_groups(p, 0, draw(p, 1, 2), 2);
        EXPECT_OK(aegis_rotate(p->store, SESSION));
        if (draw(p, 0, 1) == 1) EXPECT_OK(aegis_seal(p->store, SESSION));
        if (round == 1) play_kill(p), play_open(p);
    }
    play_groups(p, 0, draw(p, 0, 1), 2);
    if (draw(p, 0, 1) == 1) play_close(p);
    else play_kill(p);
}

/* The first segment is rewritten, and rewritten again after the next open, between groups that others append. */
static void compaction(play *p) {
    EXPECT_OK(vfs_sim_settle(p->sim, false));
    play_open(p);
    play_submit(p, 0, 3);
    play_commit(p, 0);
    play_rotate(p, 0);
    play_submit(p, 0, 3);
    play_commit(p, 0);
    play_record(p);
    play_groups(p, 0, draw(p, 0, 1), 2);
    play_compact(p, 0, 1);
    play_groups(p, 0, 1, 2);
    if (draw(p, 0, 1) == 1) EXPECT_OK(aegis_set_swept(p->store, SESSION, CAUSE_FIRST + 1));
    if (draw(p, 0, 1) == 1) play_close(p);
    else play_kill(p);
    play_open(p);
    play_compact(p, 0, 2);
    play_groups(p, 0, draw(p, 0, 1), 2);
    play_kill(p);
}

static const workload WORKLOADS[] = {
    {"first open", first_open, 900, 0, 1, 8},
    {"steady appends", steady_appends, 1200, 0, 1, 8},
    {"groups", groups, 500, 0, 1, 8},
    {"rotation", rotation, 900, 4, 1, 8},
    {"manifest swap", manifest_swap, 700, 0, 2, 8},
    {"close", close_and_reopen, 700, 0, 1, 8},
    {"closed with an outline", closed_with_an_outline, 900, 0, 1, 8},
    {"reopen after a crash", reopen_after_a_crash, 700, 0, 1, 8},
    {"two tiers", two_tiers, 600, 0, 2, 8},
    {"blocks, with garbage", blocks, 700, 0, 1, 4096},
    {"asked rotations", asked_rotations, 600, 0, 1, 8},
    {"compaction", compaction, 700, 0, 1, 8},
};
enum { WORKLOAD_COUNT = sizeof WORKLOADS / sizeof WORKLOADS[0] };

#endif
