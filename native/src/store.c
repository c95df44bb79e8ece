/* store: see store.h. */
#include "store.h"

#include <stdlib.h>

#include "rebuild.h"
#include "unlisted.h"
#include "upkeep.h"

#define SEGMENT_BYTES_DEFAULT (32u << 20)
#define SEGMENT_BYTES_MIN (64u << 10)
#define SEGMENT_BYTES_MAX (1u << 30)
#define CACHE_BYTES_DEFAULT (4u << 20)
#define READ_AGAIN_MAX 32u

/* ---- what a directory holds ------------------------------------------------------------------------------------------ */

typedef struct contents {
    bool manifest;
    bool tiers;
    char stranger[64];       /* a name that no store has */
} contents;

static int look_at(void *context, const char *name) {
    static const char *const ours[] = {LOCK_NAME, MANIFEST_NEW_NAME, "catalog", "lost+found"};
    contents *c = context;
    if (strcmp(name, MANIFEST_NAME) == 0) {
        c->manifest = true;
        return AEGIS_OK;
    }
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++)
        if (strcmp(name, tier_name(tier)) == 0) {
            c->tiers = true;
            return AEGIS_OK;
        }
    for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
        if (strcmp(name, ours[i]) == 0) return AEGIS_OK;
    if (c->stranger[0] == 0) strncpy(c->stranger, name, sizeof c->stranger - 1);
    return AEGIS_OK;
}

/* ---- upkeep's thread ------------------------------------------------------------------------------------------------- */

static void wake_thread(void *context) {
    aegis_store *st = context;
    pthread_mutex_lock(&st->sleep);
    st->work = true;
    pthread_cond_signal(&st->woken);
    pthread_mutex_unlock(&st->sleep);
}

static void tell_watchers(void *context, uint32_t tier, uint64_t size, const aegis_error *poison) {
    aegis_store *st = context;
    watch_tell(st->board, tier, size, poison);
}

void store_upkeep(aegis_store *st, uint64_t *wait_ms) {
    *wait_ms = UPKEEP_NOTHING;
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        uint64_t wait = 0;
        if (!atomic_load_explicit(&st->present[tier], memory_order_acquire)) continue;
        upkeep_turn(&st->writers[tier], &wait);
        *wait_ms = min_u64(*wait_ms, wait);
    }
}

static void wait_for_work(aegis_store *st, uint64_t wait_ms) {
    struct timespec until;
    uint64_t due = st->vfs->clock_ms(st->vfs) + wait_ms;
    until.tv_sec = (time_t)(due / 1000);
    until.tv_nsec = (long)(due % 1000) * 1000000;
    while (!st->work && !st->stop) {
        if (wait_ms == UPKEEP_NOTHING) {
            pthread_cond_wait(&st->woken, &st->sleep);
            continue;
        }
#ifdef __APPLE__
        struct timespec relative = {.tv_sec = (time_t)(wait_ms / 1000), .tv_nsec = (long)(wait_ms % 1000) * 1000000};
        if (pthread_cond_timedwait_relative_np(&st->woken, &st->sleep, &relative) != 0) break;
#else
        if (pthread_cond_timedwait(&st->woken, &st->sleep, &until) != 0) break;
#endif
    }
}

static void *upkeep_thread(void *context) {
    aegis_store *st = context;
    for (;;) {
        uint64_t wait_ms = 0;
        store_upkeep(st, &wait_ms);
        pthread_mutex_lock(&st->sleep);
        if (wait_ms > 0) wait_for_work(st, wait_ms);
        st->work = false;
        bool stop = st->stop;
        pthread_mutex_unlock(&st->sleep);
        if (stop) return NULL;
    }
}

static int start_thread(aegis_store *st) {
    if (pthread_create(&st->thread, NULL, upkeep_thread, st) != 0)
        return fail(AEGIS_E_NOMEM, "the upkeep thread could not be started");
    st->threaded = true;
    return AEGIS_OK;
}

static void stop_thread(aegis_store *st) {
    if (!st->threaded) return;
    pthread_mutex_lock(&st->sleep);
    st->stop = true;
    pthread_cond_signal(&st->woken);
    pthread_mutex_unlock(&st->sleep);
    pthread_join(st->thread, NULL);
    st->threaded = false;
}

/* ---- tiers ----------------------------------------------------------------------------------------------------------- */

static int start_writer(aegis_store *st, uint32_t tier, uint64_t zeroed) {
    writer *w = &st->writers[tier];
    bool sync_groups = st->durability[tier] == AEGIS_DURABILITY_COMMIT;
    TRY(writer_init(w, &st->logs[tier], st->manifest.segment_bytes, sync_groups, zeroed));
    w->stats.durability = st->durability[tier];
    w->wake = wake_thread;
    w->tell = tell_watchers;
    w->wake_context = st;
    return AEGIS_OK;
}

static scope tier_scope(const aegis_store *st, uint32_t tier) {
    scope s = st->s;
    s.tier = tier;
    s.align = st->manifest.align;
    return s;
}

static int open_tier(aegis_store *st, uint32_t tier, const recovery *how, aegis_verdict *verdict) {
    const scope s = tier_scope(st, tier);
    uint64_t zeroed = 0;
    TRY(log_init(&st->logs[tier], &s, st->root, false, &st->manifest, &st->lock, st->cache_bytes));
    int code = recover_log(&st->logs[tier], how, verdict, &zeroed);
    if (code == AEGIS_OK && st->writable) code = start_writer(st, tier, zeroed);
    if (code != AEGIS_OK) log_free(&st->logs[tier]);
    else atomic_store_explicit(&st->present[tier], true, memory_order_release);
    return code;
}

/* A tier that the manifest does not list may have a directory, from a crash in its creation; it must not have records. */
static int check_unlisted_tier(aegis_store *st, uint32_t tier) {
    const scope s = tier_scope(st, tier);
    log probe;
    bool ignored = false;
    vfs_dir *dir = NULL;
    int code = st->vfs->open_dir(st->vfs, st->root, tier_name(tier), VFS_READ, &dir);
    if (code == AEGIS_E_NOTFOUND) return AEGIS_OK;
    TRY(code);
    st->vfs->close_dir(st->vfs, dir);
    TRY(log_init(&probe, &s, st->root, false, &st->manifest, &st->lock, 0));
    code = unlisted_remove_empty(&probe, &ignored);
    log_free(&probe);
    return code;
}

static int make_tier(aegis_store *st, uint32_t tier) {
    const scope s = tier_scope(st, tier);
    uint64_t zeroed = 0;
    TRY(log_init(&st->logs[tier], &s, st->root, true, &st->manifest, &st->lock, st->cache_bytes));
    /* An attempt before this one may have failed behind the manifest: then the tier is there, with its first segment. */
    const recovery how = {.live = false};
    aegis_verdict verdict;
    bool listed = st->manifest.tiers[tier].count > 0;
    int code = listed ? recover_log(&st->logs[tier], &how, &verdict, &zeroed) : recover_create(&st->logs[tier], &zeroed);
    /* … and the manifest's own name may be what failed: it is not durable for having been synced a second time. */
    if (code == AEGIS_OK && listed) {
        pthread_mutex_lock(&st->manifest.mutex);
        code = manifest_renew(&st->manifest);
        pthread_mutex_unlock(&st->manifest.mutex);
    }
    if (code == AEGIS_OK) code = start_writer(st, tier, zeroed);
    if (code != AEGIS_OK) log_free(&st->logs[tier]);
    else atomic_store_explicit(&st->present[tier], true, memory_order_release);
    return code;
}

int store_writer(aegis_store *st, uint32_t tier, writer **out) {
    *out = &st->writers[tier];
    if (atomic_load_explicit(&st->present[tier], memory_order_acquire)) return AEGIS_OK;
    pthread_mutex_lock(&st->mutex);
    int code = atomic_load(&st->present[tier]) ? AEGIS_OK : make_tier(st, tier);
    pthread_mutex_unlock(&st->mutex);
    return code;
}

log *store_log(aegis_store *st, uint32_t tier) {
    return atomic_load_explicit(&st->present[tier], memory_order_acquire) ? &st->logs[tier] : NULL;
}

/* ---- opening --------------------------------------------------------------------------------------------------------- */

static int check_options(const aegis_options *o) {
    if (o->struct_size != sizeof *o) return fail(AEGIS_E_ARGUMENT, "options of another version of this library");
    if (o->mode > AEGIS_MODE_WRITE) return fail(AEGIS_E_ARGUMENT, "no such mode: %u", (unsigned)o->mode);
    if (o->align != 0 && o->align != 8 && o->align != 4096) return fail(AEGIS_E_ARGUMENT, "the alignment is 8 or 4096");
    if (o->segment_bytes != 0 && (o->segment_bytes < SEGMENT_BYTES_MIN || o->segment_bytes > SEGMENT_BYTES_MAX))
        return fail(AEGIS_E_ARGUMENT, "a segment has 64 KiB to 1 GiB");
    if (o->name != NULL && strlen(o->name) > AEGIS_NAME_MAX) return fail(AEGIS_E_LIMIT, "a store's name has at most 255 bytes");
    if (o->meta_length > AEGIS_META_MAX) return fail(AEGIS_E_LIMIT, "the meta block has at most 4096 bytes");
    if (o->meta == NULL && o->meta_length > 0) return fail(AEGIS_E_ARGUMENT, "a meta block that is not there");
    if (o->anchors == NULL && o->anchor_count > 0) return fail(AEGIS_E_ARGUMENT, "anchors that are not there");
    /* One that nobody would look at is a promise broken in silence; so is a durability that nobody knows. */
    for (uint32_t i = 0; i < o->anchor_count; i++)
        if (o->anchors[i].tier < 1 || o->anchors[i].tier > AEGIS_TIERS)
            return fail(AEGIS_E_ARGUMENT, "an anchor of no tier: %u", (unsigned)o->anchors[i].tier);
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++)
        if (o->durability[tier] > AEGIS_DURABILITY_WRITE) return fail(AEGIS_E_ARGUMENT, "no such durability: %u", (unsigned)o->durability[tier]);
    if (o->mode != AEGIS_MODE_READ && o->secret == NULL) return fail(AEGIS_E_SECRET, "writing needs the store secret");
    return AEGIS_OK;
}

static aegis_store *make(vfs *v, const aegis_options *o) {
    aegis_store *st = calloc(1, sizeof *st);
    pthread_condattr_t monotonic;
    if (st == NULL) return NULL;
    st->vfs = v;
    st->s = (scope){.vfs = v, .keyed = o->secret != NULL};
    if (o->secret != NULL) hmac_prepare(&st->s.key, o->secret, 32);
    st->writable = o->mode != AEGIS_MODE_READ;
    st->fork_count = vfs_fork_count();
    st->cache_bytes = o->cache_bytes == 0 ? CACHE_BYTES_DEFAULT : o->cache_bytes;
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        uint32_t normal = tier == AEGIS_TIER_TELEMETRY ? AEGIS_DURABILITY_WRITE : AEGIS_DURABILITY_COMMIT;
        st->durability[tier] = o->durability[tier] == AEGIS_DURABILITY_DEFAULT ? normal : o->durability[tier];
    }
    pthread_mutex_init(&st->mutex, NULL);
    pthread_mutex_init(&st->sleep, NULL);
    pthread_condattr_init(&monotonic);
#ifndef __APPLE__
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
#endif
    pthread_cond_init(&st->woken, &monotonic);
    pthread_condattr_destroy(&monotonic);
    manifest_init(&st->manifest, &st->s, NULL);
    return st;
}

static void take_settings(aegis_store *st, const aegis_options *o) {
    manifest *m = &st->manifest;
    m->align = o->align == 0 ? FRAME_ALIGN : o->align;
    m->segment_bytes = align_up(o->segment_bytes == 0 ? SEGMENT_BYTES_DEFAULT : o->segment_bytes, 4096);
    if (o->name != NULL) strncpy(m->name, o->name, AEGIS_NAME_MAX);
    if (o->meta_length > 0) memcpy(m->meta, o->meta, o->meta_length);
    m->meta_length = o->meta_length;
    if (o->store_id != NULL) memcpy(st->s.store_id, o->store_id, STORE_ID_SIZE);
}

/* Reads the manifest, or makes it again from the segments. */
static int load_manifest(aegis_store *st, const aegis_options *o, uint32_t *flags) {
    static const place where = {.path = MANIFEST_NAME};
    uint8_t id[STORE_ID_SIZE];
    bool copy_damaged = false;
    int code = manifest_load(&st->manifest, id, &copy_damaged);
    if ((code == AEGIS_E_CORRUPT || code == AEGIS_E_NOTFOUND) && st->s.keyed && o->store_id != NULL) {
        take_settings(st, o);
        TRY(rebuild_manifest(&st->manifest, st->root, &st->s));
        *flags |= AEGIS_VERDICT_MANIFEST_REBUILT;
        st->rebuilt = true;
        for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++)
            if (st->manifest.tiers[tier].count > 0) return AEGIS_OK;
        return fail_at(AEGIS_E_CORRUPT, &where, "the manifest is damaged or missing, and there is no segment to make it again from");
    }
    TRY(code);
    if (o->store_id != NULL && memcmp(id, o->store_id, STORE_ID_SIZE) != 0 && !MUTANT(NO_STORE_ID_TEST))
        return fail_at(AEGIS_E_FOREIGN, &where, "the directory holds another store than the keys are for");
    memcpy(st->s.store_id, id, STORE_ID_SIZE);
    if (copy_damaged) *flags |= AEGIS_VERDICT_MANIFEST_COPY;
    return AEGIS_OK;
}

static int open_tiers(aegis_store *st, const aegis_options *o, bool poisoned, const lock_view *seen, uint32_t flags,
                      aegis_report *report) {
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        const recovery how = {.poisoned = poisoned, .live = seen->live, .limit = seen->sizes[tier], .anchors = o->anchors,
                              .anchor_count = o->anchor_count};
        if (st->manifest.tiers[tier].count > 0) {
            aegis_verdict *verdict = &report->tiers[report->tier_count++];
            TRY(open_tier(st, tier, &how, verdict));
            verdict->flags |= flags;
            continue;
        }
        if (st->writable && !MUTANT(NO_UNLISTED_TIER_TEST)) TRY(check_unlisted_tier(st, tier));
        for (uint32_t i = 0; i < o->anchor_count; i++)
            if (o->anchors[i].tier == tier && o->anchors[i].size > 0 && !MUTANT(NO_EMPTY_TIER_ANCHOR_TEST))
                return fail(AEGIS_E_ROLLBACK, "tier %s has no record; a head that was kept outside says %llu", tier_name(tier),
                            (unsigned long long)o->anchors[i].size);
    }
    return AEGIS_OK;
}

static int read_once(aegis_store *st, const aegis_options *o, aegis_report *report) {
    lock_view seen = {.live = false};
    uint32_t flags = 0;
    memset(report, 0, sizeof *report);
    /* LOCK before MANIFEST: a size that was published belongs to segments that the manifest lists by then. */
    TRY(lockfile_view(&st->lock, &seen));
    TRY(load_manifest(st, o, &flags));
    if (MUTANT(MANIFEST_BEFORE_LOCK)) TRY(lockfile_view(&st->lock, &seen));
    return open_tiers(st, o, seen.poisoned, &seen, flags, report);
}

/* Of a reader: what an attempt before has opened. */
static void close_tiers(aegis_store *st) {
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        if (!atomic_load(&st->present[tier])) continue;
        log_free(&st->logs[tier]);
        atomic_store(&st->present[tier], false);
    }
}

/* Whether a reader that found damage should look again: a compaction replaces a file and removes the old one, perhaps between our look
 * at the manifest and at the file. The failure stays the last one. */
static bool moved_on(aegis_store *st, int code) {
    manifest now;
    uint8_t id[STORE_ID_SIZE];
    bool copy_damaged = false;
    aegis_error cause;
    if (code != AEGIS_E_CORRUPT || MUTANT(NO_READ_AGAIN)) return false;
    aegis_last_error(&cause);
    manifest_init(&now, &st->s, st->root);
    bool moved = manifest_load(&now, id, &copy_damaged) == AEGIS_OK && now.generation != st->manifest.generation;
    manifest_free(&now);
    fail_again(&cause);
    return moved;
}

static int open_reading(aegis_store *st, const aegis_options *o, aegis_report *report) {
    TRY(lockfile_open_reader(&st->lock, st->vfs, st->root));
    int code = read_once(st, o, report);
    for (unsigned again = 0; again < READ_AGAIN_MAX && moved_on(st, code); again++) {
        close_tiers(st);
        code = read_once(st, o, report);
    }
    return code;
}

/* Where a copy was damaged the manifest is made again. A sync of a directory that failed leaves a rename in doubt for ever, whatever
 * later ones say: so after an end that was not clean it is written again as it is, like the tail. Then a full disk keeps nobody out:
 * the next rotation writes it, and needs space anyway. Files that a compaction replaced wait for a manifest that is durable for certain,
 * for it may be their names that an older one has. */
static int settle_manifest(aegis_store *st, uint32_t flags, const aegis_report *report) {
    bool clean = true, left = false;
    int code = AEGIS_OK;
    for (uint32_t i = 0; i < report->tier_count; i++) clean = clean && (report->tiers[i].flags & AEGIS_VERDICT_CLEAN) != 0;
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) left = left || (store_log(st, tier) != NULL && st->logs[tier].compaction_left);
    if (flags != 0) {
        if (!MUTANT(NO_MANIFEST_REPAIR)) code = manifest_write(&st->manifest);
    } else if ((clean && !(left && !MUTANT(REPLACED_BEFORE_MANIFEST))) || MUTANT(NO_MANIFEST_RENEWAL)) {
        (void)st->vfs->unlink(st->vfs, st->root, MANIFEST_NEW_NAME);    /* a crash behind the end mark may have left one */
    } else {
        code = manifest_renew(&st->manifest);
        if (code == AEGIS_E_NOSPACE) return AEGIS_OK;
    }
    for (uint32_t tier = 1; tier <= AEGIS_TIERS && left && code == AEGIS_OK; tier++)
        if (store_log(st, tier) != NULL) code = unlisted_remove_replaced(&st->logs[tier]);
    return code;
}

static int open_writing(aegis_store *st, const aegis_options *o, const contents *found, aegis_report *report) {
    const lock_view nobody = {.live = false};
    uint64_t sizes[AEGIS_TIERS + 1] = {0};
    uint32_t flags = 0;
    bool poisoned = false;
    TRY(lockfile_open_writer(&st->lock, st->vfs, st->root, &poisoned));
    if (found->manifest || found->tiers) {
        TRY(load_manifest(st, o, &flags));
        /* Whoever was killed between a rename and its sync left names that only the page cache has: the manifest's, the store's. */
        if (!MUTANT(NO_NAME_SYNC_AT_OPEN)) TRY(st->vfs->sync_dir(st->vfs, st->root));
        if (!MUTANT(NO_PARENT_SYNC_AT_OPEN)) TRY(st->vfs->sync_parent(st->vfs, st->root));
        TRY(open_tiers(st, o, poisoned, &nobody, flags, report));
        TRY(settle_manifest(st, flags, report));
    } else {
        if (o->store_id == NULL) return fail(AEGIS_E_ARGUMENT, "a new store needs an identity");
        take_settings(st, o);
        TRY(manifest_write(&st->manifest));
        if (!MUTANT(NO_PARENT_SYNC)) TRY(st->vfs->sync_parent(st->vfs, st->root));
        report->created = 1;
    }
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++)
        if (store_log(st, tier) != NULL) sizes[tier] = log_size(&st->logs[tier]);
    TRY(lockfile_begin(&st->lock, sizes));
    return o->flags & AEGIS_OPEN_NO_THREAD ? AEGIS_OK : start_thread(st);
}

static int open_place(aegis_store *st, const char *path, const aegis_options *o, contents *found) {
    vfs_place_info place_info;
    bool may_make = o->mode == AEGIS_MODE_APPEND || o->mode == AEGIS_MODE_CREATE;
    int code = st->vfs->open_root(st->vfs, path, may_make ? VFS_CREATE : VFS_READ, &st->root);
    if (code == AEGIS_E_NOTFOUND) return fail(AEGIS_E_NOTFOUND, "there is no store at %.200s", path);
    TRY(code);
    st->manifest.dir = st->root;
    if (st->writable) {
        TRY(watch_board_new(st->vfs, &st->board));
        TRY(st->vfs->place(st->vfs, st->root, &place_info));
        if (place_info.read_only) return fail(AEGIS_E_READONLY, "%.150s lies on a file system that is mounted read-only", path);
        if (!MUTANT(NO_NETWORK_TEST) && place_info.network && !(o->flags & AEGIS_OPEN_NETWORK))
            return fail(AEGIS_E_NETWORK, "%.150s lies on a network file system (%s), whose locks and syncs cannot be relied on", path,
                        place_info.type);
    }
    TRY(st->vfs->list(st->vfs, st->root, look_at, found));
    if (found->manifest || found->tiers) {
        if (o->mode == AEGIS_MODE_CREATE) return fail(AEGIS_E_EXISTS, "there is a store at %.200s", path);
        return AEGIS_OK;
    }
    if (found->stranger[0] != 0 && !MUTANT(NO_STRANGER_TEST)) return fail(AEGIS_E_NOTSTORE, "%.120s is not a store: it holds %s", path, found->stranger);
    if (!may_make) return fail(AEGIS_E_NOTFOUND, "there is no store at %.200s: the directory is empty", path);
    return AEGIS_OK;
}

int store_open(vfs *v, const char *path, const aegis_options *options, aegis_store **out, aegis_report *report) {
    aegis_report ignored;
    contents found = {.manifest = false};
    if (report == NULL) report = &ignored;
    memset(report, 0, sizeof *report);
    TRY(check_options(options));
    aegis_store *st = make(v, options);
    if (st == NULL) return fail(AEGIS_E_NOMEM, "no memory for a store");
    int code = open_place(st, path, options, &found);
    if (code == AEGIS_OK) code = st->writable ? open_writing(st, options, &found, report) : open_reading(st, options, report);
    if (code != AEGIS_OK) store_abandon(st);
    else *out = st;
    return code;
}

/* ---- following and closing ------------------------------------------------------------------------------------------- */

static int refresh(aegis_store *st) {
    lock_view seen;
    uint8_t id[STORE_ID_SIZE];
    bool copy_damaged = false;
    TRY(lockfile_view(&st->lock, &seen));
    pthread_mutex_lock(&st->manifest.mutex);
    int loaded = manifest_load(&st->manifest, id, &copy_damaged);
    pthread_mutex_unlock(&st->manifest.mutex);
    /* What was made again from the segments stands until a writer has written it. */
    if (!st->rebuilt || (loaded != AEGIS_E_CORRUPT && loaded != AEGIS_E_NOTFOUND)) TRY(loaded);
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        aegis_verdict verdict;
        const recovery how = {.poisoned = seen.poisoned, .live = seen.live, .limit = seen.sizes[tier]};
        if (st->manifest.tiers[tier].count == 0) continue;
        log *l = store_log(st, tier);
        if (l == NULL) TRY(open_tier(st, tier, &how, &verdict));
        else TRY(recover_follow(l, seen.live && st->s.keyed ? seen.sizes[tier] : 0));
    }
    return AEGIS_OK;
}

int store_refresh(aegis_store *st) {
    if (st->writable) return AEGIS_OK;
    pthread_mutex_lock(&st->mutex);
    int code = refresh(st);
    for (unsigned again = 0; again < READ_AGAIN_MAX && moved_on(st, code); again++) code = refresh(st);
    pthread_mutex_unlock(&st->mutex);
    return code;
}

/* The heads as they are now, for the next open to compare with. */
static void note_heads(aegis_store *st) {
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        manifest_tier *listed = &st->manifest.tiers[tier];
        if (store_log(st, tier) == NULL) continue;
        listed->size = log_size(&st->logs[tier]);
        merkle_root(&st->logs[tier].tree.range, listed->root);
    }
}

static int close_tier(aegis_store *st, uint32_t tier) {
    if (store_log(st, tier) == NULL) return AEGIS_OK;
    TRY(writer_close(&st->writers[tier]));
    return upkeep_finish(&st->writers[tier]);
}

int store_close(aegis_store *st) {
    int code = AEGIS_OK;
    aegis_error first;
    if (st->writable) {
        stop_thread(st);
        /* What was queued for a tier lands, whatever became of another. */
        for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
            int closed = close_tier(st, tier);
            if (closed == AEGIS_OK || code != AEGIS_OK) continue;
            code = closed;
            aegis_last_error(&first);
        }
        if (code != AEGIS_OK) {
            fail_again(&first);
        } else {
            note_heads(st);
            code = manifest_write(&st->manifest);
        }
    }
    store_abandon(st);
    return code;
}

void store_abandon(aegis_store *st) {
    /* In a forked child the thread is gone, and mutexes and conditions are in whatever state its parent's threads had them: even
     * destroying them could wait for ever. The child leaves the memory where it is; its descriptors are closed already. */
    if (st->fork_count != vfs_fork_count()) return;
    stop_thread(st);
    for (uint32_t tier = 1; tier <= AEGIS_TIERS; tier++) {
        if (!atomic_load(&st->present[tier])) continue;
        /* How far it came, also where nobody had asked: watchers may, from now on. */
        if (st->board != NULL) watch_tell(st->board, tier, st->writers[tier].acknowledged, &st->writers[tier].cause);
        if (st->writable) writer_free(&st->writers[tier]);
        log_free(&st->logs[tier]);
    }
    watch_board_close(st->board);
    manifest_free(&st->manifest);
    lockfile_close(&st->lock);
    if (st->root != NULL) st->vfs->close_dir(st->vfs, st->root);
    pthread_cond_destroy(&st->woken);
    pthread_mutex_destroy(&st->sleep);
    pthread_mutex_destroy(&st->mutex);
    free(st);
}
