/* crash_script: the records that a crash workload writes, and all that follows from them: roots, and what a catalogue holds.
 *
 * Record i of a tier is the same whenever it is written, so what was lost and is written again is no new record. The entries are real
 * ones (docs/FORMAT.md, "Entry"): sessions that begin, go on, are forked and end, chunks and keys. Payloads are random bytes, zeros, or
 * nothing.
 */
#ifndef AEGIS_TESTS_CRASH_SCRIPT_H
#define AEGIS_TESTS_CRASH_SCRIPT_H

#include "merkle.h"
#include "sha256.h"
#include "stores.h"

enum { TIERS_USED = 2, RECORDS_MAX = 128, PAYLOAD_MAX = 16384, SESSIONS_MAX = 32 };

static const uint32_t TIER[TIERS_USED] = {SESSION, AEGIS_TIER_AUDIT};

typedef struct scripted {
    uint8_t entry[184];
    uint32_t entry_length;
    uint32_t kind;
    const uint8_t *payload;
    uint32_t payload_length;
    bool gap;                /* the payload is the index of what authorised it */
    uint8_t leaf[32];
} scripted;

/* What lookups are answered from, put together from what chains gave: by record, so that it doesn't matter in how many steps. */
typedef struct catalogue {
    uint32_t session_count, request_count;
    struct { uint64_t number; uint8_t tag[16], head[64]; } sessions[SESSIONS_MAX];
    struct { uint64_t session; uint32_t ordinal; uint8_t point[AEGIS_POINT_SIZE]; } points[RECORDS_MAX];
    uint8_t requests[RECORDS_MAX][AEGIS_REQUEST_SIZE];
} catalogue;

typedef struct script {
    uint32_t payload_max;    /* of most records */
    uint32_t large;          /* the first so many have 12.3 to 12.9 KB: four of them fill a small segment but for 0.7 to 3.1 KB */
    scripted records[TIERS_USED][RECORDS_MAX];
    uint8_t roots[TIERS_USED][RECORDS_MAX + 1][32];
    catalogue catalogues[TIERS_USED][RECORDS_MAX + 1];
} script;

/* ---- catalogues ------------------------------------------------------------------------------------------------------- */

/* Takes what the chains have for it. */
static inline int catalogue_take(catalogue *into, aegis_chains *chains) {
    aegis_chain taken[SESSIONS_MAX];
    uint8_t points[RECORDS_MAX * AEGIS_POINT_SIZE];
    uint64_t sessions = 0, point_count = 0, requests = 0, writes = 0;
    TRY(aegis_chains_size(chains, &sessions, &point_count, &requests, &writes));
    if (sessions > SESSIONS_MAX || into->request_count + requests > RECORDS_MAX || point_count > RECORDS_MAX || writes > 0)
        return AEGIS_E_LIMIT;
    TRY(aegis_chains_take(chains, taken, points, into->requests[into->request_count], NULL));
    into->request_count += (uint32_t)requests;
    for (uint64_t i = 0; i < sessions; i++) {
        uint32_t at = 0;
        while (at < into->session_count && into->sessions[at].number != taken[i].number) at++;
        if (at == SESSIONS_MAX) return AEGIS_E_LIMIT;
        if (at == into->session_count) into->session_count++;
        into->sessions[at].number = taken[i].number;
        memcpy(into->sessions[at].tag, taken[i].tag, sizeof taken[i].tag);
        memcpy(into->sessions[at].head, taken[i].head, sizeof taken[i].head);
        for (uint32_t p = 0; p < taken[i].points; p++) {
            const uint8_t *point = points + (taken[i].points_at + p) * AEGIS_POINT_SIZE;
            uint32_t index = load_u32(point);
            if (index >= RECORDS_MAX) return AEGIS_E_RANGE;
            into->points[index].session = taken[i].number;
            into->points[index].ordinal = taken[i].ordinal + p;
            memcpy(into->points[index].point, point, AEGIS_POINT_SIZE);
        }
    }
    return AEGIS_OK;
}

/* ---- records ---------------------------------------------------------------------------------------------------------- */

enum { KIND_BEGIN = 1, KIND_CHECKPOINT = 2, KIND_END = 3, KIND_KEY_ADD = 4, KIND_CHUNK = 7 };

typedef struct scripted_session {
    uint8_t tag[16];
    uint32_t last, next;     /* the record to name as parent, the ordinal to come */
    bool ended;
} scripted_session;

static inline void put_parent(scripted *r, const scripted *records, uint32_t parent) {
    store_u32(r->entry + 34, parent);
    store_u16(r->entry + 38, 0);
    memcpy(r->entry + 40, records[parent].leaf, 32);
}

/* The entry of record i: of a new session, or of one of `open`. */
static inline void script_entry(scripted *records, uint32_t tier, uint32_t i, scripted_session *sessions, uint32_t *open, uint64_t *seed) {
    scripted *r = &records[i];
    uint64_t dice = next_random(seed);
    scripted_session *of = *open == 0 ? NULL : &sessions[(dice >> 8) % *open];
    unsigned kind = dice % 16 < 2 && *open < SESSIONS_MAX ? KIND_BEGIN : dice % 16 == 2 ? KIND_CHUNK : dice % 16 == 3 ? KIND_KEY_ADD : KIND_CHECKPOINT;
    if (dice % 64 == 20 && of != NULL && !of->ended) kind = KIND_END;
    if (kind == KIND_CHECKPOINT && of != NULL && of->ended) kind = KIND_KEY_ADD;
    if (of == NULL) kind = KIND_BEGIN;
    memset(r->entry, 0, sizeof r->entry);
    fill_random(seed, r->entry + 72, sizeof r->entry - 72);    /* what the chains don't look at: commitment, signature */
    memset(r->entry + 34, 0xff, 6);
    store_u32(r->entry + 28, 1000 + i);
    r->kind = kind;
    r->entry[1] = (uint8_t)kind;
    r->entry[2] = (uint8_t)tier;
    if (kind == KIND_BEGIN) {
        bool fork = of != NULL && of->next > 0 && dice % 5 == 0;
        scripted_session *fresh = &sessions[(*open)++];
        *fresh = (scripted_session){.last = i, .next = fork ? of->next : 0};
        fill_random(seed, fresh->tag, sizeof fresh->tag);
        if (fork) put_parent(r, records, of->last);
        store_u32(r->entry + 24, fresh->next);
        of = fresh;
    }
    if (kind == KIND_CHECKPOINT || kind == KIND_END) put_parent(r, records, of->last);
    if (kind == KIND_CHECKPOINT || kind == KIND_CHUNK) store_u32(r->entry + 24, of->next);
    if (kind == KIND_CHECKPOINT) {
        of->last = i;
        of->next++;
        r->entry[3] = dice % 3 == 0;
    }
    if (kind == KIND_END) of->ended = true;
    if (kind != KIND_KEY_ADD) memcpy(r->entry + 8, of->tag, sizeof of->tag);
    r->entry_length = r->entry[3] ? 184 : 176;
    leaf_hash(r->entry, r->entry_length, r->leaf);
}

static inline void script_payload(const script *s, scripted *r, uint32_t i, uint64_t *seed) {
    static uint8_t pool[2 * PAYLOAD_MAX];    /* random bytes, then zeros */
    uint64_t dice = next_random(seed);
    if (pool[0] == 0) {
        uint64_t own = 1;
        fill_random(&own, pool, PAYLOAD_MAX);
        pool[0] = 1;
    }
    r->payload_length = i < s->large ? 12300 + (uint32_t)(dice >> 8) % 600 : dice % 8 == 0 ? 0 : (uint32_t)(dice >> 8) % s->payload_max;
    r->payload = pool + (dice % 8 == 1 ? PAYLOAD_MAX : (dice >> 40) % (PAYLOAD_MAX - r->payload_length));
}

static inline void script_write(script *s, uint64_t seed) {
    for (uint32_t t = 0; t < TIERS_USED; t++) {
        scripted_session sessions[SESSIONS_MAX];
        aegis_chains *chains = NULL;
        merkle_range range;
        uint32_t open = 0, told[1], told_count;
        merkle_clear(&range);
        merkle_root(&range, s->roots[t][0]);
        memset(&s->catalogues[t][0], 0, sizeof s->catalogues[t][0]);
        EXPECT_OK(aegis_chains_start(TIER[t], &chains));
        for (uint32_t i = 0; i < RECORDS_MAX; i++) {
            scripted *r = &s->records[t][i];
            script_entry(s->records[t], TIER[t], i, sessions, &open, &seed);
            script_payload(s, r, i, &seed);
            merkle_append(&range, r->leaf);
            merkle_root(&range, s->roots[t][i + 1]);
            aegis_record record = {.index = i, .kind = r->kind, .entry_length = r->entry_length};
            memcpy(record.leaf, r->leaf, 32);
            s->catalogues[t][i + 1] = s->catalogues[t][i];
            EXPECT_OK(aegis_chains_add(chains, r->entry, &record, 1, told, &told_count));
            EXPECT_OK(catalogue_take(&s->catalogues[t][i + 1], chains));
        }
        aegis_chains_end(chains);
    }
}

/* ---- compactions ------------------------------------------------------------------------------------------------------ */

/* What compactions do to the first three records, round after round: the first becomes a gap by the fifth, then by the sixth; the second by
 * the sixth; the third gets another payload. */
enum { ROUNDS_MAX = 2, CAUSE_FIRST = 4 };

static inline scripted script_as_of(const script *s, uint32_t t, uint64_t i, uint64_t round) {
    static const uint8_t causes[ROUNDS_MAX][8] = {{CAUSE_FIRST}, {CAUSE_FIRST + 1}};
    scripted r = s->records[t][i];
    if ((i == 0 && round >= 1) || (i == 1 && round >= 2)) {
        r.gap = true;
        r.payload = causes[round - 1];
        r.payload_length = 8;
    } else if (i == 2 && round >= 1) {
        r.payload = s->records[t][CAUSE_FIRST].entry;
        r.payload_length = 100;
    }
    return r;
}

#endif
