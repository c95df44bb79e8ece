/* api: aegis.h on top of the store. Checks of arguments and of the fork, and nothing else. */
#include <stdlib.h>

#include "chains.h"
#include "compact.h"
#include "delta.h"
#include "crc32c.h"
#include "footer.h"
#include "store.h"
#include "upkeep.h"
#include "verify.h"

#define PUBLIC_KEY_SIZE 32

struct aegis_compactor {
    aegis_store *store;
    compaction work;
};

struct aegis_verifier {
    aegis_store *store;
    bool empty;              /* a tier without records */
    verify work;
};

static int usable(const aegis_store *store) {
    if (store == NULL) return fail(AEGIS_E_ARGUMENT, "no store");
    if (store->fork_count != vfs_fork_count() && !MUTANT(NO_FORK_TEST))
        return fail(AEGIS_E_FORKED, "the store was opened before fork(); open it again in the child, for reading");
    return AEGIS_OK;
}

static int usable_tier(const aegis_store *store, uint32_t tier) {
    TRY(usable(store));
    return tier >= 1 && tier <= AEGIS_TIERS ? AEGIS_OK : fail(AEGIS_E_ARGUMENT, "no such tier: %u", (unsigned)tier);
}

static int no_record(uint32_t tier, uint64_t index) {
    const place where = {.tier = tier, .first = index, .end = index};
    return fail_at(AEGIS_E_RANGE, &where, "record %llu does not exist: tier %s has none", (unsigned long long)index, tier_name(tier));
}

/* ---- opening and closing -------------------------------------------------------------------------------------------- */

AEGIS_API int aegis_open(const char *path, const aegis_options *options, aegis_store **out, aegis_report *report) {
    if (path == NULL || options == NULL || out == NULL) return fail(AEGIS_E_ARGUMENT, "a path, options and a place for the handle");
    return store_open(vfs_posix(), path, options, out, report);
}

AEGIS_API int aegis_close(aegis_store *store) {
    if (store == NULL) return AEGIS_OK;
    int code = usable(store);
    return code == AEGIS_OK ? store_close(store) : code;
}

AEGIS_API int aegis_abandon(aegis_store *store) {
    if (store != NULL) store_abandon(store);
    return AEGIS_OK;
}

AEGIS_API int aegis_refresh(aegis_store *store) {
    TRY(usable(store));
    return store_refresh(store);
}

static void copy_text(char *to, size_t capacity, const char *from) {
    size_t length = (size_t)min_u64(strlen(from), capacity - 1);
    memcpy(to, from, length);
    to[length] = 0;
}

AEGIS_API int aegis_describe(aegis_store *store, aegis_info *out) {
    TRY(usable(store));
    manifest *m = &store->manifest;
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&m->mutex);
    memcpy(out->store_id, store->s.store_id, STORE_ID_SIZE);
    out->format = FORMAT_VERSION;
    out->align = m->align;
    out->segment_bytes = m->segment_bytes;
    out->generation = m->generation;
    out->name_length = (uint32_t)strlen(m->name);
    out->meta_length = m->meta_length;
    copy_text(out->name, sizeof out->name, m->name);
    memcpy(out->meta, m->meta, m->meta_length);
    pthread_mutex_unlock(&m->mutex);
    copy_text(out->crc_path, sizeof out->crc_path, crc32c_path());
    copy_text(out->sha_path, sizeof out->sha_path, sha256_path());
    return AEGIS_OK;
}

/* ---- appending ------------------------------------------------------------------------------------------------------ */

AEGIS_API int aegis_append(aegis_store *store, uint32_t tier, uint32_t kind, const uint8_t *entry, uint32_t entry_length,
                           const uint8_t *payload, uint32_t payload_length, uint64_t *index) {
    writer *w = NULL;
    TRY(usable_tier(store, tier));
    if (!store->writable) return fail(AEGIS_E_READONLY, "the store is open for reading");
    if (kind == 0 || kind > UINT8_MAX) return fail(AEGIS_E_ARGUMENT, "a kind is 1 to 255");
    if (entry == NULL || entry_length == 0) return fail(AEGIS_E_ARGUMENT, "a record has an entry");
    if (payload == NULL && payload_length > 0) return fail(AEGIS_E_ARGUMENT, "a payload of %u bytes that is not there", (unsigned)payload_length);
    if (entry_length > AEGIS_ENTRY_MAX) return fail(AEGIS_E_LIMIT, "an entry has at most %d bytes, not %u", AEGIS_ENTRY_MAX, (unsigned)entry_length);
    if (payload_length > AEGIS_PAYLOAD_MAX)
        return fail(AEGIS_E_LIMIT, "a payload has at most %d bytes, not %u", AEGIS_PAYLOAD_MAX, (unsigned)payload_length);
    TRY(store_writer(store, tier, &w));
    return writer_append(w, (uint8_t)kind, entry, entry_length, payload, payload_length, index);
}

AEGIS_API int aegis_commit(aegis_store *store, uint32_t tier, uint64_t index) {
    TRY(usable_tier(store, tier));
    if (!store->writable) return fail(AEGIS_E_READONLY, "the store is open for reading");
    if (store_log(store, tier) == NULL) return no_record(tier, index);
    return writer_commit(&store->writers[tier], index);
}

AEGIS_API int aegis_rotate(aegis_store *store, uint32_t tier) {
    TRY(usable_tier(store, tier));
    if (!store->writable) return fail(AEGIS_E_READONLY, "the store is open for reading");
    return store_log(store, tier) == NULL ? AEGIS_OK : writer_rotate(&store->writers[tier]);
}

AEGIS_API int aegis_background(aegis_store *store, uint64_t *wait_ms) {
    TRY(usable(store));
    if (store->threaded) return fail(AEGIS_E_ARGUMENT, "the store has a thread for this");
    *wait_ms = UPKEEP_NOTHING;
    if (store->writable) store_upkeep(store, wait_ms);
    return AEGIS_OK;
}

/* ---- not waiting ---------------------------------------------------------------------------------------------------- */

AEGIS_API int aegis_watch_start(aegis_store *store, aegis_watcher **out, int *fd) {
    TRY(usable(store));
    if (out == NULL || fd == NULL) return fail(AEGIS_E_ARGUMENT, "a place for the watcher and one for its descriptor");
    if (!store->writable) return fail(AEGIS_E_READONLY, "the store is open for reading");
    return watch_start(store->board, out, fd);
}

AEGIS_API int aegis_request(aegis_store *store, uint32_t tier, uint64_t index, aegis_watcher *watcher) {
    uint64_t size = 0;
    aegis_error poison;
    TRY(usable_tier(store, tier));
    if (!store->writable) return fail(AEGIS_E_READONLY, "the store is open for reading");
    if (watcher != NULL && watcher->board != store->board) return fail(AEGIS_E_ARGUMENT, "a watcher of another store");
    if (store_log(store, tier) == NULL) return no_record(tier, index);
    TRY(writer_request(&store->writers[tier], index, &size, &poison));
    if (watcher != NULL) watch_want(watcher, tier, index, size, &poison);
    return AEGIS_OK;
}

AEGIS_API int aegis_watch_look(aegis_watcher *watcher, aegis_landed *out) {
    if (watcher == NULL || out == NULL) return fail(AEGIS_E_ARGUMENT, "a watcher and a place for what it sees");
    return watch_look(watcher, out);
}

AEGIS_API int aegis_watch_result(aegis_watcher *watcher, uint32_t tier, uint64_t index) {
    if (watcher == NULL) return fail(AEGIS_E_ARGUMENT, "no watcher");
    if (tier < 1 || tier > AEGIS_TIERS) return fail(AEGIS_E_ARGUMENT, "no such tier: %u", (unsigned)tier);
    return watch_result(watcher, tier, index);
}

AEGIS_API void aegis_watch_end(aegis_watcher *watcher) {
    if (watcher != NULL) watch_end(watcher);
}

/* ---- reading -------------------------------------------------------------------------------------------------------- */

AEGIS_API int aegis_size(aegis_store *store, uint32_t tier, uint64_t *size) {
    TRY(usable_tier(store, tier));
    log *l = store_log(store, tier);
    *size = l == NULL ? 0 : log_size(l);
    return AEGIS_OK;
}

AEGIS_API int aegis_read_range(aegis_store *store, uint32_t tier, uint64_t first, uint32_t limit, uint8_t *buffer, uint64_t capacity,
                               aegis_record *records, uint32_t *count) {
    TRY(usable_tier(store, tier));
    if ((buffer == NULL && capacity > 0) || records == NULL) return fail(AEGIS_E_ARGUMENT, "a read needs a buffer and records");
    log *l = store_log(store, tier);
    return l == NULL ? no_record(tier, first) : log_read(l, first, limit, buffer, capacity, records, count);
}

AEGIS_API int aegis_read(aegis_store *store, uint32_t tier, uint64_t index, uint8_t *buffer, uint64_t capacity, aegis_record *record) {
    uint32_t count = 0;
    return aegis_read_range(store, tier, index, 1, buffer, capacity, record, &count);
}

AEGIS_API int aegis_read_entries(aegis_store *store, uint32_t tier, uint64_t first, uint32_t limit, uint64_t payloads, uint8_t *buffer,
                                 uint64_t capacity, aegis_record *records, uint32_t *count) {
    TRY(usable_tier(store, tier));
    if ((buffer == NULL && capacity > 0) || records == NULL) return fail(AEGIS_E_ARGUMENT, "a read needs a buffer and records");
    log *l = store_log(store, tier);
    return l == NULL ? no_record(tier, first) : log_read_entries(l, first, limit, payloads, buffer, capacity, records, count);
}

/* ---- folding entries into sessions ---------------------------------------------------------------------------------- */

AEGIS_API int aegis_chains_start(uint32_t tier, aegis_chains **out) {
    if (tier < 1 || tier > AEGIS_TIERS) return fail(AEGIS_E_ARGUMENT, "no such tier: %u", (unsigned)tier);
    return chains_start(tier, out);
}

AEGIS_API int aegis_chains_add(aegis_chains *chains, const uint8_t *buffer, const aegis_record *records, uint32_t count,
                               uint32_t *told, uint32_t *told_count) {
    if (chains == NULL) return fail(AEGIS_E_ARGUMENT, "no chains");
    return chains_add(chains, buffer, records, count, told, told_count);
}

AEGIS_API int aegis_chains_size(const aegis_chains *chains, uint64_t *sessions, uint64_t *points, uint64_t *requests,
                                uint64_t *writes) {
    if (chains == NULL) return fail(AEGIS_E_ARGUMENT, "no chains");
    chains_size(chains, sessions, points, requests, writes);
    return AEGIS_OK;
}

AEGIS_API int aegis_chains_take(aegis_chains *chains, aegis_chain *sessions, uint8_t *points, uint8_t *requests, uint8_t *writes) {
    if (chains == NULL) return fail(AEGIS_E_ARGUMENT, "no chains");
    return chains_take(chains, sessions, points, requests, writes);
}

AEGIS_API void aegis_chains_end(aegis_chains *chains) { chains_end(chains); }

/* ---- deltas ----------------------------------------------------------------------------------------------------------- */

AEGIS_API int aegis_delta_make(const uint8_t *base, uint64_t base_length, const uint8_t *target, uint64_t target_length, uint8_t *out,
                               uint64_t capacity, uint64_t *length) {
    return delta_make(base, base_length, target, target_length, out, capacity, length);
}

AEGIS_API int aegis_delta_restore(const uint8_t *keyframe, uint64_t keyframe_length, const uint8_t *const *deltas,
                                  const uint64_t *lengths, uint32_t count, uint64_t limit, uint8_t *out, uint64_t length) {
    return delta_restore(keyframe, keyframe_length, deltas, lengths, count, limit, out, length);
}

/* ---- the tree ------------------------------------------------------------------------------------------------------- */

static int past_end(uint32_t tier, uint64_t size, uint64_t have) {
    const place where = {.tier = tier, .first = have, .end = size};
    return fail_at(AEGIS_E_RANGE, &where, "tier %s has %llu records, not %llu", tier_name(tier), (unsigned long long)have,
                   (unsigned long long)size);
}

AEGIS_API int aegis_head_at(aegis_store *store, uint32_t tier, uint64_t size, aegis_head *out) {
    TRY(usable_tier(store, tier));
    log *l = store_log(store, tier);
    *out = (aegis_head){.tier = tier, .size = size};
    if (l == NULL && size > 0) return past_end(tier, size, 0);
    if (size == 0) {
        sha256_whole("", 0, out->root);
        return AEGIS_OK;
    }
    pthread_mutex_lock(&l->state);
    uint64_t have = l->tree.range.size;
    int code = size > have ? past_end(tier, size, have) : tree_root_at(&l->tree, size, out->root);
    pthread_mutex_unlock(&l->state);
    return code;
}

AEGIS_API int aegis_inclusion(aegis_store *store, uint32_t tier, uint64_t index, uint64_t size, uint8_t *hashes, uint32_t *count) {
    unsigned found = 0;
    TRY(usable_tier(store, tier));
    if (index >= size) return fail(AEGIS_E_ARGUMENT, "record %llu is not among the first %llu", (unsigned long long)index, (unsigned long long)size);
    log *l = store_log(store, tier);
    if (l == NULL) return past_end(tier, size, 0);
    pthread_mutex_lock(&l->state);
    uint64_t have = l->tree.range.size;
    int code = size > have ? past_end(tier, size, have)
                           : tree_inclusion(&l->tree, index, size, (uint8_t(*)[HASH_SIZE])hashes, &found);
    pthread_mutex_unlock(&l->state);
    *count = found;
    return code;
}

AEGIS_API int aegis_consistency(aegis_store *store, uint32_t tier, uint64_t old_size, uint64_t size, uint8_t *hashes, uint32_t *count) {
    unsigned found = 0;
    TRY(usable_tier(store, tier));
    *count = 0;
    if (old_size > size) return fail(AEGIS_E_ARGUMENT, "%llu records are not part of %llu", (unsigned long long)old_size, (unsigned long long)size);
    log *l = store_log(store, tier);
    if (l == NULL) return size == 0 ? AEGIS_OK : past_end(tier, size, 0);
    pthread_mutex_lock(&l->state);
    uint64_t have = l->tree.range.size;
    int code = size > have ? past_end(tier, size, have)
                           : tree_consistency(&l->tree, old_size, size, (uint8_t(*)[HASH_SIZE])hashes, &found);
    pthread_mutex_unlock(&l->state);
    *count = found;
    return code;
}

AEGIS_API int aegis_check_inclusion(const uint8_t *leaf, uint64_t index, uint64_t size, const uint8_t *hashes, uint32_t count,
                                    const uint8_t *root) {
    return merkle_check_inclusion(leaf, index, size, (const uint8_t(*)[HASH_SIZE])hashes, count, root);
}

AEGIS_API int aegis_check_consistency(uint64_t old_size, const uint8_t *old_root, uint64_t size, const uint8_t *root,
                                      const uint8_t *hashes, uint32_t count) {
    return merkle_check_consistency(old_size, old_root, size, root, (const uint8_t(*)[HASH_SIZE])hashes, count);
}

AEGIS_API int aegis_leaf_hash(const uint8_t *entry, uint32_t length, uint8_t *out) {
    leaf_hash(entry, length, out);
    return AEGIS_OK;
}

/* ---- sealed segments ------------------------------------------------------------------------------------------------ */

/* The segment is taken where this succeeds. */
static int segment_at(aegis_store *store, uint32_t tier, uint64_t position, log **l, segment **seg, bool *sealed) {
    TRY(usable_tier(store, tier));
    *l = store_log(store, tier);
    uint64_t have = 0;
    if (*l != NULL) {
        pthread_mutex_lock(&(*l)->state);
        have = (*l)->segment_count;
        *seg = position < have ? (*l)->segments[position] : NULL;
        *sealed = *seg != NULL && (*seg)->sealed;
        if (*seg != NULL) log_take_segment(*seg);
        pthread_mutex_unlock(&(*l)->state);
    }
    return position < have ? AEGIS_OK
                           : fail(AEGIS_E_RANGE, "tier %s has %llu segments", tier_name(tier), (unsigned long long)have);
}

static int read_footer(log *l, const segment *seg, aegis_footer *out) {
    footer f;
    int code = footer_read(&l->s, seg, &f);
    if (code != AEGIS_OK) {
        char name[SEGMENT_NAME_SIZE];
        segment_name(seg->number, name);
        const place where = {.tier = l->s.tier, .segment = seg->number, .offset = seg->tail, .first = out->first,
                             .end = out->first + out->count, .path = name};
        if (code == AEGIS_E_TORN) return fail_at(AEGIS_E_CORRUPT, &where, "the footer of segment %s is damaged", name);
        fail_add_place(&where);
        return code;
    }
    out->is_signed = f.is_signed;
    memcpy(out->root, f.root, HASH_SIZE);
    memcpy(out->frames_sha256, f.frames_sha256, HASH_SIZE);
    memcpy(out->message, f.message, FOOTER_MESSAGE);
    memcpy(out->signature, f.signature, SIGNATURE_SIZE);
    return AEGIS_OK;
}

AEGIS_API int aegis_segment(aegis_store *store, uint32_t tier, uint64_t position, aegis_footer *out) {
    log *l = NULL;
    segment *seg = NULL;
    bool sealed = false;
    TRY(segment_at(store, tier, position, &l, &seg, &sealed));
    memset(out, 0, sizeof *out);
    pthread_mutex_lock(&l->state);
    *out = (aegis_footer){.segment = seg->number, .generation = seg->generation, .first = seg->first, .count = seg->count, .sealed = sealed};
    pthread_mutex_unlock(&l->state);
    int code = sealed ? read_footer(l, seg, out) : AEGIS_OK;
    log_release_segment(l, seg);
    return code;
}

AEGIS_API int aegis_segment_file(uint64_t segment, char *out) {
    _Static_assert(SEGMENT_NAME_SIZE == 24, "aegis.h says how much room a name needs");
    segment_name(segment, out);
    return AEGIS_OK;
}

AEGIS_API int aegis_seal(aegis_store *store, uint32_t tier) {
    TRY(usable_tier(store, tier));
    if (!store->writable) return fail(AEGIS_E_READONLY, "the store is open for reading");
    return store_log(store, tier) == NULL ? AEGIS_OK : upkeep_seal(&store->writers[tier]);
}

AEGIS_API int aegis_sign_segment(aegis_store *store, uint32_t tier, uint64_t position, uint64_t segment_number, const uint8_t *signature) {
    log *l = NULL;
    segment *seg = NULL;
    bool sealed = false;
    TRY(segment_at(store, tier, position, &l, &seg, &sealed));
    const unsigned long long number = seg->number;
    int code = AEGIS_OK;
    if (!store->writable) code = fail(AEGIS_E_READONLY, "the store is open for reading");
    else if (number != segment_number) code = fail(AEGIS_E_NOTFOUND, "the segment was rewritten since: its signature is for another file");
    else if (!sealed) code = fail(AEGIS_E_ARGUMENT, "segment %llu has no footer yet", number);
    else {
        /* One at a time: the second finds what the first one wrote. */
        pthread_mutex_lock(&store->writers[tier].sealing);
        code = footer_sign(&l->s, seg, signature);
        pthread_mutex_unlock(&store->writers[tier].sealing);
    }
    log_release_segment(l, seg);
    return code;
}

/* ---- compacting ----------------------------------------------------------------------------------------------------- */

AEGIS_API int aegis_compact_start(aegis_store *store, uint32_t tier, uint64_t position, const aegis_change *changes, uint32_t count,
                                  const uint8_t *payloads, uint64_t payloads_length, aegis_compactor **out) {
    TRY(usable_tier(store, tier));
    if (!store->writable) return fail(AEGIS_E_READONLY, "the store is open for reading");
    if (tier == AEGIS_TIER_AUDIT && !MUTANT(AUDIT_COMPACTED)) return fail(AEGIS_E_WRITEONCE, "the audit tier is never compacted");
    if (out == NULL || (changes == NULL && count > 0) || (payloads == NULL && payloads_length > 0))
        return fail(AEGIS_E_ARGUMENT, "changes, payloads and a place for the compactor");
    if (store_log(store, tier) == NULL) return fail(AEGIS_E_RANGE, "tier %s has no segment", tier_name(tier));
    aegis_compactor *compactor = calloc(1, sizeof *compactor);
    if (compactor == NULL) return fail(AEGIS_E_NOMEM, "no memory for a compactor");
    compactor->store = store;
    int code = compact_start(&compactor->work, &store->writers[tier], position, changes, count, payloads, payloads_length);
    if (code != AEGIS_OK) {
        aegis_error cause;
        aegis_last_error(&cause);
        aegis_compact_end(compactor);
        fail_again(&cause);
    } else *out = compactor;
    return code;
}

AEGIS_API int aegis_compact_step(aegis_compactor *compactor, uint64_t budget_bytes, aegis_progress *progress) {
    if (compactor == NULL || progress == NULL) return fail(AEGIS_E_ARGUMENT, "a compactor and a place for its progress");
    TRY(usable(compactor->store));
    return compact_step(&compactor->work, budget_bytes, progress);
}

AEGIS_API void aegis_compact_end(aegis_compactor *compactor) {
    /* In a forked child the descriptors are closed, and the locks are whoever's. */
    if (compactor == NULL || usable(compactor->store) != AEGIS_OK) return;
    compact_end(&compactor->work);
    free(compactor);
}

AEGIS_API int aegis_set_swept(aegis_store *store, uint32_t tier, uint64_t swept) {
    merkle_range durable;
    uint8_t root[HASH_SIZE];
    TRY(usable_tier(store, tier));
    if (!store->writable) return fail(AEGIS_E_READONLY, "the store is open for reading");
    if (store_log(store, tier) == NULL) merkle_clear(&durable);
    else TRY(writer_make_durable(&store->writers[tier], &durable));
    if (swept > durable.size)
        return fail(AEGIS_E_ARGUMENT, "tier %s is durable up to %llu records: it cannot be swept up to %llu", tier_name(tier),
                    (unsigned long long)durable.size, (unsigned long long)swept);
    if (swept == 0) return AEGIS_OK;
    log_wait_for_removed(&store->logs[tier]);    /* then nobody here has what went open any more */
    merkle_root(&durable, root);
    return manifest_sweep(&store->manifest, tier, swept, durable.size, root);
}

/* ---- verifying ------------------------------------------------------------------------------------------------------ */

AEGIS_API int aegis_verify_start(aegis_store *store, uint32_t tier, aegis_verifier **out) {
    TRY(usable_tier(store, tier));
    aegis_verifier *verifier = calloc(1, sizeof *verifier);
    if (verifier == NULL) return fail(AEGIS_E_NOMEM, "no memory for a verifier");
    log *l = store_log(store, tier);
    verifier->store = store;
    verifier->empty = l == NULL;
    if (l != NULL) verify_start(&verifier->work, l);
    *out = verifier;
    return AEGIS_OK;
}

AEGIS_API int aegis_verify_step(aegis_verifier *verifier, uint64_t budget_bytes, aegis_progress *progress) {
    TRY(usable(verifier->store));
    if (!verifier->empty) return verify_step(&verifier->work, budget_bytes, progress);
    memset(progress, 0, sizeof *progress);
    progress->done = 1;
    sha256_whole("", 0, progress->root);
    return AEGIS_OK;
}

AEGIS_API int aegis_verify_gaps(aegis_verifier *verifier, aegis_gap_run *out, uint32_t capacity, uint32_t *count) {
    TRY(usable(verifier->store));
    if (out == NULL || count == NULL) return fail(AEGIS_E_ARGUMENT, "a place for gaps and their count");
    *count = 0;
    if (!verifier->empty) verify_gaps(&verifier->work, out, capacity, count);
    return AEGIS_OK;
}

AEGIS_API void aegis_verify_end(aegis_verifier *verifier) {
    if (verifier != NULL && !verifier->empty) verify_end(&verifier->work);
    free(verifier);
}

/* ---- signatures ----------------------------------------------------------------------------------------------------- */

AEGIS_API int aegis_open_all(aegis_open_fn *check, const uint8_t *signed_messages, const uint32_t *lengths, const uint8_t *public_keys,
                             uint32_t count, uint8_t *held) {
    if (check == NULL) return fail(AEGIS_E_ARGUMENT, "no function to check signatures with");
    for (uint32_t i = 0; i < count; i++) {
        held[i] = check(NULL, NULL, signed_messages, lengths[i], public_keys + (size_t)i * PUBLIC_KEY_SIZE) == 0;
        signed_messages += lengths[i];
    }
    return AEGIS_OK;
}

AEGIS_API int aegis_append_signed(aegis_store *store, uint32_t tier, uint32_t kind, const uint8_t *message, uint32_t message_length,
                                  uint32_t entry_at, aegis_sign_fn *sign, const uint8_t *secret_key, const uint8_t *payload,
                                  uint32_t payload_length, uint64_t *index, uint8_t *leaf) {
    uint8_t signed_message[SIGNATURE_SIZE + AEGIS_MESSAGE_MAX + SIGNATURE_SIZE];
    if (sign == NULL) return fail(AEGIS_E_ARGUMENT, "no function to sign with");
    if (message_length > AEGIS_MESSAGE_MAX || entry_at >= message_length)
        return fail(AEGIS_E_ARGUMENT, "a message of %u bytes with an entry from byte %u on", (unsigned)message_length, (unsigned)entry_at);
    if (sign(signed_message, NULL, message, message_length, secret_key) != 0) return fail(AEGIS_E_ARGUMENT, "the entry was not signed");
    const uint8_t *entry = signed_message + SIGNATURE_SIZE + entry_at;
    memcpy(signed_message + SIGNATURE_SIZE + message_length, signed_message, SIGNATURE_SIZE);
    uint32_t entry_length = message_length - entry_at + SIGNATURE_SIZE;
    TRY(aegis_append(store, tier, kind, entry, entry_length, payload, payload_length, index));
    leaf_hash(entry, entry_length, leaf);
    return AEGIS_OK;
}

/* ---- about ---------------------------------------------------------------------------------------------------------- */

static int segment_bytes_of(log *l, uint64_t *segments, uint64_t *bytes) {
    pthread_mutex_lock(&l->state);
    int code = AEGIS_OK;
    *segments = l->segment_count;
    for (uint64_t i = 0; i < l->segment_count && code == AEGIS_OK; i++) {
        uint64_t size = 0;
        code = l->s.vfs->size(l->s.vfs, l->segments[i]->file, &size);
        *bytes += size;
    }
    pthread_mutex_unlock(&l->state);
    return code;
}

AEGIS_API int aegis_stats(aegis_store *store, uint32_t tier, aegis_tier_stats *out) {
    TRY(usable_tier(store, tier));
    log *l = store_log(store, tier);
    memset(out, 0, sizeof *out);
    out->durability = store->durability[tier];
    if (l == NULL) return AEGIS_OK;
    if (store->writable) {
        writer *w = &store->writers[tier];
        pthread_mutex_lock(&w->mutex);
        *out = w->stats;
        pthread_mutex_unlock(&w->mutex);
    }
    pthread_mutex_lock(&store->manifest.mutex);
    out->swept = store->manifest.tiers[tier].swept;
    pthread_mutex_unlock(&store->manifest.mutex);
    TRY(segment_bytes_of(l, &out->segments, &out->bytes));
    pthread_mutex_lock(&l->state);
    out->size = l->tree.range.size;
    out->frame_bytes = l->segments[l->segment_count - 1]->tail - SEGMENT_FRAMES;
    out->tiles_written = l->tree.written;
    out->tiles_rebuilt = l->tree.rebuilt;
    pthread_mutex_unlock(&l->state);
    return AEGIS_OK;
}
