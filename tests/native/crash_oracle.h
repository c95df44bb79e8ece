/* crash_oracle: holds what is found on a disk that a power cut left against what was said before the cut.
 *
 *   (1)  it opens: for writing, and before that, where something was acknowledged, for reading; then the segments are those that are
 *        listed, and no other file of that name is left;
 *   (2)  what was acknowledged is there, and so is what any head that was given out covers;
 *   (3)  what is there was submitted: an exact prefix, byte for byte, in order, but for what a compaction did: all of it, or, until it was
 *        done, nothing of it;
 *   (4)  a group is there whole or not at all;
 *   (5)  the root at every size is the right one;
 *   (6)  the whole verifies, and the entries lead to the catalogue that they led to when they were written, taken at once or in two
 *        steps;
 *   (7)  a second recovery finds the same and changes no byte but the sequence of a watermark slot and LOCK, which is advice;
 *   (8)  it takes another group, which is there after the next crash, and agrees with every head so far;
 *   (9)  a reader before the recovery changes nothing, and sees whole groups (one disk in eight);
 *   (10) what a power cut leaves of all this, while recovery is at work or right after it, is a disk of which (1) to (9) hold (of one
 *        disk in `deeper_every`).
 *
 * A disk that was seen before, in whatever way it came about, is not opened again: what it was found to hold is remembered, and held
 * against what has been said since.
 */
#ifndef AEGIS_TESTS_CRASH_ORACLE_H
#define AEGIS_TESTS_CRASH_ORACLE_H

#include "crash_workloads.h"

#define READ_EVERY 8u

/* ---- images that were seen -------------------------------------------------------------------------------------------- */

enum { SEEN_NOT_CHECKED = UINT16_MAX };

typedef struct seen {
    vfs_sim_id id;
    uint16_t sizes[TIERS_USED];
} seen;

/* Open addressing, at most half full; an id of zeros is an empty place. */
typedef struct seen_set {
    size_t count, room;
    seen *places;
} seen_set;

static inline seen *seen_place(const seen_set *set, vfs_sim_id id) {
    size_t at = (size_t)id.a & (set->room - 1);
    while ((set->places[at].id.a | set->places[at].id.b) != 0 && (set->places[at].id.a != id.a || set->places[at].id.b != id.b))
        at = (at + 1) & (set->room - 1);
    return &set->places[at];
}

static inline seen *seen_add(seen_set *set, vfs_sim_id id, bool *added) {
    if (set->count * 2 >= set->room) {
        seen_set grown = {set->count, set->room == 0 ? 4096 : set->room * 2, NULL};
        grown.places = calloc(grown.room, sizeof *grown.places);
        if (!EXPECT(grown.places != NULL)) exit(2);
        for (size_t i = 0; i < set->room; i++)
            if ((set->places[i].id.a | set->places[i].id.b) != 0) *seen_place(&grown, set->places[i].id) = set->places[i];
        free(set->places);
        *set = grown;
    }
    seen *place = seen_place(set, id);
    *added = (place->id.a | place->id.b) == 0;
    if (*added) {
        *place = (seen){.id = id, .sizes = {SEEN_NOT_CHECKED, SEEN_NOT_CHECKED}};
        set->count++;
    }
    return place;
}

/* ---- an enumeration and what it found --------------------------------------------------------------------------------- */

#define REPORT_EVERY 8192u

typedef struct oracle {
    const workload *work;
    const script *script;
    uint32_t deeper_every;   /* 0: never */
    uint64_t wanted;         /* distinct disks of the workload, and twice as many normalised ones, are enough */
    void (*report)(const struct oracle *o);
    bool stop_at_violation;
    seen_set seen;
    seen_set normal;         /* with nothing past the recovered tails */
    uint64_t tried[2];       /* by depth: disks of the workload, disks of its recoveries */
    uint64_t distinct[2];
    uint64_t seed;           /* the one that runs */
    uint64_t seeds;          /* to their end */
    uint64_t operations, cuts, recoveries, violations;
    char first[700];
} oracle;

/* A record whose cuts are enumerated. */
typedef struct enumeration {
    oracle *o;
    unsigned depth;
    const vfs_sim *recording;
    said (*after)[TIERS_USED];      /* by operations done */
    const vfs_sim_limits *deeper;   /* for what is below it */
} enumeration;

static inline int enumerate_record(oracle *o, unsigned depth, const vfs_sim *recording, const said start[TIERS_USED],
                                   const vfs_sim_limits *limits, const vfs_sim_limits *deeper);

static inline void violation(const enumeration *e, size_t cut, vfs_sim *image, const char *what) {
    oracle *o = e->o;
    char kept[400] = "";
    aegis_error error = {.code = AEGIS_OK};
    if (o->violations++ > 0) return;
    /* Where a call said no; elsewhere the last error is an older one. */
    if (strncmp(what, "it ", 3) == 0) aegis_last_error(&error);
    vfs_sim_explain(image, kept, sizeof kept);
    snprintf(o->first, sizeof o->first, "%s, seed %" PRIu64 "%s, cut after operation %zu: %s%s%s; %s", o->work->name, o->seed,
             e->depth > 0 ? ", in the recovery from a cut" : "", cut, what, error.message[0] != 0 ? ": " : "", error.message, kept);
}

/* ---- the promises ----------------------------------------------------------------------------------------------------- */

/* (2) to (4), of the size alone. */
static inline const char *broken_size(const said *before, uint64_t size) {
    if (size < before->acknowledged) return "an acknowledged record is gone";
    if (size < before->released) return "a record is gone that a released head covers";
    if (size > before->submitted) return "a record is there that was not submitted";
    return ends_at(before, size) ? NULL : "a part of a group is there";
}

/* With what the rounds of compaction up to `round` did. */
static inline bool same_in_round(aegis_store *store, const script *s, uint32_t t, uint64_t from, uint64_t size, uint64_t round) {
    static uint8_t buffer[RECORDS_MAX * 1024 + 2 * PAYLOAD_MAX];
    static aegis_record found[RECORDS_MAX];
    while (from < size) {
        uint32_t count = 0;
        if (aegis_read_range(store, TIER[t], from, RECORDS_MAX, buffer, sizeof buffer, found, &count) != AEGIS_OK) return false;
        for (uint32_t i = 0; i < count; i++, from++) {
            const scripted r = script_as_of(s, t, from, round);
            if (found[i].index != from || found[i].kind != r.kind || found[i].entry_length != r.entry_length || ((found[i].flags & AEGIS_RECORD_GAP) != 0) != r.gap ||
                found[i].payload_length != r.payload_length || memcmp(buffer + found[i].entry_at, r.entry, r.entry_length) != 0 ||
                memcmp(buffer + found[i].payload_at, r.payload, r.payload_length) != 0) return false;
        }
    }
    return true;
}

/* A compaction is seen whole or not at all, and what it took away does not come back once it is done. */
static inline bool same_records(aegis_store *store, const script *s, uint32_t t, uint64_t from, uint64_t size, const said *now) {
    for (uint64_t round = now->compacted; round <= now->compacting; round++)
        if (same_in_round(store, s, t, from, size, round)) return true;
    return false;
}

static inline bool same_root(aegis_store *store, const script *s, uint32_t t, uint64_t size) {
    aegis_head head;
    return aegis_head_at(store, TIER[t], size, &head) == AEGIS_OK && memcmp(head.root, s->roots[t][size], 32) == 0;
}

/* (6): the entries, folded up to `part` and then up to `size`. */
static inline bool same_catalogue(aegis_store *store, const script *s, uint32_t t, uint64_t part, uint64_t size) {
    static uint8_t buffer[65536];
    static aegis_record found[AEGIS_ENTRIES_MAX];
    static uint32_t told[AEGIS_ENTRIES_MAX];
    static catalogue made;
    aegis_chains *chains = NULL;
    uint32_t told_count = 0;
    memset(&made, 0, sizeof made);
    if (aegis_chains_start(TIER[t], &chains) != AEGIS_OK) return false;
    bool sound = true;
    for (uint64_t at = 0; sound && at < size;) {
        uint32_t count = 0;
        uint64_t end = at < part ? part : size;
        sound = aegis_read_entries(store, TIER[t], at, (uint32_t)(end - at), 0, buffer, sizeof buffer, found, &count) == AEGIS_OK &&
                aegis_chains_add(chains, buffer, found, count, told, &told_count) == AEGIS_OK;
        at += count;
        if (sound && (at == part || at == size)) sound = catalogue_take(&made, chains) == AEGIS_OK;
    }
    aegis_chains_end(chains);
    return sound && memcmp(&made, &s->catalogues[t][size], sizeof made) == 0;
}

static inline const char *broken_promise(const enumeration *e, aegis_store *store, size_t cut, uint64_t sizes[TIERS_USED]) {
    const script *s = e->o->script;
    for (uint32_t t = 0; t < TIERS_USED; t++) {
        const said *before = &e->after[cut][t];
        if (aegis_size(store, TIER[t], &sizes[t]) != AEGIS_OK) return "the size cannot be read";
        const char *broken = broken_size(before, sizes[t]);
        if (broken != NULL) return broken;
        if (sizes[t] == 0) continue;
        if (!same_records(store, s, t, 0, sizes[t], before)) return "a record is not the one that was submitted";
        for (uint64_t n = 0; n <= sizes[t]; n++)
            if (!same_root(store, s, t, n)) return "a root is wrong";
        if (verify_whole(store, TIER[t]) != AEGIS_OK) return "it does not verify";
        if (!same_catalogue(store, s, t, before->acknowledged, sizes[t])) return "the catalogue is another one";
    }
    return NULL;
}

/* (7): a watermark slot of a segment, and LOCK, may differ. */
static inline int note_difference(void *context, const char *path, uint64_t sector) {
    const char *suffix = strrchr(path, '.');
    bool slot = suffix != NULL && strcmp(suffix, ".seg") == 0 && (sector == 8 || sector == 16);
    if (slot || strcmp(path, "LOCK") == 0) return AEGIS_OK;
    snprintf(context, 160, "a second recovery changed %.80s, sector %" PRIu64, path, sector);
    return AEGIS_E_CORRUPT;
}

static inline int no_difference(void *context, const char *path, uint64_t sector) {
    snprintf(context, 160, "a reader changed %.80s, sector %" PRIu64, path, sector);
    return AEGIS_E_CORRUPT;
}

/* ---- one disk --------------------------------------------------------------------------------------------------------- */

static inline const char *broken_for_a_reader(const enumeration *e, vfs_sim *image, size_t cut) {
    static char changed[160];
    const aegis_options o = crash_options(e->o->work, AEGIS_MODE_READ);
    aegis_store *store = NULL;
    vfs_sim *before = vfs_sim_clone(image);
    const char *broken = NULL;
    uint64_t size = 0;
    bool needed = e->after[cut][0].acknowledged + e->after[cut][1].acknowledged > 0;
    if (store_open(vfs_sim_vfs(image), "store", &o, &store, NULL) != AEGIS_OK) broken = needed ? "it does not open for reading" : NULL;
    for (uint32_t t = 0; store != NULL && t < TIERS_USED && broken == NULL; t++) {
        if (aegis_size(store, TIER[t], &size) != AEGIS_OK) broken = "a reader cannot read the size";
        else if (size > e->after[cut][t].submitted || !ends_at(&e->after[cut][t], size)) broken = "a reader sees what is not there";
        else if (!same_records(store, e->o->script, t, 0, size, &e->after[cut][t])) broken = "a reader sees another record";
    }
    if (store != NULL) aegis_abandon(store);
    if (broken == NULL && vfs_sim_differences(before, image, no_difference, changed) != AEGIS_OK) broken = changed;
    vfs_sim_free(before);
    return broken;
}

/* Counts the disk as it would be with nothing past the tails that recovery found. */
static inline void count_normal(oracle *o, vfs_sim *image, aegis_store *store) {
    char paths[TIERS_USED][40];
    vfs_sim_end ends[TIERS_USED];
    vfs_sim_id id;
    size_t count = 0;
    bool added = false;
    for (uint32_t t = 0; t < TIERS_USED; t++) {
        const log *l = store_log(store, TIER[t]);
        char name[SEGMENT_NAME_SIZE];
        if (l == NULL) continue;
        const segment *active = l->segments[l->segment_count - 1];
        segment_name(active->number, name);
        snprintf(paths[count], sizeof paths[count], "%s/%s", tier_name(TIER[t]), name);
        ends[count] = (vfs_sim_end){paths[count], active->tail};
        count++;
    }
    EXPECT_OK(vfs_sim_image_id(image, ends, count, &id));
    seen_add(&o->normal, id, &added);
}

/* (8): another group, and the crash after it. The machine's record says what was promised by that, for (10). */
static inline const char *broken_by_more(const enumeration *e, vfs_sim *image, aegis_store *store, size_t cut, uint32_t t, uint64_t size) {
    const script *s = e->o->script;
    aegis_options o = crash_options(e->o->work, AEGIS_MODE_APPEND);
    aegis_head heads[2] = {{.tier = TIER[t], .size = size}, {.tier = TIER[t]}};
    memcpy(heads[0].root, s->roots[t][size], 32);
    uint64_t more = min_u64(size + 1 + size % 2, RECORDS_MAX);
    bool taken = true;
    say(image, VFS_SIM_SUBMIT, t, more);
    for (uint64_t i = size; i < more; i++) taken = taken && append_scripted(store, s, t, i) == AEGIS_OK;
    say(image, MARK_GROUP, t, more);
    taken = taken && aegis_commit(store, TIER[t], more - 1) == AEGIS_OK;
    if (taken) say(image, VFS_SIM_ACK, t, more);
    taken = taken && aegis_head_at(store, TIER[t], more, &heads[1]) == AEGIS_OK;
    if (taken) say(image, MARK_HEAD, t, more);
    aegis_abandon(store);
    if (!taken) return "it takes no more records";
    o.anchors = heads;
    o.anchor_count = 2;
    store = NULL;
    if (store_open(vfs_sim_vfs(image), "store", &o, &store, NULL) != AEGIS_OK) return "it does not open after one more group";
    uint64_t found = 0;
    bool there = aegis_size(store, TIER[t], &found) == AEGIS_OK && found == more && same_records(store, s, t, size, more, &e->after[cut][t]) &&
                 same_root(store, s, t, size) && same_root(store, s, t, more);
    aegis_abandon(store);
    return there ? NULL : "the group that was added is not there";
}

typedef struct segment_files {
    uint64_t there[TIERS_USED];
} segment_files;

static inline int count_segments(void *context, const char *path) {
    segment_files *files = context;
    const char *slash = strchr(path, '/');
    uint64_t number = 0;
    for (uint32_t t = 0; t < TIERS_USED && slash != NULL; t++) {
        const char *folder = tier_name(TIER[t]);
        if (strncmp(path, folder, strlen(folder)) == 0 && segment_number(slash + 1, &number)) files->there[t]++;
    }
    return AEGIS_OK;
}

/* (1): as many segment files as are listed, all of which are open. */
static inline bool only_listed(vfs_sim *image, aegis_store *store) {
    segment_files files = {{0}};
    if (vfs_sim_files(image, count_segments, &files) != AEGIS_OK) return false;
    for (uint32_t t = 0; t < TIERS_USED; t++) {
        const log *l = store_log(store, TIER[t]);
        if (files.there[t] != (l == NULL ? 0 : l->segment_count)) return false;
    }
    return true;
}

/* (1) to (8), in the order of their cost. */
static inline const char *broken_disk(const enumeration *e, vfs_sim *image, size_t cut, uint64_t sizes[TIERS_USED]) {
    static char changed[160];
    oracle *o = e->o;
    const aegis_options options = crash_options(o->work, AEGIS_MODE_APPEND);
    aegis_store *store = NULL;
    if (store_open(vfs_sim_vfs(image), "store", &options, &store, NULL) != AEGIS_OK) return "it does not open";
    const char *broken = only_listed(image, store) ? broken_promise(e, store, cut, sizes) : "a segment is there that is not listed";
    if (broken == NULL) {
        count_normal(o, image, store);
        for (uint32_t t = 0; t < TIERS_USED; t++) say(image, MARK_OPENED, t, sizes[t]);
    }
    aegis_abandon(store);
    if (broken != NULL) return broken;
    vfs_sim *first = vfs_sim_clone(image);
    store = NULL;
    if (store_open(vfs_sim_vfs(image), "store", &options, &store, NULL) != AEGIS_OK) broken = "it opens only once";
    for (uint32_t t = 0; t < TIERS_USED && broken == NULL; t++)
        if (size_of(store, TIER[t]) != sizes[t] || !same_root(store, o->script, t, sizes[t])) broken = "opened twice, it is not the same";
    if (broken == NULL && vfs_sim_differences(first, image, note_difference, changed) != AEGIS_OK) broken = changed;
    vfs_sim_free(first);
    if (broken != NULL) {
        if (store != NULL) aegis_abandon(store);
        return broken;
    }
    uint32_t t = (uint32_t)(o->distinct[e->depth] % o->work->tiers);
    return broken_by_more(e, image, store, cut, t, sizes[t]);
}

static inline bool has_enough(const oracle *o) { return o->distinct[0] >= o->wanted && o->normal.count >= 2 * o->wanted; }

static inline int check_image(void *context, vfs_sim *image, size_t cut) {
    const enumeration *e = context;
    oracle *o = e->o;
    uint64_t sizes[TIERS_USED] = {0}, number = ++o->distinct[e->depth];
    bool added = false;
    bool deeper = e->deeper != NULL && o->deeper_every > 0 && number % o->deeper_every == 0;
    vfs_sim_id id;
    EXPECT_OK(vfs_sim_image_id(image, NULL, 0, &id));
    const char *broken = number % READ_EVERY == 0 ? broken_for_a_reader(e, image, cut) : NULL;
    if (deeper) EXPECT_OK(vfs_sim_settle(image, true));
    if (broken == NULL) broken = broken_disk(e, image, cut, sizes);
    if (broken == NULL) {
        seen *place = seen_add(&o->seen, id, &added);
        for (uint32_t t = 0; t < TIERS_USED; t++) place->sizes[t] = (uint16_t)sizes[t];
        o->recoveries += deeper;
        if (deeper) EXPECT_OK(enumerate_record(o, e->depth + 1, image, e->after[cut], e->deeper, NULL) < 0 ? AEGIS_E_BUG : AEGIS_OK);
    } else violation(e, cut, image, broken);
    if (o->report != NULL && (o->distinct[0] + o->distinct[1]) % REPORT_EVERY == 0) o->report(o);
    return (o->seeds > 0 && has_enough(o)) || (o->stop_at_violation && o->violations > 0);
}

static inline bool known_image(void *context, vfs_sim_id id, size_t cut) {
    const enumeration *e = context;
    bool added = false;
    e->o->tried[e->depth]++;
    const seen *place = seen_add(&e->o->seen, id, &added);
    if (added) return false;
    for (uint32_t t = 0; t < TIERS_USED; t++)
        if (place->sizes[t] != SEEN_NOT_CHECKED && broken_size(&e->after[cut][t], place->sizes[t]) != NULL) {
            /* Made again, to say what it is. */
            e->o->distinct[e->depth]--;
            return false;
        }
    return true;
}

/* Positive: the end was asked for. */
static inline int enumerate_record(oracle *o, unsigned depth, const vfs_sim *recording, const said start[TIERS_USED],
                                   const vfs_sim_limits *limits, const vfs_sim_limits *deeper) {
    size_t ops = vfs_sim_op_count(recording);
    vfs_sim_counts counts;
    said now[TIERS_USED];
    enumeration e = {o, depth, recording, calloc(ops + 1, sizeof *e.after), deeper};
    vfs_sim_limits own = *limits;
    if (!EXPECT(e.after != NULL)) return AEGIS_E_NOMEM;
    memcpy(now, start, sizeof now);
    memcpy(e.after[0], now, sizeof now);
    for (size_t k = 0; k < ops; k++) {
        said_take(now, vfs_sim_op_at(recording, k));
        memcpy(e.after[k + 1], now, sizeof now);
    }
    own.known = known_image;
    int code = vfs_sim_enumerate(recording, 0, SIZE_MAX, &own, check_image, &e, &counts);
    if (depth == 0) {
        o->operations += ops;
        o->cuts += counts.cuts;
    }
    free(e.after);
    return code;
}

#endif
